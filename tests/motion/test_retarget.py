import time
from dataclasses import replace

import numpy as np
import pytest
from foreign import arms_lowered, longer, mixamo, renamed, rested, turned, waving, without

from visavis.errors import FileFormatError
from visavis.motion import limits
from visavis.motion import rotations as rot
from visavis.motion.avatar import avatar_names, load_avatar
from visavis.motion.canonical import from_canonical, rig
from visavis.motion.collision import penetration_m
from visavis.motion.idle import idle, relaxed_pose
from visavis.motion.kinematics import forward, positions, to_chest
from visavis.motion.motion import Motion
from visavis.motion.retarget import normalized, retarget
from visavis.motion.skeleton import default_skeleton

OURS = default_skeleton()


def apart_deg(a, b, bones=OURS.names):
    """The worst joint and frame, in degrees."""
    columns = OURS.indices(list(bones))
    return float(np.degrees(rot.angle_between(a.rotations[:, columns], b.rotations[:, columns])).max())


def test_the_same_body_gets_the_same_motion():
    motion = waving()
    assert apart_deg(retarget(motion), motion) < 0.05
    assert np.array_equal(retarget(motion).root_m, motion.root_m)


@pytest.mark.parametrize("degrees", [20, 45, 80])
def test_the_rest_pose_does_not_matter(degrees):
    motion = waving()
    source = renamed(rested(motion, arms_lowered(degrees)), mixamo)
    assert apart_deg(retarget(source), motion) < 0.6
    assert np.allclose(retarget(source).root_m, motion.root_m, atol=2e-3)


@pytest.mark.parametrize("axis, angle", [([0, 1, 0], 180), ([1, 0, 0], 90), ([1, 0, 0], -90), ([0, 1, 0], 90)])
def test_the_axes_of_the_world_do_not_matter(axis, angle):
    motion = waving()
    q = rot.from_axis_angle(np.array(axis, np.float32), np.float32(np.radians(angle)))
    source = renamed(turned(motion, q), mixamo)
    assert apart_deg(retarget(source), motion) < 0.6


def test_bones_along_one_axis_are_understood_from_the_motion():
    # Every joint turned at will: the pose of all zeros is no pose of a body.
    motion, rng = waving(), np.random.default_rng(0)
    source = renamed(rested(motion, rot.normalize(rng.normal(size=(55, 4)))), mixamo)
    out = retarget(source)
    places = positions(motion)
    for side in ("left", "right"):
        i = OURS.index(f"{side}Hand")
        a, b = to_chest(motion, places[:, i]), to_chest(out, positions(out)[:, i])
        moving = a.std(axis=0) > 0.01
        if moving.any():
            alike = [np.corrcoef(a[:, k], b[:, k])[0, 1] for k in np.flatnonzero(moving)]
            assert min(alike) > 0.95
    assert (positions(out)[:, OURS.index("head"), 1] > 1.2).all()


@pytest.mark.parametrize("missing", [("chest",), ("upperChest", "chest"), ("neck",), ("leftShoulder", "rightShoulder")])
def test_columns_of_another_length_keep_chest_and_head(missing):
    motion = waving()
    out = retarget(without(motion, *missing))
    head = OURS.index("head")
    world = [forward(m.rotations, m.root_m, OURS)[1][:, head] for m in (motion, out)]
    assert np.degrees(rot.angle_between(*world)).max() < 1.0


def test_missing_fingers_are_relaxed_and_a_body_without_legs_stands():
    motion = waving()
    fingers = [name for name in OURS.names if any(f in name for f in ("Thumb", "Index", "Middle", "Ring", "Little"))]
    legs = [name for name in OURS.names if any(part in name for part in ("Leg", "Foot", "Toes"))]
    out = retarget(without(motion, *fingers, *legs))
    columns = OURS.indices(fingers)
    assert np.allclose(np.abs(np.sum(out.rotations[:, columns] * relaxed_pose()[columns], axis=-1)), 1, atol=1e-4)
    ankles = positions(out)[:, OURS.indices(["leftFoot", "rightFoot"])]
    assert np.ptp(ankles, axis=0).max() < 0.005
    assert np.allclose(ankles[..., 1], OURS.rest_positions_m[OURS.index("leftFoot"), 1], atol=0.005)


def test_other_limbs_there_and_back_within_a_degree():
    motion = waving()
    body = longer({"LowerArm": 0.7, "Hand": 1.3, "LowerLeg": 1.3, "Foot": 0.7})
    there = retarget(motion, body)
    assert there.skeleton is body
    assert apart_deg(retarget(there, OURS), motion) < 1.0
    ankles = positions(there)[:, OURS.indices(["leftFoot", "rightFoot"])]
    assert np.ptp(ankles, axis=0).max() < 0.01, "feet that stood still stand still"


def test_the_way_to_another_skeleton_and_back():
    motion = waving()
    target = renamed(
        turned(rested(motion, arms_lowered(40)), rot.from_axis_angle([0, 1, 0], np.float32(np.pi))), mixamo
    )
    there = retarget(motion, target.skeleton)
    assert there.skeleton.names == target.skeleton.names
    assert np.abs(positions(there) - positions(target)).max() < 0.005
    assert apart_deg(retarget(there), motion) < 1.0


def test_limits_hold_and_left_is_left_on_every_avatar():
    rng = np.random.default_rng(1)
    wild = waving()
    noise = rot.from_rotation_vector(rng.normal(0, 0.5, size=(1, 55, 3)))
    wild = replace(wild, rotations=rot.multiply(wild.rotations, noise))
    for name in avatar_names():
        skeleton = load_avatar(name).skeleton
        out = retarget(renamed(wild, mixamo), skeleton)
        assert limits.excess(out.rotations).max() < 1e-3
        plain = retarget(waving(), skeleton)
        right = to_chest(plain, positions(plain)[:, skeleton.index("rightHand")])
        assert right[:, 1].mean() > 0 and right[:, 0].mean() < 0, "the right hand waves, on the right"


def test_face_rate_and_length_stay_and_nothing_is_no_problem():
    face = np.random.default_rng(0).random((5, 52), np.float32)
    motion = replace(waving(5), face=face)
    out = retarget(renamed(motion, mixamo))
    assert np.array_equal(out.face, face) and out.fps == motion.fps and len(out) == 5
    assert len(retarget(motion.slice(0, 0), longer({"Hand": 1.1}))) == 0


def test_reading_and_writing_are_inverse():
    motion = renamed(rested(waving(), arms_lowered(30)), mixamo)
    source, read = normalized(motion)
    again = from_canonical(source, rig(motion.skeleton, read.bones))
    assert np.abs(positions(again) - positions(motion)).max() < 1e-4


def test_a_thousand_frames_take_less_than_seconds():
    motion = renamed(waving(1000), mixamo)
    started = time.process_time()
    assert len(retarget(motion, longer({"Hand": 1.2}))) == 1000
    assert time.process_time() - started < 4.0


def test_positions_of_the_source_survive_being_read():
    motion = renamed(rested(waving(), arms_lowered(50)), mixamo)
    source, read = normalized(motion)
    places = positions(source)
    for bone, joint in read.bones.bones.items():
        theirs = positions(motion)[:, motion.skeleton.index(joint)]
        assert np.abs(places[:, OURS.index(bone)] - theirs).max() < 2e-3, bone
    assert isinstance(source, Motion)


def test_limbs_without_length_are_refused_with_a_clear_error():
    with pytest.raises(FileFormatError, match="expected limbs with a length; the ways to leftHand, rightHand"):
        retarget(renamed(waving(2), mixamo), longer({"Hand": 0.0}))


def test_hands_hang_beside_a_broad_body_not_in_it():
    broad = load_avatar("juno").skeleton
    motion = idle(20, 1)
    # Arms straight down and close, as on a slim body.
    for side, sign in (("left", -1), ("right", 1)):
        upper = OURS.index(f"{side}UpperArm")
        closer = rot.from_axis_angle(np.array([0, 0, 1], np.float32), np.float32(sign * np.radians(12)))
        motion.rotations[:, upper] = rot.multiply(closer, motion.rotations[:, upper])
    assert penetration_m(replace(motion, skeleton=broad)).max() > 0.02
    out = retarget(motion, broad)
    assert penetration_m(out).max() < 0.003
    assert limits.excess(out.rotations).max() < 1e-3
