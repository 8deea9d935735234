"""What was answered to lines like this one, whether it suits, and that the model is reminded of it."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from visavis.agent.answering import KINDS, Answering
from visavis.agent.embedded import EmbeddedEngine
from visavis.agent.exchanges import DEFAULT_EXCHANGES, Exchange, Exchanges
from visavis.agent.loading import models_folder
from visavis.agent.manners import replies_by_kind
from visavis.agent.native import NativePlanner, felt_with
from visavis.agent.planner import Cancel
from visavis.agent.suiting import DEFAULT_SUITING, GRADES, Suiting
from visavis.emotion import EMOTIONS
from visavis.errors import FileFormatError
from visavis.finetune.replies import train_exchanges, train_suiting
from visavis.finetune.replies.train_exchanges import Row, held, rows
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.library import Library
from visavis.tokenizers.turn_language import Candidate, ReplyPrompt


@pytest.fixture(scope="module")
def table():
    return Exchanges.default()


def near(table, line, most=6):
    return table.near(line, Answering.default().kinds(line), most)


def test_answers_come_with_their_feeling(table):
    found = near(table, "My cat died last night.")
    assert len({one.reply for one in found}) == len(found) == 6
    assert all(one.emotion in EMOTIONS and 0 <= one.level <= 10 for one in found)
    assert all(-1 <= one.fits <= 1.001 and -1 <= one.like <= 1.001 and 0 <= one.kind <= 1 for one in found)
    assert found[0].emotion == "sadness" and found[0].reply in table.replies


def test_a_line_that_was_written_finds_its_own_answer(table):
    some = [row for row in rows() if not held(row)][::1500]
    hits = [any(one.reply == row.reply for one in near(table, row.line, 12)) for row in some]
    assert np.mean(hits) > 0.9, [row.line for row, hit in zip(some, hits, strict=True) if not hit]


def test_what_was_answered_so_is_known_word_for_word(table):
    row = rows()[0]
    assert row.kind in table.kinds_of(row.reply)
    assert table.kinds_of("Nobody ever wrote this, I am sure.") == frozenset()


def test_any_line_is_read_without_harm(table):
    for line in ("x", "?!", "🙂", "word " * 400, "Ünïcödé – 你好"):
        assert len(near(table, line)) == 6
        assert Suiting.default().judge(line, ["Good morning!"]).shape == (1, GRADES)
    assert Suiting.default().judge("Hello.", []).shape == (0, GRADES)


def test_every_exchange_is_one_that_can_be_said():
    seen = set()
    for row in rows():
        assert row.kind in KINDS and row.emotion in EMOTIONS and 0 <= row.level <= 10, row
        assert row.line.strip() and row.line.lower() not in seen, row
        seen.add(row.line.lower())
        assert row.reply[-1] in ".!?" and not any(sign in row.reply for sign in '{}<>|*_[]"0123456789'), row
        assert len(row.reply.split()) <= 18, row


def test_answers_that_suit_are_mostly_told_from_those_that_do_not():
    judge, right = Suiting.default(), []
    for line, good, bad in (
        ("My grandmother died on Sunday.", "I'm so sorry about your grandmother.", "How lovely that she visits!"),
        ("I passed my driving test!", "Congratulations, the road is yours now!", "I'm so sorry to hear that."),
        ("it's raining again", "Rain again! A good day to stay in.", "Enjoy the sunshine!"),
        ("I hardly slept.", "A short night! Take it slowly today.", "You've slept like a log, how nice!"),
        ("My boss shouted at me.", "Nobody should be shouted at.", "What a kind boss you have!"),
        ("we got a puppy", "A puppy, how lovely! What's the name?", "I'm sorry for your loss."),
        ("I have an exam tomorrow.", "Fingers crossed for your exam!", "A good meal does wonders."),
        ("You're very kind.", "Thank you, that's good to hear!", "What a rude thing to do!"),
    ):
        odds = judge.judge(line, [good, bad])
        right.append(odds[0, 0] > odds[1, 0])
    assert sum(right) >= 6, right


def test_chances_go_by_words_and_likeness():
    near, far = (
        Exchange("Rain again!", "neutral", 3, 0.8, 0.9, 0.9),
        Exchange("Rain again!", "neutral", 3, 0.1, 0.1, 0.9),
    )
    judge = Suiting.default()
    chances = judge.joined(judge.features("it's raining again", [near, far]))
    assert chances.shape == (2,) and 1 > chances[0] > chances[1] > 0
    assert judge.joined(judge.features("it's raining", [])).shape == (0,)


def test_who_may_be_in_danger_gets_the_weighed_words():
    planner = NativePlanner(EmbeddedEngine.load(models_folder() / "planner"), Library(load_lexicon()))
    for line in ("I want to end it all tonight.", "nobody would miss me", "I don't want to live any more, my cat died"):
        plan = planner.reply(ReplyPrompt("Ilse", "a shopkeeper", (), (), line), seed=0, cancel=Cancel())
        assert not Exchanges.default().kinds_of(plan.text), plan.text
    plan = planner.reply(ReplyPrompt("Ilse", "a shopkeeper", (), (), "my cat died last night"), seed=0, cancel=Cancel())
    assert plan.emotion.name == "sadness"


HELP = {wording for group in replies_by_kind()["emergency"] for wording in group["say"]}


@pytest.mark.parametrize("reminded", [True, False])
def test_who_is_in_danger_is_sent_for_help_whatever_is_on_a_card(reminded):
    planner = NativePlanner(
        EmbeddedEngine.load(models_folder() / "planner"), Library(load_lexicon()), reminded=reminded
    )
    cards = [Candidate("In case of fire the exit is behind the stairs.", 0.9)]
    said = []
    for line in ("Help, the kitchen is on fire!", "my husband collapsed and he is not breathing"):
        prompt = ReplyPrompt("Ilse", "a shopkeeper", cards, [("user", line), ("agent", " ".join(said))], line)
        plan = planner.reply(prompt, seed=0, cancel=Cancel())
        assert plan.text in HELP and plan.text not in said and plan.emotion.name == "fear", plan.text
        said.append(plan.text)
    for line in (
        "this bill gives me a heart attack",
        "my grandfather had a stroke last year",
        "Where is the fire exit?",
    ):
        plan = planner.reply(ReplyPrompt("Ilse", "a shopkeeper", cards, (), line), seed=0, cancel=Cancel())
        assert plan.text not in HELP, line


def test_answers_bring_their_feelings():
    felt = felt_with([Exchange("Good!", "joy", 5), Exchange("Oh.", "sadness", 3)])
    assert felt.sum() == pytest.approx(1, abs=1e-5)
    assert felt[EMOTIONS.index("joy"), 5] == pytest.approx(2 * felt[EMOTIONS.index("sadness"), 3])


ROWS = [
    Row(kind, f"{line} {tail}", emotion, level, reply)
    for kind, line, emotion, level, reply in (
        ("bad_news", "my dog died", "sadness", 6, "I'm so sorry about your dog."),
        ("good_news", "i passed the exam", "joy", 8, "Congratulations on your exam!"),
        ("small_talk", "it rains all day", "neutral", 3, "What grey weather!"),
    )
    for tail in ("today", "yesterday", "at last", "you know", "and so on", "i think")
]


def test_training_teaches_which_answer_belongs_to_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(train_exchanges, "BATCH", 6)
    monkeypatch.setattr(train_exchanges, "DIMENSIONS_KEPT", 8)
    table = train_exchanges.fit(ROWS, ROWS, epochs=2)
    kinds = np.full(len(KINDS), 1 / len(KINDS), np.float32)
    assert table.near("we lost our dog", kinds)[0].reply == "I'm so sorry about your dog."
    path = tmp_path / "exchanges.safetensors"
    table.save(path)
    again = Exchanges.load(path)
    assert again.near("we lost our dog", kinds)[0].reply == table.near("we lost our dog", kinds)[0].reply


def test_training_teaches_what_suits(tmp_path, monkeypatch):
    monkeypatch.setattr(train_suiting, "BATCH", 8)
    some = [
        train_suiting.Graded(2 if row.reply == other.reply else 0, row.line, other.reply)
        for row in ROWS
        for other in ROWS[::6]
    ]
    judge = train_suiting.fit(some, ROWS, epochs=2)
    odds = judge.judge("my dog died on monday", [row.reply for row in ROWS[::6]])
    assert odds.shape == (3, GRADES) and odds[:, 0].argmax() == 0
    table = train_exchanges.place({**Exchanges.default().changes}, ROWS)
    judge = train_suiting.joined(judge, table, some)
    path = tmp_path / "suiting.safetensors"
    judge.save(path)
    assert Suiting.load(path).judge("hello", ["Good!"]) == pytest.approx(judge.judge("hello", ["Good!"]), abs=0.05)


def test_kinds_that_came_later_leave_older_exchanges_as_they_are(table, tmp_path):
    arrays = load_file(DEFAULT_EXCHANGES)
    names, emotions = json.loads(arrays["names"].tobytes())
    others = sorted(names, key=lambda name: name[::-1])
    moved = np.array([others.index(name) for name in names], np.uint8)[arrays["kinds"]]
    path = tmp_path / DEFAULT_EXCHANGES.name

    def write(kinds):
        save_file(
            arrays | {"kinds": moved, "names": np.frombuffer(json.dumps([kinds, emotions]).encode(), np.uint8)}, path
        )

    write(others)
    assert (Exchanges.load(path).kinds == table.kinds).all() and "emergency" not in table.answered
    write([*others[:-1], "gossip"])
    with pytest.raises(FileFormatError, match="made for other kinds"):
        Exchanges.load(path)


@pytest.mark.parametrize(("what", "default"), [(Exchanges, DEFAULT_EXCHANGES), (Suiting, DEFAULT_SUITING)])
def test_a_broken_file_says_what_to_do(tmp_path, what, default):
    path = tmp_path / default.name
    with pytest.raises(FileFormatError, match="run `python -m visavis.finetune.replies.train_"):
        what.load(path)
    path.write_text("no arrays")
    with pytest.raises(FileFormatError, match=f"in {default.name}, could not read it"):
        what.load(path)
    arrays = load_file(default)
    name = "lines" if what is Exchanges else "weight"
    save_file(arrays | {name: arrays[name][:-1].copy()}, path)
    with pytest.raises(FileFormatError, match="could not read it"):
        what.load(path)
