import pytest
from hypothesis import given
from hypothesis import strategies as st

from visavis.agent.habits import Habits
from visavis.agent.hearing_settings import Patience

USUAL = Patience(0.3, 1.3, 0.2, 0.8)


@given(st.integers(0, 40))
def test_who_ends_where_they_seem_to_is_not_doubted(ends):
    habits = Habits()
    for _ in range(ends):
        habits.ended()
    assert habits.doubt == 0 and habits.patience(USUAL) == USUAL


def test_who_goes_on_is_doubted_until_they_have_ended_often_enough():
    habits = Habits()
    habits.ended()
    habits.went_on(0.5)
    once = habits.doubt
    assert once > 1
    habits.ended()
    habits.went_on(0.5)
    assert habits.doubt > once, "the second time is worse"
    doubts = []
    for _ in range(40):
        habits.ended()
        doubts.append(habits.doubt)
    assert doubts == sorted(doubts, reverse=True) and doubts[-1] == 0


@pytest.mark.parametrize(("pause_s", "slow_s"), [(0.4, 1.3), (1.5, 1.65), (9.0, 2.0)])
def test_unsure_ends_wait_as_long_as_was_paused_before(pause_s, slow_s):
    habits = Habits()
    habits.went_on(pause_s)
    patience = habits.patience(USUAL)
    assert patience.slow_s == pytest.approx(slow_s) and patience.fast_s == USUAL.fast_s
