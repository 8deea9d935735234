from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from visavis.emotion import Emotion
from visavis.finetune.acts import compose
from visavis.finetune.acts.compose import generate
from visavis.finetune.acts.recall_head import auc
from visavis.finetune.acts.unseen import FOLDS, HALVES, Judge, folds_of
from visavis.finetune.acts.vary import Sentence, join, lower_first, part_of, sentence_of, vary
from visavis.finetune.text_corpus import read_acts, write_examples
from visavis.retrieval.index import GestureIndex
from visavis.retrieval.layers import DEFAULT_ENCODER, load_encoder
from visavis.retrieval.utterances import NONE, load_utterances
from visavis.tokenizers.turn_language import ActPlan, ActPrompt


@pytest.fixture(scope="module")
def examples() -> list[tuple[ActPrompt, ActPlan]]:
    """A small corpus; the shipped index stands for those of both halves, which take half an hour to train."""
    utterances = load_utterances()
    by_fold: list[dict] = [{} for _ in range(FOLDS)]
    for one, fold in zip(utterances, folds_of(utterances), strict=True):
        by_fold[fold].setdefault(one.gloss, []).append(one)
    felt = [Sentence(("What", "a", "day!"), (), Emotion("joy", 0.7))]
    judge = Judge(load_encoder(DEFAULT_ENCODER), GestureIndex.default().head)
    known = compose.Material(tuple(by_fold), (judge,) * HALVES, {"train": felt, "dev": felt})
    original, compose.BATCH = compose.BATCH, 100  # type: ignore[misc]
    try:
        return list(generate(160, known, seed=3))
    finally:
        compose.BATCH = original  # type: ignore[misc]


def test_examples_are_in_the_language(examples: list[tuple[ActPrompt, ActPlan]]) -> None:
    assert len(examples) == 160
    for prompt, plan in examples:
        assert prompt.text == plan.text == " ".join(plan.text.split())
        assert (prompt.emotion is None) == (plan.emotion is not None)
        shown = [one.text for one in prompt.candidates]
        assert len(shown) == len(set(shown)) == 5
        for tag in plan.tags:
            assert tag.gloss in shown
            assert 0 <= tag.word < len(plan.text.split())
        words = [tag.word for tag in plan.tags]
        assert words == sorted(words)


def test_half_is_felt_by_the_model_and_some_have_no_gesture(examples: list[tuple[ActPrompt, ActPlan]]) -> None:
    assert sum(prompt.emotion is None for prompt, _ in examples) == 80
    free = sum(not plan.tags for _, plan in examples) / len(examples)
    assert 0.15 < free < 0.6
    assert any(len(plan.tags) == 2 for _, plan in examples)


def test_a_corpus_survives_the_disk(examples: list[tuple[ActPrompt, ActPlan]], tmp_path: Path) -> None:
    path = tmp_path / "deep" / "act.jsonl"
    assert write_examples(path, len(examples), lambda n: examples[:n]) == len(examples)
    assert list(read_acts(path)) == examples


def test_variation_keeps_gestures_on_real_words() -> None:
    rng = random.Random(0)
    for utterance in load_utterances():
        plain = sentence_of(utterance)
        assert plain.text == utterance.text
        for change in (vary, part_of):
            varied = change(plain, rng)
            for gloss, word in varied.gestures:
                assert gloss == utterance.gloss
                assert any(letter.isalnum() for letter in varied.words[word])


def test_variation_that_changes_nothing_else_keeps_the_anchor() -> None:
    told = Sentence(("I'm", "here,", "and", "it", "was", "vast!"), (("huge size", 5),), Emotion("joy", 0.5))
    for seed in range(60):
        varied = vary(told, random.Random(seed))
        ((_, place),) = varied.gestures
        assert varied.words[place].strip(".,!").startswith("vast")


def test_join_shifts_and_lowering_spares_names() -> None:
    hello = Sentence(("Hello!",), (("greeting wave", 0),), Emotion())
    both = join([hello, hello], Emotion("joy", 0.3))
    assert both.gestures == (("greeting wave", 0), ("greeting wave", 1))
    assert lower_first(Sentence(("We", "go"), (), Emotion())).text == "we go"
    assert lower_first(Sentence(("I'm", "off"), (), Emotion())).text == "I'm off"
    assert lower_first(Sentence(("Marta", "sings"), (), Emotion())).text == "Marta sings"


def test_folds_spread_each_gloss() -> None:
    utterances = load_utterances()
    folds = folds_of(utterances)
    for gloss in {one.gloss for one in utterances}:
        counts = np.bincount([fold for one, fold in zip(utterances, folds, strict=True) if one.gloss == gloss])
        assert len(counts) == FOLDS and np.ptp(counts) <= 1
    np.testing.assert_array_equal(folds, folds_of(utterances))


def test_a_judge_scores_as_the_index_does() -> None:
    judge = Judge(load_encoder(DEFAULT_ENCODER), GestureIndex.default().head)
    texts = ["It was huge, really, and then it was gone.", "Hello there!"]
    for text, scores in zip(texts, judge.scores(texts), strict=True):
        np.testing.assert_allclose(scores, GestureIndex.default().scores(text), atol=1e-5)


def test_area_under_the_curve() -> None:
    score = np.array([0.1, 0.2, 0.8, 0.9])
    assert auc(score, score > 0.5) == 1
    assert auc(-score, score > 0.5) == 0
    assert np.isnan(auc(score, score > 2))


def test_nothing_is_said_of_none() -> None:
    assert all(not sentence_of(one).gestures for one in load_utterances() if one.gloss == NONE)
