"""What single words say of gestures: any counts, and those that ship."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from visavis.emotion import Emotion
from visavis.errors import FileFormatError
from visavis.finetune.acts.count_wordings import counted
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.utterances import Utterance
from visavis.retrieval.wordings import Wordings, stem


def said(gloss, text, *anchors):
    return Utterance(gloss, text, anchors, Emotion())


SOME = [
    said("digging", "We shovelled a deep trench.", 1),
    said("digging", "He is shovelling the garden again.", 2),
    said("bowl", "Pour the soup into a deep dish.", 6),
    said("bowl", "We had a big bowl.", 4),
]
WORDS = counted(SOME, {"bowl": ("basin", "cupped hands")})


def test_forms_of_a_word_are_one():
    assert {stem(word) for word in ("Shovelled,", "shovelling", '"shovels!"', "shovel")} == {"shovel"}
    assert stem("didn't") == "did" and stem("- …") == "" and stem("stopped") == stem("stopping")
    assert stem("glass") == stem("glasses")


def test_a_word_speaks_for_the_gesture_that_it_is_said_with():
    fits = WORDS.fits("They shovel.", ("digging", "bowl", "somebody's own"))
    assert fits[0] > 0.5 and fits[1] == 0 and np.isnan(fits[2])
    assert WORDS.fits("a basin", ("digging", "bowl"))[1] > 0  # a cue word
    assert WORDS.fits("Never-heard words", ("digging", "bowl")).tolist() == [0, 0]
    assert WORDS.fits("", ("bowl",)).tolist() == [0] and WORDS.fits("soup", ()).shape == (0,)
    apart = WORDS.fits("soup", ("bowl",)) + WORDS.fits("dish", ("bowl",))
    assert WORDS.fits("soup dish", ("bowl",)) == pytest.approx(apart, abs=1e-5)


def test_a_stroke_is_where_it_was():
    stars = WORDS.stars("We shovel a trench -", "digging")
    assert stars.shape == (5,) and int(stars.argmax()) == 1 and np.isfinite(stars).all()
    any_ = WORDS.stars("We shovel a trench -", "somebody's own")
    assert int(any_.argmax()) == 1 and any_[1] < stars[1]  # from other gestures
    assert WORDS.stars("dish", "bowl") > WORDS.stars("dish", "digging")
    assert WORDS.stars("", "bowl").shape == (0,)


def test_what_is_saved_is_read_again(tmp_path):
    path = tmp_path / "wordings.safetensors"
    WORDS.save(path)
    again = Wordings.load(path)
    assert (again.glosses, again.stems) == (WORDS.glosses, WORDS.stems)
    text = "We shovelled a trench into a dish."
    assert (again.fits(text, WORDS.glosses) == WORDS.fits(text, WORDS.glosses)).all()
    assert (again.stars(text, "bowl") == WORDS.stars(text, "bowl")).all()


@pytest.mark.parametrize("broken", ["missing", "text", "starts", "outside"])
def test_a_broken_file_says_what_to_do(tmp_path, broken):
    path = tmp_path / "wordings.safetensors"
    if broken == "text":
        path.write_text("no arrays")
    elif broken != "missing":
        WORDS.save(path)
        arrays = load_file(path)
        if broken == "starts":
            arrays["starts"] = arrays["starts"][:-1].copy()
        else:
            arrays["gloss"] = arrays["gloss"] + np.uint16(9)
        save_file(arrays, path)
    with pytest.raises(FileFormatError, match=r"expected the counted words .* run `python -m visavis.finetune.acts.co"):
        Wordings.load(path)


def test_those_that_ship_know_the_library():
    words = Wordings.default()
    assert set(words.glosses) == set(load_lexicon())
    # None of these is an utterance of the library.
    for text, gloss, place in (
        ("They have been shovelling gravel since dawn.", "digging", 3),
        ("The phone rang and rang, so she took it.", "telephone", 1),
    ):
        rivals = ("digging", "telephone", "bowl", "stop", "head shake")
        assert rivals[int(words.fits(text, rivals).argmax())] == gloss
        assert int(words.stars(text, gloss).argmax()) == place
