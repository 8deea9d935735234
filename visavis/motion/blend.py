"""Joining motions without pops: inertialisation at a seam, cross-fades, clips laid over a base.

Inertialisation keeps the new motion and adds the difference at the seam, in place and in speed, as a spring that is
critically damped and dies away (Bollo 2018; Holden 2021), so nothing of the old motion has to be kept playing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visavis.motion import rotations as rot
from visavis.motion.motion import Motion

__all__ = ["crossfade", "fade_curve", "inertialize", "overlay"]

Array = NDArray[np.float32]


def fade_curve(x: ArrayLike) -> Array:
    """Least-jerk step (Flash & Hogan 1985): 0 below 0, 1 above 1, no speed or acceleration at either end."""
    x = np.clip(np.asarray(x, np.float32), 0.0, 1.0)
    return (x**3 * (10.0 - 15.0 * x + 6.0 * x * x)).astype(np.float32)


def _decayed(offset: Array, speed: Array, times_s: NDArray[np.floating], half_life_s: float) -> Array:
    """Critically damped spring to zero: (T, ...) from an offset (...) and its speed per second (...)."""
    y = 2.0 * np.log(2.0) / max(half_life_s, 1e-4)
    t = times_s.reshape(-1, *([1] * offset.ndim))
    return (np.exp(-y * t) * (offset + (speed + offset * y) * t)).astype(np.float32)


def inertialize(previous: Motion, motion: Motion, half_life_s: float = 0.12) -> Motion:
    """Let `motion` continue `previous` without a jump in place or speed.

    Args:
        previous: what was shown, its last frame just before the first of `motion`; two frames or more, so that it
            has a speed (with one frame only the place is continued).
        motion: what comes next.
        half_life_s: time in which half the difference is gone.

    Returns:
        as long as `motion`, equal to it after some half-lives; face included where both have one.
    """
    if not len(previous) or not len(motion):
        return motion
    fps = motion.fps
    times = np.arange(1, len(motion) + 1) / fps
    # The new motion one frame earlier, by its own speed: where it "would have been" at the last frame shown.
    still = len(motion) < 2 or len(previous) < 2

    def joined(old: Array, new: Array) -> Array:
        before = new[0] if still else 2.0 * new[0] - new[1]
        offset = old[-1] - before
        speed = np.zeros_like(offset) if still else ((old[-1] - old[-2]) - (new[1] - new[0])) * fps
        return np.asarray(new + _decayed(offset, speed, times, half_life_s), np.float32)

    old, new = previous.rotations, motion.rotations
    spin = np.zeros_like(new[0, :, :3])
    before = new[0]
    if not still:
        was = rot.to_rotation_vector(rot.multiply(old[-1], rot.conjugate(old[-2])))
        coming = rot.to_rotation_vector(rot.multiply(new[1], rot.conjugate(new[0])))
        before = rot.multiply(rot.from_rotation_vector(-coming), new[0])
        spin = (was - coming) * fps
    offset = rot.to_rotation_vector(rot.multiply(old[-1], rot.conjugate(before)))
    turned = rot.multiply(rot.from_rotation_vector(_decayed(offset, spin, times, half_life_s)), new)
    face = motion.face
    if face is not None and previous.face is not None:
        face = np.clip(joined(previous.face, face), 0.0, 1.0)
    root = joined(previous.root_m, motion.root_m)
    return replace(motion, rotations=rot.normalize(turned), root_m=root, face=face)


def crossfade(first: Motion, second: Motion, frames: int) -> Motion:
    """Play `first`, then `second`, the last `frames` of the one mixed into the first `frames` of the other.

    Returns:
        len(first) + len(second) - frames frames; a face only where both have one.
    """
    frames = int(np.clip(frames, 0, min(len(first), len(second))))
    if not frames:
        return first.concatenate(second)
    share = fade_curve(np.arange(1, frames + 1) / (frames + 1))
    old, new = first.slice(len(first) - frames, len(first)), second.slice(0, frames)
    mixed = replace(
        old,
        rotations=rot.slerp(old.rotations, new.rotations, np.broadcast_to(share[:, None], old.rotations.shape[:2])),
        root_m=old.root_m + share[:, None] * (new.root_m - old.root_m),
        face=None if old.face is None or new.face is None else old.face + share[:, None] * (new.face - old.face),
    )
    return first.slice(0, len(first) - frames).concatenate(mixed).concatenate(second.slice(frames, len(second)))


def overlay(
    base: Motion,
    clip: Motion,
    at_frame: int,
    bones: Sequence[str] | None = None,
    fade_in: int = 6,
    fade_out: int = 6,
    weight: ArrayLike = 1.0,
) -> Motion:
    """Lay a clip over some bones of a base.

    Args:
        base: keeps its length, root and face.
        clip: parts of it before or after the base are cut off.
        at_frame: the base's frame where the clip begins; may be negative.
        bones: names of the bones taken from the clip; all but the legs' root if None.
        fade_in: frames over which the clip comes in (0: at once).
        fade_out: frames over which it goes.
        weight: scalar or (len(clip),) in [0, 1].
    """
    names = base.skeleton.names if bones is None else tuple(bones)
    columns = base.skeleton.indices(list(names))
    low, high = max(at_frame, 0), min(at_frame + len(clip), len(base))
    if low >= high or not len(columns):
        return base
    frame = np.arange(len(clip), dtype=np.float32)
    share = np.broadcast_to(np.asarray(weight, np.float32), (len(clip),)).copy()
    share *= fade_curve((frame + 1) / (fade_in + 1)) if fade_in else 1.0
    share *= fade_curve((len(clip) - frame) / (fade_out + 1)) if fade_out else 1.0
    cut = slice(low - at_frame, high - at_frame)
    share = np.broadcast_to(share[cut, None], (high - low, len(columns)))
    turned = base.rotations.copy()
    turned[low:high, columns] = rot.slerp(turned[low:high, columns], clip.rotations[cut][:, columns], share)
    return replace(base, rotations=turned)
