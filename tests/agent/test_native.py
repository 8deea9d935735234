import numpy as np
import pytest

from visavis.agent.native import param_values, sane_params
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.posing import Performer, perform

LEXICON = load_lexicon()
NONSENSE = [0.25, -1e9, float("nan"), "left", "0.9", "far away", "", "left right", None, 3, "1 2 3", [1, 2], 1e308]


@pytest.mark.parametrize("gloss", sorted(LEXICON))
def test_whatever_a_model_says_of_a_gesture_can_be_performed(gloss):
    gesture = LEXICON[gloss]
    for name in [*gesture.params, "colour"]:
        for value in NONSENSE:
            params = sane_params(gesture.params, {name: value})
            assert set(params) <= {name} - {"colour"}
            performance = perform(gesture, Performer.neutral(), dict(params))
            assert np.isfinite(performance.motion.rotations).all()


def test_values_that_a_model_may_write_are_sane():
    for gesture in LEXICON.values():
        for name, values in param_values(gesture.params).items():
            for value in values if values is not None else ["0.5"]:
                assert name in sane_params(gesture.params, {name: value}), (gesture.gloss, name, value)
