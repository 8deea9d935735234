from hypothesis import given, settings
from hypothesis import strategies as st

from visavis.agent.clauses import MAX_CHARACTERS, MAX_WORDS, parted, sentences_of, split_clauses

WORDS = st.text("ab", min_size=1, max_size=6)
ENDS = st.sampled_from(["", "", "", ",", ".", "!", "?", '."', ";", "…", " —"])


@given(st.lists(st.tuples(WORDS, ENDS), max_size=80))
@settings(max_examples=150, deadline=None)
def test_clauses_joined_are_the_words_again(parts):
    text = " ".join(word + end for word, end in parts)
    clauses = split_clauses(text)
    assert " ".join(clauses) == " ".join(text.split())
    assert all(0 < len(clause.split()) <= MAX_WORDS for clause in clauses)


def test_sentences_end_clauses_and_commas_once_there_is_enough():
    assert split_clauses("I caught a fish yesterday, and it was huge! Was it?") == [
        "I caught a fish yesterday,", "and it was huge!", "Was it?",
    ]  # fmt: skip
    assert split_clauses("Red, green, blue.") == ["Red, green, blue."]


def test_abbreviations_do_not_end_a_clause():
    assert len(split_clauses("I met Dr. Miller in the U.S. last year today.")) == 1


def test_short_openings_go_with_what_follows():
    assert split_clauses("Well. That is quite another story.") == ["Well. That is quite another story."]


def test_long_words_do_not_make_a_long_clause():
    clauses = split_clauses(" ".join(["x" * 99] * 20))
    assert all(len(clause) <= MAX_CHARACTERS + 100 + MAX_WORDS for clause in clauses)


def test_sentences_hold_their_clauses():
    text = "We need eggs, milk and a lot of flour, and then some sugar for the cake. Mr. Hall, who knows? Yes, I do."
    clauses = split_clauses(text)
    spans = sentences_of(clauses)
    assert [i for span in spans for i in span] == list(range(len(clauses)))
    assert [" ".join(clauses[i] for i in span)[-5:] for span in spans] == ["cake.", "nows?", "I do."]
    endless = split_clauses("word " * 100)
    assert all(sum(len(endless[i].split()) for i in span) <= 36 for span in sentences_of(endless))
    recognised = ["the first thing i like", "and i think", "because when you have to"]
    assert sentences_of(recognised) == [range(0, 1), range(1, 2), range(2, 3)]
    assert sentences_of(recognised[:2]) == [range(0, 2)]
    assert sentences_of(["I went to the shop,", "bought a fish", "and it was huge"]) == [range(0, 3)]
    assert [*sentences_of([])] == [] and sentences_of([""]) == [range(0, 1)]


def test_a_text_is_parted_into_its_sentences():
    assert parted("Hello there! I caught a fish, and it was huge! Yes.") == [
        "Hello there!", "I caught a fish, and it was huge!", "Yes.",
    ]  # fmt: skip
    assert parted("Dr. Lee said: no") == ["Dr. Lee said: no"] and parted(" ") == []
