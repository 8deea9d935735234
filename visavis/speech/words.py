"""From the sounds a voice reports to the words of the text: spans, prominence, stressed vowels.

Every voice gives its sounds as `Sound`s with a position in the text; `assemble` turns them into `Speech` whose words
are exactly the white-space separated words of the text. What the sounds are is the voice's business.

Prominence follows the classes of Hirschberg (1993): function words carry none, content words carry stress, and the
last content word of a phrase (nuclear stress, Halliday 1967) the highest; numbers and capitals count as content.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visavis import safe_yaml
from visavis.speech.types import Phoneme, Speech, Word

__all__ = ["Sound", "assemble", "is_spoken", "is_vowel", "prominence", "speakable", "split_words"]

FUNCTION, WEAK, CONTENT, NUCLEAR = 0.0, 0.35, 0.8, 1.0
PAUSE_S = 0.12  # a silence that ends a phrase

_WORD = re.compile(r"\S+")
_PHRASE_END = re.compile(r"[.,;:!?…—–)\]]+[\"'”’*_]*$")
_VOWEL = re.compile(r"[aeiouæɐɑɒɔəɚɛɜɪʊʌᵻɨʉøœyɵɤ]")
_STARRED = re.compile(r"^[\"'“‘(]*\*.+\*")
# Spoken by name ("asterisk", "less than") though nobody means them to be; a space keeps every position as it is.
_MUTE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ue000-\uf8ff\ufe00-\ufe0f\u200b-\u200f\u2028-\u202f\u2060-\u206f"
    r"*_~`#|^{}\[\]\\<>\u2190-\u2bff\U0001f000-\U0001faff\U000e0000-\U0010ffff]"
)
_SLASH = re.compile(r"(?<!\d)/|/(?!\d)")
_SAME = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "…": ".", "\u00a0": " "})


@dataclass(frozen=True)
class Sound:
    """A phoneme as a voice reports it; `position` is where in the text its word begins, `phoneme.symbol` "" a pause."""

    phoneme: Phoneme
    position: int


@cache
def _classes() -> tuple[frozenset[str], frozenset[str]]:
    data = safe_yaml.load((Path(__file__).parent / "data" / "words.yaml").read_text("utf8"))
    return frozenset(data["function"].split()), frozenset(data["weak"].split())


def split_words(text: str) -> list[tuple[int, int]]:
    """The (start, end) character positions of the white-space separated words."""
    return [match.span() for match in _WORD.finditer(text)]


def speakable(text: str) -> str:
    """The text with everything that must not be spoken (controls, markup signs, emoji) replaced by spaces.

    The length and every position stay the same.
    """
    return _SLASH.sub(" ", _MUTE.sub(" ", text.translate(_SAME)))


def is_spoken(word: str) -> bool:
    """Whether anything in the word is spoken: a letter, a digit or a sign with a name."""
    return any(c.isalnum() or c in "$€£%&+=@" for c in speakable(word))


def is_vowel(symbol: str) -> bool:
    """Whether an IPA symbol is, or contains, a vowel."""
    return bool(_VOWEL.search(symbol))


def _bare(word: str) -> str:
    return re.sub(r"^\W+|\W+$", "", speakable(word).strip()).lower()


def prominence(words: Sequence[str], phrase_ends: Sequence[bool] | None = None) -> list[float]:
    """Prominence in [0, 1] of each word (with its punctuation), in order.

    `phrase_ends[i]` says that a phrase ends after word i; punctuation says so too. In a phrase of nothing but
    function words the last one is stressed ("It was *this*.").
    """
    function, weak = _classes()
    shouted = sum(len(w) > 1 and w.isupper() for w in words) < max(2, len(words))
    values: list[float] = []
    first = 0
    for i, word in enumerate(words):
        bare = _bare(word)
        if not is_spoken(word) or bare in function:
            value = FUNCTION
        elif bare in weak:
            value = WEAK
        else:
            value = CONTENT
        letters = [c for c in word if c.isalpha()]
        capitals = shouted and len(letters) > 1 and all(c.isupper() for c in letters) and value < CONTENT
        if _STARRED.match(word) or capitals:
            value = NUCLEAR
        values.append(value)
        ends = i + 1 == len(words) or bool(_PHRASE_END.search(word)) or bool(phrase_ends and phrase_ends[i])
        if ends:
            _crown(words, values, first, i + 1)
            first = i + 1
    return values


def _crown(words: Sequence[str], values: list[float], first: int, end: int) -> None:
    """Give the last content word of a phrase the highest prominence; else raise the last weak, else function word."""
    for least, crowned in ((CONTENT, NUCLEAR), (WEAK, CONTENT)):
        for i in range(end - 1, first - 1, -1):
            if values[i] >= least:
                values[i] = max(values[i], crowned)
                return
    spoken = [i for i in range(first, end) if is_spoken(words[i])]
    if len(spoken) == 1 or (spoken and end == len(words) and first == 0):
        values[spoken[-1]] = 0.6


def _groups(text: str, spans: list[tuple[int, int]], sounds: Sequence[Sound]) -> list[list[Phoneme]]:
    """The phonemes of each word; positions never go back, and a sound between two words belongs to the earlier."""
    groups: list[list[Phoneme]] = [[] for _ in spans]
    current = 0
    for sound in sounds:
        if not sound.phoneme.symbol:
            continue
        while current + 1 < len(spans) and spans[current + 1][0] <= sound.position:
            current += 1
        groups[current].append(sound.phoneme)
    return groups


def _share_merged(text: str, spans: list[tuple[int, int]], groups: list[list[Phoneme]]) -> None:
    """Words spoken as one ("do not") come with the phonemes of all in the first: share them out by their letters."""
    from visavis.speech.letters import pronounce

    i = 0
    while i < len(spans):
        j = i + 1
        while j < len(spans) and not groups[j] and is_spoken(text[slice(*spans[j])]):
            j += 1
        members = [k for k in range(i, j) if is_spoken(text[slice(*spans[k])])]
        if len(members) > 1 and groups[i]:
            phonemes = groups[i]
            weights = np.array([max(1, len(pronounce(_bare(text[slice(*spans[k])])))) for k in members], float)
            borders = np.rint(np.cumsum(weights) / weights.sum() * len(phonemes)).astype(int)
            start = 0
            for k, end in zip(members, borders, strict=True):
                groups[k] = phonemes[start:end]
                start = end
        i = j


def _stress_s(phonemes: Sequence[Phoneme]) -> float:
    """Onset of the stressed vowel: the last primary stress (numbers have many), else secondary, else a full vowel."""
    vowels = [p for p in phonemes if is_vowel(p.symbol)]
    for level in (2, 1):
        stressed = [p for p in vowels if p.stress == level]
        if stressed:
            return stressed[-1].start_s
    full = [p for p in vowels if p.symbol[0] not in "əɚᵻɐ"]
    return (full or vowels or list(phonemes))[0].start_s


def _pauses(sounds: Sequence[Sound]) -> list[tuple[float, float]]:
    return [(s.phoneme.start_s, s.phoneme.end_s) for s in sounds if not s.phoneme.symbol]


def assemble(text: str, sounds: Sequence[Sound], samples: NDArray[np.int16], sample_rate_hz: int, voice: str) -> Speech:
    """Build `Speech` from a text and its sounds, in order of time.

    Words without sounds of their own (punctuation, emoji) have no length and stand where the next word begins.
    """
    spans = split_words(text)
    groups = _groups(text, spans, sounds)
    _share_merged(text, spans, groups)
    pauses = [(a, b) for a, b in _pauses(sounds) if b - a >= PAUSE_S]
    duration_s = len(samples) / sample_rate_hz
    starts = [group[0].start_s if group else None for group in groups]
    following: list[float] = []
    after = duration_s
    for start in reversed(starts):
        after = start if start is not None else after
        following.append(after)
    following.reverse()
    last_sound = max((p.end_s for group in groups for p in group), default=0.0)
    raw = [text[a:b] for a, b in spans]
    phrase_ends = []
    for group, begin in zip(groups, following[1:] + [duration_s], strict=True):
        end = group[-1].end_s if group else begin
        phrase_ends.append(any(a >= end - 0.03 and b <= begin + 0.03 for a, b in pauses))
    values = prominence(raw, phrase_ends)
    words = []
    for i, ((a, b), group) in enumerate(zip(spans, groups, strict=True)):
        if group:
            words.append(Word(raw[i], group[0].start_s, group[-1].end_s, values[i], _stress_s(group), a, b))
        else:
            at = following[i] if any(groups[i + 1 :]) else last_sound
            words.append(Word(raw[i], at, at, 0.0, at, a, b))
    phonemes = tuple(replace(s.phoneme) for s in sounds)
    return Speech(text, samples, sample_rate_hz, tuple(words), phonemes, voice)
