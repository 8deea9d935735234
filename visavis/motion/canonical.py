"""Any body as our humanoid: the 55 VRM bones with a foreign skeleton's proportions, and the way back.

The T-pose is the common tongue. For every joint a rotation K says how our axes (left, up, front) lie in the joint's own
axes while its body stands in the T-pose; then a bone's orientation in our terms is N = A · W · K with W the joint's
orientation in its world and A the turn from that world to ours. K comes from the rest pose: trunk and feet rest as ours
do; arms, legs and fingers are turned into the T-pose by the shortest way, joint by joint; hands by their knuckles.
Spines and necks with another number of joints are read and written by interpolation along the column.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis.errors import FileFormatError
from visavis.motion import rotations as rot
from visavis.motion.bone_maps import BoneMap, axes_rotation, guess_bones
from visavis.motion.idle import relaxed_pose
from visavis.motion.kinematics import forward
from visavis.motion.motion import Motion
from visavis.motion.skeleton import FINGERS, Skeleton, default_skeleton

__all__ = ["Rig", "from_canonical", "is_body_at_rest", "rebased", "rig", "to_canonical"]

Array = NDArray[np.float32]

_SPINE: Final = ("spine", "chest", "upperChest")
_SIDES: Final = ("left", "right")
_SHORTEST_M: Final = 0.005
_THUMB: Final = ("Metacarpal", "Proximal", "Distal")
_FINGER: Final = ("Proximal", "Intermediate", "Distal")
# Limb bones and the next bone that shows where they lie.
_NEXT: Final = {
    "UpperArm": "LowerArm", "LowerArm": "Hand", "UpperLeg": "LowerLeg", "LowerLeg": "Foot",
    "ThumbMetacarpal": "ThumbProximal", "ThumbProximal": "ThumbDistal", "ThumbDistal": "",
    **{f"{f}{a}": f"{f}{b}" if b else "" for f in FINGERS[1:]
       for a, b in (("Proximal", "Intermediate"), ("Intermediate", "Distal"), ("Distal", ""))},
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Rig:
    """A foreign skeleton, ready to be read and written.

    Attributes:
        skeleton: the foreign one, J joints.
        bones: which joint is which bone.
        align: (4,) turn from its world to ours.
        frames: (J, 4) K of every joint; only those of mapped joints mean something.
        low: (55,) joint below each of our bones in the column (the joint itself elsewhere), -1 where there is none.
        high: (55,) joint above.
        mix: (55,) share of `high`.
        body: 55 bones with this body's proportions.
    """

    skeleton: Skeleton
    bones: BoneMap
    align: Array
    frames: Array
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    mix: Array
    body: Skeleton


def _column(count: int) -> list[tuple[int, int, float]]:
    """Where spine, chest and upperChest lie in a column of `count` joints: knots below and above (0 hips), share."""
    out = []
    for i in (1, 2, 3):
        at = i / 3 * count
        low = min(int(np.floor(at + 1e-6)), count)
        out.append((low, min(low + 1, count), max(at - low, 0.0)))
    return out


def _knots(skeleton: Skeleton, bones: BoneMap) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    ours = default_skeleton()
    low = np.full(len(ours), -1, np.int64)
    mix = np.zeros(len(ours), np.float32)
    for bone, joint in bones.bones.items():
        if bone in ours.names:
            low[ours.index(bone)] = skeleton.index(joint)
    high = low.copy()
    column = [skeleton.index(name) for name in (bones.bones["hips"], *bones.spine)]
    for bone, (below, above, share) in zip(_SPINE, _column(len(column) - 1), strict=True):
        i = ours.index(bone)
        low[i], high[i], mix[i] = column[below], column[above], share
    if bones.neck:
        necks = [skeleton.index(name) for name in bones.neck]
        i, count = ours.index("neck"), len(necks)
        # One joint: itself. More: midway between the two uppermost, so that the throat bends in its middle.
        low[i], high[i] = necks[max(count - 2, 0)], necks[-1]
        mix[i] = 1.0 if count == 1 else 0.5
    return low, high, mix


def _between(a: Array, b: Array) -> Array:
    return rot.rotation_between(a, b)


def _direction(place: Array, joint: dict[str, int], skeleton: Skeleton, bone: str, after: str) -> Array | None:
    """Where a bone lies: towards the next bone, else towards its tip; None where nothing shows it."""
    if bone not in joint:
        return None
    here = joint[bone]
    if after in joint:
        way = place[joint[after]] - place[here]
    elif skeleton.names[here] in skeleton.tips_m:
        way = skeleton.tips_m[skeleton.names[here]]
    else:
        below = np.flatnonzero(skeleton.parents == here)
        if len(below) != 1:
            return None
        way = place[below[0]] - place[here]
    return rot.normalize(way) if np.linalg.norm(way) > 1e-4 else None


def _joints(skeleton: Skeleton, bones: BoneMap) -> dict[str, int]:
    return {bone: skeleton.index(joint) for bone, joint in bones.bones.items()}


def _rest_frame(skeleton: Skeleton, bones: BoneMap) -> NDArray[np.float64]:
    """(3, 3) columns left, up and front of the body at rest, in its own world; not orthogonal where it is no body."""
    place, joint = skeleton.rest_positions_m.astype(np.float64), _joints(skeleton, bones)
    hips = place[joint["hips"]]
    first, second = place[joint["leftUpperArm"]], place[joint["rightUpperArm"]]
    top, left = place[joint["head"]] if "head" in joint else (first + second) / 2, first - second
    up, left = (v / max(float(np.linalg.norm(v)), 1e-9) for v in (top - hips, left))
    return np.stack([left, up, np.cross(left, up)], axis=1)


def is_body_at_rest(skeleton: Skeleton, bones: BoneMap) -> bool:
    """Whether the pose of all zeros is one a body can stand in: trunk up, legs down, arms at their own sides."""
    frame = _rest_frame(skeleton, bones)
    left, up = frame[:, 0], frame[:, 1]
    if abs(float(left @ up)) > 0.5:
        return False
    place, joint = skeleton.rest_positions_m.astype(np.float64), _joints(skeleton, bones)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        if f"{side}Foot" in joint:
            leg = place[joint[f"{side}Foot"]] - place[joint[f"{side}UpperLeg"]]
            if float(leg @ up) > -0.7 * float(np.linalg.norm(leg)):
                return False
        arm = place[joint[f"{side}Hand"]] - place[joint[f"{side}UpperArm"]]
        if sign * float(arm @ left) < -0.35 * float(np.linalg.norm(arm)):
            return False
    return True


def _alignment(skeleton: Skeleton, bones: BoneMap) -> Array:
    """(4,) turn from the skeleton's world to ours, by right angles where the body rests nearly along the axes."""
    frame = _rest_frame(skeleton, bones)
    u, _, vt = np.linalg.svd(frame)
    near = u @ vt
    if np.linalg.det(near) < 0:
        near = u @ np.diag([1, 1, -1]) @ vt
    square = np.where(np.abs(near) == np.abs(near).max(axis=0), np.sign(near), 0.0)
    if abs(np.linalg.det(square) - 1) < 1e-6 and np.trace(square.T @ near) > 1 + 2 * np.cos(np.radians(25)):
        near = square
    return rot.from_matrix(near.T)


def _hand_frame(place: Array, joint: dict[str, int], skeleton: Skeleton, side: str) -> NDArray[np.float64] | None:
    """(3, 3) columns along the hand, across the knuckles towards the index finger, and their normal."""
    names = [f"{side}{finger}Proximal" for finger in FINGERS[1:]]
    if f"{side}Hand" not in joint or any(name not in joint for name in (names[0], names[1])):
        return None
    last = next((name for name in reversed(names) if name in joint and name != names[0]), None)
    if last is None:
        return None
    along = rot.normalize(place[joint[names[1]]] - place[joint[f"{side}Hand"]])
    across = place[joint[names[0]]] - place[joint[last]]
    across = across - np.sum(across * along) * along
    if np.linalg.norm(across) < 1e-4:
        return None
    across = rot.normalize(across)
    return np.stack([along, across, np.cross(along, across)], axis=1).astype(np.float64)


def _corrections(skeleton: Skeleton, bones: BoneMap, align: Array) -> dict[str, Array]:
    """Limb bone → turn (4,) in our world that brings it from the rest pose into the T-pose."""
    ours = default_skeleton()
    names = {name: ours.index(name) for name in ours.names}
    theirs, joint = rot.rotate(align, skeleton.rest_positions_m), _joints(skeleton, bones)
    turned = replace(skeleton, tips_m={n: rot.rotate(align, tip) for n, tip in skeleton.tips_m.items()})
    out: dict[str, Array] = {}

    def point(bone: str, above: Array) -> Array:
        side = "left" if bone.startswith("left") else "right"
        following = _NEXT[bone[len(side) :]]
        there = _direction(ours.rest_positions_m, names, ours, bone, f"{side}{following}" if following else "")
        here = _direction(theirs, joint, turned, bone, f"{side}{following}" if following else "")
        if here is None or there is None:
            return above
        return rot.multiply(_between(rot.rotate(above, here), there), above)

    for side in _SIDES:
        for upper, lower in (("UpperArm", "LowerArm"), ("UpperLeg", "LowerLeg")):
            out[side + upper] = point(side + upper, rot.IDENTITY)
            out[side + lower] = point(side + lower, out[side + upper])
        hand = out[f"{side}LowerArm"]
        here, there = _hand_frame(theirs, joint, turned, side), _hand_frame(ours.rest_positions_m, names, ours, side)
        if here is not None and there is not None:
            hand = rot.from_matrix(there @ here.T)
        elif f"{side}MiddleProximal" not in joint:
            # No knuckles: a tip or a single joint shows where the palm lies.
            way = _direction(theirs, joint, turned, f"{side}Hand", "")
            if way is not None:
                middle = ours.offsets_m[ours.index(f"{side}MiddleProximal")]
                hand = rot.multiply(_between(rot.rotate(hand, way), rot.normalize(middle)), hand)
        out[f"{side}Hand"] = hand
        for finger in FINGERS:
            above = hand
            for part in _THUMB if finger == "Thumb" else _FINGER:
                above = out[f"{side}{finger}{part}"] = point(f"{side}{finger}{part}", above)
    return out


def _frames(skeleton: Skeleton, bones: BoneMap, align: Array) -> Array:
    """(J, 4) K of every joint."""
    back = rot.conjugate(align)
    out = np.tile(back, (len(skeleton), 1))
    if bones.axes:
        spine = bones.spine
        column = {"spine": spine[:1], "chest": spine[1:2], "upperChest": spine[-1:], "neck": bones.neck}
        for bone, axes in bones.axes.items():
            plain = bone.removeprefix("left").removeprefix("right")
            k = rot.multiply(rot.from_matrix(axes_rotation(axes, bones.pitch.get(plain, 0.0))), back)
            joints = column.get(bone, (bones.bones[bone],) if bone in bones.bones else ())
            for joint in joints:
                out[skeleton.index(joint)] = k
        return out
    if not bones.tpose:
        for bone, turn in _corrections(skeleton, bones, align).items():
            if bone in bones.bones:
                out[skeleton.index(bones.bones[bone])] = rot.multiply(back, rot.conjugate(turn))
    return out


def _body(skeleton: Skeleton, bones: BoneMap, align: Array, frames: Array, knots: tuple) -> Skeleton:  # type: ignore[type-arg]
    """Our 55 bones with the foreign body's proportions; bones that it lacks are ours, scaled to its arms."""
    ours, (low, high, mix) = default_skeleton(), knots
    used = {int(j) for j in (*low, *high) if j >= 0} | {skeleton.index(n) for n in (*bones.spine, *bones.neck)}
    world = np.tile(rot.IDENTITY, (1, len(skeleton), 1))
    place = np.zeros((len(skeleton), 3), np.float32)
    for j, parent in enumerate(skeleton.parents):
        above = world[0, parent] if parent >= 0 else rot.IDENTITY
        world[0, j] = rot.multiply(rot.conjugate(align), rot.conjugate(frames[j])) if j in used else above
        place[j] = (place[parent] if parent >= 0 else 0) + rot.rotate(above, skeleton.offsets_m[j])
    place = rot.rotate(align, place)
    have = low >= 0
    there = np.where(have[:, None], (1 - mix[:, None]) * place[low] + mix[:, None] * place[high], 0.0)
    arm = [ours.index(f"left{b}") for b in ("UpperArm", "LowerArm", "Hand")]
    own = sum(float(np.linalg.norm(there[b] - there[a])) for a, b in zip(arm, arm[1:], strict=False))
    scale = own / sum(float(np.linalg.norm(ours.offsets_m[b])) for b in arm[1:])
    offsets = ours.offsets_m * np.float32(scale)
    where = np.zeros_like(there)
    for i, parent in enumerate(ours.parents):
        if have[i]:
            where[i] = there[i]
        elif parent >= 0:
            where[i] = where[parent] + offsets[i]
        if parent >= 0:
            offsets[i] = where[i] - where[parent]
        else:
            offsets[i] = there[i]
    tips = {}
    for name, tip in ours.tips_m.items():
        joint = bones.bones.get(name, "")
        own_tip = skeleton.tips_m.get(joint)
        if own_tip is not None and float(np.linalg.norm(own_tip)) > 1e-4:
            turned = rot.rotate(rot.conjugate(frames[skeleton.index(joint)]), own_tip)
            tips[name] = turned.astype(np.float32)
        else:
            tips[name] = (tip * np.float32(scale)).astype(np.float32)
    return Skeleton(ours.names, ours.parents, offsets.astype(np.float32), tips, skeleton.girth)


def _is_ours(skeleton: Skeleton, align: Array) -> bool:
    ours = default_skeleton()
    same = skeleton.names == ours.names and bool(np.array_equal(skeleton.parents, ours.parents))
    return same and bool(abs(align[3]) > 1 - 1e-6)


def rig(skeleton: Skeleton, bones: BoneMap | None = None) -> Rig:
    """Prepare a skeleton for reading and writing; without a map its bones are guessed.

    Raises:
        FileFormatError: no body is found in it, or its limbs have no length.
    """
    bones = bones or guess_bones(skeleton)
    align = rot.IDENTITY if bones.axes else _alignment(skeleton, bones)
    frames, knots = _frames(skeleton, bones, align), _knots(skeleton, bones)
    plain = bones.tpose and _is_ours(skeleton, align)
    body = skeleton if plain else _body(skeleton, bones, align, frames, knots)
    limbs = [side + bone for side in _SIDES for bone in ("LowerArm", "Hand", "LowerLeg", "Foot")]
    flat = [bone for bone in limbs if np.linalg.norm(body.offsets_m[body.index(bone)]) < _SHORTEST_M]
    if flat:
        raise FileFormatError(
            f"expected limbs with a length; the ways to {', '.join(flat)} of this skeleton ({bones.name}) have none: "
            "give a BoneMap that names other joints"
        )
    return Rig(skeleton, bones, align, frames, *knots, body)


def rebased(motion: Motion, bones: BoneMap) -> Motion:
    """The same movement on a skeleton whose rest pose is the most upright, straight-limbed frame of the motion.

    For files whose pose of all zeros is no pose of a body (every bone along one axis).
    """
    skeleton, joint = motion.skeleton, _joints(motion.skeleton, bones)
    places, turned = forward(motion.rotations, motion.root_m, skeleton)
    score = np.zeros(len(motion))
    for side in _SIDES:
        for a, b, c in (("UpperArm", "LowerArm", "Hand"), ("UpperLeg", "LowerLeg", "Foot")):
            if all(side + bone in joint for bone in (a, b, c)):
                first = rot.normalize(places[:, joint[side + b]] - places[:, joint[side + a]])
                second = rot.normalize(places[:, joint[side + c]] - places[:, joint[side + b]])
                score += np.sum(first * second, axis=-1) - second[:, 1]
    best = int(np.argmax(score))
    held = turned[best]  # (J, 4)
    parents = skeleton.parents
    up = np.where(parents[:, None] >= 0, held[np.maximum(parents, 0)], rot.IDENTITY)
    # World orientations change by the held ones: W' = W · held⁻¹, so that the held frame is the identity.
    local = rot.multiply(rot.multiply(up, motion.rotations), rot.conjugate(held))
    tips = {name: rot.rotate(held[skeleton.index(name)], tip) for name, tip in skeleton.tips_m.items()}
    moved = Skeleton(skeleton.names, parents, rot.rotate(up, skeleton.offsets_m), tips, skeleton.girth)
    return replace(motion, rotations=rot.normalize(local), skeleton=moved)


def _completed(own: Array, have: NDArray[np.bool_]) -> Array:
    """Local rotations of all our bones from orientations (T, 55, 4) of those that are there; the others are at ease."""
    ours, still = default_skeleton(), relaxed_pose()
    out = np.tile(rot.IDENTITY, (*own.shape[:2], 1))
    world = own.copy()
    for i, parent in enumerate(ours.parents):
        above = world[:, parent] if parent >= 0 else np.broadcast_to(rot.IDENTITY, world[:, 0].shape)
        if have[i]:
            out[:, i] = rot.multiply(rot.conjugate(above), world[:, i])
        else:
            finger = any(name in ours.names[i] for name in FINGERS)
            out[:, i] = still[i] if finger else rot.IDENTITY
            world[:, i] = rot.multiply(above, out[:, i])
    return rot.continuous(rot.normalize(out))


def to_canonical(motion: Motion, source: Rig) -> Motion:
    """The motion on our 55 bones with the source body's own proportions, in our world (Y up, metres).

    Args:
        motion: on `source.skeleton`.
        source: made by `rig`.
    """
    if source.body is motion.skeleton:
        return motion
    places, turned = forward(motion.rotations, motion.root_m, motion.skeleton)
    own = rot.multiply(rot.multiply(source.align, turned), source.frames)  # (T, J, 4) N of every joint
    have = source.low >= 0
    low, high = np.maximum(source.low, 0), np.maximum(source.high, 0)
    mixed = own[:, low]
    between = np.flatnonzero(have & (source.mix > 0) & (low != high))
    if len(between):
        mixed[:, between] = rot.slerp(own[:, low[between]], own[:, high[between]], source.mix[between])
    root = rot.rotate(source.align, places[:, source.skeleton.index(source.bones.bones["hips"])])
    return Motion(_completed(mixed, have), root, motion.face, source.body, motion.fps)


def _along_column(world: Array, target: Rig) -> dict[int, Array]:
    """Orientations (T, 4) of the target's own spine and neck joints, from ours (T, 55, 4)."""
    ours = default_skeleton()
    knots = world[:, ours.indices(["hips", *_SPINE])]
    out, count = {}, len(target.bones.spine)
    for i, name in enumerate(target.bones.spine):
        at = 3.0 * (i + 1) / count
        low = min(int(np.floor(at + 1e-6)), 3)
        rest = np.float32(max(at - low, 0.0))
        held = knots[:, low] if rest < 1e-6 else rot.slerp(knots[:, low], knots[:, low + 1], rest)
        out[target.skeleton.index(name)] = held
    count = len(target.bones.neck)
    below, neck = world[:, ours.index("upperChest")], world[:, ours.index("neck")]
    for i, name in enumerate(target.bones.neck):
        share = np.float32((i + 1) / count)
        out[target.skeleton.index(name)] = neck if i + 1 == count else rot.slerp(below, neck, share)
    return out


def from_canonical(motion: Motion, target: Rig) -> Motion:
    """Write a motion of our 55 bones (on `target.body`) to the target's own joints; others keep their rest pose."""
    if target.body is target.skeleton:
        return replace(motion, skeleton=target.skeleton)
    ours, skeleton = default_skeleton(), target.skeleton
    places, world = forward(motion.rotations, motion.root_m, motion.skeleton)
    given = _along_column(world, target)
    for bone, joint in target.bones.bones.items():
        if bone in ours.names:
            given[skeleton.index(joint)] = world[:, ours.index(bone)]
    back = rot.conjugate(target.align)
    frames = len(motion)
    turned = np.tile(rot.IDENTITY, (frames, len(skeleton), 1))
    local = turned.copy()
    still = np.broadcast_to(rot.IDENTITY, (frames, 4))
    for j, parent in enumerate(skeleton.parents):
        above = turned[:, parent] if parent >= 0 else still
        if j in given:
            turned[:, j] = rot.multiply(rot.multiply(back, given[j]), rot.conjugate(target.frames[j]))
            local[:, j] = rot.multiply(rot.conjugate(above), turned[:, j])
        else:
            turned[:, j] = above
    out = Motion(
        rot.continuous(rot.normalize(local)), np.zeros((frames, 3), np.float32), motion.face, skeleton, motion.fps
    )
    hips = forward(out.rotations, out.root_m, skeleton)[0][:, skeleton.index(target.bones.bones["hips"])]
    return replace(out, root_m=rot.rotate(back, places[:, 0]) - hips)
