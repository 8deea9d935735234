"""Joint limits: how far each bone may turn, as data (`data/limits.json`), measured and enforced.

A rotation is split into a twist along the bone and a bend; the twist has a range, the bend an ellipse with different
radii on each side. Limits are wide: they catch broken joints, not unusual poses.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visavis.motion import rotations as rot
from visavis.motion.skeleton import Skeleton, default_skeleton

__all__ = ["clamp", "excess", "excess_of"]

Array = NDArray[np.float32]


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


def _limited(rotations: ArrayLike, skeleton: Skeleton) -> tuple[_Limits, Array, Array, Array]:
    """Limits, rotations (T, B, 4) inside them, and by how many radians bend (T, B) and twist (T, B) were outside."""
    limits = _limits(skeleton)
    return limits, *_inside(np.asarray(rotations, np.float32)[:, limits.bones], limits)


def _inside(q: Array, limits: _Limits) -> tuple[Array, Array, Array]:
    """Rotations (T, B, 4) brought inside, and by how much bend (T, B) and twist (T, B) were outside."""
    swing, twist = rot.swing_twist(q, limits.axis)
    # swing · twist = twist · (twist⁻¹ swing twist): the same bend seen in the twisted frame
    inner = rot.multiply(rot.conjugate(twist), q)
    bend = rot.to_rotation_vector(np.where(limits.inside[:, None], inner, swing))
    radii = np.maximum(np.abs(np.where(bend > 0, limits.high, limits.low)), 1e-3)
    size = np.linalg.norm(bend / radii * (1 - limits.axis), axis=-1)
    shrink = 1.0 / np.maximum(size, 1.0)
    angle = np.sum(rot.to_rotation_vector(twist) * limits.axis, axis=-1)
    kept = np.clip(angle, np.sum(limits.low * limits.axis, -1), np.sum(limits.high * limits.axis, -1))
    bent = rot.from_rotation_vector(bend * shrink[..., None])
    turned = rot.from_axis_angle(limits.axis, kept)
    inside = np.where(limits.inside[:, None], rot.multiply(turned, bent), rot.multiply(bent, turned))
    return inside, np.linalg.norm(bend, axis=-1) * (1 - shrink), np.abs(angle - kept)


def clamp(rotations: ArrayLike, skeleton: Skeleton | None = None) -> Array:
    """(T, J, 4) → (T, J, 4) with every bone inside its limits; rotations that were inside keep their bits."""
    out = np.array(rotations, dtype=np.float32)
    limits, inside, bend, twist = _limited(out, skeleton or default_skeleton())
    outside = (bend + twist) > 1e-5
    out[:, limits.bones] = np.where(outside[..., None], inside, out[:, limits.bones])
    return out


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
    limits = _limits(skeleton)
    place = {int(bone): i for i, bone in enumerate(limits.bones)}
    rows = [place[int(bone)] for bone in skeleton.indices(names)]
    some = _Limits(limits.bones[rows], limits.axis[rows], limits.low[rows], limits.high[rows], limits.inside[rows])
    _, bend, twist = _inside(np.asarray(rotations, np.float32), some)
    return np.where(bend + twist > 1e-5, bend + twist, 0.0).astype(np.float32)
