"""Text corpora on disk (JSON lines) and as token sequences."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from visavis.emotion import Emotion
from visavis.tokenizers.turn_language import (
    ActPlan,
    ActPrompt,
    Candidate,
    Example,
    ReplyPlan,
    ReplyPrompt,
    Segment,
    Tag,
    act_example,
    reply_example,
)
from visavis.tokenizers.vocabulary import JointVocabulary

__all__ = [
    "act_examples",
    "corpus_texts",
    "read_acts",
    "read_replies",
    "recall_drill",
    "reply_examples",
    "write_examples",
]


def write_examples(path: Path, n: int, generate: Callable[[int], Iterable[tuple[Any, Any]]]) -> int:
    """Write (prompt, plan) pairs, one line each, unless the file is there; it appears when it is whole.

    Returns:
        how many lines the file has.
    """
    if path.exists():
        with path.open("rb") as file:
            return sum(1 for _ in file)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    count = 0
    with temporary.open("w", encoding="utf-8") as file:
        for prompt, plan in generate(n):
            file.write(json.dumps({"prompt": asdict(prompt), "plan": asdict(plan)}, ensure_ascii=False) + "\n")
            count += 1
    os.replace(temporary, path)
    return count


def _pairs(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            data = json.loads(line)
            yield data["prompt"], data["plan"]


def _emotion(raw: dict[str, Any] | None) -> Emotion | None:
    return None if raw is None else Emotion(**raw)


def read_replies(path: Path) -> Iterator[tuple[ReplyPrompt, ReplyPlan]]:
    """The REPLY pairs of a file."""
    for prompt, plan in _pairs(path):
        cards = tuple(Candidate(**card) for card in prompt.pop("cards"))
        history = tuple((speaker, text) for speaker, text in prompt.pop("history"))
        segments = tuple(Segment(**segment) for segment in plan["segments"])
        yield ReplyPrompt(cards=cards, history=history, **prompt), ReplyPlan(Emotion(**plan["emotion"]), segments)


def read_acts(path: Path) -> Iterator[tuple[ActPrompt, ActPlan]]:
    """The ACT pairs of a file."""
    for prompt, plan in _pairs(path):
        candidates = tuple(Candidate(**candidate) for candidate in prompt["candidates"])
        tags = tuple(Tag(**tag) for tag in plan["tags"])
        yield (
            ActPrompt(prompt["text"], _emotion(prompt["emotion"]), candidates),
            ActPlan(_emotion(plan["emotion"]), plan["text"], tags),
        )


def reply_examples(path: Path, vocabulary: JointVocabulary) -> Iterator[tuple[str, Example]]:
    """REPLY as token sequences."""
    for prompt, plan in read_replies(path):
        yield "reply", reply_example(prompt, plan, vocabulary)


def act_examples(path: Path, vocabulary: JointVocabulary) -> Iterator[tuple[str, Example]]:
    """ACT as token sequences."""
    for prompt, plan in read_acts(path):
        yield "act", act_example(prompt, plan, vocabulary)


def corpus_texts(folder: Path) -> Iterator[str]:
    """Every text of the training corpora in a folder, for the text pieces."""
    for prompt, plan in read_replies(folder / "reply_train.jsonl"):
        yield f"{prompt.name}, {prompt.role}."
        yield prompt.user
        yield plan.text
        yield from (card.text for card in prompt.cards)
        yield from (text for _, text in prompt.history)
    for act, act_plan in read_acts(folder / "act_train.jsonl"):
        yield act_plan.text
        yield from (candidate.text for candidate in act.candidates)


def recall_drill(
    n: int, vocabulary: JointVocabulary, texts: Sequence[str] = (), repeats: float = 0.15, most_cards: int = 5,
    seed: int = 7,
) -> Iterator[tuple[str, Example]]:  # fmt: skip
    """Copying, the first lesson: a small model learns to look back long before it learns to talk.

    Some examples are a sequence said two or three times, to be learnt from the second time on: the densest lesson there
    is, and what makes a model look back within a minute (LOG.md). The others are cards of which the line names two or
    three pieces and the reply quotes the whole card, the one that RECALL holds for best as a rule.

    Args:
        n: examples.
        vocabulary: of the ids.
        texts: whose words, in their order and in random order, are copied beside random pieces.
        repeats: share of the sequences that are only repeated.
        most_cards: cards in a prompt, one to so many.
        seed: of every choice.
    """
    rng = np.random.default_rng(seed)
    c = vocabulary.control
    sentences = [ids for text in texts if (ids := vocabulary.encode_text(text))]
    words = [ids for text in texts for *_, ids in vocabulary.encode_words(text) if ids]
    low = 300  # past the bytes and the shortest pieces

    def random_words(count: int) -> list[int]:
        return [id_ for place in rng.integers(0, len(words), count) for id_ in words[place]]

    def pieces() -> list[int]:
        kind, count = rng.random(), int(rng.integers(5, 15))
        if words and kind < 0.35:
            return sentences[rng.integers(len(sentences))]
        if words and kind < 0.75:
            return random_words(count)
        return rng.integers(low, vocabulary.text_size, count).tolist()  # type: ignore[no-any-return]

    for _ in range(n):
        if rng.random() < repeats:
            strange = not words or rng.random() < 0.6
            size = int(rng.integers(8, 40 if strange else 24))
            x = rng.integers(low, vocabulary.text_size, size).tolist() if strange else random_words(size)
            times = int(rng.integers(2, 4))
            begin = [c("bos"), c("reply"), *x]
            yield "repeat", Example(begin + x * (times - 1), [False] * len(begin) + [True] * len(x) * (times - 1))
            continue
        cards = [pieces() for _ in range(int(rng.integers(1, most_cards + 1)))]
        right = int(rng.integers(len(cards)))
        others = [i for i in range(len(cards)) if i != right]
        order = [right, *others] if rng.random() < 0.8 else rng.permutation(len(cards)).tolist()
        levels = sorted(rng.integers(0, 10, len(cards)).tolist(), reverse=True)
        prompt = [c("bos"), c("reply"), c("persona")]
        for level, place in zip(levels, order, strict=True):
            prompt += [c("card"), c(f"s{level}"), *cards[place]]
        start = int(rng.integers(0, max(len(cards[right]) - 2, 1)))
        prompt += [c("user"), *cards[right][start : start + 3], c("agent")]
        answer = [c("neutral"), c("i2"), c("quote"), *cards[right], c("/quote"), c("end")]
        yield "drill", Example(prompt + answer, [False] * len(prompt) + [True] * len(answer))
