"""What a session needs of whoever hears for it: audio in, a few events out, in order.

Voice activity, recognition and the decision that a turn has ended live behind this protocol
(`visavis.agent.turn_taking`); the session only acts on what it is told. To bring your own ears write a class with
`feed` and `close`. It may assume that one thread at a time feeds it, in the order in which the sound came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Hearing", "HearingEvent", "HearingKind"]

HearingKind = Literal["speech_started", "speech_stopped", "transcript", "end_of_turn", "backchannel"]


@dataclass(frozen=True)
class HearingEvent:
    """Something that was heard.

    kind:
        `speech_started`: the partner takes the floor: speech of ours is interrupted. Coughs, "mm-hm" and the echo of
            our own voice are never told as this.
        `speech_stopped`: a pause; the turn may go on.
        `transcript`: `text` is what was understood so far of this turn; `final` when it will not change.
        `end_of_turn`: the partner is done; `text` is the whole turn, empty if no words were understood.
        `backchannel`: "mm-hm", a laugh: nothing stops; `text` names it.
    time_s: when, in seconds of the audio that was fed.
    """

    kind: HearingKind
    time_s: float
    text: str = ""
    final: bool = True


class Hearing(Protocol):
    """Hears one partner in one session."""

    def feed(self, pcm: NDArray[np.int16], sample_rate_hz: int, *, speaking: bool = False) -> Sequence[HearingEvent]:
        """Hear the next piece.

        Args:
            pcm: (N,) int16 mono, directly after the last piece.
            sample_rate_hz: of `pcm`.
            speaking: whether we are speaking now, so that what comes back may be our own voice.
        """
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...
