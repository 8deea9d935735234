"""One generation: which ids are forced, which is chosen, when it ends. It knows no model; an engine runs it.

The steps of an engine: `forced` until a choice is due, read `pending`, `choose` from the logits of `ids`; and again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from visavis.agent.engine import CancelToken, Constraint, Floats, Ids, Sampling
from visavis.errors import TokenError

__all__ = ["Generation", "check_ids", "check_prompt", "choose"]


def check_ids(ids: Sequence[int], size: int) -> None:
    """Refuse ids that a vocabulary of this size does not have."""
    if any(not 0 <= id_ < size for id_ in ids):
        raise TokenError(f"expected ids below {size}: were they made by another vocabulary?")


def check_prompt(prompt: Sequence[int], size: int, context: int) -> None:
    """Refuse a prompt of foreign ids, an empty one, and one that leaves no room in the context."""
    check_ids(prompt, size)
    if not prompt:
        raise TokenError("expected a prompt of at least one id, got none: begin it with `<|bos|>`")
    if len(prompt) >= context:
        raise TokenError(f"expected a prompt below {context} ids, got {len(prompt)}: shorten it")


class Generation:
    """The state of one generation between passes of the model.

    Attributes:
        pending: ids that the model has not read yet.
        ids: what may come next, once `forced` is through; None for every id.
        done: no id comes any more.

    Raises:
        TokenError: the prompt is empty, does not fit the context, or holds ids outside the vocabulary.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        constraint: Constraint | None,
        sampling: Sampling | None,
        stop: Collection[int],
        limit: int,
        cancel: CancelToken | None,
        *,
        size: int,
        context: int,
    ) -> None:
        check_prompt(prompt, size, context)
        self.read: list[int] = []
        self.pending = list(prompt)
        self.ids: Ids | None = None
        self.done = False
        self._constraint, self._stop, self._cancel = constraint, stop, cancel
        self._sampling = sampling or Sampling()
        self._rng = np.random.default_rng(self._sampling.seed)
        self._left = min(limit, context - len(prompt))

    @property
    def cancelled(self) -> bool:
        """Whether its caller wants no more."""
        return self._cancel is not None and self._cancel.cancelled

    def forced(self) -> Iterator[int]:
        """Yield the ids that are not a choice; then either `done` is set or a choice among `ids` is due."""
        while not self.done:
            if self._left <= 0 or self.cancelled:
                self.done = True
                return
            self.ids = self._constraint.allowed() if self._constraint is not None else None
            if self.ids is None or len(self.ids) > 1:
                return
            if len(self.ids) == 0:
                self.done = True
                return
            yield self._take(int(self.ids[0]))

    def was_read(self) -> None:
        """The model has read what was pending."""
        self.read += self.pending
        self.pending = []

    def forget(self) -> None:
        """The model has lost what it read: all of it is pending again."""
        self.pending = self.read + self.pending
        self.read = []

    def choose(self, logits: Floats) -> int:
        """Choose from the logits (n,) of `ids`."""
        if self._constraint is not None:
            logits = self._constraint.weigh(np.arange(len(logits)) if self.ids is None else self.ids, logits)
        place = choose(logits, self._sampling, self._rng)
        return self._take(place if self.ids is None else int(self.ids[place]))

    def _take(self, id_: int) -> int:
        self.pending.append(id_)
        if self._constraint is not None:
            self._constraint.accept(id_)
        self._left -= 1
        self.done = id_ in self._stop
        return id_


def choose(logits: Floats, sampling: Sampling, rng: np.random.Generator) -> int:
    """The place of the chosen logit."""
    if sampling.temperature <= 0:
        return int(np.argmax(logits))
    scaled = logits.astype(np.float64) / sampling.temperature
    if 0 < sampling.top_k < len(scaled):
        scaled[scaled < np.partition(scaled, -sampling.top_k)[-sampling.top_k]] = -np.inf
    shares = np.exp(scaled - scaled.max()).cumsum()
    shares /= shares[-1]
    return int(shares.searchsorted(rng.random(), side="right"))
