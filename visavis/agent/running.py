"""Running one turn: the graph's run, and the turn that is put together of its clauses."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from visavis.agent.events import Event
from visavis.agent.graph import TurnState
from visavis.agent.planner import Cancel
from visavis.agent.playout import Playout
from visavis.agent.records import turn_record
from visavis.agent.spans import span
from visavis.agent.turn import Turn
from visavis.agent.work import GestureRequest, Work
from visavis.motion.motion import FPS, Motion
from visavis.speech.recorded import Recorded
from visavis.speech.types import Speech

__all__ = ["Run", "assemble", "finish", "motion_until"]


@dataclass(eq=False)
class Run:
    """One turn of a session, from the request to the end of its playing.

    Attributes:
        number: its place among the session's turns, from 1.
        user: the partner's line; None where a text was given to say.
        given: the text of `say`; None where the planner replies.
        offline: nobody plays it in real time: it counts as heard when it is made.
        wait: called before an event is sent: waits while whoever takes the events has no room.
        said: the agent's text, once it is made.
        cut: it was interrupted.
        noted: the partner's line is remembered.
        live: a live body plays it.
        forgets: the partner's line asked to forget.
    """

    turn_id: str
    number: int
    user: str | None = None
    given: str | None = None
    offline: bool = True
    recording: tuple[Recorded, ...] = ()
    degraded: tuple[str, ...] = ()
    gestures: Sequence[GestureRequest] | None = None
    wait: Callable[[Run], None] | None = None
    cancel: Cancel = field(default_factory=Cancel)
    playout: Playout = field(init=False)
    work: Work | None = None
    events: list[Event] = field(default_factory=list)
    said: str = ""
    cut: bool = False
    noted: bool = False
    live: bool = False
    forgets: bool = False

    def __post_init__(self) -> None:
        self.playout = Playout(self.turn_id)

    def state(self, history: Sequence[tuple[str, str]]) -> TurnState:
        """What the graph begins with."""
        return {
            "user": self.user, "given": self.given, "history": [list(pair) for pair in history], "cards": [],
            "emotion": None, "text": "", "clauses": [], "planned": 0, "moved": 0, "choices": [],
        }  # fmt: skip


def finish(graph: Any, run: Run, history: Sequence[tuple[str, str]]) -> Turn:
    """Run the graph to its end and put the turn together.

    Raises:
        Cancelled: it was interrupted.
    """
    assert run.work is not None, "the session makes the work"
    with span("turn", turn=run.turn_id, session=run.work.session_id):
        final = graph.invoke(run.state(history), {"recursion_limit": 4000}, context=run.work)
    run.cancel.check()  # whoever interrupts is always told so
    run.said = str(final["text"])
    run.work.timings_ms["total"] = 1000 * (time.perf_counter() - run.work.began)
    return assemble(run.work, run.user, run.said)


def motion_until(work: Work, frame: int) -> Motion | None:
    """The turn's motion up to a frame; None before its first."""
    found: Motion | None = None
    for clause in work.clauses:
        if clause.chunk is not None:
            found = clause.chunk.motion if found is None else found.concatenate(clause.chunk.motion)
    return None if found is None or frame <= 0 else found.slice(0, frame)


def assemble(work: Work, user: str | None, text: str) -> Turn:
    """Join the clauses of a finished turn."""
    motion = motion_until(work, work.moved_steps * 4)
    assert motion is not None, "a finished turn has moved"
    rate = work.clauses[0].speech.sample_rate_hz
    samples = np.zeros(round(len(motion) / FPS * rate), np.int16)
    for clause in work.clauses:
        at = round(clause.start_s * rate)
        piece = clause.speech.samples[: max(len(samples) - at, 0)]
        # The silence at the end of a clause may lie under the beginning of the next.
        samples[at : at + len(piece)] = np.where(piece != 0, piece, samples[at : at + len(piece)])
    words = tuple(word for clause in work.clauses for word in clause.words)
    phonemes = tuple(phoneme for clause in work.clauses for phoneme in clause.phonemes)
    speech = Speech(text, samples, rate, words, phonemes, work.clauses[0].speech.voice)
    return Turn(turn_record(work, user, text, motion.duration_s), speech, motion)
