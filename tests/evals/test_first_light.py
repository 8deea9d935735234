import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from visavis.agent.embedded import EmbeddedEngine
from visavis.agent.llama import Llama, LlamaConfig
from visavis.emotion import Emotion
from visavis.evals.first_light import controls, facts, gestures, move, timing
from visavis.evals.first_light.table import Table, share
from visavis.evals.strokes import nearest
from visavis.finetune.motion_corpus import TaughtTurn
from visavis.tokenizers.turn_language import ActPlan, Candidate, ReplyPlan, Segment, Tag
from visavis.tokenizers.vocabulary import JointVocabulary


class Mind:
    """A planner that quotes its best card, and makes its best candidate on the last word."""

    name = "test"

    def __init__(self, floor=0.3):
        self.floor = floor

    def reply(self, prompt, *, seed, cancel):
        best = prompt.cards[0] if prompt.cards else None
        if best is None or best.score < self.floor:
            return ReplyPlan(Emotion(), (Segment("I am afraid I do not know that."),))
        return ReplyPlan(Emotion("joy", 0.5), (Segment("Oh!"), Segment(best.text, True)))

    def feel(self, prompt, *, cancel):
        return Emotion("joy", 0.5)

    def act(self, prompt, *, params, seed, cancel, chances=(), called=None, bias=0.0):
        words = len(prompt.text.split())
        tags = (Tag(prompt.candidates[0].text, words - 1, {}),) if prompt.candidates else ()
        return ActPlan(None, prompt.text, tags)


class Index:
    """Thinks of `stop` first, always."""

    glosses = ("stop", "nod", "shrug")

    def candidates(self, text, k=5):
        return [Candidate("stop", 0.95), Candidate("nod", 0.1)][:k]

    def none_score(self, text):
        return 0.99 if "Psst" in text else 0.0

    def word_chances(self, text, k=3):
        return np.full(len(text.split()), 0.1, np.float32)


def test_table_shows_and_writes(tmp_path):
    table = Table("A table")
    table.add("hits", share([True, False]), "%", 100)
    table.add("nothing", share([]))
    assert "50.000" in str(table) and "nan" in str(table)
    table.write(tmp_path / "t.json")
    rows = json.loads((tmp_path / "t.json").read_text())["rows"]
    assert rows[0]["value"] == 50 and rows[1] == {
        "name": "nothing", "value": None, "low": None, "high": None, "n": 0, "unit": ""
    }  # fmt: skip


def test_a_thousand_disguises_stay_text():
    vocabulary = JointVocabulary.default()
    texts = controls.disguises(vocabulary)
    assert len(set(texts)) == 1000
    table = controls.measure(vocabulary, 200)
    assert [row["value"] for row in table.rows] == [100, 100, 100] and not table.details["leaks"]


def test_a_leak_is_seen():
    class Leaky(JointVocabulary):
        def encode_text(self, text):
            return [self.control("end")] if "<|end|>" in text else super().encode_text(text)

    vocabulary = JointVocabulary.default()
    leaky = Leaky(vocabulary.text_model)
    assert controls.measure(leaky, 400).value("encode to text only") < 100


def test_judging_answers():
    persona, questions, _ = facts.heldout()[0]
    fact, other = persona.facts[:2]
    assert facts.judge(f"Of course! {fact}", persona, fact) == (True, False, [])
    assert facts.judge(fact.replace(" ", "  ").upper(), persona, fact)[0]
    assert facts.judge(f"{fact} {other}", persona, fact) == (False, False, [other])
    assert facts.judge(fact[: len(fact) // 2], persona, fact) == (False, False, [])
    assert facts.judge("Sorry, I don't know that.", persona, None) == (False, True, [])
    assert facts.judge(f"Sorry, I don't know. {fact}", persona, None) == (False, False, [fact])
    assert facts.judge("What a nice day!", persona, None) == (False, False, [])


def test_facts_are_measured(monkeypatch):
    everybody = facts.heldout()
    monkeypatch.setattr(facts, "heldout", lambda: everybody[:2])

    def five(asked, cards, history):
        known = [fact for card in cards for fact in card.facts]
        return [Candidate(fact, 0.9) for fact in known[:5]] if "doctor" not in asked else []

    monkeypatch.setattr(facts, "rank_cards", five)
    table = facts.measure(Mind(), Mind(floor=2.0))
    assert table.value("RECALL: fact is first") == 10 and table.value("RECALL: fact is among five") == 50
    assert table.value("right, with the quoting constraint") == 10
    assert table.value("right, without the quoting constraint") == 0
    assert table.value("unknown declined, without the quoting constraint") == 100
    assert len(table.details["ten_answers"]) == 10


def test_gestures_are_measured():
    table = gestures.measure(Mind(), _library())
    assert table.value("ACT: a gesture is made") == 100
    assert table.value("ACT: the best gesture @1") == 3.75
    assert table.value("retrieval alone: accepted @1") == 2.5
    assert table.value("anchor, of accepted gestures: the best word") == pytest.approx(100 / 6)  # by luck
    made = gestures.act(Mind(), _library(), "Stop that right now. And go home at once.")
    assert [g.word for g in made] == [3, 8]


def _library():
    from visavis.retrieval.lexicon import load_lexicon
    from visavis.retrieval.library import Library

    return Library(load_lexicon(), Index())


def _turn(seed):
    words = ["Well,", "this", "is", "quite", "strange,", "she", "said", "to", "me", "softly."]
    spoken = [(w, 0.3 * i, 0.3 * i + 0.3, 0.5, 0.3 * i + 0.1) for i, w in enumerate(words)]
    return TaughtTurn("dev", "speak", " ".join(words), "joy", 0.5, 0, 3.0, 0, 120, spoken, [], [])


def test_move_is_scored():
    vocabulary = JointVocabulary.default()
    torch.manual_seed(0)
    config = LlamaConfig(vocabulary.size, width=32, layers=1, heads=2)
    model = Llama(config)
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (30, 5))
    table = move.measure_turns(EmbeddedEngine(model, vocabulary), [_turn(0), _turn(1)], lambda turn: codes)
    assert table.value("speaking: model") == pytest.approx(np.log(vocabulary.size), abs=1.0)
    assert table.value("speaking: best unigram") < np.log(4) + 0.01
    assert table.details["tokens"] == 2 * 150


def test_other_words_keep_times_and_punctuation():
    turns = [_turn(0), replace(_turn(1), words=[("Yes!", 0.0, 0.3, 1.0, 0.1)])]
    shuffled = move.other_words(turns)
    before = [word for turn in turns for word in turn.words]
    after = [word for turn in shuffled for word in turn.words]
    assert [word[1:] for word in before] == [word[1:] for word in after]
    assert [word[0][-1] in ",.!" for word in before] == [word[0][-1] in ",.!" for word in after]
    bare = [sorted(word[0].strip(",.!") for word in words) for words in (before, after)]
    assert bare[0] == bare[1] and [w[0] for w in before] != [w[0] for w in after]


def test_random_words_remember_what_was_meant():
    planner = timing.RandomWords(Mind())
    prompt = type("Prompt", (), {"text": "one two three", "candidates": [Candidate("stop", 0.5)]})()
    words = {planner.act(prompt, params={}, seed=0, cancel=None).tags[0].word for _ in range(20)}
    assert words == {0, 1} and planner.meant == {("one two three", "stop"): 2}


def test_timing_reads_the_exported_file(huge_turn, tmp_path):
    motion = timing.read_turn(huge_turn, tmp_path, whole=False)
    out = timing.Measured()
    timing._one(out, 0, huge_turn, motion, {})
    ((key, offset),) = out.offsets.items()
    assert key == (0, 0, "huge size") and abs(offset) < 0.1 and out.stresses[key] == 2.2
    meant = timing.Measured()
    timing._one(meant, 0, huge_turn, motion, {(huge_turn.text, "huge size"): 0})
    assert meant.stresses[key] == 1.2


def test_nearest():
    assert nearest([1.0, 2.0], 1.9, 0.6) == pytest.approx(0.1)
    assert nearest([], 1.0, 0.6) == 0.6 and nearest([5.0], 1.0, 0.6) == 0.6
