"""Parameters of a gesture that the text itself gives: a size with its unit, a count, a direction, a place in the scene.

Only what is said near the gesture's word counts; what is not said is left to the model or to the lexicon's defaults.
Values are clipped to what a body can show.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from visavis.retrieval.lexicon import Param
from visavis.retrieval.scene import Scene

__all__ = ["params_of", "told"]

_UNITS: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()  # fmt: skip
_TENS: Final = "twenty thirty forty fifty sixty seventy eighty ninety".split()
NUMBERS: Final[dict[str, float]] = {
    **{word: float(i) for i, word in enumerate(_UNITS)},
    **{word: 20.0 + 10 * i for i, word in enumerate(_TENS)},
    "a": 1.0, "an": 1.0, "half": 0.5, "once": 1.0, "twice": 2.0, "couple": 2.0, "pair": 2.0, "both": 2.0,
}  # fmt: skip
ORDINALS: Final = {
    "first": 1, "firstly": 1, "second": 2, "secondly": 2, "third": 3, "thirdly": 3, "fourth": 4, "fourthly": 4,
    "fifth": 5, "fifthly": 5,
}  # fmt: skip
METRES: Final = {
    **dict.fromkeys(("metre", "metres", "meter", "meters", "m"), 1.0),
    **dict.fromkeys(("centimetre", "centimetres", "centimeter", "centimeters", "cm", "centimetre-wide"), 0.01),
    **dict.fromkeys(("millimetre", "millimetres", "millimeter", "millimeters", "mm"), 0.001),
    **dict.fromkeys(("foot", "feet", "ft"), 0.3048),
    **dict.fromkeys(("inch", "inches"), 0.0254),
    **dict.fromkeys(("yard", "yards"), 0.9144),
    **dict.fromkeys(("kilometre", "kilometres", "km", "mile", "miles"), 1000.0),
}
DIRECTIONS: Final = {
    "left": "left", "right": "right", "up": "up", "upstairs": "up", "above": "up", "sky": "up", "ceiling": "up",
    "roof": "up", "overhead": "up", "stars": "up", "moon": "up", "sun": "up", "down": "down", "downstairs": "down",
    "below": "down", "floor": "down", "ground": "down", "cellar": "down", "basement": "down", "behind": "back",
    "straight": "forward", "ahead": "forward",
}  # fmt: skip
# Words around "left" and "right" that make them a verb or an adverb.
_NO_SIDE: Final = frozenset(
    "he she i we they it who has have had is are was were you you're that's all just be get nothing one".split()
)
NEAR: Final = 3  # words on either side of the gesture's word
SIZE_NEAR: Final = 7  # a size may stand at the other end of its clause
_SIZES: Final = ("palm_distance", "pinch_gap", "height")


def _plain(text: str) -> list[str]:
    return [re.sub(r"^[^\w.]+|\W+$", "", word).lower() for word in text.split()]


def _number(word: str) -> float | None:
    """3, 2.5, 1,200, "three", "twenty-five"; None for other words."""
    if re.fullmatch(r"\d{1,3}(,\d{3})+", word):
        word = word.replace(",", "")
    if re.fullmatch(r"\d{1,7}(\.\d{1,4})?|\.\d{1,4}", word):
        return float(word)
    if word in NUMBERS:
        return NUMBERS[word]
    tens, _, units = word.partition("-")
    if tens in _TENS and units in _UNITS[1:10]:
        return NUMBERS[tens] + NUMBERS[units]
    return None


def _length_before(words: list[str], place: int) -> float | None:
    """Metres of the unit at `place` with its number: "three metres", "half a metre", "two and a half feet"."""
    head = words[place]
    joined = re.fullmatch(r"(\d{1,6}(?:\.\d{1,4})?)[ -]?(mm|cm|m|km|ft|centimetres?|metres?|inch(?:es)?)", head)
    if joined:
        return float(joined[1]) * METRES[joined[2]]
    if "-" in head and head.rpartition("-")[2] in METRES:  # two-metre
        number, _, unit = head.rpartition("-")
        value = _number(number)
        return None if value is None else value * METRES[unit]
    if head not in METRES or place == 0:
        return None
    value = _number(words[place - 1])
    if value is None:
        return None
    before = words[max(0, place - 4) : place]
    if before[-2:] == ["half", "a"] or before[-2:] == ["half", "an"]:
        value = 0.5
        if before[-3:-2] == ["and"] and len(before) == 4 and (whole := _number(before[0])) is not None:
            value = whole + 0.5
    elif before[-1] == "half" and len(before) >= 4 and before[-3:-1] == ["and", "a"]:
        whole = _number(before[-4])
        value = 0.5 if whole is None else whole + 0.5
    elif before[-1] in ("couple", "pair"):
        value = 2.0
    if words[place + 1 : place + 4] == ["and", "a", "half"]:  # a foot and a half
        value += 0.5
    return value * METRES[head]


def _clipped(value: float, spec: Param) -> float:
    low = spec.low if spec.low is not None else value
    high = spec.high if spec.high is not None else value
    return min(high, max(low, value))


_SIZED: Final = frozenset(
    "long wide broad thick thin narrow deep across big large small tiny huge high tall apart square round".split()
)
_UPRIGHT: Final = frozenset("tall high height grown".split())
_THERE: Final = frozenset("there that those this look see here".split())
_SIDEWAYS: Final = frozenset("the your my our go turn keep bear".split())
_NO_THINGS: Final = frozenset(
    "times this is was has as its us yes o'clock minutes hours years days weeks months".split()
)


def told(text: str, scene: Scene | None = None) -> list[tuple[str, int]]:
    """Gestures that a text calls for by its numbers and places, each with the index of its word in `text.split()`.

    A length with its unit is shown between fingers, palms or over the floor; an ordinal that begins a clause and a
    number of things up to five are counted; a place of the scene, or a side, is pointed at.
    """
    words = _plain(text)
    found: list[tuple[str, int]] = []
    for place in range(len(words)):
        length = _length_before(words, place)
        if length is None:
            continue
        near = range(max(0, place - 4), min(len(words), place + 3))
        sized = [i for i in near if words[i] in _SIZED]
        anchor = min(sized, key=lambda i: abs(i - place)) if sized else place
        if 0.75 <= length <= 1.9 and _UPRIGHT & {words[i] for i in near}:
            found.append(("tall height" if length > 1.3 else "low height", anchor))
        else:
            found.append(("tiny size" if length < 0.09 else "narrow gap" if length < 0.35 else "huge size", anchor))
        return found
    for place, word in enumerate(words):
        begins = place == 0 or text.split()[place - 1][-1:] in ".,;:!?" or words[place - 1] == "and"
        after = words[place + 1] if place + 1 < len(words) else ""
        number = _number(word) if word not in NUMBERS or word in _UNITS[1:] else None
        things = number is not None and 2 <= number <= 5 and after.endswith("s") and after not in _NO_THINGS
        if things or (word in ORDINALS and begins):
            found.append(("counting", place))
            break
    named = scene.named(text) if scene is not None else []
    there = [i for i, word in enumerate(words) if word in _THERE]
    if named:
        at = named[-1][0]
        found.append(("point away", min(there, key=lambda i: abs(i - at)) if there else at))
        return found
    for place, word in enumerate(words):
        side = word in ("left", "right") and place and words[place - 1] in _SIDEWAYS and not _is_no_side(words, place)
        along = word == "there" and place and words[place - 1] in ("up", "down", "back")
        if side or along:
            found.append(("point away", place))
            break
    return found


def params_of(params: Mapping[str, Param], text: str, anchor: int, scene: Scene | None = None) -> dict[str, Any]:
    """What a text says about a gesture.

    Args:
        params: the gesture's.
        text: the clause.
        anchor: index in `text.split()` of the word that the gesture belongs to.
        scene: named places around; "you" is the partner's head.

    Returns:
        values by name, clipped to the gesture's ranges; often none.
    """
    words = _plain(text)
    out: dict[str, Any] = {}
    for name, spec in params.items():
        value: Any = None
        if spec.acts in _SIZES:
            length = _size(words, anchor)
            value = None if length is None else round(_clipped(length, spec), 4)
        elif spec.acts == "fingers":
            value = _count(words, anchor, spec)
        elif spec.acts == "repeats":
            value = _times(words, anchor, spec)
        elif spec.acts == "target" and scene is not None:
            named = scene.named(text)
            if named:
                value = min(named, key=lambda item: (abs(item[0] - anchor), item[0]))[2]
        elif spec.acts == "point":
            value = _direction(words, anchor)
        elif spec.acts == "side":
            value = next((d for d in [_direction(words, anchor)] if d in spec.choices), None)
        elif spec.acts == "hand":
            value = _hand(words)
        if value is not None:
            out[name] = value
    if any(params[name].acts == "target" for name in out):  # a place says more than a direction
        out = {name: value for name, value in out.items() if params[name].acts != "point"}
    return out


def _nearest(places: list[int], anchor: int) -> int | None:
    return min(places, key=lambda place: (abs(place - anchor), place)) if places else None


def _size(words: list[str], anchor: int) -> float | None:
    near = range(max(0, anchor - SIZE_NEAR), min(len(words), anchor + SIZE_NEAR + 1))
    found = {place: length for place in near if (length := _length_before(words, place)) is not None}
    best = _nearest([*found], anchor)
    return None if best is None else found[best]


def _count(words: list[str], anchor: int, spec: Param) -> int | None:
    places = sorted(range(max(0, anchor - 1), min(len(words), anchor + NEAR)), key=lambda p: (abs(p - anchor), p))
    for place in places:
        word = words[place]
        value = ORDINALS.get(word) or (None if word in ("a", "an", "half") else _number(word))
        if value is not None and value == int(value) and (spec.low or 1) <= value <= (spec.high or 5):
            return int(value)
    return None


def _times(words: list[str], anchor: int, spec: Param) -> int | None:
    for place in range(max(0, anchor - NEAR), min(len(words), anchor + NEAR + 2)):
        value = 2.0 if words[place] == "twice" else None
        if words[place] == "times" and place:
            value = _number(words[place - 1])
        if value is not None and value == int(value):
            return int(_clipped(value, spec))
    return None


def _direction(words: list[str], anchor: int) -> str | None:
    near = range(max(0, anchor - NEAR), min(len(words), anchor + NEAR + 1))
    for place in sorted(near, key=lambda p: (abs(p - anchor), p)):
        word = words[place]
        if word in ("left", "right") and _is_no_side(words, place):
            continue
        if word in DIRECTIONS:
            return DIRECTIONS[word]
    return None


def _is_no_side(words: list[str], place: int) -> bool:
    """Whether "left" is a form of "leave", or "right" means "just" or "correct", here."""
    before = words[place - 1] if place else ""
    after = words[place + 1] if place + 1 < len(words) else ""
    if words[place] == "right" and (not before or after in ("now", "here", "there", "away", "behind", "in", "at")):
        return True
    return before in _NO_SIDE


def _hand(words: list[str]) -> str | None:
    for side, noun in zip(words, words[1:], strict=False):
        if side in ("left", "right") and noun in ("hand", "arm"):
            return side
    return None
