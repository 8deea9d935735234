"""Strokes found in a motion by the speed of the wrists, and how far they fall from the stresses of speech.

A stroke is a rise and fall of one wrist's speed in the chest frame; its *apex* is the end of the fast movement, where
the speed has fallen to a quarter of its peak or to its next minimum, whichever comes first. The apex is what speakers
place on the stressed syllable (Loehr 2012; McNeill 1992). Nothing here reads a plan: only positions and times.

Written before the choreography that it judges; its constants are not tuned on its figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

__all__ = ["Stroke", "detect_strokes", "stroke_stress_offsets", "wrist_speed"]

SMOOTHING_S = 0.033
MIN_SPEED_M_S = 0.35
MIN_PROMINENCE_M_S = 0.25
APEX_SHARE = 0.25
WINDOW_S = 0.6


@dataclass(frozen=True)
class Stroke:
    """One stroke of one hand: onset, speed peak and apex in seconds, peak speed in m/s."""

    start_s: float
    peak_s: float
    apex_s: float
    speed_m_s: float


def wrist_speed(positions_m: NDArray[np.floating], fps: float) -> NDArray[np.float64]:
    """Speed of a point.

    Args:
        positions_m: (T, 3) metres, in the chest frame so that a turning body is not a gesture.
        fps: frames per second.
    Returns:
        (T,) m/s, central differences of positions smoothed by a Gaussian of `SMOOTHING_S`; zeros where T < 3.
    """
    points = np.asarray(positions_m, dtype=np.float64)
    if len(points) < 3:
        return np.zeros(len(points))
    smooth = gaussian_filter1d(points, SMOOTHING_S * fps, axis=0, mode="nearest")
    return np.linalg.norm(np.gradient(smooth, axis=0), axis=1) * fps


def detect_strokes(positions_m: NDArray[np.floating], fps: float = 30.0) -> list[Stroke]:
    """Strokes of one wrist (T, 3) in order of time; none in an empty or still motion."""
    speed = wrist_speed(positions_m, fps)
    if len(speed) < 5:
        return []
    padded = np.concatenate([[0.0], speed, [0.0]])
    peaks, _ = find_peaks(padded, height=MIN_SPEED_M_S, prominence=MIN_PROMINENCE_M_S)
    strokes = []
    for peak in peaks - 1:
        low = APEX_SHARE * speed[peak]
        end = peak
        while end + 1 < len(speed) and speed[end] > low and speed[end + 1] <= speed[end]:
            end += 1
        start = peak
        while start > 0 and speed[start] > low and speed[start - 1] <= speed[start]:
            start -= 1
        apex = float(end)
        if speed[end] < low < speed[end - 1]:  # between two frames
            apex -= (low - speed[end]) / (speed[end - 1] - speed[end])
        strokes.append(Stroke(start / fps, peak / fps, apex / fps, float(speed[peak])))
    return strokes


def stroke_stress_offsets(
    apexes_s: Sequence[float], stresses_s: Sequence[float], window_s: float = WINDOW_S
) -> NDArray[np.float64]:
    """Signed distance from each stress to the nearest apex.

    Returns:
        (n,) seconds, negative where the stroke is early; ±window where no apex lies within `window_s` (so that a
        missing stroke counts as the worst, not as nothing). Lower |offset| is better. Empty for no stresses.
    """
    apexes = np.asarray(apexes_s, dtype=np.float64)
    out = []
    for stress in stresses_s:
        distances = apexes - stress
        nearest = distances[np.argmin(np.abs(distances))] if len(distances) else window_s
        out.append(float(np.clip(nearest, -window_s, window_s)))
    return np.array(out)
