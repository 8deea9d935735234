import numpy as np
import pytest

from visavis.retrieval.aspects import ASPECTS, AspectIndex, aspects_of, log_distances
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.posing import Performer, perform
from visavis.retrieval.reading import read_motion_table, reading_of

LEXICON = load_lexicon()
SIZE = sum(ASPECTS.values())
STARTS = np.cumsum([0, *list(ASPECTS.values())[:-1]])


def aspects(motion):
    return aspects_of(reading_of(*read_motion_table(motion)))


def test_they_are_finite_whatever_moves():
    table, crown = read_motion_table(perform(LEXICON["nod"]).motion)
    for some in (table, np.zeros_like(table), table[:4]):
        found = aspects_of(reading_of(some, crown[: len(some)]))
        assert found.shape == (SIZE,) and found.dtype == np.float32 and np.isfinite(found).all()


@pytest.mark.parametrize("gloss", ("salute", "greeting wave", "thumbs up"))
def test_a_gesture_of_the_left_hand_has_those_of_the_right(gloss):
    motion = perform(LEXICON[gloss]).motion
    assert aspects(motion) == pytest.approx(aspects(motion.mirrored()), abs=2e-2)


def test_an_aspect_says_what_its_name_says():
    found = {}
    for gloss in ("thumbs up", "stop"):
        parts = np.split(aspects(perform(LEXICON[gloss]).motion), STARTS[1:])
        found[gloss] = dict(zip(ASPECTS, parts, strict=True))
    assert found["stop"]["stroke fingers"][1] > 0.7  # the fingers of a flat raised hand point up, of a fist they do not
    assert found["thumbs up"]["stroke fingers"][1] < 0.5
    small, large = (aspects(perform(LEXICON["salute"], Performer(amplitude=a)).motion) for a in (0.7, 1.4))
    size = STARTS[list(ASPECTS).index("whole size")]
    assert large[size + 1] > small[size + 1]  # a longer way


def test_one_aspect_that_is_wholly_different_costs_little():
    one = np.zeros(SIZE, np.float32)
    rows = np.zeros((3, SIZE), np.float32)
    rows[0, STARTS[0] : STARTS[1]] = 100.0  # differs wholly in one aspect
    rows[1] = 1.5  # differs in each
    apart = log_distances(one, rows)
    assert apart.shape == (3, len(ASPECTS)) and apart[2] == pytest.approx(np.log(0.1))
    index = AspectIndex(np.eye(SIZE, dtype=np.float32), np.full(len(ASPECTS), 0.1, np.float32), rows, ("a", "b", "c"))
    odds = index.log_odds(one)
    assert odds[2] > odds[0] > odds[1]
    assert ((rows[0] - one) ** 2).sum() > ((rows[1] - one) ** 2).sum()
