import pytest

from visavis import Agent
from visavis.agent.offers import LIKED, offered
from visavis.agent.persona import GesturePreferences, Persona
from visavis.retrieval.index import GestureIndex
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.library import Library

LINE = "I am so happy that you could come!"


@pytest.fixture(scope="module")
def library() -> Library:
    return Library(load_lexicon(), GestureIndex.default())


def test_what_a_persona_likes_is_likelier_and_nothing_else_changes(library):
    plain = offered(library, LINE)
    second = plain.candidates[1]
    liked = offered(library, LINE, prefer=[second.text])
    odds = liked.score(second.text) / (1 - liked.score(second.text))
    assert odds == pytest.approx(LIKED * second.score / (1 - second.score))
    assert {c.text for c in liked.candidates} == {c.text for c in plain.candidates} and liked.chances == plain.chances
    assert [c.score for c in liked.candidates] == sorted((c.score for c in liked.candidates), reverse=True)
    assert offered(library, LINE, prefer=["shrug"]) == plain  # what does not fit is not made likelier


def test_what_a_persona_avoids_is_not_offered(library):
    first = offered(library, LINE).candidates[0].text
    assert first not in {c.text for c in offered(library, LINE, avoid=[first], prefer=[first]).candidates}


def test_a_persona_that_gestures_nothing_makes_no_gesture():
    made = []
    for amount in (0.0, 1.0):
        persona = Persona(name="Ada", role="a baker", gestures=GesturePreferences(amount=amount))
        with Agent(persona, voice="silent", refine=False) as agent:
            made.append([gesture.gloss for gesture in agent.say("I caught a fish, and it was huge!").gestures])
    assert made == [[], ["huge size"]]
