"""Emotions: the six of Ekman (1992) and neutral, with an intensity in [0, 1].

In the turn language an emotion is one token and its intensity one of eleven levels; in the API an
emotion may also be a blend, a mapping from emotion to weight, of which the language keeps the strongest two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["EMOTIONS", "INTENSITY_LEVELS", "Emotion"]

EMOTIONS: Final = ("neutral", "joy", "sadness", "anger", "fear", "surprise", "disgust")
INTENSITY_LEVELS: Final = 11


@dataclass(frozen=True)
class Emotion:
    """One emotion (a name of `EMOTIONS`) at an intensity in [0, 1]."""

    name: str = "neutral"
    intensity: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in EMOTIONS:
            raise ValueError(f"emotion must be one of {', '.join(EMOTIONS)}; got {self.name!r}")
        if not 0.0 <= self.intensity <= 1.0:
            raise ValueError(f"intensity must lie in [0, 1]; got {self.intensity}")

    @property
    def level(self) -> int:
        """The intensity as a level in 0..10."""
        return round(self.intensity * (INTENSITY_LEVELS - 1))

    @property
    def vector(self) -> tuple[float, ...]:
        """(7,) weights in the order of `EMOTIONS`: the intensity at this emotion, 0 elsewhere."""
        return tuple(self.intensity if name == self.name else 0.0 for name in EMOTIONS)
