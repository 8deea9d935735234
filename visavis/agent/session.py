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
import os
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visavis.agent.beat import Beat
from visavis.agent.behaviours import Retriever
from visavis.agent.body import Body
from visavis.agent.client_events import take
from visavis.agent.ears import Ears
from visavis.agent.events import ErrorEvent, Event
from visavis.agent.graph import build_graph
from visavis.agent.hearing import Hearing
from visavis.agent.keeping import Keeping
from visavis.agent.making import Maker
from visavis.agent.memory import PartnerMemory
from visavis.agent.partner import Partner
from visavis.agent.planner import Cancelled
from visavis.agent.remembering import Remembering
from visavis.agent.running import Run
from visavis.agent.settings import changed_tools, checked_settings
from visavis.agent.stage import Stage
from visavis.agent.stream import Reader
from visavis.agent.text_input import LONGEST_TRANSCRIPT, checked_line, checked_text
from visavis.agent.turn import Turn
from visavis.agent.visit import Visit
from visavis.agent.work import GestureRequest, Tools
from visavis.errors import LexiconError, UsageError
from visavis.motion.motion import Motion
from visavis.retrieval.scene import Scene
from visavis.speech.face import idle_face
from visavis.speech.recorded import clauses_of, read_recording, recorded_speech

__all__ = ["Session"]

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
        self._seed = seed
        self._began_with = tools
        self._changing = threading.Lock()  # one change of the settings at a time
        self._visit = Visit(tools.persona)
        self.memory = PartnerMemory(session_id, session_id) if memory is None else memory
        self._keeping = keeping
        self._remembering = Remembering(session_id, self.memory, keeping)
        self._turns = self._remembering.turns
        ears = None if hearing is None else Ears(hearing)
        self._stage = Stage(session_id, seed, beat or Beat(), self._remembering, ears)
        self._gate = self._stage.gate  # guards the stage and what is remembered
        self._partner = Partner(self._stage, self._take_turn, seed)
        graph = build_graph() if graph is None else graph
        self._maker = Maker(tools, body, graph, self._stage, self._remembering, retrievers, seed)
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
        after: str | None = None,
    ) -> Turn:
        """Say a text as given, or what is recorded in `audio`; see `Agent.say`."""
        line = None if after is None else checked_line(after)
        if audio is None:
            said = checked_text(text)
            return self._maker.make(self._run(user=line, given=said, gestures=self._checked(gestures, said)))
        transcript = None if text is None else checked_text(text, what="transcript", longest=LONGEST_TRANSCRIPT)
        samples, rate_hz = read_recording(audio)
        speech, degraded = recorded_speech(samples, rate_hz, transcript)
        wanted = self._checked(gestures, speech.text)
        recording = tuple(clauses_of(speech))
        run = self._run(user=line, given=speech.text, recording=recording, degraded=degraded, gestures=wanted)
        return self._maker.make(run)

    def answer(self, text: str) -> Turn:
        """Answer the partner's line and wait for the whole turn, which counts as heard."""
        return self._maker.make(self._run(user=checked_line(text)))

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
        line = None if text is None else checked_line(text)
        run = self._run(user=line, given=None if say is None else checked_text(say), offline=False)
        self._maker.start(run)
        return run.turn_id

    async def respond(
        self,
        text: str | None = None,
        *,
        audio: NDArray[np.int16] | None = None,
        sample_rate_hz: int = 16000,
        say: str | None = None,
    ) -> AsyncIterator[Event]:
        """Answer the partner's line, typed or spoken, or say a text, as a stream of the turn's events.

        The last is `response.done` or `response.interrupted`, with the `session.state` that follows at once. Leaving
        the stream interrupts the turn; a reader that is slow slows the making of the turn down.

        Args:
            text: what was typed.
            audio: (N,) int16 mono; a whole turn, recognised first.
            sample_rate_hz: of `audio`.
            say: a text to be said as it is.
        Raises:
            TextError: see `Agent.say`.
            UsageError: there is nothing to answer, or nobody to hear it.
            VisavisError: the turn failed.
        """
        if audio is not None:
            text = await asyncio.to_thread(self._partner.understood, audio, sample_rate_hz)
        line = None if say is not None else checked_line(text)
        run = self._run(user=line, given=None if say is None else checked_text(say), offline=False)
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
        self._maker.start(run, ended)
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
        take(self, event)

    def see(self, objects: Mapping[str, Sequence[float]], partner_head_m: Sequence[float] | None = None) -> None:
        """What the client sees, in metres, beside what it saw before; from the next turn on it can be pointed at.

        Raises:
            UsageError: a name or a place that cannot be used.
        """
        with self._gate:
            around = (self._maker.tools.scene or Scene()).seen(objects, partner_head_m)
            self._maker.tools = replace(self._maker.tools, scene=around)

    def happened(self, name: str) -> str | None:
        """Something happened that is not speech.

        - approach: the body looks up, and greets if nobody has spoken yet in this visit.
        - leave: what is being said ends, and a farewell follows if the partner has spoken; the next visit is another.
        - silence: the persona's offer is made, once in a visit.
        - typing_started, typing_stopped: the body attends.

        The words are the persona's (`greeting`, `farewell`, `offer`); without them nothing is said.

        Returns:
            the id of the turn that says them, if any does.
        Raises:
            UsageError: nothing that happens.
        """
        if name in ("typing_started", "typing_stopped"):
            self._partner.types(name == "typing_started")
            return None
        line = self.words_for(name)
        return None if line is None else self.submit(say=line)

    def words_for(self, name: str) -> str | None:
        """As `happened` for approach, leave and silence, but what is to be said is returned instead."""
        with self._gate:
            self._stage.check_open()
            line = self._visit.line(name, self._stage.busy())
            if name == "approach":
                self._partner.comes()
            elif name == "leave":
                self.interrupt()
                self._partner.leaves()
            return line

    def update(self, /, **settings: Any) -> None:
        """Change settings from the next turn on: all that are given, or none if one cannot be.

        Args:
            settings: of `visavis.agent.settings.Settings`: voice, rate, emotion, gestures, refine, scene, listening.
        Raises:
            UsageError: a setting that there is not, or a value that cannot be.
            MissingExtraError, VoiceError: a voice that cannot be opened.
        """
        wanted = checked_settings(settings)
        if "refine" in settings and wanted.refine and self._maker.body.refiner is None:
            raise UsageError("expected an agent with its refiner to turn it on; this one was opened with refine=False")
        with self._changing:  # opening a voice may take a second: not under the gate
            tools = changed_tools(self._maker.tools, self._began_with, wanted)
            with self._gate:
                self._stage.check_open()
                seen = tools.scene if "scene" in settings else self._maker.tools.scene
                self._maker.tools = replace(tools, scene=seen)
                if "refine" in settings:
                    self._maker.body.refines = wanted.refine
                if "listening" in settings:
                    self._partner.listen(wanted.listening)

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
        with self._maker.lock:
            motion = self._maker.body.idle(frames)
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
        self._maker.wait(CLOSE_S)
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
        count, tools = len(text.split()), self._maker.tools
        if isinstance(gestures, GestureRequest):
            raise UsageError("expected a list of gestures, as in gestures=[GestureRequest(…)]; got one alone")
        for wish in gestures or ():
            if not isinstance(wish, GestureRequest) or not isinstance(wish.word, int):
                raise UsageError(f"expected gestures such as GestureRequest('shrug', word=0); got {wish!r}")
            if not 0 <= wish.word < count:
                raise LexiconError(f"expected a word from 0 to {count - 1} for {wish.gloss!r}; got {wish.word}")
            tools.library.perform(wish.gloss, tools.performer, wish.params, variant=wish.variant)
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
            self._visit.spoke(run.user, run.given)
            return run

    def _take_turn(self, line: str) -> None:
        """Answer the partner's line now, whatever is under way."""
        self.interrupt()
        self.submit(line)
