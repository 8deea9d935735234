"""Training sequences in flat arrays: small on disk, quick to batch.

A batch holds sequences of like length from all tasks, so that little is padding; sequences are not joined, so that
none reads another. The order is a pure function of the seed, so that a run can resume anywhere.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Full, Queue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visavis.errors import FileFormatError, TokenError
from visavis.tokenizers.turn_language import Example

__all__ = ["Batch", "TokenCorpus", "ahead"]

POOL_BATCHES = 64  # sequences are sorted by length within a pool of about so many batches


@dataclass(frozen=True)
class Batch:
    """B sequences of at most T tokens, padded on the right with 0.

    ids: (B, T) int64; mask: (B, T) bool, true where the id is to be learnt; tasks: (B,) int64.
    """

    ids: NDArray[np.int64]
    mask: NDArray[np.bool_]
    tasks: NDArray[np.int64]


@dataclass(frozen=True)
class TokenCorpus:
    """N sequences: ids (all,) uint16, or uint32 where a vocabulary needs it; mask (all,) bool; starts (N + 1,) int64;
    tasks (N,) uint8 into `names`.
    """

    ids: NDArray[np.unsignedinteger[Any]]
    mask: NDArray[np.bool_]
    starts: NDArray[np.int64]
    tasks: NDArray[np.uint8]
    names: tuple[str, ...]

    @classmethod
    def build(cls, examples: Iterable[tuple[str, Example]], context: int = 640) -> TokenCorpus:
        """Collect (task, example) pairs; longer ones than `context` are cut at their end.

        Examples in which nothing is left to learn are dropped.
        """
        names: dict[str, int] = {}
        ids, masks, sizes, tasks = [], [], [], []
        for task, example in examples:
            if len(example.ids) != len(example.mask):
                raise TokenError(
                    f"expected a mask for each of {len(example.ids)} ids of {task}, got {len(example.mask)}"
                )
            if not any(example.mask[1:context]):
                continue
            ids.append(np.asarray(example.ids[:context], dtype=np.uint32))
            masks.append(np.asarray(example.mask[:context], dtype=bool))
            sizes.append(len(ids[-1]))
            tasks.append(names.setdefault(task, len(names)))
        starts = np.concatenate([[0], np.cumsum(np.asarray(sizes, dtype=np.int64))]).astype(np.int64)
        joined = np.concatenate(ids) if ids else np.zeros(0, np.uint32)
        return cls(
            joined.astype(np.uint16) if not len(joined) or joined.max() < 2**16 else joined,
            np.concatenate(masks) if masks else np.zeros(0, bool),
            starts,
            np.asarray(tasks, dtype=np.uint8),
            tuple(names),
        )

    @property
    def size(self) -> int:
        """Number of sequences."""
        return len(self.tasks)

    @property
    def tokens(self) -> int:
        """Number of tokens, prompts included."""
        return int(self.starts[-1])

    def save(self, path: Path) -> None:
        """Write one .npz file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            path,
            ids=self.ids,
            mask=np.packbits(self.mask),
            starts=self.starts,
            tasks=self.tasks,
            names=np.array(self.names, dtype=np.str_),
        )

    @classmethod
    def load(cls, path: Path) -> TokenCorpus:
        """Read what `save` wrote."""
        try:
            with np.load(path, allow_pickle=False) as raw:
                starts = raw["starts"]
                mask = np.unpackbits(raw["mask"], count=int(starts[-1])).astype(bool)
                return cls(raw["ids"], mask, starts, raw["tasks"], tuple(str(name) for name in raw["names"]))
        except (OSError, ValueError, KeyError) as error:
            raise FileFormatError(
                f"expected a token corpus at {path}, got {error!r}: make it with `visavis train corpus`"
            ) from error

    @classmethod
    def join(cls, corpora: Sequence[TokenCorpus]) -> TokenCorpus:
        """All sequences of several corpora."""
        names = tuple(dict.fromkeys(name for corpus in corpora for name in corpus.names))
        offsets = np.cumsum([0, *(corpus.tokens for corpus in corpora)])
        starts = [corpus.starts[1:] + offset for corpus, offset in zip(corpora, offsets, strict=False)]
        places = [np.array([names.index(name) for name in corpus.names], np.uint8) for corpus in corpora]
        return cls(
            np.concatenate([corpus.ids for corpus in corpora]),
            np.concatenate([corpus.mask for corpus in corpora]),
            np.concatenate([np.zeros(1, np.int64), *starts]),
            np.concatenate([place[corpus.tasks] for place, corpus in zip(places, corpora, strict=True)]),
            names,
        )

    def sequence(self, index: int) -> Example:
        """One sequence."""
        at = slice(int(self.starts[index]), int(self.starts[index + 1]))
        return Example(self.ids[at].tolist(), self.mask[at].tolist())

    def only(self, name: str, most: int) -> TokenCorpus:
        """The first `most` sequences of a task."""
        kept = np.flatnonzero(self.tasks == self.names.index(name))[:most]
        return TokenCorpus.build(((name, self.sequence(int(index))) for index in kept), context=2**31)

    def batches(self, tokens: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
        """An epoch's batches as indices of sequences; no batch, padding included, exceeds `tokens` (but one sequence
        always fits).
        """
        rng = np.random.default_rng((seed, epoch))
        lengths = np.diff(self.starts)
        order = rng.permutation(self.size)
        mean = max(1.0, float(lengths.mean())) if self.size else 1.0
        pool = max(1, int(POOL_BATCHES * tokens / mean))
        batches: list[NDArray[np.int64]] = []
        for start in range(0, self.size, pool):
            some = order[start : start + pool]
            some = some[np.argsort(lengths[some], kind="stable")]
            batch: list[int] = []
            for index in some:
                if batch and (len(batch) + 1) * lengths[index] > tokens:
                    batches.append(np.asarray(batch))
                    batch = []
                batch.append(int(index))
            batches.append(np.asarray(batch))
        return [batches[place] for place in rng.permutation(len(batches))]

    def gather(self, indices: NDArray[np.int64], multiple: int = 8) -> Batch:
        """The batch of these sequences; T is rounded up to a multiple."""
        longest = int(np.max(self.starts[indices + 1] - self.starts[indices]))
        time = -(-longest // multiple) * multiple
        ids = np.zeros((len(indices), time), np.int64)
        mask = np.zeros((len(indices), time), bool)
        for row, index in enumerate(indices):
            at = slice(int(self.starts[index]), int(self.starts[index + 1]))
            ids[row, : at.stop - at.start] = self.ids[at]
            mask[row, : at.stop - at.start] = self.mask[at]
        return Batch(ids, mask, self.tasks[indices].astype(np.int64))

    def stream(self, tokens: int, seed: int, skip: int = 0) -> Iterator[Batch]:
        """Batches for ever, epoch after epoch, leaving out the first `skip`."""
        epoch = 0
        while True:
            batches = self.batches(tokens, seed, epoch)
            for indices in batches[skip:]:
                yield self.gather(indices)
            skip = max(0, skip - len(batches))
            epoch += 1


def ahead(batches: Iterator[Batch], most: int = 8) -> Iterator[Batch]:
    """The same batches, made by a thread beside the training, at most so many in advance."""
    queue: Queue[Batch | BaseException] = Queue(most)
    done = threading.Event()

    def make() -> None:
        try:
            for batch in batches:
                while not done.is_set():
                    try:
                        queue.put(batch, timeout=0.1)
                        break
                    except Full:
                        continue
                if done.is_set():
                    return
        except BaseException as error:  # raised where the batches are used
            queue.put(error)

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        while True:
            batch = queue.get()
            if isinstance(batch, BaseException):
                raise batch
            yield batch
    finally:
        done.set()
        thread.join()
