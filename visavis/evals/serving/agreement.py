"""Do two engines write the same ids? Greedily, and where they part: how sure was the reference?

Rounding differs between engines, so two ids that are nearly as likely may change places. Agreement is therefore asked
for wherever the reference's best logit leads its second by more than `EPSILON`; whatever parts is listed with its lead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from visavis.agent.engine import Ahead, CancelToken, Constraint, Engine, Floats, Foresight, Ids, Sampling
from visavis.evals.first_light.table import Table, progress, share
from visavis.evals.serving.calls import Call, replay
from visavis.metrics.bootstrap import bootstrap
from visavis.retrieval.library import Library

__all__ = ["EPSILON", "Divergence", "measure", "one_of_each", "trace"]

EPSILON: Final = 0.05  # in logits; engines in float32 differ by less than 0.01, bf16 products by up to 0.3


@dataclass(frozen=True)
class Divergence:
    """Where an engine left the reference: which prompt, after how many ids, what stood there, and the lead."""

    prompt: int
    stage: str
    place: int
    reference: str
    other: str
    lead: float


class _Watched:
    """A constraint that notes by how much the best of every choice leads."""

    def __init__(self, inner: Constraint, leads: dict[int, float]) -> None:
        self._inner, self._leads, self._place = inner, leads, 0

    def allowed(self) -> Ids | None:
        return self._inner.allowed()

    def weigh(self, ids: Ids, logits: Floats) -> Floats:
        weighed = self._inner.weigh(ids, logits)
        second, first = np.partition(weighed, -2)[-2:]
        self._leads[self._place] = float(first - second)
        return weighed

    def ahead(self) -> Ahead:
        return self._inner.ahead() if isinstance(self._inner, Foresight) else Ahead()

    def accept(self, id_: int) -> None:
        self._place += 1
        self._inner.accept(id_)


class _Traced:
    """An engine that always takes the likeliest, and notes what it writes."""

    def __init__(self, inner: Engine) -> None:
        self._inner, self.vocabulary, self.context = inner, inner.vocabulary, inner.context
        self.written: list[int] = []
        self.leads: dict[int, float] = {}

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
        """Greedy, whatever `sampling` says."""
        leads: dict[int, float] = {}
        before = len(self.written)
        watched = _Watched(constraint, leads) if constraint is not None else None
        for id_ in self._inner.generate(prompt, watched, stop=stop, limit=limit, cancel=cancel):
            self.written.append(id_)
            yield id_
        self.leads |= {before + place: lead for place, lead in leads.items()}

    def score(self, prompt: Sequence[int], continuation: Sequence[int]) -> Floats:
        """As the engine's."""
        return self._inner.score(prompt, continuation)


def trace(call: Call, engine: Engine, library: Library) -> tuple[list[int], dict[int, float]]:
    """What an engine writes greedily for a call, and the lead at every place where it chose, if it chose here."""
    traced = _Traced(engine)
    replay([call], traced, library)
    return traced.written, traced.leads


def one_of_each(turns: Sequence[Sequence[Call]], count: int) -> list[Call]:
    """`count` calls of the turns, as many as there are of each stage in turn."""
    stages = [[call for calls in turns for call in calls if call.stage == stage] for stage in ("reply", "act", "move")]
    mixed = [calls[number] for number in range(max(map(len, stages))) for calls in stages if number < len(calls)]
    return mixed[:count]


def measure(
    reference: Engine, others: dict[str, Engine], calls: Sequence[Call], library: Library, epsilon: float = EPSILON
) -> Table:
    """Compare engines with the reference on the same calls; `details` lists every divergence."""
    table = Table(f"The same ids as the reference engine, greedy, wherever it leads by more than {epsilon}")
    truth = [trace(call, reference, library) for call in progress(calls, "reference")]
    for name, engine in others.items():
        same, until, found = list[bool](), list[float](), list[Divergence]()
        for number, (call, (ids, leads)) in enumerate(zip(progress(calls, name), truth, strict=True)):
            written, _ = trace(call, engine, library)
            place = next((p for p, (a, b) in enumerate(zip(ids, written, strict=False)) if a != b), None)
            if place is None and len(ids) != len(written):
                place = min(len(ids), len(written))
            same.append(place is None)
            until += [1.0] * sum(1 for p in leads if place is None or p < place)
            if place is not None:
                until.append(0.0)
                here, there = _shown(engine, ids, place), _shown(engine, written, place)
                found.append(Divergence(number, call.stage, place, here, there, leads.get(place, float("inf"))))
        beyond = [each for each in found if each.lead > epsilon]
        table.add(f"{name}: prompts without any difference", share(same), "%", 100)
        table.add(f"{name}: choices until the first difference", bootstrap(until), "%", 100)
        table.add(f"{name}: differences beyond the lead", bootstrap([float(e in beyond) for e in found]), "of them")
        table.details[name] = {
            "prompts": len(calls), "choices": len(until), "beyond": len(beyond),
            "divergences": [vars(each) for each in found],
        }  # fmt: skip
    return table


def _shown(engine: Engine, ids: Sequence[int], place: int) -> str:
    return engine.vocabulary.name(ids[place]) if place < len(ids) else "the end"
