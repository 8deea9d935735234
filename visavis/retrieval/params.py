"""Parameters of a gesture that the text itself gives: a size in metres, a count, a direction.

Only what is said near the anchor counts; what is not said is left to the choreography. Sizes are clipped to what two
arms, or two fingers, can show.
"""

from __future__ import annotations

import re
from typing import Final

from visavis.tokenizers.turn_language import Value

__all__ = ["params_of"]

NUMBERS: Final = {
    word: value
    for value, words in enumerate(
        ("zero", "one once", "two twice", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
    for word in words.split()
} | {"twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "hundred": 100, "half": 0.5}
ORDINALS: Final = {"first": 1, "firstly": 1, "second": 2, "secondly": 2, "third": 3, "fourth": 4, "fifth": 5}
UNIT_NAMES: Final = {
    **dict.fromkeys(("metre", "metres", "meter", "meters", "m"), 1.0),
    **dict.fromkeys(("centimetre", "centimetres", "centimeter", "centimeters", "cm"), 0.01),
    **dict.fromkeys(("millimetre", "millimetres", "millimeter", "millimeters", "mm"), 0.001),
    **dict.fromkeys(("foot", "feet", "ft"), 0.3048),
    **dict.fromkeys(("inch", "inches"), 0.0254),
}
SIZES: Final = {"huge size": (0.35, 1.25), "tiny size": (0.012, 0.09)}  # metres that the lexicon's gestures can show
DIRECTIONS: Final = {
    "left": "left", "right": "right", "up": "up", "upstairs": "up", "above": "up", "sky": "up", "ceiling": "up",
    "roof": "up", "down": "down", "downstairs": "down", "below": "down", "floor": "down", "behind": "back",
    "straight": "forward",
}  # fmt: skip
REACH: Final = 3  # words on either side of the anchor


def _number(word: str) -> float | None:
    if word in NUMBERS:
        return float(NUMBERS[word])
    return float(word) if re.fullmatch(r"\d+(\.\d+)?", word) else None


def params_of(gloss: str, text: str, anchor: int) -> dict[str, Value]:
    """What `text` says about the gesture `gloss` whose anchor is the word of this index; often nothing."""
    words = [re.sub(r"^\W+|\W+$", "", word).lower() for word in text.split()]
    near = range(max(0, anchor - REACH), min(len(words), anchor + REACH + 1))
    if gloss in SIZES:
        low, high = SIZES[gloss]
        for place in near:
            unit = UNIT_NAMES.get(words[place])
            number = _number(words[place - 1]) if place else None
            if unit is not None and number is not None:
                return {"size_m": round(min(high, max(low, number * unit)), 2)}
    if gloss == "counting":
        word = words[anchor] if anchor < len(words) else ""
        count = ORDINALS.get(word) or NUMBERS.get(word) or (int(word) if word.isdigit() else 0)
        if 1 <= count <= 5:
            return {"count": int(count)}
    if gloss == "point away":
        for place in sorted(near, key=lambda place: abs(place - anchor)):
            if words[place] in DIRECTIONS and not (words[place] in ("left", "right") and _is_other(words, place)):
                return {"direction": DIRECTIONS[words[place]]}
    return {}


def _is_other(words: list[str], place: int) -> bool:
    """Whether "left" is a form of "leave" or "right" means "just" here."""
    before = words[place - 1] if place else ""
    return before in {"he", "she", "i", "we", "they", "has", "have", "is", "are", "you're", "that's", "all"}
