"""Phases of a gesture: the seven sync points of BML 1.0, in seconds.

start ≤ ready ≤ stroke_start ≤ stroke ≤ stroke_end ≤ relax ≤ end. Preparation runs from start to ready, the stroke
from stroke_start to stroke_end with its apex (greatest effort, end of the fast movement) at `stroke`, holds lie
between, and the retraction runs from relax to end (Kendon 2004; McNeill 1992).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

__all__ = ["Phases"]


@dataclass(frozen=True)
class Phases:
    """Sync points of one gesture in seconds, in order."""

    start_s: float
    ready_s: float
    stroke_start_s: float
    stroke_s: float
    stroke_end_s: float
    relax_s: float
    end_s: float

    def __post_init__(self) -> None:
        times = self.times
        if any(b < a - 1e-6 for a, b in zip(times, times[1:], strict=False)):
            raise ValueError(f"sync points must not decrease; got {self}")

    @property
    def times(self) -> tuple[float, ...]:
        """All seven, in order."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def shifted(self, by_s: float) -> Phases:
        """All points later by `by_s`."""
        return replace(self, **{field.name: getattr(self, field.name) + by_s for field in fields(self)})
