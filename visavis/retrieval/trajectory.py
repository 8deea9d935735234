"""Paths over time: minimum-jerk segments on curves, tracks of values between stops, a little 1/f noise.

Source: Flash and Hogan (1985) for the minimum-jerk profile.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["APEX_AT", "PEAK_SPEED", "curve", "min_jerk", "path", "pink", "track"]

Array = NDArray[np.float32]

# The speed of a minimum-jerk movement is (4u(1-u))² of its peak at the share u of its time: it has fallen to a quarter
# of the peak, which is where the fast movement ends for the eye, at u = (1 + √½) / 2.
APEX_AT: Final = 0.5 * (1.0 + 0.5**0.5)
# Peak speed in lengths per duration.
PEAK_SPEED: Final = 1.875


def min_jerk(u: NDArray[np.floating]) -> NDArray[np.floating]:
    """Share of the way at the share `u` of the time, both in [0, 1]."""
    return u * u * u * (10.0 + u * (6.0 * u - 15.0))


def track(times_s: NDArray[np.floating], values: NDArray[np.floating], at_s: NDArray[np.floating]) -> Array:
    """Values (K, D) at stops (K,), joined by minimum-jerk transitions, read at (T,) → (T, D)."""
    place = np.clip(np.searchsorted(times_s, at_s, side="right") - 1, 0, len(times_s) - 2)
    span = np.maximum(times_s[place + 1] - times_s[place], 1e-6)
    s = min_jerk(np.clip((at_s - times_s[place]) / span, 0.0, 1.0))[:, None]
    return (values[place] + s * (values[place + 1] - values[place])).astype(np.float32)


def curve(points: NDArray[np.floating], samples: int = 25) -> NDArray[np.float64]:
    """A smooth curve (samples, 3) through points (N, 3), evenly spaced along its length (Catmull-Rom, chord length)."""
    knots = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1) + 1e-6)])
    slopes = np.gradient(points, knots, axis=0)
    u = np.linspace(0.0, knots[-1], samples)
    i = np.clip(np.searchsorted(knots, u, side="right") - 1, 0, len(knots) - 2)
    h = (knots[i + 1] - knots[i])[:, None]
    t = (u - knots[i])[:, None] / h
    t2, t3 = t * t, t * t * t
    fine = (
        (2 * t3 - 3 * t2 + 1) * points[i]
        + (t3 - 2 * t2 + t) * h * slopes[i]
        + (3 * t2 - 2 * t3) * points[i + 1]
        + (t3 - t2) * h * slopes[i + 1]
    )
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(fine, axis=0), axis=1))])
    even = np.linspace(0.0, length[-1], samples)
    return np.stack([np.interp(even, length, fine[:, k]) for k in range(3)], axis=1) if length[-1] > 0 else fine


def path(
    times_s: NDArray[np.floating],
    curves: list[NDArray[np.float64] | None],
    first: NDArray[np.floating],
    at_s: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Positions (T, 3) along one curve per segment, minimum jerk in each; None keeps still."""
    out = np.empty((len(at_s), 3))
    here = np.asarray(first, np.float64)
    place = np.clip(np.searchsorted(times_s, at_s, side="right") - 1, 0, len(times_s) - 2)
    for k, line in enumerate(curves):
        chosen = place == k
        if line is None:
            out[chosen] = here
            continue
        span = max(times_s[k + 1] - times_s[k], 1e-6)
        s = min_jerk(np.clip((at_s[chosen] - times_s[k]) / span, 0.0, 1.0)) * (len(line) - 1)
        i = np.minimum(s.astype(int), len(line) - 2)
        f = (s - i)[:, None]
        out[chosen] = line[i] * (1 - f) + line[i + 1] * f
        here = line[-1]
    return out


def pink(rng: np.random.Generator, at_s: NDArray[np.floating], channels: int) -> Array:
    """Noise (T, channels) of about unit size whose power falls as 1/f between 0.35 and 4 Hz."""
    hz = 0.35 * 1.5 ** np.arange(7)
    amplitude = hz**-0.5
    phase = rng.uniform(0, 2 * np.pi, (channels, len(hz)))
    angle = 2 * np.pi * at_s[:, None, None] * hz + phase
    return (np.sin(angle) @ (amplitude / np.linalg.norm(amplitude))).astype(np.float32)
