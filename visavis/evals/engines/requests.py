"""What real turns ask of an engine: the very prompts, constraints and sampling, noted while turns are made.

A constraint is used up by a generation, so a request keeps an untouched copy and hands out copies of that.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from visavis.agent.agent import Agent
from visavis.agent.constrain import MoveConstraint, ReplyConstraint
from visavis.agent.engine import CancelToken, Constraint, Engine, Floats, Sampling
from visavis.agent.native import NativeMover, NativePlanner
from visavis.agent.tagging import ActConstraint
from visavis.evals.first_light.facts import heldout
from visavis.evals.first_light.table import data_file
from visavis.tokenizers.vocabulary import JointVocabulary

__all__ = ["KINDS", "Request", "real_requests"]

KINDS = ("REPLY", "ACT", "MOVE")
_KINDS = {ReplyConstraint: "REPLY", ActConstraint: "ACT", MoveConstraint: "MOVE"}


@dataclass(frozen=True, eq=False)
class Request:
    """One generation that a turn asked for; `unused` is its constraint, before the first id."""

    kind: str
    prompt: tuple[int, ...]
    unused: Constraint | None
    sampling: Sampling
    stop: frozenset[int]
    limit: int
    vocabulary: JointVocabulary

    def constraint(self) -> Constraint | None:
        """The constraint, ready to be used once."""
        return copy.deepcopy(self.unused, {id(self.vocabulary): self.vocabulary})

    def greedy(self) -> Request:
        """The same without sampling."""
        return replace(self, sampling=Sampling())

    def run(self, engine: Engine) -> list[int]:
        """What an engine makes of it."""
        return list(
            engine.generate(self.prompt, self.constraint(), sampling=self.sampling, stop=self.stop, limit=self.limit)
        )


class _Notes:
    """An engine that notes what it is asked and lets another do it."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.vocabulary, self.context = engine, engine.vocabulary, engine.context
        self.requests: list[Request] = []

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
        sampling = sampling or Sampling()
        kind = _KINDS.get(type(constraint))  # type: ignore[arg-type]
        if kind is not None:
            unused = copy.deepcopy(constraint, {id(self.vocabulary): self.vocabulary})
            self.requests.append(
                Request(kind, tuple(prompt), unused, sampling, frozenset(stop), limit, self.vocabulary)
            )
        yield from self.engine.generate(prompt, constraint, sampling=sampling, stop=stop, limit=limit, cancel=cancel)

    def score(self, prompt: Sequence[int], continuation: Sequence[int]) -> Floats:
        return self.engine.score(prompt, continuation)


def real_requests(each: int, model: str | Path | None = None) -> list[Request]:
    """`each` requests of every kind, from answers to held-out questions and from frozen sentences that are said."""
    out: list[Request] = []
    asked = [(persona, question) for persona, questions, _ in heldout() for question, _ in questions[:2]]
    lines = data_file("timing_sentences.txt").read_text("utf-8").splitlines()

    def enough() -> bool:
        return all(sum(request.kind == kind for request in out) >= each for kind in KINDS)

    for number, (persona, question) in enumerate(asked):
        with Agent(persona, voice="silent", model=model, refine=False, seed=number) as agent:
            planner, mover = agent.tools.planner, agent.tools.mover
            assert isinstance(planner, NativePlanner) and isinstance(mover, NativeMover)
            notes = _Notes(planner.engine)
            planner.engine = mover.engine = notes
            agent.session().answer(question)
            agent.say(lines[number % len(lines)])
        out += notes.requests
        if enough():
            break
    kept = {kind: [request for request in out if request.kind == kind][:each] for kind in KINDS}
    return [request for group in zip(*kept.values(), strict=True) for request in group]
