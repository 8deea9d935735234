"""How an emotion changes the way of speaking; the table is `data/emotion_voice.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from visavis import safe_yaml
from visavis.emotion import Emotion

__all__ = ["Manner", "manner"]


@dataclass(frozen=True)
class Manner:
    """Changes of a neutral voice: rate, range and volume are factors, pitch is in semitones."""

    rate: float = 1.0
    pitch: float = 0.0
    range: float = 1.0
    volume: float = 1.0


@cache
def _table() -> dict[str, Manner]:
    data = safe_yaml.load((Path(__file__).parent / "data" / "emotion_voice.yaml").read_text("utf8"))
    return {name: Manner(**values) for name, values in data.items()}


def manner(emotion: Emotion) -> Manner:
    """The manner of an emotion, linear in its intensity: at intensity 0 the neutral voice."""
    full, k = _table()[emotion.name], emotion.intensity
    return Manner(1 + k * (full.rate - 1), k * full.pitch, 1 + k * (full.range - 1), 1 + k * (full.volume - 1))
