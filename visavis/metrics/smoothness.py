"""How smooth a motion is: norms of acceleration and jerk (GENEA's, Kucherenko et al. 2021), and its seams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["SeamStatistics", "mean_derivative", "seam_statistics"]


def mean_derivative(positions_m: NDArray[np.floating], order: int, fps: float = 30.0) -> float:
    """Mean norm of a derivative of joint positions.

    Args:
        positions_m: (T, J, 3).
        order: 1 speed (m/s), 2 acceleration (m/s²), 3 jerk (m/s³).
        fps: frames per second.
    Returns:
        The mean over time and joints; NaN where T ≤ order.
    """
    x = np.asarray(positions_m, dtype=np.float64)
    if len(x) <= order:
        return float("nan")
    return float(np.linalg.norm(np.diff(x, n=order, axis=0), axis=-1).mean() * fps**order)


@dataclass(frozen=True)
class SeamStatistics:
    """Steps across chunk borders against steps inside chunks.

    above_99: share of border steps above the 99th percentile of the inside; about 0.01 for perfect seams.
    median_ratio: median border step over median inside step. worst_ratio: largest over the largest inside.
    """

    above_99: float
    median_ratio: float
    worst_ratio: float
    n: int


def seam_statistics(positions_m: NDArray[np.floating], borders: Sequence[int]) -> SeamStatistics:
    """Compare second differences at the borders with those inside.

    Args:
        positions_m: (T, J, 3) of the joined motion.
        borders: frames at which a chunk begins.
    Returns:
        NaN and n = 0 where there is no border.
    """
    x = np.asarray(positions_m, dtype=np.float64)
    change = np.linalg.norm(np.diff(x, n=2, axis=0), axis=-1).max(axis=-1)  # change[i] spans frames i..i+2
    at = [b - 1 for b in borders if 1 <= b < len(x) - 1]
    near = {i + d for i in at for d in (-1, 0)}
    border = np.array([max(change[i], change[i - 1] if i else 0.0) for i in at])
    inside = np.array([change[i] for i in range(len(change)) if i not in near])
    if len(border) == 0 or len(inside) == 0:
        nan = float("nan")
        return SeamStatistics(nan, nan, nan, 0)
    # A border is the larger of two changes: the inside is paired the same way.
    inside = np.maximum(inside[1:], inside[:-1]) if len(inside) > 1 else inside
    high = np.percentile(inside, 99)
    middle = max(float(np.median(inside)), 1e-9)
    return SeamStatistics(
        float((border > high).mean()),
        float(np.median(border)) / middle,
        float(border.max() / inside.max()),
        len(border),
    )
