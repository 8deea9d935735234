"""Sound that arrives in pieces: checked, brought to 16 kHz without a seam, whatever the rate and the pieces.

The filter is a windowed sinc whose phase is counted in whole numbers, so that hours of sound neither drift nor click
and the result does not depend on how the sound was cut into pieces. Memory is bounded by the piece and the filter.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from visavis.errors import UsageError

__all__ = ["HEARING_HZ", "MAX_PIECE_S", "Resampler", "checked_pcm"]

HEARING_HZ = 16_000
MAX_PIECE_S = 60.0  # of one call: longer sound is fed in pieces
_RATES_HZ = (4_000, 384_000)
_ZERO_CROSSINGS = 16  # of the sinc on each side, at the lower of the two rates
_PASS = 0.94  # of the lower Nyquist frequency
_KAISER_BETA = 8.0  # about 80 dB of stop band

Samples = NDArray[np.float32]


def checked_pcm(pcm: NDArray[np.generic], sample_rate_hz: int) -> Samples:
    """Refuse what is not mono sound, and give it as float32 in [-1, 1].

    Args:
        pcm: (N,) int16, or float32 or float64 in [-1, 1].
        sample_rate_hz: 4,000 to 384,000.

    Raises:
        UsageError: another shape or type, values that are not numbers, a rate that no microphone has, or a piece
            longer than a minute.
    """
    array = np.asarray(pcm)
    rate = sample_rate_hz
    if isinstance(rate, bool) or not isinstance(rate, int) or not _RATES_HZ[0] <= rate <= _RATES_HZ[1]:
        raise UsageError(f"expected a sample rate of {_RATES_HZ[0]} to {_RATES_HZ[1]} Hz, got {sample_rate_hz!r}")
    if array.ndim != 1:
        raise UsageError(f"expected mono sound of shape (N,), got {array.shape}: average the channels first")
    if len(array) > MAX_PIECE_S * rate:
        raise UsageError(f"expected at most {MAX_PIECE_S:.0f} s of sound in one piece, got {len(array) / rate:.1f} s")
    if array.dtype == np.int16:
        return array.astype(np.float32) / np.float32(32768)
    if array.dtype in (np.float32, np.float64):
        if not np.all(np.isfinite(array)):
            raise UsageError("expected sound of finite numbers, got NaN or infinity")
        return np.clip(array, -1.0, 1.0).astype(np.float32)
    raise UsageError(f"expected int16 samples, or floats in [-1, 1]; got {array.dtype}")


@lru_cache(maxsize=8)
def _filters(up: int, down: int) -> Samples:
    """(up, taps) the low-pass of each phase; taps run over the input, from the oldest."""
    cutoff = _PASS * min(1.0, up / down)  # of the input's Nyquist frequency
    half = math.ceil(_ZERO_CROSSINGS / cutoff)
    phase = np.arange(up)[:, None] / up
    at = np.arange(-half + 1, half + 1)[None, :] - phase  # in input samples, from the output's place
    window = np.i0(_KAISER_BETA * np.sqrt(np.maximum(1 - (at / half) ** 2, 0.0))) / np.i0(_KAISER_BETA)
    taps = cutoff * np.sinc(cutoff * at) * window
    return (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)


class Resampler:
    """Brings a stream to 16 kHz; output sample n lies at n / 16,000 s of the input's clock.

    The last output waits for half a filter of input (1 to 3 ms). At 16 kHz the samples pass unchanged.
    """

    def __init__(self, from_hz: int, to_hz: int = HEARING_HZ) -> None:
        common = math.gcd(from_hz, to_hz)
        self.from_hz, self.to_hz = from_hz, to_hz
        self._up, self._down = to_hz // common, from_hz // common
        self._half = 0 if from_hz == to_hz else _filters(self._up, self._down).shape[1] // 2
        # half a filter of silence before the first sample
        self._kept: Samples = np.zeros(max(self._half - 1, 0), np.float32)
        self._phase = 0  # of the next output, in 1 / up input samples from the first kept sample's place

    def feed(self, samples: Samples) -> Samples:
        """The (M,) float32 samples at `to_hz` that are complete after (N,) float32 more of the input."""
        if self._half == 0:
            return samples.astype(np.float32)
        kept = np.concatenate([self._kept, samples.astype(np.float32)])
        filters = _filters(self._up, self._down)
        taps = filters.shape[1]
        # outputs whose last tap lies inside what is kept
        last = (len(kept) - taps) * self._up + self._up - 1
        count = max(0, (last - self._phase) // self._down + 1) if len(kept) >= taps else 0
        place = self._phase + self._down * np.arange(count, dtype=np.int64)
        starts, phases = place // self._up, place % self._up
        out = np.empty(count, np.float32)
        if count:
            windows = np.lib.stride_tricks.sliding_window_view(kept, taps)
            for a in range(0, count, 4_096):
                b = a + 4_096
                out[a:b] = np.einsum("nt,nt->n", windows[starts[a:b]], filters[phases[a:b]])
        after = self._phase + self._down * count
        drop = min(after // self._up, len(kept))
        self._kept, self._phase = kept[drop:], after - drop * self._up
        return out
