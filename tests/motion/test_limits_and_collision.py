import numpy as np

from visavis.motion import rotations as rot
from visavis.motion.collision import penetration_m, push_out
from visavis.motion.constraints import Constraint, solve
from visavis.motion.idle import idle
from visavis.motion.kinematics import positions
from visavis.motion.limits import clamp, clamp_of, excess, excess_of, yielding
from visavis.motion.motion import Motion
from visavis.motion.skeleton import default_skeleton

SKELETON = default_skeleton()


def test_clamped_is_inside_and_inside_is_untouched():
    rng = np.random.default_rng(0)
    wild = rot.normalize(rng.normal(size=(50, 55, 4)))
    assert excess(wild).max() > 1
    assert excess(clamp(wild)).max() < 1e-3
    arm = ("rightHand", "leftUpperArm")
    columns = SKELETON.indices(arm)
    assert np.array_equal(excess_of(wild[:, columns], arm), excess(wild)[:, columns])
    assert np.array_equal(clamp(clamp(wild)), clamp(wild))
    calm = idle(30, 1).rotations
    assert np.array_equal(clamp(calm), calm)


def test_some_bones_alone_are_clamped_as_among_all():
    skeleton, names = default_skeleton(), ("leftUpperArm", "rightHand")
    turns = rot.from_rotation_vector(np.random.default_rng(4).normal(0, 2, (30, 55, 3)).astype(np.float32))
    columns, all_of_them = skeleton.indices(names), clamp(turns)
    some = clamp(turns, names=names)
    assert np.array_equal(some[:, columns], all_of_them[:, columns])
    assert np.array_equal(clamp_of(turns[:, columns], names), some[:, columns])
    others = np.setdiff1d(np.arange(55), columns)
    assert np.array_equal(some[:, others], turns[:, others])


def test_what_yields_stays_inside_and_apart():
    skeleton, frames = default_skeleton(), 120
    i = skeleton.index("leftUpperArm")
    angles = np.radians(np.linspace(60, 135, frames)).astype(np.float32)  # the limit is 105
    wanted = np.tile(rot.IDENTITY, (frames, 55, 1))
    wanted[:, i] = rot.from_axis_angle(np.tile(np.array([0, 0, 1], np.float32), (frames, 1)), angles)
    own = np.tile(rot.IDENTITY, (frames, 55, 1))
    out = yielding(wanted, own, ("leftUpperArm",))
    came = np.linalg.norm(rot.to_rotation_vector(out[:, i]), axis=-1)
    assert excess(out).max() == 0.0
    assert (np.diff(came) > 0.03 * np.diff(angles)).all()
    easy = angles < np.radians(88)
    assert np.array_equal(out[easy], wanted[easy])
    assert np.array_equal(yielding(wanted[:60], wanted[:60], ("leftUpperArm",)), wanted[:60])


def test_limits_are_mirrored():
    wild = rot.normalize(np.random.default_rng(1).normal(size=(20, 55, 4)))
    other = rot.mirror(wild[:, SKELETON.mirror_index])
    assert np.allclose(excess(other)[:, SKELETON.mirror_index], excess(wild), atol=1e-3)


def test_an_elbow_bent_backwards_is_found():
    motion = Motion.rest(1)
    motion.rotations[:, SKELETON.index("leftLowerArm")] = rot.from_rotation_vector([0, 1.0, 0])
    assert excess(motion.rotations)[0, SKELETON.index("leftLowerArm")] > 0.8


def test_a_hand_in_the_chest_and_in_the_head_comes_out_without_a_pop():
    base = idle(240, 1)
    inside = solve(base, [
        Constraint("leftHand", "chest", (0.02, -0.05, 0.06), None, 2, 3),
        Constraint("rightHand", "head", (0, 0.1, 0.05), None, 5, 6),
    ], 0.6)  # fmt: skip
    out = push_out(inside)
    assert penetration_m(inside).max() > 0.05 and penetration_m(out).max() < 0.01
    assert np.array_equal(out.rotations[110:125], inside.rotations[110:125])
    assert np.linalg.norm(np.diff(positions(out)[:, SKELETON.index("leftHand")], axis=0), axis=-1).max() < 0.1


def test_palms_in_one_place_collide():
    base = idle(30, 1)
    pair = [Constraint(f"{s}Hand", "chest", (0.0, -0.1, 0.35), None, 0, 1, "", "palm") for s in ("left", "right")]
    assert penetration_m(solve(base, pair)).max() > 0.01
    assert penetration_m(base.slice(0, 0)).shape == (0,)
