"""Bootstrap intervals: every figure comes with how far it could have fallen otherwise (Efron 1979, percentile form)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Estimate", "bootstrap", "paired_difference", "proportion"]

Statistic = Callable[[NDArray[np.float64]], float]
_AT_ONCE = 1_000_000  # samples drawn at once, 16 MB


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval and the number of samples behind it; NaN with n = 0 for no samples."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] (n = {self.n})"


def _mean(x: NDArray[np.float64]) -> float:
    return float(np.mean(x))


def bootstrap(
    samples: Sequence[float] | NDArray[np.float64], statistic: Statistic = _mean, rounds: int = 1000, seed: int = 0
) -> Estimate:
    """A statistic of independent samples with its 95 % percentile interval."""
    x = np.asarray(samples, dtype=np.float64)
    if len(x) == 0:
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    low, high = np.percentile(_resampled(x, statistic, rounds, seed), [2.5, 97.5])
    return Estimate(statistic(x), float(low), float(high), len(x))


def _resampled(x: NDArray[np.float64], statistic: Statistic, rounds: int, seed: int) -> NDArray[np.float64]:
    """(rounds,) of the statistic, each of as many samples drawn with replacement."""
    rng, n = np.random.default_rng(seed), len(x)
    if statistic is not _mean or x.ndim != 1:
        return np.array([statistic(x[rng.integers(0, n, n)]) for _ in range(rounds)])
    step = max(1, _AT_ONCE // n)  # the same draws, and means to the last bit, without a call for each round
    sizes = [min(step, rounds - start) for start in range(0, rounds, step)]
    return np.concatenate([x[rng.integers(0, n, (size, n))].mean(axis=1) for size in sizes])


def paired_difference(
    a: Sequence[float], b: Sequence[float], statistic: Statistic = _mean, rounds: int = 1000, seed: int = 0
) -> Estimate:
    """statistic(a) - statistic(b) over the same items, resampled together."""
    x = np.stack([np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)], axis=1)
    if len(x) == 0:
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    rng = np.random.default_rng(seed)

    def difference(rows: NDArray[np.float64]) -> float:
        return statistic(rows[:, 0]) - statistic(rows[:, 1])

    values = [difference(x[rng.integers(0, len(x), len(x))]) for _ in range(rounds)]
    low, high = np.percentile(values, [2.5, 97.5])
    return Estimate(difference(x), float(low), float(high), len(x))


def proportion(hits: Sequence[bool] | NDArray[np.bool_]) -> Estimate:
    """The share of hits in [0, 1] with Wilson's 95 % interval (1927), which is not empty where none or all hit.

    NaN with n = 0 for no samples.
    """
    n = len(hits)
    if n == 0:
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    p, z2 = float(np.mean(hits)), 1.96**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = 1.96 * float(np.sqrt(p * (1 - p) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    return Estimate(p, max(0.0, centre - half), min(1.0, centre + half), n)
