"""How near words are to the cue words of a gesture: any, and those that ship."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from visavis.errors import FileFormatError
from visavis.retrieval.cues import Cues
from visavis.retrieval.lexicon import load_lexicon

SOME = {"throwing": ("throw", "toss", "hurl", "fling"), "sleep": ("sleep", "doze", "nap", "bed"), "stop": ("halt",)}


@pytest.fixture(scope="module")
def cues():
    return Cues.place(SOME, 6)


def test_a_word_is_near_to_what_it_means(cues):
    near = cues.nearness("The boys chucked stones, then slept -", "throwing")
    assert near.shape == (7,) and near[-1] == 0 and (np.abs(near) <= 1 + 1e-6).all()
    asleep = cues.nearness("The boys chucked stones, then slept -", "sleep")
    assert near[2] > asleep[2] and asleep[5] > near[5] and int(asleep.argmax()) == 5
    assert cues.nearness("throw", "throwing")[0] > 0.6
    assert cues.nearness("halt", "stop")[0] == pytest.approx(1, abs=0.02)  # of one cue, that one


def test_what_has_no_cues_has_no_opinion(cues):
    assert cues.nearness("Halt now", "somebody's own").tolist() == [0, 0]
    assert cues.nearness("", "stop").shape == (0,) and cues.nearness("- …", "stop").tolist() == [0, 0]


def test_what_is_saved_is_read_again(tmp_path, cues):
    path = tmp_path / "cues.safetensors"
    cues.save(path)
    again = Cues.load(path)
    assert again.of == cues.of
    assert again.nearness("toss it", "throwing") == pytest.approx(cues.nearness("toss it", "throwing"), abs=0.02)


@pytest.mark.parametrize("broken", ["missing", "text", "counts"])
def test_a_broken_file_says_what_to_do(tmp_path, broken, cues):
    path = tmp_path / "cues.safetensors"
    if broken == "text":
        path.write_text("no arrays")
    elif broken == "counts":
        cues.save(path)
        arrays = load_file(path)
        save_file(arrays | {"vectors": arrays["vectors"][:-1].copy()}, path)
    with pytest.raises(
        FileFormatError, match=r"expected the cue words .* run `python -m visavis.finetune.acts.place_c"
    ):
        Cues.load(path)


def test_those_that_ship_know_the_library():
    assert set(Cues.default().of) == set(load_lexicon())
    near = Cues.default().nearness("He chucked the old tyre into the canal.", "throwing")
    assert int(near.argmax()) == 1
