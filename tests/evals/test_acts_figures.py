"""The measurement of ACT's decisions, on sentences and opinions made by hand."""

import json

import numpy as np
import pytest

from visavis.agent.joining import Joining, Words
from visavis.agent.offers import Offer
from visavis.errors import FileFormatError, UsageError
from visavis.evals.acts import rereading, topical
from visavis.evals.acts.items import COLUMNS, Item, Made, counts, f1, items
from visavis.evals.acts.measure import best_threshold, gain, over
from visavis.evals.acts.systems import Chance, Frequent, Sentence, recalled, sentences
from visavis.evals.acts.tune import Opinion, choose, fit
from visavis.retrieval.cues import Cues
from visavis.retrieval.index import GestureIndex
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.library import Library
from visavis.retrieval.wordings import Wordings
from visavis.tokenizers.turn_language import Candidate

LIBRARY = Library(load_lexicon(), GestureIndex.default())
STOP = Item("Please stop it now.", "called", ("stop",), "stop")
LONG = Item("It was eighty centimetres long.", "aimed", ("huge size",), "long", {"size_m": 0.8})
QUIET = Item("Tickets are fifteen pounds.", "neutral")


def made(gloss="stop", word=1, score=1.0, **params):
    return Made(gloss, word, params, score)


def test_what_is_right():
    assert STOP.fits(made()) and not STOP.fits(made("nod"))
    assert [STOP.away(made(word=word)) for word in range(4)] == [1, 0, 1, 2]
    assert LONG.fits(made("huge size", size_m=0.8)) and not LONG.fits(made("huge size", size_m=0.5))
    assert not LONG.fits(made("huge size"))
    assert LONG.scene is not None and STOP.scene is None


def test_sentences_are_read_again_where_recall_is_unsure(monkeypatch):
    class Judge:
        asked = 0

        def read(self, text, gestures):
            self.asked += 1
            return np.arange(len(gestures), dtype=float)

    some = [item for item in items("tune") if item.kind != "aimed"][:40]
    judge = Judge()
    monkeypatch.setattr(rereading, "items", lambda half: [*some, LONG])
    found = rereading.cases(judge, LIBRARY)
    assert len(found) >= 40 and judge.asked == sum(len(case.said) > 0 for case in found) > 0
    assert {case.kind for case in found} == {"known"}  # the first of them all call for a gesture
    assert all(case.said[0] == len(case.said) - 1 for case in found if len(case.said))  # the likeliest is read last
    assert sum(any(case.right) for case in found) > 30


def test_counts_and_f1():
    rows = counts([STOP, STOP, LONG, QUIET, QUIET], [[made()], [made(word=2), made("nod", 3)], [], [made()], []])
    assert dict(zip(COLUMNS, rows.sum(0), strict=True)) == {
        "wanted": 3, "made": 4, "moved": 3, "both": 2, "gloss": 2, "joint": 1, "near": 2,
    }  # fmt: skip
    assert f1(rows) == pytest.approx(2 * 1 / 7)
    assert f1(rows, "gloss") == pytest.approx(4 / 7)
    assert np.isnan(f1(rows[4:]))
    assert gain(rows, rows, f1).value == gain(rows, rows, f1).high == 0.0
    found = over(rows, f1)
    assert found.low <= found.value <= found.high and found.n == 5


def test_the_threshold_keeps_what_is_right():
    some = [STOP] * 6 + [QUIET] * 6
    row = [[made(score=0.6 + i / 100)] for i in range(6)] + [[made(score=0.3 + i / 100)] for i in range(6)]
    assert 0.35 < best_threshold(some, row) <= 0.6


def test_halves_do_not_meet():
    held, tune = items("held"), items("tune")
    assert not {item.text for item in held} & {item.text for item in tune}
    assert {item.kind for item in held} == {item.kind for item in tune} == {"called", "neutral", "aimed"}
    words = [item for item in (*held, *tune) if item.kind != "neutral"]
    lost = [item.text for item in words if not any(item.away(made(word=i)) == 0 for i in range(len(item.text.split())))]
    assert lost == []


def test_recall_alone_and_what_needs_no_thought():
    assert any(LONG.fits(gesture) and LONG.away(gesture) <= 1 for gesture in recalled(LIBRARY, LONG))
    parts = list(sentences(LIBRARY, Item("Well done, my dear friend, that was great! Goodbye, then.", "neutral")))
    assert len(parts) > 1
    assert [part.before for part in parts] == [0, *np.cumsum([len(part.text.split()) for part in parts])[:-1]]
    known = [STOP, STOP, QUIET]
    usual = Frequent(LIBRARY, known)(STOP)
    assert [(gesture.gloss, gesture.word) for gesture in usual] == [("stop", 1)]
    count = sum(len(Chance(LIBRARY, known, seed)(STOP)) for seed in range(300))
    assert 160 < count < 240


KNOWN = Wordings.count({("stop", "stop"): (20, 18), ("nod", "y"): (20, 18), ("nod", "it"): (40, 0)})


def opinion(item, right, gloss, rng, model, wordings):
    """Recall thinks of two words and two glosses at random; the model knows, if it is to, and so do words."""
    words = item.text.split()
    chances = rng.uniform(0.2, 0.3, len(words))
    offer = Offer((Candidate("nod", 0.5), Candidate("stop", 0.49)), tuple(chances))
    odds = {i: (3.0 if model and i == right else -3.0) for i in range(len(words))}
    names = tuple(-0.1 if model and gloss == c.text else -3.0 for c in offer.candidates)
    said = Words(item.text, offer.candidates, wordings, Cues.place({}, 4), {})
    return Sentence(item.text, 0, offer), odds, {i: names for i in range(len(words))}, said


@pytest.mark.parametrize("who", ("the model", "words", "nobody"))
def test_tuning_finds_out_whom_to_trust(who):
    rng = np.random.default_rng(0)
    texts = ["Please stop it now.", "Do stop that noise at once.", "You must stop.", "It will stop some day."]
    some = [Item(text, "called", ("stop",), "stop") for text in texts * 15] + [QUIET] * 60
    wordings = KNOWN if who == "words" else Wordings.count({})
    read = []
    for number, item in enumerate(some):
        right = item.text.split().index("stop") if item.kind == "called" and "stop." not in item.text else -1
        right = 2 if item.text == "You must stop." else right
        read.append(Opinion(number, *opinion(item, right, "stop", rng, who == "the model", wordings)))
    joining, kept = choose(some, read, LIBRARY)
    score = f1(counts(some, kept))
    assert isinstance(joining, Joining)
    for name in ("the model", "words"):
        kind = "model" if name == "the model" else "wording"
        trusts = [getattr(joining, f"{question}_{kind}") for question in ("whether", "where", "which")]
        assert min(trusts) > 0.2 if who == name else max(trusts[1:]) < 0.2
    assert score < 0.5 if who == "nobody" else score > 0.95
    assert fit(some, read, model=False).where_model == 0.0
    assert fit(some, read, words=False).where_wording == 0.0


def test_verdicts_are_read_and_are_kept_by_what_was_made(tmp_path):
    shipped = topical.verdicts()
    assert len(shipped) > 90 and all(reason for _, reason in shipped.values())
    assert 0.5 < np.mean([accepted for accepted, _ in shipped.values()]) < 1
    key = topical.key_of("Please stop it now.", made())
    assert len({key, *(topical.key_of("Please stop it now.", other) for other in (made("nod"), made(word=2)))}) == 3
    own = tmp_path / "verdicts.yaml"
    assert topical.verdicts(own) == {}
    own.write_text(f'"{key}": [true, "it says so"]\n')
    assert topical.verdicts(own) == {key: (True, "it says so")}
    own.write_text(f'"{key}": [, ]\n')
    with pytest.raises(FileFormatError, match="could not read"):
        topical.verdicts(own)
    own.write_text(f'"{key}": [maybe, "it says so"]\n')
    with pytest.raises(FileFormatError, match="true or false"):
        topical.verdicts(own)


def test_turns_are_chosen_whatever_their_order(tmp_path):
    texts = [f"This is what number {i} says." for i in range(30)]
    for name, order in (("a.json", texts), ("b.json", texts[::-1])):
        talks = {"talk": {"content": [{"message": f" {text} "} for text in [*order, "Hi."]]}}
        (tmp_path / name).write_text(json.dumps(talks))
    chosen = topical.turns(tmp_path / "a.json", 10)
    assert chosen == topical.turns(tmp_path / "b.json", 10) and len(chosen) == 10
    with pytest.raises(UsageError, match="expected Topical-Chat's conversations"):
        topical.turns(tmp_path / "none.json")
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(FileFormatError, match="conversations of Topical-Chat"):
        topical.turns(tmp_path / "a.json")
