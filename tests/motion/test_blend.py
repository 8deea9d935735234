import numpy as np

from visavis.motion import rotations as rot
from visavis.motion.blend import crossfade, inertialize, overlay
from visavis.motion.idle import idle
from visavis.motion.motion import Motion

A, B = idle(60, 1), idle(90, 2)


def step(a, b):
    return float(np.degrees(rot.angle_between(a, b).max()))


def test_a_seam_has_no_pop_and_the_new_motion_wins():
    joined = inertialize(A, B, 0.1)
    assert step(A.rotations[-1], B.rotations[0]) > 3
    assert step(A.rotations[-1], joined.rotations[0]) < 1
    assert np.abs(joined.root_m[0] - A.root_m[-1]).max() < 0.1 * np.abs(B.root_m[0] - A.root_m[-1]).max()
    assert np.abs(joined.rotations[60:] - B.rotations[60:]).max() < 1e-3
    assert np.allclose(np.linalg.norm(joined.rotations, axis=-1), 1, atol=1e-5)


def test_continuing_oneself_changes_nothing():
    whole = idle(90, 5)
    joined = inertialize(whole.slice(0, 40), whole.slice(40, 90), 0.2)
    assert step(joined.rotations, whole.rotations[40:]) < 0.2


def test_speed_is_continued():
    # A head that turns at 60 degrees a second meets one that rests: it must not stop within a frame.
    turning, resting = Motion.rest(10), Motion.rest(60)
    head = turning.skeleton.index("head")
    turning.rotations[:, head] = rot.from_axis_angle(np.array([0, 1, 0]), np.radians(2.0 * np.arange(10)))
    joined = inertialize(turning, resting, 0.15)
    assert 18.2 < np.degrees(rot.angle_between(joined.rotations[0, head], rot.IDENTITY)) < 20.5


def test_faces_are_joined_inside_their_range():
    joined = inertialize(A.with_face(np.ones((60, 52))), B.with_face(np.zeros((90, 52))), 0.1)
    assert joined.face[0].min() > 0.8 and joined.face.max() <= 1 and np.abs(joined.face[-1]).max() < 1e-3


def test_crossfade_length_and_ends():
    mixed = crossfade(A, B, 15)
    assert len(mixed) == 60 + 90 - 15
    assert np.array_equal(mixed.rotations[:45], A.rotations[:45])
    assert np.array_equal(mixed.rotations[60:], B.rotations[15:])
    assert len(crossfade(A, B, 0)) == 150


def test_overlay_touches_only_its_bones_and_frames():
    laid = overlay(A, B, 20, ["leftHand"], 5, 5)
    i = A.skeleton.index("leftHand")
    others = np.arange(55) != i
    assert np.array_equal(laid.rotations[:, others], A.rotations[:, others])
    assert np.array_equal(laid.rotations[:20], A.rotations[:20])
    assert np.allclose(laid.rotations[30:, i], B.rotations[10:40, i], atol=1e-5)
    assert np.allclose(overlay(A, B, 20, weight=0.0).rotations, A.rotations, atol=1e-6)
    assert overlay(A, B, 200) is A and len(overlay(A, B, -80)) == 60
