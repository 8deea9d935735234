"""Joint limits: how far each bone may turn, as data (`data/limits.json`), measured and enforced.

A rotation is split into a twist along the bone and a bend; the twist has a range, the bend an ellipse with different
radii on each side. Limits are wide: they catch broken joints, not unusual poses.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visavis.motion import rotations as rot
from visavis.motion.skeleton import Skeleton, default_skeleton

__all__ = ["clamp", "clamp_of", "excess", "excess_of", "yielding"]

Array = NDArray[np.float32]
Floats = NDArray[np.floating]

# The share of a range, before its end, in which `yielding` slows down.
_MARGIN: Final = 0.15


@dataclass(frozen=True, eq=False)
class _Limits:
    """Arrays over the limited bones: B of them.

    Attributes:
        bones: (B,) places in the skeleton.
        axis: (B, 3) unit twist axes.
        low: (B, 3) least angle about x, y, z in radians (negative).
        high: (B, 3) most.
        inside: (B,) whether the bend happens in the twisted frame.
    """

    bones: NDArray[np.int64]
    axis: Array
    low: Array
    high: Array
    inside: NDArray[np.bool_]


@lru_cache(maxsize=8)
def _limits(skeleton: Skeleton) -> _Limits:
    data = json.loads((files("visavis.motion") / "data" / "limits.json").read_text())["bones"]
    rows = []
    for name, entry in data.items():
        ranges = np.radians([entry[axis] for axis in "xyz"])
        axis, inside = np.eye(3)["xyz".index(entry["twist_axis"])], entry.get("bend") == "inside"
        rows.append((skeleton.index(name), axis, ranges[:, 0], ranges[:, 1], inside))
        if name.startswith("left") and "right" + name[4:] not in data:
            # Mirrored in x = 0: turns about y and z change sign, so their ranges are swapped.
            low = np.array([ranges[0, 0], -ranges[1, 1], -ranges[2, 1]])
            high = np.array([ranges[0, 1], -ranges[1, 0], -ranges[2, 0]])
            rows.append((skeleton.index("right" + name[4:]), axis, low, high, inside))
    columns = list(zip(*rows, strict=True))
    axes, least, most = (np.array(column, np.float32) for column in columns[1:4])
    return _Limits(np.array(columns[0], np.int64), axes, least, most, np.array(columns[4], bool))


@lru_cache(maxsize=32)
def _limits_of(names: tuple[str, ...], skeleton: Skeleton) -> tuple[_Limits, NDArray[np.int64]]:
    """Limits of some bones, and their places in the skeleton."""
    limits = _limits(skeleton)
    place = {int(bone): i for i, bone in enumerate(limits.bones)}
    rows = [place[int(bone)] for bone in skeleton.indices(names)]
    some = _Limits(limits.bones[rows], limits.axis[rows], limits.low[rows], limits.high[rows], limits.inside[rows])
    return some, some.bones


def _limited(rotations: ArrayLike, skeleton: Skeleton) -> tuple[_Limits, Array, Array, Array]:
    """Limits, rotations (T, B, 4) inside them, and by how many radians bend (T, B) and twist (T, B) were outside."""
    limits = _limits(skeleton)
    return limits, *_inside(np.asarray(rotations, np.float32)[:, limits.bones], limits)


def _used(q: Array, limits: _Limits) -> tuple[Array, Array, Array, Array]:
    """Bends (T, B, 3), the share of its range that each takes (T, B), twists (T, B) in radians and their shares."""
    swing, twist = rot.swing_twist(q, limits.axis)
    # swing · twist = twist · (twist⁻¹ swing twist): the same bend seen in the twisted frame
    inner = rot.multiply(rot.conjugate(twist), q)
    bend = rot.to_rotation_vector(np.where(limits.inside[:, None], inner, swing))
    radii = np.maximum(np.abs(np.where(bend > 0, limits.high, limits.low)), 1e-3)
    size = np.linalg.norm(bend / radii * (1 - limits.axis), axis=-1)
    angle = np.sum(rot.to_rotation_vector(twist) * limits.axis, axis=-1)
    most = np.sum(np.where(angle[..., None] > 0, limits.high, -limits.low) * limits.axis, axis=-1)
    return bend, size, angle, np.abs(angle) / most


def _turned(bend: Floats, twist: Floats, limits: _Limits) -> Array:
    """Rotations (T, B, 4) from bends (T, B, 3) and twists (T, B)."""
    bent, turned = rot.from_rotation_vector(bend), rot.from_axis_angle(limits.axis, twist)
    return np.asarray(np.where(limits.inside[:, None], rot.multiply(turned, bent), rot.multiply(bent, turned)))


def _inside(q: Array, limits: _Limits) -> tuple[Array, Array, Array]:
    """Rotations (T, B, 4) brought inside, and by how much bend (T, B) and twist (T, B) were outside."""
    bend, size, angle, twisted = _used(q, limits)
    shrink, kept = 1.0 / np.maximum(size, 1.0), angle / np.maximum(twisted, 1.0)
    inside = _turned(bend * shrink[..., None], kept, limits)
    return inside, np.linalg.norm(bend, axis=-1) * (1 - shrink), np.abs(angle - kept)


def _slowed(share: Array, own: Array) -> Array:
    """Shares of a range, slowed down from a margin before its end on, or from one's own share where that is farther."""
    begin = np.clip(own, 1.0 - _MARGIN, 1.0 - 1e-3)
    over = np.maximum(share - begin, 0.0)
    return np.asarray(share - over**2 / (1.0 - begin + over), np.float32)


def yielding(rotations: ArrayLike, own: ArrayLike, names: tuple[str, ...], skeleton: Skeleton | None = None) -> Array:
    """Some bones inside their limits, no two rotations made the same: near a limit they go on ever more slowly.

    Args:
        rotations: (T, J, 4) of a whole body.
        own: (T, J, 4) what they were before they were changed: what was as near to a limit stays as near.
        names: the bones; the others keep their bits.
        skeleton: whose limits; the default body's if None.

    Returns:
        (T, J, 4).
    """
    out, before = np.array(rotations, np.float32), np.asarray(own, np.float32)
    limits, bones = _limits_of(names, skeleton or default_skeleton())
    bend, size, angle, twisted = _used(out[:, bones], limits)
    _, own_size, _, own_twisted = _used(before[:, bones], limits)
    kept, turned = _slowed(size, own_size), _slowed(twisted, own_twisted)
    changed = (kept < size - 1e-6) | (turned < twisted - 1e-6)
    bend_share, twist_share = kept / np.maximum(size, 1e-6), turned / np.maximum(twisted, 1e-6)
    inside = _turned(bend * bend_share[..., None], angle * twist_share, limits)
    out[:, bones] = np.where(changed[..., None], inside, out[:, bones])
    return out


def clamp(rotations: ArrayLike, skeleton: Skeleton | None = None, names: tuple[str, ...] = ()) -> Array:
    """(T, J, 4) → (T, J, 4) with every bone inside its limits, or those in `names`; what was inside keeps its bits."""
    out, skeleton = np.array(rotations, dtype=np.float32), skeleton or default_skeleton()
    bones = skeleton.indices(names) if names else _limits(skeleton).bones
    out[:, bones] = _clamped(out[:, bones], _limits_of(names, skeleton)[0] if names else _limits(skeleton))
    return out


def clamp_of(rotations: ArrayLike, names: tuple[str, ...], skeleton: Skeleton | None = None) -> Array:
    """(T, B, 4) as `clamp` of some bones alone, from their rotations (T, B, 4)."""
    return _clamped(np.asarray(rotations, np.float32), _limits_of(names, skeleton or default_skeleton())[0])


def _clamped(q: Array, limits: _Limits) -> Array:
    inside, bend, twist = _inside(q, limits)
    return np.where(((bend + twist) > 1e-5)[..., None], inside, q)


def excess(rotations: ArrayLike, skeleton: Skeleton | None = None) -> Array:
    """(T, J) radians by which each bone is outside its limits (bend and twist added up), 0 inside."""
    skeleton = skeleton or default_skeleton()
    limits, _, bend, twist = _limited(rotations, skeleton)
    out = np.zeros(np.shape(rotations)[:2], np.float32)
    out[:, limits.bones] = bend + twist
    return np.where(out > 1e-5, out, 0.0).astype(np.float32)


def excess_of(rotations: ArrayLike, names: tuple[str, ...], skeleton: Skeleton | None = None) -> Array:
    """(T, B) as `excess` of some bones alone, from their rotations (T, B, 4)."""
    skeleton = skeleton or default_skeleton()
    some, _ = _limits_of(names, skeleton)
    _, bend, twist = _inside(np.asarray(rotations, np.float32), some)
    return np.where(bend + twist > 1e-5, bend + twist, 0.0).astype(np.float32)
