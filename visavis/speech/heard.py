"""What can be heard in a recording without knowing its words: pauses, syllables and rough shapes of the mouth.

Sounds are told apart by loudness and by where in the spectrum the energy lies: hissing sounds (energy above 3.5 kHz),
vowels by the first two formant regions relative to the speaker's own means (Peterson and Barney 1952), weak voiced
stretches as consonants. Lips that close cannot be heard apart from a closing tongue, so no lips are closed on a guess.
No word is recognised here.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visavis import safe_yaml
from visavis.speech.prosody import stresses
from visavis.speech.types import Phoneme, Speech, Word
from visavis.speech.wav import resample

__all__ = ["audible", "heard_phonemes", "syllables"]

_RATE_HZ = 16_000
_FPS = 100
_FLOOR_DB = 32.0  # below the loud parts counts as silence
_CLOSURE_S = 0.12  # shorter silences are closures inside words
_SHORTEST_S = 0.04
_HISS_HZ, _HISS_DB = 3_500, 3.0
_WEAK_DB = 15.0  # a voiced stretch so far below the loud vowels is a consonant


@cache
def _table() -> dict[str, list[list[str]] | str]:
    data: dict[str, list[list[str]] | str] = safe_yaml.load(
        (Path(__file__).parent / "data" / "heard.yaml").read_text("utf8")
    )
    return data


def _spectra(samples: NDArray[np.int16], rate_hz: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(T, F) power at 100 frames a second, frame k centred at k / 100 s, and the (F,) frequencies in hertz."""
    low = resample(samples, rate_hz, _RATE_HZ).astype(np.float32) / np.float32(32768)
    width, hop = _RATE_HZ // 40, _RATE_HZ // _FPS
    padded = np.pad(low, (width // 2, width))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, width)[: len(low) + 1 : hop]
    power = np.abs(np.fft.rfft(pieces * np.hanning(width).astype(np.float32), axis=1)) ** 2
    return power.astype(np.float64), np.fft.rfftfreq(width, 1 / _RATE_HZ).astype(np.float64)


def _decibels(power: NDArray[np.float64]) -> NDArray[np.float64]:
    return 10 * np.log10(power + 1e-9)


def _runs(values: NDArray[np.integer] | NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """(start, end, value) of the runs of equal values."""
    borders = np.concatenate([[0], np.flatnonzero(np.diff(values.astype(np.int64))) + 1, [len(values)]])
    return [(int(a), int(b), int(values[a])) for a, b in zip(borders[:-1], borders[1:], strict=True) if b > a]


def _loud(power: NDArray[np.float64], frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T,) level in decibels below the loud parts (95th percentile); hum under 100 Hz does not count."""
    level = _decibels(power[:, frequencies > 100].mean(axis=1))
    return level - np.percentile(level, 95)


def audible(samples: NDArray[np.int16], rate_hz: int) -> list[tuple[float, float]]:
    """The stretches of (N,) samples in which something sounds, in seconds; closures inside words do not break them."""
    if not len(samples) or not np.any(samples):
        return []
    power, frequencies = _spectra(samples, rate_hz)
    return [(a / _FPS, min(b / _FPS, len(samples) / rate_hz)) for a, b in _stretches(_loud(power, frequencies))]


def _stretches(level: NDArray[np.float64]) -> list[tuple[int, int]]:
    """The same in frames. In a noisy recording the noise floor, not silence, is what must be exceeded."""
    floor = max(-_FLOOR_DB, min(float(np.percentile(level, 5)) + 6, -6.0))
    on = level > floor
    for a, b, value in _runs(on):
        if not value and a > 0 and b < len(on) and b - a <= _CLOSURE_S * _FPS:
            on[a:b] = True
    for a, b, value in _runs(on):
        if value and b - a < _SHORTEST_S * _FPS:
            on[a:b] = False
    return [(a, b) for a, b, value in _runs(on) if value]


def heard_phonemes(samples: NDArray[np.int16], rate_hz: int) -> tuple[Phoneme, ...]:
    """What the mouth seems to do in (N,) samples, as phonemes in order of time, pauses ("") between.

    Symbols are those of `data/heard.yaml`, one for each kind of sound that can be told apart; none has stress.
    """
    if not len(samples) or not np.any(samples):
        return ()
    power, frequencies = _spectra(samples, rate_hz)
    level = _loud(power, frequencies)
    stretches = _stretches(level)
    kinds = _kinds(power, frequencies, level)
    symbols = _symbols()
    duration_s = len(samples) / rate_hz
    found: list[Phoneme] = []

    def add(symbol: str, start_s: float, end_s: float) -> None:
        if end_s > start_s:
            found.append(Phoneme(symbol, start_s, min(end_s, duration_s)))

    at = 0.0
    for first, end in stretches:
        add("", at, first / _FPS)
        for a, b, kind in _joined(kinds[first:end]):
            add(symbols[kind], (first + a) / _FPS, min((first + b) / _FPS, duration_s))
        at = end / _FPS
    add("", at, duration_s)
    return tuple(found)


def _symbols() -> list[str]:
    """Symbol of each kind: hiss, weak, then the vowels row by row (open to close, back to front)."""
    table = _table()
    return [str(table["hiss"]), str(table["weak"]), *(symbol for row in table["vowels"] for symbol in row)]


def _kinds(
    power: NDArray[np.float64], frequencies: NDArray[np.float64], level: NDArray[np.float64]
) -> NDArray[np.int64]:
    """(T,) an index into `_symbols` for every frame."""

    def band(low_hz: float, high_hz: float) -> NDArray[np.bool_]:
        return (frequencies >= low_hz) & (frequencies < high_hz)

    hiss = _decibels(power[:, band(_HISS_HZ, 8_000)].sum(axis=1))
    voice = _decibels(power[:, band(150, 2_800)].sum(axis=1))
    strong = level > -_WEAK_DB
    # An open mouth is both: a high first formant, and loud where open vowels are.
    wide = _decibels(power[:, band(500, 1_200)].mean(axis=1))
    wide = (wide - wide[strong].mean()) / max(float(wide[strong].std()), 1.0) if strong.any() else np.zeros(len(wide))
    opened = 0.5 * _place(power, frequencies, band(250, 1_000), strong) + 0.7 * wide
    front = _place(power, frequencies, band(900, 2_800), strong)
    rows = _table()["vowels"]
    row = np.clip((opened + 1.5) / 3 * len(rows), 0, len(rows) - 1).astype(np.int64)
    column = np.clip((front + 1.5) / 3 * len(rows[0]), 0, len(rows[0]) - 1).astype(np.int64)
    kinds = 2 + row * len(rows[0]) + column
    kinds[~strong] = 1
    kinds[hiss > voice + _HISS_DB] = 0
    return kinds


def _place(
    power: NDArray[np.float64],
    frequencies: NDArray[np.float64],
    band: NDArray[np.bool_],
    strong: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """(T,) centre of the energy of a band, in standard deviations from the speaker's mean over loud frames."""
    weight = np.sqrt(power[:, band]) + 1e-9
    centre = (weight * frequencies[band]).sum(axis=1) / weight.sum(axis=1)
    centre = np.convolve(np.pad(centre, 2, mode="edge"), np.ones(5) / 5, mode="valid")
    mine = centre[strong] if strong.any() else centre
    return np.asarray((centre - mine.mean()) / max(float(mine.std()), 1.0))


def _joined(kinds: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """The runs of a stretch, those too short for a sound given to the one before."""
    out: list[tuple[int, int, int]] = []
    for a, b, kind in _runs(kinds):
        if out and (b - a < _SHORTEST_S * _FPS or out[-1][2] == kind):
            out[-1] = (out[-1][0], b, out[-1][2])
        elif out and out[-1][1] - out[-1][0] < _SHORTEST_S * _FPS:
            out[-1] = (out[-1][0], b, kind)
        else:
            out.append((a, b, kind))
    return out


def syllables(speech: Speech) -> tuple[Word, ...]:
    """The rhythm of a speech without words: audible stretches cut before each stressed syllable, as words without text.

    A piece that ends before a pause has the text "," as the end of a phrase has.
    """
    heard = stresses(speech)
    found: list[Word] = []
    for start_s, end_s in audible(speech.samples, speech.sample_rate_hz):
        inside = [(float(at), float(s)) for at, s in heard if start_s <= at < end_s]
        borders = [start_s, *(max(start_s, at - 0.05) for at, _ in inside[1:]), end_s]
        for i, (a, b) in enumerate(zip(borders[:-1], borders[1:], strict=True)):
            at, stress = inside[i] if inside else (a, 0.0)
            found.append(Word("," if b == end_s else "", a, b, stress, at, 0, 0))
    return tuple(found)
