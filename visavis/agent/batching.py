"""Many generations at once, stepped together: one pass of the model reads an id of every stream.

There is no thread of our own. Of the callers that wait for ids one steps the whole batch, until its own ids are
there; then another one that waits goes on. So a lone caller pays nothing, nothing is left running, and a batch that
nobody waits for stands still. Joining and leaving happen between passes (continuous batching, Yu et al. 2022).

What a stream writes does not depend on the others but for the last bits of float arithmetic, because products of
several rows are summed in another order: the choice is the same wherever the best two logits are further apart than
that (`python -m visavis.evals.engines agreement` measures it).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from visavis.agent.decoder import Cache
from visavis.agent.embedded import EmbeddedEngine
from visavis.agent.engine import CancelToken, Constraint, Floats, Sampling
from visavis.agent.generation import Generation
from visavis.agent.llama import Llama
from visavis.errors import UsageError
from visavis.tokenizers.vocabulary import JointVocabulary

__all__ = ["BatchingEngine"]

STREAMS: Final = 32  # at once; more wait for their turn
KEPT: Final = 8  # slots that stay allocated when nobody generates: 8 MB each with the shipped model
AHEAD: Final = 64  # ids that are written and not yet taken; then the stream pauses
HANDED: Final = 8  # ids that are handed over together, because waking a thread costs as much as an id


class _Stream:
    """One generation in the batch, and the ids that its caller has not taken yet."""

    def __init__(self, run: Generation, lock: threading.Lock) -> None:
        self.run = run
        self.ready: deque[int] = deque()
        self.error: BaseException | None = None
        self.left = self.waits = False
        self.changed = threading.Condition(lock)

    @property
    def ended(self) -> bool:
        return self.run.done or self.error is not None

    @property
    def has_room(self) -> bool:
        """Whether its caller reads fast enough for more."""
        return len(self.ready) < AHEAD

    @property
    def can_be_taken(self) -> bool:
        return self.ended or len(self.ready) >= HANDED


class BatchingEngine(EmbeddedEngine):
    """Runs a `Llama` in this process for any number of threads at once.

    A constraint is asked from whichever thread steps the batch, never from two at a time, and up to `AHEAD` ids
    before its caller takes them. What a constraint raises ends its own stream only, and is raised to its caller.

    Args:
        model: trained weights.
        vocabulary: its ids.
        exact: products in float32 instead of bf16.
        streams: how many generate at once; others wait, first come first served.
    """

    def __init__(
        self, model: Llama, vocabulary: JointVocabulary, exact: bool = False, *, streams: int = STREAMS
    ) -> None:
        if streams < 1:
            raise UsageError(f"expected one stream or more at once; got {streams}")
        super().__init__(model, vocabulary, exact)
        self._streams = streams
        self._lock = threading.Lock()  # of what callers share: the queue, `ready`, who leads
        self._queue: deque[_Stream] = deque()
        self._led = self._closed = False
        # Only the leader touches these.
        self._batch: list[_Stream] = []  # the place of a stream is its slot in the cache
        self._rows = Cache(self._decoder, 1)

    def generate(
        self,
        prompt: Sequence[int],
        constraint: Constraint | None = None,
        *,
        sampling: Sampling | None = None,
        stop: Collection[int] = (),
        limit: int = 256,
        cancel: CancelToken | None = None,
    ) -> Iterator[int]:
        """Yield ids one by one (see `Engine.generate`). The prompt must leave room in the context."""
        run = self._begin(prompt, constraint, sampling, stop, limit, cancel)
        stream = _Stream(run, self._lock)
        with self._lock:
            self._check_open()
            self._queue.append(stream)
        try:
            while ids := self._taken(stream):
                for id_ in ids:
                    if cancel is not None and cancel.cancelled:
                        return
                    yield id_
        finally:
            stream.left = True
            # Never wait long: the garbage collector may end a generation anywhere, also where the lock is held.
            if self._lock.acquire(timeout=0.1):
                try:
                    if not self._led:
                        self._drop()
                finally:
                    self._lock.release()

    def close(self) -> None:
        """Refuse new generations; those under way go on to their end. Nothing of ours runs afterwards."""
        with self._lock:
            self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("expected an open engine; this one was closed: load another")

    def _taken(self, stream: _Stream) -> list[int]:
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
        for stream in [*self._batch, *self._queue]:
            if stream.waits and (stream.can_be_taken or leader_wanted):
                leader_wanted = leader_wanted and stream.can_be_taken
                stream.changed.notify()

    # By the leader only.

    def _step(self) -> None:
        """One id or more for every stream that has room for it."""
        with self._lock:
            self._admit()
        try:
            self._pass()
        except BaseException:  # no memory, a keyboard interrupt: what the cache holds is not sure any more
            for slot, stream in enumerate(self._batch):
                stream.run.forget()
                self._rows.used[slot] = 0
            raise
        with self._lock:
            self._wake(False)
            self._drop()

    def _pass(self) -> None:
        runs: list[Sequence[int]] = []
        for stream in self._batch:
            if stream.has_room:
                self._write(stream, None)
            runs.append(stream.run.pending if stream.has_room and not stream.ended else [])
        states = self._decoder.feed_many(self._rows, runs)
        read = [(stream, state) for stream, state in zip(self._batch, states, strict=True) if state is not None]
        for stream, _ in read:
            stream.run.was_read()
        made = self._decoder.logits_many([state for _, state in read], [stream.run.ids for stream, _ in read])
        for (stream, _), logits in zip(read, made, strict=True):
            self._write(stream, logits)

    @staticmethod
    def _write(stream: _Stream, logits: Floats | None) -> None:
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
            if len(self._batch) == self._streams:
                paused = [slot for slot, stream in enumerate(self._batch) if not stream.has_room]
                if not paused:
                    return
                stream = self._remove(paused[0])
                stream.run.forget()
                self._queue.append(stream)
            if len(self._batch) == self._rows.slots:
                self._rows = self._rows.grown(self._decoder, min(2 * self._rows.slots, self._streams))
            self._rows.used[len(self._batch)] = 0
            self._batch.append(self._queue.popleft())

    def _drop(self) -> None:
        """Take out who ended or left."""
        for slot in reversed(range(len(self._batch))):
            if self._batch[slot].ended or self._batch[slot].left:
                self._remove(slot)
        if not self._batch and self._rows.slots > KEPT:
            self._rows = Cache(self._decoder, KEPT)

    def _remove(self, slot: int) -> _Stream:
        """Take a stream out; the last one moves into its slot, so that the streams stay side by side."""
        stream, last = self._batch[slot], len(self._batch) - 1
        if slot != last:
            self._rows.move(last, slot)
            self._batch[slot] = self._batch[last]
        self._batch.pop()
        return stream
