"""Sounds for the scenes: rooms, noises, coughs, clicks and doors, all synthesised, and cutting and stretching of
speech.

All are (N,) float32 at 16 kHz. None is a recording: a cough made of noise bursts is only as hard as it was made.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, sosfilt

__all__ = [
    "RATE_HZ", "click", "colored_noise", "cough", "door", "faded", "room", "sounding", "speech_level", "stretched",
    "typing",
]  # fmt: skip

RATE_HZ = 16_000
Samples = NDArray[np.float32]


def sounding(sound: Samples, below_db: float = 40.0) -> tuple[int, int]:
    """First sample and one past the last of what sounds (10 ms windows within `below_db` of the loudest)."""
    hop = RATE_HZ // 100
    rows = sound[: len(sound) // hop * hop].reshape(-1, hop)
    level = 10 * np.log10((rows.astype(np.float64) ** 2).mean(axis=1) + 1e-12)
    on = np.flatnonzero(level > level.max() - below_db)
    return int(on[0]) * hop, int(on[-1] + 1) * hop


def speech_level(sound: Samples) -> float:
    """Root mean square over what sounds."""
    hop = RATE_HZ // 50
    rows = sound[: len(sound) // hop * hop].reshape(-1, hop)
    power = (rows.astype(np.float64) ** 2).mean(axis=1)
    return float(np.sqrt(power[power > power.max() * 1e-3].mean()))


def faded(sound: Samples, begin: bool = True, end: bool = True, seconds: float = 0.008) -> Samples:
    """The same with soft edges."""
    n = min(int(seconds * RATE_HZ), len(sound) // 2)
    out = sound.copy()
    if n and begin:
        out[:n] *= np.linspace(0, 1, n, dtype=np.float32)
    if n and end:
        out[-n:] *= np.linspace(1, 0, n, dtype=np.float32)
    return out


def stretched(sound: Samples, factor: float) -> Samples:
    """Longer by a factor, pitch kept: overlap-add of the best fitting pieces (WSOLA, Verhelst and Roelands 1993)."""
    width, search = 512, 128
    hop = width // 2
    window = np.hanning(width + 1)[:width].astype(np.float32)
    count = max(1, int(len(sound) * factor) // hop)
    padded = np.pad(sound, (search, width * 2 + search))
    out = np.zeros(count * hop + width, np.float32)
    place = search
    for k in range(count):
        wanted = search + int(k * hop / factor)
        if k:
            natural = padded[place + hop : place + hop + width]
            options = np.lib.stride_tricks.sliding_window_view(
                padded[wanted - search : wanted + search + width], width
            )[::4]
            if len(natural) == width:
                wanted += 4 * int((options @ natural).argmax()) - search
        place = min(wanted, len(padded) - width)
        out[k * hop : k * hop + width] += window * padded[place : place + width]
    return out[: int(len(sound) * factor)]


def room(sound: Samples, rng: np.random.Generator, t60_s: float, direct_db: float) -> Samples:
    """Heard in a room: the direct sound and a decaying tail of noise `direct_db` below it; as long as before."""
    length = int(min(t60_s, 0.5) * RATE_HZ)
    tail = rng.normal(size=length) * 10 ** (-3 * np.arange(length) / (t60_s * RATE_HZ))
    tail[: RATE_HZ // 250] = 0
    response = tail * 10 ** (-direct_db / 20) / np.sqrt((tail**2).sum())
    response[0] = 1.0
    return fftconvolve(sound, response)[: len(sound)].astype(np.float32)


def colored_noise(samples: int, rng: np.random.Generator, slope: float) -> Samples:
    """Noise of unit power whose amplitude falls with frequency to the power of `slope` (0 white, 0.5 pink, 1 brown)."""
    spectrum = np.fft.rfft(rng.normal(size=samples))
    frequency = np.maximum(np.fft.rfftfreq(samples, 1 / RATE_HZ), 30.0)
    sound = np.fft.irfft(spectrum * frequency**-slope, samples)
    return (sound / np.sqrt((sound**2).mean())).astype(np.float32)


def _burst(rng: np.random.Generator, seconds: float, low_hz: float, high_hz: float, attack_s: float) -> Samples:
    n = int(seconds * RATE_HZ)
    band = butter(2, [low_hz, high_hz], "bandpass", fs=RATE_HZ, output="sos")
    t = np.arange(n) / RATE_HZ
    shape = np.minimum(t / attack_s, 1.0) * np.exp(-t * 5 / seconds)
    return (sosfilt(band, rng.normal(size=n)) * shape).astype(np.float32)


def _joined(parts: Sequence[Samples]) -> Samples:
    sound = np.concatenate(parts)
    return (sound / np.abs(sound).max()).astype(np.float32)


def cough(rng: np.random.Generator) -> Samples:
    """One to three explosive bursts, the last dying away with a little hoarse voice."""
    parts = []
    for _ in range(int(rng.integers(1, 4))):
        length = rng.uniform(0.14, 0.28)
        burst = _burst(rng, length, rng.uniform(250, 500), rng.uniform(2500, 5000), 0.008)
        burst += 0.6 * _burst(rng, length, 600, 1400, 0.008)
        if rng.random() < 0.5:
            t = np.arange(len(burst)) / RATE_HZ
            f0 = rng.uniform(110, 260) * (1 - 0.3 * t / length)
            voice = np.sign(np.sin(2 * np.pi * np.cumsum(f0) / RATE_HZ)) * np.exp(-t * 8 / length)
            burst += 0.25 * np.abs(burst).max() * (voice * (t > 0.05)).astype(np.float32)
        parts += [burst * rng.uniform(0.6, 1.0), np.zeros(int(rng.uniform(0.03, 0.15) * RATE_HZ), np.float32)]
    return _joined(parts)


def click(rng: np.random.Generator) -> Samples:
    """A mouse, a pen, a glass: a few ringing milliseconds."""
    n = int(0.06 * RATE_HZ)
    t = np.arange(n) / RATE_HZ
    sound = sum(
        rng.uniform(0.3, 1) * np.sin(2 * np.pi * rng.uniform(900, 6000) * t) * np.exp(-t / rng.uniform(0.001, 0.01))
        for _ in range(4)
    )
    return _joined([np.asarray(sound, np.float32)])


def typing(rng: np.random.Generator) -> Samples:
    """One to two seconds of keys."""
    parts: list[Samples] = []
    for _ in range(int(rng.integers(6, 14))):
        parts += [click(rng) * rng.uniform(0.3, 1.0), np.zeros(int(rng.uniform(0.03, 0.15) * RATE_HZ), np.float32)]
    return _joined(parts)


def door(rng: np.random.Generator) -> Samples:
    """A door slams: a low thump, and the frame rattles."""
    n = int(0.5 * RATE_HZ)
    t = np.arange(n) / RATE_HZ
    thump = np.sin(2 * np.pi * rng.uniform(50, 120) * t) * np.exp(-t / 0.08)
    rattle = _burst(rng, 0.5, 100, 2500, 0.004)
    return _joined([(thump + 1.5 * rattle / np.abs(rattle).max()).astype(np.float32)])
