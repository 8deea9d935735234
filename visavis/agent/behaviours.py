"""Behaviours: your own Python in the turn, as a node of the turn graph.

    @behaviour
    def clock(turn):
        if "time" in turn.line:
            turn.know(f"It is {now():%H:%M}.")       # the planner answers with it

    with Agent(behaviours=[clock]) as agent: ...

A behaviour is a function of a `TurnView`. It runs at one of three places (`at`): "perceive", before anything is looked
up; "recall", when the cards are there and the reply is not; "reply", when the words are there and nothing is spoken
yet. It may take its time: the body goes on moving, and an interruption does not wait for it. What it raises is told as
`degraded`, and the turn goes on without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, overload

from visavis.agent.persona import Card
from visavis.emotion import Emotion
from visavis.errors import UsageError
from visavis.extensions import extension, names

__all__ = ["PLACES", "Behaviour", "Place", "Retriever", "TurnView", "behaviour", "open_behaviours", "open_retrievers"]

Place = Literal["perceive", "recall", "reply"]
PLACES: Final = ("perceive", "recall", "reply")
SURE: Final = 0.95


class Retriever(Protocol):
    """Knows more than the persona: looks a line up and returns what may help to answer it."""

    def __call__(self, line: str) -> Sequence[Card]:
        """The cards that fit, best first; each fact a full sentence that can be said."""
        ...


@dataclass
class TurnView:
    """What a behaviour sees of a turn, and what it can change.

    Attributes:
        line: what the partner said.
        history: (speaker, text) of what was said before, oldest first.
        text: what will be said; "" before it is known.
        cards: the facts that were recalled, with the probability that they answer the line.
    """

    line: str
    history: list[tuple[str, str]] = field(default_factory=list)
    text: str = ""
    cards: list[tuple[str, float]] = field(default_factory=list)
    emotion: Emotion | None = None
    said: str | None = None
    changed: set[str] = field(default_factory=set)

    def know(self, sentence: str, chance: float = SURE) -> None:
        """Give the planner a fact for its answer: a full sentence, which is quoted as it stands."""
        self.cards.insert(0, (_sentence(sentence), float(chance)))
        self.changed.add("cards")

    def say(self, text: str) -> None:
        """Say this, instead of what the planner would say or has said."""
        self.said = _sentence(text)

    def feel(self, emotion: str, intensity: float = 0.6) -> None:
        """Feel this."""
        self.emotion = Emotion(emotion, intensity)


@dataclass(frozen=True)
class Behaviour:
    """A function at its place in the turn."""

    name: str
    at: Place
    run: Callable[[TurnView], object]


@overload
def behaviour(run: Callable[[TurnView], object]) -> Behaviour: ...
@overload
def behaviour(
    *, at: Place = "recall", name: str | None = None
) -> Callable[[Callable[[TurnView], object]], Behaviour]: ...
def behaviour(run: Any = None, *, at: Place = "recall", name: str | None = None) -> Any:
    """Make a function a behaviour.

    Args:
        run: the function.
        at: where in the turn it runs.
        name: for messages; the function's own by default.
    Raises:
        UsageError: there is no such place.
    """
    if at not in PLACES:
        raise UsageError(f"expected a behaviour at one of {', '.join(PLACES)}; got {at!r}")

    def make(run: Callable[[TurnView], object]) -> Behaviour:
        return Behaviour(name or str(getattr(run, "__name__", "behaviour")), at, run)

    return make if run is None else make(run)


def open_behaviours(wanted: Sequence[Behaviour | Callable[[TurnView], object] | str]) -> tuple[Behaviour, ...]:
    """Behaviours, functions and names of installed ones as behaviours.

    Raises:
        UsageError: a name that nobody offers, or no function.
    """
    if isinstance(wanted, str) or callable(wanted):
        raise UsageError(f"expected a list of behaviours, as in behaviours=[…]; got {_kind(wanted)} alone")
    found = []
    for one in wanted:
        made = _named("behaviour", one) if isinstance(one, str) else one
        if not callable(made) and not isinstance(made, Behaviour):
            raise UsageError(f"expected a behaviour, a function or a name; got {type(made).__name__}")
        found.append(made if isinstance(made, Behaviour) else behaviour(made))
    return tuple(found)


def open_retrievers(wanted: Sequence[Retriever | str]) -> tuple[Retriever, ...]:
    """Retrievers and names of installed ones as retrievers.

    Raises:
        UsageError: a name that nobody offers, or no function.
    """
    if isinstance(wanted, str) or callable(wanted):
        raise UsageError(f"expected a list of retrievers, as in retrievers=[…]; got {_kind(wanted)} alone")
    found = [_named("retriever", one) if isinstance(one, str) else one for one in wanted]
    for one in found:
        if not callable(one):
            raise UsageError(f"expected a retriever, a function or a name; got {type(one).__name__}")
    return tuple(found)


def _kind(one: object) -> str:
    return "a name" if isinstance(one, str) else "a function"


def _named(kind: str, name: str) -> Any:
    made = extension(kind, name)
    if made is None:
        known = ", ".join(names(kind)) or "none"
        raise UsageError(f"expected a {kind} that is installed ({known}); got {name!r}")
    return made


def _sentence(text: str) -> str:
    clean = " ".join(str(text).split())
    if not clean:
        raise UsageError("expected a sentence with at least one word; got none")
    return clean
