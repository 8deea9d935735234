"""A client that plays a session in real time, as a browser would, and keeps account of what it has really played.

It knows one rule: frames and sound are due at their `clock_s`, and what comes later replaces what came before. Three
kinds: `reports` says ten times a second how far it is, `stalls` does so, too, but stands still now and then, `silent`
never says anything.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from visavis.agent.events import Event, MotionDelta, ResponseInterrupted, SpeechDelta
from visavis.agent.session import Session
from visavis.motion.motion import FPS, Motion

__all__ = ["KINDS", "Client", "Kind", "Stop"]

Kind = Literal["reports", "stalls", "silent"]
KINDS: tuple[Kind, ...] = ("reports", "stalls", "silent")
REPORT_S = 0.1


@dataclass
class Stop:
    """One interruption as the client saw it.

    called: when it was asked for; last_speech, told: when the last sound and `response.interrupted` came; heard: the
    words that the client had played; border: the place in `Client.shown` of the first frame after it.
    """

    called: float
    heard: str
    last_speech: float = 0.0
    told: float = 0.0
    border: int = 0


@dataclass
class _Playing:
    turn_id: str = ""
    offset_s: float = 0.0  # of the turn's zero on the session's clock
    words: list[tuple[str, float]] = field(default_factory=list)


class Client:
    """See the head of the module. All times are of `time.monotonic`."""

    def __init__(self, session: Session, kind: Kind, seed: int = 0) -> None:
        self.session, self.kind = session, kind
        self.reader = session.events()
        self.events: list[tuple[float, str]] = []
        self.shown: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
        self.stops: list[Stop] = []
        self.waited = 0  # times that it had no frame to show
        self._rng = np.random.default_rng(seed)
        self._frames: dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
        self._zero: float | None = None  # when the session's clock was 0
        self._next = 0  # the frame to be shown next
        self._playing = _Playing()
        self._stall: tuple[float, float] | None = None  # it stands still from and until
        self._stopped: set[str] = set()  # turns that it plays no more
        self._lag_s = 0.0  # by all that it has stood still
        self._lock = threading.RLock()
        self._arrived: dict[str, float] = {}
        self._changed = threading.Condition(self._lock)
        self._open = True
        self._thread = threading.Thread(target=self._run, name="visavis-client", daemon=True)
        self._thread.start()

    def _local(self, now: float) -> float:
        """Its own clock, which stops while it stands still."""
        if self._stall is not None and now >= self._stall[0]:
            begin, end = self._stall
            if now < end:
                return begin - self._lag_s
            self._lag_s += end - begin
            self._stall = None
        return now - self._lag_s

    def place_s(self, now: float) -> float:
        """Where it stands in the turn that it plays."""
        assert self._zero is not None, "nothing has come yet"
        return self._local(now) - self._zero - self._playing.offset_s

    def wait_for(self, kind: str, timeout_s: float, since: float = 0.0) -> bool:
        """Wait until an event of a type has come after a moment."""
        with self._changed:
            return self._changed.wait_for(lambda: self._arrived.get(kind, -1.0) > since, timeout_s)

    def interrupt(self) -> Stop:
        """Stop playing, and say so; waits until the session has told that it stopped."""
        with self._lock:
            now = time.monotonic()
            place_s = self.place_s(now) if self._playing.turn_id else 0.0
            stop = Stop(now, " ".join(text for text, end_s in self._playing.words if end_s <= place_s))
            self._show(now)
            if self._stall is not None and now >= self._stall[0]:
                self._lag_s += now - self._stall[0]  # it goes on from where it stood
            self._stall, stop.border = None, len(self.shown)
            self._stopped.add(self._playing.turn_id)
            self._playing = _Playing()
            self.stops.append(stop)
        self.session.interrupt(None if self.kind == "silent" else max(place_s, 0.0))
        self.wait_for("response.interrupted", 10.0, stop.called)
        return stop

    def motion(self) -> Motion:
        """All that was shown."""
        with self._lock:
            return Motion(np.stack([r for r, _ in self.shown]), np.stack([m for _, m in self.shown]))

    def close(self) -> None:
        """Leave."""
        self._open = False
        self.reader.close()
        self._thread.join()

    def _run(self) -> None:
        reported = 0.0
        while self._open:
            event = self.reader.get(0.01)
            now = time.monotonic()
            with self._changed:
                if event is not None:
                    self._take(event, now)
                self._show(now)
                turn_id = self._playing.turn_id
                report = turn_id and self.kind != "silent" and now - reported > REPORT_S
                place_s = self.place_s(now) if turn_id else 0.0
            if report:
                reported = now
                self.session.playback(turn_id, max(place_s, 0.0))

    def _take(self, event: Event, now: float) -> None:
        self._arrived[event.type] = now
        self.events.append((now, event.type))
        if isinstance(event, MotionDelta):
            if self._zero is None:
                self._zero = self._local(now) - event.clock_s
            first = round(event.clock_s * FPS)
            for frame in [frame for frame in self._frames if frame >= first]:
                del self._frames[frame]
            for k in range(len(event.rotations)):
                self._frames[first + k] = (event.rotations[k], event.root_m[k])
        if isinstance(event, SpeechDelta | MotionDelta) and event.turn_id and event.turn_id not in self._stopped:
            if event.turn_id != self._playing.turn_id:
                self._playing = _Playing(event.turn_id)
                if self.kind == "stalls":
                    begin = now + self._rng.uniform(0.3, 2.0)
                    self._stall = (begin, begin + self._rng.uniform(0.3, 1.0))
            self._playing.offset_s = event.clock_s - event.start_s
        if isinstance(event, SpeechDelta):
            if event.turn_id == self._playing.turn_id:
                self._playing.words += [(str(word["text"]), float(word["end_s"])) for word in event.words]
            for stop in self.stops[-1:]:
                stop.last_speech = now
        if isinstance(event, ResponseInterrupted):
            self._stopped.add(event.turn_id)
            if event.turn_id == self._playing.turn_id:
                self._playing = _Playing()
        if isinstance(event, ResponseInterrupted) and self.stops and not self.stops[-1].told:
            self.stops[-1].told = now
        self._changed.notify_all()

    def _show(self, now: float) -> None:
        """Show what is due."""
        if self._zero is None:
            return
        due = int((self._local(now) - self._zero) * FPS)
        while self._next <= due and self._next in self._frames:
            self.shown.append(self._frames.pop(self._next))
            self._next += 1
        self.waited += self._next <= due
        for frame in [frame for frame in self._frames if frame < self._next]:
            del self._frames[frame]

    def facts(self) -> dict[str, Any]:
        """For a report."""
        return {"kind": self.kind, "shown": len(self.shown), "waited": self.waited, "stops": len(self.stops)}
