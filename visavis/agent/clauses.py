"""Clauses: the unit of streaming. The first clause speaks and moves while the next is being planned.

What a gesture means is told by the sentence, so gestures are chosen for the clauses of one together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["parted", "sentences_of", "split_clauses"]

_STRONG = re.compile(r"[.!?;:…][\"'”’)\]]*$")
_ENDS = re.compile(r"[.!?…][\"'”’)\]]*$")
_MARK = re.compile(r"[.,;:!?…—–][\"'”’)\]]*$")
MIN_WORDS = 4
MAX_WORDS = 18
MAX_CHARACTERS = 240
LONGEST_SENTENCE = 2 * MAX_WORDS
MOST_UNMARKED = 2  # clauses of one sentence that somebody wrote without marks


def split_clauses(text: str) -> list[str]:
    """Cut a text into clauses, in order; joined by single spaces they are the text's words again.

    Sentences end a clause; a comma does once `MIN_WORDS` stand before and after it; what is still longer than
    `MAX_WORDS` or `MAX_CHARACTERS` is cut there.
    """
    words = text.split()
    clauses: list[list[str]] = []
    current: list[str] = []
    for i, word in enumerate(words):
        current.append(word)
        strong = bool(_STRONG.search(word)) and not _abbreviation(word)
        soft = word.endswith((",", "—", "–")) and len(current) >= MIN_WORDS and len(words) - i - 1 >= MIN_WORDS
        if strong or soft or len(current) >= MAX_WORDS or sum(map(len, current)) >= MAX_CHARACTERS:
            clauses.append(current)
            current = []
    if current:
        clauses.append(current)
    return [" ".join(clause) for clause in _join_short(clauses)]


def sentences_of(clauses: Sequence[str]) -> list[range]:
    """Which clauses make a sentence, in order; of one that does not end, as many as hold `LONGEST_SENTENCE` words.

    Where many clauses hold no mark at all (a recogniser's transcript, cut at the speaker's pauses), each stands for
    itself.
    """
    if len(clauses) > MOST_UNMARKED and not any(_MARK.search(word) for clause in clauses for word in clause.split()):
        return [range(number, number + 1) for number in range(len(clauses))]
    out: list[range] = []
    begin = words = 0
    for number, clause in enumerate(clauses):
        own = clause.split()
        if number > begin and words + len(own) > LONGEST_SENTENCE:
            out.append(range(begin, number))
            begin, words = number, 0
        words += len(own)
        last = own[-1] if own else ""
        if _STRONG.search(last) and not _abbreviation(last):
            out.append(range(begin, number + 1))
            begin, words = number + 1, 0
    return [*out, range(begin, len(clauses))] if begin < len(clauses) else out


def parted(text: str) -> list[str]:
    """The sentences of a text; short ones too, which share a clause with the next ("Hello! It is open.")."""
    out: list[list[str]] = [[]]
    for word in text.split():
        out[-1].append(word)
        if _ENDS.search(word) and not _abbreviation(word):
            out.append([])
    return [" ".join(words) for words in out if words]


def _abbreviation(word: str) -> bool:
    return bool(re.fullmatch(r"(?:[A-Z]\.)+|(?:Mr|Mrs|Ms|Dr|St|e\.g|i\.e|vs|No)\.", word))


def _join_short(clauses: list[list[str]]) -> list[list[str]]:
    """A clause of one or two words ("Yes," "Well.") goes with the next one, so that a voice does not chop."""
    out: list[list[str]] = []
    for clause in clauses:
        if out and len(out[-1]) <= 2 and len(out[-1]) + len(clause) <= MAX_WORDS:
            out[-1] = out[-1] + clause
        else:
            out.append(clause)
    return out
