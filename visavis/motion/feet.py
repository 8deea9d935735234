"""Feet that stay on the floor: the legs are solved from wherever the hips are.

Legs and root are not motion tokens. The feet stand a little apart and turned out; the hips sink a little, lean over
the foot that carries the weight, and sink further where a leg would be too short.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visavis.motion import rotations as rot
from visavis.motion.ik import solve_leg
from visavis.motion.motion import Motion
from visavis.motion.skeleton import LEG_BONES, Skeleton

__all__ = ["ankle_targets", "plant"]

Array = NDArray[np.float32]

# Half the distance between the ankles, how far the feet point outwards, how far the hips sink from straight knees.
_STANCE_M: Final = 0.105
_TOES_OUT: Final = np.radians(9.0)
_SINK_M: Final = 0.003
# At full weight on one foot: hips to the side (metres), the free side's hip drops (radians), the trunk stays upright.
_SHIFT_M: Final = 0.042
_DROP: Final = np.radians(2.4)
_STRETCH: Final = 0.9965


def ankle_targets(skeleton: Skeleton) -> dict[str, tuple[Array, Array]]:
    """Where the ankles stand in the world: side → (position (3,), orientation (4,)), soles flat on the floor."""
    out = {}
    for side, sign in (("left", 1.0), ("right", -1.0)):
        rest = skeleton.rest_positions_m[skeleton.index(f"{side}Foot")]
        place = np.array([sign * _STANCE_M, rest[1], rest[2]], np.float32)
        out[side] = (place, rot.from_axis_angle(np.array([0, 1, 0], np.float32), np.float32(sign * _TOES_OUT)))
    return out


def _lean(motion: Motion, weight: Array) -> tuple[Array, Array]:
    """Rotations and root with the hips over the carrying foot and the spine upright above them."""
    turned, root = motion.rotations.copy(), motion.root_m.copy()
    root[:, 0] += _SHIFT_M * weight
    # Weight on the left foot: the right hip drops, so the hips turn about Z towards positive (left side up).
    tilt = rot.from_axis_angle(np.array([0, 0, 1], np.float32), _DROP * weight)
    spine = motion.skeleton.index("spine")
    turned[:, 0] = rot.multiply(tilt, turned[:, 0])
    upright = rot.multiply(rot.conjugate(turned[:, 0]), rot.multiply(rot.conjugate(tilt), turned[:, 0]))
    turned[:, spine] = rot.multiply(upright, turned[:, spine])
    return turned, root


def plant(motion: Motion, weight_shift: ArrayLike | None = None) -> Motion:
    """Stand on the floor.

    Args:
        motion: its hips, root and upper body are kept (legs are replaced, the hips sink by what the knees need).
        weight_shift: (T,) from -1 (all weight on the right foot) to 1 (left), or None for both.

    Returns:
        the motion with both ankles at `ankle_targets` in every frame and soles flat.
    """
    if not len(motion):
        return motion
    skeleton = motion.skeleton
    if weight_shift is None:
        turned, root = motion.rotations.copy(), motion.root_m.copy()
    else:
        turned, root = _lean(motion, np.broadcast_to(np.asarray(weight_shift, np.float32), (len(motion),)))
    root[:, 1] -= _SINK_M
    ankles = ankle_targets(skeleton)
    for side, (ankle, _) in ankles.items():
        hip, upper, lower = (
            skeleton.offsets_m[skeleton.index(f"{side}{bone}")] for bone in ("UpperLeg", "LowerLeg", "Foot")
        )
        longest = _STRETCH * float(np.linalg.norm(upper) + np.linalg.norm(lower))
        joint = root + rot.rotate(turned[:, 0], hip)
        aside = (joint - ankle)[:, [0, 2]]
        tallest = np.sqrt(np.maximum(longest**2 - np.sum(aside**2, axis=-1), 0.01)) + ankle[1]
        root[:, 1] -= np.maximum(joint[:, 1] - tallest, 0.0)
    back = rot.conjugate(turned[:, 0])
    for side, (ankle, foot) in ankles.items():
        leg = solve_leg(
            skeleton,
            side,
            rot.rotate(back, ankle - root),
            rot.multiply(back, foot),
            rot.rotate(back, rot.rotate(foot, np.array([0, 0, 1], np.float32))),
        )
        turned[:, skeleton.indices([f"{side}{bone}" for bone in LEG_BONES])] = leg
    return replace(motion, rotations=turned, root_m=root)
