"""How the last seconds of speech sound: whether the melody says "I have finished" or "there is more".

Speakers lower their voice and let it die away at the end of what they have to say, or raise it in a question; where
they only search for a word the pitch stays level and the last syllable, or an "um", is drawn out (Duncan 1972; Gravano
and Hirschberg 2011; Skantze 2021). Seen are pitch, loudness and rhythm alone; words are the business of `completeness`.

A small convolutional network looks at a hundredth of a second at a time, because what tells an end from a pause is how
the last syllables move: summing them up in a few numbers first loses most of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visavis.speech.streamed import HEARING_HZ

__all__ = ["FRAMES", "HOP_S", "LONGEST_S", "SUMMARY", "TRACKS", "Ending", "ending_of", "probability_of_end"]

LONGEST_S = 4.0  # of the past that counts
HOP_S = 0.01
FRAMES = 256  # 2.56 s are looked at frame by frame
TRACKS = ("pitch", "periodicity", "voiced", "loudness", "change of timbre", "there is sound at all")
SUMMARY = (
    "length", "low pitch", "high pitch", "share of voiced sound", "voiced stretches", "the voice's pitch", "background",
)  # fmt: skip

_HOP = round(HOP_S * HEARING_HZ)
_WIDTH, _BINS, _BANDS = 400, 512, 14  # samples of a frame, of its spectrum, and bands of that
_LOW_HZ, _HIGH_HZ = 80.0, 7_000.0
_PITCH_HZ, _PITCH_WIDTH, _PITCH_BINS = HEARING_HZ // 2, 360, 768
_LAGS = (16, 115)  # 500 to 70 Hz
_VOICED, _VOICED_DB = 0.5, 25.0  # height of the autocorrelation, below the loud parts
_CHANGE, _CHANGE_DB = 4, 50.0  # frames between which timbre changes, and the softest that counts, below the loud parts

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Ending:
    """How a stretch of speech ends.

    tracks: (T, 6) float32, `TRACKS` of the last T frames up to the end, each in about [-2.5, 3]: pitch in half octaves
        from the speaker's median, held where there is none; loudness in units of 20 dB from the loud parts, change of
        10 dB.
    summary: (7,) float32, `SUMMARY` of at most `LONGEST_S`.
    """

    tracks: Array
    summary: Array


def ending_of(sound: Array, frames: int = FRAMES) -> Ending:
    """What the end of a stretch of speech is like.

    Args:
        sound: (N,) float32 at 16 kHz up to the last sound of the speech, at most the last `LONGEST_S` count.
        frames: how many of the tracks are wanted; where there are fewer, zeros come before them.
    """
    sound = sound[-round(LONGEST_S * HEARING_HZ) :].astype(np.float32)
    count = max(1, len(sound) // _HOP)
    sound = np.pad(sound, (max(0, _HOP - len(sound)), 0))[-count * _HOP :]
    bands, level = _spectrum(sound, count)
    pitch, height = _pitch(sound, count)
    loud = float(np.percentile(level, 90))
    voiced = (height > _VOICED) & (level > loud - _VOICED_DB)
    melody, low, high, middle = _melody(pitch, voiced)
    bands = np.maximum(bands, np.percentile(bands, 90, axis=0).mean() - _CHANGE_DB)
    change = np.zeros(count)
    change[_CHANGE:] = np.abs(bands[_CHANGE:] - bands[:-_CHANGE]).mean(axis=1)
    begins = np.diff(voiced.astype(int), prepend=0) == 1
    tracks = np.stack([
        2 * np.clip(melody, -1.5, 1.5), height, voiced, np.clip((level - loud) / 20, -2.5, 1),
        np.minimum(change / 10, 3), np.ones(count),
    ], axis=1)[-frames:]  # fmt: skip
    summary = [
        np.log(count * HOP_S + 0.1), 2 * low, 2 * high, voiced.mean(), begins.sum() / (5 * count * HOP_S), middle - 7.2,
        (np.percentile(level, 5) - loud) / 20,
    ]  # fmt: skip
    padded = np.pad(tracks, ((frames - len(tracks), 0), (0, 0)))
    return Ending(padded.astype(np.float32), np.array(summary, np.float32))


def _frames(sound: Array, count: int, width: int, hop: int) -> Array:
    """(count, width) pieces around the middle of each hop; the sound is mirrored at its ends."""
    mode = "reflect" if len(sound) > width else "constant"
    padded = np.pad(sound, (width // 2, width), mode=mode)  # type: ignore[call-overload]
    starts = np.arange(count) * hop + hop // 2
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, width)[starts])


@cache
def _filters() -> Array:
    """(_BANDS, bins) triangles of unit area, evenly apart on the mel scale."""
    low, high = 2595 * np.log10(1 + np.array([_LOW_HZ, _HIGH_HZ]) / 700)
    corners = 700 * (10 ** (np.linspace(low, high, _BANDS + 2) / 2595) - 1)
    hz = np.fft.rfftfreq(_BINS, 1 / HEARING_HZ)
    a, b, c = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rows = np.maximum(np.minimum((hz - a) / (b - a), (c - hz) / (c - b)), 0)
    return np.asarray(rows / rows.sum(axis=1, keepdims=True), np.float32)


def _spectrum(sound: Array, count: int) -> tuple[Array, Array]:
    """(count, _BANDS) and (count,) decibels: of the bands, and of the whole."""
    from scipy.fft import rfft  # single precision, unlike numpy's

    pieces = _frames(sound, count, _WIDTH, _HOP)
    spectrum = rfft(pieces * np.hanning(_WIDTH + 1)[:_WIDTH].astype(np.float32), _BINS, axis=1)
    bands = 10 * np.log10((spectrum.real**2 + spectrum.imag**2) @ _filters().T + 1e-7)
    return bands, 10 * np.log10((pieces**2).mean(axis=1) + 1e-9)


def _pitch(sound: Array, count: int) -> tuple[Array, Array]:
    """(count,) hertz, and how periodic the sound is, in [0, 1]: autocorrelation as in `visavis.speech.prosody`."""
    from scipy.fft import irfft, rfft

    low = sound[: len(sound) // 2 * 2].reshape(-1, 2).mean(axis=1)
    pieces = _frames(low, count, _PITCH_WIDTH, _HOP // 2)
    pieces = pieces - pieces.mean(axis=1, keepdims=True)
    window = np.hanning(_PITCH_WIDTH).astype(np.float32)
    spectrum = rfft(pieces * window, _PITCH_BINS, axis=1)
    correlation = irfft(spectrum.real**2 + spectrum.imag**2, _PITCH_BINS, axis=1)[:, :_PITCH_WIDTH]
    shape = irfft(np.abs(rfft(window, _PITCH_BINS)) ** 2, _PITCH_BINS)[:_PITCH_WIDTH]
    correlation /= np.maximum(correlation[:, :1], 1e-9) * (shape / shape[0])
    lags = np.arange(*_LAGS)
    left, mid, right = (correlation[:, lags[1:-1] + d] for d in (-1, 0, 1))
    bend = np.minimum(left - 2 * mid + right, -1e-9)
    tops = np.where((mid >= left) & (mid > right), mid - (left - right) ** 2 / (8 * bend), -1.0)
    # an octave too low fits as well as the true period: a small cost for long lags decides
    best = (tops - 0.03 * np.log2(lags[1:-1] / _LAGS[0])).argmax(axis=1)
    rows = np.arange(count)
    shift = np.clip(0.5 * ((left - right) / bend)[rows, best], -0.5, 0.5)
    return _PITCH_HZ / (lags[best + 1] + shift), np.clip(tops[rows, best], 0, 1)


def _melody(pitch: Array, voiced: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float, float, float]:
    """(T,) octaves from the median, their 10th and 90th percentile, and the median in octaves above 1 Hz."""
    if voiced.sum() < 6:
        return np.zeros(len(pitch)), 0.0, 0.0, 7.2
    values = np.log2(pitch[voiced].astype(np.float64))
    around = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(values, 4, mode="edge"), 9), axis=1)
    values = np.where(np.abs(values - around) > 0.5, around, values)  # jumps by an octave are mistakes
    middle = float(np.median(values))
    low, high = np.percentile(values - middle, [10, 90])
    return np.interp(np.arange(len(pitch)), np.flatnonzero(voiced), values) - middle, float(low), float(high), middle


@cache
def _model() -> dict[str, Array]:
    from safetensors.numpy import load_file

    raw = load_file(Path(__file__).parent / "data" / "ending.safetensors")
    return {name: value.astype(np.float32) for name, value in raw.items()}


def probability_of_end(ending: Ending) -> float:
    """That a turn is over after such an ending, in [0, 1], where half of the silences are ends.

    Trained on synthetic speech (`python -m visavis.evals.turn_taking --fit`).
    """
    model = _model()
    x = ending.tracks[-FRAMES:].T  # (6, 256)
    layer = 0
    while f"conv{layer}.weight" in model:
        weight = model[f"conv{layer}.weight"]  # (D, C, 5): every second place
        padded = np.pad(x, ((0, 0), (2, 2)))
        columns = np.lib.stride_tricks.sliding_window_view(padded, 5, axis=1)[:, ::2]  # (C, T / 2, 5)
        x = np.maximum(
            np.einsum("dck,ctk->dt", weight, columns, optimize=True) + model[f"conv{layer}.bias"][:, None], 0
        )
        layer += 1
    summary = (ending.summary - model["mean"]) / model["scale"]
    hidden = model["hidden.weight"] @ np.concatenate([x.ravel(), summary]) + model["hidden.bias"]
    odds = float(model["out.weight"][0] @ np.maximum(hidden, 0) + model["out.bias"][0])
    return float(0.5 + 0.5 * np.tanh(0.5 * odds))
