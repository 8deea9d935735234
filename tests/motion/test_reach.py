"""Arms of other lengths."""

import numpy as np
import pytest
from foreign import longer

from visavis.motion import rotations as rot
from visavis.motion.anatomy import ordered
from visavis.motion.kinematics import positions, to_chest
from visavis.motion.motion import Motion
from visavis.motion.reach import carry_arm
from visavis.motion.skeleton import Skeleton, default_skeleton

OURS = default_skeleton()
ARM = ("Shoulder", "UpperArm", "LowerArm", "Hand")
# Upper arm and forearm, each from the shortest to the longest.
BODIES = [{"LowerArm": a, "Hand": b} for a, b in ((0.7, 1.3), (1.3, 0.7), (0.8, 0.8), (1.1, 0.9))]


def moving(side, frames=60, bend=(5.0, 145.0), seed=0):
    """An arm that goes everywhere, its elbow bent between two angles (degrees)."""
    rng, t = np.random.default_rng(seed), np.linspace(0, 4 * np.pi, frames)
    turns = np.stack([np.sin(t * rng.uniform(0.5, 2.0, 1) + rng.uniform(0, 6)) for _ in range(9)], axis=1)
    arm = np.tile(rot.IDENTITY, (frames, 4, 1))
    arm[:, 0] = rot.from_rotation_vector(0.1 * turns[:, :3])
    arm[:, 1] = rot.from_rotation_vector(0.7 * turns[:, 3:6])
    flexion = np.radians(bend[0] + (bend[1] - bend[0]) * (0.5 + 0.5 * turns[:, 6]))
    arm[:, 2] = rot.from_axis_angle(np.array([0, -1, 0], np.float32), flexion.astype(np.float32))
    arm[:, 3] = rot.from_rotation_vector(0.3 * turns[:, 6:9])
    return arm if side == "left" else rot.mirror(arm)


def wrist_from_shoulder(arm, side, body):
    pose = np.tile(rot.IDENTITY, (len(arm), 55, 1))
    pose[:, body.indices([side + bone for bone in ARM])] = arm
    motion = Motion(pose, np.tile(body.offsets_m[0], (len(arm), 1)), None, body)
    places = positions(motion)
    ends = [to_chest(motion, places[:, body.index(side + bone)]) for bone in ("Hand", "UpperArm")]
    return ends[0] - ends[1]


def length(body):
    return sum(float(np.linalg.norm(body.offsets_m[body.index(f"left{bone}")])) for bone in ("LowerArm", "Hand"))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("limbs", BODIES)
def test_the_way_there_and_back_is_the_same(side, limbs):
    body, arm = longer(limbs), moving(side)
    back = carry_arm(carry_arm(arm, side, OURS, body), side, body, OURS)
    assert np.degrees(rot.angle_between(back, arm)).max() < 0.1


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("limbs", BODIES)
def test_the_wrist_goes_the_same_way_in_arm_lengths(side, limbs):
    body, arm = longer(limbs), moving(side, bend=(5.0, 105.0))
    here = wrist_from_shoulder(arm, side, OURS) / length(OURS)
    there = wrist_from_shoulder(carry_arm(arm, side, OURS, body), side, body) / length(body)
    assert np.abs(here - there).max() < 0.005


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_clavicle_that_lies_otherwise_does_not_bend_the_wrist_s_way(side):
    offsets, i = OURS.offsets_m.copy(), OURS.index(f"{side}UpperArm")
    offsets[i] += np.array([0.0, 0.0, -0.09], np.float32)
    body = Skeleton(OURS.names, OURS.parents, offsets, OURS.tips_m)
    arm = moving(side, bend=(30.0, 90.0))
    out = carry_arm(arm, side, body, OURS)
    clavicle = [
        rot.rotate(arm[:, 0], one.offsets_m[i]) * np.linalg.norm(OURS.offsets_m[i]) / np.linalg.norm(one.offsets_m[i])
        for one in (body, OURS)
    ]
    before, after = (
        c + wrist_from_shoulder(a, side, one) for c, a, one in zip(clavicle, (arm, out), (body, OURS), strict=True)
    )
    off, copied = (x - x.mean(axis=0) for x in (after - before, clavicle[1] - clavicle[0]))
    assert np.abs(off).max() < 0.003 < 0.008 < np.abs(copied).max()
    there = carry_arm(out, side, OURS, body)
    assert np.degrees(rot.angle_between(there, arm)).max() < 0.1


def test_equal_proportions_keep_their_bits():
    arm = moving("left")
    assert carry_arm(arm, "left", OURS, longer({"LowerArm": 1.2, "Hand": 1.2})) is arm


def test_an_elbow_that_bends_the_wrong_way_is_rolled_without_a_leap():
    # Some recordings turn the upper arm by half a turn and the forearm back again.
    t = np.linspace(0, 2 * np.pi, 120)
    pose = np.tile(rot.IDENTITY, (120, 55, 1))
    upper, lower = OURS.indices(["leftUpperArm", "leftLowerArm"])
    bent = rot.from_axis_angle(np.array([0, -1, 0], np.float32), np.float32(np.radians(60)))
    roll = rot.from_axis_angle(np.array([1, 0, 0], np.float32), (np.pi + 0.4 * np.sin(t)).astype(np.float32))
    pose[:, upper], pose[:, lower] = roll, rot.multiply(rot.conjugate(roll), bent)
    out = ordered(pose)
    tip = np.array([1, 0, 0], np.float32)
    for one in (pose, out):
        forearm = rot.rotate(rot.multiply(one[:, upper], one[:, lower]), tip)
        assert np.allclose(forearm[:, 2], np.sin(np.radians(60)), atol=1e-3)
    sideways = rot.rotate(out[:, lower], tip)[:, 1]
    assert np.abs(sideways).max() < 0.06, "the elbow is a hinge again"
    assert np.degrees(rot.angle_between(out[1:, upper], out[:-1, upper])).max() < 5
