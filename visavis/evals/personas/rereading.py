"""What the larger reader brings to recall: `python -m visavis.evals.personas reread`.

Asked are development people who are in no frozen evaluation (`held`), as `visavis.finetune.replies.visits` draws them.
How both readings are joined (`visavis.agent.recall.joined`) is fitted on one half of the people and judged on the
other, both ways; `--fit` then fits it on all of them and writes it. Intervals are over people.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from visavis.agent.base_reader import BaseReader
from visavis.agent.reader import FactReader, default_reader
from visavis.agent.recall import joined, ranked, read_again, unsure, weigh
from visavis.errors import UsageError
from visavis.evals.first_light.table import Table, progress
from visavis.evals.personas.held import held
from visavis.finetune.replies.people import people
from visavis.finetune.replies.train_reader import ASKING, DECLINED, Line, lines
from visavis.finetune.replies.visits import draw
from visavis.metrics.bootstrap import Estimate, bootstrap

__all__ = ["Case", "apart", "cases", "compare", "fit_join", "measure"]

NOTHING = np.array([1.0, 0.0, 0.0, 0.0])  # the join that leaves recall's logits as they are
DECLINES = (0.72, 0.80, 0.88)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A line to a person, with the P facts that were read for it.

    logits: (P,) recall's; said: (P,) the larger reader's, NaN for facts that it did not read, empty where recall was
    sure.
    """

    person: str
    act: str
    right: tuple[bool, ...]
    answerable: bool
    logits: Floats
    said: Floats

    def chance(self, join: Floats) -> tuple[float, bool]:
        """The probability of the likeliest fact, and whether it answers."""
        z = joined(join, self.logits, self.said) if len(self.said) else self.logits
        return ranked([""] * len(z), z, 1)[0].score, self.right[int(z.argmax())]


def apart() -> list[str]:
    """The names of the development people whom no frozen question is put to."""
    asked = {one.persona.name for one in held() if not one.setting}
    return [person.name for person in people("dev") if person.name not in asked]


def cases(larger: BaseReader, count: int, seed: int = 0, reader: FactReader | None = None) -> list[Case]:
    """Draw so many lines of all acts, and have them read."""
    reader = reader or default_reader()
    found: list[Case] = []
    visits = draw(seed, "dev", apart())
    drawn: list[tuple[str, Line]] = []
    while len(drawn) < count:
        visit = next(visits)
        drawn += [(visit.setting, line) for line in lines([visit]) if line.facts]
    for person, line in progress(drawn[:count], "lines"):
        rows = weigh(line.near, reader.read(line.question, line.facts), line.question, line.facts)
        logits = reader.mix(rows)
        said = read_again(larger, line.question, line.facts, logits) if unsure(logits) else np.zeros(0)
        found.append(Case(person, line.act, line.right, line.answerable, logits, said))
    return found


def fit_join(some: Sequence[Case]) -> Floats:
    """(4,) the join under which the right choices are likeliest, where the larger reader was asked."""
    read = [case for case in some if len(case.said) and (any(case.right) or not case.answerable)]
    if not read:
        raise UsageError("expected lines that recall is not sure of to fit the join on, got none: draw more lines")

    most = max(len(case.logits) for case in read)
    z = np.full((len(read), most + 1, 4), 0.0)  # the last one is "none of them"
    there, hit = np.zeros((2, len(read), most + 1), bool)
    for row, case in enumerate(read):
        count = len(case.logits)
        z[row, :count] = np.stack([joined(one, case.logits, case.said) for one in np.eye(4)], axis=1)  # it is linear
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
    asking: NDArray[np.bool_]
    declined: NDArray[np.bool_]
    near: NDArray[np.bool_]

    def at(self, rows: NDArray[np.int64]) -> _Judged:
        return _Judged(*(getattr(self, name)[rows] for name in ("chance", "hit", "asking", "declined", "near")))

    def first(self) -> float:
        return float(self.hit[self.asking].mean())

    def auc(self, near: bool) -> float:
        low = np.sort(self.chance[self.near if near else self.declined])
        high = self.chance[self.asking]
        places = np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")
        return float(places.mean() / 2 / len(low))

    def right(self, share: float) -> float:
        """The share of known questions whose fact is first and over the chance that so many unknown ones stay under."""
        least = np.quantile(self.chance[self.declined], share)
        return float((self.hit & (self.chance > least))[self.asking].mean())

    def error(self) -> float:
        """Of calibration: how far chances lie from shares, in tenths."""
        some = self.asking | self.declined
        chance, hit = self.chance[some], self.hit[some]
        tenth = np.minimum((chance * 10).astype(int), 9)
        return float(sum(abs((chance - hit)[tenth == b].sum()) for b in set(tenth.tolist())) / len(chance))


def _judged(some: Sequence[Case], joins: Sequence[Floats]) -> _Judged:
    made = [case.chance(join) for case, join in zip(some, joins, strict=True)]
    acts = [case.act for case in some]
    return _Judged(
        np.array([chance for chance, _ in made]), np.array([hit for _, hit in made]),
        np.array([act in ASKING for act in acts]), np.array([act in DECLINED for act in acts]),
        np.array([act == "near" for act in acts]),
    )  # fmt: skip


FIGURES: dict[str, Callable[[_Judged], float]] = {
    "right fact first": _Judged.first,
    "AUC known, unknown": lambda judged: judged.auc(near=False),
    "AUC known, near misses": lambda judged: judged.auc(near=True),
    **{
        f"right at {share:.0%} declined": (lambda judged, share=share: judged.right(share))  # type: ignore[misc]
        for share in DECLINES
    },
    "calibration error": _Judged.error,
}


def compare(some: Sequence[Case], table: Table, rounds: int = 1000) -> None:
    """Add the figures of recall alone, of both readings, and the differences."""
    alone, both = _judged(some, [NOTHING] * len(some)), _judged(some, crossed(some))
    owner = np.array([case.person for case in some])
    rows = [np.flatnonzero(owner == name) for name in sorted(set(owner.tolist()))]

    def estimate(figure: Callable[[NDArray[np.int64]], float]) -> Estimate:
        people_drawn = np.arange(len(rows), dtype=np.float64)
        return bootstrap(people_drawn, lambda x: figure(np.concatenate([rows[int(i)] for i in x])), rounds)

    for name, figure in FIGURES.items():
        table.add(f"{name}, recall alone", estimate(lambda at, f=figure: f(alone.at(at))))  # type: ignore[misc]
        table.add(f"{name}, read again", estimate(lambda at, f=figure: f(both.at(at))))  # type: ignore[misc]
        table.add(f"{name}, gain", estimate(lambda at, f=figure: f(both.at(at)) - f(alone.at(at))))  # type: ignore[misc]
    asked = [len(case.said) > 0 for case in some if case.act in (*ASKING, *DECLINED)]
    table.add("lines read again", bootstrap(np.array(asked, dtype=np.float64)), "%", 100)


def measure(larger: BaseReader, count: int = 2500, seed: int = 0) -> tuple[Table, list[Case]]:
    """All figures on `count` lines of all acts."""
    some = cases(larger, count, seed)
    table = Table(f"{len({case.person for case in some})} development people, {count} lines")
    compare(some, table)
    return table, some
