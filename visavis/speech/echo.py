"""What is left of a microphone's sound when our own voice, coming back through the room, is taken out.

What we play is known; how late (up to 0.3 s), how loud and through what room it comes back is not. Every frequency
from 90 to 4,000 Hz has a filter of 24 steps of 16 ms that is learnt while we speak, by a Kalman filter whose
measurement noise is what the filter does not explain, so that somebody who speaks at the same time hardly changes it
(Enzner and Vary 2006, with full covariances over the steps). What it takes out is 5 dB at once and 11 dB after two
seconds in the scenes of `visavis.evals.turn_taking`: enough to decide who speaks, not to listen to.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visavis.speech.streamed import HEARING_HZ, Resampler, checked_pcm

__all__ = ["DELAY_S", "HOP", "EchoRemover", "Played"]

HOP = 256  # samples at 16 kHz
WIDTH = 2 * HOP
DELAY_S = HOP / HEARING_HZ  # of the result behind the microphone
STEPS = 24  # 0.38 s: the longest lag and a room's first reflections
_LOW, _HIGH = 3, 129  # bins: 94 to 4,000 Hz
_WINDOW = np.sqrt(np.hanning(WIDTH + 1)[:WIDTH]).astype(np.float32)
_SILENT = 1e-3  # power of the spectra of what counts as nothing played
_FIRST_VARIANCE = 5e-3  # of a step of the filter before anything was heard: a loud echo
_WANDER = 1e-6  # how much a room changes in 16 ms
_NOISE, _NOISE_KEEPS = 1e-2, 0.9  # first power of what is not explained, and how slowly it follows

Samples = NDArray[np.float32]
_Spectrum = NDArray[np.complex64]


class Played:
    """Our own voice on the microphone's clock: what has been, is and will be played, at 16 kHz."""

    KEPT_S, AHEAD_S = 1.0, 120.0

    def __init__(self) -> None:
        self._first = 0  # sample index of the first kept sample
        self._samples: Samples = np.zeros(0, np.float32)

    def add(self, pcm: NDArray[np.generic], at_s: float, sample_rate_hz: int, now: int) -> None:
        """Something is played from `at_s`; what lies more than two minutes after sample `now` is not kept."""
        resampler = Resampler(sample_rate_hz)
        sound = checked_pcm(pcm, sample_rate_hz)
        rest = np.zeros(round(0.01 * sample_rate_hz), np.float32)
        new = np.concatenate([resampler.feed(sound), resampler.feed(rest)])
        begin = round(at_s * HEARING_HZ)
        if begin < self._first:  # already forgotten
            new, begin = new[self._first - begin :], self._first
        new = new[: max(0, now + round(self.AHEAD_S * HEARING_HZ) - begin)]
        need = begin + len(new) - self._first - len(self._samples)
        if need > 0:
            self._samples = np.concatenate([self._samples, np.zeros(need, np.float32)])
        at = begin - self._first
        self._samples[at : at + len(new)] += new

    def stop(self, sample: int) -> None:
        """Nothing is played from this sample on."""
        self._samples = self._samples[: max(0, sample - self._first)]

    def take(self, first: int, count: int) -> Samples:
        """Samples `first` to `first + count - 1`; earlier ones than a second before are forgotten."""
        out = np.zeros(count, np.float32)
        a, b = max(first, self._first), min(first + count, self._first + len(self._samples))
        if b > a:
            out[a - first : b - first] = self._samples[a - self._first : b - self._first]
        drop = first - round(self.KEPT_S * HEARING_HZ) - self._first
        if drop > 0:
            self._samples = self._samples[drop:]
            self._first += drop
        return out

    def sounds(self, first: int, end: int) -> bool:
        """Whether anything but silence is played from sample `first` to before `end`."""
        part = self._samples[max(0, first - self._first) : max(0, end - self._first)]
        return bool(len(part)) and bool(np.any(np.abs(part) > 1e-4))


class EchoRemover:
    """Hop by hop of 256 samples: microphone and what is played in, the microphone without our voice out.

    left, ours, unsure: power in the last hop of what was left, of what was taken out, and of what our voice may still
        be in what was left, as far as the filter knows its own uncertainty; in the band that is looked at.
    """

    def __init__(self) -> None:
        bins = _HIGH - _LOW
        self._mic: Samples = np.zeros(HOP, np.float32)
        self._played: Samples = np.zeros(HOP, np.float32)
        self._half: Samples = np.zeros(HOP, np.float32)
        self._past: _Spectrum = np.zeros((bins, STEPS), np.complex64)  # what was played, the latest first
        self._filter: _Spectrum = np.zeros((bins, STEPS), np.complex64)
        self._spread: _Spectrum = np.tile(np.eye(STEPS, dtype=np.complex64) * np.float32(_FIRST_VARIANCE), (bins, 1, 1))
        self._noise: Samples = np.full(bins, _NOISE, np.float32)
        self.left = self.ours = self.unsure = 0.0

    def feed(self, mic: Samples, played: Samples) -> Samples:
        """The (256,) samples before this hop, without our voice.

        Args:
            mic: (256,) the next samples of the microphone.
            played: (256,) what is played meanwhile.
        """
        spectrum = np.fft.rfft(np.concatenate([self._mic, mic]) * _WINDOW)
        ours = np.fft.rfft(np.concatenate([self._played, played]) * _WINDOW)[_LOW:_HIGH, None].astype(np.complex64)
        self._mic, self._played = mic, played
        self._past = np.concatenate([ours, self._past[:, :-1]], axis=1)
        heard = spectrum[_LOW:_HIGH].astype(np.complex64)
        echo = np.zeros_like(heard)
        self.unsure = 0.0
        if float((np.abs(self._past) ** 2).sum(axis=0).max()) > _SILENT:
            echo = self._learn(heard)
            whole = float((np.abs(heard) ** 2).sum())
            share = float((np.abs(heard - echo) ** 2).sum()) / (whole + 1e-9)
            spectrum[_LOW:_HIGH] -= echo
            spectrum[_HIGH:] *= min(1.0, share**0.5)  # above the band nothing is learnt
        self.left = float((np.abs(heard - echo) ** 2).sum())
        self.ours = float((np.abs(echo) ** 2).sum())
        sound = np.fft.irfft(spectrum, WIDTH).astype(np.float32) * _WINDOW
        out = self._half + sound[:HOP]
        self._half = sound[HOP:]
        return out

    def _learn(self, heard: _Spectrum) -> _Spectrum:
        """Predict the echo in (bins,) what was heard, then correct the filter by what it missed."""
        past = self._past
        echo: _Spectrum = (self._filter * past).sum(axis=1)
        missed = heard - echo
        seen = np.einsum("nij,nj->ni", self._spread, past.conj())
        self._noise = _NOISE_KEEPS * self._noise + np.float32(1 - _NOISE_KEEPS) * np.abs(missed) ** 2
        variance = np.einsum("ni,ni->n", past, seen).real
        self.unsure = float(variance.sum())
        gain = seen / (variance + self._noise + np.float32(1e-6))[:, None]
        self._filter = self._filter + gain * missed[:, None]
        self._spread = self._spread - gain[:, :, None] * seen.conj()[:, None, :]
        self._spread[:, np.arange(STEPS), np.arange(STEPS)] += np.float32(_WANDER)
        return echo
