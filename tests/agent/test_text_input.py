import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visavis.agent.text_input import LONGEST_TEXT, LONGEST_WORD, checked_line, checked_text, other_language
from visavis.errors import TextError


@pytest.mark.parametrize(
    "text",
    [
        "Hello!", "No.", "C'est la vie!", "Guten Tag!", "I met José in São Paulo.", "42", "It is 30 °C, café is open.",
        "My friend Müller von der Heide is here.", "Das Boot is a film about a submarine.", "µ is 10 to the minus 6.",
        "Ｆｕｌｌ width is English too", "Do you know the song 'La vie en rose'?", "Que sera, sera, she sang to me.",
        "Is the word kindergarten German? I think so.", "😀 I am so happy!", "What does 'der die das' mean in German?",
        "What's two plus two?", "I've met smarter mops.", "We've work till six.", "price per dozen takeaway",
    ],
)  # fmt: skip
def test_english_passes(text):
    assert checked_text(text) == text


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Ich habe heute leider keine Zeit für dich.", "German"),
        ("No sé dónde está el libro que me dio.", "Spanish"),
        ("Je ne sais pas où est le livre.", "French"),
        ("Non so dove è il libro che mi ha dato.", "Italian"),
        ("Nie wiem gdzie jest moja książka i co to jest.", "Polish"),
        ("Где находится библиотека?", "Cyrillic script"),
        ("图书馆在哪里？", "Cjk script"),
        ("أين المكتبة؟", "Arabic script"),
        ("Πού είναι η βιβλιοθήκη;", "Greek script"),
    ],
)
def test_other_languages_are_named(text, language):
    assert other_language(text) == language
    with pytest.raises(TextError, match=f"this looks like {language}"):
        checked_text(text)
    assert checked_text(text, english=False) == text


def test_white_space_is_folded_and_what_is_invisible_goes():
    assert checked_text("  Hel\u200blo,\n\tyou\u00ad  there\ufeff!\u202e\u2066 ") == "Hello, you there!"


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_what_passes_is_clean_and_passes_again(text):
    try:
        clean = checked_text(text)
    except TextError as error:
        assert "\n" not in str(error) and str(error).startswith("expected ")
        return
    assert clean == " ".join(clean.split()) and any(char.isalnum() for char in clean)
    assert not any(unicodedata.category(char) in ("Cc", "Cf", "Cs") for char in clean)
    assert checked_text(clean) == clean


def test_lengths():
    assert len(checked_text("a " * (LONGEST_TEXT // 2))) <= LONGEST_TEXT
    checked_text("x" * LONGEST_WORD)
    for text in ("a " * (LONGEST_TEXT // 2 + 1), "x" * (LONGEST_WORD + 1)):
        with pytest.raises(TextError, match="expected"):
            checked_text(text)
    with pytest.raises(TextError, match="expected text as a string; got int"):
        checked_text(3)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("\N{THUMBS UP SIGN}", "thumbs up"),
        ("\N{THUMBS UP SIGN}\N{EMOJI MODIFIER FITZPATRICK TYPE-4}!!", "thumbs up"),
        ("\N{HEAVY BLACK HEART}\N{VARIATION SELECTOR-16} \N{CRYING FACE}", "heart, crying face"),
        ("\N{CRYING FACE}" * 50, "crying face"),
        ("Great \N{THUMBS UP SIGN}", "Great \N{THUMBS UP SIGN}"),
    ],
)
def test_emoji_alone_are_words(line, words):
    assert checked_line(line) == words


@pytest.mark.parametrize("line", ["", "?!", "...", None, 7, "\u200b", "\x07"])
def test_signs_that_are_no_emoji_are_refused_as_before(line):
    with pytest.raises(TextError, match="expected"):
        checked_line(line)
