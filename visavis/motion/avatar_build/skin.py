"""Skin weights: by distance to the bones, smoothed over the mesh, four influences.

A bone's pull falls with (nearest / own distance)^steepness, so a blend at a joint is about as wide as the limb is
thick; the smoothing spreads it further where cloth is meant to stretch. Distances are taken from a bone's flesh
(`_THICKNESS_M`), otherwise an arm would carry the side of the chest with it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visavis.motion.avatar_build.field import neighbours
from visavis.motion.avatar_build.part import Part
from visavis.motion.skeleton import Skeleton, default_skeleton

__all__ = ["four_largest", "part_weights"]

Array = NDArray[np.float32]
_THICKNESS_M = {"hips": 0.08, "spine": 0.08, "chest": 0.08, "upperChest": 0.085, "UpperLeg": 0.02}
# Where a bone ends for its skin: its main child, or the tip that the skeleton gives.
_NEXT = {"hips": "spine", "upperChest": "neck", "neck": "head"}


def _segment(name: str, skeleton: Skeleton) -> tuple[Array, Array]:
    start = skeleton.rest_positions_m[skeleton.index(name)]
    if name in skeleton.tips_m:
        return start, start + skeleton.tips_m[name]
    if name in _NEXT:
        child = skeleton.index(_NEXT[name])
    elif name.endswith("Hand"):
        child = skeleton.index(name[:-4] + "MiddleProximal")
    else:
        child = int(np.flatnonzero(skeleton.parents == skeleton.index(name))[0])
    return start, skeleton.rest_positions_m[child]


def _distance(points: Array, name: str, skeleton: Skeleton) -> Array:
    a, b = _segment(name, skeleton)
    if name.endswith("Hand"):
        # A palm is wide: measure from the plane of the metacarpals, not from one line.
        points = (points * [1, 1, 0.35] + a * [0, 0, 0.65]).astype(np.float32)
    ab = b - a
    t = np.clip((points - a) @ ab / (ab @ ab), 0, 1)
    flesh = next((r for part, r in _THICKNESS_M.items() if name.endswith(part)), 0.0)
    return np.maximum(np.linalg.norm(points - a - t[:, None] * ab, axis=1) - flesh, 0) + 0.002 + 0.1 * flesh


def part_weights(part: Part, skeleton: Skeleton | None = None) -> Array:
    """(V, J) weights of one piece on a skeleton (the default one if None), each row summing to 1."""
    skeleton = skeleton or default_skeleton()
    out = np.zeros((len(part.vertices), len(skeleton)))
    index = skeleton.indices(list(part.bones))
    if len(index) == 1:
        out[:, index[0]] = 1
        return out.astype(np.float32)
    distance = np.stack([_distance(part.vertices, name, skeleton) for name in part.bones], axis=1)
    steepness = np.broadcast_to(part.steepness, len(distance))[:, None]
    pull = (distance.min(axis=1, keepdims=True) / distance) ** steepness
    out[:, index] = pull / pull.sum(axis=1, keepdims=True)
    near = neighbours(part.faces, len(part.vertices))
    degree = np.maximum(np.asarray(near.sum(axis=1)), 1).reshape(-1, 1)
    for _ in range(part.smooth):
        out = 0.5 * out + 0.5 * (near @ out) / degree
    return out.astype(np.float32)


def four_largest(weights: Array) -> tuple[NDArray[np.uint8], Array]:
    """(V, J) → bones (V, 4) uint8 and weights (V, 4), largest first, summing to 1; under 1 % is dropped."""
    joints = np.argsort(-weights, axis=1, kind="stable")[:, :4]
    best = np.take_along_axis(weights, joints, axis=1)
    best = np.where(best < 0.01, 0, best)
    best = best / best.sum(axis=1, keepdims=True)
    return np.where(best > 0, joints, 0).astype(np.uint8), best.astype(np.float32)
