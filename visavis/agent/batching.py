"""Many generations at once: those of one batch are stepped together, and where there are enough of them a second batch
is read by a process of its own, on another core.

What a stream writes does not depend on the others but for the last bits of float arithmetic, because products of
several rows are summed in another order: the choice is the same wherever the best two logits are further apart than
that (`python -m visavis.evals.engines agreement` measures it).
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final, Self

from visavis.agent.apart import RowsApart
from visavis.agent.batch import Batch
from visavis.agent.embedded import EmbeddedEngine
from visavis.agent.engine import CancelToken, Constraint, Sampling
from visavis.agent.llama import Llama
from visavis.agent.rows import Gone, RowsHere
from visavis.errors import UsageError
from visavis.tokenizers.vocabulary import JointVocabulary, default_folder

__all__ = ["BatchingEngine"]

log = logging.getLogger(__name__)

STREAMS: Final = 32  # of a batch at once; more wait for their turn
CROWD: Final = 3  # streams for each batch from which on another one is worth its process
MOST_BATCHES: Final = 4
AGAIN_S: Final = 60.0  # between two starts of a process


class BatchingEngine(EmbeddedEngine):
    """Runs a `Llama` for any number of threads at once.

    A constraint is asked from whichever thread steps its batch, never from two at a time, and up to `AHEAD` ids
    before its caller takes them. What a constraint raises ends its own stream only, and is raised to its caller.

    A lone caller is served in this process. From `CROWD` streams at once on, another process is started (seconds of a
    core, some 400 MB of memory), and streams that begin then go to the batch whose passes are the quickest. If such a
    process ends, its streams go on in this one, and lose nothing that was written. It stays until the engine is
    closed, or Python ends.

    Args:
        model: trained weights.
        vocabulary: its ids.
        exact: products in float32 instead of bf16.
        streams: how many of a batch generate at once; others wait, first come first served.
        folder: where the same weights lie, for other processes; without it there are none.
        batches: at most, the one in this process included; None for one each core, up to `MOST_BATCHES`.
    """

    def __init__(
        self, model: Llama, vocabulary: JointVocabulary, exact: bool = False, *, streams: int = STREAMS,
        folder: str | Path | None = None, batches: int | None = None,
    ) -> None:  # fmt: skip
        if streams < 1:
            raise UsageError(f"expected one stream or more at once; got {streams}")
        if batches is not None and batches < 1:
            raise UsageError(f"expected one batch or more; got {batches}")
        super().__init__(model, vocabulary, exact)
        self._most_streams, self._exact = streams, exact
        self._folder = Path(folder).resolve() if folder is not None else None
        self._weights = _state(self._folder)
        self._most_batches = (batches or min(_cores(), MOST_BATCHES)) if folder is not None else 1
        self._lock = threading.Lock()  # of the list of batches
        self._batches = [Batch(RowsHere(self._decoder), streams)]
        self._closed = False
        self._starting: threading.Thread | None = None
        self._loading: RowsApart | None = None
        self._not_before = 0.0  # by `time.monotonic`: when a process may be started

    @classmethod
    def load(cls, folder: str | Path | None = None, exact: bool = False, *, batches: int | None = None) -> Self:
        """The engine of a folder that training wrote; None for the shipped planner."""
        folder = Path(folder) if folder is not None else default_folder()
        return cls(Llama.load(folder), JointVocabulary.load(folder), exact, folder=folder, batches=batches)

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
        with self._lock:
            if self._closed:
                raise UsageError("expected an open engine; this one was closed: load another")
            batch = self._quickest()
            stream = batch.add(run)
        try:
            while ids := batch.taken(stream):
                for id_ in ids:
                    if cancel is not None and cancel.cancelled:
                        return
                    yield id_
        finally:
            batch.leave(stream)

    def close(self) -> None:
        """Refuse new generations; those under way go on to their end. Nothing of ours runs afterwards."""
        with self._lock:
            self._closed = True
            batches, loading = tuple(self._batches), self._loading
        if loading is not None:
            loading.close()
        for batch in batches:
            batch.close()

    # With the lock held.

    def _quickest(self) -> Batch:
        """Where one stream more would be stepped soonest; alone it stays here."""
        if any(batch.gone for batch in self._batches):
            self._batches = [batch for batch in self._batches if not batch.gone]
            self._not_before = time.monotonic() + AGAIN_S
        loads = [batch.load for batch in self._batches]
        if (
            len(loads) < self._most_batches
            and sum(loads) + 1 >= CROWD * len(loads)
            and self._starting is None
            and time.monotonic() >= self._not_before
        ):
            self._starting = threading.Thread(target=self._start, name="visavis-batch", daemon=True)
            try:
                self._starting.start()
            except RuntimeError:  # no more threads
                self._starting, self._not_before = None, time.monotonic() + AGAIN_S
        return min(self._batches, key=lambda batch: batch.pass_s) if sum(loads) else self._batches[0]

    # By a thread of its own.

    def _start(self) -> None:
        """Start another process, and let it take streams when it can."""
        assert self._folder is not None
        decoder, batch = self._decoder, None
        try:
            with self._lock:
                if self._closed:
                    return
                rows = self._loading = RowsApart(self._folder, self._exact)
            rows.wait()
            if _state(self._folder) != self._weights:
                rows.close()
                raise Gone(f"the weights in {self._folder} are others than when they were loaded")
            batch = Batch(rows, self._most_streams, lambda: RowsHere(decoder))
        except Gone as error:
            if not self._closed and threading.main_thread().is_alive():  # else nobody wants it any more
                log.warning("%s; no other batch is read beside those there are", error)
        finally:
            with self._lock:
                self._starting = self._loading = None
                if batch is None:
                    self._not_before = time.monotonic() + AGAIN_S
                elif not self._closed:
                    self._batches.append(batch)
        if batch is not None and self._closed:
            batch.close()


def _state(folder: Path | None) -> tuple[int, ...]:
    """What changes when the weights of a folder do."""
    if folder is None:
        return ()
    try:
        found = (folder / "model.safetensors").stat()
    except OSError:
        return ()
    return (found.st_size, found.st_mtime_ns, found.st_ino)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
