"""Streams stepped together: one pass of the model reads an id of every stream of a batch.

There is no thread of our own. Of the callers that wait for ids one steps the whole batch, until its own ids are
there; then another one that waits goes on. So a lone caller pays nothing for it, nothing is left running, and a batch
that nobody waits for stands still. Joining and leaving happen between passes (continuous batching, Yu et al. 2022).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from visavis.agent.engine import Floats
from visavis.agent.generation import Generation
from visavis.agent.rows import Gone, Rows

__all__ = ["AHEAD", "HANDED", "KEPT", "Batch", "Stream"]

log = logging.getLogger(__name__)

KEPT: Final = 8  # slots that stay allocated when nobody generates: 8 MB each with the shipped model
AHEAD: Final = 64  # ids that are written and not yet taken; then the stream pauses
FIXED: Final = 3.0  # what a pass costs whoever is in it, in streams
COST_S: Final = 0.001  # of a stream in a pass, before it was measured
PAUSE_S: Final = 0.5  # of a batch that nobody waits for, at least
SMOOTHED: Final = 0.1  # of a new measure in the mean
STALE_S: Final = 5.0  # after which what was measured says nothing
HANDED: Final = 8  # ids that are handed over together, because waking a thread costs as much as an id


class Stream:
    """One generation in the batch, and the ids that its caller has not taken yet."""

    def __init__(self, run: Generation, lock: threading.Lock) -> None:
        self.run = run
        self.ready: deque[int] = deque()
        self.error: BaseException | None = None
        self.left = self.waits = False
        self.changed = threading.Condition(lock)

    @property
    def ended(self) -> bool:
        """Whether no id comes any more."""
        return self.run.done or self.error is not None

    @property
    def has_room(self) -> bool:
        """Whether its caller reads fast enough for more."""
        return len(self.ready) < AHEAD

    @property
    def can_be_taken(self) -> bool:
        """Whether its caller need not wait."""
        return self.ended or len(self.ready) >= HANDED


class Batch:
    """Streams that are stepped together, by whichever of their callers leads.

    Args:
        rows: where they are read.
        streams: how many at once; others wait, first come first served.
        instead: makes the rows that take over if whoever reads them is gone.
    """

    def __init__(self, rows: Rows, streams: int, instead: Callable[[], Rows] | None = None) -> None:
        self.gone = self.closed = False
        self._most, self._instead = streams, instead
        self._lock = threading.Lock()  # of what callers share: the queue, `ready`, who leads
        self._queue: deque[Stream] = deque()
        self._led = False
        # Only the leader touches these.
        self._streams: list[Stream] = []  # the place of a stream is its slot
        self._rows = rows
        self._cost_s, self._ended = COST_S, 0.0  # of a stream in a pass; when the last pass ended

    @property
    def pass_s(self) -> float:
        """How long a pass would take with one stream more, by how long they took lately: where other threads want the
        interpreter's lock a pass in this process may take many times as long as one elsewhere.
        """
        stale = time.monotonic() - self._ended > STALE_S
        return (COST_S if stale else self._cost_s) * (FIXED + self.load + 1)

    @property
    def load(self) -> int:
        """How many streams are under way here or wait."""
        return len(self._streams) + len(self._queue)

    def add(self, run: Generation) -> Stream:
        """Let a generation join."""
        with self._lock:
            stream = Stream(run, self._lock)
            self._queue.append(stream)
            return stream

    def leave(self, stream: Stream) -> None:
        """The caller of a stream wants no more."""
        stream.left = True
        # Never wait long: the garbage collector may end a generation anywhere, also where the lock is held.
        if self._lock.acquire(timeout=0.1):
            try:
                if not self._led:
                    self._drop()
            finally:
                self._lock.release()

    def close(self) -> None:
        """End what the rows started as soon as no stream is left."""
        with self._lock:
            self.closed = True
            if not self._led:
                self._drop()

    def taken(self, stream: Stream) -> list[int]:
        """The next ids of a stream, at most `AHEAD`, none at its end; waits for them, and steps the batch if nobody
        else does.
        """
        with self._lock:
            stream.waits = True
            while not stream.can_be_taken and self._led:
                stream.changed.wait()
            leads = not stream.can_be_taken
            self._led = self._led or leads
        try:
            while leads and not stream.can_be_taken:
                self._step()
        finally:
            with self._lock:
                stream.waits = False
                self._led = self._led and not leads
                if not self._led:
                    self._wake(True)  # first those that ended in a pass that failed, too: then they are gone
                    self._drop()
        with self._lock:
            ids = list(stream.ready)
            stream.ready.clear()
        if not ids and stream.error is not None:
            raise stream.error
        return ids

    def _wake(self, leader_wanted: bool) -> None:
        """Wake all whose ids are there, and, if nobody leads, one who could."""
        for stream in [*self._streams, *self._queue]:
            if stream.waits and (stream.can_be_taken or leader_wanted):
                leader_wanted = leader_wanted and stream.can_be_taken
                stream.changed.notify()

    # By the leader only.

    def _step(self) -> None:
        """One id or more for every stream that has room for it."""
        with self._lock:
            self._admit()
        count = len(self._streams)
        if not count:  # all that waited have left
            return
        began = time.monotonic()
        try:
            self._pass()
        except Gone as error:
            self._replace(error)
        except BaseException:  # no memory, a keyboard interrupt: what the slots hold is not sure any more
            self._forget()
            raise
        with self._lock:
            self._wake(False)
            self._drop()
        now = time.monotonic()
        # A short pause between two passes is one for the lock, or for a caller to wake: it is part of the pace.
        since = self._ended if began - self._ended < PAUSE_S else began
        self._cost_s += SMOOTHED * ((now - since) / (FIXED + count) - self._cost_s)
        self._ended = now

    def _forget(self) -> None:
        """Every stream is read again from its beginning."""
        for slot, stream in enumerate(self._streams):
            stream.run.forget()
            self._rows.clear(slot)

    def _replace(self, error: Gone) -> None:
        """Go on elsewhere, with what was written."""
        if self._instead is None:
            raise error
        log.warning("%s; its %d streams go on in this process", error, len(self._streams))
        rows = self._instead()
        rows.resize(self._rows.slots)
        for stream in self._streams:
            stream.run.forget()
        self._rows, self.gone = rows, True  # the last: what fails before is tried again

    def _pass(self) -> None:
        runs: list[Sequence[int]] = []
        for stream in self._streams:
            if stream.has_room:
                self._write(stream, None)
            runs.append(stream.run.pending if stream.has_room and not stream.ended else [])
        read = [stream for stream, run in zip(self._streams, runs, strict=True) if run]
        made = self._rows.read(runs, [stream.run.ids for stream in self._streams])
        for stream, logits in zip(read, made, strict=True):
            stream.run.was_read()
            self._write(stream, logits)

    @staticmethod
    def _write(stream: Stream, logits: Floats | None) -> None:
        """Add what is forced, or what is chosen from logits; an error of the constraint is its own stream's."""
        try:
            if logits is None:
                stream.ready.extend(stream.run.forced())
            else:
                stream.ready.append(stream.run.choose(logits))
        except Exception as error:
            stream.error = error
        except BaseException as error:  # a keyboard interrupt between two lines of a constraint
            stream.error = error
            raise

    # With the lock held, by the leader or where nobody leads.

    def _admit(self) -> None:
        """Fill free slots from the queue; a stream whose caller does not read gives its slot up to one that waits."""
        for stream in tuple(self._queue):
            if stream.left or stream.run.cancelled:
                stream.run.done = True
                self._queue.remove(stream)
                stream.changed.notify()
        self._drop()
        while self._queue:
            if len(self._streams) == self._most:
                paused = [slot for slot, stream in enumerate(self._streams) if not stream.has_room]
                if not paused:
                    return
                stream = self._remove(paused[0])
                stream.run.forget()
                self._queue.append(stream)
            if len(self._streams) == self._rows.slots:
                self._rows.resize(min(2 * self._rows.slots, self._most))
            self._rows.clear(len(self._streams))
            self._streams.append(self._queue.popleft())

    def _drop(self) -> None:
        """Take out who ended or left."""
        for slot in reversed(range(len(self._streams))):
            if self._streams[slot].ended or self._streams[slot].left:
                self._remove(slot)
        if not self._streams and self._rows.slots > KEPT:
            self._rows.resize(KEPT)
        if self.closed and not self._streams and not self._queue:
            self._rows.close()

    def _remove(self, slot: int) -> Stream:
        """Take a stream out; the last one moves into its slot, so that the streams stay side by side."""
        stream, last = self._streams[slot], len(self._streams) - 1
        if slot != last:
            self._rows.move(last, slot)
            self._streams[slot] = self._streams[last]
        self._streams.pop()
        return stream
