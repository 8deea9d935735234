"""Forward kinematics: from parent-relative rotations to places and orientations in the world.

Legend: T frames, J bones. World: metres, Y up, the body faces +Z at rest. The *chest frame* has its origin at the
upperChest bone and turns with it; gestures are described in it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visavis.motion import rotations as rot
from visavis.motion.motion import Motion
from visavis.motion.skeleton import Skeleton

__all__ = [
    "bone_frame",
    "chest_frame",
    "forward",
    "from_chest",
    "from_frame",
    "positions",
    "tips",
    "to_chest",
    "to_frame",
]

Array = NDArray[np.float32]


@lru_cache(maxsize=8)
def _levels(skeleton: Skeleton) -> tuple[NDArray[np.int64], ...]:
    """Bones by depth, the root's level first: a level is computed in one go."""
    depth = np.zeros(len(skeleton), dtype=np.int64)
    for i, parent in enumerate(skeleton.parents):
        depth[i] = depth[parent] + 1 if parent >= 0 else 0
    return tuple(np.flatnonzero(depth == level) for level in range(int(depth.max()) + 1))


def forward(rotations: ArrayLike, root_m: ArrayLike, skeleton: Skeleton) -> tuple[Array, Array]:
    """Place every bone in the world.

    Args:
        rotations: (T, J, 4) parent-relative unit quaternions.
        root_m: (T, 3) position of the root bone, metres.
        skeleton: its parents and offsets.

    Returns:
        positions (T, J, 3) in metres and orientations (T, J, 4), both in the world, float32.
    """
    rotations = np.asarray(rotations, dtype=np.float32)
    places = np.empty((*rotations.shape[:2], 3), dtype=np.float32)
    turned = np.empty_like(rotations)
    root, *rest = _levels(skeleton)
    turned[:, root] = rotations[:, root]
    places[:, root] = np.asarray(root_m, dtype=np.float32)[:, None]
    for level in rest:
        parents = skeleton.parents[level]
        above = turned[:, parents]
        turned[:, level] = rot.multiply(above, rotations[:, level])
        places[:, level] = places[:, parents] + rot.rotate(above, skeleton.offsets_m[level])
    return places, turned


def positions(motion: Motion) -> Array:
    """(T, J, 3) places of all bones in the world, metres."""
    return forward(motion.rotations, motion.root_m, motion.skeleton)[0]


def tips(motion: Motion) -> dict[str, Array]:
    """End points of the last bones (fingertips, crown, toe tips) in the world: name of the last bone → (T, 3)."""
    places, turned = forward(motion.rotations, motion.root_m, motion.skeleton)
    return {
        name: places[:, i] + rot.rotate(turned[:, i], offset)
        for name, offset in motion.skeleton.tips_m.items()
        for i in [motion.skeleton.index(name)]
    }


def bone_frame(motion: Motion, bone: str) -> tuple[Array, Array]:
    """Origin (T, 3) and orientation (T, 4) of a bone in the world."""
    places, turned = forward(motion.rotations, motion.root_m, motion.skeleton)
    i = motion.skeleton.index(bone)
    return places[:, i], turned[:, i]


def chest_frame(motion: Motion) -> tuple[Array, Array]:
    """Origin (T, 3) and orientation (T, 4) of the chest frame in the world."""
    return bone_frame(motion, "upperChest")


def to_frame(frame: tuple[Array, Array], points: ArrayLike) -> Array:
    """World points (T, 3) seen from a frame (origin (T, 3), orientation (T, 4))."""
    origin, turned = frame
    return rot.rotate(rot.conjugate(turned), np.asarray(points, dtype=np.float32) - origin)


def from_frame(frame: tuple[Array, Array], points: ArrayLike) -> Array:
    """Points (T, 3) of a frame brought into the world."""
    origin, turned = frame
    return origin + rot.rotate(turned, points)


def to_chest(motion: Motion, points: ArrayLike) -> Array:
    """World points (T, 3) seen from the chest frame of every frame."""
    return to_frame(chest_frame(motion), points)


def from_chest(motion: Motion, points: ArrayLike) -> Array:
    """Points (T, 3) of the chest frame brought into the world."""
    return from_frame(chest_frame(motion), points)
