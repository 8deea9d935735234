"""The decisions of ACT on sentences that nothing was tuned on, beside recall alone and what needs no thought."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visavis.agent.planner import Planner
from visavis.evals.acts.items import COLUMNS, Item, Made, counts, f1, items
from visavis.evals.acts.systems import Chance, Frequent, Product, System, recalled
from visavis.evals.first_light.table import Table, median, progress, share
from visavis.metrics.bootstrap import Estimate, bootstrap
from visavis.retrieval.library import Library

__all__ = ["PRODUCT", "RECALL", "best_threshold", "gain", "measure", "over", "ratio", "ratio_of"]

Floats = NDArray[np.float64]
PRODUCT = "ACT"
RECALL = "recall with a threshold"
EVEN = 0.003  # F1 so near the best is as good


def over(rows: Floats, statistic: Callable[[Floats], float]) -> Estimate:
    """A statistic of rows (N, ...), one of each sentence, with its interval."""
    return bootstrap(np.arange(len(rows), dtype=np.float64), lambda chosen: statistic(rows[chosen.astype(np.int64)]))


def gain(ours: Floats, others: Floats, statistic: Callable[[Floats], float]) -> Estimate:
    """statistic(ours) - statistic(others) of the same sentences, resampled together."""
    return over(np.stack([ours, others], axis=1), lambda both: statistic(both[:, 0]) - statistic(both[:, 1]))


def best_threshold(some: list[Item], made: list[list[Made]]) -> float:
    """The score from which on gestures are kept for the best joint F1; the lowest of those as good, up to `EVEN`."""
    scores = np.unique([gesture.score for row in made for gesture in row])
    edges = np.concatenate([scores[:1], (scores[1:] + scores[:-1]) / 2])
    if len(edges) > 200:
        edges = np.quantile(edges, np.linspace(0, 1, 200))
    found = np.array([f1(counts(some, [[g for g in row if g.score >= edge] for row in made])) for edge in edges])
    return float(edges[found >= found.max() - EVEN].min())


def measure(planner: Planner, library: Library, half: str = "held", limit: int | None = None, seed: int = 0) -> Table:
    """All sentences of a half (the first `limit` of each kind); what the others are fitted on is the other half.

    The systems take turns at every sentence, so that what else the machine does falls on all of them alike; what was
    asked is forgotten between them, so that each pays for its own reading.
    """
    known = items("tune")
    threshold = best_threshold(known, [recalled(library, item) for item in progress(known, "threshold")])
    some = [
        item for kind in ("called", "neutral", "aimed") for item in [i for i in items(half) if i.kind == kind][:limit]
    ]
    systems: dict[str, System] = {
        PRODUCT: Product(planner, library), RECALL: lambda item: recalled(library, item),
        "most frequent": Frequent(library, known), "random": Chance(library, known, seed),
    }  # fmt: skip
    made: dict[str, list[list[Made]]] = {name: [] for name in systems}
    spent: dict[str, list[float]] = {name: [] for name in systems}
    for item in progress(some, "sentences"):
        for name, system in systems.items():
            if library.index is not None:
                library.index.forget()
            began = time.perf_counter()
            made[name].append(system(item))
            spent[name].append(time.perf_counter() - began)
    made["recall without"], spent["recall without"] = made[RECALL], spent[RECALL]
    made[RECALL] = [[gesture for gesture in row if gesture.score >= threshold] for row in made[RECALL]]
    return _table(some, made, spent, threshold, half)


def _table(
    some: list[Item], made: dict[str, list[list[Made]]], spent: dict[str, list[float]], threshold: float, half: str
) -> Table:
    rows = {name: counts(some, one) for name, one in made.items()}
    kinds = np.array([item.kind for item in some])
    table = Table(f"Gestures of {len(some)} sentences of the {half} half: {_how_many(kinds)}")
    hit = {
        name: np.array([_accepted(item, one) for item, one in zip(some, made[name], strict=True)], np.float64)[
            kinds == "called"
        ]
        for name in made
    }
    for name, one in rows.items():
        table.add(f"{name}: accepted gloss, of sentences that call for one", share(hit[name]), "%", 100)
        table.add(
            f"{name}: accepted gloss, where one is made", share(hit[name][_moved(one)[kinds == "called"]]), "%", 100
        )
        table.add(f"{name}: gesture or none, precision", over(one, lambda x: ratio(x, "both", "moved")), "%", 100)
        table.add(f"{name}: gesture or none, recall", over(one, lambda x: ratio(x, "both", "wanted")), "%", 100)
        table.add(f"{name}: joint decision, F1", over(one, f1))
        table.add(f"{name}: ... or on the next word, F1", over(one, lambda x: f1(x, "near")))
        table.add(f"{name}: ... gloss and parameters alone, F1", over(one, lambda x: f1(x, "gloss")))
        table.add(f"{name}: gestures a sentence", over(one, lambda x: float(x[:, COLUMNS.index("made")].mean())))
        table.add(f"{name}: decision, median", median(spent[name]), "ms", 1000)
    for name in list(rows)[1:]:
        table.add(f"{PRODUCT} minus {name}, joint F1", gain(rows[PRODUCT], rows[name], f1))
        table.add(f"{PRODUCT} minus {name}, accepted gloss", gain(hit[PRODUCT], hit[name], _mean), "points", 100)
    table.details = {"threshold": threshold, "sentences": [_detail(some, made, i) for i in range(len(some))]}
    return table


def _how_many(kinds: NDArray[Any]) -> str:
    called, neutral, aimed = (int((kinds == kind).sum()) for kind in ("called", "neutral", "aimed"))
    return f"{called} call for a gesture by meaning, {aimed} by a number or place, {neutral} for none"


def _accepted(item: Item, made: list[Made]) -> bool:
    """Whether the gesture of the best score (the first among equals) is an accepted one."""
    best = max(made, key=lambda gesture: gesture.score, default=None)
    return best is not None and item.fits(best)


def _moved(rows: Floats) -> NDArray[np.bool_]:
    return rows[:, COLUMNS.index("moved")] > 0


def ratio(rows: Floats, part: str, whole: str) -> float:
    """The share of one of `COLUMNS` in another; NaN for nothing."""
    return ratio_of(rows[:, COLUMNS.index(part)], rows[:, COLUMNS.index(whole)])


def ratio_of(part: Floats, whole: Floats) -> float:
    """The sum of one over the sum of the other; NaN over nothing."""
    total = float(whole.sum())
    return float(part.sum()) / total if total else float("nan")


def _mean(hits: Floats) -> float:
    return float(hits.mean())


def _detail(some: list[Item], made: dict[str, list[list[Made]]], place: int) -> dict[str, Any]:
    item, words = some[place], some[place].text.split()
    by = {name: [[g.gloss, words[g.word], round(g.score, 3)] for g in made[name][place]] for name in (PRODUCT, RECALL)}
    return {"text": item.text, "kind": item.kind, "accept": [*item.accept], "word": item.word, **by}
