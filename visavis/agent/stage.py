"""What of a session goes out, and what of it was heard: its events, its live body, and the turns that play.

The turns' maker hands events in; they go to the readers at once, or, while the session is live, by the live body just
ahead of playing. The stage keeps account of what was played, cuts turns short, and announces every change of state.
Knows nothing of how a turn is made. Its `gate` guards it and may be held by the session for several steps of its own;
it is held for milliseconds.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence

from visavis.agent.beat import Beat
from visavis.agent.ears import Ears
from visavis.agent.events import (
    Degraded,
    ErrorEvent,
    Event,
    FaceDelta,
    MotionDelta,
    ResponseDone,
    ResponseInterrupted,
    SessionState,
    SpeechDelta,
)
from visavis.agent.live import COMPUTED_S, LiveBody
from visavis.agent.persona import Persona
from visavis.agent.remembering import Remembering
from visavis.agent.running import Run
from visavis.agent.stream import Reader, Stream
from visavis.errors import UsageError, VisavisError

__all__ = ["Stage"]


class Stage:
    """See the head of the module.

    Args:
        session_id: for events and messages.
        seed: of the idling body.
        beat: keeps time while there is something to do in real time.
        remembering: is told what was heard.
        ears: are told what of our own voice is in the air.

    Attributes:
        open: turns that are being made or wait for it.
        playing: turns that are made and not yet played to the end.
        live: the body in real time, while somebody looks.
        stream: of events, to all readers.
    """

    def __init__(self, session_id: str, seed: int, beat: Beat, remembering: Remembering, ears: Ears | None) -> None:
        self.id, self.state, self.closed = session_id, "idle", False
        self.gate = threading.RLock()
        self.stream = Stream()
        self.open: list[Run] = []
        self.playing: list[Run] = []
        self.live: LiveBody | None = None
        self.ears = ears
        self._room = threading.Condition(self.gate)
        self._seed, self._beat, self._remembering = seed, beat, remembering
        self._watchers: weakref.WeakSet[Reader] = weakref.WeakSet()
        self._lately: deque[Run] = deque(maxlen=4)  # cut a moment ago: the client may still say how far it came
        self._underruns = 0
        self._opened = time.perf_counter()

    # --- readers and states ------------------------------------------------------------------------------------

    def check_open(self) -> None:
        """Raise UsageError once the session is closed."""
        if self.closed:
            raise UsageError(f"expected an open session; {self.id} was closed: open it again with `agent.session`")

    def events(self, body: bool) -> Reader:
        """A reader of everything from now on; see `Session.events`."""
        with self.gate:
            self.check_open()

            def turns_only(event: Event) -> bool:
                return body or event.turn_id != "" or event.type not in ("response.motion.delta", "response.face.delta")

            now_at = SessionState(session_id=self.id, state=self.state)
            reader = self.stream.reader(now_at, None if body else turns_only)
            if body:
                self._watchers.add(reader)
                if self.live is None:
                    self.live = LiveBody(self._seed, self.publish, time.monotonic())
                    self.live.tick(time.monotonic(), True)
                self._beat.add(self)
            return reader

    def set_state(self, state: str, run: Run | None = None) -> None:
        """Announce a state, if it is another one."""
        with self.gate:
            if state != self.state:
                self.tell(SessionState(state=state), run)

    def tell(self, event: Event, run: Run | None) -> None:
        """Publish an event of a turn, or of none."""
        if run is not None:
            event.turn_id = run.turn_id
            run.events.append(event)
        self.publish(event)

    def store_changed(self, trouble: str) -> None:
        """Writing began to fail (why), or works again ("")."""
        if trouble:
            self.tell(Degraded(what=f"store: {trouble}", stand_in="memory, until it can be written again"), None)

    def publish(self, event: Event) -> None:
        """Send an event to whoever reads, with the time at which it is sent."""
        with self.gate:
            near = (*self.open, *self.playing, *self._lately)
            run = next((run for run in near if run.turn_id == event.turn_id), None)
            if isinstance(event, SpeechDelta) and run is not None and not run.offline:
                self.set_state("speaking", run)
                if self.ears is not None:
                    now = time.monotonic()
                    ahead_s = 0.0 if self.live is None else event.clock_s - self.live.clock_s(now)
                    self.ears.plays(event.pcm, event.sample_rate_hz, now + ahead_s)
            if isinstance(event, SessionState):
                self.state = event.state
            event.session_id = self.id
            event.time_s = time.perf_counter() - (self._opened if run is None or run.work is None else run.work.began)
            self.stream.publish(event)

    # --- turns in the making -----------------------------------------------------------------------------------

    def emit(self, run: Run, event: Event) -> None:
        """Send an event of a turn in the making, unless it was interrupted."""
        if run.wait is not None:
            run.wait(run)
        with self.gate:
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
                    run.playout.start(max([now, *(other.playout.ends_at for other in self.playing)]))
                words = [(str(word["text"]), float(word["end_s"])) for word in event.words]
                run.playout.send(event.start_s + len(event.pcm) / event.sample_rate_hz, now, words)
            if isinstance(event, SpeechDelta | FaceDelta | MotionDelta) and self.live is not None:
                if run.offline:
                    return  # it belongs to whoever called `say`; the live body goes on with its own
                event.clock_s = self.live.clock_s(now) - run.playout.place_s(now) + event.start_s
            self.publish(event)

    def _live_of(self, run: Run) -> LiveBody | None:
        """The live body that plays a turn; one that began before anybody looked joins it while nothing is sent yet."""
        live = self.live
        if run.offline or live is None:
            return None
        if not run.live and run.playout.began_at is None:
            run.live = True
            live.begin(run.playout)
        return live if run.live else None

    def ended(self, run: Run, done: ResponseDone, persona: Persona) -> None:
        """A turn is made; where nobody plays it that is all."""
        with self.gate:
            run.cancel.check()
            self._remembering.made(run, persona)
            run.playout.complete = True
            run.playout.sent_s = max(run.playout.sent_s, float(done.turn["duration_s"]))
            if run.offline:
                self._remembering.keep(run, run.said, "done")
            else:
                self.playing.append(run)
                if self._remembering.keeping is not None:
                    self._beat.add(self)  # it is played in real time, and what is heard of it is kept
            run.events.append(done)
            self._look(time.monotonic())
            if (live := self._live_of(run)) is not None:
                live.add(done, time.monotonic())
            else:
                self.publish(done)
                self.set_state("idle", run)

    def fail(self, run: Run, error: BaseException) -> None:
        """A turn failed: what was heard of it stays, and the client is told once."""
        with self.gate:
            if run.cancel.cancelled:
                return
            now = time.monotonic()
            run.cancel.cancel()
            run.playout.cut(now)
            run.cut = True
            self._remembering.cut(run, run.playout.heard(now))
            if self.live is not None and not run.offline:
                self.live.cut(now)
            message = (
                str(error)
                if isinstance(error, VisavisError)
                else ("the answer failed inside visavis: the log has the details")
            )
            self.tell(ErrorEvent(message=message), run)
            self.set_state("idle", run)

    # --- what is heard -----------------------------------------------------------------------------------------

    def cut(self, runs: Sequence[Run], played_s: float | None, at: float | None = None) -> bool:
        """Interrupt turns, those that play first: `played_s` is of the first that has begun to play."""
        with self.gate:
            now = time.monotonic() if at is None else at
            self._look(now)
            runs = [run for run in runs if not run.cut and (run in self.open or run in self.playing)]
            for run in runs:
                run.cancel.cancel()
                run.playout.cut(now, played_s if run.playout.began_at is not None else None)
                played_s = None if run.playout.began_at is not None else played_s
                run.cut = True
            for run in runs:
                heard = run.playout.heard(now)
                self._remembering.line(run)
                self._remembering.cut(run, heard)
                self.tell(ResponseInterrupted(heard=heard, heard_s=run.playout.played_s(now)), run)
                self.tell(SessionState(state="listening"), run)
                self._lately.append(run)
                if run in self.playing:
                    self.playing.remove(run)
            if self.live is not None and any(not run.offline for run in runs):
                self.live.cut(now)
            if self.ears is not None and runs:
                self.ears.stopped()
            self._room.notify_all()
            return bool(runs)

    def cut_all(self, played_s: float | None = None) -> bool:
        """Interrupt everything that plays, is being made or waits."""
        now = time.monotonic()  # of the call: whoever holds the gate must not make more of it heard
        with self.gate:
            return self.cut([*self.playing, *self.open], played_s, now)

    def busy(self) -> bool:
        """Whether anything is being made or plays."""
        with self.gate:
            self._look(time.monotonic())
            return bool(self.open or self.playing)

    def playback(self, turn_id: str, played_s: float) -> None:
        """The client has played so much of a turn; see `Session.playback`."""
        with self.gate:
            now = time.monotonic()
            for run in (*self.playing, *self.open, *self._lately):
                if run.turn_id == turn_id:
                    run.playout.report(played_s, now)
                    if run.cut:
                        self._remembering.cut(run, run.playout.heard(now))
            self._look(now)

    @property
    def underruns(self) -> int:
        """How often a live client had played all that was sent before more came."""
        with self.gate:
            return self._underruns + (self.live.underruns if self.live is not None else 0)

    def _look(self, now: float) -> None:
        """See which turns have been played to their end."""
        for run in list(self.playing):
            if run.playout.all_played(now):
                run.playout.end(now)
                self.playing.remove(run)
                self._remembering.keep(run, run.said, "done")
                if self.live is not None:
                    self.live.end(run.playout, now)
                    if not self.playing and not self.open:
                        self.set_state("idle", run)

    def tick(self) -> bool:
        """Called by the beat while the session is live."""
        with self.gate:
            live, now = self.live, time.monotonic()
            if self.closed:
                return False
            for run in (*self.playing, *self.open):
                if run.playout.began_at is not None:
                    self._remembering.keep(run, run.playout.heard(now), "open")
            if live is None:
                self._look(now)
                return bool(self.playing)
            watched = any(not reader.ended for reader in self._watchers)
            if not watched:  # what nobody sees any more ends; `say` and `respond` have somebody who waits for them
                mine = [run for run in (*self.playing, *self.open) if not run.offline]
                self.cut([run for run in mine if run.wait is None], None)
                if not any(run.live and not run.cut and run.wait is not None for run in mine):
                    self._underruns += live.underruns
                    self.live = None
                    return False
            stalled = [run for run in (*self.playing, *self.open) if run.playout.stalled(now)]
            if stalled:
                self.cut([*self.playing, *self.open], None)
            self._look(now)
            live.tick(now, watched)
            self._room.notify_all()
            return True

    def close(self) -> bool:
        """End what is under way, and beat no more; whether it was open. The stream ends by `stream.end`."""
        with self.gate:
            if self.closed:
                return False
            self.cut([*self.playing, *self.open], None)
            self.closed, self.live = True, None
        self._beat.remove(self)
        return True
