import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from visavis.agent.joining import FILE, Joining, Words, evidence, log_odds
from visavis.errors import FileFormatError
from visavis.retrieval.cues import Cues
from visavis.retrieval.wordings import Wordings
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


def words(text, candidates, called=None):
    counted = Wordings.count({("stop", "halt"): (20, 18), ("nod", "yes"): (20, 18), ("nod", "it"): (20, 0)})
    return Words(text, candidates, counted, Cues.default(), called or {})


def test_words_are_heard_as_far_as_they_are_trusted():
    chances, text = [0.05, 0.4, 0.05, 0.05, 0.05], "Halt it, whoever says yes."
    said = words(text, SURE)
    assert said.fit > 1 and said.fits == pytest.approx([said.fit, said.fit], rel=0.5)
    heard = replace(RECALL, where_wording=1.0)
    assert RECALL.places(SURE, chances, ODDS, words=said) == [1]
    assert heard.places(SURE, chances, ODDS, words=said) == [0]  # where "stop" has its stroke
    assert heard.places(SURE, chances, ODDS) == [1]
    other = words("It is a long yes.", SURE)
    assert np.argmax(replace(RECALL, which_wording=3.0).which(SURE, other)) == 1
    assert heard.places([Candidate("stop", 0.4)], chances, ODDS, words=said) == []
    sure = replace(heard, whether_wording=1.0)
    assert sure.places([Candidate("stop", 0.4)], chances, ODDS, words=words(text, [Candidate("stop", 0.4)])) == [0]
    near = replace(RECALL, where_cues=20.0)
    assert near.places(SURE, chances, ODDS, words=words("It is time to halt.", SURE)) == [4]


def test_a_number_or_direction_goes_to_its_word_and_its_gesture():
    said = words("Halt it, whoever says yes.", SURE, {4: "nod"})
    assert np.argmax(replace(RECALL, which_called=4.0).which(SURE, said)) == 1
    placed = replace(RECALL, which_called=4.0, where_called=4.0)
    assert placed.places(SURE, [0.05, 0.4, 0.05, 0.05, 0.05], ODDS, words=said) == [4]


def test_what_was_never_counted_is_chosen_by_recall():
    own = [Candidate("somebody's own", 0.6), Candidate("stop", 0.5)]
    assert np.argmax(replace(RECALL, which_wording=5.0).which(own, words("Halt!", own))) == 0


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
    older = {name: value for name, value in asdict(BOTH).items() if name not in ("where_cues", "which_wording")}
    (tmp_path / FILE).write_text(json.dumps(older))
    assert Joining.load(tmp_path) == BOTH  # nobody is trusted whom the file does not know
    (tmp_path / FILE).write_text('{"bias": 1}')
    with pytest.raises(FileFormatError, match="expected the numbers bias, .* run `python -m visavis.evals.acts tune"):
        Joining.load(tmp_path)


def test_another_stands_in_for_what_was_just_made():
    rest = [Candidate("nod", 0.1)]
    assert RECALL.places(rest, [0.05, 0.8, 0.05], {0: 0.0, 1: 0.0, 2: 0.0}) == [1]
    assert RECALL.places(rest, [0.05, 0.1, 0.05], {0: 0.0, 1: 0.0, 2: 0.0}) == []
    assert evidence(rest, ()) == 0.1


def test_what_is_read_moves_a_gesture_to_another_word():
    asked = []

    def read(gloss):
        asked.append(gloss)
        return np.array([0.0, -9.0, -9.0, -9.0])

    said = Words("It was really huge", SURE, Wordings.default(), Cues.default(), {}, read)
    even, odds = [0.1] * 4, dict.fromkeys(range(4), 0.0)
    trusting = replace(RECALL, where_read=1.0)
    assert trusting.where(SURE, even, odds, 4, said).argmax() == 0
    assert said.read(SURE[0].text).tolist() == [0.0, -9.0, -9.0, -9.0] and asked == [SURE[0].text]  # read once
    assert RECALL.where(SURE, even, odds, 4, said).tolist() == [np.log(0.11)] * 4


def test_nobody_reads_where_a_word_leads_clearly():
    def read(gloss):
        raise AssertionError("read")

    said = Words("It was really huge", SURE, Wordings.default(), Cues.default(), {}, read)
    trusting = replace(RECALL, where_read=1.0)
    share = trusting.where(SURE, [0.1, 0.1, 0.1, 0.9], dict.fromkeys(range(4), 0.0), 4, said)
    assert share.argmax() == 3
    assert trusting.where(SURE, [0.1] * 4, {2: 0.0}, 4, said).shape == (4,)  # one word alone
    assert trusting.where(SURE, [0.1] * 4, {}, 4, said).shape == (4,)
