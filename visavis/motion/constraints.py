"""Timed constraints, met on the final motion: a hand at a place, a finger in a direction, a head turned somewhere.

Tokens and refiner are coarse (centimetres), and a moving spine moves the wrist; so what a gesture promises is carried
as constraints and solved last, by changing the arm as little as needed (`visavis.motion.ik.move_arm`). Inside
[from_s, to_s] a constraint holds exactly where the body can reach it; outside it fades, least jerk, without a pop.
Two neighbours of one hand that are closer than their fades pass into each other.
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
from visavis.motion.kinematics import forward
from visavis.motion.motion import Motion
from visavis.motion.skeleton import Skeleton

__all__ = ["EFFECTORS", "PARTNER_HEAD_M", "Constraint", "residuals", "solve"]

Array = NDArray[np.float32]
Frame = tuple[Array, Array]  # origin (T, 3) and orientation (T, 4) in the world

# The partner's head unless a scene says otherwise: in front, at eye height, looking back at us.
PARTNER_HEAD_M: Final = (0.0, 1.545, 1.5)
# Points of the left hand in the frame of its hand bone, metres; fingertips follow the fingers.
_POINTS: Final = {
    "wrist": (0.0, 0.0, 0.0),
    "palm": (0.065, -0.018, 0.0),
    "back": (0.065, 0.018, 0.0),
    "edge": (0.05, 0.0, -0.045),
    "heel": (0.02, -0.018, 0.0),
}
_TIPS: Final = {
    "index_tip": ("Index",),
    "middle_tip": ("Middle",),
    "thumb_tip": ("Thumb",),
    "little_tip": ("Little",),
    "fingers": ("Index", "Middle", "Ring"),
}
_FINGERS_BACK: Final = (-0.02, -0.008, 0.0)
EFFECTORS: Final = (*_POINTS, *_TIPS, "point")
_ARM: Final = ("Shoulder", "UpperArm", "LowerArm", "Hand")
_SWEEPS: Final = 4  # place and direction of one hand depend on each other a little


@dataclass(frozen=True)
class Constraint:
    """One promise about a bone.

    Attributes:
        bone: "leftHand", "rightHand" or "head".
        frame: "chest", "world", "partner" (the partner's head) or the name of a bone.
        target_m: place in that frame, metres, or None. For the effector "point" it is aimed at, not reached.
        direction: in that frame, or None: of the index finger (effectors "index_tip", "point"), of the palm's normal
            ("palm"), of the flat hand otherwise; for the head where the face looks.
        from_s: start of the time in which it holds, seconds.
        to_s: end of it.
        source: who promised it, e.g. a gesture's gloss.
        effector: which point of the hand, one of `EFFECTORS`.
    """

    bone: str
    frame: str
    target_m: tuple[float, float, float] | None
    direction: tuple[float, float, float] | None
    from_s: float
    to_s: float
    source: str = ""
    effector: str = "wrist"

    def __post_init__(self) -> None:
        if self.bone not in ("leftHand", "rightHand", "head"):
            raise ValueError(f"a constraint's bone must be leftHand, rightHand or head; got {self.bone!r}")
        if self.effector not in EFFECTORS:
            raise ValueError(f"effector must be one of {', '.join(EFFECTORS)}; got {self.effector!r}")
        if self.target_m is None and self.direction is None:
            raise ValueError(f"a constraint needs target_m or direction; {self.source or self.bone!r} has neither")
        if self.bone == "head" and self.direction is None:
            raise ValueError("a constraint on the head needs a direction")
        if self.to_s < self.from_s:
            raise ValueError(f"to_s must not be before from_s; got {self.from_s} to {self.to_s}")


@dataclass(frozen=True)
class _Body:
    """Forward kinematics of a motion, asked for by name."""

    skeleton: Skeleton
    places: Array
    turned: Array

    @classmethod
    def of(cls, motion: Motion) -> _Body:
        return cls(motion.skeleton, *forward(motion.rotations, motion.root_m, motion.skeleton))

    def frame(self, name: str) -> Frame:
        frames = len(self.places)
        if name == "world":
            return np.zeros((frames, 3), np.float32), np.tile(rot.IDENTITY, (frames, 1))
        if name == "partner":
            facing = np.array([0, 1, 0, 0], np.float32)  # half a turn about Y
            return np.tile(np.array(PARTNER_HEAD_M, np.float32), (frames, 1)), np.tile(facing, (frames, 1))
        bone = "upperChest" if name == "chest" else name
        if bone not in self.skeleton.names:
            raise ValueError(f"a constraint's frame must be chest, world, partner or a bone; got {name!r}")
        i = self.skeleton.index(bone)
        return self.places[:, i], self.turned[:, i]

    def point(self, bone: str, effector: str) -> Array:
        """(T, 3) the effector in the frame of its hand bone."""
        side = bone.removesuffix("Hand")
        if effector in _POINTS:
            sign = np.array([1 if side == "left" else -1, 1, 1], np.float32)
            return np.broadcast_to(np.array(_POINTS[effector], np.float32) * sign, (len(self.places), 3))
        origin, turned = self.frame(bone)
        ends = [self._tip(f"{side}{finger}Distal") for finger in _TIPS.get(effector, ("Index",))]
        local = rot.rotate(rot.conjugate(turned), np.mean(ends, axis=0) - origin)
        if effector == "fingers":
            local = local + np.array(_FINGERS_BACK, np.float32) * np.array(
                [1 if side == "left" else -1, 1, 1], np.float32
            )
        return local

    def _tip(self, bone: str) -> Array:
        i = self.skeleton.index(bone)
        return self.places[:, i] + rot.rotate(self.turned[:, i], self.skeleton.tips_m[bone])

    def pointer(self, bone: str, effector: str) -> tuple[Array, Array]:
        """(T, 3) where the hand's direction starts and (T, 3) that direction, in the frame of its hand bone."""
        side = bone.removesuffix("Hand")
        zero = np.zeros((len(self.places), 3), np.float32)
        if effector in ("index_tip", "point"):
            knuckle = self.skeleton.offsets_m[self.skeleton.index(f"{side}IndexProximal")]
            return zero + knuckle, rot.normalize(self.point(bone, "index_tip") - knuckle)
        if effector == "palm":
            return zero, zero + np.array([0, -1, 0], np.float32)
        return zero, zero + np.array([1 if side == "left" else -1, 0, 0], np.float32)


def _windows(constraints: Sequence[Constraint], frames: int, fps: int, fade_s: float) -> Array:
    """(N, T) weights of constraints of one bone and kind: 1 where they hold, sums never above 1."""
    time = np.arange(frames) / fps
    # Held on the frames just outside too, so that it holds for whoever interpolates between frames.
    begin = np.array([np.floor(c.from_s * fps + 1e-3) / fps for c in constraints])
    end = np.array([np.ceil(c.to_s * fps - 1e-3) / fps for c in constraints])
    out = np.zeros((len(constraints), frames), np.float32)
    for i in range(len(constraints)):
        before = [begin[i] - end[j] for j in range(len(constraints)) if j != i and begin[j] <= begin[i]]
        after = [begin[j] - end[i] for j in range(len(constraints)) if j != i and begin[j] > begin[i]]
        rise = max(min([fade_s, *before]), 1e-6)
        fall = max(min([fade_s, *after]), 1e-6)
        out[i] = fade_curve((time - begin[i]) / rise + 1 + 1e-4) * fade_curve((end[i] - time) / fall + 1 + 1e-4)
    return out / np.maximum(out.sum(axis=0), 1.0)


def _turn_head(motion: Motion, constraints: Sequence[Constraint], fade_s: float) -> Motion:
    body = _Body.of(motion)
    _, turned = body.frame("head")
    weights = _windows(constraints, len(motion), motion.fps, fade_s)
    looks = rot.rotate(turned, np.array([0, 0, 1], np.float32))
    vector = np.zeros_like(looks)
    for c, w in zip(constraints, weights, strict=True):
        goal = rot.rotate(body.frame(c.frame)[1], rot.normalize(c.direction))  # type: ignore[arg-type]
        vector += w[:, None] * rot.to_rotation_vector(rot.rotation_between(looks, goal))
    wanted = rot.multiply(rot.from_rotation_vector(vector), turned)
    neck, head = motion.skeleton.index("neck"), motion.skeleton.index("head")
    out = motion.rotations.copy()
    # The neck takes its share, the head what is left.
    above = body.frame("upperChest")[1]
    half = rot.multiply(rot.from_rotation_vector(0.4 * vector), rot.multiply(above, out[:, neck]))
    out[:, neck] = rot.multiply(rot.conjugate(above), half)
    out[:, head] = rot.multiply(rot.conjugate(half), wanted)
    return replace(motion, rotations=out)


def _move_hand(motion: Motion, constraints: Sequence[Constraint], fade_s: float) -> Motion:
    """Solve one hand."""
    bone, body = constraints[0].bone, _Body.of(motion)
    aims = [c for c in constraints if c.direction is not None or c.effector == "point"]
    goals = [c for c in constraints if c.target_m is not None and c.effector != "point"]
    aim_weights = _windows(aims, len(motion), motion.fps, fade_s)
    goal_weights = _windows(goals, len(motion), motion.fps, fade_s)
    origin, turned = body.frame(bone)
    wrist, hand = origin, turned
    # Per aim: a fixed direction or None, the place to look at otherwise, and the hand's pointer (start, direction).
    fixed: list[Array | None] = []
    ahead: list[Array] = []
    pointers = [body.pointer(bone, c.effector) for c in aims]
    for c in aims:
        place, turn = body.frame(c.frame)
        fixed.append(None if c.direction is None else rot.rotate(turn, rot.normalize(c.direction)))
        ahead.append(place + rot.rotate(turn, np.zeros(3) if c.target_m is None else np.asarray(c.target_m)))
    ends = [
        (place + rot.rotate(turn, np.asarray(c.target_m, np.float32)), body.point(bone, c.effector))
        for c in goals
        for place, turn in [body.frame(c.frame)]
    ]
    for _ in range(_SWEEPS if aims else 1):
        if aims:
            vector = np.zeros_like(origin)
            for w, goal, at, (start, local) in zip(aim_weights, fixed, ahead, pointers, strict=True):
                to = rot.normalize(at - wrist - rot.rotate(hand, start)) if goal is None else goal
                vector += w[:, None] * rot.to_rotation_vector(rot.rotation_between(rot.rotate(turned, local), to))
            hand = rot.multiply(rot.from_rotation_vector(vector), turned)
        if goals:
            moved = np.zeros_like(origin)
            for w, (at, point) in zip(goal_weights, ends, strict=True):
                moved += w[:, None] * (at - rot.rotate(hand, point) - origin)
            wrist = origin + moved
    chest, facing = body.frame("chest")
    back = rot.conjugate(facing)
    columns = motion.skeleton.indices([bone.removesuffix("Hand") + name for name in _ARM])
    out = motion.rotations.copy()
    # Frames that nothing asks for keep their bits.
    busy = np.flatnonzero((aim_weights.sum(axis=0) if aims else 0) + (goal_weights.sum(axis=0) if goals else 0))
    if len(busy):
        local = rot.rotate(back, wrist - chest)[busy]
        arm = motion.rotations[busy][:, columns]
        new = move_arm(motion.skeleton, bone.removesuffix("Hand"), arm, local, rot.multiply(back, hand)[busy])
        out[np.ix_(busy, columns)] = new
    return replace(motion, rotations=out)


def solve(motion: Motion, constraints: Sequence[Constraint], fade_s: float = 0.15) -> Motion:
    """Meet constraints on a motion.

    Args:
        motion: time 0 is its first frame.
        constraints: on the motion's clock; parts of their windows before or after the motion are fine.
        fade_s: time in which a constraint comes and goes outside its window.

    Returns:
        the motion with arms (and neck and head) changed only where a constraint asks; the rest is bit for bit the same.
    """
    if not len(motion):
        return motion
    head = [c for c in constraints if c.bone == "head"]
    if head:
        motion = _turn_head(motion, head, fade_s)
    # A hand that is placed on the other hand comes second.
    hands = ("leftHand", "rightHand")
    order = sorted(
        hands, key=lambda bone: any(c.bone == bone and c.frame.startswith(("left", "right")) for c in constraints)
    )
    for bone in order:
        mine = [c for c in constraints if c.bone == bone]
        if mine:
            motion = _move_hand(motion, mine, fade_s)
    return motion


def residuals(motion: Motion, constraints: Sequence[Constraint]) -> list[tuple[float, float]]:
    """How well each constraint holds: the greatest distance (metres) and angle (radians) inside its window.

    NaN where it has no such promise or no frame of the motion lies in its window.
    """
    body, out = _Body.of(motion), []
    time = np.arange(len(motion)) / motion.fps
    for c in constraints:
        held = (time >= c.from_s - 1e-6) & (time <= c.to_s + 1e-6)
        place, turn = body.frame(c.frame)
        origin, turned = body.frame(c.bone)
        far = angle = np.full(len(motion), np.nan, np.float32)
        at = None if c.target_m is None else place + rot.rotate(turn, np.asarray(c.target_m, np.float32))
        if at is not None and c.effector != "point":
            far = np.linalg.norm(origin + rot.rotate(turned, body.point(c.bone, c.effector)) - at, axis=-1)
        if c.bone == "head":
            start, local = np.zeros_like(origin), np.broadcast_to(np.array([0, 0, 1], np.float32), origin.shape)
        else:
            start, local = body.pointer(c.bone, c.effector)
        goal = None
        if c.direction is not None:
            goal = rot.rotate(turn, rot.normalize(c.direction))
        elif c.effector == "point" and at is not None:
            goal = rot.normalize(at - origin - rot.rotate(turned, start))
        if goal is not None:
            cross = np.linalg.norm(np.cross(rot.rotate(turned, local), goal), axis=-1)
            angle = np.arctan2(cross, np.sum(rot.rotate(turned, local) * goal, axis=-1))
        empty = not held.any()
        out.append((float("nan"), float("nan")) if empty else (float(far[held].max()), float(angle[held].max())))
    return out
