"""Playing scenes to `Hearing`, and to the fixed silences that it is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visavis.agent.turn_taking import EndOfTurn, Hearing, HearingEvent, HearingSettings, Interruption
from visavis.evals.turn_taking.scenes import Said, Scene
from visavis.evals.turn_taking.sounds import RATE_HZ
from visavis.speech.completeness import bare_words
from visavis.speech.ending import Ending
from visavis.speech.recogniser import HeardWord, Hypothesis

__all__ = ["GivenWords", "Heard", "play"]

PIECE = RATE_HZ // 50  # the microphone's sound comes in pieces of 20 ms
Observe = Callable[[float, Ending], None]


class GivenWords:
    """A recogniser that hears nothing: it tells the scene's words, in lower case and bare, `lag_s` after each was said.

    It stands for a recogniser without errors, so that turn taking is measured and not recognition; results that come
    from it are named so.
    """

    name = "given"

    def __init__(self, words: tuple[Said, ...], lag_s: float) -> None:
        self._words, self._lag_s = words, lag_s
        self.hearing: Hearing | None = None
        self.start()

    def start(self) -> None:
        """An utterance begins."""
        self._heard, self._told = 0, 0

    def feed(self, pcm: NDArray[np.float32]) -> Hypothesis | None:
        """The words said so far, if there are new ones."""
        self._heard += len(pcm)
        found = self._found()
        if len(found) == self._told:
            return None
        self._told = len(found)
        return Hypothesis(" ".join(w.text for w in found), found)

    def finish(self) -> Hypothesis:
        """The words said."""
        found = self._found()
        return Hypothesis(" ".join(w.text for w in found), found, final=True)

    def close(self) -> None:
        """Nothing is held."""

    def _found(self) -> tuple[HeardWord, ...]:
        assert self.hearing is not None, "belongs to a hearing"
        origin = self.hearing.utterance_s
        now = origin + self._heard / RATE_HZ
        return tuple(
            HeardWord(bare, w.start_s - origin, w.end_s - origin)
            for w in self._words
            if w.end_s + self._lag_s <= now and w.end_s > origin
            for bare in [" ".join(bare_words(w.text))]
            if bare
        )


@dataclass(frozen=True)
class Heard:
    """What was noticed in a scene."""

    events: tuple[HearingEvent, ...]

    def times(self, kind: type[HearingEvent]) -> list[float]:
        """When events of a kind were told."""
        return [event.at_s for event in self.events if isinstance(event, kind)]

    @property
    def ends(self) -> list[float]:
        """When the turn was taken to be over."""
        return self.times(EndOfTurn)

    @property
    def interruptions(self) -> list[float]:
        """When the agent was told to stop."""
        return self.times(Interruption)


def play(
    scene: Scene,
    lag_s: float | None = None,
    settings: HearingSettings | None = None,
    observe: Observe | None = None,
) -> Heard:
    """What is noticed in a scene.

    Args:
        scene: which.
        lag_s: with the scene's words as transcript, each told so long after it was said; None for sound alone.
        settings: others than those that ship.
        observe: see `Hearing`.
    """
    words = None if lag_s is None else GivenWords(scene.words, lag_s)
    hearing = Hearing(words, settings, observe)
    if words is not None:
        words.hearing = hearing
    if len(scene.played):
        hearing.playing(scene.played, 0.0, RATE_HZ)
    stopped = len(scene.near)  # the sample at which the agent fell silent
    late = round(scene.echo_delay_s * RATE_HZ)
    events: list[HearingEvent] = []
    for at in range(0, len(scene.near), PIECE):
        echo = scene.echo[at : at + PIECE].copy()
        echo[max(0, stopped + late - at) :] = 0
        new = hearing.feed(scene.near[at : at + PIECE] + echo, RATE_HZ)
        events += new
        if stopped == len(scene.near) and any(isinstance(event, Interruption) for event in new):
            stopped = at + PIECE
            hearing.stopped(stopped / RATE_HZ)
    return Heard(tuple(events))
