"""What may be said: the checks on text from outside, each with one clear sentence."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from importlib.resources import files

from visavis import safe_yaml
from visavis.errors import TextError

__all__ = ["LONGEST_TEXT", "LONGEST_TRANSCRIPT", "checked_line", "checked_text", "other_language"]

LONGEST_TEXT = 5_000
LONGEST_TRANSCRIPT = 20_000  # more than anybody says in the ten minutes that a recording may have
LONGEST_WORD = 100
MOST_SIGNS = 3  # of a line of emoji, as words

_NO_WORD_OF = re.compile(r"\b(sign|symbol|heavy|black|white|emoji component)\b ?")  # of a sign's name


def checked_text(text: object, *, what: str = "text", english: bool = True, longest: int = LONGEST_TEXT) -> str:
    """The text with white space folded and invisible characters removed.

    Raises:
        TextError: it is no string, empty, too long, holds control characters or (with `english`) another language.
    """
    if not isinstance(text, str):
        raise TextError(f"expected {what} as a string; got {type(text).__name__}")
    if len(text) > longest:
        raise TextError(f"expected at most {longest:,} characters of {what}; got {len(text):,}: split it")
    for char in text:
        if unicodedata.category(char) in ("Cc", "Cs") and char not in "\t\n\r":
            raise TextError(f"expected printable {what}; got the control character U+{ord(char):04X}: remove it")
    # Format characters (zero-width, direction, soft hyphen) are invisible and make no sound.
    clean = " ".join("".join(char for char in text if unicodedata.category(char) != "Cf").split())
    if not any(char.isalnum() for char in clean):
        raise TextError(f"expected {what} with at least one word; got {clean[:20]!r}")
    word = max(clean.split(), key=len)
    if len(word) > LONGEST_WORD:
        raise TextError(
            f"expected {what} in words of at most {LONGEST_WORD} characters; got one of {len(word):,}, "
            f"{word[:12]!r}...: put spaces into it"
        )
    if english and (language := other_language(clean)):
        raise TextError(f"expected English {what}; this looks like {language}, which no shipped model speaks")
    return clean


def checked_line(text: object) -> str:
    """A line of the partner's, checked; emoji alone become words by their Unicode names ("thumbs up").

    Raises:
        TextError: see `checked_text`.
    """
    if isinstance(text, str) and not any(char.isalnum() for char in text):
        signs = [char for char in text[:LONGEST_TEXT] if unicodedata.category(char) == "So"][:MOST_SIGNS]
        names = dict.fromkeys(_NO_WORD_OF.sub("", unicodedata.name(sign, "").lower()).strip() for sign in signs)
        text = ", ".join(name for name in names if name) or text
    return checked_text(text, what="input")


@lru_cache(maxsize=1)
def _function_words() -> tuple[dict[str, frozenset[str]], frozenset[str]]:
    """Those of each language, and those of others that are English words, too, which alone prove nothing."""
    raw = safe_yaml.load((files("visavis.agent") / "data" / "function_words.yaml").read_text(encoding="utf-8"))
    words = {language: frozenset(some.split()) for language, some in raw.items()}
    return words, words.pop("also English")


def other_language(text: str) -> str | None:
    """The language of a text that is not English, or None.

    Other scripts are told by their letters, languages in Latin letters by their function words; three words or fewer
    in Latin letters are never refused, nor are those whose only foreign words are English words, too ("two plus two").
    """
    text = unicodedata.normalize("NFKC", text)
    letters = [char for char in text if char.isalpha()]
    foreign = [char for char in letters if not unicodedata.name(char, "LATIN").startswith("LATIN")]
    if len(foreign) > 0.3 * max(len(letters), 1):
        return unicodedata.name(foreign[0]).split()[0].capitalize() + " script"
    words = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", text.lower())
    if len(words) < 4:
        return None
    table, also = _function_words()
    whole = [re.sub(r"(n't|'\w+)$", "", word) for word in words]  # "what's" is "what"
    found = {language: [word for word in words if word in forms] for language, forms in table.items()}
    english = sum(word in table["English"] for word in whole)
    best = max((language for language in found if language != "English"), key=lambda language: len(found[language]))
    count = len(found[best])
    if count >= 0.25 * len(words) and count > 1.5 * english and not also.issuperset(found[best]):
        return best
    return None
