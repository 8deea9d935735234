"""A session: one conversation, its history, its body, and what is heard of it.

    session = agent.session("anna")
    with session.events() as events:              # everything, in order; the body moves as long as somebody looks
        session.submit("Hello!")
        async for event in events: ...

Turns follow each other, each made in a thread of its own while the one before it plays. `say`, `answer` and, where
nobody looks at `events`, `respond` give a turn as fast as it is made; with a reader of `events` the session is *live*:
sound and motion come just ahead of playing, and the body moves between turns, too (`visavis.agent.live`).

All methods may be called from any thread and from a running event loop. All but `say`, `answer` and `close` return at
once; `listen` with audio takes as long as the hearing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visavis.agent.beat import Beat
from visavis.agent.behaviours import Retriever
from visavis.agent.body import Body
from visavis.agent.ears import Ears
from visavis.agent.events import (
    ErrorEvent,
    Event,
    InputAudio,
    InputEvent,
    InputMotion,
    InputPlayback,
    InputScene,
    InputText,
    ResponseCancel,
    ResponseCreated,
    ResponseDone,
    SessionState,
    SessionUpdate,
)
from visavis.agent.graph import build_graph
from visavis.agent.hearing import Hearing
from visavis.agent.keeping import Keeping
from visavis.agent.memory import PartnerMemory
from visavis.agent.partner import Partner
from visavis.agent.persona import Card
from visavis.agent.planner import Cancelled
from visavis.agent.remembering import Remembering
from visavis.agent.running import Run, finish, motion_until
from visavis.agent.stage import Stage
from visavis.agent.stream import Reader
from visavis.agent.text_input import LONGEST_TRANSCRIPT, checked_text
from visavis.agent.turn import Turn
from visavis.agent.work import GestureRequest, Tools, Work
from visavis.errors import LexiconError, UsageError, VisavisError
from visavis.motion.motion import FPS, Motion
from visavis.retrieval.scene import Scene
from visavis.speech.face import idle_face
from visavis.speech.recorded import clauses_of, read_recording, recorded_speech

__all__ = ["Session"]

log = logging.getLogger(__name__)

MAX_WAITING: Final = 8  # turns that were asked for and are not made yet
ROOM: Final = 64  # events that wait for whoever reads `respond` before the turn's maker waits
CLOSE_S: Final = 5.0


class Session:
    """One conversation. See the head of the module.

    Args:
        tools: what turns are made with.
        body: of this session alone.
        session_id: its name.
        seed: of its first turn; the next ones count on.
        beat: keeps time for live sessions; one of its own if None.
        hearing: for `listen(audio=…)` and `respond(audio=…)`.
        graph: of the turn, with its behaviours; the plain one if None.
        memory: of the partner; one that ends with the session if None.
        retrievers: know more than the persona and the memory.
        keeping: keeps the turns, if they are to outlive the process; what it has kept before is taken up again.
    """

    def __init__(
        self,
        tools: Tools,
        body: Body,
        session_id: str,
        seed: int,
        *,
        beat: Beat | None = None,
        hearing: Hearing | None = None,
        graph: Any = None,
        memory: PartnerMemory | None = None,
        keeping: Keeping | None = None,
        retrievers: Sequence[Retriever] = (),
    ) -> None:
        self.id = session_id
        self._tools, self._body, self._seed = tools, body, seed
        self._graph = build_graph() if graph is None else graph
        self.memory = PartnerMemory(session_id, session_id) if memory is None else memory
        self._keeping, self._retrievers = keeping, tuple(retrievers)
        self._remembering = Remembering(session_id, self.memory, keeping)
        self._turns = self._remembering.turns
        ears = None if hearing is None else Ears(hearing)
        self._stage = Stage(session_id, seed, beat or Beat(), self._remembering, ears)
        self._gate = self._stage.gate  # guards the stage and what is remembered
        self._partner = Partner(self._stage, self._take_turn, seed)
        self._lock = threading.Lock()  # one turn is made at a time
        self._threads: set[threading.Thread] = set()
        if keeping is not None:
            keeping.journal.listen(self._stage.store_changed)

    @property
    def state(self) -> str:
        """What it does: idle, listening, thinking or speaking."""
        return self._stage.state

    # --- turns -------------------------------------------------------------------------------------------------

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
            return self._make(self._run(given=said, gestures=self._checked(gestures, said)))
        transcript = None if text is None else checked_text(text, what="transcript", longest=LONGEST_TRANSCRIPT)
        samples, rate_hz = read_recording(audio)
        speech, degraded = recorded_speech(samples, rate_hz, transcript)
        wanted = self._checked(gestures, speech.text)
        recording = tuple(clauses_of(speech))
        return self._make(self._run(given=speech.text, recording=recording, degraded=degraded, gestures=wanted))

    def answer(self, text: str) -> Turn:
        """Answer the partner's line and wait for the whole turn, which counts as heard."""
        return self._make(self._run(user=checked_text(text, what="input")))

    def submit(self, text: str | None = None, *, say: str | None = None) -> str:
        """Answer the partner's line, or say a text as given; the turn comes by `events`, after those before it.

        Returns:
            the turn's id.
        Raises:
            TextError: see `Agent.say`.
            UsageError: too many turns wait already.
        """
        if (text is None) == (say is None):
            raise UsageError("expected a line to answer or a text to say, one of the two")
        line = None if text is None else checked_text(text, what="input")
        run = self._run(user=line, given=None if say is None else checked_text(say), offline=False)
        self._start(run)
        return run.turn_id

    async def respond(
        self, text: str | None = None, *, audio: NDArray[np.int16] | None = None, sample_rate_hz: int = 16000
    ) -> AsyncIterator[Event]:
        """Answer the partner's line, typed or spoken, as a stream of the turn's events.

        The last is `response.done` or `response.interrupted`, with the `session.state` that follows at once. Leaving
        the stream interrupts the turn; a reader that is slow slows the making of the turn down.

        Args:
            text: what was typed.
            audio: (N,) int16 mono; a whole turn, recognised first.
            sample_rate_hz: of `audio`.
        Raises:
            TextError: see `Agent.say`.
            UsageError: there is nothing to answer, or nobody to hear it.
            VisavisError: the turn failed.
        """
        if audio is not None:
            text = await asyncio.to_thread(self._partner.understood, audio, sample_rate_hz)
        run = self._run(user=checked_text(text, what="input"), offline=False)
        failed: list[BaseException] = []

        def mine(event: Event) -> bool:
            return event.turn_id == run.turn_id and not isinstance(event, ErrorEvent)

        reader = self._stage.stream.reader(wants=mine, room=ROOM)

        def wait(run: Run) -> None:
            while reader.full():
                run.cancel.check()
                reader.wait_for_room(0.1)

        def ended(error: BaseException | None) -> None:
            if error is not None and not isinstance(error, Cancelled):
                failed.append(error)
            reader.end()

        run.wait = wait
        self._start(run, ended)
        try:
            async for event in reader:
                yield event
            if failed:
                raise failed[0]
        finally:
            reader.close()
            if run in self._stage.open:
                self._stage.cut([run], None)

    def interrupt(self, played_s: float | None = None) -> bool:
        """Barge in: what is being made, what waits and what plays ends now.

        After this returns no more of these turns is sent. `response.interrupted` with what was heard and
        `session.state` have been sent; the body comes to rest from the pose that is displayed.

        Args:
            played_s: how much of the playing turn the client has played, if it is known.
        Returns:
            whether there was anything to end.
        """
        return self._stage.cut_all(played_s)

    # --- the stream and the client -----------------------------------------------------------------------------

    def events(self, body: bool = True) -> Reader:
        """A reader of everything that happens from now on, beginning with the state; any number may read.

        While there is one the session is live. The reader is an async iterator, has `get` for threads, and is closed
        by `close` or `with`; one that falls far behind is cut off (`visavis.agent.stream`). When the last one is gone
        a turn under way is interrupted.

        Args:
            body: whether motion and face between the turns are wanted; without, only events of turns and states come,
                and the session is not made live by this reader.
        """
        return self._stage.events(body)

    def receive(self, event: Event) -> None:
        """Take any event of the client.

        Raises:
            UsageError: it cannot be used; one clear sentence.
        """
        if isinstance(event, InputText):
            text = checked_text(event.text, what="input")
            self.interrupt()
            self.submit(text)
        elif isinstance(event, InputAudio):
            self.listen(audio=event.pcm, sample_rate_hz=event.sample_rate_hz)
        elif isinstance(event, InputMotion):
            self.listen(motion=event.rotations)
        elif isinstance(event, InputPlayback):
            self.playback(event.turn_id, event.played_s)
        elif isinstance(event, ResponseCancel):
            self.interrupt(event.played_s)
        elif isinstance(event, InputScene):
            around = (self._tools.scene or Scene()).seen(event.objects, event.partner_head_m)
            self._tools = replace(self._tools, scene=around)  # the next turn can point there
        elif isinstance(event, InputEvent) and event.name in ("typing_started", "typing_stopped"):
            self._partner.types(event.name == "typing_started")
        elif isinstance(event, InputEvent | SessionUpdate):
            pass  # nothing here acts on them yet
        else:
            raise UsageError(
                f"expected an event of a client (input.*, response.cancel, session.update); got {event.type}"
            )

    def listen(
        self,
        audio: NDArray[np.int16] | None = None,
        *,
        sample_rate_hz: int = 16000,
        text: str | None = None,
        final: bool = True,
        motion: NDArray[np.float32] | None = None,
    ) -> None:
        """Take what comes from the partner, as it comes.

        Args:
            audio: (N,) int16 mono, directly after the last piece. Speech interrupts us; the end of a turn is answered.
            sample_rate_hz: of `audio`.
            text: what the partner has said or typed so far of this turn.
            final: whether that is the whole turn, which is then answered.
            motion: (n, J, 4) the partner's motion.
        Raises:
            UsageError: audio came and the session has no hearing, or it is no audio.
        """
        if motion is not None:
            self._partner.moved(motion)
        if text is not None:
            self._partner.wrote(text, final)
        if audio is not None:
            self._partner.sounded(audio, sample_rate_hz)

    def playback(self, turn_id: str, played_s: float) -> None:
        """The client has played so much of a turn; turns that are long over or unknown are ignored.

        For two seconds after an interruption it may still say how far it really came.

        Raises:
            UsageError: no time at all.
        """
        self._stage.playback(turn_id, played_s)

    def heard(self, turn_id: str, text: str, played_s: float) -> None:
        """The client stopped playing a turn: remember only what it played. `text` is derived here, not believed."""
        with self._gate:
            if any(run.turn_id == turn_id for run in (*self._stage.playing, *self._stage.open)):
                self.interrupt(played_s)
            else:
                self.playback(turn_id, played_s)

    def idle(self, start_s: float, frames: int) -> Motion:
        """The idle body and face, `frames` frames that continue what was last shown; for clients that ask for it.

        Args:
            start_s: the client's clock, from which blinks and gaze are taken.
            frames: how many, at 30 fps.
        """
        with self._lock:
            motion = self._body.idle(frames)
            return motion.with_face(idle_face(frames, self._seed, start_s))

    @property
    def underruns(self) -> int:
        """How often a live client had played all that was sent before more came."""
        return self._stage.underruns

    # --- what is remembered ------------------------------------------------------------------------------------

    @property
    def history(self) -> list[tuple[str, str]]:
        """("user" or "agent", text) of all that was said; of a turn that was interrupted only what was heard."""
        with self._gate:
            return self._remembering.pairs()

    def forget(self, what: str | None = None) -> int:
        """Forget everything about the partner, or what is about something; in the store, too.

        The partner can ask for it in words: "Please forget my name.", "Forget what I just said.", "Forget everything."

        Args:
            what: in words; what is near in meaning, or has all these words, goes. None: all memories and all
                conversations of this partner.
        Returns:
            how many memories and lines are gone.
        """
        with self._gate:
            return self._remembering.forget(what)

    # --- the end -----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End what is under way; the session is not used afterwards and nothing of it is left running."""
        if not self._stage.close():
            return
        with self._gate:
            threads = list(self._threads)
        deadline = time.monotonic() + CLOSE_S
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(deadline - time.monotonic(), 0.0))
        if self._stage.ears is not None:
            self._stage.ears.close()
        if self._keeping is not None:
            self._keeping.journal.unlisten(self._stage.store_changed)
            self._keeping.journal.flush()
        self._stage.stream.end()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._stage.closed

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- making turns ------------------------------------------------------------------------------------------

    def _checked(self, gestures: Sequence[GestureRequest] | None, text: str) -> Sequence[GestureRequest] | None:
        """The caller's gestures, each tried once: one that cannot be made is refused before anything is spoken."""
        count = len(text.split())
        for wish in gestures or ():
            if not 0 <= wish.word < count:
                raise LexiconError(f"expected a word from 0 to {count - 1} for {wish.gloss!r}; got {wish.word}")
            self._tools.library.perform(wish.gloss, self._tools.performer, wish.params, variant=wish.variant)
        return gestures

    def _run(self, **wish: Any) -> Run:
        """A turn that was asked for, in its place."""
        with self._gate:
            self._stage.check_open()
            if len(self._stage.open) >= MAX_WAITING:
                raise UsageError(f"expected at most {MAX_WAITING} turns at a time; wait for one, or interrupt them")
            self._turns += 1
            run = Run(f"{self.id}-turn-{self._turns}", self._turns, **wish)
            self._stage.open.append(run)
            return run

    def _start(self, run: Run, ended: Callable[[BaseException | None], None] = lambda error: None) -> None:
        """Make a turn in a thread of its own."""

        def work() -> None:
            failed: BaseException | None = None
            try:
                self._make(run)
            except BaseException as error:
                failed = error
                if not isinstance(error, Cancelled | VisavisError):
                    log.exception("the turn failed")
            finally:
                with self._gate:
                    self._threads.discard(threading.current_thread())
                ended(failed)

        thread = threading.Thread(target=work, name=f"visavis-{self.id}", daemon=True)
        with self._gate:
            self._threads.add(thread)
        thread.start()

    def _make(self, run: Run) -> Turn:
        """Make a turn from beginning to end; waits for those before it."""
        try:
            with self._lock:
                return self._turn(run)
        finally:
            with self._gate:
                if run in self._stage.open:
                    self._stage.open.remove(run)

    def _turn(self, run: Run) -> Turn:
        run.work = Work(
            self._tools, self._body, lambda event: self._stage.emit(run, event), self.id, run.turn_id,
            self._seed + run.number - 1, run.cancel, run.recording, run.gestures, run.degraded,
            recalled=lambda line: self._recalled(run, line), streamed=not run.offline,
        )  # fmt: skip
        with self._gate:
            run.cancel.check()
            self._remembering.forget_if_asked(run)
            live = None if run.offline else self._stage.live
            history = self._remembering.pairs(before_turn=run.number)
            self._remembering.line(run)
            shown = at_s = None
            if live is not None:
                shown, at_s = live.shown(time.monotonic()), live.timeline.end / FPS
                live.begin(run.playout)
                run.live = True
        try:
            self._body.begin(shown, at_s)
            run.work.send(SessionState(state="thinking"))
            run.work.send(ResponseCreated())
            turn = finish(self._graph, run, history)
            done = ResponseDone(turn=turn.record.model_dump())
            run.work.stamp(done)
            self._stage.ended(run, done, self._tools.persona)
        except Cancelled:
            self._stand(run.work, 0.0 if run.live else run.playout.played_s(time.monotonic()))
            raise
        except BaseException as error:
            self._body.end(run.work.moved_steps * 4)
            self._stage.fail(run, error)
            raise
        self._body.end(len(turn.motion))
        return replace(turn, events=tuple(run.events))

    def _recalled(self, run: Run, line: str) -> list[Card]:
        """The cards beside the persona's: memories, and what the retrievers know."""
        found = self.memory.cards(line)
        for retriever in self._retrievers:
            try:
                found += retriever(line)
            except Exception as error:  # somebody else's code: whatever it raises, the turn goes on without it
                assert run.work is not None, "a turn that recalls is being made"
                run.work.degrade(f"retriever: {type(error).__name__}: {error}"[:300], "the persona's cards alone")
        return found

    def _stand(self, work: Work, played_s: float) -> None:
        """The body stands where the client's stands: so much of a turn was displayed."""
        shown = motion_until(work, round(played_s * FPS))
        if shown is not None:
            self._body.resume(shown)
            self._body.end(len(shown))

    def _take_turn(self, line: str) -> None:
        """Answer the partner's line now, whatever is under way."""
        self.interrupt()
        self.submit(line)
