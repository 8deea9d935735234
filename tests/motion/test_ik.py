import time

import numpy as np
import pytest

from visavis.motion import rotations as rot
from visavis.motion.idle import idle, relaxed_pose
from visavis.motion.ik import arm_span, move_arm, solve_arm, solve_leg, swivel_arm
from visavis.motion.kinematics import chest_frame, forward, positions, to_chest
from visavis.motion.limits import excess
from visavis.motion.motion import Motion
from visavis.motion.skeleton import LEG_BONES, default_skeleton

SKELETON = default_skeleton()
ARM = ("Shoulder", "UpperArm", "LowerArm", "Hand")
SHOULDER = np.array([0.155, 0.115, -0.01], np.float32)


def posed(side, local, bones=ARM):
    motion = Motion.rest(len(local))
    motion.rotations[:, SKELETON.indices([side + bone for bone in bones])] = local
    return motion


def wrists(count=400, seed=0):
    rng = np.random.default_rng(seed)
    v = rot.normalize(rng.normal(size=(count, 3))) * rng.uniform(0.18, 0.48, (count, 1))
    v[:, 2] = np.abs(v[:, 2]) + 0.02
    return (SHOULDER + v).astype(np.float32)


@pytest.mark.parametrize(("side", "sign"), [("left", 1), ("right", -1)])
def test_wrist_and_hand_are_where_asked(side, sign):
    goal = wrists() * np.array([sign, 1, 1], np.float32)
    free = posed(side, solve_arm(SKELETON, side, goal))
    forearm = forward(free.rotations, free.root_m, SKELETON)[1][:, SKELETON.index(f"{side}LowerArm")]
    turn = rot.from_rotation_vector(np.random.default_rng(1).uniform(-0.35, 0.35, (len(goal), 3)))
    hand = rot.multiply(forearm, turn)
    motion = posed(side, solve_arm(SKELETON, side, goal, hand))
    i = SKELETON.index(f"{side}Hand")
    places, turned = forward(motion.rotations, motion.root_m, SKELETON)
    assert np.abs(to_chest(motion, places[:, i]) - goal).max() < 1e-4
    assert rot.angle_between(turned[:, i], hand).max() < 5e-3


def test_right_is_the_mirror_of_left():
    flip = np.array([-1, 1, 1], np.float32)
    left, right = solve_arm(SKELETON, "left", wrists()), solve_arm(SKELETON, "right", wrists() * flip)
    assert np.allclose(rot.mirror(left), right, atol=1e-6)
    with pytest.raises(ValueError, match="left"):
        solve_arm(SKELETON, "both", wrists())


def test_elbows_bend_the_human_way_and_joints_stay_inside_their_limits():
    goal = wrists()
    goal = goal[goal[:, 2] > 0.16]  # before the body, not in it
    motion = posed("left", solve_arm(SKELETON, "left", goal))
    flexion = rot.to_rotation_vector(motion.rotations[:, SKELETON.index("leftLowerArm")])
    assert (flexion[:, 1] < 1e-3).all()
    assert np.degrees(np.percentile(excess(motion.rotations).max(axis=1), 95)) < 5
    # Hands before the chest: the elbow is lower than the shoulder and not inside the trunk.
    front = SHOULDER + np.array([[-0.1, -0.15, 0.3], [0.0, -0.1, 0.3], [0.1, 0.0, 0.3]], np.float32)
    elbow = positions(posed("left", solve_arm(SKELETON, "left", front)))[:, SKELETON.index("leftLowerArm")]
    assert (elbow[:, 1] < 1.30).all() and (elbow[:, 0] > 0.15).all()


def test_high_hands_have_higher_elbows_and_shoulders():
    line = SHOULDER + np.linspace([0.05, -0.3, 0.25], [0.05, 0.35, 0.2], 20).astype(np.float32)
    local = solve_arm(SKELETON, "left", line)
    places = positions(posed("left", local))
    assert (np.diff(places[:, SKELETON.index("leftLowerArm"), 1]) > 0).all()
    assert places[-1, SKELETON.index("leftUpperArm"), 1] > places[0, SKELETON.index("leftUpperArm"), 1] + 0.01


def test_swivel_turns_the_elbow_out_and_leaves_the_wrist():
    goal = np.repeat(SHOULDER[None] + np.array([[0.0, -0.1, 0.3]], np.float32), 2, 0)
    places = positions(posed("left", solve_arm(SKELETON, "left", goal, None, np.array([0.0, 0.7]))))
    wrist, elbow = places[:, SKELETON.index("leftHand")], places[:, SKELETON.index("leftLowerArm")]
    assert np.allclose(wrist[0], wrist[1], atol=1e-5) and elbow[1, 0] > elbow[0, 0] + 0.03


def test_out_of_reach_is_soft_and_smooth_targets_give_smooth_arms():
    line = SHOULDER + np.linspace([0.1, 0.0, 0.2], [0.2, 0.1, 1.5], 200).astype(np.float32)
    local = solve_arm(SKELETON, "left", line)
    assert np.isfinite(local).all()
    assert np.degrees(rot.angle_between(local[1:], local[:-1]).max()) < 8


def test_moving_nothing_changes_nothing_and_moving_meets_the_target():
    motion = idle(40, 2)
    origin, chest = chest_frame(motion)
    for side in ("left", "right"):
        columns = SKELETON.indices([side + bone for bone in ARM])
        arm = motion.rotations[:, columns]
        here = to_chest(motion, positions(motion)[:, columns[3]])
        assert np.abs(move_arm(SKELETON, side, arm, here) - arm).max() < 1e-4
        moved = motion.rotations.copy()
        there = here + np.array([0.02, 0.1, 0.15], np.float32)
        moved[:, columns] = move_arm(SKELETON, side, arm, there)
        places, _ = forward(moved, motion.root_m, SKELETON)
        assert np.abs(to_chest(motion, places[:, columns[3]]) - there).max() < 1e-5
    assert origin.shape == (40, 3) and chest.shape == (40, 4)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_stiff_hand_keeps_its_angles_to_the_forearm(side):
    motion = idle(40, 2)
    arm = motion.rotations[:, SKELETON.indices([side + bone for bone in ARM])]
    there = to_chest(motion, positions(motion)[:, SKELETON.index(f"{side}Hand")]) + np.array(
        [0.0, 0.2, 0.2], np.float32
    )
    loose, stiff = (move_arm(SKELETON, side, arm, there, stiff=np.full(40, share)) for share in (0.0, 1.0))
    assert np.allclose(loose, move_arm(SKELETON, side, arm, there), atol=1e-5)
    assert np.degrees(rot.angle_between(stiff[:, 3], arm[:, 3])).max() < 0.1
    assert np.degrees(rot.angle_between(loose[:, 3], arm[:, 3])).min() > 2.0
    places = [positions(posed(side, one))[:, SKELETON.index(f"{side}Hand")] for one in (loose, stiff)]
    assert np.abs(places[0] - places[1]).max() < 1e-5


@pytest.mark.parametrize("side", ["left", "right"])
def test_an_arm_that_yields_follows_beyond_its_reach_ever_more_slowly(side):
    motion = idle(40, 2)
    columns = SKELETON.indices([side + bone for bone in ARM])
    arm = np.tile(motion.rotations[:1, columns], (40, 1, 1))
    sign = 1.0 if side == "left" else -1.0
    shoulder = SKELETON.offsets_m[columns[0]] + SKELETON.offsets_m[columns[1]]
    far = np.linspace(0.1, 1.2, 40)[:, None] * sum(np.linalg.norm(SKELETON.offsets_m[columns[2:]], axis=1))
    there = (shoulder + far * np.array([0.3 * sign, 0.1, 0.95])).astype(np.float32)
    shortest, longest = arm_span(SKELETON, side)
    reached = []
    for yields in (False, True):
        places = positions(posed(side, move_arm(SKELETON, side, arm, there, yields=yields)))
        way = places[:, columns[3]] - places[:, columns[1]]
        reached.append(np.linalg.norm(way, axis=-1))
        assert reached[-1].min() > shortest - 1e-4 and reached[-1].max() < longest
    assert np.diff(reached[1]).min() > 5e-4 > np.diff(reached[0]).min()


@pytest.mark.parametrize("side", ["left", "right"])
def test_legs_reach_and_knees_bend_forward(side):
    i = SKELETON.index(f"{side}UpperLeg")
    goal = SKELETON.offsets_m[i] + np.array([[0.02, -0.6, 0.1], [0, -0.75, 0.2], [0, -0.8, -0.05]], np.float32)
    motion = posed(side, solve_leg(SKELETON, side, goal, rot.IDENTITY), LEG_BONES)
    places, turned = forward(motion.rotations, motion.root_m, SKELETON)
    assert np.abs(places[:, SKELETON.index(f"{side}Foot")] - motion.root_m - goal).max() < 1e-4
    assert rot.angle_between(turned[:, SKELETON.index(f"{side}Foot")], rot.IDENTITY).max() < 2e-3
    assert (rot.to_rotation_vector(motion.rotations[:, SKELETON.index(f"{side}LowerLeg")])[:, 0] > 0).all()


def test_relaxed_pose_hangs():
    places, _ = forward(relaxed_pose()[None], SKELETON.offsets_m[:1], SKELETON)
    for side, sign in (("left", 1), ("right", -1)):
        wrist = places[0, SKELETON.index(f"{side}Hand")]
        assert 0.18 < sign * wrist[0] < 0.30 and 0.82 < wrist[1] < 0.95


def test_a_thousand_frames_are_fast():
    goal = wrists(1000)
    best = min(_timed(lambda: solve_arm(SKELETON, "left", goal)) for _ in range(5))
    assert best < 0.06  # 20 ms wanted; room for a busy machine


def _timed(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_turned_elbow_leaves_wrist_and_hand_where_they_are(side):
    x = 0.25 if side == "left" else -0.25
    arm = solve_arm(SKELETON, side, np.array([[x, -0.1, 0.3]], np.float32))
    turned = swivel_arm(SKELETON, side, arm, np.array([0.6], np.float32))
    bones = SKELETON.indices([side + bone for bone in ARM])
    (before, was), (after, now) = (
        forward(m.rotations, m.root_m, SKELETON) for m in (posed(side, arm), posed(side, turned))
    )
    assert np.allclose(before[:, bones[3]], after[:, bones[3]], atol=1e-5)
    assert rot.angle_between(was[:, bones[3]], now[:, bones[3]]).max() < 1e-3
    assert (after - before)[0, bones[2], 1] > 0.02, "a positive angle lifts the elbow on both sides"
    assert np.allclose(swivel_arm(SKELETON, side, arm, np.zeros(1)), arm, atol=1e-6)
    with pytest.raises(ValueError, match="side must be"):
        swivel_arm(SKELETON, "up", arm, np.zeros(1))
