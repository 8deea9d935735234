"""Beat consistency: are the beats of the motion where the onsets of the sound are?

Li et al. 2021 (AI Choreographer) and Liu et al. 2022 (BEAT) in the audio-to-motion direction: every onset scores a
Gaussian of its distance to the nearest motion beat. Smooth motion that has nothing to do with the sound scores 0.74 in
the standard form, so what counts is the *lift* over the same motion against shuffled sound, on stressed onsets with a
narrow Gaussian.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import argrelextrema

__all__ = ["DECISIVE_SIGMA_S", "STANDARD_SIGMA_S", "beat_consistency", "lift", "motion_beats"]

STANDARD_SIGMA_S = 0.3
DECISIVE_SIGMA_S = 0.1
Times = Sequence[float] | NDArray[np.float64]


def motion_beats(positions_m: NDArray[np.floating], fps: float = 30.0, still_m_s: float = 0.05) -> NDArray[np.float64]:
    """Times of the beats of a motion: local minima of mean joint speed.

    Args:
        positions_m: (T, J, 3).
        fps: frames per second.
        still_m_s: a minimum counts only if the speed before it has exceeded this, so that a still body has no beats.
    Returns:
        (n,) seconds; empty for fewer than 5 frames.
    """
    x = np.asarray(positions_m, dtype=np.float64)
    if len(x) < 5:
        return np.zeros(0)
    speed = np.linalg.norm(np.gradient(x, axis=0), axis=-1).mean(axis=-1) * fps
    speed = gaussian_filter1d(speed, 1.0, mode="nearest")
    minima = argrelextrema(speed, np.less_equal, order=3)[0]
    out, last = [], 0
    for i in minima:
        if i > last and speed[last : i + 1].max() >= still_m_s:
            out.append(i)
            last = i
    return np.array(out, dtype=np.float64) / fps


def beat_consistency(onsets_s: Times, beats_s: Times, sigma_s: float = STANDARD_SIGMA_S) -> float:
    """Mean over the onsets of exp(-d² / 2σ²), d the distance to the nearest motion beat.

    Range [0, 1], higher is better; NaN for no onsets, 0 for no beats.
    """
    onsets, beats = np.asarray(onsets_s, dtype=np.float64), np.asarray(beats_s, dtype=np.float64)
    if len(onsets) == 0:
        return float("nan")
    if len(beats) == 0:
        return 0.0
    distance = np.abs(onsets[:, None] - beats[None]).min(axis=1)
    return float(np.exp(-(distance**2) / (2 * sigma_s**2)).mean())


def lift(
    onsets_s: Times, beats_s: Times, duration_s: float, sigma_s: float = DECISIVE_SIGMA_S,
    rounds: int = 50, seed: int = 0,
) -> float:  # fmt: skip
    """Beat consistency minus its mean over sounds shifted by random amounts around the same motion.

    About 0 for motion that knows nothing of the sound; NaN for no onsets.
    """
    onsets = np.asarray(onsets_s, dtype=np.float64)
    if len(onsets) == 0 or duration_s <= 0:
        return float("nan")
    rng = np.random.default_rng(seed)
    shifts = rng.uniform(0.15, 0.85, rounds) * duration_s
    chance = [beat_consistency((onsets + shift) % duration_s, beats_s, sigma_s) for shift in shifts]
    return beat_consistency(onsets, beats_s, sigma_s) - float(np.mean(chance))
