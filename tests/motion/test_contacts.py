from dataclasses import replace

import numpy as np
import pytest
from foreign import longer, waving

from visavis.motion import limits
from visavis.motion.constraints import residuals
from visavis.motion.contacts import gaps_m, keep_contacts, touching
from visavis.motion.idle import idle
from visavis.motion.retarget import retarget
from visavis.motion.skeleton import default_skeleton
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.posing import Performer, perform

OURS = default_skeleton()
LIMBS = {"LowerArm": 1.15, "Hand": 0.8}


def performed(gloss):
    return perform(load_lexicon()[gloss], Performer.neutral())


@pytest.mark.parametrize("gloss", ["hand on heart", "hush", "facepalm", "cover ears", "salute"])
def test_a_touch_stays_a_touch_on_other_arms(gloss):
    performance = performed(gloss)
    promises, motion = performance.constraints, performance.motion
    assert touching(motion).any() and max(far for far, _ in residuals(motion, promises)) < 0.01
    body = longer(LIMBS)
    copied, out = replace(motion, skeleton=body), retarget(motion, body)
    assert max(far for far, _ in residuals(copied, promises)) > 0.025
    assert max(far for far, _ in residuals(out, promises)) < 0.02
    assert limits.excess(out.rotations).max() < 1e-3


@pytest.mark.parametrize("gloss", ["clapping", "pleading"])
def test_palms_that_meet_meet_on_other_arms(gloss):
    motion = performed(gloss).motion
    met = gaps_m(motion)["hands"] < 0.01
    assert met.any()
    out = retarget(motion, longer(LIMBS))
    assert np.abs(gaps_m(out)["hands"] - gaps_m(motion)["hands"])[met].max() < 0.015


def test_what_touches_nothing_is_left_alone_bit_by_bit():
    motion = waving()
    assert not touching(motion).any()
    moved = replace(motion, skeleton=longer(LIMBS))
    assert keep_contacts(moved, motion) is moved


def test_hanging_arms_touch_nothing():
    assert not touching(idle(60, 1)).any()


def test_a_hand_that_only_waves_beside_the_head_is_no_contact():
    motion = performed("greeting wave").motion
    assert 0.022 < gaps_m(motion)["right"].min() < 0.2
    assert not touching(motion).any()
