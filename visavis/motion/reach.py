"""Arms of other lengths: the wrist goes the same way in arm lengths, the elbow stays in its plane.

Copied angles carry a wrist along another way where upper arm and forearm are to each other as they are not on the
source: a hand that moved up and down alone now moves to and fro as well. So the way from shoulder joint to wrist keeps
its direction and its share of the arm's length; the elbow opens or closes for it in the plane in which it is bent, and
the hand keeps its angles to the forearm, because a wrist has little room to give. Strongly folded arms cannot keep
that share on every body; there it goes evenly from where all can follow down to the tightest fold of each. A clavicle
that lies otherwise in the T-pose carries the shoulder another way when it turns; the arm makes up for that. All of it
is its own inverse when the bodies are swapped.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis.motion import rotations as rot
from visavis.motion.skeleton import Skeleton, default_skeleton

__all__ = ["carry_arm"]

Array = NDArray[np.float32]

_Y: Final = np.array([0, 1, 0], np.float32)
_ARM: Final = ("UpperArm", "LowerArm", "Hand")
# Shares of the arm's length from shoulder to wrist: kept above the first. The tightest fold, in radians.
_KEPT: Final = 0.55
_FOLDED: Final = np.radians(148.0)
_ALIKE_M: Final = 1e-4
# Where an elbow is straighter than this (sine of its bend), its hinge shows the plane instead.
_STRAIGHT: Final = 0.05


def _lengths(skeleton: Skeleton, side: str) -> tuple[float, float]:
    upper, lower = (skeleton.offsets_m[skeleton.index(side + bone)] for bone in _ARM[1:])
    return float(np.linalg.norm(upper)), float(np.linalg.norm(lower))


def _reach(bend: Array, upper: float, lower: float) -> Array:
    """(T,) share of the arm's length from shoulder to wrist, from the elbow's bend in radians."""
    apart = np.sqrt(np.maximum(upper**2 + lower**2 + 2 * upper * lower * np.cos(bend), 0.0))
    return np.asarray(apart / (upper + lower), np.float32)


def _bend(reach: Array, upper: float, lower: float) -> Array:
    """(T,) the elbow's bend in radians for a share of the arm's length: the inverse of `_reach`."""
    apart = reach * (upper + lower)
    cosine = (apart**2 - upper**2 - lower**2) / (2 * upper * lower)
    return np.asarray(np.arccos(np.clip(cosine, -1.0, 1.0)), np.float32)


def _carried_reach(reach: Array, source: tuple[float, float], target: tuple[float, float]) -> Array:
    """(T,) the share of its own length that an arm of other lengths reaches, in the range of both."""
    tightest = [float(_reach(np.array(_FOLDED), *lengths)) for lengths in (source, target)]
    kept = max(_KEPT, *(t + 0.05 for t in tightest))
    folded = tightest[1] + (reach - tightest[0]) * (kept - tightest[1]) / (kept - tightest[0])
    return np.asarray(np.where(reach < kept, folded, reach), np.float32)


def _lift(bend: Array, lengths: tuple[float, float]) -> Array:
    """(T,) angle at the shoulder between the upper arm and the way to the wrist, radians."""
    upper, lower = lengths
    return np.asarray(np.arctan2(lower * np.sin(bend), upper + lower * np.cos(bend)), np.float32)


def _clavicle(body: Skeleton, side: str) -> float:
    """Metres from clavicle to shoulder joint."""
    return max(float(np.linalg.norm(body.offsets_m[body.index(side + _ARM[0])])), 1e-6)


def _shoulder_lacks(clavicle: Array, side: str, source: Skeleton, target: Skeleton) -> Array:
    """(T, 3) metres by which a shoulder joint moves otherwise than the source's, because clavicles lie otherwise.

    Args:
        clavicle: (T, 4) rotations of the shoulder bone, the same on both.
        side: "left" or "right".
        source: the body that they were made for.
        target: the other; a clavicle that only is longer lacks nothing.
    """
    before, after = (body.offsets_m[body.index(side + _ARM[0])] for body in (source, target))
    otherwise = before * np.float32(_clavicle(target, side) / _clavicle(source, side)) - after
    if np.linalg.norm(otherwise) < _ALIKE_M:
        return np.zeros((len(clavicle), 3), np.float32)
    return rot.rotate(clavicle, otherwise) - otherwise


def carry_arm(arm: Array, side: str, source: Skeleton, target: Skeleton) -> Array:
    """Give an arm's movement to an arm of other lengths.

    Args:
        arm: (T, 4, 4) local rotations of Shoulder, UpperArm, LowerArm and Hand on the source.
        side: "left" or "right".
        source: the body that they were made for.
        target: the body that shall have them; arms along the same axes in the T-pose.

    Returns:
        (T, 4, 4) for the target; the same bits where upper arm and forearm are to each other, and clavicles lie, as on
        the source.
    """
    here, there = _lengths(source, side), _lengths(target, side)
    lacks = _shoulder_lacks(arm[:, 0], side, source, target)
    if np.isclose(here[0] * there[1], here[1] * there[0], rtol=1e-5) and not lacks.any():
        return arm
    upper, lower = (target.offsets_m[target.index(side + bone)] for bone in _ARM[1:])
    ball = rot.multiply(arm[:, 0], arm[:, 1])
    forearm = rot.multiply(ball, arm[:, 2])
    u, f = rot.normalize(rot.rotate(ball, upper)), rot.normalize(rot.rotate(forearm, lower))
    normal = np.cross(u, f)
    sine = np.linalg.norm(normal, axis=-1, keepdims=True)
    bend = np.arctan2(sine[:, 0], np.sum(u * f, axis=-1)).astype(np.float32)
    # A left elbow flexes about -Y, a right one about +Y.
    hinge = rot.rotate(ball, -_Y if side == "left" else _Y)
    normal = rot.normalize(normal + hinge * np.maximum(_STRAIGHT - sine, 0.0))
    old = here[0] * u + here[1] * f
    # What is added on the way to another body is taken off first on the way back to ours.
    home = target is default_skeleton()
    first = old + lacks * np.float32(_clavicle(source, side) / _clavicle(target, side)) if home else old
    distance = np.linalg.norm(first, axis=-1, keepdims=True)
    share = _carried_reach(distance[:, 0] / sum(here), here, there)[:, None]
    wanted = first / np.maximum(distance, 1e-6) * share * sum(there) + (0.0 if home else lacks)
    new = _bend(np.linalg.norm(wanted, axis=-1) / sum(there), *there)
    raised = _lift(bend, here) - _lift(new, there)
    swing = rot.rotation_between(old, wanted) if lacks.any() else rot.IDENTITY
    moved = rot.multiply(swing, rot.multiply(rot.from_axis_angle(normal, raised), ball))
    opened = rot.multiply(swing, rot.multiply(rot.from_axis_angle(normal, raised + new - bend), forearm))
    return np.stack(
        [
            arm[:, 0],
            rot.multiply(rot.conjugate(arm[:, 0]), moved),
            rot.multiply(rot.conjugate(moved), opened),
            arm[:, 3],
        ],
        axis=1,
    ).astype(np.float32)
