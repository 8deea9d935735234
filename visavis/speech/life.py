"""What a face does by itself: blinks, the eyes' small jumps, faint movement. Functions of a seed and of absolute time.

Because the same seed and time always give the same value, tracks made piece by piece fit together.

Sources: blinks 15-20 a minute at rest, closing faster than opening (Bentivoglio et al. 1997; Caffier et al. 2003);
small saccades on a partner's face a few times a second (Lee, Badler and Badler 2002).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["blink_curve", "blink_times", "drift", "saccades"]

_BLINK_SLOT_S, _BLINK_CHANCE, _DOUBLE_CHANCE = 3.5, 0.92, 0.08
_CLOSING_S, _CLOSED_S, _OPENING_S = 0.07, 0.045, 0.15
_SACCADE_SLOT_S = 0.8


def _random(seed: int, kind: int, slots: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """(len(slots), count) uniform numbers that depend on seed, kind and slot alone."""
    rows = [np.random.default_rng((seed & 0xFFFFFFFF, kind, int(s) & 0xFFFFFFFF)).random(count) for s in slots]
    return np.array(rows).reshape(len(slots), count)


def _slots(start_s: float, end_s: float, length_s: float) -> NDArray[np.int64]:
    return np.arange(int(np.floor(start_s / length_s)) - 1, int(np.floor(end_s / length_s)) + 2)


def blink_times(start_s: float, end_s: float, seed: int) -> list[float]:
    """When blinks begin between two times, about 17 a minute and never regular."""
    slots = _slots(start_s, end_s, _BLINK_SLOT_S)
    times = []
    for slot, (chance, place, double) in zip(slots, _random(seed, 1, slots, 3), strict=True):
        if chance < _BLINK_CHANCE:
            at = (slot + 0.1 + 0.8 * place) * _BLINK_SLOT_S
            times.append(at)
            if double < _DOUBLE_CHANCE:
                times.append(at + 0.4)
    return [t for t in times if start_s - 0.4 <= t < end_s]


def blink_curve(times: NDArray[np.float64], begins: list[float]) -> NDArray[np.float64]:
    """(T,) lid closure in [0, 1] at `times` (seconds) of blinks that begin at `begins`."""
    curve = np.zeros(len(times))
    for begin in begins:
        t = times - begin
        closing = np.clip(t / _CLOSING_S, 0, 1)
        opening = np.clip((t - _CLOSING_S - _CLOSED_S) / _OPENING_S, 0, 1)
        curve = np.maximum(curve, closing * closing * (3 - 2 * closing) * (1 - opening) ** 1.5)
    return curve


def saccades(times: NDArray[np.float64], seed: int, degrees: float = 2.2) -> NDArray[np.float64]:
    """(T, 2) small jumps of the eyes (left, up) in degrees around the point looked at; `degrees` is their spread."""
    slots = _slots(times[0], times[-1], _SACCADE_SLOT_S) if len(times) else np.zeros(0, np.int64)
    if not len(slots):
        return np.zeros((0, 2))
    values = _random(seed, 2, slots, 3)
    jumps = (slots + 0.7 * values[:, 2]) * _SACCADE_SLOT_S
    targets = (values[:, :2] * 2 - 1) * np.array([degrees, 0.6 * degrees])
    place = np.clip(np.searchsorted(jumps, times, side="right") - 1, 0, len(slots) - 1)
    done = np.clip((times - jumps[place]) / 0.045, 0, 1)[:, None]
    return targets[np.maximum(place - 1, 0)] * (1 - done) + targets[place] * done


def drift(times: NDArray[np.float64], seed: int, channels: int) -> NDArray[np.float64]:
    """(T, channels) slow noise of unit size: three octaves between 0.25 and 2 Hz with falling weight."""
    noise = np.zeros((len(times), channels))
    if not len(times):
        return noise
    for octave, (period_s, weight) in enumerate(((4.0, 0.6), (1.6, 0.3), (0.6, 0.12))):
        slots = _slots(times[0], times[-1] + period_s, period_s)
        values = _random(seed, 10 + octave, slots, channels) * 2 - 1
        at = times / period_s - slots[0]
        low = np.floor(at).astype(int)
        part = (at - low)[:, None]
        part = part * part * (3 - 2 * part)
        noise += weight * (values[low] * (1 - part) + values[np.minimum(low + 1, len(slots) - 1)] * part)
    return noise
