"""What a session's listening body does, from whatever comes of the partner: sound, typing, motion, coming and going.

Sound is answered by `Listener`: nods in pauses and after low pitch, brows, a tilt of the head. Typed words are answered
where a phrase ends and where the typing pauses. What is said is answered, too, spoken or typed, as soon as a word is
whole (`visavis.agent.reactions`): the time it takes to type or to recognise it is all the delay. While anything comes
the body attends: the eyes rest on the partner, it leans in. Knows nothing of when the body can show it; that is the
live body's business (`visavis.agent.live`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visavis.agent.hearing_events import EndOfTurn, HearingEvent, SpeechStart, SpeechStop
from visavis.agent.listening import Listener, ListenerSignal, ListenerStyle
from visavis.agent.reactions import reactions

__all__ = ["Attending", "Attention"]

# Seconds for which one sign of the partner holds the attention; more than is sent ahead, so that nothing is sent twice.
SPEAKS_S, TYPES_S, MOVES_S, COMES_S = 3.0, 5.0, 2.5, 4.0
TYPED_APART_S: Final = 2.0  # least time between two nods at what is typed: the words are slower than speech
TYPED_S: Final = 1.0  # of typing, after which a pause is one
ANSWERS_APART_S: Final = 2.0  # least time between two answers to words
PHRASE_NODS: Final = 0.6  # chance of a nod where a typed phrase ends, and where the typing pauses
_BORDERS: Final = ",.;:!?\N{EM DASH}"


@dataclass(frozen=True)
class Attention:
    """What to do now: attend for so long from now on if nothing more comes (None: as before), and signals."""

    for_s: float | None = None
    signals: tuple[ListenerSignal, ...] = ()


class Attending:
    """One partner of one session.

    Args:
        seed: of what is left to chance.
        style: how it listens.
    """

    def __init__(self, seed: int = 0, style: ListenerStyle | None = None) -> None:
        self._listener = Listener(style, seed)
        self._style = self._listener.style
        self._rng = np.random.default_rng((seed, 31))
        self._typed = ""
        self._types_since: float | None = None
        self._nodded = self._answered = -1e9
        self._known = 0  # of the words of this turn, how many were looked at

    def sound(self, pcm: NDArray[np.int16], sample_rate_hz: int, noticed: Sequence[Any]) -> Attention:
        """The partner's sound (N,), with what a hearing noticed in it.

        Raises:
            UsageError: sound that cannot be used.
        """
        events = [event for one in noticed if (event := _timed(one, self._listener.now_s)) is not None]
        signals = self._listener.feed(pcm, sample_rate_hz, events)
        return Attention(SPEAKS_S if self._listener.speaks else None, tuple(signals))

    def typed(self, text: str, now: float) -> Attention:
        """What the partner has typed so far."""
        longer = len(text) > len(self._typed)
        self._typed = text
        self._types_since = self._types_since or now
        ends = text.rstrip()[-1:] if longer else ""
        answer = self._answer(text.split(), now, whole=text[-1:].isspace() or ends in _BORDERS)
        if not answer and ends == "?":
            answer = (ListenerSignal("tilt", 0.0, side=float(self._rng.choice([-1.0, 1.0]))),)
        elif not answer and ends and ends in _BORDERS:
            answer = self._nod(now)
        return Attention(TYPES_S, answer)

    def understood(self, text: str, now: float) -> Attention:
        """What was recognised so far of what the partner says; its last word may still change."""
        return Attention(None, self._answer(text.split(), now, whole=False))

    def told(self, text: str, now: float) -> Attention:
        """The partner's whole line; the next word begins another.

        What it feels like shows while we think; a nod or a tilt says no more than that we are about to answer.
        """
        answer = self._answer(text.split(), now, whole=True, feelings=True)
        self._typed, self._types_since, self._known = "", None, 0
        return Attention(None, answer)

    def paused(self, now: float) -> Attention:
        """The partner has stopped typing, for now."""
        signals = self._nod(now) if self._types_since and now - self._types_since > TYPED_S else ()
        self._typed, self._types_since = "", None
        return Attention(TYPES_S, signals)

    def typing(self, now: float) -> Attention:
        """The partner types."""
        self._types_since = self._types_since or now
        return Attention(TYPES_S)

    def moved(self) -> Attention:
        """The partner moves."""
        return Attention(MOVES_S)

    def came(self) -> Attention:
        """Somebody comes: look up."""
        return Attention(COMES_S, (ListenerSignal("look up", 0.0),))

    def left(self) -> Attention:
        """Nobody is there any more."""
        self._typed, self._types_since, self._known = "", None, 0
        return Attention(0.0)

    def _answer(
        self, words: Sequence[str], now: float, whole: bool, feelings: bool = False
    ) -> tuple[ListenerSignal, ...]:
        """The answer to the words that are new: to the last that calls for a feeling, else to the last that calls.

        Args:
            words: of this turn so far.
            now: in seconds.
            whole: the last word is complete.
            feelings: answer nothing but feelings.
        """
        count = max(len(words) if whole else len(words) - 1, 0)
        known, self._known = min(self._known, count), count  # fewer than before where something was taken back
        found = [one for one in reactions(words[:count]) if one.word >= known]
        felt = [one for one in found if one.kind not in ("nod", "tilt")]
        if not felt and (feelings or not found):
            return ()
        one = (felt or found)[-1]
        draw, size = self._rng.random(), self._style.size * self._rng.uniform(0.8, 1.2)
        side = float(self._rng.choice([-1.0, 1.0]))
        if draw > self._style.answers or now - self._answered < ANSWERS_APART_S:
            return ()
        self._answered = self._nodded = now
        return (ListenerSignal(one.kind, 0.0, float(one.size * size), one.count, side),)

    def _nod(self, now: float) -> tuple[ListenerSignal, ...]:
        draw, size = self._rng.random(), self._style.size * self._rng.uniform(0.6, 1.0)
        if draw > PHRASE_NODS or now - self._nodded < TYPED_APART_S:
            return ()
        self._nodded = now
        return (ListenerSignal("nod", 0.0, float(size), int(self._rng.integers(1, 3))),)


def _timed(noticed: Any, now_s: float) -> HearingEvent | None:
    """What another hearing than ours noticed, which has a kind and need not say when, as happening now."""
    if isinstance(noticed, HearingEvent):
        return noticed
    if noticed.kind == "speech_started":
        return SpeechStart(now_s, now_s)
    if noticed.kind == "speech_stopped":
        return SpeechStop(now_s, now_s, float(getattr(noticed, "probability", 0.5)))
    return EndOfTurn(now_s, now_s, now_s, 1.0) if noticed.kind == "end_of_turn" else None
