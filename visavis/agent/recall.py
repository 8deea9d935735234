"""Which of a persona's facts answer a line: few, best first, each with the probability that it is the answer.

A bi-encoder that was taught which facts lines ask for says how likely each answers (`visavis.agent.finder`); a softmax
over the most likely and "none of them" gives the probabilities. A line that leans on what came before ("and how old is
it?") is read together with the user's last message; after what the agent said unasked, with that and alone. Who was
just told a fact hardly asks for it again, unless in so many words; what the agent says unasked may tell a fact, too.
Where the best chance is neither high nor low, a larger reader reads the likeliest facts with the line, if its base is
installed (`visavis.agent.base_reader`).
This module knows nothing of models; whether to decline is the matter of REPLY.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from visavis.agent.base_reader import default_judge
from visavis.agent.finder import default_finder
from visavis.agent.line_reader import default_line_reader
from visavis.agent.persona import Card, Persona
from visavis.errors import VisavisError
from visavis.tokenizers.turn_language import MAX_CARDS, Candidate

__all__ = [
    "FAR", "LIKELY", "REREAD", "UNSURE", "Finds", "Lookup", "Rereads", "joined", "likely", "look_up", "near", "prepare",
    "rank_cards", "ranked", "read_again", "unsure", "variants",
]  # fmt: skip

LIKELY = 8  # facts that the softmax is over
REREAD = 6  # of these that the larger reader reads at most, as many as it was trained with
FAR = 5.0  # logits behind the likeliest: what lies farther is not read, for reading takes time
UNSURE = (0.02, 0.97)  # it reads where the best chance lies between
TOLD = 2.0  # what a fact loses in logits where it was just said; chosen on development people (LOG.md)


class Finds(Protocol):
    """Who finds facts, as `visavis.agent.finder.Finder`."""

    def find(self, question: str, facts: Sequence[str]) -> np.ndarray:
        """(N,) logits that the facts, each after its topic, answer; 0 is as likely as that none does."""


class Rereads(Protocol):
    """Who reads facts again, as a `visavis.agent.base_reader.Judge`."""

    join: np.ndarray  # (3,): what the finder's logit and the reader's count, and a constant

    def read(self, question: str, facts: Sequence[str]) -> np.ndarray:
        """(N,) logits of the facts, each after its topic; the last has seen all others."""


_LEANS = re.compile(
    r"\b(it|its|it's|they|them|their|that one|this one|there|he|she|him|her|his)\b|"
    r"^\s*(and|what about|how about|also)\b",
    re.I,
)
_ASKS = re.compile(
    r"\?|^\W*(and |so |but |please )?(what|when|where|who|whose|which|why|how|is|are|can|could|do|does|did|may|tell me|"
    r"will|would|should|has|have|any)\b",
    re.I,
)
_AGAIN = re.compile(
    r"\b(again|repeat|once more|one more time|pardon|say that|what did you (just )?say|what was that|"
    r"(didn't|did not|couldn't|don't) (quite )?(catch|hear|get|understand))\b",
    re.I,
)


def variants(line: str, last: str | None) -> list[str]:
    """The ways a line is looked up: whole; its last asking sentence alone; with the message before it, if it leans."""
    line = " ".join(line.split())[:400]
    found = [line]
    sentences = [s for s in re.split(r"(?<=[.!?,;])\s+", line) if re.search(r"\w", s)]
    asking = [s for s in re.split(r"(?<=[.!?;])\s+", line) if _ASKS.search(s)] or sentences[-1:]
    if asking and asking[-1] != line:
        found.append(asking[-1])
    if last and (_LEANS.search(line) or len(line.split()) <= 3):
        found.append(f"{' '.join(last.split())[:300]} {line}")
    return found


@dataclass(frozen=True)
class Lookup:
    """What a line is looked up by, and in; N facts."""

    questions: tuple[str, ...]  # as it is read; where it may lean on what came before or not, both ways
    facts: tuple[str, ...]  # (N,)
    topics: tuple[str, ...]  # (N,)
    told: tuple[bool, ...]  # (N,) whether the last answer said it, and it is not asked for again
    unasked: str = ""  # what the agent said of its own accord, where the line may lean on it

    @property
    def read(self) -> list[str]:
        """The facts, each after its topic, as they are read."""
        return [f"{topic}: {fact}" for topic, fact in zip(self.topics, self.facts, strict=True)]


def look_up(line: str, history: Sequence[tuple[str, str]], cards: Sequence[Card]) -> Lookup:
    """Prepare a line; `history` is (speaker, text), oldest first."""
    pairs = [(card.topic, fact) for card in cards for fact in card.facts]
    last = next((text for speaker, text in reversed(history) if speaker == "user"), None)
    unasked = [speaker for speaker, _ in history[-2:]] in (["agent"], ["agent", "agent"])
    asked = variants(line, history[-1][1] if unasked else last)
    leans = len(asked[-1]) > len(asked[0])
    questions = (asked[-1], asked[0])[: 2 if unasked else 1] if leans else (asked[0],)
    answer = next((text for speaker, text in reversed(history) if speaker == "agent"), "")
    again = _AGAIN.search(line) is not None or line.split() == (last or "").split()
    return Lookup(
        questions, tuple(fact for _, fact in pairs), tuple(topic for topic, _ in pairs),
        tuple(not again and fact in answer for _, fact in pairs), answer if unasked and leans and not again else "",
    )  # fmt: skip


def likely(found: Lookup, finder: Finds) -> tuple[list[int], np.ndarray]:
    """Places (P,) among the facts of those that may answer, likeliest first, and their logits (P,)."""
    logits = np.stack([finder.find(question, found.read) for question in found.questions]).mean(0)
    places = np.argsort(-logits, kind="stable")[:LIKELY]
    return [int(place) for place in places], logits[places]


def rank_cards(
    question: str,
    persona: Persona | Sequence[Card],
    history: Sequence[tuple[str, str]] = (),
    *,
    limit: int = MAX_CARDS,
    finder: Finds | None = None,
    reader: Rereads | None = None,
) -> list[Candidate]:
    """The facts that fit a line, best first.

    Args:
        question: what the user says.
        persona: who is asked, or the cards alone.
        history: (speaker, text) with speaker "user" or "agent", oldest first, without the question.
        limit: at most so many.
        finder: of facts (default: the one that ships).
        reader: of what the finder is not sure of (default: the one that ships, if its base is installed and the finder
            ships, too; otherwise none).
    Returns:
        candidates whose score is the probability that the fact is the answer to the line, as they learnt it;
        as many as there are facts and the limit allows, for the reader of the scores to judge.

    """
    cards = persona.cards if isinstance(persona, Persona) else persona
    found = look_up(question, history, cards)
    if finder is None:
        finder, reader = default_finder(), reader or default_judge("facts")
    places, logits = likely(found, finder)
    if reader is not None and unsure(logits):
        logits = joined(reader.join, logits, read_again(found, places, logits, reader))
    told = np.array([found.told[place] for place in places], dtype=bool)
    if found.unasked:
        told = told | (finder.find(found.unasked, [found.read[place] for place in places]) > 0)
    logits = logits - TOLD * told
    return ranked([found.facts[place] for place in places], logits, limit)


def prepare() -> threading.Thread:
    """Load what lines are read with in a thread, so that nobody waits for it at the first of them."""

    def load() -> None:
        with contextlib.suppress(VisavisError):  # the first question says what is missing
            default_finder(), default_judge("facts"), default_line_reader()

    thread = threading.Thread(target=load, name="visavis-recall")  # no daemon: Python must not end in mid-load
    thread.start()
    return thread


def unsure(logits: np.ndarray) -> bool:
    """Whether the best of (P,) facts is neither likely nor unlikely to answer."""
    return len(logits) > 0 and UNSURE[0] <= ranked([""] * len(logits), logits, 1)[0].score <= UNSURE[1]


def near(logits: np.ndarray) -> int:
    """How many of (P,) facts, likeliest first, are worth a second reading: two at least, where there are two."""
    return min(max(int((logits > logits[0] - FAR).sum()), 2), len(logits), REREAD) if len(logits) else 0


def read_again(found: Lookup, places: Sequence[int], logits: np.ndarray, reader: Rereads) -> np.ndarray:
    """(R,) what the reader says of the first facts of `places`, which come likeliest first; (P,) recall's logits."""
    # The likeliest last: it is judged in sight of all.
    facts = [found.read[place] for place in reversed(places[: near(logits)])]
    return np.stack([reader.read(question, facts)[::-1] for question in found.questions]).mean(0)


def joined(join: np.ndarray, logits: np.ndarray, said: np.ndarray) -> np.ndarray:
    """(P,) logits of finder and reader together; of what the reader did not read, `said` is as of the worst it did."""
    rest = np.full(len(logits) - len(said), said.min(initial=0.0))
    return np.asarray(join[0] * logits + join[1] * np.concatenate([said, rest]) + join[2])


def ranked(facts: Sequence[str], logits: np.ndarray, limit: int = MAX_CARDS) -> list[Candidate]:
    """Facts with their probabilities, best first; `logits` (P,), that of "none of them" being 0."""
    top = max(float(logits.max(initial=0.0)), 0.0)
    mass = np.exp(logits - top)
    scores = mass / (mass.sum() + np.exp(-top))
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:limit]
    return [Candidate(facts[i], float(scores[i])) for i in order]
