"""Fréchet distance between two sets of motions, plain and paired with their sound.

Plain: between Gaussians of features (Heusel et al. 2017; Yoon et al. 2020 for gesture). It is inflated by small samples
and blind to shuffled sound; the paired form puts a clip's prosody beside its motion, so that motion which does not
fit its sound is far from motion that does. Features are statistics of positions and speeds, no network.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import sqrtm

__all__ = ["clip_features", "frechet_distance"]

WINDOW = 32


def clip_features(
    positions_m: NDArray[np.floating], prosody: NDArray[np.floating] | None = None
) -> NDArray[np.float64]:
    """Features of windows of about a second.

    Args:
        positions_m: (T, K, 3) of the joints that matter (wrists, elbows, head), chest frame.
        prosody: (T, C) of the same frames, for the paired form; products of speed and sound at lags of ±4 frames.
    Returns:
        (n, D), n = T // 32; empty for shorter clips.
    """
    x = np.asarray(positions_m, dtype=np.float64)
    rows = []
    for start in range(0, len(x) - WINDOW + 1, WINDOW):
        w = x[start : start + WINDOW]
        speed = np.linalg.norm(np.diff(w, axis=0), axis=-1) * 30
        row = [w.mean(0).ravel(), w.std(0).ravel(), speed.mean(0), speed.std(0)]
        if prosody is not None:
            sound = np.asarray(prosody[start : start + WINDOW], dtype=np.float64)
            row.append(sound.mean(0))
            joint = speed.mean(axis=1)
            for lag in (-4, 0, 4):
                moved = np.roll(joint, lag)[: WINDOW - 1]
                row.append(((moved - moved.mean())[:, None] * (sound[:-1] - sound[:-1].mean(0))).mean(0))
        rows.append(np.concatenate(row))
    return np.array(rows).reshape(len(rows), -1)


def frechet_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Fréchet distance between Gaussians fitted to (n, D) and (m, D), whitened by the scale of `a`.

    Range [0, ∞), lower is nearer; NaN where either has fewer than two rows.
    """
    if len(a) < 2 or len(b) < 2:
        return float("nan")
    scale = np.asarray(a).std(0) + 1e-6
    x, y = np.asarray(a) / scale, np.asarray(b) / scale
    mean = float(((x.mean(0) - y.mean(0)) ** 2).sum())
    s, t = np.cov(x.T), np.cov(y.T)
    eye = np.eye(len(s)) * 1e-6
    root = sqrtm((s + eye) @ (t + eye))
    return float(mean + np.trace(s) + np.trace(t) - 2 * np.trace(np.real(root)))
