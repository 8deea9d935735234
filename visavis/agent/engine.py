"""What it takes to run a language model here: ids in, a stream of ids out, under a constraint.

To add an engine write a class with the methods of `Engine`. It may assume that prompts hold ids of `vocabulary` only,
and that a constraint is used by one generation. An engine knows nothing of turns; a constraint knows nothing of models.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from visavis.tokenizers.vocabulary import JointVocabulary

__all__ = [
    "Ahead",
    "CancelToken",
    "Constraint",
    "Engine",
    "Foresight",
    "Sampling",
    "Stretch",
]

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Sampling:
    """How an id is chosen: greedily at temperature 0, else among the `top_k` likeliest (0: among all)."""

    temperature: float = 0.0
    top_k: int = 0
    seed: int = 0


class CancelToken:
    """Set by whoever interrupts; generation ends before its next id. Usable from any thread."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._told: list[threading.Event] = []

    def cancel(self) -> None:
        """End what holds this token."""
        self._event.set()
        for event in tuple(self._told):
            event.set()

    def tell(self, event: threading.Event) -> None:
        """Set an event, too, once the token is set: for one that somebody waits for."""
        self._told.append(event)
        if self.cancelled:
            event.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._event.is_set()


class Constraint(Protocol):
    """Which ids may come next. The engine asks `allowed`, shows the choice to `weigh`, and reports it by `accept`."""

    def allowed(self) -> Ids | None:
        """(n,) the ids that may come next, without repeats: one is forced and costs no logits, none is the end;
        None allows every id.
        """

    def weigh(self, ids: Ids, logits: Floats) -> Floats:
        """The logits (n,) of the allowed ids (n,), biased if it wants; called only where there is a choice."""

    def accept(self, id_: int) -> None:
        """The id that was chosen or forced."""


@dataclass(frozen=True)
class Stretch:
    """Free writing: what is allowed stays what it is now, until an id of `until` was written or `most` ids were.

    bias: what `weigh` adds to the logits of ids in it.
    """

    until: Collection[int]
    most: int
    bias: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Ahead:
    """What a constraint knows of the ids to come, for engines to which every question is a journey.

    known: allowed ids of the next steps, which hold whatever is written in them and are not weighed; often none.
    stretch: set where writing is free from here.
    likely: the ids that come if the usual is chosen everywhere; `choices` are the places in it where there is
        something to choose, each with its allowed ids: they can be asked about side by side.
    """

    known: Sequence[Ids] = ()
    stretch: Stretch | None = None
    likely: Sequence[int] = ()
    choices: Mapping[int, Ids] = field(default_factory=dict)


@runtime_checkable
class Foresight(Protocol):
    """A constraint that can look ahead. It costs nothing not to be one; the result is the same."""

    def ahead(self) -> Ahead:
        """What is known from here."""


class Engine(Protocol):
    """Runs one language model."""

    vocabulary: JointVocabulary
    context: int

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
        """Yield ids one by one until the constraint or the context ends, an id of `stop` was yielded, `limit` ids
        were, or `cancel` was set.
        """

    def score(self, prompt: Sequence[int], continuation: Sequence[int]) -> Floats:
        """(len(continuation),) log-probability, in nats, of each id given all before it, without constraint."""
