"""Where the wrists and the nose are, seen from the chest: what rotations hide from a small network.

Strokes are movements of a wrist, and no convolution of joint rotations sees one; with these points beside the
rotations the refiner can tell when a stroke is and so whether it is in time.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis.motion import rotations as rot
from visavis.motion.skeleton import ARM_BONES, CORE_BONES, default_skeleton

__all__ = ["LIMB_OF_COLUMN", "LIMBS", "POINTS", "pose_points", "with_points"]

LIMBS: Final = ("core", "left", "right")  # in the order of the features
POINTS: Final = 9  # nose, left wrist and mirrored right wrist, three numbers each
_NOSE_M: Final = (0.0, 0.1, 0.5)  # before the head, so that turning it shows
_CORE: Final = 6 * len(CORE_BONES)
_SIDE: Final = 6 * len(ARM_BONES)
# The limb (its place in LIMBS) of every column of features with points.
LIMB_OF_COLUMN: Final = np.repeat([0, 1, 2, 0, 1, 2], [_CORE, _SIDE, _SIDE, 3, 3, 3])


@lru_cache(maxsize=1)
def _offsets() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(4, 3) from chest to shoulder, arm, forearm, hand; (2, 3) from chest to neck and head. Metres."""
    skeleton = default_skeleton()
    arm = [f"left{bone}" for bone in ARM_BONES[:4]]
    return skeleton.offsets_m[skeleton.indices(arm)], skeleton.offsets_m[skeleton.indices(["neck", "head"])]


def pose_points(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """The points of poses.

    Args:
        features: (..., 264) 6D rotations of core, left and mirrored right (`motion_features`).
    Returns:
        (..., 9) float32 metres in the chest frame of the default skeleton: a point before the head, the left wrist,
        and the right wrist as a mirrored left one.
    """
    x = np.asarray(features, np.float32)
    arm, head = _offsets()
    sides = np.stack([x[..., _CORE : _CORE + 18], x[..., _CORE + _SIDE : _CORE + _SIDE + 18]])
    turned = rot.from_6d(sides.reshape(*sides.shape[:-1], 3, 6))  # shoulder, upper arm, forearm of both
    place = np.broadcast_to(arm[3], (*turned.shape[:-2], 3))
    for bone in (2, 1, 0):
        place = arm[bone] + rot.rotate(turned[..., bone, :], place)
    nods = rot.from_6d(x[..., _CORE - 12 : _CORE].reshape(*x.shape[:-1], 2, 6))  # neck, head
    nose = np.broadcast_to(np.array(_NOSE_M, np.float32), (*nods.shape[:-2], 3))
    for bone in (1, 0):
        nose = head[bone] + rot.rotate(nods[..., bone, :], nose)
    return np.concatenate([nose, place[0], place[1]], axis=-1)


def with_points(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """(..., 264) features → (..., 273) with their points behind them."""
    x = np.asarray(features, np.float32)
    return np.concatenate([x, pose_points(x)], axis=-1)
