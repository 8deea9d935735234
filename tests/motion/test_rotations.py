import numpy as np
import pytest

from visavis.motion import rotations as rot

RNG = np.random.default_rng(0)
Q = rot.normalize(RNG.normal(size=(200, 4)))
P = rot.normalize(RNG.normal(size=(200, 4)))
V = RNG.normal(size=(200, 3)).astype(np.float32)


def same(a, b, tolerance=2e-3):
    return np.max(rot.angle_between(a, b)) < tolerance


@pytest.mark.parametrize(
    ("there", "back"),
    [(rot.to_matrix, rot.from_matrix), (rot.to_6d, rot.from_6d), (rot.to_rotation_vector, rot.from_rotation_vector)],
)
def test_round_trips(there, back):
    assert same(back(there(Q)), Q)


def test_columns_are_read_alike_however_far_the_turn():
    near = rot.from_rotation_vector(RNG.normal(0, 0.3, (50, 3)))
    half = rot.from_axis_angle(V[:50], np.full(50, np.pi))  # w is zero
    for q in (near, half, Q):
        assert same(rot.from_6d(3.0 * rot.to_6d(q)), q)  # lengths do not count
        np.testing.assert_allclose(np.linalg.norm(rot.from_6d(3.0 * rot.to_6d(q)), axis=-1), 1, atol=1e-6)
    assert rot.from_6d(np.zeros((0, 5, 6))).shape == (0, 5, 4)


def test_product_applies_the_right_one_first():
    assert np.allclose(rot.rotate(rot.multiply(Q, P), V), rot.rotate(Q, rot.rotate(P, V)), atol=1e-5)
    assert np.allclose(np.einsum("tij,tj->ti", rot.to_matrix(Q), V), rot.rotate(Q, V), atol=1e-5)


def test_swing_twist_multiplies_back_and_twist_keeps_the_axis():
    axis = rot.normalize(V)
    swing, twist = rot.swing_twist(Q, axis)
    assert same(rot.multiply(swing, twist), Q)
    assert np.allclose(rot.rotate(twist, axis), axis, atol=1e-5)
    assert np.abs(np.sum(swing[:, :3] * axis, axis=-1)).max() < 1e-5


def test_rotation_between_turns_one_into_the_other_even_when_opposite():
    a, b = rot.normalize(V), rot.normalize(V[::-1])
    assert np.allclose(rot.rotate(rot.rotation_between(a, b), a), b, atol=1e-5)
    assert np.allclose(rot.rotate(rot.rotation_between(a, -a), a), -a, atol=1e-4)


def test_slerp_ends_and_middle():
    assert same(rot.slerp(Q, P, np.zeros(200)), Q) and same(rot.slerp(Q, P, np.ones(200)), P)
    middle = rot.slerp(Q, P, np.full(200, 0.5))
    assert np.allclose(rot.angle_between(Q, middle), rot.angle_between(middle, P), atol=2e-3)


def test_mirror_is_a_reflection():
    flip = np.array([-1, 1, 1])
    assert np.allclose(rot.rotate(rot.mirror(Q), V * flip), rot.rotate(Q, V) * flip, atol=1e-5)


def test_continuous_has_no_sign_flips_and_the_same_rotations():
    smooth = rot.continuous(Q)
    assert (np.sum(smooth[1:] * smooth[:-1], axis=-1) >= 0).all()
    assert same(smooth, Q)
