from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from visavis.errors import FileFormatError, LexiconError
from visavis.retrieval.index import DEFAULT_HEAD, GestureIndex, RecallHead, parts_of, word_features
from visavis.retrieval.layers import WIDTH, read
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.utterances import NONE, cue_words, load_more, load_utterances, parse_stars

NEW = {  # written for this test, unlike any authored utterance
    "huge size": "The statue's hand alone is larger than our kitchen!",
    "shiver": "Minus thirty, and the boiler has given up!",
    "hush": "Psst, keep quiet, grandpa is napping!",
    "telephone": "Give the plumber a call on his mobile.",
    "drink": "I'd like a pint of cider, please.",
    "check the watch": "We are late, the concert begins in five minutes!",
    "goodbye wave": "Bye bye everyone, see you next week!",
}


@pytest.fixture(scope="module")
def index() -> GestureIndex:
    return GestureIndex.default()


def test_every_gloss_has_utterances_with_stars_and_none_has_six_hundred() -> None:
    utterances = load_utterances()
    glosses = {one.gloss for one in utterances} - {NONE}
    assert glosses == set(cue_words()) == set(load_lexicon()) and len(glosses) >= 210
    for gloss in glosses:
        assert sum(one.gloss == gloss for one in utterances) >= 15, gloss
        assert sum(one.gloss == gloss for one in (*utterances, *load_more())) >= 100, gloss
    assert sum(one.gloss == NONE for one in utterances) >= 600
    texts = [one.text for one in utterances]
    assert len(set(texts)) == len(texts)
    for one in (*utterances, *load_more()):
        assert all(place < len(one.text.split()) for place in one.anchors)


def test_stars_mark_words() -> None:
    assert parse_stars('It was *huge*, and "*red*"!') == ('It was huge, and "red"!', (2, 4))
    assert parse_stars("no stars") == ("no stars", ())
    with pytest.raises(LexiconError, match="close the star"):
        parse_stars("a *star")


def test_new_sentences_find_their_gesture(index: GestureIndex) -> None:
    hits = sum(gloss in {one.text for one in index.candidates(text)} for gloss, text in NEW.items())
    assert hits >= len(NEW) - 1


def test_candidates_are_ordered_probabilities(index: GestureIndex) -> None:
    for text in [*NEW.values(), "Hello", "...", ""]:
        found = index.candidates(text, k=7)
        scores = [one.score for one in found]
        assert len(found) == 7 and len({one.text for one in found}) == 7
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)
        assert 0 <= index.none_score(text) <= 1


def test_other_senses_call_for_nothing(index: GestureIndex) -> None:
    calm = ["The committee published its report in April.", "The cellar is used to store potatoes."]
    called = list(NEW.values())
    assert max(index.none_score(text) for text in called) < min(index.none_score(text) for text in calm)


def test_the_answer_does_not_depend_on_what_was_asked_before() -> None:
    text = "I caught a fish, and it was huge!"
    one, two = (GestureIndex(GestureIndex.default().head) for _ in range(2))
    two.candidates("Something else, entirely.")
    np.testing.assert_array_equal(one.scores(text), two.scores(text))
    np.testing.assert_array_equal(one.scores(text), one.scores(text))


def test_a_part_of_the_clause_can_call(index: GestureIndex) -> None:
    assert parts_of("Hello") == ["Hello"]
    assert parts_of("Well, hello!") == ["Well, hello!", "hello!"]  # fillers call for nothing
    assert parts_of("It is 3.5 metres wide.") == ["It is 3.5 metres wide."]
    assert parts_of("Hello! It rains.") == ["Hello! It rains.", "Hello!", "It rains."]
    text = "The museum was founded by a banker's widow, and look, the whale is absolutely enormous!"
    assert "huge size" in {one.text for one in index.candidates(text)}


def test_anchors_are_a_distribution_over_words(index: GestureIndex) -> None:
    text = "I caught a fish, and it was huge !"
    weights = index.anchors(text, "huge size")
    assert weights.shape == (9,) and weights.dtype == np.float32
    assert weights.sum() == pytest.approx(1, abs=1e-5)
    assert weights.argmax() == 7 and weights[8] == 0
    assert index.anchors(text, "a gloss it never met").sum() == pytest.approx(1, abs=1e-5)
    assert index.anchors("", "nod").shape == (0,)


def test_two_glosses_have_two_anchors(index: GestureIndex) -> None:
    text = "Hello, the blue whale is enormous!"
    assert index.anchors(text, "greeting wave").argmax() == 0
    assert index.anchors(text, "huge size").argmax() == 5
    far = "Welcome! The blue whale is thirty metres long."
    assert index.anchors(far, "greeting wave").argmax() == 0
    assert index.anchors(far, "huge size").argmax() >= 1  # not in the part that greets


def test_pieces_add_up_to_the_features() -> None:
    one, two = read(["The whale is enormous!", "Hi"])
    assert one.features.shape == (WIDTH,)
    np.testing.assert_allclose(one.pieces.sum(0), one.features, atol=1e-5)
    np.testing.assert_allclose(read(["Hi"])[0].features, two.features, atol=1e-4)  # padding changes nothing
    assert word_features(two, "Hi").shape == (1, WIDTH)


def test_head_survives_the_disk(tmp_path: Path) -> None:
    head = RecallHead.load(DEFAULT_HEAD)
    path = tmp_path / "head.safetensors"
    head.save(path)
    again = RecallHead.load(path)
    assert again.glosses == head.glosses and again.anchor_mix == head.anchor_mix
    np.testing.assert_array_equal(again.weights, head.weights)
    assert path.stat().st_size < 3_300 * (len(head.glosses) + 1)


def test_a_bad_head_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="train_encoder"):
        RecallHead.load(tmp_path / "absent.safetensors")
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    with pytest.raises(FileFormatError, match="train_encoder"):
        RecallHead.load(tmp_path / "junk.safetensors")


def test_a_clause_is_quick(index: GestureIndex) -> None:
    index.candidates("A clause to warm up with, of the usual length.")
    begin = time.process_time()
    for count in range(5):
        index.candidates(f"There were {count} boats in the harbour, and one of them was really enormous!")
    assert (time.process_time() - begin) / 5 < 0.1  # typically 0.02; slack for shared machines
