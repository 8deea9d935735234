"""Retargeting: a motion of any skeleton on any other, the meaning of its contacts kept.

Angles are copied in terms of the T-pose (`visavis.motion.canonical`); arms of other proportions keep the wrist's way
in arm lengths (`visavis.motion.reach`), legs the way from hip to ankle in leg lengths, so that feet stay where they
stand; hands that touch something touch the same place on the new body (`visavis.motion.contacts`), and stay out of a
body whose flesh is known; last, paths that this bent are given their shape back (`visavis.motion.path_shape`). The
sources are the common practice of motion retargeting (Gleicher 1998; rest-pose alignment as in three-vrm and
Blender's retargeters).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis.motion import limits
from visavis.motion import rotations as rot
from visavis.motion.anatomy import ordered
from visavis.motion.bone_maps import BoneMap, guess_bones
from visavis.motion.canonical import Rig, from_canonical, is_body_at_rest, rebased, rig, to_canonical
from visavis.motion.collision import push_out
from visavis.motion.contacts import holds, is_near_only, keep_contacts
from visavis.motion.feet import plant
from visavis.motion.ik import move_arm, solve_leg
from visavis.motion.kinematics import forward
from visavis.motion.motion import Motion
from visavis.motion.path_shape import keep_shape
from visavis.motion.reach import carry_arm
from visavis.motion.skeleton import Skeleton, default_skeleton

__all__ = ["normalized", "retarget"]

Array = NDArray[np.float32]
_LEG: Final = ("UpperLeg", "LowerLeg", "Foot")
_ARM: Final = ("Shoulder", "UpperArm", "LowerArm", "Hand")
_ARMS: Final = tuple(side + bone for side in ("left", "right") for bone in _ARM)
_UPPER: Final = ("leftUpperArm", "rightUpperArm")
# A way back is found when no joint of an arm comes out farther off than that (radians); steps that are tried for it.
_FOUND: Final = np.radians(0.1)
_ROUNDS: Final = 30
_LOST: Final = np.radians(3.0)  # what is farther off in the end, or four times as far after some steps, is no way back
_PATIENCE: Final = 6
_MIXED: Final = 5  # steps before the last one that are mixed in
_LONGEST: Final = np.radians(20.0)  # of one step
_OFF_M: Final = 0.001  # wrists are brought back from here on


def _leg_length(skeleton: Skeleton) -> float:
    bones = [f"{side}{bone}" for side in ("left", "right") for bone in _LEG[1:]]
    return float(np.linalg.norm(skeleton.offsets_m[skeleton.indices(bones)], axis=-1).sum()) / 2


def _middle(skeleton: Skeleton) -> Array:
    """(3,) from the hips to the middle between the hip joints."""
    both = skeleton.offsets_m[skeleton.indices(["leftUpperLeg", "rightUpperLeg"])]
    return np.asarray(both.mean(axis=0), np.float32)


def _ankle_height(skeleton: Skeleton) -> float:
    """Height of the resting ankle above the sole, metres: a flat foot's, from its toes."""
    foot = skeleton.rest_positions_m[skeleton.indices(["leftFoot", "leftToes"])]
    return float(foot[0, 1] - foot[1, 1]) + _sole(skeleton)


def _sole(skeleton: Skeleton) -> float:
    """Height of the ball of the foot, in proportion to the foot."""
    ours = default_skeleton()
    at_rest = float(ours.rest_positions_m[ours.index("leftToes"), 1])
    size = np.linalg.norm(skeleton.offsets_m[skeleton.index("leftToes")])
    return at_rest * float(size / np.linalg.norm(ours.offsets_m[ours.index("leftToes")]))


def _floor(ankles: Array, source: Skeleton) -> float:
    """Height of the source's floor: where the lower ankle mostly is, a standing ankle's height below it."""
    low = float(np.percentile(ankles[..., 1].min(axis=1), 5))
    return low - _ankle_height(source)


def _stand(motion: Motion, source: Motion) -> Motion:
    """Scale the root and bring the ankles where they were, in leg lengths from the hip joints.

    Args:
        motion: angles of the source on the target body.
        source: the source on its own body.
    """
    body, skeleton = motion.skeleton, source.skeleton
    if body is skeleton:
        return motion
    scale = _leg_length(body) / _leg_length(skeleton)
    places, world = forward(source.rotations, source.root_m, skeleton)
    feet = places[:, skeleton.indices(["leftFoot", "rightFoot"])]
    floor = _floor(feet, skeleton)
    hips = source.root_m + rot.rotate(world[:, 0], _middle(skeleton))
    hips = (hips - np.array([0, floor + _ankle_height(skeleton), 0], np.float32)) * np.float32(scale)
    hips[:, 1] += _ankle_height(body)
    root = hips - rot.rotate(world[:, 0], _middle(body))
    out = motion.rotations.copy()
    back = rot.conjugate(world[:, 0])
    for side in ("left", "right"):
        thigh, shin, foot = (skeleton.index(side + bone) for bone in _LEG)
        way = rot.rotate(back, places[:, foot] - places[:, thigh]) * np.float32(scale)
        knee = rot.rotate(rot.multiply(back, world[:, thigh]), np.array([0, 0, 1], np.float32))
        turned = rot.multiply(back, world[:, foot])
        leg = solve_leg(body, side, body.offsets_m[body.index(side + "UpperLeg")] + way, turned, knee)
        out[:, body.indices([side + bone for bone in _LEG])] = leg[:, :3]
    return replace(motion, rotations=out, root_m=root)


def normalized(motion: Motion, bones: BoneMap | None = None) -> tuple[Motion, Rig]:
    """The motion on our bones with its own body's proportions, and how it was read.

    Raises:
        FileFormatError: its bones cannot be found.
    """
    bones = bones or guess_bones(motion.skeleton)
    if not bones.axes and not bones.tpose and len(motion) and not is_body_at_rest(motion.skeleton, bones):
        motion = rebased(motion, bones)
    source = rig(motion.skeleton, bones)
    return to_canonical(motion, source), source


def _has_twist_bones(source: Rig) -> bool:
    """Whether joints lie between elbow and wrist: then the wrist's joint carries all of the pronation."""
    hand, elbow = (source.skeleton.index(source.bones.bones[f"left{bone}"]) for bone in ("Hand", "LowerArm"))
    return int(source.skeleton.parents[hand]) != elbow


def _on_arms(source: Motion, body: Skeleton) -> Motion:
    """The source's angles on another body, its wrists on the same ways in arm lengths."""
    out = source.rotations.copy()
    for side in ("left", "right"):
        columns = body.indices([side + bone for bone in _ARM])
        out[:, columns] = carry_arm(out[:, columns], side, source.skeleton, body)
    return replace(source, rotations=out, skeleton=body)


def _limited(motion: Motion, source: Motion) -> Motion:
    """Inside the joint limits, the wrists where they were as far as that goes: what a clavicle may not the arm does."""
    skeleton, chest = motion.skeleton, motion.skeleton.index("upperChest")
    places, world = forward(motion.rotations, motion.root_m, skeleton)
    origin, back = places[:, chest], rot.conjugate(world[:, chest])
    # What is made for our own body must find back to it; recordings come as near to their limits as they were.
    own = source.skeleton is default_skeleton()

    def yielding(rotations: Array) -> Array:
        return limits.yielding(rotations, source.rotations, _UPPER) if own else rotations

    out = limits.clamp(yielding(motion.rotations))
    for _ in range(2):
        now, turned = forward(out, motion.root_m, skeleton)
        for side in ("left", "right"):
            columns = skeleton.indices([side + bone for bone in _ARM])
            wanted = rot.rotate(back, places[:, columns[3]] - origin)
            came = rot.rotate(rot.conjugate(turned[:, chest]), now[:, columns[3]] - now[:, chest])
            off = np.flatnonzero(np.linalg.norm(wanted - came, axis=-1) > _OFF_M)
            if len(off):
                hand = rot.multiply(back, world[:, columns[3]])[off]
                out[np.ix_(off, columns)] = move_arm(skeleton, side, out[off][:, columns], wanted[off], hand)
        out = limits.clamp(yielding(out), names=_ARMS)
    return replace(motion, rotations=out)


def _corrected(motion: Motion, source: Motion, fingers: bool | None, touches: bool) -> Motion:
    """Hands at what they touch and outside a body whose flesh is known, on paths of the same shape.

    Args:
        motion: the source's angles on the target body.
        source: the source on its own body.
        fingers: whether the source's fingers are its own; None keeps no contacts.
        touches: whether a hand may touch anything; otherwise it is only near, however near.
    """
    held, touched = None, motion
    if fingers is not None and motion.skeleton is not source.skeleton:
        held = holds(source, motion, fingers, touches)
        touched = keep_contacts(motion, source, fingers, held=held)
    if not motion.skeleton.girth:
        return keep_shape(motion, touched, touched, held)
    return push_out(keep_shape(motion, touched, push_out(touched), held))


def _given(source: Motion, body: Skeleton, legs: bool, fingers: bool | None, touches: bool = True) -> Motion:
    """The source on another body, inside its limits; `fingers` and `touches` as in `_corrected`."""
    moved = _limited(_on_arms(source, body), source)
    if legs:
        moved = _stand(moved, source)
    else:
        moved = plant(replace(moved, root_m=np.tile(body.offsets_m[0], (len(moved), 1))))
    moved = _corrected(moved, source, fingers, touches)
    return replace(moved, rotations=limits.clamp(moved.rotations))


def _sought(first: Motion, source: Motion, fingers: bool) -> Motion | None:
    """The motion on our own body that comes out as `source` on the source's body.

    What is near something without touching it is guided in part, and no formula leads back. So the way there is gone
    from a first guess, what its arms come out wrong is put right on it, and again, by Anderson's mixing of the last
    few steps, frame by frame (D. G. Anderson 1965).

    Returns:
        the first that comes within `_FOUND` of the source with no far step left to go, else the best; None where that
        is no way back at all, or what was found touches.
    """
    columns = source.skeleton.indices([side + bone for side in ("left", "right") for bone in _ARM])
    given, start = source.rotations[:, columns], first.rotations[:, columns]

    def missing(motion: Motion) -> Array:
        """(T, 24) rotation vectors from what comes out to what shall."""
        came = _given(motion, source.skeleton, False, fingers, touches=False)
        turn = rot.to_rotation_vector(rot.multiply(given, rot.conjugate(came.rotations[:, columns])))
        return turn.reshape(len(turn), -1)

    best, least, now = first, np.inf, first
    x = np.zeros((len(source), 3 * len(columns)), np.float32)
    steps: list[tuple[Array, Array]] = []
    for turn in range(_ROUNDS):
        off = missing(now)
        missed = float(np.linalg.norm(off.reshape(len(off), -1, 3), axis=-1).max())
        if missed < least:
            best, least = now, missed
        steps = [*steps[-_MIXED:], (x, off)]
        step = _mixed(steps)
        longest = float(np.linalg.norm(step.reshape(len(step), -1, 3), axis=-1).max())
        if least < _FOUND and longest < 2 * _FOUND:
            break
        if turn == _PATIENCE and (least > 4 * _LOST or not is_near_only(best)):
            break
        x = x + step
        out = best.rotations.copy()
        out[:, columns] = rot.multiply(rot.from_rotation_vector(x.reshape(len(x), -1, 3)), start)
        now = replace(best, rotations=limits.clamp(out, names=_ARMS))
    return best if least < _LOST and is_near_only(best) else None


def _mixed(steps: list[tuple[Array, Array]]) -> Array:
    """The next step (T, N) from the last places and what was missing there, each (T, N), mixed frame by frame."""
    (x, off), before = steps[-1], steps[:-1]
    move = off.astype(np.float64)
    if before:
        dx = np.stack([x - a for a, _ in before], axis=-1).astype(np.float64)
        dr = np.stack([off - b for _, b in before], axis=-1).astype(np.float64)
        normal = np.swapaxes(dr, 1, 2) @ dr
        normal = normal + np.eye(len(before)) * (1e-4 * np.trace(normal, axis1=1, axis2=2)[:, None, None] + 1e-9)
        share = np.linalg.solve(normal, np.swapaxes(dr, 1, 2) @ off[..., None])
        move = move - ((dx + dr) @ share)[..., 0]
    size = np.linalg.norm(move, axis=-1, keepdims=True)
    return np.asarray(move * np.minimum(1.0, _LONGEST / np.maximum(size, 1e-9)), np.float32)


def retarget(
    motion: Motion, skeleton: Skeleton | None = None, bones: BoneMap | None = None, contacts: bool = True
) -> Motion:
    """Give a motion to another body.

    Args:
        motion: on any skeleton, metres, Y up, at rest where its rotations are the identity (as every reader gives it).
        skeleton: the body that shall have it; the default avatar if None. Joints of it that are no bones of the
            humanoid stay at rest.
        bones: which joint of the motion's skeleton is which bone; guessed if None.
        contacts: bring hands that touch body, head or each other to the same place on the new body.

    Returns:
        the motion on `skeleton`, inside the joint limits of a human body; face and frame rate as they were. Fingers
        that the source lacks are relaxed; a source without legs stands.

    Raises:
        FileFormatError: one of the skeletons has no body that could be found.
    """
    skeleton = skeleton or default_skeleton()
    source, read = normalized(motion, bones)
    target = rig(skeleton)
    if not len(motion):
        return from_canonical(replace(source, skeleton=target.body), target)
    source = replace(source, rotations=ordered(source.rotations, share_twist=_has_twist_bones(read)))
    legs = "leftFoot" in read.bones.bones and "rightFoot" in read.bones.bones
    fingers = any("Index" in bone for bone in read.bones.bones)
    moved = None
    if contacts and target.body is default_skeleton() and is_near_only(source, 0.0):
        moved = _sought(_given(source, target.body, legs, None), source, fingers)
    if moved is None:
        moved = _given(source, target.body, legs, fingers if contacts else None)
    return from_canonical(moved, target)
