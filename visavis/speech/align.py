"""When each word of a recording is said: forced alignment of a waveform with its transcript.

By pocketsphinx and the small English model in its wheel (extra `speech`); where that is not installed or does not find
a way through, times are shared out over the audible parts in proportion to the silent voice's estimate, and
`Speech.voice` says so ("aligned" or "estimated"). Open recognition is not attempted here.

Settings measured on read speech: padding of 200 ms, dither of 10 least significant bits, wide beams; without them two
of three sentences fail. Word onsets come 20 ms early and are moved. The level is made equal first, or the dither
drowns a quiet recording. The search for phonemes takes memory in the square of the length (7 GB for 8 minutes), so a
long recording is cut at pauses that the search for words has found. What cannot be aligned for noise is tried without
pruning while it is short.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visavis import safe_yaml
from visavis.errors import TextError
from visavis.speech.letters import pronounce, read_number
from visavis.speech.silent import estimate
from visavis.speech.types import Phoneme, Speech
from visavis.speech.wav import resample
from visavis.speech.words import Sound, assemble, is_spoken, is_vowel, speakable, split_words

__all__ = ["ALIGNED", "ESTIMATED", "align", "learn_word"]

ALIGNED, ESTIMATED = "aligned", "estimated"
_RATE_HZ = 16_000
_FRAME_S = 0.01
_PAD_S = 0.2
_DITHER = 10.0
_EARLY_S = 0.02
_LONGEST_S = 600.0
_PIECE_S = (20.0, 40.0)  # a long recording is cut into pieces of such lengths
_UNPRUNED_S = 90.0  # the search without pruning is tried up to this length
_LOUD = 16_000.0

_log = logging.getLogger(__name__)


def align(samples: NDArray[np.int16], rate_hz: int, transcript: str) -> Speech:
    """Align (N,) int16 samples with what is said in them.

    Raises:
        TextError: the transcript has no words.
    """
    if not transcript.strip():
        raise TextError("expected a transcript with at least one word, got none")
    sounds = _aligned(samples, rate_hz, transcript)
    how = ALIGNED
    if sounds is None:
        sounds, how = _proportional(samples, rate_hz, transcript), ESTIMATED
    return assemble(transcript, sounds, samples, rate_hz, how)


@cache
def _table() -> dict[str, dict[str, str]]:
    data: dict[str, dict[str, str]] = safe_yaml.load(
        (Path(__file__).parent / "data" / "arpabet.yaml").read_text("utf8")
    )
    return data


@lru_cache(maxsize=2)
def _decoder(pruned: bool = True) -> Any:
    """A decoder with the wheel's English model, or None when pocketsphinx is not installed."""
    try:
        from pocketsphinx import Decoder
    except ImportError:
        return None
    beam, word_beam = (1e-64, 1e-56) if pruned else (0.0, 0.0)
    return Decoder(lm=None, bestpath=False, beam=beam, pbeam=beam, wbeam=word_beam, samprate=_RATE_HZ, loglevel="FATAL")


def _tokens(text: str) -> list[tuple[str, int]]:
    """The spoken words of a text in lower case, numbers in words, each with the position of its written word."""
    said = speakable(text).lower()
    signs = {"&": "and", "%": "percent", "+": "plus", "=": "equals", "@": "at", "$": "dollars"}
    found: list[tuple[str, int]] = []
    for start, end in split_words(text):
        for part in re.findall(r"\d+|[a-z]+(?:'[a-z]+)*|[&%+=@$]", said[start:end]):
            words = read_number(part) if part.isdigit() else [signs.get(part, part)]
            found += [(word, start) for word in words]
    return found


def learn_word(decoder: Any, word: str) -> bool:
    """Make sure the dictionary has the word, by rule where it has not."""
    if decoder.lookup_word(word):
        return True
    phones = " ".join(_table()["from_ipa"].get(symbol, "") for symbol, _ in pronounce(word)).split()
    if not phones:
        return False
    decoder.add_word(word, " ".join(phones), True)
    return True


def _prepared(samples: NDArray[np.int16], rate_hz: int) -> NDArray[np.int16]:
    """The samples at the model's rate and level, padded with silence, dithered."""
    low = resample(samples, rate_hz, _RATE_HZ).astype(np.float32)
    loud = float(np.percentile(np.abs(low), 99.9)) if len(low) else 0.0
    low *= _LOUD / loud if 0 < loud < _LOUD / 4 else 1.0
    pad = np.zeros(round(_PAD_S * _RATE_HZ), np.float32)
    padded = np.concatenate([pad, low, pad])
    padded += np.random.default_rng(0).normal(0.0, _DITHER, len(padded)).astype(np.float32)
    return np.clip(np.rint(padded), -32768, 32767).astype(np.int16)


def _aligned(samples: NDArray[np.int16], rate_hz: int, transcript: str) -> list[Sound] | None:
    """The sounds by forced alignment, or None with a line in the log."""
    decoder = _decoder()
    if decoder is None:
        _log.warning("pocketsphinx is not installed (pip install 'visavis[speech]'): word times are estimated")
        return None
    tokens = _tokens(transcript)
    duration_s = len(samples) / rate_hz
    if not tokens or not 0.05 < duration_s < _LONGEST_S + 1:
        return None
    audio = _prepared(samples, rate_hz)
    why: Exception | None = None
    for pruned in (True, False):
        if not pruned and duration_s > _UNPRUNED_S:
            continue
        decoder = _decoder(pruned)
        known = [(word, position) for word, position in tokens if learn_word(decoder, word)]
        try:
            words = _searched(decoder, audio, [word for word, _ in known])
        except (RuntimeError, TypeError, ValueError) as error:
            why = error
            continue
        return _sounds(words, known, duration_s)
    _log.warning("the transcript could not be aligned with the recording (%s): word times are estimated", why)
    return None


_Phones = list[tuple[str, int, int]]  # name, start and length in frames
_Words = list[tuple[str, _Phones]]


def _searched(decoder: Any, audio: NDArray[np.int16], words: list[str]) -> _Words:
    """The words with their phones.

    Raises:
        RuntimeError, TypeError, ValueError: there is no way through the recording with these words.
    """
    if len(audio) <= _PIECE_S[1] * _RATE_HZ:
        return _phones(decoder, audio, words)
    spans = _spans(decoder, audio, words)
    frame = round(_FRAME_S * _RATE_HZ)
    out: _Words = []
    for first, last, begin, end in _pieces(spans):
        piece = audio[begin * frame : len(audio) if last == len(words) else end * frame]
        try:
            found = _phones(decoder, piece, words[first:last])
        except (RuntimeError, TypeError, ValueError):  # the words stay where the whole search put them
            found = [_even(decoder, word, *spans[k]) for k, word in enumerate(words[first:last], first)]
            begin = 0
        out += [(name, [(phone, start + begin, length) for phone, start, length in phones]) for name, phones in found]
    return out


def _pieces(spans: list[tuple[int, int]]) -> list[tuple[int, int, int, int]]:
    """(first word, one past the last, first frame, one past the last frame) of pieces cut at the widest gaps."""
    pieces = []
    first, begin = 0, 0
    low, high = (round(length_s / _FRAME_S) for length_s in _PIECE_S)
    while spans[-1][1] - begin > high:
        inside = [i for i in range(first + 1, len(spans)) if low <= spans[i][0] - begin <= high]
        # a pause or a word longer than that: the piece ends at the next word
        last = max(inside, key=lambda i: spans[i][0] - spans[i - 1][1], default=0)
        last = last or next((i for i in range(first + 1, len(spans)) if spans[i][0] - begin > high), len(spans))
        if last == len(spans):
            break
        end = (spans[last - 1][1] + spans[last][0]) // 2
        pieces.append((first, last, begin, end))
        first, begin = last, end
    return [*pieces, (first, len(spans), begin, spans[-1][1])]


def _spans(decoder: Any, audio: NDArray[np.int16], words: list[str]) -> list[tuple[int, int]]:
    """First frame and one past the last of every word, in a recording of any length."""
    decoder.set_align_text(" ".join(words))
    _decode(decoder, audio)
    found = [(_name(s.word), s.start_frame, s.end_frame + 1) for s in decoder.seg() or () if s.word[0] not in "<[("]
    _check([name for name, _, _ in found], words)
    return [(start, end) for _, start, end in found]


def _phones(decoder: Any, audio: NDArray[np.int16], words: list[str]) -> _Words:
    decoder.set_align_text(" ".join(words))
    _decode(decoder, audio)
    if decoder.hyp() is None:
        raise RuntimeError("no path")
    decoder.set_alignment()
    _decode(decoder, audio)
    # entries are views into an iterator that moves on: copy each while it is current
    found = [(_name(e.name), [(p.name, p.start, p.duration) for p in e]) for e in decoder.get_alignment()]
    found = [(name, phones) for name, phones in found if name[0] not in "<[("]
    _check([name for name, _ in found], words)
    return found


def _even(decoder: Any, word: str, first: int, end: int) -> tuple[str, _Phones]:
    """A word whose phones are not known in time: they share it evenly."""
    names = str(decoder.lookup_word(word)).split()
    edges = [first + round(k * (end - first) / len(names)) for k in range(len(names) + 1)]
    return word, [(name, a, b - a) for name, a, b in zip(names, edges[:-1], edges[1:], strict=True)]


def _name(found: str) -> str:
    """A word without the number of its pronunciation."""
    return re.sub(r"\(\d+\)$", "", found)


def _check(found: list[str], words: list[str]) -> None:
    if found != words:
        raise ValueError("other words were found than the transcript has")


def _decode(decoder: Any, audio: NDArray[np.int16]) -> None:
    decoder.start_utt()
    decoder.process_raw(audio.tobytes(), no_search=False, full_utt=True)
    decoder.end_utt()


def _sounds(words: _Words, tokens: list[tuple[str, int]], duration_s: float) -> list[Sound]:
    sounds: list[Sound] = []
    for (_, parts), (word, position) in zip(words, tokens, strict=True):
        phones = []
        for name, first, length in parts:
            start = first * _FRAME_S - _PAD_S + _EARLY_S
            end = start + length * _FRAME_S
            symbol = _table()["to_ipa"].get(name, "")
            phones.append(Phoneme(symbol, float(np.clip(start, 0, duration_s)), float(np.clip(end, 0, duration_s))))
        if not phones:
            continue
        if sounds and phones[0].start_s - sounds[-1].phoneme.end_s > 0.03:
            pause = Phoneme("", sounds[-1].phoneme.end_s, phones[0].start_s)
            sounds.append(Sound(pause, sounds[-1].position))
        sounds += [Sound(phone, position) for phone in _with_stress(word, phones)]
    return sounds


def _with_stress(word: str, phones: list[Phoneme]) -> list[Phoneme]:
    """Stress the vowel that the rules stress: the one in the same place among the vowels."""
    marks = [stress for symbol, stress in pronounce(word) if is_vowel(symbol)]
    vowels = [i for i, p in enumerate(phones) if is_vowel(p.symbol)]
    if not vowels or not any(marks):
        return phones
    place = marks.index(max(marks))
    chosen = vowels[min(len(vowels) - 1, round(place * (len(vowels) - 1) / max(1, len(marks) - 1)))]
    return [replace(p, stress=2) if i == chosen else p for i, p in enumerate(phones)]


def _proportional(samples: NDArray[np.int16], rate_hz: int, transcript: str) -> list[Sound]:
    """The silent voice's sounds, laid over the audible parts of the recording."""
    estimated, _ = estimate(transcript)
    spoken = [s for s in estimated if s.phoneme.symbol]
    if not spoken or not any(is_spoken(transcript[a:b]) for a, b in split_words(transcript)):
        return []
    hop = max(1, rate_hz // 100)
    rows = samples[: len(samples) // hop * hop].astype(np.float64).reshape(-1, hop)
    level = 10 * np.log10((rows**2).mean(axis=1) + 1e-3) if len(rows) else np.zeros(0)
    audible = level > level.max() - 35 if len(rows) and level.max() > 0 else np.ones(len(rows), bool)
    # short gaps are closures inside words
    for start, end in _gaps(audible):
        if end - start < 12:
            audible[start:end] = True
    clock = np.concatenate([[0.0], np.cumsum(audible) * hop / rate_hz])  # audible seconds at each row's start
    edges = np.arange(len(clock)) * hop / rate_hz
    total = sum(s.phoneme.end_s - s.phoneme.start_s for s in spoken)
    sounds: list[Sound] = []
    at = 0.0
    for sound in spoken:
        after = at + (sound.phoneme.end_s - sound.phoneme.start_s) / total * clock[-1]
        row = min(int(np.searchsorted(clock, at + 1e-9)), len(edges))
        end_s = float(np.interp(after, clock, edges)) if len(rows) else 0.0
        start_s = min(float(edges[max(0, row - 1)]), end_s)
        phoneme = replace(sound.phoneme, start_s=start_s, end_s=end_s)
        if sounds and phoneme.start_s - sounds[-1].phoneme.end_s > 0.03:
            pause = Phoneme("", sounds[-1].phoneme.end_s, phoneme.start_s)
            sounds.append(Sound(pause, sounds[-1].position))
        sounds.append(Sound(phoneme, sound.position))
        at = after
    return sounds


def _gaps(audible: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(start, end) of the inner runs that are not audible."""
    change = np.flatnonzero(np.diff(audible.astype(np.int8)))
    pairs = zip(change[:-1], change[1:], strict=True)
    return [(int(a) + 1, int(b) + 1) for a, b in pairs if not audible[a + 1]]
