"""All joints of an arm together."""

import numpy as np
import pytest
from foreign import longer

from visavis.motion import limits
from visavis.motion import rotations as rot
from visavis.motion.arm_search import bring_point
from visavis.motion.skeleton import default_skeleton

OURS = default_skeleton()
ARM = ("Shoulder", "UpperArm", "LowerArm", "Hand")
POINT = np.array([0.06, -0.02, 0.0], np.float32)
FRAMES = 50


def bones(side):
    return tuple(side + bone for bone in ARM)


def drawn(side, spread, seed, base=None):
    turns = rot.from_rotation_vector(np.random.default_rng(seed).normal(0, spread, (FRAMES, 4, 3)).astype(np.float32))
    turns = turns if side == "left" else rot.mirror(turns)
    return limits.clamp_of(turns if base is None else rot.multiply(turns, base), bones(side))


def seen(body, side, arm, point):
    """The point and the hand in the chest frame."""
    offsets = body.offsets_m[body.indices(bones(side))]
    place, turned = np.tile(offsets[0], (FRAMES, 1)), arm[:, 0]
    for i in range(1, 4):
        place, turned = place + rot.rotate(turned, offsets[i]), rot.multiply(turned, arm[:, i])
    return place + rot.rotate(turned, point), turned


@pytest.mark.parametrize("side", ["left", "right"])
def test_what_another_pose_reaches_is_reached_inside_the_limits(side):
    point = np.tile(POINT * (1 if side == "left" else np.array([-1, 1, 1], np.float32)), (FRAMES, 1))
    arm = drawn(side, 0.4, 0)
    place, hand = seen(OURS, side, drawn(side, 0.06, 1, arm), point)
    before = np.linalg.norm(seen(OURS, side, arm, point)[0] - place, axis=1)
    out = bring_point(OURS, side, arm, point, place, hand, 12)
    after, turned = seen(OURS, side, out, point)
    assert np.median(before) > 0.03 and np.linalg.norm(after - place, axis=1).max() < 0.005
    assert np.degrees(np.median(rot.angle_between(turned, hand))) < 1.0
    assert limits.excess_of(out, bones(side)).max() < 1e-3


def test_a_hand_that_is_there_stays():
    arm, point = drawn("left", 0.3, 2), np.tile(POINT, (FRAMES, 1))
    place, hand = seen(OURS, "left", arm, point)
    assert np.abs(bring_point(OURS, "left", arm, point, place, hand, 5) - arm).max() < 1e-4


def test_nothing_gets_worse_where_a_place_is_out_of_reach():
    body, point = longer({"LowerArm": 1.2, "Hand": 0.7}), np.tile(POINT, (FRAMES, 1))
    arm = drawn("left", 0.4, 3)
    place, hand = seen(body, "left", arm, point)
    place = place + np.array([0.6, 0.6, 0.0], np.float32)
    out = bring_point(body, "left", arm, point, place, hand, 10)
    before, after = (np.linalg.norm(seen(body, "left", a, point)[0] - place, axis=1) for a in (arm, out))
    assert (after < before + 1e-4).mean() > 0.95 and np.isfinite(out).all()
