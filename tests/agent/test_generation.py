import numpy as np
import pytest

from visavis.agent.engine import CancelToken, Sampling
from visavis.agent.generation import Generation, choose


def test_choices_are_drawn_by_their_probability() -> None:
    """As numpy's own `choice` draws them, so that a seed keeps meaning the same."""
    for seed in range(200):
        logits = np.random.default_rng(seed).normal(0, 2, 1 + seed).astype(np.float32)
        chance = np.exp(logits.astype(np.float64) / 0.8)
        expected = np.random.default_rng(seed).choice(len(logits), p=chance / chance.sum())
        assert choose(logits, Sampling(0.8), np.random.default_rng(seed)) == expected


def test_an_impossible_id_is_never_drawn() -> None:
    logits = np.array([-np.inf, 0.0, -np.inf], np.float32)
    assert {choose(logits, Sampling(1.0), np.random.default_rng(seed)) for seed in range(50)} == {1}


def test_top_k_keeps_the_likeliest() -> None:
    logits = np.arange(10, dtype=np.float32)
    assert {choose(logits, Sampling(5.0, 3), np.random.default_rng(seed)) for seed in range(99)} == {7, 8, 9}
    assert choose(logits, Sampling(5.0, 1), np.random.default_rng(0)) == 9


@pytest.mark.parametrize("limit", [1, 4])
def test_what_was_read_can_be_lost_at_any_time(limit: int) -> None:
    run = Generation([1, 2], None, None, (), limit, CancelToken(), size=10, context=20)
    assert list(run.forced()) == [] and not run.done
    run.was_read()
    logits = np.zeros(10, np.float32)
    logits[7] = 1
    assert run.choose(logits) == 7 and run.pending == [7]
    run.forget()
    assert run.pending == [1, 2, 7]
    assert list(run.forced()) == [] and run.done == (limit == 1)
