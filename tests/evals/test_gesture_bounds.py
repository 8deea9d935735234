from dataclasses import replace

import numpy as np
import pytest

from visavis.evals.gesture_bounds import faults, main, measure
from visavis.motion import rotations as rot
from visavis.retrieval.lexicon import PLAIN, load_lexicon
from visavis.retrieval.posing import perform

LEXICON = load_lexicon()


def test_there_are_enough_gestures_each_performed_in_three_ways():
    assert len(LEXICON) >= 210
    for gesture in LEXICON.values():
        assert len(gesture.variant_names) >= 3, gesture.gloss
    kinds = {gesture.kind for gesture in LEXICON.values()}
    assert kinds == {"emblem", "iconic", "metaphoric", "deictic", "beat", "regulator", "adaptor", "head"}


def test_every_gesture_keeps_its_bounds_in_one_of_its_ways():
    """Another way for each neighbour, so that all are met; for the plain one see retrieval/test_posing.py."""
    found = []
    for number, gesture in enumerate(LEXICON.values()):
        names = [name for name in gesture.variant_names if name != PLAIN]
        found += faults(gesture, names[number % len(names)])
    assert not found


@pytest.mark.slow
@pytest.mark.parametrize("third", range(3))
def test_every_performance_keeps_its_bounds(third):
    found = [
        fault
        for gesture in list(LEXICON.values())[third::3]
        for variant in gesture.variant_names
        for fault in faults(gesture, variant)
    ]
    assert not found


def test_what_breaks_them_is_named(capsys):
    made = perform(LEXICON["stop"])
    turned = made.motion.rotations.copy()
    elbow = made.motion.skeleton.index("rightLowerArm")
    turned[20, elbow] = rot.from_axis_angle([0, 1, 0], np.float32(3.0))
    m = measure(replace(made, motion=replace(made.motion, rotations=turned)))
    assert m.excess_deg > 4 and m.speed_m_s > 4 and m.from_home < 0.01
    assert main(["stop", "nod"]) == 0 and capsys.readouterr().out == ""
