"""Corrected paths keep their shape."""

from dataclasses import replace

import numpy as np
from foreign import waving

from visavis.motion import rotations as rot
from visavis.motion.contacts import Held
from visavis.motion.ik import move_arm
from visavis.motion.kinematics import positions, to_chest
from visavis.motion.path_shape import keep_shape
from visavis.motion.skeleton import default_skeleton

OURS = default_skeleton()
ARM = ("Shoulder", "UpperArm", "LowerArm", "Hand")
FRAMES = 120
TOUCHED = slice(0, 60)
ASIDE = np.array([0.03, 0.0, 0.02], np.float32)


def wrist(motion):
    return to_chest(motion, positions(motion)[:, OURS.index("leftHand")])


def hanging(sway_m):
    """A left hand before the belly that sways along all three axes."""
    motion, t = waving(FRAMES), np.linspace(0, 9 * np.pi, FRAMES)
    path = np.array([0.12, -0.2, 0.25]) + sway_m * np.stack([np.sin(t), np.cos(1.3 * t), np.sin(0.7 * t)], axis=1)
    return moved(motion, path.astype(np.float32))


def moved(motion, path):
    columns, out = OURS.indices(["left" + bone for bone in ARM]), motion.rotations.copy()
    out[:, columns] = move_arm(OURS, "left", out[:, columns], path)
    return replace(motion, rotations=out)


def held(share, unsure_m=0.0):
    nothing = np.zeros(FRAMES, np.float32)
    return Held(
        {"left": share, "right": nothing, "hands": nothing},
        {"left": np.full(FRAMES, unsure_m, np.float32), "right": nothing},
        {"left": share, "right": nothing},
    )


def touching_first(motion):
    """`motion` with its hand brought aside in the first half, and what holds it there."""
    share = np.zeros(FRAMES, np.float32)
    share[TOUCHED] = 1.0
    return moved(motion, wrist(motion) + ASIDE * share[:, None]), held(share)


def alike(a, b):
    return min(np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(3))


def test_a_small_path_is_shifted_as_a_whole_and_touches_all_the_same():
    before = hanging(0.015)
    touched, holds = touching_first(before)
    assert alike(wrist(before), wrist(touched)) < 0.8
    out = wrist(keep_shape(before, touched, touched, holds))
    assert alike(wrist(before), out) > 0.98
    assert np.linalg.norm(out - wrist(touched), axis=-1)[:55].max() < 0.012


def test_a_place_that_is_unknown_gives_way_further():
    before = hanging(0.015)
    touched, holds = touching_first(before)
    strict, loose = (
        np.linalg.norm(wrist(keep_shape(before, touched, touched, one)) - wrist(touched), axis=-1)[:55].max()
        for one in (holds, held(holds.strength["left"], 0.05))
    )
    assert strict <= loose


def test_a_wide_path_is_left_where_it_was_for_the_most_part():
    before = hanging(0.15)
    touched, holds = touching_first(before)
    out = wrist(keep_shape(before, touched, touched, holds))
    assert np.linalg.norm(out - wrist(touched), axis=-1)[:55].max() < 0.006
    assert alike(wrist(before), out) > 0.97


def test_hands_pushed_out_of_a_body_stay_out():
    before = hanging(0.015)
    share = np.clip(2 * np.sin(np.linspace(0, 20, FRAMES)), 0, 1).astype(np.float32)
    pushed = moved(before, wrist(before) + ASIDE * share[:, None])
    out = wrist(keep_shape(before, before, pushed, None))
    outwards = ASIDE / np.linalg.norm(ASIDE)
    inside = share > 0.99
    assert ((out - wrist(before)) @ outwards)[inside].min() > np.linalg.norm(ASIDE) - 0.003
    assert alike(wrist(before), wrist(pushed)) < 0.8
    assert alike(wrist(before), out) > 0.97


def wrist_of(motion, side):
    return to_chest(motion, positions(motion)[:, OURS.index(f"{side}Hand")])


def test_hands_that_meet_are_shifted_together():
    before = hanging(0.012)
    right = OURS.indices(["right" + bone for bone in ARM])
    out = before.rotations.copy()
    path = wrist(before) + np.array([-0.05, 0.0, 0.0], np.float32)
    out[:, right] = move_arm(OURS, "right", rot.mirror(out[:, OURS.indices(["left" + b for b in ARM])]), path)
    before = replace(before, rotations=out)
    share = np.clip((70 - np.arange(FRAMES)) / 20, 0, 1).astype(np.float32)
    touched = before
    for side in ("left", "right"):
        columns, turned = OURS.indices([side + bone for bone in ARM]), touched.rotations.copy()
        place = wrist_of(touched, side) + ASIDE * share[:, None]
        turned[:, columns] = move_arm(OURS, side, turned[:, columns], place)
        touched = replace(touched, rotations=turned)
    nothing, ones = np.zeros(FRAMES, np.float32), np.ones(FRAMES, np.float32)
    holds = Held(
        {"left": share, "right": nothing, "hands": ones},
        {"left": nothing, "right": nothing},
        {"left": ones, "right": ones},
    )
    shaped = keep_shape(before, touched, touched, holds)
    for side in ("left", "right"):
        assert alike(wrist_of(before, side), wrist_of(touched, side)) < 0.8
        assert alike(wrist_of(before, side), wrist_of(shaped, side)) > 0.97
    apart = [wrist_of(one, "left") - wrist_of(one, "right") for one in (touched, shaped)]
    assert np.linalg.norm(apart[0] - apart[1], axis=-1).max() < 0.006


def test_what_was_not_corrected_is_the_same_object():
    motion = hanging(0.05)
    assert keep_shape(motion, motion, motion, None) is motion
    same = replace(motion)
    assert keep_shape(motion, same, same, None) is same
