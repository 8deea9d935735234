import numpy as np
import pytest

from visavis.motion.avatar import load_avatar
from visavis.motion.fitting import fitted, same_skeleton
from visavis.motion.idle import idle
from visavis.motion.kinematics import positions
from visavis.motion.motion import Motion
from visavis.motion.skeleton import Skeleton, default_skeleton


@pytest.fixture(scope="module")
def juno():
    return load_avatar("juno")


def test_a_motion_made_for_the_avatar_stays_itself():
    motion = idle(3, seed=0)
    assert fitted(motion, load_avatar()) is motion


def test_a_copy_of_the_skeleton_counts_as_the_same_one():
    ours = default_skeleton()
    copy = Skeleton(ours.names, ours.parents.copy(), ours.offsets_m + 1e-6, dict(ours.tips_m))
    assert same_skeleton(ours, copy)
    motion = idle(3, seed=0)
    other = fitted(Motion(motion.rotations, motion.root_m, None, copy), load_avatar())
    assert other.skeleton is ours
    np.testing.assert_array_equal(other.rotations, motion.rotations)


def test_another_body_stands_on_the_same_floor_and_keeps_its_face(juno):
    motion = idle(40, seed=4)
    face = np.random.default_rng(0).random((40, 52)).astype(np.float32)
    got = fitted(motion.with_face(face), juno)
    assert got.skeleton is juno.skeleton and not same_skeleton(got.skeleton, motion.skeleton)
    assert len(got) == 40 and got.fps == motion.fps
    np.testing.assert_array_equal(got.face, face)
    for side in ("left", "right"):
        toes = got.skeleton.index(f"{side}Toes")
        rest = got.skeleton.rest_positions_m[toes, 1]
        np.testing.assert_allclose(positions(got)[:, toes, 1], rest, atol=0.01)
    lowest = min(juno.pose(got.rotations[f], got.root_m[f])[:, 1].min() for f in (0, 20, 39))
    assert abs(lowest) < 0.012


def test_the_result_is_remembered(juno):
    motion = idle(3, seed=0)
    assert fitted(motion, juno) is fitted(motion, juno)
