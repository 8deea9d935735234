"""Parameters of gestures: read, clipped to their ranges, and turned into what the posing engine and the solver need.

Directions are in the chest frame (left is +X, up +Y, forward +Z), targets in metres in the world with the body standing
at the origin; "you" is the partner's chest. Sizes are distances between palms, or between the tips of thumb and index.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visavis.errors import LexiconError
from visavis.motion import rotations as rot
from visavis.motion.constraints import Constraint
from visavis.motion.kinematics import forward
from visavis.motion.motion import Motion
from visavis.motion.phases import Phases
from visavis.retrieval.arm import arm_length_m, landmark
from visavis.retrieval.hand_shapes import effector
from visavis.retrieval.lexicon import Gesture, Key, Param

__all__ = ["CHEST_M", "Aim", "aim_constraints", "resolve"]

DIRECTIONS: Final[dict[str, tuple[float, float, float]]] = {
    "left": (1, 0, 0), "right": (-1, 0, 0), "up": (0, 1, 0), "down": (0, -1, 0), "forward": (0, 0, 1),
    "back": (-0.35, 0.15, -1), "behind": (-0.35, 0.15, -1), "away": (-0.75, 0.12, 0.65), "here": (0, -0.7, 0.7),
    "there": (-0.6, 0.0, 0.8), "ahead": (0, 0, 1),
}  # fmt: skip
# The shoulder of a left arm, and how far the wrist of a pointing arm is from it, in arm lengths.
_SHOULDER: Final = np.array([0.304, 0.225, 0.02])
_POINT_REACH: Final = 0.93
CHEST_M: Final = np.array([0.0, 1.235, -0.012])


@dataclass(frozen=True, eq=False)
class Aim:
    """A gesture's parameters, resolved for one performance; `look` is added to head and torso."""

    side: str
    repeats: int
    params: dict[str, Any]
    palm_distance_m: float | None = None
    pinch_gap_m: float | None = None
    height_m: float | None = None
    direction: NDArray[np.float64] | None = None
    target_m: NDArray[np.float64] | None = None
    look: tuple[float, ...] = (0.0,) * 7

    @property
    def symmetric(self) -> bool:
        """Whether both hands must be exact mirrors."""
        return self.palm_distance_m is not None

    def arms(self, gesture: Gesture) -> list[tuple[str, tuple[Key, ...], bool]]:
        """Side, keys and whether it goes the opposite way, for each arm that takes part; the main one first."""
        other = "left" if self.side == "right" else "right"
        alternate = gesture.strokes.alternate
        if gesture.arms.both:
            return [(self.side, gesture.arms.both, False), (other, gesture.arms.both, alternate)]
        out = [(self.side, gesture.arms.main, False)] if gesture.arms.main else []
        return [*out, (other, gesture.arms.other, alternate)] if gesture.arms.other else out

    def seen_from(self, origin_m: NDArray[np.floating], chest: NDArray[np.floating]) -> Aim:
        """The same with the direction to its target taken from a chest that has moved (origin (3,), turn (4,))."""
        if self.target_m is None:
            return self
        target = rot.rotate(rot.conjugate(chest), self.target_m - origin_m)
        shoulder = arm_length_m() * _SHOULDER * (1 if self.side == "left" else -1, 1, 1)
        return replace(self, direction=_unit(target - shoulder))

    def exact(self, key: Key) -> bool:
        """Whether a parameter fixes this key, so that amplitude and noise leave it alone."""
        aimed = self.palm_distance_m is not None or self.direction is not None or self.height_m is not None
        return aimed and key.at in ("stroke", "stroke_end")

    def aimed(self, key: Key, side: str) -> Key:
        """The key as the parameters want it."""
        if self.direction is None or side != self.side or not self.exact(key):
            return key
        d = self.direction * (1 if side == "left" else -1, 1, 1)
        palm = np.array([-0.35, -0.9, 0.1]) if abs(d[1]) < 0.8 else np.array([-0.8, 0.0, 0.4])
        wrist = _SHOULDER + _POINT_REACH * d
        return key.model_copy(update={"wrist": tuple(wrist), "touch": None, "palm": tuple(palm), "fingers": tuple(d)})


def _unit(vector: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(vector, np.float64) / max(float(np.linalg.norm(vector)), 1e-6)


def _number(name: str, value: Any, spec: Param) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise LexiconError(f"{name} must be a number; got {value!r}") from None
    if not np.isfinite(number):
        raise LexiconError(f"{name} must be finite; got {value!r}")
    low = -np.inf if spec.low is None else spec.low
    high = np.inf if spec.high is None else spec.high
    return float(np.clip(number, low, high))


def _triple(name: str, value: Any) -> NDArray[np.float64]:
    parts = value.replace(",", " ").split() if isinstance(value, str) else value
    try:
        out = np.array([float(part) for part in parts], np.float64)
    except (TypeError, ValueError):
        out = np.zeros(0)
    if out.shape != (3,) or not np.all(np.isfinite(out)):
        raise LexiconError(f"{name} must be three numbers; got {value!r}")
    return out


def direction_of(name: str, value: Any, mirror: bool) -> NDArray[np.float64]:
    """(3,) unit direction in the chest frame from words ("left", "up right") or three numbers.

    `mirror` exchanges the sides of those words that say no side themselves ("away", "back").
    """
    if isinstance(value, str) and any(c.isalpha() for c in value):
        words = value.lower().replace("-", " ").replace("_", " ").split()
        unknown = [word for word in words if word not in DIRECTIONS]
        if unknown:
            raise LexiconError(f"{name} must be three numbers or of {', '.join(DIRECTIONS)}; got {value!r}")
        out = np.zeros(3)
        for word in words:
            v = np.array(DIRECTIONS[word], np.float64)
            out += v * (-1, 1, 1) if mirror and word not in ("left", "right") else v
    else:
        out = _triple(name, value)
    length = float(np.linalg.norm(out))
    if length < 1e-6:
        raise LexiconError(f"{name} must not be zero; got {value!r}")
    return out / length


def resolve(gesture: Gesture, params: Mapping[str, Any], hand: str | None, handedness: str) -> Aim:
    """Read parameters; LexiconError for one that the gesture does not have or that cannot be read."""
    for name in params:
        if name not in gesture.params:
            known = ", ".join(gesture.params) or "none at all"
            raise LexiconError(f"{gesture.gloss!r} has the parameters {known}; got {name!r}: leave it out")
    for name, side in (("hand", hand), ("handedness", handedness)):
        if side not in ("left", "right") and not (name == "hand" and side in (None, "both", "none")):
            raise LexiconError(f"{name} must be 'left' or 'right'; got {side!r}")
    values = {name: params.get(name, spec.default) for name, spec in gesture.params.items()}
    given = {name: value for name, value in values.items() if value is not None}
    flipped = (gesture.hands == "left") != (handedness == "left")
    side = hand if hand in ("left", "right") else "left" if flipped else "right"
    repeats, palm, pinch_gap, height = gesture.strokes.repeats, None, None, None
    direction = target = None
    used: dict[str, Any] = {}
    for name, value in given.items():
        spec = gesture.params[name]
        if spec.choices and str(value) not in spec.choices:
            raise LexiconError(f"{name} must be one of {', '.join(spec.choices)}; got {value!r}")
        if spec.acts in ("repeats", "fingers"):
            repeats = used[name] = int(round(_number(name, value, spec)))
        elif spec.acts == "palm_distance":
            palm = used[name] = _number(name, value, spec)
        elif spec.acts == "pinch_gap":
            pinch_gap = used[name] = _number(name, value, spec)
        elif spec.acts == "height":
            height = used[name] = _number(name, value, spec)
        elif spec.acts in ("side", "hand"):
            used[name] = str(value)
            side = str(value) if hand not in ("left", "right") else side
        elif spec.acts == "target":
            target = _triple(name, value)
            used[name] = tuple(target)
    for name, spec in gesture.params.items():
        if spec.acts == "point" and (name in given) and (target is None or name in params):
            direction = direction_of(name, given[name], side == "left")
            used[name] = given[name]
    if target is not None:
        direction = _unit(target - CHEST_M)
    look = (0.0,) * 7
    if direction is not None:
        if hand not in ("left", "right") and abs(direction[0]) > 0.3:
            side = "left" if direction[0] > 0 else "right"
        away = np.degrees(np.arctan2(direction[0] * (1 if side == "left" else -1), max(direction[2], 0.05)))
        up = np.degrees(np.arcsin(np.clip(direction[1], -1, 1)))
        if gesture.core == ():
            look = (
                float(np.clip(-0.35 * up, -25, 20)),
                float(np.clip(0.45 * away, -40, 40)),
                0,
                0,
                float(np.clip(0.1 * away, -8, 8)),
                0,
                0,
            )
    return Aim(side, repeats, used, palm, pinch_gap, height, direction, target, look)


def aim_constraints(gesture: Gesture, aim: Aim, motion: Motion, phases: Phases) -> list[Constraint]:
    """What must hold exactly from the stroke to its end: distances, directions, and hands that touch the body."""
    window = (phases.stroke_s, phases.stroke_end_s)
    source = gesture.gloss
    if aim.palm_distance_m is not None:
        at = _palms(motion, phases.stroke_end_s)
        half = aim.palm_distance_m / 2
        return [
            Constraint(f"{side}Hand", "chest", (sign * half, at[1], at[2]), None, *window, source, "palm")
            for side, sign in (("left", 1.0), ("right", -1.0))
        ]
    hand = f"{aim.side}Hand"
    if aim.height_m is not None:
        x, _, z = _palm_in_world(motion, aim.side, phases.stroke_end_s)
        return [Constraint(hand, "world", (x, aim.height_m, z), None, *window, source, "palm")]
    if aim.target_m is not None:
        return [Constraint(hand, "world", _tuple(aim.target_m), None, *window, source, "point")]
    if aim.direction is not None:
        return [Constraint(hand, "chest", None, _tuple(aim.direction), *window, source, "index_tip")]
    out = []
    for side, keys, _ in aim.arms(gesture):
        touches = {key.at: key.touch for key in keys}
        touch = touches.get("stroke")
        # A hand that goes back between strokes touches only for moments: nothing to hold.
        if touch is None or touches.get("stroke_end", touch) != touch or (aim.repeats > 1 and "back" in touches):
            continue
        bone, at = landmark(touch.landmark)
        at = (at + np.array(touch.offset_m)) * (1 if side == "left" else -1, 1, 1)
        out.append(Constraint(f"{side}Hand", bone, _tuple(at), None, *window, source, touch.effector))
    return out


def _tuple(vector: NDArray[np.floating]) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in vector)
    return x, y, z


def _palm_in_world(motion: Motion, side: str, at_s: float) -> tuple[float, float, float]:
    """The middle of a palm in the world at a time."""
    frame = round(at_s * motion.fps)
    one = motion.slice(frame, frame + 1)
    i = motion.skeleton.index(f"{side}Hand")
    places, turned = forward(one.rotations, one.root_m, motion.skeleton)
    middle = effector("palm", "flat") * (1 if side == "left" else -1, 1, 1)
    return _tuple(places[0, i] + rot.rotate(turned[0, i], middle))


def _palms(motion: Motion, at_s: float) -> NDArray[np.floating]:
    """(3,) the middle between the palms in the chest frame at a time."""
    frame = round(at_s * motion.fps)
    one = motion.slice(frame, frame + 1)
    skeleton = motion.skeleton
    places, turned = forward(one.rotations, one.root_m, skeleton)
    palms = [
        places[0, i] + rot.rotate(turned[0, i], effector("palm", "flat") * (sign, 1, 1))
        for i, sign in ((skeleton.index("leftHand"), 1), (skeleton.index("rightHand"), -1))
    ]
    chest = skeleton.index("upperChest")
    return rot.rotate(rot.conjugate(turned[0, chest]), np.mean(palms, axis=0) - places[0, chest])
