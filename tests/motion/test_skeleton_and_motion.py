import numpy as np
import pytest

from visavis.motion import rotations as rot
from visavis.motion.idle import idle
from visavis.motion.kinematics import chest_frame, forward, from_chest, positions, tips, to_chest
from visavis.motion.motion import Motion
from visavis.motion.skeleton import ARM_BONES, CORE_BONES, default_skeleton

SKELETON = default_skeleton()


def test_parents_come_before_children_and_sides_mirror():
    assert len(SKELETON) == 55
    assert all(parent < i for i, parent in enumerate(SKELETON.parents))
    flip = np.array([-1, 1, 1])
    assert np.allclose(SKELETON.offsets_m[SKELETON.mirror_index], SKELETON.offsets_m * flip, atol=1e-6)
    assert (SKELETON.mirror_index[SKELETON.mirror_index] == np.arange(55)).all()


def test_parts_do_not_overlap():
    parts = [set(SKELETON.part(name).tolist()) for name in ("core", "left", "right")]
    assert [len(part) for part in parts] == [len(CORE_BONES), len(ARM_BONES), len(ARM_BONES)]
    assert not parts[0] & parts[1] and not parts[1] & parts[2]


def test_t_pose_is_where_the_skeleton_says():
    assert np.allclose(positions(Motion.rest(2))[1], SKELETON.rest_positions_m, atol=1e-6)
    assert np.allclose(tips(Motion.rest(1))["head"][0, 1], 1.675, atol=1e-3)


def test_forward_agrees_with_a_walk_down_the_tree():
    rng = np.random.default_rng(1)
    q, root = rot.normalize(rng.normal(size=(3, 55, 4))), rng.normal(size=(3, 3)).astype(np.float32)
    places, turned = forward(q, root, SKELETON)
    matrices = rot.to_matrix(q)
    for bone in range(55):
        chain, at = [], bone
        while at >= 0:
            chain.append(at)
            at = SKELETON.parents[at]
        point, m = root.copy(), np.tile(np.eye(3, dtype=np.float32), (3, 1, 1))
        for link in reversed(chain):
            if link:
                point = point + m @ SKELETON.offsets_m[link]
            m = m @ matrices[:, link]
        assert np.allclose(places[:, bone], point, atol=1e-4)
        assert np.allclose(rot.to_matrix(turned[:, bone]), m, atol=1e-4)


def test_chest_frame_round_trip():
    motion = idle(20, 0)
    points = np.random.default_rng(2).normal(size=(20, 3)).astype(np.float32)
    assert np.allclose(from_chest(motion, to_chest(motion, points)), points, atol=1e-5)
    assert np.allclose(to_chest(motion, chest_frame(motion)[0]), 0, atol=1e-6)


def test_mirrored_motion_has_mirrored_places_and_twice_is_the_same():
    motion = idle(10, 3)
    flip = np.array([-1, 1, 1])
    assert np.allclose(positions(motion.mirrored()), positions(motion)[:, SKELETON.mirror_index] * flip, atol=1e-5)
    assert np.array_equal(motion.mirrored().mirrored().rotations, motion.rotations)


def test_slices_join_to_the_whole_and_shapes_are_checked():
    motion = idle(30, 4).with_face(np.zeros((30, 52)))
    whole = motion.slice(0, 12).concatenate(motion.slice(12, 30))
    assert np.array_equal(whole.rotations, motion.rotations) and whole.face.shape == (30, 52)
    with pytest.raises(ValueError, match="root_m must be"):
        Motion(motion.rotations, np.zeros((3, 3)))
    with pytest.raises(ValueError, match="face must be"):
        motion.with_face(np.zeros((30, 51)))
