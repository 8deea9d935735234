import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visavis.agent.playout import BETWEEN_S, FINAL_S, SLACK_S, STALLED_S, Playout
from visavis.errors import UsageError

WORDS = [("Well,", 0.5), ("it", 0.7), ("is", 0.9), ("huge!", 1.6)]


def sent(words=WORDS, until_s=2.0, at=100.0) -> Playout:
    playout = Playout("t")
    playout.send(until_s, at, list(words))
    return playout


def test_without_reports_a_real_time_player_is_assumed():
    playout = sent()
    assert playout.played_s(99.0) == 0 and playout.heard(100.4) == ""
    assert playout.heard(100.71) == "Well, it" and playout.played_s(105.0) == 2.0
    assert playout.waits(105.0) and not playout.all_played(105.0)
    playout.send(4.0, 105.0, [("Really.", 3.0)])  # it waited for three seconds
    assert playout.played_s(105.5) == pytest.approx(2.5)
    playout.complete = True
    assert not playout.all_played(106.0) and playout.all_played(107.0)


def test_how_long_a_player_has_waited():
    playout = sent()
    assert playout.waited_s(101.0) == 0 and playout.waited_s(102.5) == pytest.approx(0.5)
    playout.report(1.9, 102.0)
    assert playout.waited_s(102.4) == pytest.approx(0.3)
    playout.report(1.9, 102.5)  # it stands still
    assert playout.waited_s(103.0) == 0
    playout.cut(103.0)
    assert playout.waited_s(104.0) == 0


def test_nothing_sent_is_nothing_heard():
    playout = Playout("t")
    playout.report(5.0, 100.0)
    playout.cut(101.0)
    assert playout.heard(101.0) == "" and playout.played_s(101.0) == 0


def test_reports_are_believed_and_a_stalled_client_stands_still():
    playout = sent()
    playout.report(0.3, 101.0)
    assert playout.played_s(101.1) == pytest.approx(0.4)
    assert playout.played_s(109.0) == pytest.approx(0.3 + BETWEEN_S)  # no word from it: at most so much more
    playout.report(0.3, 101.2)
    assert playout.played_s(101.5) == pytest.approx(0.3)  # it says that it stands
    assert not playout.stalled(102.0) and playout.stalled(101.0 + STALLED_S + 0.1)


@pytest.mark.parametrize("lie", [-3.0, 0.0, 99.0, 1e9])
def test_lies_are_held_to_what_is_possible(lie):
    playout = sent(until_s=20.0)
    playout.report(0.5, 100.6)
    playout.report(lie, 101.0)
    assert 0.5 <= playout.played_s(101.0) <= 1.0 + SLACK_S


@pytest.mark.parametrize("nonsense", [math.nan, math.inf, None, "3", True])
def test_nonsense_is_refused(nonsense):
    with pytest.raises(UsageError, match="expected played_s as seconds"):
        sent().report(nonsense, 101.0)


def test_after_an_interruption_the_client_may_say_how_far_it_came():
    playout = sent()
    playout.report(0.4, 100.4)
    playout.cut(100.6)
    assert playout.heard(100.6) == "Well,"
    playout.report(0.75, 100.9)
    assert playout.heard(200.0) == "Well, it"
    playout.report(2.0, 100.95)  # further than it can have come
    assert playout.played_s(200.0) <= 0.6 + SLACK_S
    playout.report(0.1, 100.96)  # and never back behind what it had said before
    assert playout.played_s(200.0) == pytest.approx(0.4)
    playout.report(0.8, 100.6 + FINAL_S + 0.1)  # too late
    assert playout.played_s(200.0) == pytest.approx(0.4)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 3), st.floats(-5, 50), st.booleans()), max_size=30))
def test_whatever_a_client_says_its_place_is_possible_and_never_goes_back(steps):
    playout, now = Playout("t"), 100.0
    before, until = 0.0, 0.0
    for wait, value, report in steps:
        now += wait
        if report:
            playout.report(value, now)
        else:
            until += 1.0
            playout.send(until, now)
        place = playout.played_s(now)
        assert 0 <= place <= until
        assert playout.began_at is None or place <= now - playout.began_at + SLACK_S + BETWEEN_S + 1e-6
        if not report:  # a report corrects an estimate, also downwards; time alone never does
            assert place >= min(before, place + BETWEEN_S)
        before = place
