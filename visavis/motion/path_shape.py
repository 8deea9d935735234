"""A corrected path keeps its shape: what a touch or a broad body asks of a hand is spread over its whole way.

A hand that is brought to a hip nine centimetres elsewhere, and goes back to its old way when it leaves, moves along
another path than before. Shifted as a whole, along every axis of the chest frame, the path is the same, only elsewhere.
So the shift that most of the corrections ask for, as seen over some seconds, is given to all frames, and the rest is
kept only where a touch or the body's flesh needs it. Where a hand goes far, a correction changes little of its path and
stays where it is needed. Editing motion under constraints by smooth offsets is Gleicher's ("Motion editing with
spacetime constraints", 1997); here alternating projections find the offset.

It knows nothing of bodies: what is held and what was pushed is told.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d, uniform_filter1d

from visavis.motion import limits
from visavis.motion.contacts import Held
from visavis.motion.ik import move_arm
from visavis.motion.kinematics import positions, to_chest
from visavis.motion.motion import Motion

__all__ = ["keep_shape"]

Array = NDArray[np.float32]

_ARM: Final = ("Shoulder", "UpperArm", "LowerArm", "Hand")
_SIDES: Final = ("left", "right")
# A path is seen through a bell of this width (standard deviation) in time.
_SEEN_S: Final = 4.0
# Paths that spread less than this are shifted as wholes, wider ones are corrected where it is needed.
_WIDE_M: Final = 0.30
# By how much a touch may be missed for the sake of a path, and the spread from which on it need not be.
_MISSED_M: Final = 0.008
_NARROW_M: Final = 0.08
# A push of so much asks in full.
_PUSHED_M: Final = 0.003
# Where nothing is asked for seconds, paths go back to their old place: what a frame without a correction counts.
_ELSEWHERE: Final = 0.02
_ROUNDS: Final = 24
# What comes and goes does so over some frames.
_BELL: Final = np.hanning(9)[1:-1] / np.hanning(9).sum()
_MOVED_M: Final = 5e-4


class _Seen:
    """Means over some seconds around every frame, of series (T, 3)."""

    def __init__(self, frames: int, fps: int) -> None:
        self.size = max(1, round(_SEEN_S * fps * 2)) | 1  # three boxes of width w make a bell of about w / 2
        self.share = self._sum(np.ones((frames, 1)))

    def _sum(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        for _ in range(3):
            x = uniform_filter1d(x, self.size, axis=0, mode="constant")
        return x

    def mean(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """(T, 3) → (T, 3)."""
        return np.asarray(self._sum(x) / self.share)


def _spread_out(path: Array, moved: Array, held: Array, missed: Array, out: Array, fps: int) -> Array:
    """Corrections of one wrist that keep its path's shape.

    Args:
        path: (T, 3) the wrist before all corrections, in the chest frame.
        moved: (T, 3) what was added to it.
        held: (T,) 1 where a touch holds the hand, 0 where nothing does.
        missed: (T,) metres by which a touch may be missed.
        out: (T, 3) by how much of `moved` the body pushed it: no less may be left.
        fps: frames a second.

    Returns:
        (T, 3) in the place of `moved`.
    """
    seen = _Seen(len(path), fps)
    w, d = path.astype(np.float64), moved.astype(np.float64)
    spread = seen.mean(w * w) - seen.mean(w) ** 2
    kept = 1.0 / (1.0 + spread / _WIDE_M**2)
    allowed = missed[:, None] / (1.0 + spread / _NARROW_M**2)
    size = np.linalg.norm(out, axis=-1, keepdims=True)
    normal = np.where(size > _MOVED_M, out / np.maximum(size, _MOVED_M), 0.0)
    least = np.sum(normal * d, axis=-1, keepdims=True)
    # The frames in which a correction is needed tell the shift of all, sure places more than unsure ones.
    sure = held * np.minimum(1.0, _MISSED_M / np.maximum(missed, _MISSED_M)) ** 2
    asked = np.maximum(sure[:, None], np.minimum(size / _PUSHED_M, 1.0))
    share = seen.mean(asked) + _ELSEWHERE
    x = d
    for _ in range(_ROUNDS):
        free = kept * seen.mean(asked * x) / share
        x = free + held[:, None] * (d + np.clip(free - d, -allowed, allowed) - free)
        x = x + normal * np.maximum(least - np.sum(normal * x, axis=-1, keepdims=True), 0.0)
    return x.astype(np.float32)


def _wrists(motion: Motion) -> dict[str, Array]:
    places = positions(motion)
    return {side: to_chest(motion, places[:, motion.skeleton.index(f"{side}Hand")]) for side in _SIDES}


def keep_shape(before: Motion, touched: Motion, pushed: Motion, held: Held | None) -> Motion:
    """Give corrected paths of the wrists their shape back, as far as touches and flesh let them.

    Args:
        before: the motion without corrections, on our bones.
        touched: its hands brought to what they touch; the torso is the same.
        pushed: these brought out of the body as well; the same object if nothing had to be.
        held: what holds the hands; None if nothing does.

    Returns:
        `pushed` with its arms changed; the same object where nothing was corrected.
    """
    if pushed is before:
        return pushed
    skeleton, out = pushed.skeleton, pushed.rotations.copy()
    paths, first, last = (_wrists(motion) for motion in (before, touched, pushed))
    changed = False
    for side in _SIDES:
        moved = last[side] - paths[side]
        if np.abs(moved).max() < _MOVED_M:
            continue
        share, missed, stiff = np.zeros(len(moved), np.float32), np.zeros(len(moved), np.float32), None
        if held is not None:
            meet = held.strength["hands"]
            share = np.maximum(held.strength[side], meet)
            missed = (_MISSED_M + held.unsure_m[side]) * (1.0 - meet)  # hands that meet show a small miss
            stiff = 1.0 - held.felt[side]
        new = _spread_out(paths[side], moved, share, missed, last[side] - first[side], pushed.fps)
        more = convolve1d(new - moved, _BELL, axis=0, mode="nearest")
        busy = np.flatnonzero(np.linalg.norm(more, axis=-1) > 1e-5)
        columns = skeleton.indices([side + bone for bone in _ARM])
        place, kept = last[side][busy] + more[busy], None if stiff is None else stiff[busy]
        out[np.ix_(busy, columns)] = move_arm(skeleton, side, out[busy][:, columns], place, stiff=kept)
        changed = True
    return replace(pushed, rotations=limits.clamp(out)) if changed else pushed
