import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from visavis.agent.native import QUOTE_DOUBT
from visavis.agent.persona import NATURE, Card, load_persona, presets
from visavis.agent.recall import LIKELY, likely, look_up, rank_cards, variants

WHALE = "The blue whale is about thirty metres long."
QUESTIONS = yaml.safe_load((Path(__file__).parent / "data" / "recall_questions.yaml").read_text("utf-8"))
EVERYBODY = tuple(QUESTIONS)
TALK = [("user", "How big is the blue whale?"), ("agent", WHALE)]


@pytest.fixture(scope="module")
def guide():
    return load_persona("guide")


@pytest.mark.parametrize(
    ("line", "history", "fact"),
    [
        ("Hello! How big is the blue whale?", [], WHALE),
        ("how long is teh blue whale", [], WHALE),
        ("And what does it eat?", TALK, "Blue whales eat tiny shrimp called krill."),
        ("What does a ticket cost?", [], "A ticket costs twelve euros, and children under six come in free."),
        ("Where was the tyrannosaurus found?", [], "Our tyrannosaurus is a cast of a skeleton found in Montana."),
    ],
)
def test_the_fact_that_answers_comes_first(guide, line, history, fact):
    found = rank_cards(line, guide, history)
    assert found[0].text == fact and found[0].score > 0.4


def test_scores_are_probabilities_in_falling_order_of_five_facts(guide):
    for line in ("Where is the café?", "Hello!", "?", "", "x " * 3000):
        found = rank_cards(line, guide)
        scores = [card.score for card in found]
        assert len(found) == 5 and sum(scores) <= 1 + 1e-9
        assert scores == sorted(scores, reverse=True) and all(0 <= score <= 1 for score in scores)
        assert {card.text for card in found} <= set(guide.facts)


@pytest.mark.parametrize("line", ["What is the capital of Peru?", "How much does the giraffe weigh?", "I lost my job."])
def test_what_is_not_known_scores_low(guide, line):
    assert rank_cards(line, guide)[0].score < 0.4


def test_an_answer_outscores_a_near_miss(guide):
    asked = rank_cards("How long is the blue whale?", guide)[0].score
    assert asked > rank_cards("How fast is the blue whale?", guide)[0].score
    assert asked > rank_cards("How long is the crocodile?", guide)[0].score


@pytest.mark.parametrize("names", [("guide",), pytest.param(EVERYBODY, marks=pytest.mark.slow)], ids=["guide", "all"])
def test_questions_in_other_words_find_their_fact_and_outscore_the_unknown(names):
    """Written by hand for the personas that ship; nothing is fitted on them."""
    first, among, known, unknown = [], [], [], []
    for name in names:
        asked = QUESTIONS[name]
        persona = load_persona(name)
        for question, fact in asked["known"].items():
            found = rank_cards(question, persona)
            first.append(found[0].text.startswith(fact))
            among.append(any(card.text.startswith(fact) for card in found))
            known.append(found[0].score)
        unknown += [rank_cards(question, persona)[0].score for question in asked["unknown"]]
    assert np.mean(first) >= 0.85 and np.mean(among) >= 0.95
    assert np.mean(np.greater.outer(known, unknown)) >= 0.7


@pytest.mark.parametrize(
    "line", ["Are you human?", "You are a real person, aren't you?", "Am I talking to a computer?"]
)
def test_everybody_knows_that_they_are_an_ai(line):
    for name in presets():
        assert rank_cards(line, load_persona(name).known, [])[0].text == NATURE.facts[0]


def test_who_asks_for_a_fact_is_not_told_what_answers_it(guide):
    for line in ("How big is the blue whale?", "Where is the toilet?", "Can I touch the meteorite?"):
        best = rank_cards(line, guide.known, [])[0]
        assert best.text == rank_cards(line, guide, [])[0].text


def test_no_cards_give_no_candidates_and_one_card_one():
    assert rank_cards("Hello", []) == []
    assert len(rank_cards("Hello", [Card(topic="tea", facts=("Tea is hot.",))])) == 1


class Counting:
    """Finds the facts by the number that they and the line begin with."""

    def find(self, question, facts):
        wanted = int(re.search(r"\d+", question)[0])
        return np.array([-abs(wanted - int(re.search(r"\d+", fact)[0])) for fact in facts], dtype=float)


def test_a_finder_given_by_the_caller_is_used():
    cards = [Card(topic=f"thing {i}", facts=(f"Thing {i} is here.",)) for i in range(9)]
    found = rank_cards("Where is thing 3?", cards, finder=Counting())
    assert len(found) == 5 and found[0].text == "Thing 3 is here." and found[0].score > found[-1].score > 0


def test_what_is_looked_up_holds_every_fact_and_the_question_that_is_read(guide):
    found = look_up("How big is it?", TALK, guide.cards)
    assert found.facts == guide.facts and all(": " in fact for fact in found.read)
    assert found.questions == ("How big is the blue whale? How big is it?",)


def test_what_the_agent_told_unasked_is_not_told_again():
    friend = load_persona("friend")
    said = [("agent", "I caught a fish, and it was huge!")]
    assert "got away" in rank_cards("Did you take a picture of it?", friend, said)[0].text


def test_a_line_is_also_tried_without_its_greeting_and_with_what_came_before():
    assert variants("Hello! How big is it?", "Tell me about the whale.") == [
        "Hello! How big is it?",
        "How big is it?",
        "Tell me about the whale. Hello! How big is it?",
    ]
    assert variants("How big is the whale?", "Where are we?") == ["How big is the whale?"]


def test_a_line_that_leans_on_what_the_agent_said_unasked_is_read_with_it():
    cards = [Card(topic="fish", facts=["The fish got away."])]
    said = [("agent", "I caught a fish.")]
    assert look_up("Did you keep it?", said, cards).questions == (
        "I caught a fish. Did you keep it?",
        "Did you keep it?",
    )
    assert look_up("Did you keep it?", [("user", "Hello."), *said], cards).questions == ("Hello. Did you keep it?",)
    assert look_up("Did you keep the fish?", said, cards).questions == ("Did you keep the fish?",)


def test_few_facts_are_likely():
    cards = [Card(topic=f"thing {i}", facts=(f"Thing {i} is here.",)) for i in range(40)]
    places, logits = likely(look_up("Thing 7 is here.", [], cards), Counting())
    assert len(places) == LIKELY == len(set(places)) == len(logits) and places[0] == 7
    assert logits.tolist() == sorted(logits, reverse=True) and logits[0] == 0
    assert likely(look_up("Thing 7?", [], []), Counting())[0] == []


def test_who_was_just_told_is_not_told_again_unless_they_ask(guide):
    price = "A ticket costs twelve euros, and children under six come in free."
    before = [("user", "What does a ticket cost?"), ("agent", f"Sure. {price}")]

    def chance(line, history):
        return next((card.score for card in rank_cards(line, guide, history) if card.text == price), 0.0)

    for line in ("And for my son?", "Is that expensive?"):
        assert chance(line, before) < chance(line, [before[0], ("agent", "Hm.")])
    for line in ("Sorry, what does it cost again?", "What does a ticket cost?"):
        assert chance(line, before) == chance(line, [before[0], ("agent", "Hm.")])
    told = look_up("And for my son?", before, guide.cards)
    assert sum(told.told) == 1 and told.facts[told.told.index(True)] == price


@pytest.mark.parametrize(
    ("preset", "line", "fact"),
    [
        ("receptionist", "Do you have parking?", "There is a garage"),
        ("receptionist", "Is there somewhere to leave my car?", "There is a garage"),
        ("receptionist", "Is there a restaurant?", "There is a restaurant"),
        ("receptionist", "Do you have a swimming pool?", "The pool"),
        ("shop", "Do you sell cups?", "We sell blue cups"),
        ("shop", "Do you have a teapot?", "We sell an iron teapot"),
        ("guide", "Are there guided tours?", "There are guided tours"),
        ("guide", "Is there a café?", "The café"),
    ],
)
def test_whether_there_is_something_is_answered_by_what_is_told_of_it(preset, line, fact):
    best = rank_cards(line, load_persona(preset))[0]
    assert best.text.startswith(fact) and best.score >= QUOTE_DOUBT
