import numpy as np

from visavis.agent.wording import WORDING, stems, wording

WHALE = ("whale: The blue whale is about thirty metres long.", "whale: Blue whales eat tiny shrimp called krill.")


def column(name, question, facts=WHALE):
    return wording(question, facts)[:, WORDING.index(name)].tolist()


def test_what_is_asked_for_is_seen():
    assert column("asked_size", "How long is the whale?") == [1, 1]
    assert column("asked_place", "where's the café") == [1, 1] and column("asked_mark", "where's the café") == [0, 0]
    assert column("asked_whether", "And does it sing?") == [1, 1]
    assert column("asked_whether", "I wonder what it does.") == [0, 0]
    assert column("asked_denial", "You don't sell maps, I guess.") == [1, 1]


def test_what_a_fact_has_is_seen():
    assert column("told_measure", "") == [1, 0] and column("told_number", "") == [1, 0]
    assert column("told_money", "", ["tickets: Children are free."]) == [1]


def test_words_are_shared_whatever_their_ending():
    assert stems("The ships were sinking; we carried boxes.") == stems("ship sink carry box")
    assert column("words_shared", "Do whales eat fish?") == [1, 2]
    assert column("words_missing", "Do whales eat fish?") == [2, 1]
    assert column("words_topic", "Do whales eat fish?") == [1, 1]
    # The word that more facts have counts less.
    assert column("words_covered", "whales and krill") == [0.5, 1.0]
    assert column("words_covered_rare", "whales and krill")[0] < 0.4


def test_names_and_numbers_that_a_fact_lacks():
    facts = ["trains: The train to Berlin leaves at 14.", "trains: The train to Rome leaves at 9."]
    assert column("words_names_missing", "When is the train to Rome?", facts) == [1, 0]
    assert column("words_numbers", "Is the 14 the one to Berlin?", facts) == [1, 0]


def test_any_text_gives_numbers():
    for question in ("", "?", "x " * 3000, "ß 漢字 🙂", "'s 't"):
        rows = wording(question, ["", ": ", "topic without a fact", *WHALE])
        assert rows.shape == (5, len(WORDING)) and np.isfinite(rows).all()
    assert wording("How long?", []).shape == (0, len(WORDING)) and len(set(WORDING)) == len(WORDING)
