"""What a line of the partner's tells about the partner, as sentences that can be said back: rules, no model.

"Hi, my name is Anna and I have a dog." → "Your name is Anna.", "You have a dog." Only plain statements in the first
person about lasting things count; questions, wishes and moods do not. A request to forget is read here, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from visavis import safe_yaml

__all__ = ["Told", "forgetting", "statements", "to_partner"]

LONGEST: Final = 200
MOST: Final = 5  # statements of one line

_FLIP: Final = {
    "i": "you", "me": "you", "my": "your", "mine": "yours", "myself": "yourself", "am": "are", "i'm": "you are",
    "i've": "you have", "i'd": "you would", "i'll": "you will", "we": "you", "us": "you", "our": "your",
    "ours": "yours", "we're": "you are", "we've": "you have", "you": "me", "your": "my", "yours": "mine",
}  # fmt: skip


@cache
def _pattern(name: str) -> re.Pattern[str]:
    """One of the patterns of `data/told.yaml`; a folded line is one pattern, and a list is its alternatives."""
    raw = safe_yaml.load((files("visavis.agent") / "data" / "told.yaml").read_text("utf-8"))
    found = raw[name]
    text = "|".join(found) if isinstance(found, list) else found
    text = text.replace("TRANSIENT", raw["transient"])
    text = re.sub(r"(?<=[|)*]) ", "", text)
    if name == "openers":
        text = rf"(?:(?:{text})\b[\s,!.:-]*)+"
    return re.compile(rf"(?:{text})", re.I)


@dataclass(frozen=True)
class Told:
    """One statement, to the partner; `slot` is what there can be only one of, or ""."""

    text: str
    slot: str


def statements(line: str) -> list[Told]:
    """What a line tells that is worth remembering, at most `MOST` sentences."""
    found: list[Told] = []
    for sentence in re.split(r"(?<=[.!?;])\s+|\s+(?:and|but)\s+(?=(?:I|I'm|I've|my)\b)|,\s+(?=my\b)", line):
        plain = _plain(sentence)
        match = _pattern("lasting").match(plain)
        if match is None or plain.endswith("?") or len(plain) > LONGEST:
            continue
        name = match["called"] or _name(plain)
        if name:
            found.append(Told(f"Your name is {name}.", "name"))
        else:
            slot = (match["slot"] or match["doing"] or ("age" if match["age"] else "")).lower().strip()
            found.append(Told(to_partner(plain), slot if _pattern("single").search(slot) else ""))
    return found[:MOST]


def _plain(sentence: str) -> str:
    """The sentence without "Well," and the like before it."""
    return re.sub(rf"^{_pattern('openers').pattern}", "", sentence.strip(), flags=re.I).strip()


def _name(sentence: str) -> str:
    """The name in "I'm Anna."; of Jan is only remembered that he is Jan, because Italian ends so, too."""
    match = re.fullmatch(r"I(?: am|'m) ([A-Z][a-z'-]+)[.!]?", sentence)
    return "" if match is None or re.search(r"(?:ish|ese|ch|an)$", match[1]) else match[1]


def to_partner(sentence: str) -> str:
    """The sentence with first and second person exchanged, as a sentence."""
    words = sentence.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").rstrip(" .!;,").split()
    out: list[str] = []
    for place, word in enumerate(words):
        core = word.strip('.,;:!?"()')
        turned = _FLIP.get(core.lower())
        if core.lower() == "was" and place and words[place - 1].lower() == "i":
            turned = "were"
        out.append(word if turned is None else word.replace(core, turned, 1))
    text = " ".join(out)
    return text[:1].upper() + text[1:] + "."


def forgetting(line: str) -> tuple[str, str] | None:
    """Whether a line asks to forget: ("all", ""), ("last", ""), ("about", what), or None."""
    for sentence in re.split(r"(?<=[.!?])\s+", line.strip()):
        match = _pattern("forget").match(_plain(sentence))
        if match is None:
            continue
        what = match["what"].strip(" ,")
        if _pattern("everything").match(what):
            return ("all", "")
        if _pattern("last").match(what):
            return ("last", "")
        if what and not _pattern("other").match(what):
            return ("about", re.sub(r"^(?:(?:that|about|my|what i (?:said|told you) about)\s+)+", "", what, flags=re.I))
    return None
