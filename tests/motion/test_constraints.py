from dataclasses import replace

import numpy as np
import pytest

from visavis.motion import rotations as rot
from visavis.motion.constraints import Constraint, residuals, solve
from visavis.motion.idle import idle
from visavis.motion.kinematics import positions

MOTION = idle(150, 1)
PLACE = Constraint("rightHand", "chest", (-0.25, -0.1, 0.35), None, 1.0, 2.0, "huge size")


@pytest.mark.parametrize(
    "promise",
    [
        PLACE,
        replace(PLACE, effector="palm"),
        replace(PLACE, effector="index_tip"),
        replace(PLACE, frame="world", target_m=(-0.3, 1.2, 0.35)),
        replace(PLACE, frame="head", target_m=(-0.12, 0.0, 0.15), effector="fingers"),
        replace(PLACE, direction=(0.2, 0.3, 1.0), effector="index_tip"),
        Constraint("leftHand", "chest", None, (0.0, 0.2, 1.0), 1.0, 2.0, "point away", "index_tip"),
        Constraint("leftHand", "world", (0.5, 1.2, 3.0), None, 1.0, 2.0, "point at you", "point"),
        Constraint("head", "partner", None, (0.0, 0.0, -1.0), 1.0, 2.0, "look"),
    ],
)
def test_promises_are_kept_on_the_final_motion(promise):
    distance, angle = residuals(solve(MOTION, [promise]), [promise])[0]
    assert np.isnan(distance) or distance < 1e-4
    assert np.isnan(angle) or angle < 1e-3
    assert not (np.isnan(distance) and np.isnan(angle))


def test_place_and_direction_of_one_hand_hold_together():
    both = [PLACE, Constraint("rightHand", "world", (0.0, 1.5, 1.5), None, 1.0, 2.0, "point at you", "point")]
    (distance, _), (_, angle) = residuals(solve(MOTION, both), both)
    assert distance < 1e-4 and angle < 1e-3


def test_hand_distance_is_exact():
    pair = [
        Constraint(f"{s}Hand", "chest", (x, -0.1, 0.35), None, 1, 2, "", "palm")
        for s, x in (("left", 0.3), ("right", -0.3))
    ]
    assert max(d for d, _ in residuals(solve(MOTION, pair), pair)) < 1e-4


def test_outside_the_fades_nothing_changes_and_nothing_pops():
    solved = solve(MOTION, [PLACE], fade_s=0.3)
    assert np.array_equal(solved.rotations[:20], MOTION.rotations[:20])
    assert np.array_equal(solved.rotations[71:], MOTION.rotations[71:])
    wrist = positions(solved)[:, MOTION.skeleton.index("rightHand")]
    travelled = np.linalg.norm(wrist[45] - positions(MOTION)[45, MOTION.skeleton.index("rightHand")])
    # A least-jerk movement never exceeds 1.875 times its mean speed; arcs and the body's own sway add a little.
    assert np.linalg.norm(np.diff(wrist, axis=0), axis=-1).max() < 2.3 * travelled / 9


def test_a_moved_spine_does_not_move_the_wrist_in_its_frame():
    bent = MOTION.rotations.copy()
    for bone in ("spine", "chest"):
        i = MOTION.skeleton.index(bone)
        bent[:, i] = rot.multiply(bent[:, i], rot.from_rotation_vector([0.15, 0.2, -0.1]))
    promise = replace(PLACE, frame="world", target_m=(-0.25, 1.15, 0.4))
    assert residuals(solve(replace(MOTION, rotations=bent), [promise]), [promise])[0][0] < 1e-4


def test_neighbours_closer_than_their_fades_both_hold():
    pair = [PLACE, replace(PLACE, target_m=(-0.3, 0.1, 0.3), from_s=2.1, to_s=2.5)]
    solved = solve(MOTION, pair)
    assert max(d for d, _ in residuals(solved, pair)) < 1e-4


def test_chunks_agree_with_the_whole():
    whole = solve(MOTION, [PLACE])
    later = solve(MOTION.slice(40, 150), [replace(PLACE, from_s=1.0 - 40 / 30, to_s=2.0 - 40 / 30)])
    assert np.allclose(whole.rotations[40:], later.rotations, atol=1e-4)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="needs target_m or direction"):
        Constraint("leftHand", "chest", None, None, 0, 1)
    with pytest.raises(ValueError, match="leftHand, rightHand or head"):
        Constraint("tail", "chest", (0, 0, 0), None, 0, 1)
    with pytest.raises(ValueError, match="frame must be"):
        solve(MOTION, [replace(PLACE, frame="moon")])
