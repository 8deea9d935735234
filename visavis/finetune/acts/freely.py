"""Gestures as somebody might make them who knows what they mean and not how others do it.

A free performance is made elsewhere, larger or smaller and turned a little, with one hand or both, with more or fewer
strokes and hand shapes of the same family. What it keeps is what `describe` shall learn to see.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visavis.motion import rotations as rot
from visavis.retrieval.lexicon import Arms, CoreKey, Gesture, Key

__all__ = ["freely"]

Array = NDArray[np.float64]

ELSEWHERE: Final = (0.10, 0.13, 0.09)  # how far wrists move, arm lengths
FAMILIES: Final = (("flat", "open", "spread", "relaxed", "cupped"), ("point", "two"), ("pinch_closed", "ring"))
OTHER_SHAPE: Final = 0.25  # how often a hand shape gives way to one of its family
OTHER_HANDS: Final = 0.4  # how often one hand becomes both, or both one
NAMED: Final = {
    "out": (1.0, 0.0, 0.0), "in": (-1.0, 0.0, 0.0), "up": (0.0, 1.0, 0.0), "down": (0.0, -1.0, 0.0),
    "forward": (0.0, 0.0, 1.0), "backward": (0.0, 0.0, -1.0),
}  # fmt: skip


def _tuple(vector: Sequence[float] | NDArray[np.floating]) -> tuple[float, ...]:
    return tuple(float(v) for v in vector)


class _Change:
    """One way to change every key of a gesture alike."""

    def __init__(self, gesture: Gesture, rng: np.random.Generator) -> None:
        self.rng = rng
        self.by: Array = rng.normal(0.0, ELSEWHERE) * rng.choice([0.4, 1.0, 1.6])
        self.size = float(np.exp(rng.normal(0.0, 0.3)))
        self.turn = self._turn(rng.choice([6.0, 15.0, 25.0]))
        self.wrist_turn = self._turn(rng.choice([0.01, 8.0, 16.0]))
        arms = gesture.arms
        keys = (*arms.both, *arms.main, *arms.other)
        places = [key.wrist for key in keys if key.wrist is not None and key.at != "ready"]
        self.middle: Array = np.mean(places or [(0.0, 0.0, 0.0)], axis=0)
        self.shapes: dict[str, str] = {}

    def _turn(self, degrees: float) -> NDArray[np.float32]:
        return rot.from_rotation_vector(self.rng.normal(0.0, np.radians(degrees), 3).astype(np.float32))

    def shape(self, name: str | None) -> str | None:
        if name is not None and name not in self.shapes:
            others = [other for family in FAMILIES if name in family for other in family if other != name]
            change = others and self.rng.random() < OTHER_SHAPE
            self.shapes[name] = str(self.rng.choice(others)) if change else name
        return None if name is None else self.shapes[name]

    def place(self, at: Sequence[float]) -> tuple[float, ...]:
        away = self.size * (np.array(at) - self.middle)
        return _tuple(self.middle + self.by + rot.rotate(self.turn, away.astype(np.float32)))

    def way(self, way: str | Sequence[float], *turns: NDArray[np.float32]) -> tuple[float, ...]:
        out = np.array(NAMED[way] if isinstance(way, str) else way, np.float32)
        for turn in turns:
            out = rot.rotate(turn, out)
        return _tuple(out)

    def key(self, key: Key) -> Key:
        update: dict[str, Any] = {"shape": self.shape(key.shape)}
        turns = (self.turn, self.wrist_turn) if key.touch is None else (self.wrist_turn,)
        if key.wrist is not None:
            update["wrist"] = self.place(key.wrist)
        if key.via:
            update["via"] = tuple(self.place(at) for at in key.via)
        if key.touch is not None:
            offset = _tuple(np.array(key.touch.offset_m) + self.rng.normal(0.0, 0.012, 3))
            update["touch"] = key.touch.model_copy(update={"offset_m": offset})
        for name in ("palm", "fingers"):
            if getattr(key, name) is not None:
                update[name] = self.way(getattr(key, name), *turns)
        return key.model_copy(update=update)


def freely(gesture: Gesture, rng: np.random.Generator) -> Gesture:
    """The gesture changed; `gesture` is one variant, without variants of its own."""
    change = _Change(gesture, rng)
    arms = {name: tuple(change.key(key) for key in getattr(gesture.arms, name)) for name in ("both", "main", "other")}
    hands, alternate = gesture.hands, gesture.strokes.alternate
    if rng.random() < OTHER_HANDS:
        exact = any(param.acts == "palm_distance" for param in gesture.params.values())
        if arms["both"] and not exact:
            arms, hands = {"main": arms["both"]}, "right"
        elif arms["main"] and not arms["other"]:
            arms, hands = {"both": arms["main"]}, "both"
            alternate = bool(rng.random() < 0.25) and any(key.at == "back" for key in arms["both"])
        elif arms["main"] and rng.random() < 0.5:
            arms, hands = {"main": arms["main"]}, "right"
    core = _core(gesture, rng)
    strokes = gesture.strokes.model_copy(
        update={
            "repeats": int(np.clip(gesture.strokes.repeats + rng.integers(-2, 3), 1, 6)),
            "every_s": float(np.clip(gesture.strokes.every_s * np.exp(rng.normal(0.0, 0.2)), 0.15, 1.5)),
            "alternate": alternate,
        }
    )
    update = {"arms": Arms(**arms), "hands": hands, "core": core, "strokes": strokes, "variants": ()}
    return gesture.model_copy(update=update)


def _core(gesture: Gesture, rng: np.random.Generator) -> tuple[CoreKey, ...]:
    """Head and torso more or less, or not at all where hands speak."""
    size = rng.uniform(0.2, 1.6)
    if gesture.hands != "none" and rng.random() < 0.15:
        return ()
    names = ("nod", "turn", "tilt", "lean", "twist", "sway")
    return tuple(key.model_copy(update={n: size * getattr(key, n) for n in names}) for key in gesture.core)
