"""Light paraphrases that keep what an utterance calls for: names, numbers, synonyms, contractions, openers, ends.

A sentence is a list of words; the gestures keep to their words through every change. Data: `data/variations.yaml`.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from visavis.emotion import Emotion
from visavis.retrieval.utterances import NONE, Utterance

__all__ = ["Sentence", "join", "lower_first", "part_of", "sentence_of", "vary"]


@dataclass(frozen=True)
class Sentence:
    """Words, the gestures they call for as (gloss, index of the word), and how they are felt.

    sure: whether somebody looked at it and found these gestures and no others.
    """

    words: tuple[str, ...]
    gestures: tuple[tuple[str, int], ...]
    emotion: Emotion
    sure: bool = True

    @property
    def text(self) -> str:
        """The words with single spaces."""
        return " ".join(self.words)


@functools.cache
def _data() -> dict:
    return yaml.safe_load((Path(__file__).parent / "data" / "variations.yaml").read_text(encoding="utf-8"))


def sentence_of(utterance: Utterance) -> Sentence:
    """The utterance as written; of several starred words the first carries the gesture."""
    gestures = () if utterance.gloss == NONE else ((utterance.gloss, utterance.anchors[0]),)
    return Sentence(tuple(utterance.text.split()), gestures, utterance.emotion)


def join(sentences: Sequence[Sentence], emotion: Emotion) -> Sentence:
    """One after the other."""
    words: list[str] = []
    gestures: list[tuple[str, int]] = []
    for sentence in sentences:
        gestures += [(gloss, index + len(words)) for gloss, index in sentence.gestures]
        words += sentence.words
    return Sentence(tuple(words), tuple(gestures), emotion)


def vary(sentence: Sentence, rng: random.Random) -> Sentence:
    """A paraphrase; often the sentence itself."""
    sentence = _swap_words(sentence, rng)
    if rng.random() < 0.15:
        sentence = _open(sentence, rng)
    if rng.random() < 0.1:
        sentence = _end(sentence, rng)
    if rng.random() < 0.06:
        sentence = _close(sentence, rng)
    return sentence


def _swap_words(sentence: Sentence, rng: random.Random) -> Sentence:
    data = _data()
    words: list[str] = []
    places: list[int] = []  # where each old word begins now
    counted = any(gloss == "counting" for gloss, _ in sentence.gestures)
    for word in sentence.words:
        places.append(len(words))
        head, core, tail = _peel(word)
        low = core.lower()
        new = core
        if core in data["names"] and rng.random() < 0.7:
            new = rng.choice(data["names"])
        elif core in data["places"] and rng.random() < 0.7:
            new = rng.choice(data["places"])
        elif core in data["days"] and rng.random() < 0.6:
            new = rng.choice(data["days"])
        elif core in data["contractions"] and rng.random() < 0.25:
            new = data["contractions"][core]
        elif counted and low in data["numbers"] and low == core and rng.random() < 0.5:
            new = rng.choice(data["numbers"])
        elif low in data["synonyms"] and (low == core or not words) and rng.random() < 0.4:  # a name is no synonym
            new = rng.choice(data["synonyms"][low])
            if new.split()[0] != low and words and words[-1].lower() in ("a", "an"):
                words[-1] = _article(words[-1], new)
            new = new.capitalize() if core[0].isupper() else new
        words += (head + new + tail).split()
    return replace(
        sentence, words=tuple(words), gestures=tuple((gloss, places[index]) for gloss, index in sentence.gestures)
    )


def _peel(word: str) -> tuple[str, str, str]:
    match = re.fullmatch(r"(\W*)(.*?)(\W*)", word)
    assert match is not None
    return match.group(1), match.group(2), match.group(3)


def _article(old: str, following: str) -> str:
    new = "an" if following[0] in "aeiou" else "a"
    return new.capitalize() if old[0].isupper() else new


def lower_first(sentence: Sentence) -> Sentence:
    """The sentence as it goes on after a comma."""
    first = sentence.words[0]
    core = _peel(first)[1]
    if core.split("'")[0] == "I" or core in _data()["names"] + _data()["places"] or core.isupper():
        return sentence
    return replace(sentence, words=(first[0].lower() + first[1:], *sentence.words[1:]))


def part_of(sentence: Sentence, rng: random.Random) -> Sentence:
    """One part between punctuation, as a stream of clauses has it; the sentence itself if it has no such parts."""
    ends = [index + 1 for index, word in enumerate(sentence.words) if word[-1] in ",;:.!?…"]
    bounds = list(zip([0, *ends], [*ends, len(sentence.words)], strict=True))
    bounds = [(start, end) for start, end in bounds if end - start >= 2]
    if len(bounds) < 2:
        return sentence
    start, end = rng.choice(bounds)
    gestures = tuple((gloss, index - start) for gloss, index in sentence.gestures if start <= index < end)
    return replace(sentence, words=sentence.words[start:end], gestures=gestures, sure=bool(gestures))


def _open(sentence: Sentence, rng: random.Random) -> Sentence:
    opener = f"{rng.choice(_data()['openers'])},".split()
    sentence = lower_first(sentence)
    gestures = tuple((gloss, index + len(opener)) for gloss, index in sentence.gestures)
    return replace(sentence, words=(*opener, *sentence.words), gestures=gestures)


def _end(sentence: Sentence, rng: random.Random) -> Sentence:
    last = sentence.words[-1]
    bare = last.rstrip(".!…")
    if not bare or last.endswith("?"):
        return sentence
    end = rng.choice([".", "!", "", "..."])
    change = {"!": 0.1, ".": -0.1 if last.endswith("!") else 0.0}.get(end, 0.0)
    felt = sentence.emotion
    if felt.name != "neutral":
        felt = Emotion(felt.name, round(min(1.0, max(0.1, felt.intensity + change)), 1))
    return replace(sentence, words=(*sentence.words[:-1], bare + end), emotion=felt)


def _close(sentence: Sentence, rng: random.Random) -> Sentence:
    last = sentence.words[-1]
    bare = last.rstrip(".!?…")
    if not bare or last.endswith("?"):
        return sentence
    closer = rng.choice(_data()["closers"])
    words = f"{bare}{closer}{last[len(bare) :]}".split()
    return replace(sentence, words=(*sentence.words[:-1], *words))
