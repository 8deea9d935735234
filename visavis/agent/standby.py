"""What stands in when a service fails in the middle of a turn, and how the turn learns of it.

A planner or an engine knows nothing of turns, but a turn that lost its server must say so. So whoever runs a turn opens
`noting(notes)`, and what fails calls `degrade(...)`, as warnings do. A service that failed is left alone until the turn
is over; the next turn tries it again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from visavis.agent.engine import CancelToken, Constraint, Engine, Floats, Sampling
from visavis.agent.planner import Cancel, Planner
from visavis.emotion import Emotion
from visavis.errors import ServiceError
from visavis.tokenizers.turn_language import ActPlan, ActPrompt, ReplyPlan, ReplyPrompt

__all__ = ["Notes", "StandbyEngine", "StandbyPlanner", "degrade", "noting"]

log = logging.getLogger(__name__)
T = TypeVar("T")


class Notes:
    """What a turn could not do as well as asked.

    Args:
        tell: called with (what failed, what stands in), once for each.
    """

    def __init__(self, tell: Callable[[str, str], None]) -> None:
        self._tell, self._told = tell, set[tuple[str, str]]()
        self.lost = set[int]()  # services, by `id`, that failed in this turn

    def add(self, what: str, stand_in: str) -> None:
        """Note it, unless it was noted before."""
        if (what, stand_in) not in self._told:
            self._told.add((what, stand_in))
            self._tell(what, stand_in)


_notes: ContextVar[Notes | None] = ContextVar("visavis_notes", default=None)


@contextmanager
def noting(notes: Notes) -> Iterator[None]:
    """Within, what degrades is noted here."""
    token = _notes.set(notes)
    try:
        yield
    finally:
        _notes.reset(token)


def degrade(what: str, stand_in: str) -> None:
    """Say that something failed and what stands in: to the turn in the making, if there is one, and to the log."""
    log.warning("%s; %s", what, stand_in)
    if (notes := _notes.get()) is not None:
        notes.add(what, stand_in)


class _Standby:
    """Whether a service is asked, by what is known of it: not again in a turn that lost it."""

    def __init__(self, what: str, stand_in: str, well: Callable[[], bool]) -> None:
        self._what, self._stand_in, self._well = what, stand_in, well
        self._failed = False

    def _may_try(self) -> bool:
        notes = _notes.get()
        if notes is not None and id(self) in notes.lost:
            return False
        if self._failed and not self._well():
            self._lose("the server is still away")
            return False
        self._failed = False
        return True

    def _lose(self, why: str) -> None:
        self._failed = True
        if (notes := _notes.get()) is not None:
            notes.lost.add(id(self))
        degrade(f"{self._what}: {why}", self._stand_in)


class StandbyEngine(_Standby):
    """An engine at a server, and one here that goes on where it breaks off.

    The constraint is a state machine that has seen every id so far, so the second engine continues in the middle of a
    sentence or of a movement; nothing that was written is lost or written twice.

    Args:
        first: of the server.
        second: makes the engine that stands in, with the same vocabulary; called once, when it is needed.
        well: whether the server can be asked again after it failed; quick.
    """

    def __init__(self, first: Engine, second: Callable[[], Engine], well: Callable[[], bool]) -> None:
        super().__init__("engine", "the engine in this process goes on", well)
        self.first, self.vocabulary, self.context = first, first.vocabulary, first.context
        self._make = second
        self._second: Engine | None = None

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
        """Yield ids one by one (see `Engine.generate`), by the first engine as long as it can."""
        written: list[int] = []
        if self._may_try():
            try:
                for id_ in self.first.generate(
                    prompt, constraint, sampling=sampling, stop=stop, limit=limit, cancel=cancel
                ):
                    written.append(id_)
                    yield id_
                return
            except ServiceError as error:
                self._lose(str(error))
        second = self._standby()
        if (written and written[-1] in stop) or len(written) >= limit or len(prompt) + len(written) >= second.context:
            return
        yield from second.generate(
            [*prompt, *written], constraint, sampling=sampling, stop=stop, limit=limit - len(written), cancel=cancel
        )

    def score(self, prompt: Sequence[int], continuation: Sequence[int]) -> Floats:
        """(len(continuation),) log-probability of each id given all before it."""
        if self._may_try():
            try:
                return self.first.score(prompt, continuation)
            except ServiceError as error:
                self._lose(str(error))
        return self._standby().score(prompt, continuation)

    def _standby(self) -> Engine:
        if self._second is None:
            self._second = self._make()
        return self._second


class StandbyPlanner(_Standby):
    """A planner at a server, and one here that answers where it fails; a plan is whole or not at all."""

    def __init__(self, first: Planner, second: Planner, well: Callable[[], bool]) -> None:
        super().__init__("planner", f"the {second.name} planner answers", well)
        self.first, self.second, self.name = first, second, first.name

    def reply(self, prompt: ReplyPrompt, *, seed: int, cancel: Cancel) -> ReplyPlan:
        """See `Planner`."""
        return self._either(lambda planner: planner.reply(prompt, seed=seed, cancel=cancel))

    def feel(self, prompt: ActPrompt, *, cancel: Cancel) -> Emotion:
        """See `Planner`."""
        return self._either(lambda planner: planner.feel(prompt, cancel=cancel))

    def act(self, prompt: ActPrompt, **options: Any) -> ActPlan:
        """See `Planner`."""
        return self._either(lambda planner: planner.act(prompt, **options))

    def _either(self, ask: Callable[[Planner], T]) -> T:
        if self._may_try():
            try:
                return ask(self.first)
            except ServiceError as error:
                self._lose(str(error))
        return ask(self.second)
