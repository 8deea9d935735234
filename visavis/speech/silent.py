"""The silent voice: when everything would be said, with zeros for sound. Needs nothing but this package.

Times come from rules for lengths after Klatt (1976), "Linguistic uses of segmental duration in English"; the
table is `data/durations.yaml`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from visavis import safe_yaml
from visavis.emotion import Emotion
from visavis.errors import TextError
from visavis.speech.letters import pronounce
from visavis.speech.manner import manner
from visavis.speech.types import Phoneme, Speech
from visavis.speech.words import Sound, assemble, is_spoken, is_vowel, prominence, speakable, split_words

__all__ = ["SilentVoice", "estimate"]

SAMPLE_RATE_HZ = 16_000
_LEAD_S, _TAIL_S, _QUIET_S = 0.02, 0.08, 0.3


@cache
def _data() -> dict[str, Any]:
    loaded: dict[str, Any] = safe_yaml.load((Path(__file__).parent / "data" / "durations.yaml").read_text("utf8"))
    loaded["ms"] = {s: c["ms"] for c in loaded["classes"].values() for s in c["symbols"]}
    return loaded


@dataclass(frozen=True)
class _Timed:
    symbol: str
    stress: int
    duration_s: float


def _word(text: str, stress: float, final: bool, rate: float) -> list[_Timed]:
    data = _data()
    sounds = pronounce(text)
    vowels = [i for i, (s, _) in enumerate(sounds) if is_vowel(s)]
    scale = data["many_syllables"] ** max(0, min(len(vowels), 4) - 1) / (rate * data["rate"])
    if stress == 0.0:
        scale *= data["function_word"]
    timed = []
    for i, (symbol, mark) in enumerate(sounds):
        ms = data["ms"].get(symbol, 80.0) * scale
        if is_vowel(symbol):
            if not mark:
                ms *= data["unstressed_vowel"] if data["ms"].get(symbol, 80) > 60 else 1.0
        elif any(0 <= k < len(sounds) and not is_vowel(sounds[k][0]) for k in (i - 1, i + 1)):
            ms *= data["cluster"]
        if final and vowels and i >= vowels[-1]:
            ms *= data["phrase_final"]
        timed.append(_Timed(symbol, mark if stress > 0.0 else min(mark, 1), ms / 1000))
    return timed


def _pause_s(word: str, rate: float) -> float:
    tail = word.rstrip("\"'”’*_")
    pauses: dict[str, float] = _data()["pauses_ms"]
    return pauses.get(tail[-1:], 0.0) / 1000 / rate


def estimate(text: str, rate: float = 1.0) -> tuple[list[Sound], float]:
    """The sounds of a text by rule and the seconds they take; `rate` is a factor on the tempo."""
    said = speakable(text)
    spans = [(a, b) for a, b in split_words(text)]
    words = [text[a:b] for a, b in spans]
    values = prominence(words)
    last = max((i for i, w in enumerate(words) if is_spoken(w)), default=-1)
    sounds: list[Sound] = []
    at = _LEAD_S
    for i, ((a, b), word) in enumerate(zip(spans, words, strict=True)):
        pause = _pause_s(word, rate) if i < last else 0.0
        for timed in _word(said[a:b], values[i], pause > 0.1 or i == last, rate):
            sounds.append(Sound(Phoneme(timed.symbol, at, at + timed.duration_s, timed.stress), a))
            at += timed.duration_s
        if pause and sounds:
            sounds.append(Sound(Phoneme("", at, at + pause), a))
            at += pause
    return sounds, at + _TAIL_S if sounds else _QUIET_S


class SilentVoice:
    """A voice without sound: words, phonemes and stress with estimated times, samples all zero."""

    name = "silent"

    def speak(self, text: str, emotion: Emotion = Emotion(), pace: float = 1.0) -> Speech:  # noqa: B008 - frozen
        """Estimate how a text would be spoken, `pace` times as fast as usual; see `visavis.speech.types.Voice`."""
        if not text.strip():
            raise TextError("expected text with at least one word to speak, got none")
        sounds, duration_s = estimate(text, manner(emotion).rate * pace)
        samples = np.zeros(round(duration_s * SAMPLE_RATE_HZ), np.int16)
        return assemble(text, sounds, samples, SAMPLE_RATE_HZ, self.name)

    def key(self, emotion: Emotion, pace: float = 1.0) -> str:
        """What besides the text decides the times, for the cache."""
        return f"silent {manner(emotion).rate * pace}"

    def close(self) -> None:
        """Nothing to free."""
