"""What the larger reader brings to recall: `python -m visavis.evals.personas reread`.

Asked are development people who are in no frozen evaluation (`held`): questions that their facts answer, near ones and
far ones that none does. How finder and reader are joined (`visavis.agent.recall.joined`) is fitted on one half of the
people and judged on the other, both ways; `--fit` then fits it on all of them and writes it. Intervals are over people.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from visavis.agent.finder import default_finder
from visavis.agent.recall import Rereads, joined, likely, look_up, ranked, read_again, unsure
from visavis.errors import UsageError
from visavis.evals.first_light.table import Table, progress
from visavis.evals.personas.held import held
from visavis.finetune.replies.people import Person, draw_person, people
from visavis.finetune.replies.train_finder import auc
from visavis.metrics.bootstrap import Estimate, bootstrap

__all__ = ["FIGURES", "Case", "apart", "cases", "compare", "fit_join", "measure"]

NOTHING = np.array([1.0, 0.0, 0.0])  # the join that leaves the finder's logits as they are
DECLINES = (0.72, 0.80, 0.88, 0.94)
KNOWN, NEAR, FAR = 10, 6, 3  # lines to a person
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A line to a person, with the P likeliest facts, best first; or a sentence with P gestures.

    kind: known, near or far; right: (P,); logits: (P,) recall's; said: (R,) the reader's of the first R, none where
    recall was sure.
    """

    person: str
    kind: str
    right: tuple[bool, ...]
    logits: Floats
    said: Floats

    def chance(self, join: Floats) -> tuple[float, bool]:
        """The probability of the likeliest fact, and whether it answers."""
        z = joined(join, self.logits, self.said) if len(self.said) else self.logits
        return ranked([""] * len(z), z, 1)[0].score, self.right[int(z.argmax())]


def apart() -> list[Person]:
    """The development people whom no frozen question is put to."""
    asked = {one.persona.name for one in held() if not one.setting}
    return [person for person in people("dev") if person.name not in asked]


def cases(reader: Rereads, count: int, seed: int = 0) -> list[Case]:
    """Draw at most so many lines to people in random order, and have them read."""
    rng = random.Random(f"{seed}:reread")
    drawn: list[Case] = []
    for person in progress(rng.sample(apart(), len(apart())), "people"):
        world = draw_person(person, rng)
        known = [("known", ask, one.fact) for one in world.known for ask in one.questions]
        near, far = [("near", ask, "") for _, ask in world.near], [("far", ask, "") for ask in world.far]
        for group, most in ((known, KNOWN), (near, NEAR), (far, FAR)):
            for kind, ask, fact in rng.sample(group, min(len(group), most)):
                found = look_up(ask, (), world.persona.known)
                places, logits = likely(found, default_finder())
                said = read_again(found, places, logits, reader) if unsure(logits) else np.zeros(0)
                right = tuple(found.facts[place] == fact for place in places)
                drawn.append(Case(person.name, kind, right, logits, said))
        if len(drawn) >= count:
            break
    return drawn[:count]


def fit_join(some: Sequence[Case]) -> Floats:
    """(3,) the join under which the right choices are likeliest, where the reader was asked."""
    read = [case for case in some if len(case.said) and (any(case.right) or case.kind != "known")]
    if not read:
        raise UsageError("expected lines that the finder is not sure of to fit the join on, got none: draw more lines")
    most = max(len(case.logits) for case in read)
    z = np.full((len(read), most + 1, 3), 0.0)  # the last one is "none of them"
    there, hit = np.zeros((2, len(read), most + 1), bool)
    for row, case in enumerate(read):
        count = len(case.logits)
        z[row, :count] = np.stack([joined(one, case.logits, case.said) for one in np.eye(3)], axis=1)  # it is linear
        there[row, :count] = there[row, -1] = True
        hit[row, :count], hit[row, -1] = case.right, not any(case.right)

    def loss(join: Floats) -> float:
        logits = np.where(there, z @ join, -np.inf)
        return float(np.mean(logsumexp(logits, 1) - logsumexp(np.where(hit, logits, -np.inf), 1)))

    return np.asarray(minimize(loss, NOTHING, method="BFGS").x)


def crossed(some: Sequence[Case], seed: int = 0) -> list[Floats]:
    """For every case the join that was fitted on the other half of the people."""
    names = sorted({case.person for case in some})
    half = set(np.random.default_rng(seed).permutation(names)[: len(names) // 2].tolist())
    joins = [fit_join([case for case in some if (case.person in half) == mine]) for mine in (True, False)]
    return [joins[1] if case.person in half else joins[0] for case in some]


@dataclass(frozen=True)
class _Judged:
    """Cases as columns, n of them: chances (n,), whether the likeliest fact answers, and what was asked."""

    chance: Floats
    hit: NDArray[np.bool_]
    kind: NDArray[np.str_]

    def at(self, rows: NDArray[np.int64]) -> _Judged:
        return _Judged(self.chance[rows], self.hit[rows], self.kind[rows])

    def first(self) -> float:
        return float(self.hit[self.kind == "known"].mean())

    def auc(self, near: bool) -> float:
        low = self.kind == "near" if near else self.kind != "known"
        return auc(self.chance[self.kind == "known"].tolist(), self.chance[low].tolist())

    def right(self, share: float) -> float:
        """The share of known questions whose fact is first and over the chance that so many unknown ones stay under."""
        least = np.quantile(self.chance[self.kind != "known"], share)
        return float((self.hit & (self.chance > least))[self.kind == "known"].mean())


def _judged(some: Sequence[Case], joins: Sequence[Floats]) -> _Judged:
    made = [case.chance(join) for case, join in zip(some, joins, strict=True)]
    return _Judged(
        np.array([chance for chance, _ in made]), np.array([hit for _, hit in made]),
        np.array([case.kind for case in some]),
    )  # fmt: skip


Figure = Callable[[_Judged], float]
ALONE: Final = "finder alone"
FIGURES: Final[dict[str, Figure]] = {
    "right fact first": _Judged.first,
    "AUC known, unknown": lambda judged: judged.auc(near=False),
    "AUC known, near misses": lambda judged: judged.auc(near=True),
    **{
        f"right at {share:.0%} declined": (lambda judged, share=share: judged.right(share))  # type: ignore[misc]
        for share in DECLINES
    },
}


def compare(
    some: Sequence[Case], table: Table, rounds: int = 500, figures: Mapping[str, Figure] = FIGURES, alone: str = ALONE
) -> None:
    """Add the figures of recall alone, of both together, and the differences."""
    recall, both = _judged(some, [NOTHING] * len(some)), _judged(some, crossed(some))
    owner = np.array([case.person for case in some])
    rows = [np.flatnonzero(owner == name) for name in sorted(set(owner.tolist()))]

    def estimate(figure: Callable[[NDArray[np.int64]], float]) -> Estimate:
        drawn = np.arange(len(rows), dtype=np.float64)
        return bootstrap(drawn, lambda x: figure(np.concatenate([rows[int(i)] for i in x])), rounds)

    for name, figure in figures.items():
        table.add(f"{name}, {alone}", estimate(lambda at, f=figure: f(recall.at(at))))  # type: ignore[misc]
        table.add(f"{name}, read again", estimate(lambda at, f=figure: f(both.at(at))))  # type: ignore[misc]
        table.add(f"{name}, gain", estimate(lambda at, f=figure: f(both.at(at)) - f(recall.at(at))))  # type: ignore[misc]
    table.add(
        "lines read again", bootstrap(np.array([len(case.said) > 0 for case in some], dtype=np.float64)), "%", 100
    )


def measure(reader: Rereads, count: int = 2500, seed: int = 0) -> tuple[Table, list[Case]]:
    """All figures on about `count` lines."""
    some = cases(reader, count, seed)
    table = Table(f"{len({case.person for case in some})} development people, {len(some)} lines")
    compare(some, table)
    return table, some
