"""A feeling holds the arms: which way, how far, where it must not, and without a jump."""

from dataclasses import replace

import numpy as np
import pytest

from visavis.agent.bearing import feeling, with_bearing
from visavis.emotion import EMOTIONS, Emotion
from visavis.motion import rotations
from visavis.motion.idle import idle
from visavis.motion.ik import solve_arm
from visavis.motion.kinematics import positions, to_chest
from visavis.motion.limits import excess
from visavis.motion.motion import Motion

FREE = {side: np.ones(60, np.float32) for side in ("core", "left", "right")}


def full(name: str, intensity: float = 1.0, frames: int = 60) -> np.ndarray:
    return np.tile(np.array(Emotion(name, intensity).vector, np.float32), (frames, 1))


def wrists(motion: Motion) -> np.ndarray:
    places = positions(motion)
    return np.stack([to_chest(motion, places[:, motion.skeleton.index(f"{s}Hand")]) for s in ("left", "right")], 1)


@pytest.fixture(scope="module")
def calm() -> Motion:
    return idle(60, 1)


def test_nothing_felt_changes_nothing(calm):
    assert with_bearing(calm, full("neutral", 0.0), FREE) is calm


def test_joy_brings_the_hands_forward_and_up_and_anger_the_elbows_out(calm):
    plain = wrists(calm)
    glad, angry, sad = (wrists(with_bearing(calm, full(name), FREE)) for name in ("joy", "anger", "sadness"))
    assert (glad[..., 2] - plain[..., 2]).mean() > 0.05 and (glad[..., 1] - plain[..., 1]).mean() > 0.02
    apart = [np.linalg.norm(x[:, 0] - x[:, 1], axis=-1).mean() for x in (sad, plain, angry)]
    assert apart[0] < apart[1] < apart[2] - 0.1


@pytest.mark.parametrize("name", EMOTIONS[1:])
def test_it_grows_with_intensity_mirrored_and_inside_the_limits(calm, name):
    moved = [np.abs(wrists(with_bearing(calm, full(name, k), FREE)) - wrists(calm)).mean((0, 2)) for k in (0.3, 0.6, 1)]
    assert (moved[0] < moved[1]).all() and (moved[1] < moved[2]).all()
    assert moved[2][0] == pytest.approx(moved[2][1], rel=0.25)
    borne = with_bearing(calm, full(name), FREE)
    assert excess(borne.rotations).max() <= excess(calm.rotations).max() + 1e-4
    touched = ("UpperArm", "LowerArm", "spine", "hest", "neck", "head")
    others = [i for i, bone in enumerate(calm.skeleton.names) if not bone.endswith(touched)]
    assert np.array_equal(borne.rotations[:, others], calm.rotations[:, others])


def test_an_arm_that_makes_a_gesture_is_left_alone(calm):
    busy = FREE | {"right": np.zeros(60, np.float32)}
    borne = wrists(with_bearing(calm, full("anger"), busy))
    np.testing.assert_allclose(borne[:, 1], wrists(calm)[:, 1], atol=1e-5)
    assert np.abs(borne[:, 0] - wrists(calm)[:, 0]).max() > 0.05


def test_movement_grows_and_shrinks_but_not_beside_a_border(calm):
    turned = calm.rotations.copy()
    nods = np.zeros((60, 3), np.float32)
    nods[:, 0] = 0.1 * np.sin(np.arange(60) / 60 * 2 * np.pi * 4)
    head = calm.skeleton.index("head")
    turned[:, head] = rotations.multiply(rotations.from_rotation_vector(nods), turned[:, head])
    nodding = replace(calm, rotations=turned)

    def size(name: str) -> float:
        borne = with_bearing(nodding, full(name), FREE).rotations[15:45, head]
        return float(rotations.to_rotation_vector(borne)[:, 0].std())

    plain = float(rotations.to_rotation_vector(turned[15:45, head])[:, 0].std())
    assert size("sadness") < 0.7 * plain and size("anger") > 1.3 * plain
    glad = with_bearing(nodding, full("joy"), FREE)
    np.testing.assert_allclose(glad.rotations[[0, -1], head], turned[[0, -1], head], atol=1e-6)
    busy = FREE | {"core": np.zeros(60, np.float32)}
    np.testing.assert_allclose(with_bearing(nodding, full("joy"), busy).rotations[:, head], turned[:, head], atol=1e-6)


def test_a_sad_head_sinks_over_gestures_unless_a_hand_is_near_it(calm):
    head, busy = calm.skeleton.index("head"), dict.fromkeys(FREE, np.zeros(60, np.float32))
    borne = with_bearing(calm, full("sadness"), busy)
    sunk = np.degrees(rotations.angle_between(borne.rotations[:, head], calm.rotations[:, head]))
    assert sunk.min() > 5
    beside = to_chest(calm, positions(calm)[:, head]) + np.array([-0.12, 0.0, 0.1], np.float32)
    near = solve_arm(calm.skeleton, "right", beside)
    turned = calm.rotations.copy()
    turned[:, calm.skeleton.indices([f"right{b}" for b in ("Shoulder", "UpperArm", "LowerArm", "Hand")])] = near
    saluting = replace(calm, rotations=turned)
    borne = with_bearing(saluting, full("sadness"), busy)
    np.testing.assert_allclose(borne.rotations, saluting.rotations, atol=1e-6)


def test_feelings_change_smoothly():
    zero, joy = np.zeros(7, np.float32), np.array(Emotion("joy", 1.0).vector, np.float32)
    track = feeling(zero, joy, 40)
    assert track.shape == (40, 7) and track[0].max() < 0.01 and np.array_equal(track[30], joy)
    assert np.abs(np.diff(track, axis=0)).max() < 0.1
    again = np.concatenate([track[:10], feeling(track[9], zero, 40)])
    assert np.abs(np.diff(again[:, 1])).max() < 0.1 and again[-1].max() == 0
    assert feeling(zero, joy, 0).shape == (0, 7)
