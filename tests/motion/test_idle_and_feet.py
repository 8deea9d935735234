import numpy as np
import pytest

from visavis.motion import rotations as rot
from visavis.motion.collision import penetration_m
from visavis.motion.feet import ankle_targets, plant
from visavis.motion.idle import idle
from visavis.motion.kinematics import positions
from visavis.motion.limits import excess
from visavis.motion.motion import Motion
from visavis.motion.skeleton import default_skeleton

SKELETON = default_skeleton()


def ankles_off(motion):
    places = positions(motion)
    return max(
        np.abs(places[:, SKELETON.index(f"{s}Foot")] - at).max() for s, (at, _) in ankle_targets(SKELETON).items()
    )


@pytest.mark.parametrize("seed", range(4))
def test_idle_is_calm_alive_and_whole(seed):
    motion = idle(600, seed)
    places = positions(motion)
    speed = np.linalg.norm(np.diff(places, axis=0), axis=-1) * 30
    assert speed.max() < 0.15
    assert speed[:, SKELETON.index("head")].mean() > 0.002
    assert ankles_off(motion) < 1e-3
    assert excess(motion.rotations).max() == 0 and penetration_m(motion).max() == 0


def test_idle_continues_itself_and_seeds_differ():
    whole = idle(120, 7, 3600.0)
    assert np.array_equal(whole.rotations[60:], idle(60, 7, 3602.0).rotations)
    assert np.degrees(rot.angle_between(whole.rotations, idle(120, 8, 3600.0).rotations).max()) > 2
    assert len(idle(0, 1)) == 0


@pytest.mark.parametrize("start_s", [0.0, 3600.0])
def test_idle_in_pieces_is_the_same_life_across_every_shift_of_weight(start_s):
    whole = idle(40 * 30, 3, start_s)
    pieces = [idle(30, 3, start_s + k) for k in range(40)]
    np.testing.assert_allclose(whole.rotations, np.concatenate([piece.rotations for piece in pieces]), atol=1e-6)
    assert np.ptp(whole.root_m[:, 0]) > 0.02  # the weight did go over


def test_the_weight_mostly_goes_to_the_other_side():
    changed = []
    for seed in range(20):
        side = np.sign(idle(3000, seed).root_m[15::282, 0])  # about once in a slot of 9.4 s
        changed += list(side[1:] != side[:-1])
    assert 0.6 < np.mean(changed) < 0.9


def test_feet_stay_whatever_the_hips_do():
    motion = idle(60, 3)
    time = np.linspace(0, 2 * np.pi, 60)
    moved = Motion(
        motion.rotations.copy(),
        motion.root_m + np.stack([0.06 * np.sin(time), -0.1 - 0.1 * np.cos(time), 0 * time], -1),
    )
    moved.rotations[:, 0] = rot.from_rotation_vector(np.stack([0.1 * np.sin(time), 0.2 * np.cos(time), 0 * time], -1))
    planted = plant(moved, np.sin(time))
    assert ankles_off(planted) < 1e-3
    upper = [
        i
        for i, name in enumerate(SKELETON.names)
        if not any(leg in name for leg in ("Leg", "Foot", "Toes", "hips", "spine"))
    ]
    assert np.array_equal(planted.rotations[:, upper], moved.rotations[:, upper])


def test_weight_goes_over_the_carrying_foot_and_the_trunk_stays_upright():
    still = idle(2, 0)
    left, middle = plant(still, 1.0), plant(still, 0.0)
    assert left.root_m[0, 0] > middle.root_m[0, 0] + 0.03
    i = SKELETON.index("upperChest")
    from visavis.motion.kinematics import forward

    a, b = (forward(m.rotations, m.root_m, SKELETON)[1][:, i] for m in (left, middle))
    assert np.degrees(rot.angle_between(a, b).max()) < 0.2
