"""What a voice returns: a waveform and when each word and phoneme sounds. Times in seconds from its first sample."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from visavis.emotion import Emotion

__all__ = ["Phoneme", "Speech", "Voice", "Word", "close_voice"]


@dataclass(frozen=True)
class Phoneme:
    """One phoneme: IPA symbol without stress marks ("" is silence), stress 0 none, 1 secondary, 2 primary."""

    symbol: str
    start_s: float
    end_s: float
    stress: int = 0


@dataclass(frozen=True)
class Word:
    """One word of the text as given (with its punctuation), where it stands in the text and when it sounds.

    stress is its prominence in [0, 1] (0: not stressed, a function word); stress_s the onset of its stressed vowel.
    """

    text: str
    start_s: float
    end_s: float
    stress: float
    stress_s: float
    char_start: int
    char_end: int


@dataclass(frozen=True)
class Speech:
    """A spoken text.

    samples: (N,) int16 mono; `silent` voices give zeros of the right length.
    words cover every white-space separated word of `text`, in order.
    """

    text: str
    samples: NDArray[np.int16]
    sample_rate_hz: int
    words: tuple[Word, ...] = ()
    phonemes: tuple[Phoneme, ...] = field(default=())
    voice: str = ""

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate_hz


class Voice(Protocol):
    """Extend by writing `speak`; everything else is built on it, and an agent does without `name` and `close`, too.

    What `speak` gives needs only the text and the sound: words that are not timed are aligned like those of a
    recording, and the mouth follows the sound where there are no phonemes (`visavis.speech.given`).
    Sessions can ask a voice to speak faster or slower if its `speak` takes `pace: float = 1.0`, too.
    """

    name: str

    def speak(self, text: str, emotion: Emotion) -> Speech:
        """Speak a text with an emotion.

        Raises:
            TextError: the text cannot be spoken.
            VoiceError: the voice failed.
        """
        ...

    def close(self) -> None:
        """Free processes and connections; the voice is not used afterwards."""
        ...


def close_voice(voice: Voice) -> None:
    """Close a voice that has something to close."""
    close = getattr(voice, "close", None)
    if close is not None:
        close()
