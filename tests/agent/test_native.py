import numpy as np
import pytest

from visavis.agent.native import param_values, sane_params, settled
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.posing import Performer, perform
from visavis.tokenizers.turn_language import Candidate, Tag

LEXICON = load_lexicon()
NONSENSE = [0.25, -1e9, float("nan"), "left", "0.9", "far away", "", "left right", None, 3, "1 2 3", [1, 2], 1e308]


@pytest.mark.parametrize("gloss", sorted(LEXICON))
def test_whatever_a_model_says_of_a_gesture_can_be_performed(gloss):
    gesture = LEXICON[gloss]
    different = {}  # much of the nonsense is the same once it is sane, and what is the same is performed once
    for name in [*gesture.params, "colour"]:
        for value in NONSENSE:
            params = sane_params(gesture.params, {name: value})
            assert set(params) <= {name} - {"colour"}
            different[repr(params)] = params
    for params in different.values():
        performance = perform(gesture, Performer.neutral(), dict(params))
        assert np.isfinite(performance.motion.rotations).all()


def test_values_that_a_model_may_write_are_sane():
    for gesture in LEXICON.values():
        for name, values in param_values(gesture.params).items():
            for value in values if values is not None else ["0.5"]:
                assert name in sane_params(gesture.params, {name: value}), (gesture.gloss, name, value)


def test_tags_are_settled():
    told = [Candidate("point away", 0.85), Candidate("counting", 0.85), Candidate("nod", 0.2)]
    chances = [0.1, 0.85, 0.1, 0.85, 0.3]
    first, again, late = Tag("counting", 1, {"count": 2}), Tag("counting", 3), Tag("nod", 4)
    # Both words call for counting as surely, and nothing says which is which: they stay.
    assert settled((first, again), chances, told[1:], {}) == (first, again)
    # One is a number; the other must be the place that is as likely.
    assert settled((first, again), chances, told, {1: "counting"}) == (first, Tag("point away", 3))
    # A word that calls for something gets it.
    assert settled((Tag("nod", 3),), chances, told, {3: "point away"}) == (Tag("point away", 3),)
    # So do words that call for the same, one surer than the other.
    assert settled((first, again), [0.1, 0.85, 0.1, 0.5], told[1:], {1: "counting", 3: "counting"}) == (first, again)
    # The same at a word that hardly calls for it goes; without chances the first stays.
    assert settled((late, Tag("nod", 1)), chances, told, {}) == (Tag("nod", 1),)
    assert settled((late, Tag("nod", 1)), (), told, {}) == (late,)
    assert settled((), chances, told, {1: "counting"}) == ()
