"""Numbers and lengths in English words: "3", "1½", "twenty-five", "two and a half feet", "80cm", "a couple of inches".

Words are those of `text.split()`, plain: small letters without the signs around them. Nothing here knows of gestures.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["NUMBERS", "ORDINALS", "UNITS", "length_before", "number", "plain"]

UNITS: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()  # fmt: skip
_TENS: Final = "twenty thirty forty fifty sixty seventy eighty ninety".split()
NUMBERS: Final[dict[str, float]] = {
    **{word: float(i) for i, word in enumerate(UNITS)},
    **{word: 20.0 + 10 * i for i, word in enumerate(_TENS)},
    "a": 1.0, "an": 1.0, "once": 1.0, "twice": 2.0, "couple": 2.0, "pair": 2.0, "both": 2.0,
}  # fmt: skip
ORDINALS: Final = {
    "first": 1, "firstly": 1, "second": 2, "secondly": 2, "third": 3, "thirdly": 3, "fourth": 4, "fourthly": 4,
    "fifth": 5, "fifthly": 5,
}  # fmt: skip
METRES: Final = {
    **dict.fromkeys(("metre", "metres", "meter", "meters", "m"), 1.0),
    **dict.fromkeys(("centimetre", "centimetres", "centimeter", "centimeters", "cm"), 0.01),
    **dict.fromkeys(("millimetre", "millimetres", "millimeter", "millimeters", "mm"), 0.001),
    **dict.fromkeys(("foot", "feet", "ft"), 0.3048),
    **dict.fromkeys(("inch", "inches"), 0.0254),
    **dict.fromkeys(("yard", "yards", "yd"), 0.9144),
    **dict.fromkeys(("kilometre", "kilometres", "kilometer", "kilometers", "km", "mile", "miles"), 1000.0),
}
FRACTIONS: Final = {"half": 0.5, "quarter": 0.25, "third": 1 / 3, "fifth": 0.2, "tenth": 0.1}
_SIGNS: Final = {"½": ".5", "¼": ".25", "¾": ".75"}


def plain(text: str) -> list[str]:
    """The words of a text, small, without the signs around them; as many as `text.split()` has."""
    return [re.sub(r"^[^\w.]+|\W+$", "", word).lower() for word in text.split()]


def number(word: str) -> float | None:
    """3, 2.5, 1½, 1,200, "three", "twenty-five"; None for other words."""
    if re.fullmatch(r"\d{1,3}(,\d{3})+", word):
        word = word.replace(",", "")
    if word[-1:] in _SIGNS:
        word = word[:-1] + _SIGNS[word[-1]]
    if re.fullmatch(r"\d{1,7}(\.\d{1,4})?|\.\d{1,4}", word):
        return float(word)
    if word in NUMBERS:
        return NUMBERS[word]
    tens, _, units = word.partition("-")
    if tens in _TENS and units in UNITS[1:10]:
        return NUMBERS[tens] + NUMBERS[units]
    return None


def _amount(words: list[str]) -> float | None:
    """The number that ends some words: "three", "two and a half", "half a", "a couple of", "three quarters of a"."""
    article = words[-1:] in (["a"], ["an"])
    rest = words[:-1] if article else [*words]
    while rest[-1:] == ["of"]:
        rest.pop()
    if not rest or rest[-1].removesuffix("s") not in FRACTIONS:
        several = rest[-1] if rest and not article else ""
        return {"couple": 2.0, "pair": 2.0, "few": 3.0}.get(several, number(words[-1]) if words else None)
    part = FRACTIONS[rest.pop().removesuffix("s")]
    times = number(rest[-1]) if rest else None
    if rest[-2:] in (["and", "a"], ["and", "one"]):
        rest.pop()
    if rest[-1:] == ["and"]:  # two and a half
        return part + ((number(rest[-2]) if len(rest) > 1 else None) or 0.0)
    return part * (times or 1.0)


def length_before(words: list[str], place: int) -> float | None:
    """Metres of the unit at `place` with its number: "three metres", "two-metre", "a foot and a half"; else None."""
    head = words[place]
    joined = re.fullmatch(r"([\d.,½¼¾]{1,9})-?([a-z]+)(?:-[a-z]+)?", head)
    if joined and joined[2] in METRES:  # 80cm, 6-inch
        value = number(joined[1])
        return None if value is None else value * METRES[joined[2]]
    pieces = head.split("-")
    unit = next((i for i, piece in enumerate(pieces) if piece in METRES), None)
    if unit is None:
        return None
    if unit:  # two-metre, twenty-five-metre-long
        value = number("-".join(pieces[:unit]))
    else:
        value = _amount(words[max(0, place - 5) : place])
    if value is None:
        return None
    if words[place + 1 : place + 4] == ["and", "a", "half"]:  # a foot and a half
        value += 0.5
    return value * METRES[pieces[unit]]
