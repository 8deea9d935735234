"""What a session needs of whoever hears for it: the partner's sound in, a few events out, in order.

Voice activity, recognition, echo and the decision that a turn has ended live behind this protocol
(`visavis.agent.turn_taking.Hearing` is the one that ships); the session only acts on what it is told. To bring your own
ears write a class with these methods. It may assume that it is called by one thread at a time, in the order in which
the sound came.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["KINDS", "Hearing", "Noticed"]

KINDS = (
    # The partner speaks. With `overlap` we do, too, and nothing stops yet: `backchannel` or `interruption` follows.
    # With `resumes` the turn that was told to be over goes on: what is not yet heard of our answer is dropped.
    "speech_started",
    "speech_stopped",  # a pause; the turn may go on
    "transcript",  # what was understood so far: `hypothesis.text`, `hypothesis.final`
    "end_of_turn",  # the partner has finished; `text` is the whole turn, "" if no words were understood
    "backchannel",  # "mm-hm", a laugh: nothing stops; `text` may name it
    "interruption",  # the partner wants the floor: we stop; an `end_of_turn` follows
)


class Noticed(Protocol):
    """Something that was noticed; its kind says which other attributes it has."""

    @property
    def kind(self) -> str:
        """One of `KINDS`; others are ignored."""
        ...


class Hearing(Protocol):
    """Hears one partner in one session."""

    @property
    def now_s(self) -> float:
        """The clock: seconds of sound heard."""
        ...

    def feed(self, pcm: NDArray[np.generic], sample_rate_hz: int) -> Sequence[Any]:
        """Hear (N,) more mono samples, directly after the last; returns what was noticed (`Noticed`).

        Raises:
            UsageError: sound that cannot be used.
        """
        ...

    def playing(self, pcm: NDArray[np.generic], at_s: float, sample_rate_hz: int = 22_050) -> None:
        """Our own voice (N,) is played from `at_s` of this clock, and may be heard."""
        ...

    def stopped(self, at_s: float | None = None) -> None:
        """Nothing more is played from `at_s` (now) on."""
        ...
