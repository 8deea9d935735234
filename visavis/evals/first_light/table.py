"""A table of estimates: printed for people, written as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from visavis.errors import UsageError, VisavisError
from visavis.metrics.bootstrap import Estimate, bootstrap

__all__ = ["Table", "data_file", "median", "progress", "report", "share"]

T = TypeVar("T")


def data_file(name: str) -> Path:
    """A frozen file of the held-out data."""
    return Path(str(files("visavis.evals") / "data" / name))


def share(hits: Sequence[bool] | Sequence[float] | Iterable[bool]) -> Estimate:
    """The share of hits with its interval; NaN and n = 0 for none."""
    return bootstrap([float(hit) for hit in hits])


def median(values: Sequence[float] | np.ndarray) -> Estimate:
    """The median with its interval."""
    return bootstrap(values, lambda x: float(np.median(x)))


def progress(items: Sequence[T], label: str) -> Iterator[T]:
    """The items, with a bar on a terminal."""
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # its thread would outlive the bar, and `soak` counts threads
    yield from tqdm(items, desc=label, disable=not sys.stderr.isatty())


@dataclass
class Table:
    """Rows of one measurement, in order, and what is worth keeping beside them."""

    title: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, estimate: Estimate, unit: str = "", scale: float = 1.0) -> None:
        """One figure; `scale` turns it into the unit (1000 for ms, 100 for %)."""
        self.rows.append(
            {
                "name": name,
                "value": _json(estimate.value * scale),
                "low": _json(estimate.low * scale),
                "high": _json(estimate.high * scale),
                "n": estimate.n,
                "unit": unit,
            }
        )

    def value(self, name: str) -> float | None:
        """The value of a row, for tests and scripts."""
        return next((row["value"] for row in self.rows if row["name"] == name), None)

    def __str__(self) -> str:
        width = max([len(row["name"]) for row in self.rows] + [20])
        lines = [self.title, f"{'':{width}}  {'value':>9}  {'95 % interval':>21}  {'n':>5}"]
        for row in self.rows:
            value, low, high = (float("nan") if row[k] is None else row[k] for k in ("value", "low", "high"))
            lines.append(
                f"{row['name']:{width}}  {value:9.3f}  [{low:9.3f}, {high:8.3f}]  {row['n']:5d}  {row['unit']}"
            )
        return "\n".join(lines)

    def markdown(self) -> str:
        """The table for a card."""
        lines = [self.title + ":", "", "| figure | value | 95 % interval | n |", "|---|---|---|---|"]
        for row in self.rows:
            value, low, high = (float("nan") if row[k] is None else row[k] for k in ("value", "low", "high"))
            lines.append(f"| {row['name']} | {value:.3g} {row['unit']} | {low:.3g} to {high:.3g} | {row['n']} |")
        return "\n".join(lines) + "\n"

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"title": self.title, "rows": self.rows, "details": self.details}
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _json(value: float) -> float | None:
    return None if value != value else round(float(value), 6)


def report(measure: Callable[[], Table], out: str | Path | None, more: Callable[[Table], None] | None = None) -> int:
    """Measure, print the table (and `more` of it), write it to `out` if given; the exit status of a command."""
    try:
        table = measure()
    except VisavisError as error:
        print(f"visavis: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    print(table)
    if more is not None:
        more(table)
    if out:
        table.write(Path(out))
    return 0
