"""The work of one turn: what the graph's nodes share that is not plain JSON (speech, motion, placed gestures)."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from visavis.agent.body import Body, Chunk
from visavis.agent.choreography import Choice, Placed
from visavis.agent.events import Degraded, Event
from visavis.agent.persona import Card, Persona
from visavis.agent.planner import Cancel, Mover, Planner
from visavis.agent.spans import span
from visavis.agent.standby import Notes, noting
from visavis.agent.voices import Voices
from visavis.agent.waiting import Asked, call_within
from visavis.emotion import Emotion
from visavis.retrieval.library import Library
from visavis.retrieval.posing import Performer
from visavis.retrieval.scene import Scene
from visavis.speech.recorded import Recorded
from visavis.speech.types import Phoneme, Speech, Voice, Word
from visavis.tokenizers.turn_language import MoveStep

__all__ = ["GestureRequest", "SpokenClause", "Tools", "Work"]

T = TypeVar("T")
RECENT = 1  # gestures back that are not made again at once


@dataclass(frozen=True)
class Tools:
    """Everything that a turn is made with; shared by the sessions of an agent."""

    persona: Persona
    planner: Planner
    mover: Mover
    voice: Voice
    library: Library
    performer: Performer
    engine: str
    fingerprint: str
    gestures: bool = True
    degraded: tuple[str, ...] = ()
    scene: Scene | None = None
    beats: bool = False  # the mover knows the cues of beats
    pace: float = 1.0  # of the voice; others than 1 only for voices that have one
    emotion: Emotion | None = None  # how it feels, whatever the planner says
    voices: Voices | None = None  # others that sessions may change to
    close: Callable[[], None] = lambda: None  # gives back what was opened for all this


@dataclass(frozen=True)
class GestureRequest:
    """A gesture that the caller wants, on a word of the text.

    gloss: in the library; word: index in `text.split()`; params: what aims it; variant: which way to perform it.
    """

    gloss: str
    word: int
    params: Mapping[str, Any] = field(default_factory=dict)
    variant: str | None = None


@dataclass(eq=False)
class SpokenClause:
    """One clause in time: its voice from `start_s`, its words on the turn's clock, its gestures.

    first_word: the place of its first word among all words of the turn.
    rhythm: what the body moves to, on the turn's clock: the words, or the syllables of a recording without words.
    beats_s: the stresses that the motion model beats.
    """

    text: str
    emotion: Emotion
    speech: Speech
    start_s: float
    words: tuple[Word, ...]
    phonemes: tuple[Phoneme, ...]
    first_word: int
    placed: list[Placed] = field(default_factory=list)
    chunk: Chunk | None = None
    forced: NDArray[np.bool_] | None = None
    rhythm: tuple[Word, ...] = ()
    beats_s: Sequence[float] = ()

    @property
    def end_s(self) -> float:
        """Where its sound ends."""
        return self.start_s + self.speech.duration_s


@dataclass(eq=False)
class Work:
    """The state of a turn in the making.

    recording: the clauses of recorded speech, which are then spoken instead of the voice's.
    degraded: what this turn could not do as well as asked, beside `tools.degraded`.
    gestures: what the caller wants instead of what the model would choose; None leaves it to the model.
    streamed: somebody waits for the first sound and motion.
    chosen: the gestures of clauses, by number, that are chosen with those of their sentence.
    recalled: the cards beside the persona's that may help to answer a line: memories, a retriever's.
    """

    tools: Tools
    body: Body
    emit: Callable[[Event], None]
    session_id: str
    turn_id: str
    seed: int
    cancel: Cancel = field(default_factory=Cancel)
    recording: tuple[Recorded, ...] = ()
    gestures: Sequence[GestureRequest] | None = None
    degraded: tuple[str, ...] = ()
    clauses: list[SpokenClause] = field(default_factory=list)
    context: list[MoveStep] = field(default_factory=list)
    face: list[NDArray[np.float32]] = field(default_factory=list)
    chosen: dict[int, list[Choice]] = field(default_factory=dict)
    moved_steps: int = 0
    timings_ms: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)
    recalled: Callable[[str], Sequence[Card]] = lambda line: ()
    streamed: bool = False
    asked: Asked = field(default_factory=Asked)

    def call(self, who: str, within_s: float, ask: Callable[[], T]) -> T:
        """Ask somebody who may fail: a planner, a mover, a voice. An interruption does not wait for the answer.

        Raises:
            Cancelled: the turn was interrupted; the call goes on by itself until it sees that or comes back.
            VisavisError: what the call raised; any other exception of it becomes a `ServiceError`.
        """
        return call_within(who, within_s, self.cancel, ask, self.asked)

    def __post_init__(self) -> None:
        self.notes = Notes(self.degrade)

    def degrade(self, what: str, stand_in: str) -> None:
        """Something failed in this turn, and something lesser stands in for it."""
        self.degraded += (f"{what}; {stand_in}",)
        self.send(Degraded(what=what, stand_in=stand_in))

    def send(self, event: Event) -> None:
        """Stamp an event and pass it on."""
        self.emit(self.stamp(event))

    def stamp(self, event: Event) -> Event:
        """Say of which turn an event is, and when it was made."""
        event.session_id, event.turn_id = self.session_id, self.turn_id
        event.time_s = time.perf_counter() - self.began
        return event

    def lately(self) -> list[str]:
        """The glosses just made, which would look like a tic if they came again at once.

        What was aimed (a size, a count, a place) is another movement the next time, and may.
        """
        made = [item.choice for clause in self.clauses for item in clause.placed]
        return [choice.gloss for choice in made[-RECENT:] if not choice.params]

    def variant(self, gloss: str, clause: int) -> str:
        """One of the ways to perform a gesture: by seed and clause, so that it changes and yet repeats itself."""
        ways = self.tools.library.variants(gloss)
        return ways[zlib.crc32(f"{self.seed}:{clause}:{gloss}".encode()) % len(ways)]

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of a stage; stop before it when the turn was cancelled."""
        self.cancel.check()
        began = time.perf_counter()
        with span(name, turn=self.turn_id), noting(self.notes):
            yield
        self.timings_ms[name] = self.timings_ms.get(name, 0.0) + 1000 * (time.perf_counter() - began)

    def first(self, name: str) -> None:
        """Note when something happened for the first time in the turn."""
        self.timings_ms.setdefault(name, 1000 * (time.perf_counter() - self.began))
