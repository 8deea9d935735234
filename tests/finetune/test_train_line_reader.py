import json
import random
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.small_smollm import make_small
from visavis.agent import line_reader
from visavis.agent.answering import KINDS
from visavis.agent.exchanges import Exchanges
from visavis.agent.line_reader import LineReader, kinds_of
from visavis.agent.smollm_layers import PackedLayers
from visavis.errors import FileFormatError, UsageError
from visavis.evals.small_talk import talks
from visavis.finetune.replies import train_line_reader, train_suiting, visitors
from visavis.finetune.replies.train_line_reader import (
    Answered,
    Case,
    LineReaderTraining,
    Said,
    answered,
    fit,
    join_kinds,
    joined,
    new_weights,
    said,
)
from visavis.finetune.replies.train_suiting import Graded, graded
from visavis.finetune.replies.visitors import shares_of, visited


@pytest.fixture
def small(monkeypatch, tmp_path):
    for module in (line_reader, train_line_reader):
        monkeypatch.setattr(module, "CHANGED", range(1, 2))
    monkeypatch.setattr(line_reader, "LAYERS", 2)
    monkeypatch.setattr(
        train_line_reader, "load_file", lambda path: {} if path.name == "base_reader.safetensors" else load_file(path)
    )
    monkeypatch.setattr(train_line_reader, "FIRST_STEPS", 1)
    monkeypatch.setattr(train_line_reader, "said", few)
    monkeypatch.setattr(train_line_reader, "graded", lambda: [*JUDGED] * 3)
    monkeypatch.setattr(train_line_reader, "held", lambda line: False)
    smollm = make_small(monkeypatch)
    beside = SimpleNamespace(base=smollm, layers=PackedLayers(smollm, {}, 2), digest="0" * 16)
    monkeypatch.setattr(train_line_reader, "default_base_reader", lambda: beside)
    return smollm


LINES = [("We won!", "", "good_news"), ("Hello.", "", "greeting"), ("He died.", "", "bad_news")]
LINES += [("It was May.", "He died.", "bad_news"), ("It was May.", "We won!", "good_news")]
JUDGED = [
    Graded(grade, line, answer, "So.")
    for line in ("We won!", "He died.")
    for answer, grade in (("How nice!", 2 if line == "We won!" else 0), ("I see.", 1))
]


def few(rng):
    for line, before, kind in LINES * 4:
        yield Said(line, before, shares_of((kind,)), 1.0)


def steps(monkeypatch, count):
    """Let a run end after so many steps, whatever the clock says."""
    ticks = iter(range(10**9))
    monkeypatch.setattr(train_line_reader.time, "monotonic", lambda: next(ticks) * 60.0 / count)


def test_it_learns_kinds_in_their_light_and_answers(small, monkeypatch, tmp_path):
    steps(monkeypatch, 260)
    training = LineReaderTraining(minutes=1, rate=5e-3, lines=5, answered=2, threads=1)
    fit(tmp_path / "out", training)
    rows = [row.split(",") for row in (tmp_path / "out" / "curve.csv").read_text().splitlines()]
    assert len(rows) > 1 and float(rows[-1][1]) < 0.8 * float(rows[0][1])
    some = load_file(tmp_path / "out" / line_reader.WEIGHTS)
    reader = LineReader(small, PackedLayers(small, {}, 2), some)
    assert bytes(some["made_for"].tolist()).decode().endswith('"beside": "0000000000000000"}')
    for line, before, kind in LINES:
        assert KINDS[int(reader.kinds_alone(line, before).argmax())] == kind
    won, died = (reader.grades(line, "So.", ["How nice!"])[0, 0] for line in ("We won!", "He died."))
    assert won > died


def test_it_is_read_as_it_was_trained(small):
    some = {name: value.float() for name, value in new_weights(0).items()}
    some = {name: torch.randn_like(value) * 0.02 if name.endswith(".up") else value for name, value in some.items()}
    some["kinds.weight"] = torch.randn_like(some["kinds.weight"])
    learner = train_line_reader._Learner(small, some, {})
    reader = LineReader(small, PackedLayers(small, {}, 2), some)
    reading = learner.read(Said("It was May.", "He died.", shares_of(("remark",)), 1.0))
    with torch.no_grad():
        states = learner.states([reading])[:, reading.start : reading.stop + 1].float()
        wanted = kinds_of(states, torch.ones(1, states.shape[1]), some).softmax(-1)[0].numpy()
    np.testing.assert_allclose(reader.kinds_alone("It was May.", "He died."), wanted, atol=0.03)


def test_a_run_goes_on_where_it_was_stopped(small, monkeypatch, tmp_path):
    told = tmp_path / "out" / "line_reader.json"
    steps(monkeypatch, 20)
    monkeypatch.setattr(train_line_reader, "REMEMBERED", 30)  # and forgets what it has read now and then
    fit(tmp_path / "out", LineReaderTraining(minutes=1, lines=5, answered=2, threads=1))
    before, first = (tmp_path / "out" / line_reader.WEIGHTS).read_bytes(), json.loads(told.read_text())["steps"]
    fit(tmp_path / "out", LineReaderTraining(minutes=1, lines=5, answered=2, threads=1))  # its time is over
    assert (tmp_path / "out" / line_reader.WEIGHTS).read_bytes() == before
    fit(tmp_path / "out", LineReaderTraining(minutes=2, lines=5, answered=2, threads=1))
    assert json.loads(told.read_text())["steps"] > first > 1
    assert (tmp_path / "out" / line_reader.WEIGHTS).read_bytes() != before


def test_it_is_judged_and_joined(small, monkeypatch, tmp_path, capsys):
    steps(monkeypatch, 8)
    fit(tmp_path / "line_reader", LineReaderTraining(minutes=1, lines=5, answered=2, threads=1))
    kept = Exchanges.default().replies
    some = [
        Graded((i + k) % 3, line, kept[10 * i + k], "So.")
        for i, line in enumerate(("We won!", "He died.", "It was May.", "Hm.", "Oh no."))
        for k in range(3)
    ]
    monkeypatch.setattr(
        train_line_reader, "graded", lambda: [*some, Graded(1, "We won!", "In no table at all.", "So.")]
    )
    monkeypatch.setattr(train_line_reader, "held", lambda line: True)
    monkeypatch.setattr(train_line_reader, "cases", lambda: [Case(*line[:2], (line[2],), "talks") for line in LINES])
    train_line_reader.main([str(tmp_path), "--fit"])
    said = capsys.readouterr().out
    assert "both:" in said and "talks, a kind that would do" in said and "5 lines, 15 answers" in said
    joins = load_file(tmp_path / "line_reader" / line_reader.WEIGHTS)
    assert joins["kinds.join"].tolist() != [1.0, 0.0] and joins["suits.join"][0] != 0
    train_line_reader.main([str(tmp_path), "--check"])
    assert "both:" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        train_line_reader.main(["--fit"])


def test_without_its_base_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(train_line_reader, "default_base_reader", lambda: None)
    for there, what in ((None, "pip install"), (tmp_path, "base_reader")):
        monkeypatch.setattr(train_line_reader, "find_smollm", lambda there=there: there)
        with pytest.raises(UsageError, match=what):
            fit(tmp_path / "out")


def test_the_join_is_the_one_with_the_fewest_nats():
    rng = np.random.default_rng(0)
    some = [Case("x", "", (KINDS[i % len(KINDS)],), "talks") for i in range(60)]
    right = np.stack([shares_of(case.kinds) for case in some]) * 0.8 + 0.2 / len(KINDS)
    noise = rng.dirichlet(np.ones(len(KINDS)), 60).astype(np.float32)
    first, second = join_kinds(some, noise, right.astype(np.float32))
    assert second > 1 and abs(first) < second / 4
    both = joined(noise, right.astype(np.float32), (first, second))
    np.testing.assert_allclose(both.sum(1), 1, rtol=1e-5)


def test_answers_to_a_line_are_read_together():
    some = [Graded(i % 3, "We won!", f"Answer {i}.", "So.") for i in range(8)] + [Graded(2, "We won!", "Oh!", "")]
    found = answered(some)
    assert sorted(len(one.answers) for one in found) == [1, 3, 5]
    assert {one.before for one in found} == {"So.", ""}
    assert all(isinstance(one, Answered) and len(one.answers) == len(one.grades) for one in found)


def test_judgements_are_whole():
    some = graded()
    assert len(some) > 45_000 and {one.grade for one in some} == {0, 1, 2}
    assert all(one.line and one.answer for one in some) and sum(bool(one.before) for one in some) > 20_000


def test_talks_of_visitors_are_whole_and_split():
    train, dev = visited("train"), visited("dev")
    assert len(train) > 10_000 and len(dev) > 1_000
    assert all(one.line and 1 <= len(one.kinds) <= 3 and set(one.kinds) <= set(KINDS) for one in (*train, *dev))
    assert {one.kinds[0] for one in train} == set(KINDS)
    learnt = {one.line for one in train}
    assert sum(one.line in learnt and len(one.line.split()) > 3 for one in dev) < 0.01 * len(dev)  # by chance


def test_no_frozen_talk_is_learnt_from():
    plain = lambda line: " ".join(re.findall(r"\w+", line.lower()))  # noqa: E731
    frozen = {plain(line) for split in ("held", "fresh", "late") for talk in talks(split) for line, *_ in talk.lines}
    learnt = {plain(one.line) for one in (*visited("train"), *visited("dev"))}
    learnt |= {plain(text) for one in graded() for text in (one.line, one.before)}
    assert not {line for line in frozen & learnt if len(line.split()) > 2}


@pytest.mark.parametrize(
    "row", ["", "joy\tHello.", "greeting", "greeting\t", "a,b,c,d\tHello.", "greeting\tHello.\tYes."]
)
def test_a_wrong_row_of_talks_is_told(monkeypatch, tmp_path, row):
    (tmp_path / "talks.tsv").write_text(f"# guide | a visitor\n{row}\n")
    monkeypatch.setattr(visitors.resources, "files", lambda package: tmp_path)
    with pytest.raises(FileFormatError, match="row 2"):
        visitors._talks.__wrapped__()


@pytest.mark.parametrize("row", ["3\ta\tb", "1\ta", "1\t\tb", "1\ta\tb\tc\td"])
def test_a_wrong_judgement_is_told(monkeypatch, tmp_path, row):
    (tmp_path / "suiting.tsv").write_text(f"2\tHi.\tHello!\n{row}\n")
    monkeypatch.setattr(train_suiting.resources, "files", lambda package: tmp_path)
    with pytest.raises(FileFormatError, match="row 2"):
        graded.__wrapped__()


def test_every_pass_says_lines_anew():
    one, two = ([*said(random.Random(seed))] for seed in (0, 1))
    assert len(one) == len(two) > 30_000
    assert {line.line for line in one} != {line.line for line in two}
    assert all(line.wanted.sum() == pytest.approx(1) for line in one[:500])
