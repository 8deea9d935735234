from dataclasses import replace

import numpy as np
import pytest

from tests.second_reader import Second
from visavis import Agent
from visavis.agent.base_reader import as_read, asked_where
from visavis.agent.joining import Joining
from visavis.agent.native import NativePlanner
from visavis.agent.offers import LIKED, offered, unsure
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


def test_what_recall_is_not_sure_of_is_read_again(library):
    judge = Second()
    plain = offered(library, LINE)
    assert unsure(plain.candidates)
    read = offered(library, LINE, reader=lambda: judge)
    ((text, shown),) = judge.asked
    assert text == LINE and [one.split(":")[0] for one in shown] == [c.text for c in plain.candidates][::-1]
    assert shown[0] == as_read(plain.candidates[-1].text, library.meaning_of(plain.candidates[-1].text))
    assert read.candidates[0].text == plain.candidates[-2].text and read.candidates[0].score > 0.9
    assert {c.text for c in read.candidates} == {c.text for c in plain.candidates}
    assert sum(read.chances) == pytest.approx(sum(c.score for c in read.candidates[:3]), abs=0.02)
    assert offered(library, LINE, reader=lambda: None) == plain  # its base is not installed


@pytest.mark.parametrize("line", ["My brother works at the bank.", "See you tomorrow, goodbye!"])
def test_nobody_is_asked_where_recall_is_sure(library, line):
    assert not unsure(offered(library, line).candidates)

    def never():
        raise AssertionError

    assert offered(library, line, reader=never) == offered(library, line)


@pytest.mark.parametrize("trust", [0.0, 0.4])
def test_words_are_read_where_the_joining_trusts_that(library, trust):
    judge = Second()
    joining = replace(Joining.load(), where_read=trust)
    planner = NativePlanner(None, library, reminded=False, joining=joining, reader=lambda: judge)
    found = offered(library, LINE).candidates
    gloss = found[0].text
    for read, times in ((None, int(trust > 0)), (True, 1)):  # to fit a joining, it is asked whatever is trusted
        judge.asked.clear()
        said = planner.words(LINE, found, {}, read)
        for _ in range(2):  # and once for a gesture
            where = said.read(gloss)
        assert len(judge.asked) == times
        if times:
            assert judge.asked == [(asked_where(LINE, gloss, library.meaning_of(gloss)), LINE.split())]
            assert np.argmax(where) == 1 and np.exp(where).sum() == pytest.approx(1.0)
        else:
            assert not where.any()


def test_a_persona_that_gestures_nothing_makes_no_gesture():
    made = []
    for amount in (0.0, 1.0):
        persona = Persona(name="Ada", role="a baker", gestures=GesturePreferences(amount=amount))
        with Agent(persona, voice="silent", refine=False) as agent:
            made.append([gesture.gloss for gesture in agent.say("I caught a fish, and it was huge!").gestures])
    assert made == [[], ["huge size"]]
