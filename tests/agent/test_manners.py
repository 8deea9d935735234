"""What is said to a line of some kind reminds the model, and no more."""

from types import SimpleNamespace

import numpy as np
import pytest

from visavis.agent.answering import KINDS, STRENGTHS, Answering
from visavis.agent.constrain import ReplyConstraint
from visavis.agent.embedded import EmbeddedEngine
from visavis.agent.exchanges import Exchange, Exchanges
from visavis.agent.line_reader import JUDGED
from visavis.agent.loading import models_folder
from visavis.agent.manners import HELLOS, PLAIN_OF, Guide, hellos_to, replies_by_kind
from visavis.agent.native import NativePlanner, worth_telling
from visavis.agent.persona import load_persona
from visavis.agent.planner import Cancel
from visavis.emotion import EMOTIONS, Emotion
from visavis.evals.small_talk import FACT, kinds_of, talks
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.library import Library
from visavis.tokenizers.turn_language import Candidate, ReplyPlan, ReplyPrompt, Segment, emotion_ids
from visavis.tokenizers.vocabulary import JointVocabulary, default_folder

SLOTS = {"name": "Ilse", "role": "a shopkeeper"}


@pytest.fixture(scope="module")
def vocabulary():
    return JointVocabulary.load(default_folder())


@pytest.fixture(scope="module")
def planner():
    return NativePlanner(EmbeddedEngine.load(models_folder() / "planner"), Library(load_lexicon()))


def guide(vocabulary, kind, said=()):
    kinds = np.zeros(len(KINDS), np.float32)
    kinds[KINDS.index(kind)] = 1.0
    made = Guide(vocabulary, kinds, Answering.default().felt, SLOTS, said)
    group = replies_by_kind()[PLAIN_OF.get(kind, kind)][-1]
    emotion = group["feel"].split()[0]
    felt = Answering.default().felt[KINDS.index(kind), EMOTIONS.index(emotion)]
    made.begin(emotion, int(felt.argmax()))
    groups = [g for g in replies_by_kind()[PLAIN_OF.get(kind, kind)] if g["feel"].startswith(emotion)]
    hellos = [f"{hello} " for hello in HELLOS] if kind == "greeting" else [""]
    return made, [hello + wording.format(**SLOTS) for g in groups for wording in g["say"] for hello in hellos]


def test_every_kind_has_wordings_and_they_fill():
    assert {PLAIN_OF.get(kind, kind) for kind in KINDS} == set(replies_by_kind())
    for kind, groups in replies_by_kind().items():
        for group in groups:
            assert set(group) <= {"feel", "say", "quote"} and group["feel"].split()[0] in EMOTIONS, kind
            assert all(wording.format(**SLOTS).strip() for wording in group["say"]), kind


@pytest.mark.parametrize("kind", KINDS)
def test_wordings_are_followed_to_their_end_and_left_at_once(vocabulary, kind):
    made, wordings = guide(vocabulary, kind)
    ids = vocabulary.encode_text(wordings[0])
    firsts = {vocabulary.encode_text(wording)[0] for wording in wordings}
    assert set(made.gains) == firsts and min(made.gains.values()) > 0
    for id_ in ids:
        assert id_ in made.gains or not made.gains  # another wording may have ended here
        made.accept(id_)
    follows = any(group.get("quote") for group in replies_by_kind()[PLAIN_OF.get(kind, kind)])
    end = vocabulary.control("end")
    assert not made.gains if follows else end in made.gains  # another wording may go on
    made.accept(end)
    assert not made.gains
    made, _ = guide(vocabulary, kind)
    made.accept(next(id_ for id_ in range(vocabulary.text_size) if id_ not in firsts))
    assert not made.gains


@pytest.mark.parametrize(
    ("line", "wanted"),
    [("Good evening.", "evening"), ("Morning!", "morning"), ("Good afternoon, Robin", "afternoon"), ("Hi!", ""),
     ("Good night, I have one question", ""), ("Hi, a table for tomorrow evening, please", ""), ("", "")],
)  # fmt: skip
def test_a_greeting_is_returned_with_its_part_of_the_day(planner, line, wanted):
    parts = ("morning", "afternoon", "evening")
    for hello in hellos_to(line):
        assert wanted in hello and (wanted or not any(part in hello for part in parts))
    said = planner.reply(ReplyPrompt("Ilse", "a shopkeeper", (), (), line or "Hello"), seed=0, cancel=Cancel()).text
    assert {part for part in parts if part in said} <= {wanted}, said


def test_what_was_said_gains_less(vocabulary):
    fresh, wordings = guide(vocabulary, "thanks")
    again, _ = guide(vocabulary, "thanks", said=[f"{wordings[0]} Anything else?"])
    first = vocabulary.encode_text(wordings[0])[0]
    assert again.gains[first] < fresh.gains[first]


def test_an_emotion_that_no_reply_has_says_nothing(vocabulary):
    made, _ = guide(vocabulary, "thanks")
    made.begin("anger", 10)
    assert not made.gains


def test_a_guide_takes_nothing_from_a_quote(vocabulary):
    kinds = np.full(len(KINDS), 1 / len(KINDS), np.float32)
    felt = np.full((len(KINDS), len(EMOTIONS), STRENGTHS), 1 / len(EMOTIONS) / STRENGTHS, np.float32)
    made = Guide(vocabulary, kinds, felt, SLOTS)
    constraint = ReplyConstraint(vocabulary, [Candidate("The cat sleeps.", 0.9)], guide=made)
    for id_ in emotion_ids(vocabulary, Emotion("joy", 0.4)):
        constraint.accept(id_)
    allowed = constraint.allowed()
    gained = constraint.weigh(allowed, np.zeros(len(allowed), np.float32))
    assert gained.max() == gained[allowed == vocabulary.control("quote")][0] > 0
    ahead = constraint.ahead().stretch
    assert ahead is not None and ahead.most == 1
    assert all(np.isclose(ahead.bias.get(int(id_), 0.0), gain) for id_, gain in zip(allowed, gained, strict=True))
    constraint.accept(vocabulary.control("quote"))
    for id_ in vocabulary.encode_text("The cat sleeps."):
        constraint.accept(id_)
    constraint.accept(vocabulary.control("/quote"))
    after = constraint.allowed()
    assert not constraint.weigh(after, np.zeros(len(after), np.float32)).any()


@pytest.mark.parametrize(
    ("line", "kinds"),
    [
        ("I slept terribly last night.", {"bad_news"}),
        ("My cousin is called Petra.", {"statement", "small_talk"}),
        ("We're going to the lake on Sunday!", {"good_news", "statement", "small_talk"}),
        ("It's snowing outside.", {"small_talk", "statement", "surprise"}),
        ("forget it", {"agreement"}),
        ("haha", {"agreement", "joke", "compliment"}),
        ("thumbs up", {"agreement", "compliment", "good_news"}),
    ],
)
def test_everyday_lines_get_replies_that_suit(planner, line, kinds):
    plan = planner.reply(ReplyPrompt("Ilse", "a shopkeeper", (), (), line), seed=0, cancel=Cancel())
    spoken = kinds_of(plan, SimpleNamespace(**SLOTS)) & kinds
    assert spoken, plan.text


@pytest.mark.parametrize(
    "line", ["ok", "My cousin is called Petra.", "a fox just ran past", "so yeah", "thanks", "Hi!"]
)
def test_nothing_follows_a_wording(planner, line):
    text = planner.reply(ReplyPrompt("Ilse", "a shopkeeper", (), (), line), seed=0, cancel=Cancel()).text
    wordings = {w.format(**SLOTS) for groups in replies_by_kind().values() for group in groups for w in group["say"]}
    wordings |= {f"{hello} {wording}" for hello in HELLOS for wording in wordings}
    assert text in wordings or Exchanges.default().kinds_of(text), text


def test_an_answer_that_was_found_is_said_to_its_end(planner, vocabulary):
    """Not a word of it is changed, no card is quoted in the middle, and nothing follows."""
    answer = "Half of them eaten already, what a cheek!"
    found = [Exchange(answer, "anger", 3), Exchange("That's not all right.", "anger", 3)]
    kinds = np.full(len(KINDS), 1 / len(KINDS), np.float32)
    card = Candidate("Half of the biscuits are made of oats.", 0.2)
    made = Guide(vocabulary, kinds, Answering.default().felt, SLOTS, ["That's not all right."], found)
    constraint = ReplyConstraint(vocabulary, [card], whole=True, guide=made)
    for id_ in emotion_ids(vocabulary, Emotion("anger", 0.3)):
        constraint.accept(id_)
    said = []
    while True:
        allowed = constraint.allowed()
        weighed = constraint.weigh(
            allowed, np.random.default_rng(len(said)).normal(0, 20, len(allowed)).astype(np.float32)
        )
        said.append(int(allowed[int(weighed.argmax())]))
        constraint.accept(said[-1])
        if said[-1] == vocabulary.control("end"):
            break
    assert vocabulary.decode_text(said[:-1]) in (answer, "That's not all right.")
    other = Guide(vocabulary, kinds, Answering.default().felt, SLOTS, (), found)
    other.begin("joy", 3)  # nothing was found for this feeling: the wordings of kinds count
    assert not other.following


def test_replies_are_told_by_their_wordings():
    persona = load_persona("guide")
    fact = ReplyPlan(Emotion(), (Segment("It is big.", quoted=True), Segment("See you!")))
    assert kinds_of(fact, persona) == {FACT}
    farewell = replies_by_kind()["farewell"][0]["say"][0]
    assert "farewell" in kinds_of(ReplyPlan(Emotion(), (Segment(farewell), Segment("Really."))), persona)
    assert not kinds_of(ReplyPlan(Emotion(), (Segment("Purple monkeys"),)), persona)


def test_the_talks_are_whole():
    every = {split: talks(split) for split in ("dev", "held", "fresh", "late")}
    assert {split: sum(len(talk.lines) for talk in some) for split, some in every.items()} == {
        "dev": 200, "held": 200, "fresh": 300, "late": 400,
    }  # fmt: skip
    for some in every.values():
        assert {talk.persona for talk in some} == {"friend", "guide", "receptionist", "shop", "tutor"}
        assert all(kinds and set(kinds) <= set(KINDS) for talk in some for _, kinds, _ in talk.lines)


def test_models_with_pieces_of_a_base_find_their_own_words(planner, monkeypatch):
    assert planner.reminded
    monkeypatch.setattr(planner, "reminded", False)
    seen = []
    monkeypatch.setattr(planner, "_guide", lambda *_: seen.append(1))
    planner.reply(ReplyPrompt("Ilse", "a shopkeeper", (), (), "It's snowing outside."), seed=0, cancel=Cancel())
    assert not seen


class Told:
    """Reads lines as it is told to, in the place of `visavis.agent.line_reader.LineReader`."""

    def __init__(self, kind="", best=None):
        self.kind, self.best, self.asked, self.shown = kind, best, [], []

    def kinds(self, line, before, heard):
        self.asked.append((line, before))
        if not self.kind:
            return heard
        return np.array([0.99 if kind == self.kind else 0.01 / (len(KINDS) - 1) for kind in KINDS], np.float32)

    def suits(self, line, before, found, features):
        self.shown.append([one.reply for one in found])
        assert features.shape == (len(found), 6)
        return np.array([0.9 if i == self.best else 0.1 for i in range(len(found))], np.float32)


@pytest.mark.parametrize(
    "history, before",
    [
        ((), ""),
        ((("agent", "Welcome!"),), ""),
        ((("user", "My dog died."), ("agent", "I'm so sorry."), ("agent", "Poor thing.")), "My dog died."),
        ((("user", "Hi."), ("agent", "Hello!"), ("user", "My dog died."), ("agent", "Oh no.")), "My dog died."),
    ],
)
def test_a_line_is_heard_after_the_one_before(planner, monkeypatch, history, before):
    reader = Told()
    monkeypatch.setattr(planner, "line_reader", lambda: reader)
    planner.kinds("It was May.", history)
    assert reader.asked == [("It was May.", before)]


def test_what_the_larger_reader_hears_decides(planner, monkeypatch):
    prompt = ReplyPrompt("Ilse", "a shopkeeper", (), (), "He was twelve.")
    for kind, emotion in (("bad_news", "sadness"), ("good_news", "joy")):
        monkeypatch.setattr(planner, "line_reader", lambda kind=kind: Told(kind))
        assert planner.reply(prompt, seed=0, cancel=Cancel()).emotion.name == emotion
    monkeypatch.setattr(planner, "line_reader", lambda: None)
    np.testing.assert_array_equal(planner.kinds("He was twelve."), Answering.default().kinds("He was twelve."))


def test_the_answers_that_minilm_likes_best_are_judged_again(planner, monkeypatch):
    prompt = ReplyPrompt("Ilse", "a shopkeeper", (), (), "I just finished a twelve-hour night shift.")
    monkeypatch.setattr(planner, "line_reader", lambda: None)
    alone = planner._found(prompt, planner.kinds(prompt.user))
    reader = Told(best=3)
    monkeypatch.setattr(planner, "line_reader", lambda: reader)
    found = planner._found(prompt, planner.kinds(prompt.user))
    assert [one.reply for one in found] == [reader.shown[0][3]] and len(reader.shown[0]) == JUDGED
    assert not alone or alone[0].reply == reader.shown[0][0]
    reader.best = None
    assert planner._found(prompt, planner.kinds(prompt.user)) == []


def test_who_asks_to_be_told_anything_does_not_hear_what_they_told(planner, monkeypatch):
    monkeypatch.setattr(planner, "line_reader", lambda: Told("surprise_me"))
    cards = [Candidate("Your room was too loud.", 0.2), Candidate("You can pay by card.", 0.1)]
    other = Candidate("A hummingbird beats its wings fifty times a second.", 0.02)
    prompt = ReplyPrompt("Ilse", "a shopkeeper", (*cards, other), (), "I am bored.")
    quoted = [segment.text for segment in planner.reply(prompt, seed=0, cancel=Cancel()).segments if segment.quoted]
    assert quoted == [other.text]
    assert worth_telling(cards) == cards  # nothing else is there
