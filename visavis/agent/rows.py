"""Where the streams of a batch are read: a slot for each, whose past is kept between passes.

`RowsHere` reads them in this process; `visavis.agent.apart` in another one, so that a second batch has its own core.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from visavis.agent.decoder import Cache, Decoder
from visavis.agent.engine import Floats, Ids

__all__ = ["Gone", "Rows", "RowsHere"]


class Gone(Exception):
    """Whoever read these streams is no more: what was read is lost, and must be read again elsewhere."""


class Rows(Protocol):
    """Slots of streams."""

    @property
    def slots(self) -> int:
        """How many streams fit."""

    def read(self, runs: Sequence[Sequence[int]], wanted: Sequence[Ids | None]) -> list[Floats]:
        """Read a run of ids of each of the first streams → for each run that is not empty, in their order, the logits
        (n,) of the ids (n,) that are wanted of it; None wants all.

        Raises:
            Gone: the process that keeps them ended.
        """

    def clear(self, slot: int) -> None:
        """Forget what a slot holds."""

    def move(self, source: int, target: int) -> None:
        """Take what a slot holds to another one."""

    def resize(self, slots: int) -> None:
        """Have so many slots; what those hold that stay is kept."""

    def close(self) -> None:
        """End what was started for it."""


class RowsHere:
    """Slots that are read by the caller's thread."""

    def __init__(self, decoder: Decoder, slots: int = 1) -> None:
        self._decoder = decoder
        self._cache = Cache(decoder, slots)

    @property
    def slots(self) -> int:
        """How many streams fit."""
        return self._cache.slots

    def read(self, runs: Sequence[Sequence[int]], wanted: Sequence[Ids | None]) -> list[Floats]:
        """See `Rows`."""
        states = self._decoder.feed_many(self._cache, runs)
        read = [(state, ids) for state, ids in zip(states, wanted, strict=True) if state is not None]
        return self._decoder.logits_many([state for state, _ in read], [ids for _, ids in read])

    def clear(self, slot: int) -> None:
        """See `Rows`."""
        self._cache.used[slot] = 0

    def move(self, source: int, target: int) -> None:
        """See `Rows`."""
        self._cache.move(source, target)

    def resize(self, slots: int) -> None:
        """See `Rows`."""
        self._cache = self._cache.resized(self._decoder, slots)

    def close(self) -> None:
        """See `Rows`; there is nothing to end."""
