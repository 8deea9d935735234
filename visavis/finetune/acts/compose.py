"""Scenes of the ACT corpus: choose utterances of one fold, compose them, ask the index, write prompt and plan."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np

from visavis.emotion import EMOTIONS, Emotion
from visavis.finetune.acts.unseen import FOLDS, HALVES, Judge, folds_of, half_of, judges, shipped
from visavis.finetune.acts.vary import Sentence, _data, join, lower_first, part_of, sentence_of, vary
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.params import params_of
from visavis.retrieval.utterances import NONE, Utterance, load_utterances
from visavis.tokenizers.turn_language import MAX_CANDIDATES, ActPlan, ActPrompt, Candidate, Tag

__all__ = ["Material", "Split", "generate", "material"]

Split = Literal["train", "dev"]
DEV_FOLD: Final = FOLDS - 1
GO_EMOTIONS: Final = Path(".cache/real/goemotions/data/ekman")
KINDS: Final = {"gesture": 0.36, "part": 0.08, "none": 0.18, "none, gesture": 0.12, "gesture, none": 0.08,
                "carried": 0.04, "two": 0.08, "felt": 0.06}  # fmt: skip
FEELINGS_GIVEN: Final = 0.5
NUDGED: Final = 0.2  # of the given emotions: another one than the words have
RESCUED: Final = 0.4  # of scenes to train on whose gloss was not recalled: it takes the last candidate's place
DOUBTFUL: Final = 0.5  # a sentence that nobody marked as free of gestures must have at least this score of "none"
BATCH: Final = 512
ABUSE: Final = re.compile(
    r"fuck|shit|bitch|cunt|dick|cock|piss|slut|whore|rape|nigg|fag|retard|cum|porn|sex|kill|murder|suicid|nazi|hitler|"
    r"jew|muslim|islam|black|white|gay|lesb|trans|race|racis|slave|terror|trump|damn|hell|ass\b|arse|bastard|crap|moron|"
    r"idiot|stupid|dumb|die\b|dead|death|drug|weed|drunk|gun|shoot|bomb|abus|nude|penis|vagin|boob|tit[ts]|balls|"
    r"\[|\]|http|/r/|/u/|reddit|subreddit|upvote|\bop\b|edit:",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Material:
    """Utterances by fold and gloss, the judges that have not seen them, and sentences felt without gestures."""

    by_fold: tuple[dict[str, list[Utterance]], ...]
    judges: tuple[Judge, ...]
    felt: dict[str, list[Sentence]]


def material(folder: Path | None, epochs: float | None = None) -> Material:
    """Read what `generate` needs; the judges lie in `folder` and are trained (for `epochs`) where they do not. Without
    a folder the index that ships judges, which has seen all: for what only needs prompts (`finetune.further`).
    """
    utterances = load_utterances()
    by_fold: list[dict[str, list[Utterance]]] = [{} for _ in range(FOLDS)]
    for utterance, fold in zip(utterances, folds_of(utterances), strict=True):
        by_fold[fold].setdefault(utterance.gloss, []).append(utterance)
    felt = {"train": _felt_sentences(GO_EMOTIONS / "train.tsv"), "dev": _felt_sentences(GO_EMOTIONS / "dev.tsv")}
    if folder is None:
        return Material(tuple(by_fold), (shipped(),) * HALVES, felt)
    return Material(tuple(by_fold), judges(folder, epochs) if epochs else judges(folder), felt)


def _felt_sentences(path: Path) -> list[Sentence]:
    """Decent single-label sentences; an absent file gives none."""
    if not path.exists():
        return []
    names = (path.parent / "labels.txt").read_text().split()
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text, labels, _ = line.split("\t")
        words = text.split()
        clean = re.fullmatch(r"[A-Za-z][A-Za-z0-9 ,.!?'-]*", text) and not ABUSE.search(text)
        if labels.isdigit() and clean and 3 <= len(words) <= 18 and not text.isupper():
            name = names[int(labels)]
            level = 0.0 if name == "neutral" else min(1.0, 0.5 + 0.2 * ("!" in text))
            found.append(Sentence(tuple(words), (), Emotion(name, round(level, 1)), sure=False))
    return found


def generate(n: int, known: Material, seed: int = 0, split: Split = "train") -> Iterator[tuple[ActPrompt, ActPlan]]:
    """Yield n examples of a split, the same for the same seed; every text twice: its emotion given, and to be found."""
    rng = random.Random(f"{split} {seed}")
    made = 0
    while made < n:
        scenes = [_scene(known, split, rng) for _ in range(BATCH)]
        for judge, sentence, scores in _scored(known, scenes):
            if not sentence.gestures and scores[-1] < DOUBTFUL and not sentence.sure:
                continue
            for given in (True, False):
                if made < n:
                    made += 1
                    yield _example(sentence, scores, judge.glosses, given, rng, split == "train")


def _scene(known: Material, split: Split, rng: random.Random) -> tuple[int, Sentence]:
    """A fold and a sentence composed of its utterances alone."""
    fold = DEV_FOLD if split == "dev" else rng.randrange(DEV_FOLD)
    kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    if kind == "felt" and known.felt[split]:
        names = sorted({sentence.emotion.name for sentence in known.felt[split]})
        name = rng.choice(names)
        return fold, rng.choice([one for one in known.felt[split] if one.emotion.name == name])
    pool = known.by_fold[fold]
    glosses = sorted(set(pool) - {NONE})

    def called() -> Sentence:
        return vary(sentence_of(rng.choice(pool[rng.choice(glosses)])), rng)

    def none() -> Sentence:
        return vary(sentence_of(rng.choice(pool[NONE])), rng)

    if kind == "gesture":
        return fold, called()
    if kind == "part":
        return fold, part_of(called(), rng)
    if kind == "none, gesture":
        first, second = none(), called()
        return fold, join([_stopped(first), second], second.emotion)
    if kind == "gesture, none":
        first, second = called(), none()
        return fold, join([_stopped(first), second], first.emotion)
    if kind == "carried":
        carrier = Sentence(tuple(rng.choice(_data()["carriers"]).split()), (), Emotion())
        second = lower_first(called())
        return fold, join([carrier, second], second.emotion)
    if kind == "two":
        first, second = called(), called()
        if first.gestures[0][0] != second.gestures[0][0]:
            return fold, join(
                [_stopped(first), second], max((first, second), key=lambda one: one.emotion.intensity).emotion
            )
    if kind == "none" and rng.random() < 0.1:
        first, second = none(), none()
        return fold, join([_stopped(first), second], second.emotion)
    return fold, none()


def _stopped(sentence: Sentence) -> Sentence:
    last = sentence.words[-1]
    return sentence if last[-1] in ".!?…" else replace(sentence, words=(*sentence.words[:-1], f"{last}."))


def _scored(known: Material, scenes: list[tuple[int, Sentence]]) -> Iterator[tuple[Judge, Sentence, np.ndarray]]:
    """Scenes with their scores (G + 1,) by the judge that has not seen their fold."""
    found: dict[int, np.ndarray] = {}
    for half, judge in enumerate(known.judges):
        places = [place for place, (fold, _) in enumerate(scenes) if half_of(fold) == half]
        found |= dict(zip(places, judge.scores([scenes[place][1].text for place in places]), strict=True))
    for place, (fold, sentence) in enumerate(scenes):
        yield known.judges[half_of(fold)], sentence, found[place]


def _example(
    sentence: Sentence, scores: np.ndarray, glosses: tuple[str, ...], given: bool, rng: random.Random, rescue: bool
) -> tuple[ActPrompt, ActPlan]:
    order = np.argsort(-scores[:-1], kind="stable")[:MAX_CANDIDATES]
    candidates = [Candidate(glosses[index], round(float(scores[index]), 3)) for index in order]
    for gloss, _ in sentence.gestures:
        if gloss not in {one.text for one in candidates} and rescue and rng.random() < RESCUED:
            candidates[-1] = Candidate(gloss, round(float(scores[glosses.index(gloss)]), 3))
    shown = {one.text for one in candidates}
    text = sentence.text
    known = load_lexicon()
    tags = [
        Tag(gloss, word, params_of(known[gloss].params, text, word))
        for gloss, word in sentence.gestures
        if gloss in shown
    ]
    prompt = ActPrompt(text, _given(sentence.emotion, rng) if given else None, tuple(candidates))
    return prompt, ActPlan(None if given else sentence.emotion, text, tuple(tags))


def _given(felt: Emotion, rng: random.Random) -> Emotion:
    """The emotion as a director would give it: about the words' own, sometimes quite another."""
    if rng.random() < NUDGED:
        name = rng.choice(EMOTIONS)
        return Emotion(name, 0.0 if name == "neutral" else rng.randint(2, 10) / 10)
    if felt.name == "neutral":
        return felt
    return Emotion(felt.name, min(10, max(1, felt.level + rng.choice((-2, -1, 0, 0, 1, 2)))) / 10)
