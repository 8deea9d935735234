"""Parameters of a gesture that the text itself gives: a size with its unit, a count, a direction, a place in the scene.

Only what is said near the gesture's word counts; what is not said is left to the model or to the lexicon's defaults.
Values are clipped to what a body can show.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from visavis.retrieval.amounts import ORDINALS, length_before, number, plain
from visavis.retrieval.lexicon import Param
from visavis.retrieval.scene import Scene
from visavis.retrieval.told import HANDED, is_no_side, told

__all__ = ["asked", "named_in", "params_of", "told"]

DIRECTIONS: Final = {
    "left": "left", "right": "right", "up": "up", "upstairs": "up", "above": "up", "sky": "up", "ceiling": "up",
    "roof": "up", "overhead": "up", "stars": "up", "moon": "up", "sun": "up", "down": "down", "downstairs": "down",
    "below": "down", "floor": "down", "ground": "down", "cellar": "down", "basement": "down", "behind": "back",
    "straight": "forward", "ahead": "forward",
}  # fmt: skip
NEAR: Final = 3  # words on either side of the gesture's word
FARTHER: Final = 5  # a direction may come some words after its verb
SIZE_NEAR: Final = 12  # a size may stand at the other end of its clause
_SIZES: Final = ("palm_distance", "pinch_gap", "height")


# Words of glosses that say nothing beside "twice" or "with the left hand".
_UNTELLING: Final = frozenset(
    "a the of on in at to up down from go my you us both here there around hand hands arm arms time five one".split()
)


def _clipped(value: float, spec: Param) -> float:
    low = spec.low if spec.low is not None else value
    high = spec.high if spec.high is not None else value
    return min(high, max(low, value))


def asked(text: str) -> frozenset[str]:
    """What a text says of some gesture whatever it is: how often it is made ("repeats"), with which hand ("hand")."""
    words = plain(text)
    often = {"repeats"} if _times(words, 0, Param(acts="repeats")) is not None else set()
    return frozenset(often | ({"hand"} if _hand(words) is not None else set()))


def named_in(gloss: str, text: str) -> float:
    """The share in [0, 1] of a gloss' telling words that a text says in some form ("clapped" of "clapping")."""
    own = {_stem(word) for word in gloss.split() if word not in _UNTELLING}
    return len(own & {_stem(word) for word in plain(text)}) / len(own) if own else 0.0


def _stem(word: str) -> str:
    stem = re.sub(r"(?<=\w\w)(ing|ed|es|s|e)$", "", word)
    return stem[:-1] if len(stem) > 2 and stem[-1] == stem[-2] else stem


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
    words = plain(text)
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
    found = {place: length for place in near if (length := length_before(words, place)) is not None}
    best = _nearest([*found], anchor)
    return None if best is None else found[best]


def _count(words: list[str], anchor: int, spec: Param) -> int | None:
    places = sorted(range(max(0, anchor - 1), min(len(words), anchor + NEAR)), key=lambda p: (abs(p - anchor), p))
    for place in places:
        word = words[place]
        value = ORDINALS.get(word) or (None if word in ("a", "an") else number(word))
        if value is not None and value == int(value) and (spec.low or 1) <= value <= (spec.high or 5):
            return int(value)
    return None


def _times(words: list[str], anchor: int, spec: Param) -> int | None:
    """How often the nearest "twice" or "three times" says."""
    found: dict[int, float] = {}
    for place, word in enumerate(words):
        value = 2.0 if word == "twice" else number(words[place - 1]) if word == "times" and place else None
        if value is not None and value == int(value):
            found[place] = value
    best = _nearest([*found], anchor)
    return None if best is None else int(_clipped(found[best], spec))


def _direction(words: list[str], anchor: int) -> str | None:
    near = range(max(0, anchor - FARTHER), min(len(words), anchor + FARTHER + 1))
    for place in sorted(near, key=lambda p: (abs(p - anchor), p)):
        word = words[place]
        if word in ("left", "right") and is_no_side(words, place):
            continue
        if word in HANDED:
            return HANDED[word]
        if word == "back" and words[place + 1 : place + 2] == ["there"]:
            return "back"
        if word in DIRECTIONS:
            return DIRECTIONS[word]
    return None


def _hand(words: list[str]) -> str | None:
    for side, noun in zip(words, words[1:], strict=False):
        if side in ("left", "right") and noun in ("hand", "arm"):
            return side
    return None
