"""Gestures that a text calls for by its numbers and places, whatever else it means.

Rules over words: the index of meanings sees what a clause is about, not that "sixty centimetres" can be shown.
"""

from __future__ import annotations

from typing import Any, Final

from visavis.retrieval.amounts import NUMBERS, ORDINALS, UNITS, length_before, number, plain
from visavis.retrieval.scene import Scene

__all__ = ["HANDED", "is_no_side", "told"]

# Words around "left" and "right" that make them a verb or an adverb.
_NO_SIDE: Final = frozenset(
    "he she i we they it who has have had is are was were you you're that's all just be get nothing one".split()
)
_SIZED: Final = frozenset(
    "long wide broad thick thin narrow deep across big large small tiny little huge high tall apart round".split()
)
_UPRIGHT: Final = frozenset("tall high height grown".split())
_THERE: Final = frozenset("there that those this look see here".split())
_SIDEWAYS: Final = frozenset("the your my our go turn keep bear stay look".split())
_NO_THINGS: Final = frozenset(
    "times this is was has as its us yes o'clock minutes hours years days weeks months seconds".split()
)
_MANY: Final = frozenset("people men women children feet teeth mice geese sheep fish".split())
_OWNERS: Final = frozenset("the my your our his her their its this that".split())
# What makes an ordinal a time: "the first time", "the second he came".
_NO_ORDER: Final = frozenset("time times half hand ago later".split())
_SOMEBODY: Final = frozenset("he she i we they you it".split())
_SAID_OF_ONE: Final = frozenset("number makes point step rule reason only just exactly".split())
_SAID_OF_SOME: Final = _SAID_OF_ONE | frozenset("another these those all".split())
_ONE_OF_MANY: Final = frozenset(
    "thing question reason example way problem condition rule tip point idea word chance exception wish".split()
)
_UP_AND_DOWN: Final = frozenset("upstairs downstairs overhead".split())
_PLACES: Final = frozenset("sky ceiling roof floor ground cellar basement stars moon sun".split())
HANDED: Final = {"left-hand": "left", "right-hand": "right"}


def told(text: str, scene: Scene | None = None) -> list[tuple[str, int]]:
    """Gestures that a text calls for by its numbers and places, each with the index of its word in `text.split()`.

    A length with its unit is shown between fingers, palms or over the floor; an ordinal that puts things in order and
    a number of things up to five are counted; a place of the scene, or a direction, is pointed at.
    """
    words = plain(text)
    found = _measured(words) or _counted(words, [word[-1:] in ".,;:!?" for word in text.split()])
    return [*found, *_pointed(words, scene.named(text) if scene is not None else [])]


def _measured(words: list[str]) -> list[tuple[str, int]]:
    """The gesture of the first length."""
    for place in range(len(words)):
        length = length_before(words, place)
        if length is None:
            continue
        near = range(max(0, place - 4), min(len(words), place + 5))
        sized = [i for i in near if words[i] in _SIZED]
        anchor = min(sized, key=lambda i: abs(i - place)) if sized else place
        if 0.75 <= length <= 2.5 and _UPRIGHT & {words[i] for i in near}:
            return [("tall height" if length > 1.3 else "low height", anchor)]
        return [("tiny size" if length < 0.09 else "narrow gap" if length < 0.35 else "huge size", anchor)]
    return []


def _counted(words: list[str], stops: list[bool]) -> list[tuple[str, int]]:
    """Counting, on each ordinal that puts things in order, or else on the first number of things.

    `stops` tell which words end a part.
    """
    order = [place for place in range(len(words)) if _orders(words, stops, place)]
    things = [place for place in range(len(words)) if not order and _numbers(words, stops, place)]
    return [("counting", place) for place in order or things[:1]]


def _orders(words: list[str], stops: list[bool], place: int) -> bool:
    """Whether a word is an ordinal that begins a part, or belongs to a thing: "my third reason"."""
    before, after = words[place - 1] if place else "", words[place + 1] if place + 1 < len(words) else ""
    begins = place == 0 or stops[place - 1] or before in ("and", "then", "but", "so")
    owned = before in _OWNERS and not stops[place] and after not in _SOMEBODY
    return words[place] in ORDINALS and (begins or owned) and (stops[place] or after not in _NO_ORDER)


def _numbers(words: list[str], stops: list[bool], place: int) -> bool:
    """Whether a word is a number up to five of things that are named, or follows "number", "only" and the like."""
    before, after = words[place - 1] if place else "", words[place + 1] if place + 1 < len(words) else ""
    word = words[place]
    value = number(word) if word not in NUMBERS or word in UNITS[1:] else None
    if value is None or not 1 <= value <= 5 or value != int(value):
        return False
    if value == 1:
        return before in _SAID_OF_ONE or after in _ONE_OF_MANY
    end = next((i for i in range(place, len(words)) if stops[i]), len(words) - 1)
    several = any(_several(thing) for thing in words[place + 1 : min(place + 4, end + 1)])
    return before in _SAID_OF_SOME or after == "of" or (after not in _NO_THINGS and several)


def _several(word: str) -> bool:
    """Whether a word looks like several things."""
    return word in _MANY or (len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is"))
                             and word not in _NO_THINGS)  # fmt: skip


def _pointed(words: list[str], named: list[tuple[int, str, Any]]) -> list[tuple[str, int]]:
    """Pointing, at the last place of the scene that is named, or else into the first direction."""
    if named:
        there = [i for i, word in enumerate(words) if word in _THERE]
        at = named[-1][0]
        return [("point away", min(there, key=lambda i: abs(i - at)) if there else at)]
    for place, word in enumerate(words):
        before, after = words[place - 1] if place else "", words[place + 1] if place + 1 < len(words) else ""
        side = word in ("left", "right") and before in _SIDEWAYS and not is_no_side(words, place)
        along = word == "there" and before in ("up", "down", "back", "over")
        behind = word == "behind" and after in ("me", "us", "you")
        ahead = (word == "straight" and after in ("on", "ahead")) or (word == "ahead" and before != "straight")
        ends = word in ("above", "below") and not after
        thing = word in _PLACES and before == "the"
        if side or along or behind or ahead or ends or thing or word in _UP_AND_DOWN or word in HANDED:
            return [("point away", place)]
    return []


def is_no_side(words: list[str], place: int) -> bool:
    """Whether "left" is a form of "leave", or "right" means "just" or "correct", here."""
    before = words[place - 1] if place else ""
    after = words[place + 1] if place + 1 < len(words) else ""
    if words[place] == "right" and (not before or after in ("now", "here", "there", "away", "behind", "in", "at")):
        return True
    return before in _NO_SIDE
