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

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d, uniform_filter1d

from visavis.motion import limits
from visavis.motion.contacts import Held
from visavis.motion.ik import arm_span, move_arm
from visavis.motion.kinematics import forward, to_frame
from visavis.motion.motion import Motion

__all__ = ["keep_shape"]

Array = NDArray[np.float32]

_ARM: Final = ("Shoulder", "UpperArm", "LowerArm", "Hand")
_SIDES: Final = ("left", "right")
_UPPER: Final = ("leftUpperArm", "rightUpperArm")
_ARMS: Final = tuple(side + bone for side in _SIDES for bone in _ARM)
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
# An arm is as good as straight at this share of its length.
_REACHED: Final = 0.998
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


@dataclass(eq=False)
class _Spread:
    """Corrections of one wrist that keep its path's shape, found step by step.

    Args:
        path: (T, 3) the wrist before all corrections, in the chest frame.
        moved: (T, 3) what was added to it.
        held: (T,) 1 where the body holds the hand, 0 where nothing does.
        missed: (T,) metres by which a touch may be missed.
        out: (T, 3) by how much of `moved` the body pushed it: no less may be left.
        met: (T,) 1 where the hand meets the other: then its way counts as asked for, too.
        arm: (T, 3) from shoulder joint to wrist before all corrections.
        longest: what an arm can span, metres.
        seen: means over some seconds.
    """

    path: Array
    moved: Array
    held: Array
    missed: Array
    out: Array
    met: Array
    arm: Array
    longest: float
    seen: _Seen

    def __post_init__(self) -> None:
        w, self.d = self.path.astype(np.float64), self.moved.astype(np.float64)
        spread = self.seen.mean(w * w) - self.seen.mean(w) ** 2
        self.wide = spread + _MOVED_M
        self.kept = 1.0 / (1.0 + spread / _WIDE_M**2)
        self.allowed = self.missed[:, None] / (1.0 + spread / _NARROW_M**2)
        size = np.linalg.norm(self.out, axis=-1, keepdims=True)
        self.normal = np.where(size > _MOVED_M, self.out / np.maximum(size, _MOVED_M), 0.0)
        self.least = np.sum(self.normal * self.d, axis=-1, keepdims=True)
        # The frames in which a correction is needed tell the shift of all, sure places more than unsure ones.
        self.sure = self.held * np.minimum(1.0, _MISSED_M / np.maximum(self.missed, _MISSED_M)) ** 2
        asked = np.maximum(self.sure[:, None], np.minimum(size / _PUSHED_M, 1.0))
        self.asked = (asked if asked.any() else self.met[:, None]).astype(np.float64)
        self.share = self.seen.mean(self.asked) + _ELSEWHERE
        self.x = self.d

    def step(self) -> None:
        """Towards one shift of all, touches and flesh as far as they are told."""
        free = self.kept * self.seen.mean(self.asked * self.x) / self.share
        x = free + self.held[:, None] * (self.d + np.clip(free - self.d, -self.allowed, self.allowed) - free)
        self.x = self._in_reach(self._outside(x))

    def _in_reach(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """What an arm is too short for is taken from the axes along which the path is wide: it is not seen there."""
        way = self.arm + x
        length = np.linalg.norm(way, axis=-1, keepdims=True)
        over = np.maximum(length - np.maximum(self.longest, np.linalg.norm(self.arm, axis=-1, keepdims=True)), 0.0)
        normal = way / np.maximum(length, _MOVED_M)
        pull = self.wide * normal
        return x - pull * over / np.sum(pull * normal, axis=-1, keepdims=True)

    def eased(self) -> Array:
        """(T, 3) what was found, coming and going over some frames; touches and hands that meet keep their detail."""
        x, change = (convolve1d(y, _BELL, axis=0, mode="nearest") for y in (self.x, self.x - self.d))
        detail = np.maximum(self.sure, self.met)[:, None]
        return np.asarray(x + detail * (self.d + change - x), np.float32)

    def _outside(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return x + self.normal * np.maximum(self.least - np.sum(self.normal * x, axis=-1, keepdims=True), 0.0)


def _together(left: _Spread, right: _Spread, met: Array) -> None:
    """Hands that meet (T,) keep the way between them; the one that the body holds less moves more."""
    apart = (left.x - left.d) - (right.x - right.d)
    free = [(1.05 - one.held)[:, None] for one in (left, right)]
    for one, sign, share in zip((left, right), (-1.0, 1.0), free, strict=True):
        one.x = one.x + sign * met[:, None] * apart * share / (free[0] + free[1])


def _wrists(motion: Motion, bone: str = "Hand") -> dict[str, Array]:
    skeleton, (places, turned) = motion.skeleton, forward(motion.rotations, motion.root_m, motion.skeleton)
    chest = skeleton.index("upperChest")
    frame = places[:, chest], turned[:, chest]
    return {side: to_frame(frame, places[:, skeleton.index(f"{side}{bone}")]) for side in _SIDES}


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
    joints = _wrists(before, "UpperArm")
    nothing, seen = np.zeros(len(out), np.float32), _Seen(len(out), pushed.fps)
    meet = nothing if held is None else held.strength["hands"]
    # What is only near something must find back: each hand for itself, and nothing is cut off.
    yields = held is not None and not any(felt.any() for felt in held.felt.values())
    spreads = {}
    for side in _SIDES:
        share = nothing if held is None else held.strength[side]
        missed = nothing if held is None else _MISSED_M + held.unsure_m[side]
        if yields:
            share, missed = np.maximum(share, meet), missed * (1.0 - meet)
        together, moved = nothing if yields else meet, last[side] - paths[side]
        arm, longest = paths[side] - joints[side], np.inf if yields else _REACHED * arm_span(skeleton, side)[1]
        spreads[side] = _Spread(
            paths[side], moved, share, missed, last[side] - first[side], together, arm, longest, seen
        )
    for _ in range(_ROUNDS):
        for one in spreads.values():
            one.step()
        if meet.any() and not yields:
            _together(spreads["left"], spreads["right"], meet)
    changed = False
    for side, one in spreads.items():
        if np.abs(one.moved).max() < _MOVED_M and np.abs(one.x).max() < _MOVED_M:
            continue
        stiff = None if held is None else 1.0 - held.felt[side]
        more = one.eased() - one.moved
        busy = np.flatnonzero(np.linalg.norm(more, axis=-1) > 1e-5)
        columns = skeleton.indices([side + bone for bone in _ARM])
        place, kept = last[side][busy] + more[busy], None if stiff is None else stiff[busy]
        out[np.ix_(busy, columns)] = move_arm(skeleton, side, out[busy][:, columns], place, stiff=kept, yields=yields)
        changed = True
    if not changed:
        return pushed
    out = limits.yielding(out, pushed.rotations, _UPPER) if yields else out
    return replace(pushed, rotations=limits.clamp(out, names=_ARMS))
