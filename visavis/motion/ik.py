"""Inverse kinematics of arms and legs in closed form: a clavicle or hip, a ball joint, a hinge, a hand or foot.

Arms are computed as left arms; the right one is mirrored, solved, and mirrored back. In the T-pose the left arm lies
along +X, palm down, thumb forward: that is the middle between pronation and supination, the elbow's hinge is the Y
axis, and flexing brings the forearm towards +Z. Leg: along -Y, the knee's hinge is X, flexing brings the shin to -Z.

Elbow height follows the wrist (the natural swivel), the clavicle lifts beyond shoulder height (scapulohumeral rhythm,
Inman 1944), and pronation is shared, 60 % on the forearm bone and 40 % on the hand, so that skins do not collapse.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visavis.motion import rotations as rot
from visavis.motion.skeleton import Skeleton

__all__ = [
    "FOREARM_SHARE",
    "arm_span",
    "clavicle",
    "move_arm",
    "solve_arm",
    "solve_leg",
    "split_pronation",
    "swivel_arm",
]

Array = NDArray[np.float32]

FOREARM_SHARE: Final = 0.6
_X, _Y, _Z = np.eye(3, dtype=np.float32)
# Where the elbow of a left arm points, by the height of the wrist above the shoulder in arm lengths: backwards when
# the arm hangs, down and out in front of the body, out when the hand is above the head.
_ELBOW_HEIGHTS: Final = np.array([-1.0, -0.5, 0.0, 0.45, 0.9], np.float32)
_ELBOW_POLES: Final = np.array(
    [[0.36, -0.05, -0.93], [0.34, -0.55, -0.76], [0.50, -0.85, -0.17], [0.66, -0.72, 0.12], [0.92, -0.30, 0.28]],
    np.float32,
)
_ELBOW_WIDTH: Final = 0.3
# Softly clamped reach: an arm is exact up to 98.5 % of its straight length and never beyond 99.9 %. Legs stand nearly
# straight and must not leave the floor for it.
_SOFT_ARM: Final = (0.985, 0.999)
_SOFT_LEG: Final = (0.9985, 0.9999)
# An arm that may yield does so from this share of its length before its longest and shortest on.
_ROOM: Final = 0.2
_LEAST_ROOM_M: Final = 1e-4
_MAX_ELBOW, _MAX_KNEE = np.radians(148.0), np.radians(140.0)
# Beyond this pronation or supination the elbow swings to help the forearm; beyond the hard limit the hand gives way.
_EASY_TWIST: Final = np.radians(62.0)
_HARD_TWIST: Final = np.radians(95.0)
_HELP_FROM_ELBOW: Final = np.radians(50.0)
# Wrist: flexion, extension (about Z), ulnar and radial deviation (about Y).
_FLEXION, _EXTENSION, _ULNAR, _RADIAL = np.radians([82.0, 75.0, 40.0, 30.0])


def _smoothstep(x: Array, low: float, high: float) -> Array:
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _clamp_reach(distance: Array, shortest: float, longest: float, soft: tuple[float, float] = _SOFT_ARM) -> Array:
    """Distances kept in what the limb can do, with a soft knee at its longest."""
    begin, end = soft[0] * longest, soft[1] * longest
    over = np.maximum(distance - begin, 0.0) / (end - begin)
    eased = begin + (end - begin) * (1.0 - np.exp(-over))
    return np.maximum(np.where(distance > begin, eased, distance), shortest)


def _yielding(distance: Array, was: Array, shortest: float, longest: float) -> Array:
    """Distances kept in what the arm can do, no two of them the same: beyond a margin they go on ever more slowly."""
    end, room = np.float32(_SOFT_ARM[1] * longest), np.float32(_ROOM * longest)
    high, low = np.maximum(end - room, was), np.minimum(shortest + room, was)
    up, down = np.maximum(end - high, _LEAST_ROOM_M), np.maximum(low - shortest, _LEAST_ROOM_M)
    over, under = np.maximum(distance - high, 0.0), np.maximum(low - distance, 0.0)
    return np.asarray(distance - over**2 / (up + over) + under**2 / (down + under), np.float32)


def _frame(along: Array, side: Array) -> Array:
    """(T, 3, 3) right-handed frames with the first column `along` and the second nearest to `side`."""
    x = rot.normalize(along)
    y = rot.normalize(side - np.sum(x * side, axis=-1, keepdims=True) * x)
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def _two_bones(
    upper: Array,
    lower: Array,
    hinge: Array,
    knee: Array,
    target: Array,
    pole: Array,
    max_flexion: float,
    soft: tuple[float, float],
) -> tuple[Array, Array]:
    """Ball joint and hinge reach `target`, the middle joint pointing towards `pole`.

    Args:
        upper: (3,) rest offset from the ball joint to the hinge.
        lower: (3,) rest offset from the hinge to the end.
        hinge: (3,) unit axis; positive angles flex.
        knee: (3,) direction in the rest pose in which the middle joint stands out when flexed.
        target: (T, 3) from the ball joint.
        pole: (T, 3) wanted direction of the middle joint; must not be parallel to the target.
        max_flexion: radians.
        soft: shares of the straight length where the clamp of the reach begins and ends.

    Returns:
        rotations of the ball joint (T, 4) and flexion angles (T,).
    """
    # |upper + R(angle) lower|² = fixed + 2 (constant + a cos angle + b sin angle)
    along = float(hinge @ upper) * float(hinge @ lower)
    a = float(upper @ lower) - along
    b = float(upper @ np.cross(hinge, lower))
    fixed = float(upper @ upper + lower @ lower)
    amplitude, phase = float(np.hypot(a, b)), float(np.arctan2(b, a))
    longest = float(np.sqrt(fixed + 2 * (along + amplitude)))
    shortest = float(np.sqrt(fixed + 2 * (along + amplitude * np.cos(max_flexion - phase))))
    distance = _clamp_reach(np.linalg.norm(target, axis=-1), shortest, longest, soft)
    cosine = ((distance**2 - fixed) / 2 - along) / amplitude
    flexion = (phase + np.arccos(np.clip(cosine, -1.0, 1.0))).astype(np.float32)
    reach = upper + rot.rotate(rot.from_axis_angle(hinge, flexion), lower)  # (T, 3) in the ball joint's frame
    here, there = _frame(reach, np.broadcast_to(knee, reach.shape)), _frame(target, pole)
    return rot.from_matrix(there @ np.swapaxes(here, -1, -2)), flexion


def arm_span(skeleton: Skeleton, side: str) -> tuple[float, float]:
    """Least and greatest distance from shoulder joint to wrist, metres: the elbow folded and straight."""
    lengths = np.linalg.norm(skeleton.offsets_m[skeleton.indices([f"{side}LowerArm", f"{side}Hand"])], axis=-1)
    folded = np.sum(lengths**2) + 2 * lengths.prod() * np.cos(_MAX_ELBOW)
    return float(np.sqrt(folded)), float(lengths.sum())


def _natural_pole(wrist: Array, arm_length: float) -> Array:
    """(T, 3) where the elbow points for wrists (T, 3) given from the resting shoulder joint."""
    height = wrist[:, 1:2] / arm_length
    weight = np.exp(-(((height - _ELBOW_HEIGHTS) / _ELBOW_WIDTH) ** 2)) + 1e-6
    return rot.normalize((weight / weight.sum(-1, keepdims=True)) @ _ELBOW_POLES)


def clavicle(skeleton: Skeleton, wrist_m: ArrayLike) -> Array:
    """Rotation (T, 4) of the left shoulder bone for left wrists (T, 3) in the chest frame.

    It lifts for high hands, comes forward for far and crossing reaches and goes back for hands behind the body.
    """
    upper, lower = (skeleton.offsets_m[skeleton.index(f"left{bone}")] for bone in ("LowerArm", "Hand"))
    joint = skeleton.offsets_m[skeleton.index("leftShoulder")] + skeleton.offsets_m[skeleton.index("leftUpperArm")]
    length = float(np.linalg.norm(upper) + np.linalg.norm(lower))
    v = (np.asarray(wrist_m, np.float32) - joint) / length
    lift = np.radians(27.0) * _smoothstep(v[:, 1], -0.2, 1.0)
    forward = np.radians(14.0) * _smoothstep(v[:, 2], 0.35, 1.05) + np.radians(13.0) * _smoothstep(-v[:, 0], 0.0, 0.75)
    back = np.radians(10.0) * _smoothstep(-v[:, 2], 0.1, 0.8)
    return rot.multiply(rot.from_axis_angle(_Y, back - forward), rot.from_axis_angle(_Z, lift))


def split_pronation(relative: Array, limit: bool = True) -> tuple[Array, Array, Array]:
    """Share a hand's orientation between forearm and wrist (left arm).

    Args:
        relative: (T, 4) orientation of the hand relative to the untwisted forearm.
        limit: keep it inside the wrist's range of movement.

    Returns:
        twist of the forearm bone (T, 4), local rotation of the hand bone (T, 4), pronation angle (T,) in radians.
    """
    swing, twist = rot.swing_twist(relative, _X)
    angle = 2.0 * np.arctan2(twist[..., 0], twist[..., 3])
    angle = (angle + np.pi) % (2 * np.pi) - np.pi
    # relative = swing · twist = twist · bend: the wrist bends in the frame of the twisted forearm
    bend = rot.multiply(rot.conjugate(twist), rot.multiply(swing, twist))
    kept = angle
    if limit:
        v = rot.to_rotation_vector(bend)
        y = v[..., 1] / np.where(v[..., 1] > 0, _ULNAR, _RADIAL)
        z = v[..., 2] / np.where(v[..., 2] > 0, _EXTENSION, _FLEXION)
        bend = rot.from_rotation_vector(v / np.maximum(np.hypot(y, z), 1.0)[..., None])
        kept = np.clip(angle, -_HARD_TWIST, _HARD_TWIST)
    forearm = rot.from_axis_angle(_X, FOREARM_SHARE * kept)
    hand = rot.multiply(rot.from_axis_angle(_X, (1.0 - FOREARM_SHARE) * kept), bend)
    return forearm, hand, angle.astype(np.float32)


def _left_arm(skeleton: Skeleton, wrist: Array, hand: Array | None, swivel: Array | None) -> Array:
    shoulder, upper, lower, end = (
        skeleton.offsets_m[skeleton.index(f"left{bone}")] for bone in ("Shoulder", "UpperArm", "LowerArm", "Hand")
    )
    length = float(np.linalg.norm(lower) + np.linalg.norm(end))
    lifted = clavicle(skeleton, wrist)
    reach = wrist - shoulder - rot.rotate(lifted, upper)
    pole = _natural_pole(wrist - shoulder - upper, length)
    if swivel is not None:
        pole = rot.rotate(rot.from_axis_angle(reach, swivel), pole)

    def arm(pole: Array) -> tuple[Array, Array, Array]:
        ball, flexion = _two_bones(lower, end, -_Y, -_Z, reach, pole, _MAX_ELBOW, _SOFT_ARM)
        bent = rot.from_axis_angle(-_Y, flexion)
        return ball, bent, rot.multiply(ball, bent)

    ball, bent, forearm = arm(pole)
    if hand is None:
        twist = still = np.broadcast_to(rot.IDENTITY, ball.shape)
    else:
        twist, still, angle = split_pronation(rot.multiply(rot.conjugate(forearm), hand))
        if swivel is None:
            # The elbow swings out (or in) to spare a forearm that is asked to twist too far.
            over = np.sign(angle) * np.maximum(np.abs(angle) - _EASY_TWIST, 0.0)
            axis = np.sum(rot.rotate(forearm, _X) * rot.normalize(reach), axis=-1)
            helped = _HELP_FROM_ELBOW * np.tanh(over * np.maximum(axis, 0.0) / _HELP_FROM_ELBOW)
            ball, bent, forearm = arm(rot.rotate(rot.from_axis_angle(reach, helped), pole))
            twist, still, _ = split_pronation(rot.multiply(rot.conjugate(forearm), hand))
    ball = rot.multiply(rot.conjugate(lifted), ball)
    return np.stack([lifted, ball, rot.multiply(bent, twist), still], axis=1)


def solve_arm(
    skeleton: Skeleton,
    side: str,
    wrist_m: ArrayLike,
    hand: ArrayLike | None = None,
    swivel: ArrayLike | None = None,
) -> Array:
    """Bring a wrist somewhere, the hand turned as asked.

    Args:
        skeleton: the body.
        side: "left" or "right".
        wrist_m: (T, 3) wanted wrist in the chest frame, metres; out of reach is clamped softly.
        hand: (T, 4) wanted orientation of the hand bone in the chest frame (identity: fingers along the T-pose's arm,
            palm down), met as far as forearm and wrist can turn; None for a relaxed hand in line with the forearm.
        swivel: (T,) radians by which the elbow is turned out and up about the line from shoulder to wrist, from its
            natural place; None for the natural place, with some help where the forearm would twist too far.

    Returns:
        (T, 4, 4) local rotations of Shoulder, UpperArm, LowerArm and Hand.
    """
    wrist = np.atleast_2d(np.asarray(wrist_m, np.float32))
    turned = None if hand is None else np.broadcast_to(np.asarray(hand, np.float32), (len(wrist), 4))
    swung = None if swivel is None else np.broadcast_to(np.asarray(swivel, np.float32), (len(wrist),))
    if side == "left":
        return _left_arm(skeleton, wrist, turned, swung)
    if side != "right":
        raise ValueError(f"side must be 'left' or 'right'; got {side!r}")
    turned = None if turned is None else rot.mirror(turned)
    return rot.mirror(_left_arm(skeleton, wrist * np.array([-1, 1, 1], np.float32), turned, swung))


def _swivel(pole: Array, middle: Array, axis: Array) -> Array:
    """(T,) angle about `axis` from the direction `pole` to the direction `middle`, radians in (-π, π]."""
    d = rot.normalize(axis)
    a, b = (v - np.sum(v * d, axis=-1, keepdims=True) * d for v in (pole, middle))
    angle = np.arctan2(np.sum(np.cross(a, b) * d, axis=-1), np.sum(a * b, axis=-1))
    return np.asarray(angle, np.float32)


def _wrapped(angle: Array) -> Array:
    return np.asarray((angle + np.pi) % (2 * np.pi) - np.pi, np.float32)


def _pronation(relative: Array) -> Array:
    _, twist = rot.swing_twist(relative, _X)
    return np.asarray(2.0 * np.arctan2(twist[..., 0], twist[..., 3]), np.float32)


def _move_left(
    skeleton: Skeleton, arm: Array, wrist: Array, hand: Array | None, stiff: Array | None, yields: bool
) -> Array:
    offsets = [
        skeleton.offsets_m[skeleton.index(f"left{bone}")] for bone in ("Shoulder", "UpperArm", "LowerArm", "Hand")
    ]
    shoulder, upper, lower, end = offsets
    l1, l2 = float(np.linalg.norm(lower)), float(np.linalg.norm(end))
    ball = rot.multiply(arm[:, 0], arm[:, 1])
    forearm = rot.multiply(ball, arm[:, 2])
    turned = rot.multiply(forearm, arm[:, 3])
    u, f = rot.rotate(ball, lower) / l1, rot.rotate(forearm, end) / l2
    old = shoulder + rot.rotate(arm[:, 0], upper) + l1 * u + l2 * f
    lifted = rot.multiply(rot.multiply(clavicle(skeleton, wrist), rot.conjugate(clavicle(skeleton, old))), arm[:, 0])
    reach = wrist - shoulder - rot.rotate(lifted, upper)
    # The elbow opens or closes in the plane in which it is bent already; a straight arm takes its hinge's plane.
    p = f - np.sum(f * u, axis=-1, keepdims=True) * u
    hinge = rot.rotate(ball, _Z)
    p = rot.normalize(p + hinge * np.maximum(0.05 - np.linalg.norm(p, axis=-1, keepdims=True), 0.0))
    shortest, longest = arm_span(skeleton, "left")
    was = np.linalg.norm(l1 * u + l2 * f, axis=-1)
    # A pose that is already beyond the soft limits is not pulled back for it: no change means no change.
    distance = np.linalg.norm(reach, axis=-1)
    inside = np.maximum(_clamp_reach(distance, shortest, longest), np.minimum(distance, was))
    if yields:
        inside = _yielding(distance, was, shortest, longest)
    cosine = np.clip((inside**2 - l1**2 - l2**2) / (2 * l1 * l2), -1.0, 1.0)[:, None]
    bent = cosine * u + np.sqrt(1.0 - cosine**2) * p
    forearm = rot.multiply(rot.rotation_between(f, bent), forearm)
    swing = rot.rotation_between(l1 * u + l2 * bent, reach)
    # The elbow keeps its angle to its natural place, which depends on where the wrist is.
    joint = shoulder + upper
    kept = _swivel(_natural_pole(old - joint, l1 + l2), u, l1 * u + l2 * f)
    there = _swivel(_natural_pole(wrist - joint, l1 + l2), rot.rotate(swing, u), reach)
    swing = rot.multiply(rot.from_axis_angle(reach, _wrapped(kept - there)), swing)
    before = arm[:, 3]
    ball, forearm = rot.multiply(swing, ball), rot.multiply(swing, forearm)
    turned = turned if hand is None else hand
    if stiff is not None:
        turned = rot.slerp(turned, rot.multiply(forearm, before), stiff)
    return _joined(lifted, ball, forearm, turned, before)


def _joined(lifted: Array, ball: Array, forearm: Array, hand: Array, before: Array) -> Array:
    """Local rotations (T, 4, 4) of a left arm from orientations in the chest frame; `before` was the hand's local one.

    What the hand pronates more than before is shared with the forearm.
    """
    after = rot.multiply(rot.conjugate(forearm), hand)
    more = _wrapped(_pronation(after) - _pronation(before))
    forearm = rot.multiply(forearm, rot.from_axis_angle(_X, FOREARM_SHARE * more))
    return np.stack(
        [
            lifted,
            rot.multiply(rot.conjugate(lifted), ball),
            rot.multiply(rot.conjugate(ball), forearm),
            rot.multiply(rot.conjugate(forearm), hand),
        ],
        axis=1,
    )


def move_arm(
    skeleton: Skeleton,
    side: str,
    arm: ArrayLike,
    wrist_m: ArrayLike,
    hand: ArrayLike | None = None,
    stiff: ArrayLike | None = None,
    yields: bool = False,
) -> Array:
    """Change an arm as little as needed to bring its wrist somewhere: its style stays, no change gives the same arm.

    Args:
        skeleton: the body.
        side: "left" or "right".
        arm: (T, 4, 4) local rotations of Shoulder, UpperArm, LowerArm and Hand.
        wrist_m: (T, 3) wanted wrist in the chest frame; out of reach is clamped softly.
        hand: (T, 4) wanted orientation of the hand in the chest frame, met exactly; None keeps it.
        stiff: (T,) from 0 to 1, how far the hand keeps its angles to the forearm instead; None for not at all.
        yields: near its longest and shortest the arm follows ever more slowly, so that no two wanted wrists come out
            as one and a way back can be found; otherwise it stops there.

    Returns:
        (T, 4, 4) as `arm`.
    """
    arm, wrist = np.asarray(arm, np.float32), np.asarray(wrist_m, np.float32)
    turned = None if hand is None else np.asarray(hand, np.float32)
    kept = None if stiff is None else np.asarray(stiff, np.float32)
    if side == "left":
        return _move_left(skeleton, arm, wrist, turned, kept, yields)
    if side != "right":
        raise ValueError(f"side must be 'left' or 'right'; got {side!r}")
    turned = None if turned is None else rot.mirror(turned)
    wrist = wrist * np.array([-1, 1, 1], np.float32)
    return rot.mirror(_move_left(skeleton, rot.mirror(arm), wrist, turned, kept, yields))


def swivel_arm(skeleton: Skeleton, side: str, arm: ArrayLike, angle: ArrayLike) -> Array:
    """Turn an elbow about the line from shoulder to wrist; wrist and hand stay where they are and as they are turned.

    Args:
        skeleton: the body.
        side: "left" or "right".
        arm: (T, 4, 4) local rotations of Shoulder, UpperArm, LowerArm and Hand.
        angle: (T,) radians; positive lifts the elbow outwards on both sides.

    Returns:
        (T, 4, 4) as `arm`.
    """
    arm = np.asarray(arm, np.float32)
    if side not in ("left", "right"):
        raise ValueError(f"side must be 'left' or 'right'; got {side!r}")
    mine = arm if side == "left" else rot.mirror(arm)
    lower, end = (skeleton.offsets_m[skeleton.index(f"left{bone}")] for bone in ("LowerArm", "Hand"))
    ball = rot.multiply(mine[:, 0], mine[:, 1])
    forearm = rot.multiply(ball, mine[:, 2])
    hand = rot.multiply(forearm, mine[:, 3])
    turn = rot.from_axis_angle(rot.rotate(ball, lower) + rot.rotate(forearm, end), np.asarray(angle, np.float32))
    out = _joined(mine[:, 0], rot.multiply(turn, ball), rot.multiply(turn, forearm), hand, mine[:, 3])
    return out if side == "left" else rot.mirror(out)


def solve_leg(
    skeleton: Skeleton, side: str, ankle_m: ArrayLike, foot: ArrayLike | None = None, knee: ArrayLike = (0.0, 0.0, 1.0)
) -> Array:
    """Bring an ankle somewhere, the foot turned as asked.

    Args:
        skeleton: the body.
        side: "left" or "right".
        ankle_m: (T, 3) wanted ankle in the frame of the hips, metres; out of reach is clamped softly.
        foot: (T, 4) wanted orientation of the foot bone in the frame of the hips; None keeps it in line with the shin.
        knee: (3,) or (T, 3) direction in which the knee points, in the frame of the hips.

    Returns:
        (T, 4, 4) local rotations of UpperLeg, LowerLeg, Foot and Toes.
    """
    if side not in ("left", "right"):
        raise ValueError(f"side must be 'left' or 'right'; got {side!r}")
    hip, upper, lower = (
        skeleton.offsets_m[skeleton.index(f"{side}{bone}")] for bone in ("UpperLeg", "LowerLeg", "Foot")
    )
    target = np.atleast_2d(np.asarray(ankle_m, np.float32)) - hip
    pole = np.broadcast_to(np.asarray(knee, np.float32), target.shape)
    ball, flexion = _two_bones(upper, lower, _X, _Z, target, pole, _MAX_KNEE, _SOFT_LEG)
    bent = rot.from_axis_angle(_X, flexion)
    still = np.broadcast_to(rot.IDENTITY, ball.shape)
    if foot is None:
        return np.stack([ball, bent, still, still], axis=1)
    turned = np.broadcast_to(np.asarray(foot, np.float32), ball.shape)
    ankle = rot.multiply(rot.conjugate(rot.multiply(ball, bent)), turned)
    return np.stack([ball, bent, ankle, still], axis=1)
