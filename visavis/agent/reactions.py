"""What particular words of the partner call for in a listener, and how a listener moves at them.

Listeners do two things: nods and "mm-hm" that fit anywhere, which the timing of the speech invites (`listening`), and
*specific* answers to what is said: they wince at pain, look sorry at bad luck, smile at a joke, raise their brows at
news, nod at what they should know and at each figure (Bavelas, Coates and Johnson 2000). Here are the words that call
for one, from lists (`data/reactions.yaml`), and the feeling of a sentence where none of its words does. Whether an
answer is made, and when, is the listener's own affair: the live body's (`attending`) and the teacher's of listeners.

Knows nothing of sound and models; English.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

import yaml

__all__ = ["Movement", "Reaction", "movements", "phrases_by_reason", "reactions"]

_FIGURE: Final = re.compile(r"[$£€]?\d[\d.,:/]*(st|nd|rd|th|%|s)?")
_ENDS: Final = ".!?"
_BACK: Final = 3  # words before a word of feeling within which a negation turns it


@dataclass(frozen=True)
class Movement:
    """A movement at its largest.

    head: degrees (nod down, turn left, tilt to the left shoulder); lean: of the trunk forward, degrees; shake: of the
    head, (degrees, Hz); face: weights of blendshapes, without a side where there are two; lasts_s: how long it takes.
    """

    lasts_s: float
    head: tuple[float, float, float] = (0.0, 0.0, 0.0)
    lean: float = 0.0
    shake: tuple[float, float] = (0.0, 1.0)
    face: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Reaction:
    """What a word calls for.

    word: the last word of what calls for it, as an index; kind: "nod" (`count` of them), "tilt", or another of
    `movements`; size: 1 as in the table; reason: of the lists, "question", "name", or an emotion.
    """

    word: int
    kind: str
    size: float = 1.0
    count: int = 1
    reason: str = ""


@cache
def _table() -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((files("visavis.agent") / "data" / "reactions.yaml").read_text("utf-8"))
    return data


@cache
def movements() -> dict[str, Movement]:
    """Every movement by its kind; nods are not among them."""
    return {
        kind: Movement(
            raw["lasts_s"], tuple(raw.get("head", (0, 0, 0))), raw.get("lean", 0), tuple(raw.get("shake", (0, 1))),
            raw.get("face"),
        )
        for kind, raw in _table()["movements"].items()
    }  # fmt: skip


@cache
def _phrases() -> dict[tuple[str, ...], str]:
    """Reasons by phrase; what stands in two lists has the first reason."""
    out: dict[tuple[str, ...], str] = {}
    for reason, raw in _table()["reasons"].items():
        for phrase in raw["words"]:
            out.setdefault(tuple(str(phrase).split()), reason)
    return out


@cache
def _longest() -> int:
    return max(map(len, _phrases()))


def phrases_by_reason() -> list[list[str]]:
    """The phrases of every list, with a comma where only one that ends a phrase counts."""
    return [
        [f"{phrase}," if raw.get("border") else str(phrase) for phrase in raw["words"]]
        for raw in _table()["reasons"].values()
    ]


def reactions(words: Sequence[str], feel: Callable[[str], str] | None = None) -> list[Reaction]:
    """What the words call for, in their order, at most one thing a word.

    Causal: what a word calls for depends on it and on the words before it, with `feel` on those of its sentence.

    Args:
        words: of the partner, with their punctuation, as in `text.split()`.
        feel: the emotion of a sentence, "neutral" or one of `EMOTIONS`; without it only words call.
    """
    plain = [re.sub(r"[^\w'%$£€.,:/]|[.,:/]+$", "", word.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
             for word in words]  # fmt: skip
    out: list[Reaction] = []
    first = 0  # of this sentence
    for at, word in enumerate(words):
        ends = word.rstrip("\"')")[-1:]
        found = _called(words, plain, first, at)
        if ends and ends in _ENDS:
            if ends == "?" and (found is None or found.reason in ("figure", "name")):
                found = Reaction(at, "tilt", reason="question")
            elif (
                ends != "?"
                and feel is not None
                and not _feels(out, first)
                and (found is None or not _is_feeling(found))
            ):
                emotion = feel(" ".join(words[first : at + 1]))
                kind = _table()["felt"].get(emotion)
                found = Reaction(at, kind, reason=emotion) if kind else found
            first = at + 1
        if found is not None:
            out.append(found)
    return out


def _called(words: Sequence[str], plain: Sequence[str], first: int, at: int) -> Reaction | None:
    """What the word at `at` calls for, which ends the longest phrase that is in a list."""
    for length in range(min(_longest(), at + 1 - first), 0, -1):
        reason = _phrases().get(tuple(plain[at + 1 - length : at + 1]))
        if reason is None:
            continue
        raw = _table()["reasons"][reason]
        if raw.get("border") and words[at][-1:].isalnum():
            continue
        before = plain[max(first, at + 1 - length - _BACK) : at + 1 - length]
        if raw.get("feeling") and set(before) & set(_table()["negations"]):
            return None
        return Reaction(at, raw["kind"], raw.get("size", 1.0), raw.get("count", 1), reason)
    raw = _table()["reasons"]["figure"]
    if _FIGURE.fullmatch(plain[at]):
        return Reaction(at, raw["kind"], raw["size"], raw["count"], "figure")
    if at > first and len(plain[at]) > 2 and words[at][:1].isupper() and "'" not in plain[at]:
        return Reaction(at, raw["kind"], raw["size"], raw["count"], "name")
    return None


def _is_feeling(reaction: Reaction) -> bool:
    return reaction.kind in _table()["felt"].values()


def _feels(found: Sequence[Reaction], first: int) -> bool:
    """Whether a word from `first` on has called for a feeling."""
    return any(one.word >= first and _is_feeling(one) for one in found)
