import pytest

from visavis.speech.letters import pronounce, read_number
from visavis.speech.words import NUCLEAR, is_vowel, prominence, speakable


@pytest.mark.parametrize(
    ("digits", "words"),
    [("0", "zero"), ("19", "nineteen"), ("20", "twenty"), ("123", "one hundred twenty three"), 
     ("007", "zero zero seven"), ("1000000", "one million"), ("9" * 13, " ".join(["nine"] * 13))],
)  # fmt: skip
def test_numbers_are_read(digits, words):
    assert " ".join(read_number(digits)) == words


@pytest.mark.parametrize(
    ("word", "place"),
    [("information", 2), ("museum", 1), ("again", 1), ("beautiful", 0), ("teacher", 0), ("personality", 2),
     ("fantastic", 1), ("electricity", 2), ("before", 1), ("tiny", 0)],
)  # fmt: skip
def test_stress_lies_where_it_is_said(word, place):
    marks = [stress for symbol, stress in pronounce(word) if is_vowel(symbol)]
    assert marks.index(2) == place


@pytest.mark.parametrize("word", ["strengths", "NASA", "x", "bbc", "3rd", "rock'n'roll", "don't", "aeiou", "zzz"])
def test_every_word_has_sounds_and_a_vowel(word):
    assert any(is_vowel(symbol) for symbol, _ in pronounce(word))


def test_speakable_keeps_every_position():
    text = "a*b <c/> 😀 “d” 1/2 e…"
    assert len(speakable(text)) == len(text) and speakable("1/2") == "1/2"
    assert not set("*<>/😀") & set(speakable(text).replace("1/2", ""))


def test_emphasis_by_stars_and_capitals():
    assert prominence("it was *this* one".split())[2] == NUCLEAR
    assert prominence("it was THIS one".split())[2] == NUCLEAR
    assert max(prominence("was it".split())) > 0  # a phrase is never flat
