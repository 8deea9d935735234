from dataclasses import replace

import numpy as np
import pytest
from foreign import longer, waving

from visavis.evals.any_body._limbs import contact_errors_m
from visavis.motion import limits
from visavis.motion import rotations as rot
from visavis.motion.constraints import residuals
from visavis.motion.contacts import holds, is_near_only, keep_contacts, touching
from visavis.motion.idle import idle
from visavis.motion.nearness import gaps_m
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


@pytest.mark.parametrize("gloss", ["clearing throat", "eating", "arch", "flat surface"])
@pytest.mark.parametrize("limbs", [{"LowerArm": 0.95, "Hand": 1.1}, {"LowerArm": 1.08, "Hand": 0.86}])
def test_a_hand_that_is_only_near_something_comes_back(gloss, limbs):
    motion = performed(gloss).motion
    assert is_near_only(motion)
    there = retarget(motion, longer(limbs))
    back = retarget(there, OURS)
    assert np.degrees(rot.angle_between(back.rotations, motion.rotations)).max() < 1.0


@pytest.mark.parametrize(
    ("gloss", "limbs"),
    [
        ("combing hair", {"LowerArm": 1.026, "Hand": 1.261}),  # an upper arm at its limit
        ("going around", {"LowerArm": 0.717, "Hand": 0.775}),  # arms too short to keep the distance
        ("blown kiss", {"LowerArm": 1.026, "Hand": 1.261}),  # an elbow that folds no tighter
        ("digging", {"LowerArm": 0.717, "Hand": 0.775}),  # hands that come upon each other there
    ],
)
def test_what_another_body_cannot_do_comes_back_all_the_same(gloss, limbs):
    motion = performed(gloss).motion
    back = retarget(retarget(motion, longer(limbs)), OURS)
    assert np.degrees(rot.angle_between(back.rotations, motion.rotations)).max() < 1.0


@pytest.mark.parametrize("gloss", ["binoculars", "cupped ear", "sleep"])
def test_all_joints_help_where_an_elbow_folds_no_tighter(gloss):
    body, performance = longer({"LowerArm": 1.214, "Hand": 0.72}), performed(gloss)
    out = retarget(performance.motion, body)
    assert max(contact_errors_m(performance, out)) < 0.02
    assert limits.excess(out.rotations).max() < 1e-3


def test_a_hand_on_the_heart_is_not_only_near():
    assert not is_near_only(performed("hand on heart").motion)


def test_long_arms_do_not_bring_hands_together_that_are_apart():
    motion, body = performed("pipe").motion, longer({"LowerArm": 1.19, "Hand": 1.25})
    apart = gaps_m(motion)["hands"]
    assert 0.02 < apart.min() < 0.03
    assert np.abs(gaps_m(retarget(motion, body))["hands"] - apart)[apart < 0.035].max() < 0.01
    assert gaps_m(retarget(motion, body, contacts=False))["hands"].min() < 0.01


def test_a_resting_hand_is_surer_of_its_place_than_a_sliding_one():
    motion = performed("hand on heart").motion
    held = holds(motion, replace(motion, skeleton=longer(LIMBS)))
    side = max(("left", "right"), key=lambda s: held.strength[s].max())
    assert held and held.strength[side].max() == 1.0
    at_rest = held.strength[side] == 1.0
    assert held.unsure_m[side][at_rest].min() < 0.005 < 0.015 < held.unsure_m[side][at_rest].max()
    assert not holds(idle(60, 1), replace(idle(60, 1), skeleton=longer(LIMBS)))


def test_an_elbow_turns_where_a_wrist_would_have_to_bend_too_far():
    body, performance = longer({"LowerArm": 0.72, "Hand": 0.77}), performed("throat cut")
    out = retarget(performance.motion, body)
    assert max(far for far, _ in residuals(out, performance.constraints)) < 0.02
    assert limits.excess(out.rotations).max() < 1e-3
