"""Hands held where they were: what must not move is not masked but met again by the solver.

A masked arm would not do: a hip or spine that moves still moves the wrist. So a hold remembers where the hand is in a
frame, lets everything move, and then brings the arm back, which comes and goes outside the hold without a pop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis.motion import rotations as rot
from visavis.motion.blend import fade_curve
from visavis.motion.ik import move_arm
from visavis.motion.kinematics import forward, from_frame, to_frame
from visavis.motion.motion import Motion

__all__ = ["Hold", "hold"]

_FADE_S: Final = 0.15
_ARM: Final = ("Shoulder", "UpperArm", "LowerArm", "Hand")


@dataclass(frozen=True)
class Hold:
    """A hand's way that must stay what it is.

    Attributes:
        hand: "left" or "right".
        from_s: start of the time in which it holds, seconds of the motion.
        to_s: end of it.
        frame: in which it stays: "chest", "world", or a bone's name ("head" for a hand at the face).
    """

    hand: str
    from_s: float
    to_s: float
    frame: str = "chest"

    def __post_init__(self) -> None:
        if self.hand not in ("left", "right"):
            raise ValueError(f"hand must be left or right; got {self.hand!r}")
        if self.to_s < self.from_s:
            raise ValueError(f"to_s must not be before from_s; got {self.from_s} to {self.to_s}")

    def weight(self, frames: int, fps: int) -> NDArray[np.float32]:
        """(frames,) 1 while it holds, less within 0.15 s around, 0 elsewhere."""
        time = np.arange(frames) / fps
        rise = fade_curve((time - self.from_s) / _FADE_S + 1 + 1e-4)
        weight = rise * fade_curve((self.to_s - time) / _FADE_S + 1 + 1e-4)
        return np.minimum(weight, np.float32(1.0))  # single precision may pass it by a little


def hold(moved: Motion, original: Motion, holds: Sequence[Hold]) -> Motion:
    """Bring hands back to where they were in their frames.

    Args:
        moved: T frames.
        original: T frames of which the holds are.
        holds: of one hand that overlap in time, the one that holds more decides.
    Returns:
        `moved` with the arms solved where something holds; the rest is bit for bit the same.
    """
    turned = moved.rotations.copy()
    skeleton = moved.skeleton
    chest = skeleton.index("upperChest")
    for side in ("left", "right"):
        mine = [h for h in holds if h.hand == side]
        if not mine or not len(moved):
            continue
        was, now = (forward(m.rotations, m.root_m, m.skeleton) for m in (original, moved))
        hand = skeleton.index(f"{side}Hand")
        weights = np.stack([h.weight(len(moved), moved.fps) for h in mine])
        total = weights.max(axis=0)
        deciding = weights.argmax(axis=0)
        place, facing = now[0][:, hand].copy(), now[1][:, hand].copy()
        for number, one in enumerate(mine):
            rows = (deciding == number) & (total > 0)
            if one.frame == "world":
                goal, turn = was[0][:, hand], was[1][:, hand]
            else:
                bone = skeleton.index("upperChest" if one.frame == "chest" else one.frame)
                before, after = (was[0][:, bone], was[1][:, bone]), (now[0][:, bone], now[1][:, bone])
                goal = from_frame(after, to_frame(before, was[0][:, hand]))
                turn = rot.multiply(after[1], rot.multiply(rot.conjugate(before[1]), was[1][:, hand]))
            share = total[rows]
            place[rows] += share[:, None] * (goal[rows] - place[rows])
            facing[rows] = rot.slerp(facing[rows], turn[rows], share)
        busy = np.flatnonzero(total > 0)
        columns = skeleton.indices([f"{side}{name}" for name in _ARM])
        seen = to_frame((now[0][busy, chest], now[1][busy, chest]), place[busy])
        turned_hand = rot.multiply(rot.conjugate(now[1][busy, chest]), facing[busy])
        arm = moved.rotations[busy][:, columns]
        turned[np.ix_(busy, columns)] = move_arm(skeleton, side, arm, seen, turned_hand)
    return replace(moved, rotations=turned)
