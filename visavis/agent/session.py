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
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from visavis.agent.beat import Beat
from visavis.agent.behaviours import Retriever
from visavis.agent.body import Body
from visavis.agent.ears import Ears
from visavis.agent.events import (
    Backchannel,
    Degraded,
    ErrorEvent,
    Event,
    FaceDelta,
    InputAudio,
    InputEvent,
    InputMotion,
    InputPlayback,
    InputScene,
    InputText,
    InputTranscript,
    MotionDelta,
    ResponseCancel,
    ResponseCreated,
    ResponseDone,
    ResponseInterrupted,
    SessionState,
    SessionUpdate,
    SpeechDelta,
    SpeechStarted,
    SpeechStopped,
)
from visavis.agent.graph import build_graph
from visavis.agent.hearing import Hearing
from visavis.agent.keeping import Keeping
from visavis.agent.live import COMPUTED_S, LiveBody
from visavis.agent.memory import PartnerMemory
from visavis.agent.persona import Card
from visavis.agent.planner import Cancelled
from visavis.agent.running import Run, finish, motion_until
from visavis.agent.stream import Reader, Stream
from visavis.agent.text_input import LONGEST_TRANSCRIPT, checked_text
from visavis.agent.told import forgetting
from visavis.agent.transcript import Transcript
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
FORGOT: Final = "(a request to forget)"  # kept instead of the line, which may name what is forgotten
PARTNER_S: Final = 10.0  # of the partner's motion are kept


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
        self.state = "idle"
        self._tools, self._body, self._seed = tools, body, seed
        self._beat = beat or Beat()
        self._ears = None if hearing is None else Ears(hearing)
        self._graph = build_graph() if graph is None else graph
        self.memory = PartnerMemory(session_id, session_id) if memory is None else memory
        self._keeping, self._retrievers = keeping, tuple(retrievers)
        lines, self._turns = keeping.resume() if keeping is not None else ([], 0)
        self._transcript = Transcript(lines)
        self._lock = threading.Lock()  # one turn is made at a time
        self._gate = threading.RLock()  # guards all below; held for milliseconds
        self._room = threading.Condition(self._gate)
        self._stream = Stream()
        self._watchers: weakref.WeakSet[Reader] = weakref.WeakSet()
        self._open: list[Run] = []  # being made or waiting for it
        self._playing: list[Run] = []  # made, and not yet played to the end
        self._lately: deque[Run] = deque(maxlen=4)  # cut a moment ago: the client may still say how far it came
        self._threads: set[threading.Thread] = set()
        self._live: LiveBody | None = None
        self._underruns = 0
        self._partner: deque[NDArray[np.float32]] = deque(maxlen=round(PARTNER_S * FPS))
        self._closed = False
        self._opened = time.perf_counter()
        if keeping is not None:
            keeping.journal.listen(self._store_changed)

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
            text = await asyncio.to_thread(self._understood, audio, sample_rate_hz)
        run = self._run(user=checked_text(text, what="input"), offline=False)
        failed: list[BaseException] = []

        def mine(event: Event) -> bool:
            return event.turn_id == run.turn_id and not isinstance(event, ErrorEvent)

        reader = self._stream.reader(wants=mine, room=ROOM)

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
            if run in self._open:
                self._cut([run], None)

    def interrupt(self, played_s: float | None = None) -> bool:
        """Barge in: what is being made, what waits and what plays ends now.

        After this returns no more of these turns is sent. `response.interrupted` with what was heard and
        `session.state` have been sent; the body comes to rest from the pose that is displayed.

        Args:
            played_s: how much of the playing turn the client has played, if it is known.
        Returns:
            whether there was anything to end.
        """
        now = time.monotonic()  # of the call: whoever holds the gate must not make more of it heard
        with self._gate:
            return self._cut([*self._playing, *self._open], played_s, now)

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
        with self._gate:
            self._check_open()

            def turns_only(event: Event) -> bool:
                return body or event.turn_id != "" or event.type not in ("response.motion.delta", "response.face.delta")

            now_at = SessionState(session_id=self.id, state=self.state)
            reader = self._stream.reader(now_at, None if body else turns_only)
            if body:
                self._watchers.add(reader)
                if self._live is None:
                    self._live = LiveBody(self._seed, self._publish, time.monotonic())
                    self._live.tick(time.monotonic(), True)
                self._beat.add(self)
            return reader

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
            with self._gate:
                self._partner.extend(np.asarray(motion, np.float32))
        if text is not None:
            line = checked_text(text, what="input")
            self._take_turn(line) if final else self._understand(line, False)
        if audio is not None:
            for noticed in self._hearing().hear(audio, sample_rate_hz):
                self._notice(noticed)

    def playback(self, turn_id: str, played_s: float) -> None:
        """The client has played so much of a turn; turns that are long over or unknown are ignored.

        For two seconds after an interruption it may still say how far it really came.

        Raises:
            UsageError: no time at all.
        """
        with self._gate:
            now = time.monotonic()
            for run in (*self._playing, *self._open, *self._lately):
                if run.turn_id == turn_id:
                    run.playout.report(played_s, now)
                    if run.cut:
                        self._remember(run, run.playout.heard(now))
            self._look(now)

    def heard(self, turn_id: str, text: str, played_s: float) -> None:
        """The client stopped playing a turn: remember only what it played. `text` is derived here, not believed."""
        with self._gate:
            if any(run.turn_id == turn_id for run in (*self._playing, *self._open)):
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
        with self._gate:
            return self._underruns + (self._live.underruns if self._live is not None else 0)

    # --- what is remembered ------------------------------------------------------------------------------------

    @property
    def history(self) -> list[tuple[str, str]]:
        """("user" or "agent", text) of all that was said; of a turn that was interrupted only what was heard."""
        with self._gate:
            return self._transcript.pairs()

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
            if what is None:
                gone = len(self._transcript.pairs()) + len(self.memory.forget())
                self._transcript.clear()
                if self._keeping is not None:
                    self._keeping.drop_all()
                return gone
            memories = self.memory.forget(what)
            for memory in memories:
                if self._keeping is not None:
                    self._keeping.drop([memory.turn], memory.session)
            turns = {memory.turn for memory in memories if memory.session == self.id}
            return len(memories) + self._transcript.drop(turns)

    def _forget_if_asked(self, run: Run) -> None:
        """A line that asks to forget is answered by doing so."""
        wish = forgetting(run.user) if run.user else None
        if wish is None:
            return
        kind, what = wish
        run.forgets = True
        if kind == "all":
            self.forget()
            run.given = "I have forgotten everything that you told me."
        elif kind == "last":
            turn = self._transcript.last_turn(before=run.number)
            self.memory.forget_turns([turn])
            self._transcript.drop({turn})
            if self._keeping is not None:
                self._keeping.drop([turn])
            run.given = "I have forgotten it."
        else:
            gone = self.forget(what)
            run.given = "I have forgotten it." if gone else "There is nothing about that that I remember."

    # --- the end -----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End what is under way; the session is not used afterwards and nothing of it is left running."""
        with self._gate:
            if self._closed:
                return
            self._cut([*self._playing, *self._open], None)
            self._closed = True
            self._live = None
            threads = list(self._threads)
        self._beat.remove(self)
        deadline = time.monotonic() + CLOSE_S
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(deadline - time.monotonic(), 0.0))
        if self._ears is not None:
            self._ears.close()
        if self._keeping is not None:
            self._keeping.journal.unlisten(self._store_changed)
            self._keeping.journal.flush()
        self._stream.end()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

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

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError(f"expected an open session; {self.id} was closed: open it again with `agent.session`")

    def _run(self, **wish: Any) -> Run:
        """A turn that was asked for, in its place."""
        with self._gate:
            self._check_open()
            if len(self._open) >= MAX_WAITING:
                raise UsageError(f"expected at most {MAX_WAITING} turns at a time; wait for one, or interrupt them")
            self._turns += 1
            run = Run(f"{self.id}-turn-{self._turns}", self._turns, **wish)
            self._open.append(run)
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
                if run in self._open:
                    self._open.remove(run)

    def _turn(self, run: Run) -> Turn:
        run.work = Work(
            self._tools, self._body, lambda event: self._emit(run, event), self.id, run.turn_id,
            self._seed + run.number - 1, run.cancel, run.recording, run.gestures, run.degraded,
            recalled=lambda line: self._recalled(run, line), streamed=not run.offline,
        )  # fmt: skip
        with self._gate:
            run.cancel.check()
            self._forget_if_asked(run)
            live = None if run.offline else self._live
            history = self._transcript.pairs(before_turn=run.number)
            self._note_line(run)
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
            self._ended(run, done)
        except Cancelled:
            self._stand(run.work, 0.0 if run.live else run.playout.played_s(time.monotonic()))
            raise
        except BaseException as error:
            self._body.end(run.work.moved_steps * 4)
            self._fail(run, error)
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

    def _emit(self, run: Run, event: Event) -> None:
        """Send an event of a turn in the making, unless it was interrupted."""
        if run.wait is not None:
            run.wait(run)
        with self._gate:
            while (live := self._live_of(run)) is not None and live.computed_s > COMPUTED_S:
                run.cancel.check()
                self._room.wait(0.5)
            run.cancel.check()
            run.events.append(event)
            now = time.monotonic()
            if live is not None:
                live.add(event, now)
                return
            if isinstance(event, SpeechDelta) and not run.offline:
                if run.playout.began_at is None:  # who plays turns one after the other begins after the one before
                    run.playout.start(max([now, *(other.playout.ends_at for other in self._playing)]))
                words = [(str(word["text"]), float(word["end_s"])) for word in event.words]
                run.playout.send(event.start_s + len(event.pcm) / event.sample_rate_hz, now, words)
            if isinstance(event, SpeechDelta | FaceDelta | MotionDelta) and self._live is not None:
                if run.offline:
                    return  # it belongs to whoever called `say`; the live body goes on with its own
                event.clock_s = self._live.clock_s(now) - run.playout.place_s(now) + event.start_s
            self._publish(event)

    def _live_of(self, run: Run) -> LiveBody | None:
        """The live body that plays a turn; one that began before anybody looked joins it while nothing is sent yet."""
        live = self._live
        if run.offline or live is None:
            return None
        if not run.live and run.playout.began_at is None:
            run.live = True
            live.begin(run.playout)
        return live if run.live else None

    def _ended(self, run: Run, done: ResponseDone) -> None:
        """A turn is made; where nobody plays it that is all."""
        with self._gate:
            run.cancel.check()
            self._transcript.put("agent", run.said, run.number)
            self.memory.summarise(
                [text for speaker, text in self._transcript.pairs() if speaker == "agent"],
                self._tools.persona,
                run.number,
            )
            run.playout.complete = True
            run.playout.sent_s = max(run.playout.sent_s, float(done.turn["duration_s"]))
            if run.offline:
                self._keep(run, run.said, "done")
            else:
                self._playing.append(run)
                if self._keeping is not None:
                    self._beat.add(self)  # it is played in real time, and what is heard of it is kept
            run.events.append(done)
            self._look(time.monotonic())
            if (live := self._live_of(run)) is not None:
                live.add(done, time.monotonic())
            else:
                self._publish(done)
                self._set_state("idle", run)

    def _fail(self, run: Run, error: BaseException) -> None:
        """A turn failed: what was heard of it stays, and the client is told once."""
        with self._gate:
            if run.cancel.cancelled:
                return
            now = time.monotonic()
            run.cancel.cancel()
            run.playout.cut(now)
            run.cut = True
            self._remember(run, run.playout.heard(now))
            if self._live is not None and not run.offline:
                self._live.cut(now)
            message = (
                str(error)
                if isinstance(error, VisavisError)
                else ("the answer failed inside visavis: the log has the details")
            )
            self._tell(ErrorEvent(message=message), run)
            self._set_state("idle", run)

    # --- what is heard -----------------------------------------------------------------------------------------

    def _cut(self, runs: Sequence[Run], played_s: float | None, at: float | None = None) -> bool:
        """Interrupt turns, those that play first: `played_s` is of the first that has begun to play."""
        with self._gate:
            now = time.monotonic() if at is None else at
            self._look(now)
            runs = [run for run in runs if not run.cut and (run in self._open or run in self._playing)]
            for run in runs:
                run.cancel.cancel()
                run.playout.cut(now, played_s if run.playout.began_at is not None else None)
                played_s = None if run.playout.began_at is not None else played_s
                run.cut = True
            for run in runs:
                heard = run.playout.heard(now)
                self._note_line(run)
                self._remember(run, heard)
                self._tell(ResponseInterrupted(heard=heard, heard_s=run.playout.played_s(now)), run)
                self._tell(SessionState(state="listening"), run)
                self._lately.append(run)
                if run in self._playing:
                    self._playing.remove(run)
            if self._live is not None and any(not run.offline for run in runs):
                self._live.cut(now)
            if self._ears is not None and runs:
                self._ears.stopped()
            self._room.notify_all()
            return bool(runs)

    def _remember(self, run: Run, said: str) -> None:
        """What was heard of a turn is what was said in it."""
        self._transcript.put("agent", said, run.number)
        self._keep(run, said, "cut")

    def _note_line(self, run: Run) -> None:
        """Remember the partner's line: it was heard, whatever becomes of the answer."""
        if run.user is None or run.noted:
            return
        run.noted = True
        self._transcript.put("user", run.user, run.number)
        self._keep(run, "", "open")
        if not run.forgets:
            self.memory.hear(run.user, run.number)

    def _keep(self, run: Run, said: str, state: Literal["open", "done", "cut"]) -> None:
        if self._keeping is not None:
            self._keeping.turn(run.number, FORGOT if run.forgets else run.user, said, state)

    def _look(self, now: float) -> None:
        """See which turns have been played to their end."""
        for run in list(self._playing):
            if run.playout.all_played(now):
                run.playout.end(now)
                self._playing.remove(run)
                self._keep(run, run.said, "done")
                if self._live is not None:
                    self._live.end(run.playout, now)
                    if not self._playing and not self._open:
                        self._set_state("idle", run)

    def tick(self) -> bool:
        """Called by the beat while the session is live."""
        with self._gate:
            live, now = self._live, time.monotonic()
            if self._closed:
                return False
            for run in (*self._playing, *self._open):
                if run.playout.began_at is not None:
                    self._keep(run, run.playout.heard(now), "open")
            if live is None:
                self._look(now)
                return bool(self._playing)
            watched = any(not reader.ended for reader in self._watchers)
            if not watched:  # what nobody sees any more ends; `say` and `respond` have somebody who waits for them
                mine = [run for run in (*self._playing, *self._open) if not run.offline]
                self._cut([run for run in mine if run.wait is None], None)
                if not any(run.live and not run.cut and run.wait is not None for run in mine):
                    self._underruns += live.underruns
                    self._live = None
                    return False
            stalled = [run for run in (*self._playing, *self._open) if run.playout.stalled(now)]
            if stalled:
                self._cut([*self._playing, *self._open], None)
            self._look(now)
            live.tick(now, watched)
            self._room.notify_all()
            return True

    # --- hearing -----------------------------------------------------------------------------------------------

    def _hearing(self) -> Ears:
        if self._ears is None:
            raise UsageError("expected a session with hearing for audio: open it with `hearing=`, or send text")
        return self._ears

    def _notice(self, noticed: Any) -> None:
        """Act on something that the hearing noticed (`visavis.agent.hearing.KINDS`)."""
        kind = noticed.kind
        if kind == "speech_started":
            if not getattr(noticed, "overlap", False):
                self.interrupt()
            self._tell(SpeechStarted(), None)
            if self.state == "idle":
                self._set_state("listening")
        elif kind == "interruption":
            self.interrupt()
            self._set_state("listening")
        elif kind == "speech_stopped":
            self._tell(SpeechStopped(), None)
        elif kind == "backchannel":
            self._tell(Backchannel(kind=noticed.text or "mm-hm"), None)
        elif kind == "transcript":
            self._understand(noticed.hypothesis.text, noticed.hypothesis.final)
        elif kind == "end_of_turn" and noticed.text.strip():
            try:
                self._take_turn(checked_text(noticed.text, what="input"))
            except UsageError as error:  # nothing that can be answered was understood
                self._tell(ErrorEvent(message=str(error)), None)
        elif kind == "end_of_turn" and self.state == "listening":
            self._set_state("idle")

    def _understand(self, text: str, final: bool) -> None:
        if text:
            self._tell(InputTranscript(text=text, final=final), None)
            if self.state == "idle":
                self._set_state("listening")

    def _take_turn(self, line: str) -> None:
        """The partner has finished: it is our turn."""
        self._tell(InputTranscript(text=line), None)
        self.interrupt()
        self.submit(line)

    def _understood(self, audio: NDArray[np.int16], sample_rate_hz: int) -> str:
        """The words of a whole recording."""
        silence = np.zeros(2 * sample_rate_hz, np.int16)  # so that the end of the turn is heard
        found = [*self._hearing().hear(audio, sample_rate_hz), *self._hearing().hear(silence, sample_rate_hz)]
        return " ".join(noticed.text for noticed in found if noticed.kind == "end_of_turn").strip()

    def _store_changed(self, trouble: str) -> None:
        """Writing began to fail (why), or works again ("")."""
        if trouble:
            self._tell(Degraded(what=f"store: {trouble}", stand_in="memory, until it can be written again"), None)

    def _set_state(self, state: str, run: Run | None = None) -> None:
        """Announce a state, if it is another one."""
        with self._gate:
            if state != self.state:
                self._tell(SessionState(state=state), run)

    def _tell(self, event: Event, run: Run | None) -> None:
        """Publish an event of a turn, or of none."""
        if run is not None:
            event.turn_id = run.turn_id
            run.events.append(event)
        self._publish(event)

    def _publish(self, event: Event) -> None:
        """Send an event to whoever reads, with the time at which it is sent."""
        with self._gate:
            near = (*self._open, *self._playing, *self._lately)
            run = next((run for run in near if run.turn_id == event.turn_id), None)
            if isinstance(event, SpeechDelta) and run is not None and not run.offline:
                self._set_state("speaking", run)
                if self._ears is not None:
                    now = time.monotonic()
                    ahead_s = 0.0 if self._live is None else event.clock_s - self._live.clock_s(now)
                    self._ears.plays(event.pcm, event.sample_rate_hz, now + ahead_s)
            if isinstance(event, SessionState):
                self.state = event.state
            event.session_id = self.id
            event.time_s = time.perf_counter() - (self._opened if run is None or run.work is None else run.work.began)
            self._stream.publish(event)
