import numpy as np
import pytest

from visavis.motion.phase_detection import find_phases, moving_hands
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.posing import Performer, perform
from visavis.retrieval.reading import CHANNELS, HAND, pose_features, read_motion_table, reading_of

LEXICON = load_lexicon()
SOME = ("salute", "shrug", "nod", "greeting wave", "cutting")


@pytest.mark.parametrize("gloss", SOME)
def test_hands_and_phases_are_those_of_the_motion(gloss):
    motion = perform(LEXICON[gloss], Performer.random(np.random.default_rng(5))).motion
    table, crown = read_motion_table(motion)
    assert table.shape == (len(motion), CHANNELS) and crown.shape == (len(motion), 3)
    read = reading_of(table, crown)
    assert read.hands == moving_hands(motion)
    assert read.phases.times == pytest.approx(find_phases(motion).times, abs=1e-3)


@pytest.mark.parametrize("gloss", SOME)
def test_a_gesture_of_the_left_hand_reads_as_one_of_the_right(gloss):
    motion = perform(LEXICON[gloss]).motion
    one, other = (reading_of(*read_motion_table(m)) for m in (motion, motion.mirrored()))
    if one.hands in ("left", "right"):
        assert {one.hands, other.hands} == {"left", "right"}
        assert np.abs(one.table - other.table).max() < 1e-3
        assert pose_features(one) == pytest.approx(pose_features(other), abs=2e-2)
    else:
        assert one.hands == other.hands
        assert np.abs(np.abs(one.table[:, :3]) - np.abs(other.table[:, HAND : HAND + 3])).max() < 1e-3


def test_features_are_finite_whatever_moves():
    table, crown = read_motion_table(perform(LEXICON["nod"]).motion)
    for some in (table, np.zeros_like(table), table[:4]):
        features = pose_features(reading_of(some, crown[: len(some)]))
        assert np.isfinite(features).all() and features.dtype == np.float32
