"""A session: one conversation, its history and its body."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import numpy as np

from visavis.agent.body import Body
from visavis.agent.events import Event, ResponseCreated, ResponseDone, ResponseInterrupted, SessionState
from visavis.agent.graph import TurnState, build_graph
from visavis.agent.planner import Cancel, Cancelled
from visavis.agent.records import turn_record
from visavis.agent.text_input import LONGEST_TRANSCRIPT, checked_text
from visavis.agent.turn import Turn
from visavis.agent.work import GestureRequest, Tools, Work
from visavis.errors import LexiconError
from visavis.motion.motion import FPS, Motion
from visavis.speech.face import idle_face
from visavis.speech.recorded import Recorded, clauses_of, read_recording, recorded_speech
from visavis.speech.types import Speech

__all__ = ["Session"]


class Session:
    """One conversation. Turns follow each other; a second one waits for the first."""

    def __init__(self, tools: Tools, body: Body, session_id: str, seed: int) -> None:
        self.id = session_id
        self.history: list[tuple[str, str]] = []
        self._said: dict[str, int] = {}  # turn → its place in the history
        self._tools, self._body, self._seed = tools, body, seed
        self._turns = 0
        self._idle_frames = 0
        self._lock = threading.Lock()
        self._open: list[Cancel] = []  # of the turn in the making and of those that wait for it
        self._graph = build_graph()

    def say(
        self,
        text: str | None = None,
        *,
        audio: str | os.PathLike[str] | None = None,
        gestures: Sequence[GestureRequest] | None = None,
    ) -> Turn:
        """Say a text as given, or what is recorded in `audio`; see `Agent.say`."""
        if audio is None:
            said = checked_text(text)
            return self._run(None, said, _drop, gestures=self._checked(gestures, said))
        transcript = None if text is None else checked_text(text, what="transcript", longest=LONGEST_TRANSCRIPT)
        samples, rate_hz = read_recording(audio)
        speech, degraded = recorded_speech(samples, rate_hz, transcript)
        wanted = self._checked(gestures, speech.text)
        return self._run(
            None, speech.text, _drop, recording=tuple(clauses_of(speech)), degraded=degraded, gestures=wanted
        )

    def _checked(self, gestures: Sequence[GestureRequest] | None, text: str) -> Sequence[GestureRequest] | None:
        """The caller's gestures, each tried once: one that cannot be made is refused before anything is spoken."""
        count = len(text.split())
        for wish in gestures or ():
            if not 0 <= wish.word < count:
                raise LexiconError(f"expected a word from 0 to {count - 1} for {wish.gloss!r}; got {wish.word}")
            self._tools.library.perform(wish.gloss, self._tools.performer, wish.params, variant=wish.variant)
        return gestures

    def answer(self, text: str) -> Turn:
        """Answer the user's line and wait for the whole turn."""
        return self._run(checked_text(text, what="input"), None, _drop)

    async def respond(self, text: str) -> AsyncIterator[Event]:
        """Answer the user's line as a stream of events; the last is `response.done` or `response.interrupted`."""
        line = checked_text(text, what="input")
        cancel = Cancel()
        self._open.append(cancel)
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Event | BaseException | None] = asyncio.Queue()

        def put(item: Event | BaseException | None) -> None:
            try:
                loop.call_soon_threadsafe(queue.put_nowait, item)
            except RuntimeError:  # the reader's loop is closed: nobody listens any more
                cancel.cancel()

        def work() -> None:
            try:
                self._run(line, None, put, cancel)
            except BaseException as error:  # handed to the reader, who raises it
                put(error)
            finally:
                put(None)

        thread = threading.Thread(target=work, name=f"visavis-{self.id}", daemon=True)
        thread.start()
        try:
            while (item := await queue.get()) is not None:
                if isinstance(item, BaseException):
                    if not isinstance(item, Cancelled):
                        raise item
                else:
                    yield item
        finally:
            cancel.cancel()

    def interrupt(self) -> None:
        """Stop the turn in the making, and those that wait for it: what is not yet sent is dropped."""
        for cancel in tuple(self._open):
            cancel.cancel()

    def idle(self, start_s: float, frames: int) -> Motion:
        """The idle body and face, `frames` frames that continue what was last shown.

        Args:
            start_s: the client's clock, from which blinks and gaze are taken.
            frames: how many, at 30 fps.
        """
        with self._lock:
            motion = self._body.idle(frames)
            return motion.with_face(idle_face(frames, self._seed, start_s))

    def _run(
        self,
        user: str | None,
        given: str | None,
        emit: Callable[[Event], None],
        cancel: Cancel | None = None,
        recording: tuple[Recorded, ...] = (),
        degraded: tuple[str, ...] = (),
        gestures: Sequence[GestureRequest] | None = None,
    ) -> Turn:
        if cancel is None:
            cancel = Cancel()
            self._open.append(cancel)
        try:
            with self._lock:
                return self._turn(user, given, emit, cancel, recording, degraded, gestures)
        finally:
            self._open.remove(cancel)

    def _turn(
        self,
        user: str | None,
        given: str | None,
        emit: Callable[[Event], None],
        cancel: Cancel,
        recording: tuple[Recorded, ...],
        degraded: tuple[str, ...],
        gestures: Sequence[GestureRequest] | None,
    ) -> Turn:
        self._turns += 1
        events: list[Event] = []

        def send(event: Event) -> None:
            events.append(event)
            emit(event)

        seed = self._seed + self._turns - 1
        work = Work(
            self._tools, self._body, send, self.id, f"{self.id}-turn-{self._turns}", seed, cancel, recording,
            gestures, degraded,
        )  # fmt: skip
        self._body.begin()
        work.send(SessionState(state="thinking"))
        work.send(ResponseCreated())
        state: TurnState = {
            "user": user, "given": given, "history": [list(pair) for pair in self.history], "cards": [],
            "emotion": None, "text": "", "clauses": [], "planned": 0, "moved": 0, "choices": [],
        }  # fmt: skip
        try:
            final = self._graph.invoke(state, {"recursion_limit": 4000}, context=work)
            cancel.check()  # whoever interrupts is always told so
        except Cancelled:
            heard = " ".join(clause.text for clause in work.clauses if clause.chunk is not None)
            self._remember(user, heard, work.turn_id)
            self._body.end(work.moved_steps * 4)
            work.send(ResponseInterrupted(heard=heard, heard_s=work.moved_steps * 4 / FPS))
            work.send(SessionState(state="listening"))
            raise
        except BaseException:
            self._body.end(work.moved_steps * 4)
            raise
        self._remember(user, final["text"], work.turn_id)
        work.timings_ms["total"] = 1000 * (_now() - work.began)
        turn = _assemble(work, user, final["text"])
        self._body.end(len(turn.motion))
        work.send(ResponseDone(turn=turn.record.model_dump()))
        work.send(SessionState(state="idle"))
        return replace(turn, events=tuple(events))

    def heard(self, turn_id: str, text: str, played_s: float) -> None:
        """Remember of a turn only what the client played of it.

        Args:
            turn_id: of a turn of this session; others are ignored.
            text: the words that were heard.
            played_s: how long it played.
        """
        place = self._said.get(turn_id)
        if place is not None:
            self.history[place] = ("agent", text)

    def _remember(self, user: str | None, said: str, turn_id: str) -> None:
        if user is not None:
            self.history.append(("user", user))
        if said:
            self._said[turn_id] = len(self.history)
            self.history.append(("agent", said))


def _now() -> float:
    import time

    return time.perf_counter()


def _drop(event: Event) -> None:
    """Nobody listens to the stream."""


def _assemble(work: Work, user: str | None, text: str) -> Turn:
    """Join the clauses of a finished turn."""
    chunks = [clause.chunk for clause in work.clauses if clause.chunk is not None]
    motion = chunks[0].motion
    for chunk in chunks[1:]:
        motion = motion.concatenate(chunk.motion)
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
