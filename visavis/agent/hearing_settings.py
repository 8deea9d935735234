"""The dials of hearing and the words of listeners: `data/turn_taking.yaml`, written by the fit of `visavis.evals`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from visavis import safe_yaml
from visavis.speech.completeness import bare_words

__all__ = ["HearingSettings", "Patience", "default_settings", "is_backchannel"]


@dataclass(frozen=True)
class Patience:
    """How long a silence must last, by the probability p that the turn is over.

    fast_s at p >= sure, slow_s at p = unsure, on the line between them; below, up to unfinished_s more at p = 0, where
    it is rather certain that there is more to come.
    """

    fast_s: float
    slow_s: float
    unsure: float
    sure: float
    unfinished_s: float = 0.0

    def needed_s(self, p: float) -> float:
        """Seconds of silence that end a turn."""
        if p < self.unsure:
            return self.slow_s + self.unfinished_s * (1 - p / self.unsure)
        share = (p - self.unsure) / max(self.sure - self.unsure, 1e-9)
        return self.slow_s + (self.fast_s - self.slow_s) * min(max(share, 0.0), 1.0)


@dataclass(frozen=True)
class HearingSettings:
    """The dials of hearing.

    sound, words: patience without and with a current transcript.
    mix: weights of the log odds of melody, of completeness, and a constant, for the probability with a transcript.
    speech, silence: probabilities above and below which a chunk of 32 ms is speech or silence.
    alone, over: how the log odds of Silero VAD, the level above the background and, while the agent's voice is in the
        sound, the level above its echo (both in decibels, at most 25) make the log odds of somebody speaking; the
        last is a constant.
    begin_chunks: speech chunks (of the last four) that begin speech; near_chunks: while the agent speaks.
    voiced: least share of chunks with a voice in what is speech.
    interrupt_s: how long somebody must speak to interrupt; interrupt_words_s: with words that are no backchannel.
    """

    sound: Patience
    words: Patience
    mix: tuple[float, float, float]
    speech: float
    silence: float
    alone: tuple[float, float, float]
    over: tuple[float, float, float, float]
    begin_chunks: int
    near_chunks: int
    voiced: float
    interrupt_s: float
    interrupt_words_s: float


@cache
def default_settings() -> HearingSettings:
    """The settings that ship."""
    raw = safe_yaml.load((Path(__file__).parent / "data" / "turn_taking.yaml").read_text("utf8"))
    fields = dict(raw["settings"])
    fields.update(sound=Patience(**fields["sound"]), words=Patience(**fields["words"]), mix=tuple(fields["mix"]))
    fields.update(alone=tuple(fields["alone"]), over=tuple(fields["over"]))
    return HearingSettings(**fields)


@cache
def _backchannels() -> frozenset[str]:
    raw = safe_yaml.load((Path(__file__).parent / "data" / "turn_taking.yaml").read_text("utf8"))
    return frozenset(" ".join(bare_words(text)) for text in raw["backchannels"])


def is_backchannel(text: str) -> bool:
    """Whether words are nothing but listening aloud: "mm-hm", "yeah right", "I see"."""
    words = bare_words(text)
    known = _backchannels()
    at = 0
    while at < len(words):
        size = next((n for n in (3, 2, 1) if " ".join(words[at : at + n]) in known and at + n <= len(words)), 0)
        if not size:
            return False
        at += size
    return bool(words)
