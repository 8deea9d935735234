"""What the words of a line and of a fact say by themselves: what is asked for, what the fact has, what both share.

Meaning takes "When does the café open?" and "Where is the café?" for nearly the same, and a reader may do so, too. But
the one calls for a time, the other for a place; and a line may name what the fact does not: a thing, a name, a number.
Plain patterns of English, no model; how much each counts is learnt (`visavis.agent.reader.Mix`).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["WORDING", "stems", "wording"]


def _patterns(**patterns: str) -> dict[str, re.Pattern[str]]:
    return {name: re.compile(pattern, re.I) for name, pattern in patterns.items()}


_NOT: Final = r"\b(no|not|never|nobody|nothing|none|without)\b|n't\b"
_ASKED: Final = _patterns(
    person=r"\b(who|whose|whom)\b",
    time=r"\b(when|what time|(what|which) (day|year|month)|until when|how (soon|late|early)|since when|hours)\b",
    place=r"\b(where|which way|whereabouts|directions?|(what|which) (country|city|town))\b",
    money=r"\b(how much|price|costs?|pay|fee|charge|expensive|cheap|rate)\b",
    count=r"\b(how (many|often)|number of|times)\b",
    size=r"\bhow (long|big|tall|large|old|far|fast|heavy|deep|high|wide|small|hot|cold|loud)\b",
    reason=r"\b(why|how come|reason|what for)\b",
    manner=r"\bhow\b",
    which=r"\b(what|which)\b",
    whether=r"^\W*(and |so |but |hello\W+|hi\W+)?(is|are|was|were|can|could|do|does|did|may|will|would|should|has|have|"
    r"had|am|must|shall|isn't|aren't|don't|doesn't|didn't|can't|won't)\b",
    mark=r"\?",
    telling=r"^\W*(i|i'm|i've|i'd|you|you'd|you'll|my|we|they|it|the|there|people|someone|surely|must)\b",
    denial=_NOT,
)
_TOLD: Final = _patterns(
    number=r"\d|\b(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty|sixty|"
    r"seventy|eighty|ninety|hundred|thousand|million|half|dozen|once|twice|first|second|third)\b",
    money=r"\b(euros?|pounds?|dollars?|cents?|free|costs?|price|pay|francs?|crowns?)\b|[€£$]",
    time=r"\b(o'clock|\w+day|weekend|january|february|march|april|may|june|july|august|september|october|november|"
    r"december|morning|noon|evening|night|midnight|spring|summer|autumn|winter|hours?|minutes?|weeks?|months?|years?|"
    r"days|century|opens?|closes?|since|until|daily|every|1[5-9]\d\d|20\d\d)\b",
    place=r"\b(in|at|on|behind|beside|near|opposite|next to|under|above|from|street|road|floor|stairs|door|room|corner|"
    r"river|hill|valley|harbour|town|village)\b",
    reason=r"\b(because|so that|since|to keep|reason|why|due to|in order)\b",
    denial=_NOT + r"|\bonly\b",
    measure=r"\b(metres?|kilometres?|centimetres?|litres?|grams?|kilos?|tonnes?|degrees|percent|miles?|feet|inches|"
    r"times)\b",
)
_SHARED: Final = ("covered", "covered_rare", "covers", "topic", "missing", "names_missing", "numbers", "shared")
# The names of the columns; what is asked is the same for all facts of a line.
WORDING: Final = (
    *(f"asked_{name}" for name in _ASKED), "asked_words", "asked_telling_words", "facts",
    *(f"told_{name}" for name in _TOLD), "told_words",
    *(f"words_{name}" for name in _SHARED),
)  # fmt: skip

_WORD: Final = re.compile(r"[a-z0-9']+")
_NAME: Final = re.compile(r"(?<!^)(?<![.?!] )\b([A-Z][a-z]+)")
_ENDINGS: Final = ("ingly", "edly", "ings", "ing", "ied", "ies", "ed", "es", "ly", "er", "est", "s")
# Words that tell nothing of what a text is about.
_PLAIN: Final = frozenset(
    "the a an is are of to in on it do does i you your my me we us our can could and for at or be been was were with "
    "that this there here what which who where when why how if so but not no as by from have has had will would should "
    "may might must just any some tell about say know please hello hi hey think like get got one ones they them their "
    "its he she his her him am too also than then out up s t d ll ve re m don isn aren much many did".split()
)


def stems(text: str) -> list[str]:
    """The telling words of a text in small letters, roughly without their endings."""
    words = (word.split("'")[0] for word in _WORD.findall(text.lower()) if word not in _PLAIN and len(word) > 1)
    return [_stem(word) for word in words]


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    if len(word) > 3 and word[-1] in "ey":
        word = word[:-1]
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


def wording(question: str, facts: Sequence[str]) -> NDArray[np.float64]:
    """(N, len(`WORDING`)) of a line and N facts, each "topic: fact" as it is read.

    Which words are rare is judged among these facts.
    """
    asked = set(stems(question))
    topics, told = zip(*(fact.partition(": ")[::2] for fact in facts), strict=True) if facts else ((), ())
    inside = [set(stems(text)) for text in told]
    above = [set(stems(text)) for text in topics]
    found = Counter(word for both in zip(inside, above, strict=True) for word in both[0] | both[1])
    rarity = {word: math.log((len(facts) + 1) / (found[word] + 0.5)) for word in asked}
    whole = sum(rarity.values()) + 1e-6
    names = {name.lower() for name in _NAME.findall(question)}
    numbers = set(re.findall(r"\d+", question))
    line = [float(bool(pattern.search(question))) for pattern in _ASKED.values()]
    line += [math.log1p(len(question.split())), math.log1p(len(asked)), len(facts) / 10]
    rows = []
    for text, mine, topic in zip(told, inside, above, strict=True):
        shared, small = asked & mine, text.lower()
        rows.append(
            [
                *line,
                *(float(bool(pattern.search(text))) for pattern in _TOLD.values()),
                math.log1p(len(text.split())),
                len(shared) / max(len(asked), 1),
                sum(rarity[word] for word in shared) / whole,
                len(shared) / max(len(mine), 1),
                len(asked & topic) / max(len(topic), 1),
                float(len(asked - mine - topic)),
                float(sum(name not in small for name in names)),
                float(sum(number in small for number in numbers)),
                float(len(shared)),
            ]
        )
    return np.array(rows).reshape(len(facts), len(WORDING))
