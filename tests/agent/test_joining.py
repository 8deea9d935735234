import numpy as np
import pytest

from visavis.agent.joining import FILE, Joining, evidence, log_odds
from visavis.errors import FileFormatError
from visavis.tokenizers.turn_language import Candidate

RECALL = Joining(0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0)
BOTH = Joining(0.0, 1.0, 0.5, 1.0, 1.0, 1.0, 1.0)
SURE = [Candidate("stop", 0.9), Candidate("nod", 0.2)]
ODDS = {0: -3.0, 1: -3.0, 2: -3.0, 3: 2.0, 4: -3.0}


def test_recall_alone_puts_its_best_on_its_likeliest_word():
    chances = [0.05, 0.4, 0.05, 0.05, 0.05]
    assert RECALL.places(SURE, chances, ODDS) == [1]
    assert RECALL.places([Candidate("stop", 0.4)], chances, ODDS) == []
    assert RECALL.places(SURE, chances, ODDS, bias=-3.0) == []
    assert np.argmax(RECALL.which(SURE)) == 0


def test_the_model_counts_as_far_as_it_is_trusted():
    assert BOTH.places(SURE, [0.05, 0.4, 0.05, 0.05, 0.05], ODDS) == [3]
    doubtful = [Candidate("stop", 0.4)]
    assert BOTH.places(doubtful, [0.1] * 5, ODDS) == [3]
    assert BOTH.places(doubtful, [0.1] * 5, dict.fromkeys(ODDS, -3.0)) == []


def test_a_second_place_must_be_sure_by_itself_and_apart():
    assert RECALL.places(SURE, [0.9, 0.1, 0.1, 0.6, 0.1], ODDS) == [0, 3]
    assert RECALL.places(SURE, [0.9, 0.1, 0.6, 0.1, 0.1], ODDS) == [0]
    assert RECALL.places(SURE, [0.9, 0.1, 0.1, 0.4, 0.1], ODDS) == [0]
    assert len(RECALL.places(SURE, [0.9] * 9, dict.fromkeys(range(9), 0.0))) == 2


def test_nothing_to_choose_from_makes_nothing():
    assert RECALL.places([], [0.9], {0: 1.0}) == []
    assert RECALL.places(SURE, [], {}) == []
    assert BOTH.places(SURE, (), {0: -1.0, 2: 1.0}) == [2]  # without chances the model alone says where
    assert log_odds(0.0) == pytest.approx(-log_odds(1.0)) and log_odds(1.0) > 9


def test_a_planners_own_file_goes_first(tmp_path):
    shipped = Joining.load()
    assert Joining.load(tmp_path) == shipped
    BOTH.save(tmp_path / FILE)
    assert Joining.load(tmp_path) == BOTH
    (tmp_path / FILE).write_text('{"bias": 1}')
    with pytest.raises(FileFormatError, match="expected the numbers bias, .* run `python -m visavis.evals.acts tune"):
        Joining.load(tmp_path)


def test_another_stands_in_for_what_was_just_made():
    rest = [Candidate("nod", 0.1)]
    assert RECALL.places(rest, [0.05, 0.8, 0.05], {0: 0.0, 1: 0.0, 2: 0.0}) == [1]
    assert RECALL.places(rest, [0.05, 0.1, 0.05], {0: 0.0, 1: 0.0, 2: 0.0}) == []
    assert evidence(rest, ()) == 0.1
