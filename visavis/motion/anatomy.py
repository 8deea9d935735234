"""Put foreign joint rotations in our anatomical order: elbows and knees as hinges, pronation shared with the forearm.

Other rigs leave the roll of an upper arm to chance and let the wrist carry all of the pronation. Nothing here moves a
joint in space: only the roll of bones about their own length changes, and only where it is out of order, continuously.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis.motion import rotations as rot
from visavis.motion.ik import FOREARM_SHARE
from visavis.motion.skeleton import Skeleton, default_skeleton

__all__ = ["ordered"]

Array = NDArray[np.float32]
_X, _Y, _Z = np.eye(3, dtype=np.float32)
# How far an elbow or knee may bend off its hinge, and twists of forearm, hand and shin that need no help (radians).
_OFF_HINGE: Final = np.radians(3.0)
_FOREARM, _HAND, _SHIN, _FOOT = np.radians([64.0, 38.0, 14.0, 22.0])
# Bends below the first are too small to know a hinge by, above the second it is certain.
_BENT: Final = np.radians([6.0, 22.0])


def _smooth(x: Array, low: float, high: float) -> Array:
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), np.float32)


def _angle(twist: Array, axis: Array) -> Array:
    a = 2.0 * np.arctan2(np.sum(twist[..., :3] * axis, axis=-1), twist[..., 3])
    return np.asarray((a + np.pi) % (2 * np.pi) - np.pi, np.float32)


def _unwound(angle: Array, known: NDArray[np.bool_]) -> Array:
    """Angles (T,) without leaps by a full turn while they are known, every such stretch as near to 0 as it can be."""
    out = angle.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], known.astype(np.int8), [0]])))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        run = np.unwrap(angle[start:stop])
        out[start:stop] = run - 2 * np.pi * np.round(np.median(run) / (2 * np.pi))
    return out


def _hinged(upper: Array, lower: Array, along: Array, front: Array) -> tuple[Array, Array]:
    """Roll the upper bone so that the lower one bends towards `front`, both staying where they are in space.

    Args:
        upper: (T, 4) local rotation of upper arm or thigh.
        lower: (T, 4) of forearm or shin.
        along: (3,) the limb in the T-pose.
        front: (3,) where the lower bone goes when it bends.
    """
    side = np.cross(along, front)
    tip = rot.rotate(lower, along)
    c, s = tip @ front, tip @ side
    bend = np.arccos(np.clip(tip @ along, -1.0, 1.0))
    off = np.arctan2(s, c)  # about `along`, from the plane of the hinge
    # The limit is on the bend off the hinge; small bends may point anywhere.
    free = np.arcsin(np.clip(_OFF_HINGE / np.maximum(bend, 1e-3), 0.0, 1.0))
    off = _unwound(off, bend > _BENT[0])
    more = np.sign(off) * np.maximum(np.abs(off) - free, 0.0) * _smooth(bend, *_BENT)
    # A turn by +more about `along` takes front to side, as the tip has gone.
    roll = rot.from_axis_angle(along, more)
    return rot.multiply(upper, roll), rot.multiply(rot.conjugate(roll), lower)


def _shared(forearm: Array, hand: Array, always: bool) -> tuple[Array, Array]:
    """Move twist between forearm and hand, both (T, 4), the hand staying as it is in space."""
    _, twist = rot.swing_twist(forearm, _X)
    bend_hand, twist_hand = rot.swing_twist(rot.multiply(twist, hand), _X)
    total, mine = _angle(twist_hand, _X), _angle(twist, _X)
    wrist = (total - mine + np.pi) % (2 * np.pi) - np.pi
    total = mine + wrist
    if always:
        new = FOREARM_SHARE * total
    else:
        new = mine + wrist - np.clip(wrist, -_HAND, _HAND)
    new = np.clip(new, -_FOREARM, _FOREARM)
    roll = rot.from_axis_angle(_X, new - mine)
    return rot.multiply(forearm, roll), rot.multiply(rot.conjugate(roll), hand)


def _spared(upper: Array, lower: Array, along: Array, most: float) -> tuple[Array, Array]:
    """Move a lower bone's twist beyond `most` into the bone below, in place: returns (lower, below)."""
    _, twist = rot.swing_twist(upper, along)
    angle = _angle(twist, along)
    roll = rot.from_axis_angle(along, np.clip(angle, -most, most) - angle)
    return rot.multiply(upper, roll), rot.multiply(rot.conjugate(roll), lower)


def ordered(rotations: Array, skeleton: Skeleton | None = None, share_twist: bool = False) -> Array:
    """Hinges and twists in order.

    Args:
        rotations: (T, 55, 4) local rotations of our bones.
        skeleton: ours.
        share_twist: give the forearm its part of all pronation, for rigs whose wrists carry it alone.

    Returns:
        (T, 55, 4); wrists, hands, ankles and feet where they were.
    """
    skeleton = skeleton or default_skeleton()
    out = np.array(rotations, np.float32)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        upper, lower, hand = (skeleton.index(side + bone) for bone in ("UpperArm", "LowerArm", "Hand"))
        out[:, upper], out[:, lower] = _hinged(out[:, upper], out[:, lower], np.float32(sign) * _X, _Z)
        out[:, lower], out[:, hand] = _shared(out[:, lower], out[:, hand], share_twist)
        thigh, shin, foot = (skeleton.index(side + bone) for bone in ("UpperLeg", "LowerLeg", "Foot"))
        out[:, thigh], out[:, shin] = _hinged(out[:, thigh], out[:, shin], -_Y, -_Z)
        out[:, shin], out[:, foot] = _spared(out[:, shin], out[:, foot], _Y, _SHIN)
    return out
