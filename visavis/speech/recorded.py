"""A recording as `Speech`: somebody's own voice instead of a synthetic one.

With a transcript the words are aligned with the sound (`visavis.speech.align`); without one nothing is recognised, and
rhythm alone is kept: where it is audible, which syllables are stressed, what the mouth seems to do
(`visavis.speech.heard`). `Speech.voice` says which it was.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from visavis.errors import FileFormatError
from visavis.speech.align import ALIGNED, ESTIMATED, align
from visavis.speech.heard import audible, heard_phonemes, syllables
from visavis.speech.types import Speech, Word
from visavis.speech.wav import read_wav, resample

__all__ = ["RHYTHM", "Recorded", "clauses_of", "read_recording", "recorded_speech", "rhythm_of"]

RHYTHM = "rhythm"  # `Speech.voice` of a recording without a transcript

LONGEST_S = 600.0
SHORTEST_S = 0.2
HIGHEST_HZ = 48_000
_FASTEST, _SLOWEST = 9.0, 0.6  # words a second of audible sound that a transcript may have

_PAUSE_S = 0.3  # ends a clause whatever the words say
_LEAD_S = 0.15  # a clause begins so long before its first sound
_LONGEST_WORDS, _LONGEST_HEARD_S = 18, 6.0
_SENTENCE_END = re.compile(r"[.!?;:…][\"'”’)\]]*$")
_ABBREVIATION = re.compile(r"(?:[A-Z]\.)+|(?:Mr|Mrs|Ms|Dr|St)\.")
_PHRASE_END = re.compile(r"[.,;:!?…—–][\"'”’)\]]*$")


@dataclass(frozen=True, eq=False)
class Recorded:
    """One clause of a recording: its part of the sound, which begins at `start_s` of the whole.

    rhythm: the words with their phrases' ends marked, or the syllables that are heard where there are no words; on
    the clock of `speech`.
    """

    start_s: float
    speech: Speech
    rhythm: tuple[Word, ...]


def read_recording(path: str | os.PathLike[str]) -> tuple[NDArray[np.int16], int]:
    """Read a recording as mono (N,) int16 samples and their rate, at most 48 kHz.

    Args:
        path: a wav file of any rate and number of channels, 8 to 32 bit integer or 32, 64 bit float.

    Raises:
        FileFormatError: no such file, not a wav file, shorter than 0.2 s, longer than 10 minutes, or silent.
    """
    samples, rate_hz = read_wav(path)
    checked_samples(samples, rate_hz, os.fspath(path))
    if rate_hz > HIGHEST_HZ:
        return resample(samples, rate_hz, HIGHEST_HZ), HIGHEST_HZ
    return samples, rate_hz


def checked_samples(samples: NDArray[np.int16], rate_hz: int, name: str = "the recording") -> None:
    """Refuse a recording that cannot be spoken with.

    Raises:
        FileFormatError: shorter than 0.2 s, longer than 10 minutes, or silent.
    """
    length_s = len(samples) / rate_hz
    if length_s < SHORTEST_S:
        raise FileFormatError(f"expected a recording of at least {SHORTEST_S} s; {name} has {length_s:.2f} s")
    if length_s > LONGEST_S:
        raise FileFormatError(
            f"expected a recording of at most {LONGEST_S / 60:.0f} minutes; {name} has {length_s / 60:.1f}: cut it"
        )
    if not np.any(samples):
        raise FileFormatError(f"expected a recording of speech; {name} is silent from start to end")


def recorded_speech(
    samples: NDArray[np.int16], rate_hz: int, transcript: str | None = None
) -> tuple[Speech, tuple[str, ...]]:
    """What is said in (N,) int16 samples, and what could not be done as well as asked (one line each).

    Args:
        samples: mono.
        rate_hz: their rate.
        transcript: what is said, in English; None for rhythm alone: no words, phonemes by ear.

    Returns:
        `Speech` whose `voice` is "aligned", "estimated" (the transcript could not be aligned, times are shared out) or
        "rhythm"; the lines for `Turn.record.degraded`.
    """
    if transcript is None:
        return Speech("", samples, rate_hz, (), heard_phonemes(samples, rate_hz), RHYTHM), ()
    speech = align(samples, rate_hz, transcript)
    lines = []
    if speech.voice != ALIGNED:
        lines.append(
            "recording: the transcript could not be aligned (is pocketsphinx installed, by the extra `speech`, and "
            "does the transcript hold what is said?); word times are estimated"
        )
    sounding_s = sum(b - a for a, b in audible(samples, rate_hz))
    pace = len(speech.words) / max(sounding_s, 0.1)
    if not _SLOWEST <= pace <= _FASTEST:
        lines.append(
            f"recording: {len(speech.words)} words in {sounding_s:.1f} s of sound are too "
            f"{'many' if pace > _FASTEST else 'few'} to be all that is said; word times are unsure"
        )
    assert speech.voice in (ALIGNED, ESTIMATED)
    return speech, tuple(lines)


def clauses_of(speech: Speech) -> list[Recorded]:
    """Cut a recording into clauses; their sounds joined are the whole recording, to the sample.

    Clauses end where a sentence does, at pauses, and at the longest gap between words before they grow too long.
    """
    groups = _word_groups(speech.words) if speech.words else _heard_groups(speech)
    rate_hz = speech.sample_rate_hz
    borders = [0]
    for (_, end_s, _), (start_s, _, _) in zip(groups[:-1], groups[1:], strict=True):
        at = max(start_s - _LEAD_S, 0.5 * (start_s + end_s))
        borders.append(max(round(at * rate_hz), borders[-1]))
    borders.append(len(speech.samples))
    return [
        _cut(speech, words, first, last)
        for (_, _, words), first, last in zip(groups, borders[:-1], borders[1:], strict=True)
    ]


_Group = tuple[float, float, tuple[Word, ...]]  # begin and end of what sounds, and its words


def _word_groups(words: tuple[Word, ...]) -> list[_Group]:
    groups: list[list[Word]] = []
    current: list[Word] = []
    for i, word in enumerate(words):
        current.append(word)
        gap = words[i + 1].start_s - word.end_s if i + 1 < len(words) else 0.0
        ends = _SENTENCE_END.search(word.text) and not _ABBREVIATION.fullmatch(word.text)
        if ends or gap >= _PAUSE_S:
            groups += _short_enough(current)
            current = []
    groups += _short_enough(current) if current else []
    joined: list[list[Word]] = []
    for group in groups:
        near = bool(joined) and group[0].start_s - joined[-1][-1].end_s < 2 * _PAUSE_S
        if near and len(joined[-1]) <= 2 and len(joined[-1]) + len(group) <= _LONGEST_WORDS:
            joined[-1] += group
        else:
            joined.append(group)
    return [(group[0].start_s, group[-1].end_s, tuple(group)) for group in joined]


def _short_enough(words: list[Word]) -> list[list[Word]]:
    """Halve at the widest gap, a comma counting as 0.3 s, until no piece is too long."""
    if len(words) <= _LONGEST_WORDS:
        return [words]
    low, high = len(words) // 4, len(words) - len(words) // 4

    def gap(i: int) -> float:
        return words[i].start_s - words[i - 1].end_s + 0.3 * bool(_PHRASE_END.search(words[i - 1].text))

    at = max(range(low, high), key=gap)
    return _short_enough(words[:at]) + _short_enough(words[at:])


def _heard_groups(speech: Speech) -> list[_Group]:
    """Audible stretches, those that are near each other joined while they are short."""
    groups: list[tuple[float, float]] = []
    for start_s, end_s in audible(speech.samples, speech.sample_rate_hz):
        if groups and start_s - groups[-1][1] < _PAUSE_S and end_s - groups[-1][0] < _LONGEST_HEARD_S:
            groups[-1] = (groups[-1][0], end_s)
        else:
            groups.append((start_s, end_s))
    return [(a, b, ()) for a, b in groups] or [(0.0, speech.duration_s, ())]


def _cut(speech: Speech, words: tuple[Word, ...], first: int, last: int) -> Recorded:
    """The clause of these words and samples first..last-1."""
    start_s, end_s = first / speech.sample_rate_hz, last / speech.sample_rate_hz
    begin = words[0].char_start if words else 0
    text = speech.text[begin : words[-1].char_end] if words else ""
    mine = tuple(
        replace(
            w,
            start_s=w.start_s - start_s,
            end_s=w.end_s - start_s,
            stress_s=w.stress_s - start_s,
            char_start=w.char_start - begin,
            char_end=w.char_end - begin,
        )
        for w in words
    )
    phonemes = tuple(
        replace(p, start_s=max(p.start_s, start_s) - start_s, end_s=min(p.end_s, end_s) - start_s)
        for p in speech.phonemes
        if p.start_s < end_s and p.end_s > start_s
    )
    part = Speech(text, speech.samples[first:last], speech.sample_rate_hz, mine, phonemes, speech.voice)
    return Recorded(start_s, part, rhythm_of(part))


def rhythm_of(speech: Speech) -> tuple[Word, ...]:
    """The words, with a comma after each that a pause follows, or the syllables of a speech without words."""
    if not speech.words:
        return syllables(speech)
    words = list(speech.words)
    for i, word in enumerate(words):
        after = words[i + 1].start_s if i + 1 < len(words) else speech.duration_s
        if after - word.end_s >= 0.5 * _PAUSE_S and not _PHRASE_END.search(word.text):
            words[i] = replace(word, text=word.text + ",")
    return tuple(words)
