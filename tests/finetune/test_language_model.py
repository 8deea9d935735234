import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from visavis.agent.embedded import EmbeddedEngine
from visavis.agent.llama import Llama, LlamaConfig
from visavis.errors import FileFormatError, UsageError
from visavis.finetune.commands import PLANNER
from visavis.finetune.language_model import PlannerTraining, Stage, evaluate, new_model, train
from visavis.finetune.token_corpus import TokenCorpus
from visavis.tokenizers.turn_language import Example
from visavis.tokenizers.vocabulary import JointVocabulary

QUICK = PlannerTraining(batch_tokens=512, lr=3e-3, checkpoint_s=0.0, log_s=0.0, sample_s=1e9)


@pytest.fixture(scope="module")
def vocabulary() -> JointVocabulary:
    return JointVocabulary.default()


def tiny(vocabulary: JointVocabulary) -> Llama:
    return new_model(vocabulary, LlamaConfig(vocabulary.size, 1, 64, 2, 96, 64), minilm=False)


def answers(vocabulary: JointVocabulary, count: int, seed: int = 0) -> TokenCorpus:
    """Each of eight questions has its answer."""
    rng, bos, agent = random.Random(seed), vocabulary.control("bos"), vocabulary.control("agent")
    examples = []
    for _ in range(count):
        question = rng.randrange(300, 308)
        padding = [rng.randrange(400, 410) for _ in range(rng.randrange(1, 9))]
        ids = [bos, question, agent, *padding, question + 700]
        examples.append(("answer", Example(ids, [False] * (len(ids) - 1) + [True])))
    return TokenCorpus.build(examples)


def test_corpus_keeps_what_it_is_given(vocabulary: JointVocabulary, tmp_path: Path) -> None:
    examples = [("a", Example([1, 2, 3], [False, True, False])), ("b", Example([4] * 9, [False] + [True] * 8))]
    corpus = TokenCorpus.build([*examples, ("a", Example([5, 6], [True, False]))], context=6)
    assert corpus.size == 2  # in the third nothing can be learnt
    corpus.save(tmp_path / "c.npz")
    again = TokenCorpus.load(tmp_path / "c.npz")
    assert again.sequence(0) == examples[0][1]
    assert again.sequence(1) == Example([4] * 6, [False] + [True] * 5)
    assert again.names == ("a", "b")
    with pytest.raises(FileFormatError, match="visavis train corpus"):
        TokenCorpus.load(tmp_path / "none.npz")


def test_batches_hold_every_sequence_once_and_little_padding(vocabulary: JointVocabulary) -> None:
    rng = random.Random(0)
    lengths = [rng.randrange(5, 200) for _ in range(500)]
    corpus = TokenCorpus.build(("a", Example([7] * n, [False] + [True] * (n - 1))) for n in lengths)
    batches = corpus.batches(2048, seed=1, epoch=0)
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    gathered = [corpus.gather(batch) for batch in batches]
    assert max(batch.ids.size for batch in gathered) <= 2048 + 8 * 410
    assert sum(batch.ids.size for batch in gathered) < 1.15 * sum(lengths)
    assert sum(int(batch.mask.sum()) for batch in gathered) == sum(lengths) - 500
    stream = corpus.stream(2048, 1)
    wanted = [next(stream).ids for _ in range(len(batches) + 3)][-1]
    assert np.array_equal(next(corpus.stream(2048, 1, skip=len(batches) + 2)).ids, wanted)


def test_it_learns_and_logs_and_saves(vocabulary: JointVocabulary, tmp_path: Path) -> None:
    corpus, heldout = answers(vocabulary, 400), answers(vocabulary, 50, seed=1)
    model = tiny(vocabulary)
    before = evaluate(model, heldout)["answer"]
    train([Stage("all", corpus, 60_000)], vocabulary, tmp_path, QUICK, model, heldout, lambda model: "sample")
    assert before > 7
    assert evaluate(Llama.load(tmp_path), heldout)["answer"] < 0.5
    engine = EmbeddedEngine.load(tmp_path, exact=True)
    example = heldout.sequence(0)
    assert next(engine.generate(example.ids[:-1])) == example.ids[-1]
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert records[0]["loss"]["answer"] > records[-2]["loss"]["answer"]
    assert "heldout" in records[-1]
    assert "| answer | 0." in (tmp_path / "README.md").read_text()
    assert "sample" in (tmp_path / "samples.txt").read_text()


def test_a_resumed_run_is_the_same_run(vocabulary: JointVocabulary, tmp_path: Path) -> None:
    corpus = answers(vocabulary, 200)
    stages = [Stage("one", corpus, 4000), Stage("two", corpus, 6000)]
    whole = train(stages, vocabulary, tmp_path / "whole", QUICK, tiny(vocabulary))

    class Killed(Exception):
        pass

    def kill(model: Llama) -> str:
        raise Killed

    with pytest.raises(Killed):
        train(stages, vocabulary, tmp_path / "parts", replace(QUICK, sample_s=0.15), tiny(vocabulary), None, kill)
    resumed = train(stages, vocabulary, tmp_path / "parts", QUICK, tiny(vocabulary))
    for name, parameter in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], parameter, atol=2e-3, rtol=2e-2)
    with pytest.raises(UsageError, match=r"checkpoint\.pt"):
        train(stages, vocabulary, tmp_path / "parts", QUICK, Llama(LlamaConfig(vocabulary.size, 2, 64, 2, 96, 64)))


def test_only_marked_tokens_are_learnt(vocabulary: JointVocabulary) -> None:
    example = Example([1, 2, 3, 4], [False, False, True, False])
    model = tiny(vocabulary)
    with torch.no_grad():
        logs = torch.log_softmax(model(torch.tensor([example.ids])), -1)
    wanted = -float(logs[0, 1, 3])
    assert evaluate(model, TokenCorpus.build([("a", example)]))["a"] == pytest.approx(wanted, abs=0.05)


def test_model_and_vocabulary_must_agree(vocabulary: JointVocabulary) -> None:
    with pytest.raises(UsageError, match="from the vocabulary"):
        new_model(vocabulary, LlamaConfig(64, 1, 64, 1, 32))


def test_the_default_model_is_small_on_disk(vocabulary: JointVocabulary) -> None:
    planner = Llama(LlamaConfig(vocabulary.size, **PLANNER))
    assert 2 * sum(parameter.numel() for parameter in planner.parameters()) < 22e6


def test_what_is_kept_stays_as_it_was(vocabulary: JointVocabulary, tmp_path: Path) -> None:
    """Continued on wrong answers, a model that keeps to itself there is none the worse."""
    train([Stage("all", answers(vocabulary, 400), 60_000)], vocabulary, tmp_path / "a", QUICK, tiny(vocabulary))
    heldout = answers(vocabulary, 50, seed=1)
    right = answers(vocabulary, 400, seed=2)
    wrong = replace(right, ids=np.where(right.mask, right.ids + 1, right.ids).astype(right.ids.dtype))
    found = {}
    for name, keeps in (("kept", ("answer",)), ("free", ())):
        settings = replace(QUICK, keeps=keeps)
        again = Llama.load(tmp_path / "a")
        found[name] = train([Stage("all", wrong, 10_000)], vocabulary, tmp_path / name, settings, again)
    assert evaluate(found["kept"], heldout)["answer"] < 0.5
    assert evaluate(found["free"], heldout)["answer"] > 2.0
