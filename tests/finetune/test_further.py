"""The shipped planner is trained further on tiny data, and stays what it was where it is told to."""

import json

import pytest
import torch

from visavis.agent.embedded import EmbeddedEngine
from visavis.agent.llama import Llama, LlamaConfig
from visavis.emotion import Emotion
from visavis.finetune.further import ANSWER, answered, between, main
from visavis.finetune.token_corpus import TokenCorpus
from visavis.tokenizers.turn_language import MovePlan, MovePrompt, MoveStep, move_example
from visavis.tokenizers.vocabulary import JointVocabulary


def heard(vocabulary, words: dict[int, str], mode: str = "listen"):
    steps = [MoveStep(words.get(step, ""), 7, (step % 5,) * len(vocabulary.parts)) for step in range(20)]
    return mode, move_example(MovePrompt(mode, Emotion()), MovePlan(tuple(steps)), vocabulary)


def test_only_the_head_and_trunk_of_an_answer_are_to_be_learnt():
    vocabulary = JointVocabulary.default()
    corpus = TokenCorpus.build([
        heard(vocabulary, {2: "We", 3: "went", 5: "by train."}),  # calls for nothing
        heard(vocabulary, {2: "My", 3: "dog", 5: "died", 18: "twice."}),
        heard(vocabulary, {5: "died"}, "speak"),
    ])  # fmt: skip
    (found,) = answered(corpus, vocabulary, "answers")
    name, example = found
    learnt = [at for at, wanted in enumerate(example.mask) if wanted]
    assert name == "answers" and example.ids == corpus.sequence(1).ids
    core = [at for at, id_ in enumerate(example.ids) if id_ in vocabulary.motion_range(vocabulary.parts[0])]
    assert learnt == core[5 + ANSWER[0] : 5 + ANSWER[1]]  # the answer to "twice" would begin when all is over


def test_between_two_planners_words_that_call_for_nothing_stay_as_they_were():
    vocabulary = JointVocabulary.default()
    config = LlamaConfig(vocabulary.size, 1, 64, 1, 32, 8)
    before, after = Llama(config), Llama(config)
    mixed = between(before, after, vocabulary, 0.5)
    (died,) = vocabulary.encode_text("died")
    train, motion = vocabulary.encode_text("train")[-1], vocabulary.motion("core", 3)
    for row, share in ((died, 0.5), (train, 0.0), (motion, 0.5)):
        expected = before.embedding[row] + share * (after.embedding[row] - before.embedding[row])
        torch.testing.assert_close(mixed.embedding[row], expected)
    torch.testing.assert_close(mixed.layers[0].qkv, 0.5 * (before.layers[0].qkv + after.layers[0].qkv))


@pytest.mark.slow
def test_further_training_makes_its_corpora_and_a_planner(tmp_path):
    main([str(tmp_path), "--smoke", "--seconds", "20"])
    assert {path.name for path in (tmp_path / "further").glob("tokens_*.npz")} == {
        "tokens_move.npz", "tokens_drill.npz", "tokens_talk.npz", "tokens_dev.npz",
    }  # fmt: skip
    log = [json.loads(line) for line in (tmp_path / "planner_further" / "log.jsonl").read_text().splitlines()]
    assert set(log[-1]["heldout"]) == {"speak", "listen"}
    engine = EmbeddedEngine.load(tmp_path / "planner_further")
    assert engine.vocabulary.size == JointVocabulary.default().size
