"""What a recogniser of speech is: sound in, what was said out. Each vendor has one file that implements this.

- `TypedText` (here): the words come from a keyboard.
- `visavis.speech.grammar.GrammarRecogniser`: pocketsphinx, for a few fixed phrases; its model is in the wheel.
- `visavis.speech.whisper.WhisperRecogniser`: faster-whisper, for anything, when its weights are given.

A browser's own recogniser is none of these: it sends people's voices to a company, and nobody may be sent there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from visavis.speech.streamed import HEARING_HZ

__all__ = ["HeardWord", "Hypothesis", "Recogniser", "TypedText"]


@dataclass(frozen=True)
class HeardWord:
    """A word as recognised: seconds from the start of the utterance, confidence in [0, 1]."""

    text: str
    start_s: float
    end_s: float
    confidence: float = 1.0


@dataclass(frozen=True)
class Hypothesis:
    """What was understood so far, or in the end (`final`).

    text: as a person would write it, or bare lower-case words, as the recogniser has it; "" for nothing.
    words: with their times; may be empty where a partial result has none.
    confidence: of the whole, in [0, 1].
    """

    text: str
    words: tuple[HeardWord, ...] = ()
    confidence: float = 1.0
    final: bool = False


class Recogniser(Protocol):
    """Extend by writing these; calls come from one thread at a time, in the order start, feed*, finish."""

    name: str

    def start(self) -> None:
        """An utterance begins; what was not finished is dropped."""
        ...

    def feed(self, pcm: NDArray[np.float32]) -> Hypothesis | None:
        """Hear (N,) more float32 samples at 16 kHz in [-1, 1]; a partial result when there is a new one."""
        ...

    def finish(self) -> Hypothesis:
        """The utterance is over: its final result.

        Raises:
            ServiceError: the recogniser failed; the next `start` may be tried.
        """
        ...

    def close(self) -> None:
        """Free what is held; the object is not used afterwards."""
        ...


class TypedText:
    """Words from a keyboard, as a recogniser: sound is not looked at, only its length is the clock."""

    name = "typed"

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """An utterance begins with no words."""
        self._heard, self._words, self._told = 0, list[HeardWord](), 0

    def type(self, text: str) -> None:
        """More is typed; it counts as said at this moment of the sound."""
        now_s = self._heard / HEARING_HZ
        self._words += [HeardWord(word, now_s, now_s) for word in text.split()]

    def feed(self, pcm: NDArray[np.float32]) -> Hypothesis | None:
        """The words so far, if some are new."""
        self._heard += len(pcm)
        if len(self._words) == self._told:
            return None
        self._told = len(self._words)
        return self._hypothesis(final=False)

    def finish(self) -> Hypothesis:
        """All words."""
        return self._hypothesis(final=True)

    def close(self) -> None:
        """Nothing is held."""

    def _hypothesis(self, final: bool) -> Hypothesis:
        return Hypothesis(" ".join(w.text for w in self._words), tuple(self._words), 1.0, final)
