"""Engines are compared with recorded turns: agreement is seen where it is, and missed where it is not."""

import copy

import numpy as np
import pytest
import torch

from visavis.agent.embedded import EmbeddedEngine
from visavis.agent.grid import STEP_S
from visavis.agent.llama import Llama
from visavis.errors import FileFormatError, ServiceError
from visavis.evals.serving import agreement, grammars, sampled, throughput
from visavis.evals.serving.calls import record_turns, replay
from visavis.tokenizers.vocabulary import JointVocabulary


@pytest.fixture(scope="module")
def turns(models):
    return record_turns(2)


@pytest.fixture(scope="module")
def exact(models) -> EmbeddedEngine:
    return EmbeddedEngine.load(models / "planner", exact=True)


def test_a_turn_is_its_questions(turns):
    recorded, _ = turns
    answered, said = ([call.stage for call in calls] for calls in recorded)
    assert answered[0] == "reply" and said[0] == "feel"
    assert all({"act", "move"} <= set(stages) for stages in (answered, said))
    assert {call.stage for call in agreement.one_of_each(recorded, 3)} == {"reply", "act", "move"}


def test_replayed_it_comes_out_the_same(turns, exact):
    recorded, library = turns
    first, again = (replay(recorded[0], exact, library) for _ in range(2))
    assert [str(a) for a in first] == [str(b) for b in again]


def test_agreement_and_its_absence(turns, exact, models):
    recorded, library = turns
    model = Llama.load(models / "planner")
    with torch.no_grad():
        model.layers[2].down.mul_(-1)
    other = EmbeddedEngine(model, JointVocabulary.load(models / "planner"), exact=True)
    asked = agreement.one_of_each(recorded, 4)
    table = agreement.measure(exact, {"same": copy.copy(exact), "other": other}, asked, library)
    assert table.details["same"]["divergences"] == [] and table.details["same"]["choices"] > 20
    assert table.details["other"]["beyond"] > 0
    assert table.details["other"]["divergences"][0]["lead"] > 0


def test_turns_at_once(turns, exact):
    recorded, library = turns
    table = throughput.measure(
        {"one": lambda: exact, "two": lambda: exact}, [recorded[0][:1]], library, concurrent=(2,), rounds=2
    )
    assert table.value(" 2 at once, one: turns a second") > 0 and table.value(" 2 at once: one over two") > 0


def test_what_fails_is_counted_by_kind(turns, exact, monkeypatch):
    recorded, library = turns
    monkeypatch.setattr(sampled, "replay", lambda calls, *_: [None] * len(calls))
    monkeypatch.setattr(sampled, "_judge", lambda calls, made: {"words in the reply": [1.0, 0.0], "repeat": [0.0]})
    table = sampled.measure({"one": exact}, recorded, library, 3)
    assert table.value("one: words in the reply") == 50
    assert table.details["one"]["turns_that_failed"] == {"words in the reply": 3}
    assert table.details["one"]["first"] == {"words in the reply": [0, 1, 2]}


def test_a_run_that_broke_off_is_taken_up_again(turns, exact, monkeypatch, tmp_path):
    recorded, library = turns
    kept, asked = tmp_path / "kept.jsonl", []

    def lost(calls, hot, _):
        asked.append(calls)
        if len(asked) == 3:
            raise ServiceError("the server is gone")
        return [None] * len(calls)

    monkeypatch.setattr(sampled, "replay", lost)
    monkeypatch.setattr(sampled, "_judge", lambda calls, made: {"words in the reply": [True], "repeat": [0.5]})
    with pytest.raises(ServiceError):
        sampled.measure({"one": exact}, recorded, library, 5, at_once=1, kept=kept)
    done = len(kept.read_text().splitlines()) - 1
    asked[:] = asked[:3]  # so that nothing fails any more
    kept.write_text(kept.read_text() + '{"engine": "one", "tu')  # the machine stopped in the middle of a line
    table = sampled.measure({"one": exact}, recorded, library, 5, at_once=1, kept=kept)
    assert 2 <= done < 5 and len(asked) == 3 + 5 - done, "only what was missing"
    assert table.details["one"]["turns"] == 5
    assert table.value("one: words in the reply") == 100 and len(kept.read_text().splitlines()) == 1 + 5
    with pytest.raises(FileFormatError, match="temperature"):
        sampled.measure({"one": exact}, recorded, library, 5, temperature=0.5, kept=kept)
    kept.write_text("nothing\n")
    with pytest.raises(FileFormatError, match="name another file"):
        sampled.measure({"one": exact}, recorded, library, 5, kept=kept)


def test_every_chunk_of_a_turn_is_a_grammar(turns, models):
    recorded, library = turns
    found = grammars.grammars_of(recorded, library, models / "planner")
    for calls, texts in zip(recorded, found, strict=True):
        stages = [call.stage for call in calls]
        # What is felt is no chunk: meaning weighs the emotion, so it is chosen from here, and then its level.
        assert len(texts) == stages.count("move") + stages.count("reply")
        assert all(text.startswith("start: <[") for text in texts)


def test_hot_turns_stay_inside_and_loops_are_seen(turns, exact):
    recorded, library = turns
    table = sampled.measure({"one": exact}, [recorded[1]], library, 2, at_once=1)
    for what in ("the words of the clause kept", "only glosses that were shown", "steps and forced codes exact"):
        assert table.value(f"one: {what}") == 100
    assert table.details["one"] == {"turns": 2, "turns_that_failed": {}, "first": {}}
    late = sampled.measure({"one": exact}, [recorded[1]], library, 50, at_once=2, minutes=0)
    assert late.details["one"]["turns"] == 0 and late.value("one: no loop beyond 3 s") is None
    free = np.ones(40, bool)
    codes = np.arange(120).reshape(40, 3)
    assert sampled.longest_repeat_s(codes, free) == 0
    codes[10:20] = codes[10]
    assert sampled.longest_repeat_s(codes, free) == pytest.approx(10 * STEP_S)
    codes[20:36] = np.tile(codes[:2], (8, 1))
    assert sampled.longest_repeat_s(codes, free) == pytest.approx(16 * STEP_S)
    assert sampled.longest_repeat_s(codes, ~free) == 0
