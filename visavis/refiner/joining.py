"""What is known stays as it is, to the bit, and what was made beside it meets it in place and in speed.

A network comes near what it was told to keep, but not exactly: at every border of a free stretch the difference is
taken back by a quintic that begins with the difference, in place and speed, and ends with none. It has no acceleration
at either end, so a border is as smooth as what was made (least jerk, Flash and Hogan 1985; the idea is that of
inertialisation, Bollo 2018, with an end).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from visavis.motion import rotations as rot
from visavis.motion.motion import Motion
from visavis.refiner.pose_points import LIMBS

__all__ = ["join"]

# Frames over which a difference is taken back: as few as leave the turn of a joint with this much acceleration (radians
# a frame squared; a brisk stroke has four times as much).
_SHORTEST, _LONGEST, _GENTLE = 8, 24, 0.02

Array = NDArray[np.float32]


def join(made: Motion, given: Motion, known: NDArray[np.bool_]) -> Motion:
    """Put the known frames into what was made.

    Args:
        made: T frames, of the network.
        given: T frames; its rotations where `known`, and everything that is no limb (legs, eyes, root, face).
        known: (T, 3) by limb (`LIMBS`).
    Returns:
        T frames: `given`, bit for bit, where known; elsewhere `made`, moved so that nothing jumps at a border.
    """
    turned = given.rotations.copy()
    for column, limb in enumerate(LIMBS):
        free = ~known[:, column]
        if free.any():
            bones = given.skeleton.part(limb)
            corrected = _corrected(made.rotations[:, bones], given.rotations[:, bones], free)
            turned[np.ix_(free, bones)] = corrected[free]
    return replace(given, rotations=turned)


def _runs(free: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Free stretches as first frame and the one after the last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], free, [False]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _corrected(made: Array, given: Array, free: NDArray[np.bool_]) -> Array:
    """(T, K, 4) of one limb."""
    frames = len(free)
    off = rot.to_rotation_vector(rot.multiply(given, rot.conjugate(made)))  # (T, K, 3), counts where known
    add = np.zeros_like(off)
    for begin, end in _runs(free):
        length = end - begin
        if begin > 0:
            speed = off[begin - 1] - off[begin - 2] if begin > 1 and not free[begin - 2] else None
            add[begin:end] += _fading(off[begin - 1], speed, length)
        if end < frames:
            speed = off[end] - off[end + 1] if end + 1 < frames and not free[end + 1] else None
            add[begin:end] += _fading(off[end], speed, length)[::-1]
    return rot.normalize(rot.multiply(rot.from_rotation_vector(add), made))


def _fading(off: Array, speed: Array | None, length: int) -> Array:
    """(length, K, 3): frames 1.. of a quintic from a difference (K, 3) and its speed a frame to nothing."""
    turn = float(np.linalg.norm(off, axis=-1).max())
    # Least jerk over a distance d in n frames has at most 5.8 d / n² acceleration.
    reach = min(float(np.clip(np.sqrt(5.8 * turn / _GENTLE), _SHORTEST, _LONGEST)), length + 1)
    u = np.minimum(np.arange(1, length + 1, dtype=np.float32) / reach, 1.0)[:, None, None]
    out = (1 - u) ** 3 * (1 + 3 * u + 6 * u * u) * off
    if speed is not None:
        out = out + u * (1 - u) ** 3 * (1 + 3 * u) * reach * speed
    return out.astype(np.float32)
