from collections.abc import Sequence

import numpy as np
import pytest

from visavis.agent.constrain import EmotionConstraint, MoveConstraint, ReplyConstraint
from visavis.agent.engine import Constraint
from visavis.agent.tagging import ActConstraint
from visavis.tokenizers.codec import FIVE_PARTS
from visavis.tokenizers.turn_language import ActPlan, Candidate, MovePlan, MoveStep, ReplyPlan, step_ids
from visavis.tokenizers.turn_reading import parse_act, parse_move, parse_reply
from visavis.tokenizers.vocabulary import JointVocabulary

CARDS = ("The blue whale is thirty metres long.", "The blue shark eats squid, at 1,200 kg.")
TEXT = "Welcome!  The blue\u200b whale \u200b is 30 metres long, isn't it?"
GLOSSES = (Candidate("huge size", 0.8), Candidate("stop", 0.5), Candidate("step by step", 0.4))
PARAMS = {"huge size": {"size_m": None, "hand": ("left", "right", "both")}, "stop": {"count": (1, 2, 12)}}


@pytest.fixture(scope="module")
def vocabulary() -> JointVocabulary:
    return JointVocabulary(JointVocabulary.default().text_model)  # of three parts


def write(constraint: Constraint, seed: int, favoured: Sequence[int] = (), limit: int = 2000) -> list[int]:
    """Ids that a model without any sense would write."""
    rng = np.random.default_rng(seed)
    written: list[int] = []
    while len(written) < limit:
        ids = constraint.allowed()
        assert ids is not None
        if len(ids) == 0:
            return written
        assert len(set(ids.tolist())) == len(ids)
        logits = rng.normal(size=len(ids)).astype(np.float32) + 9 * np.isin(ids, list(favoured)).astype(np.float32)
        if len(ids) > 1:
            logits = constraint.weigh(ids, logits)
        written.append(int(ids[int(np.argmax(logits))]))
        constraint.accept(written[-1])
    raise AssertionError("it never ends")


def test_any_reply_parses_and_quotes_exactly(vocabulary: JointVocabulary) -> None:
    quotes, words = [], 0
    favoured = [vocabulary.control("quote"), vocabulary.control("/quote")]
    for seed in range(60):
        ids = write(ReplyConstraint(vocabulary, CARDS, limit=12, min_quote=2), seed, favoured if seed % 2 else ())
        plan = parse_reply(ids, vocabulary)
        assert isinstance(plan, ReplyPlan), str(plan)
        quotes += [segment.text for segment in plan.segments if segment.quoted]
        words += sum(not segment.quoted for segment in plan.segments)
        assert "�" not in plan.text
    assert words > 10
    assert len(set(quotes)) > 5
    for quote in quotes:
        assert len(quote.split()) >= 2 or any(card.endswith(quote) for card in CARDS)
        assert any(f" {quote} " in f" {card} " for card in CARDS), quote


def test_whole_quotes_are_whole_cards(vocabulary: JointVocabulary) -> None:
    for seed in range(20):
        ids = write(ReplyConstraint(vocabulary, CARDS, limit=8, whole=True), seed, [vocabulary.control("quote")])
        plan = parse_reply(ids, vocabulary)
        assert isinstance(plan, ReplyPlan)
        assert {segment.text for segment in plan.segments if segment.quoted} <= set(CARDS)
        assert any(segment.quoted for segment in plan.segments)


def test_a_first_quote_is_wished_for_and_no_second(vocabulary: JointVocabulary) -> None:
    quote, unquote = vocabulary.control("quote"), vocabulary.control("/quote")
    constraint = ReplyConstraint(vocabulary, CARDS, whole=True, quote_bias=60.0)

    def favoured() -> int:
        ids = constraint.allowed()
        return int(ids[constraint.weigh(ids, np.zeros(len(ids), np.float32)).argmax()])

    for _ in range(2):  # an emotion and how strong it is
        constraint.accept(int(constraint.allowed()[0]))
    assert favoured() == quote and constraint.ahead().stretch.bias == {quote: 60.0}
    constraint.accept(quote)
    while unquote not in (ids := constraint.allowed()):
        constraint.accept(int(ids[0]))
    constraint.accept(unquote)
    assert quote in constraint.allowed() and favoured() != quote and not constraint.ahead().stretch.bias


def test_no_cards_no_quotes(vocabulary: JointVocabulary) -> None:
    for constraint in (ReplyConstraint(vocabulary, (), limit=8), ReplyConstraint(vocabulary, CARDS, 8, quotes=False)):
        ids = write(constraint, 1, [vocabulary.control("quote")])
        assert vocabulary.control("quote") not in ids


def test_any_act_keeps_the_words_and_the_rules(vocabulary: JointVocabulary) -> None:
    tags = 0
    for seed in range(60):
        constraint = ActConstraint(vocabulary, TEXT, GLOSSES, PARAMS, unfelt=seed % 2 == 0, bias=1.0 - seed % 3)
        ids = write(constraint, seed)
        plan = parse_act(ids, vocabulary, unfelt=seed % 2 == 0)
        assert isinstance(plan, ActPlan), str(plan)
        assert [id_ for id_ in vocabulary.encode_text(plan.text)] == vocabulary.encode_text(TEXT)
        assert constraint.plan.text == TEXT
        assert constraint.plan.emotion == plan.emotion
        assert [(tag.gloss, tag.params) for tag in plan.tags] == [(tag.gloss, tag.params) for tag in constraint.tags]
        assert len(constraint.tags) <= 2
        places = [tag.word for tag in constraint.tags]
        assert all(later - earlier > 2 for earlier, later in zip(places, places[1:], strict=False))
        for tag in constraint.tags:
            tags += 1
            assert tag.gloss in {glossed.text for glossed in GLOSSES}
            assert set(tag.params) <= set(PARAMS.get(tag.gloss, {}))
            assert tag.params.get("hand", "left") in ("left", "right", "both")
            assert tag.params.get("count", 1) in (1, 2, 12)
        assert [choice.word for choice in constraint.choices if choice.tagged] == places
    assert tags > 30


def test_bias_decides_how_many_tags(vocabulary: JointVocabulary) -> None:
    counts = []
    for bias in (-100.0, 0.0, 100.0):
        counts.append(0)
        for seed in range(5):
            constraint = ActConstraint(vocabulary, TEXT, GLOSSES, bias=bias, most=99, apart=0)
            write(constraint, seed)
            counts[-1] += len(constraint.tags)
            assert all(0 < choice.probability < 1 for choice in constraint.choices)
    assert counts[0] == 0 < counts[1] < counts[2] == 5 * len([word for word in TEXT.split() if word != "\u200b"])


def test_recall_decides_where_the_model_does_not_care(vocabulary: JointVocabulary) -> None:
    sure = [Candidate("huge size", 0.95), Candidate("tiny size", 0.01)]
    made = []
    for seed in range(20):
        constraint = ActConstraint(vocabulary, "It was so big.", sure, bias=100.0, most=1)
        write(constraint, seed)
        made += [tag.gloss for tag in constraint.tags]
    assert len(made) == 20
    assert made.count("huge size") >= 16


def test_places_that_are_decided_get_their_tags(vocabulary: JointVocabulary) -> None:
    named = []
    for seed in range(20):
        constraint = ActConstraint(vocabulary, TEXT, GLOSSES, PARAMS, unfelt=False, places={1, 5})
        plan = parse_act(write(constraint, seed), vocabulary, unfelt=False)
        assert isinstance(plan, ActPlan)
        assert [tag.word for tag in constraint.tags] == [1, 5]
        assert constraint.choices == []  # nothing was left to the model
        named += [tag.gloss for tag in constraint.tags]
    assert len(set(named)) > 1
    for weights, gloss in (((0.0, 30.0, 0.0), "stop"), ((0.0, 0.0, 30.0), "step by step")):
        constraint = ActConstraint(vocabulary, TEXT, GLOSSES, unfelt=False, places={2}, weights=weights, trust=0.0)
        write(constraint, 0)
        assert [(tag.gloss, tag.word) for tag in constraint.tags] == [(gloss, 2)]


def test_who_only_asks_sets_no_tags(vocabulary: JointVocabulary) -> None:
    constraint = ActConstraint(vocabulary, TEXT, GLOSSES, unfelt=True, bias=-np.inf)
    write(constraint, 1)
    assert constraint.tags == []
    assert constraint.plan.emotion is not None
    assert len(constraint.choices) == len([word for word in TEXT.split() if word != "\u200b"])
    assert all(0 < choice.probability < 1 for choice in constraint.choices)


def test_without_candidates_the_words_are_forced(vocabulary: JointVocabulary) -> None:
    constraint = ActConstraint(vocabulary, TEXT, (), unfelt=False)
    assert write(constraint, 0) == [*vocabulary.encode_text(TEXT), vocabulary.control("end")]
    assert write(ActConstraint(vocabulary, "", GLOSSES, unfelt=False), 0) == [vocabulary.control("end")]


def test_any_move_has_its_steps(vocabulary: JointVocabulary) -> None:
    steps = [
        MoveStep("Hello there", 1, (0, 0, 0)),
        MoveStep("", 5, (7, 8, 9), (False, True, True)),
        MoveStep("", 0, (1, 2, 3), (True, True, True)),
    ]
    for seed in range(10):
        constraint = MoveConstraint(vocabulary, steps)
        ids = write(constraint, seed)
        assert len(ids) == constraint.length
        plan = parse_move(ids, vocabulary)
        assert isinstance(plan, MovePlan)
        assert [step.codes for step in plan.steps] == [step.codes for step in constraint.written]
        assert [(step.words, step.cue) for step in plan.steps] == [(step.words, step.cue) for step in steps]
        assert plan.steps[1].codes[1:] == (8, 9)
        assert plan.steps[2].codes == (1, 2, 3)


def test_moves_of_five_parts_have_five_codes(vocabulary: JointVocabulary) -> None:
    five = JointVocabulary(vocabulary.text_model, FIVE_PARTS, 64)
    steps = [MoveStep("Hello", 1, (0,) * 5), MoveStep("", 5, (1, 2, 3, 4, 5), (False, True, False, True, False))]
    constraint = MoveConstraint(five, steps)
    plan = parse_move(write(constraint, 3), five)
    assert isinstance(plan, MovePlan)
    assert [len(step.codes) for step in plan.steps] == [5, 5] == [len(step.codes) for step in constraint.written]
    assert (plan.steps[1].codes[1], plan.steps[1].codes[3]) == (2, 4)
    assert five.show(plan.ids(five)).count("<|left_hand_") == 2
    assert MovePlan(steps).ids(five)[:-1] == [id_ for step in steps for id_ in step_ids(five, step)]


def test_emotion_is_one_and_its_level(vocabulary: JointVocabulary) -> None:
    name, level = write(EmotionConstraint(vocabulary), 0)
    assert vocabulary.emotion_of(name) is not None
    assert vocabulary.level_of(level) is not None
    name, _ = write(EmotionConstraint(vocabulary, [100.0]), 1)
    assert vocabulary.emotion_of(name) == "neutral"
    weak, strong = [0.0, 0.0, 100.0], [*[0.0] * 8, 100.0]
    for emotions, expected in (([100.0, 0.0], 2), ([0.0, 100.0], 8)):  # each emotion has its own intensities
        _, level = write(EmotionConstraint(vocabulary, emotions, [weak + [0.0] * 8, strong + [0.0] * 2]), 1)
        assert vocabulary.level_of(level) == expected


def test_a_name_that_was_begun_is_said_to_its_end(vocabulary: JointVocabulary) -> None:
    name = vocabulary.encode_text("Maya")
    assert len(name) > 1
    constraint = ReplyConstraint(vocabulary, (), name="Maya")
    begin = [vocabulary.control("joy"), vocabulary.control("i5"), *vocabulary.encode_text("I'm")]
    for id_ in (*begin, *name):
        assert id_ in constraint.allowed()
        constraint.accept(id_)
    assert len(constraint.allowed()) > 1
    for id_ in (*vocabulary.encode_text("."), name[0]):  # "May I" is something else
        constraint.accept(id_)
    assert len(constraint.allowed()) > 1
    constraint = ReplyConstraint(vocabulary, (), name="Maya")
    for id_ in (*begin, name[0]):
        constraint.accept(id_)
    assert constraint.allowed().tolist() == name[1:2] and not constraint.ahead().stretch
