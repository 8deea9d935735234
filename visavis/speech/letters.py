"""English letters to phonemes by rules, without any pronouncing dictionary: for the silent voice and for sharing times.

A rough reading (about nine phonemes in ten where the word is regular); what matters here is how long a word is, where
its stressed vowel lies and when the lips close. Rules and words are `data/letters.yaml`.

Source: Elovitz, Johnson, McHugh and Shore (1976), "Automatic translation of English text to phonetics by means of
letter-to-sound rules", NRL Report 7948; stress placement by suffix after Chomsky and Halle (1968), much reduced.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from visavis import safe_yaml

__all__ = ["pronounce", "read_number"]

_CONTEXT = {
    "#": "[aeiouy]+",
    ":": "[^aeiouy_]*",
    "^": "[^aeiouy_]",
    ".": "[bdvgjlmnrwz]",
    "%": "(?:ing|ely|er|es|ed|e)",
    "+": "[eiy]",
    "&": "(?:ch|sh|[scgzxj])",
    "@": "(?:th|ch|sh|[tsrdlznj])",
}
_VOWEL = re.compile(r"[aeiouæɑɔəɚɛɜɪʊʌ]")
_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
_SCALES = ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))


@dataclass(frozen=True)
class _Rule:
    letters: str
    left: re.Pattern[str]
    right: re.Pattern[str]
    sounds: tuple[str, ...]


def _pattern(context: str) -> str:
    return "".join(_CONTEXT.get(c, re.escape(c)) for c in context)


@cache
def _data() -> dict[str, Any]:
    loaded: dict[str, Any] = safe_yaml.load((Path(__file__).parent / "data" / "letters.yaml").read_text("utf8"))
    return loaded


@cache
def _rules() -> dict[str, list[_Rule]]:
    rules: dict[str, list[_Rule]] = {}
    for letter, lines in _data()["rules"].items():
        rules[letter] = []
        for line in lines.split("|"):
            left, rest = line.split("[", 1)
            letters, rest = rest.split("]", 1)
            right, sounds = rest.split("=", 1)
            rule = _Rule(
                letters, re.compile(f"(?:{_pattern(left)})$"), re.compile(_pattern(right)), tuple(sounds.split())
            )
            rules[letter].append(rule)
    return rules


def _by_rules(word: str) -> list[str]:
    padded = f"_{word}_"
    sounds: list[str] = []
    at = 1
    while at < len(padded) - 1:
        for rule in _rules().get(padded[at], ()):
            end = at + len(rule.letters)
            if padded.startswith(rule.letters, at) and rule.left.search(padded[:at]) and rule.right.match(padded, end):
                sounds += rule.sounds
                at = end
                break
        else:
            at += 1
    return sounds


def read_number(digits: str) -> list[str]:
    """The words of a run of digits: cardinal up to 12 digits, digit by digit beyond or with a leading zero."""
    if len(digits) > 12 or (len(digits) > 1 and digits[0] == "0"):
        return [_ONES[int(d)] for d in digits]
    return _cardinal(int(digits))


def _cardinal(n: int) -> list[str]:
    for size, name in _SCALES:
        if n >= size:
            rest = n % size
            return [*_cardinal(n // size), name, *(_cardinal(rest) if rest else [])]
    if n >= 20:
        return [_TENS[n // 10], *([_ONES[n % 10]] if n % 10 else [])]
    return [_ONES[n]]


def _stressed(word: str, sounds: list[str]) -> list[tuple[str, int]]:
    """Mark one vowel as stressed (2): by suffix, else the first syllable, else the second after a weak prefix."""
    vowels = [i for i, s in enumerate(sounds) if _VOWEL.match(s)]
    if not vowels:
        return [(s, 0) for s in sounds]
    chosen = 0
    if len(vowels) > 1:
        data = _data()
        if (known := _stress_words().get(word)) is not None:
            chosen = min(known, len(vowels)) - 1
            return [(s, 2 if i == vowels[chosen] else 0) for i, s in enumerate(sounds)]
        back = 0
        for place, suffixes in data["stress_suffixes"].items():
            if any(word.endswith(s) and len(word) > len(s) + 1 for s in suffixes):
                back = int(place)
        if word.endswith("ing") or word.endswith("ed"):
            back = 0
        if back:
            chosen = max(0, len(vowels) - back)
        elif any(word.startswith(p) and len(word) > len(p) + 2 for p in data["unstressed_prefixes"]):
            chosen = 1 if _weak_start(word, sounds, vowels) else 0
        while chosen + 1 < len(vowels) and sounds[vowels[chosen]] in ("ə", "ɚ"):
            chosen += 1
        if sounds[vowels[chosen]] in ("ə", "ɚ", "əl"):
            chosen = 0
    return [(s, 2 if i == vowels[chosen] else 0) for i, s in enumerate(sounds)]


def _weak_start(word: str, sounds: list[str], vowels: list[int]) -> bool:
    """A prefix is weak when a full vowel follows it."""
    second = sounds[vowels[1]]
    if word.endswith(("ing", "ed")) and len(vowels) == 2:
        return False
    return len(word) > 4 and second not in ("ə", "ɚ", "əl", "i") and not word.endswith(("er", "y", "or"))


@cache
def _stress_words() -> dict[str, int]:
    return {word: int(place) for place, words in _data()["stress_words"].items() for word in words.split()}


@lru_cache(maxsize=8192)
def pronounce(word: str) -> tuple[tuple[str, int], ...]:
    """The (symbol, stress) phonemes of one written word; letters, digits, apostrophes and signs count, nothing else.

    stress is 2 on the main vowel of every part (a number or a compound has several), else 0.
    """
    data = _data()
    found: list[tuple[str, int]] = []
    for part in re.findall(r"\d+|[a-z']+|[$€£%&+=@]", word.lower().replace("’", "'")):
        if part.isdigit():
            for spoken in read_number(part):
                found += pronounce(spoken)
        elif part in data["signs"]:
            found += pronounce(data["signs"][part])
        elif part in data["words"]:
            found += _marked(data["words"][part].split())
        elif re.fullmatch(r"[^aeiouy']{2,}", part) or len(part) == 1:
            spelled = [s for letter in part if letter in data["letters"] for s in data["letters"][letter].split()]
            found += [(s, 0) for s in spelled]
            last = max((i for i, (s, _) in enumerate(found) if _VOWEL.match(s)), default=-1)
            if last >= 0:
                found[last] = (found[last][0], 2)  # initials are stressed on the last
        else:
            found += _regular(part)
    return tuple(found)


def _marked(sounds: list[str]) -> list[tuple[str, int]]:
    return [(s.lstrip("'"), 2 if s.startswith("'") else 0) for s in sounds]


def _regular(part: str) -> list[tuple[str, int]]:
    """By rules, with the endings 's, s of a known word split off first."""
    words = _data()["words"]
    stem = re.sub(r"'?s$", "", part)
    if stem in words and stem != part:
        return [*_marked(words[stem].split()), ("z", 0)]
    base, _, ending = part.partition("'")
    extra = {"s": ["z"], "t": ["t"], "re": ["ɚ"], "ve": ["v"], "ll": ["l"], "d": ["d"], "m": ["m"]}.get(ending, [])
    return [*_stressed(base, _by_rules(base)), *((s, 0) for s in extra)]
