"""Which of a persona's facts answer a line: few, best first, each with the probability that it is the answer.

Meaning (MiniLM cosines of the line to fact and topic) chooses the facts that are worth reading; then a cross-encoder
reads each of them together with the line (`visavis.agent.reader`). Both count, and so do the words themselves
(`visavis.agent.wording`); a softmax over these facts and "none of them" gives the probabilities. A line may hold a
greeting before the question, so its sentences are also looked up alone; a line that leans on what came before ("and how
old is it?") is read together with the user's last message, or with what the agent said unasked. Who was just told a
fact hardly asks for it again, unless in so many words.
This module knows nothing of models; whether to decline is the matter of REPLY.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from visavis.agent.persona import Card, Persona
from visavis.agent.reader import Mix, default_reader
from visavis.agent.wording import WORDING, wording
from visavis.retrieval.embedder import Embedder
from visavis.tokenizers.turn_language import MAX_CARDS, Candidate

__all__ = [
    "FEATURES", "MEANT", "READ", "Lookup", "Meanings", "Near", "Reader", "as_read", "choose", "look_up", "rank_cards",
    "ranked", "variants", "weigh",
]  # fmt: skip

READ = 10  # facts that are read for a line
TOLD = 2.0  # what a fact loses in logits where it was just said; chosen on development people (LOG.md)
# What meaning says of a fact: cosines to the fact and to its topic; how well the words of the line are covered by those
# of the fact, these by those of the line, and the worst covered (late interaction, Khattab and Zaharia 2020); and how
# far each lies over the other facts.
MEANT = (
    "fact", "fact_lead", "topic", "topic_lead", "near_lead",
    "covered", "covered_lead", "covers", "covers_lead", "weakest",
)  # fmt: skip
FEATURES = ("read", "read_lead", *MEANT, *WORDING)  # what a fact is judged by: first the reader's logit


class Meanings(Protocol):
    """Texts as vectors of unit length, as `visavis.retrieval.embedder.Embedder` gives them."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(K, 384) of K texts."""

    def tokens(self, texts: Sequence[str]) -> list[np.ndarray]:
        """K times (n, 384), of the telling pieces of each text."""


class Reader(Protocol):
    """Who reads questions with facts."""

    mix: Mix

    def read(self, question: str, facts: Sequence[str]) -> np.ndarray:
        """(N,) logits that the facts, each after its topic, answer."""


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


@functools.cache
def shared_meanings() -> Embedder:
    """The embedder that this process shares."""
    return Embedder()


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
    """What a line is looked up by, and in; W ways of asking, N facts."""

    asked: tuple[str, ...]  # (W,)
    question: str  # as it is read
    facts: tuple[str, ...]  # (N,)
    topics: tuple[str, ...]  # (N,)
    told: tuple[bool, ...]  # (N,) whether the last answer said it, and it is not asked for again

    @property
    def texts(self) -> set[str]:
        """All that must be embedded."""
        return {*self.asked, *self.facts, *self.topics}


def look_up(line: str, history: Sequence[tuple[str, str]], cards: Sequence[Card]) -> Lookup:
    """Prepare a line; `history` is (speaker, text), oldest first."""
    pairs = [(card.topic, fact) for card in cards for fact in card.facts]
    last = next((text for speaker, text in reversed(history) if speaker == "user"), None)
    unasked = [speaker for speaker, _ in history[-2:]] in (["agent"], ["agent", "agent"])
    asked = variants(line, history[-1][1] if unasked else last)
    question = asked[-1] if len(asked[-1]) > len(asked[0]) else asked[0]
    answer = next((text for speaker, text in reversed(history) if speaker == "agent"), "")
    again = _AGAIN.search(line) is not None or line.split() == (last or "").split()
    return Lookup(
        tuple(asked), question, tuple(fact for _, fact in pairs), tuple(topic for topic, _ in pairs),
        tuple(not again and fact in answer for _, fact in pairs),
    )  # fmt: skip


@dataclass(frozen=True)
class Near:
    """The facts that are worth reading, nearest first; P of them."""

    places: tuple[int, ...]  # (P,) among the facts of the lookup
    rows: np.ndarray  # (P, len(MEANT)) what meaning says of each


def choose(found: Lookup, meanings: Meanings, most: int = READ) -> Near:
    """Look a line up by meaning.

    Args:
        found: what is looked up.
        meanings: of texts.
        most: facts that are worth reading.

    """
    if not found.facts:
        return Near((), np.zeros((0, len(MEANT))))
    texts = sorted(found.texts)
    row = {text: place for place, text in enumerate(texts)}
    vectors = meanings.encode(texts)
    asked, facts, topics = (vectors[[row[t] for t in some]] for some in (found.asked, found.facts, found.topics))
    by_fact, by_topic = (asked @ facts.T).max(0), (asked @ topics.T).max(0)  # (N,)
    near = 0.7 * by_fact + 0.3 * by_topic
    places = [int(i) for i in np.argsort(-near, kind="stable")[:most]]
    lines = meanings.tokens(found.asked)
    words = meanings.tokens([as_read(found, place) for place in places])
    met = np.array([np.max([_cover(line, fact) for line in lines], axis=0) for fact in words])  # (P, 3)
    columns = [by_fact, _lead(by_fact), by_topic, _lead(by_topic), _lead(near)]
    rows = [column[places] for column in columns]
    rows += [met[:, 0], _lead(met[:, 0]), met[:, 1], _lead(met[:, 1]), met[:, 2]]
    return Near(tuple(places), np.stack(rows, 1).astype(np.float64))


def _cover(line: np.ndarray, fact: np.ndarray) -> tuple[float, float, float]:
    """How well the pieces of a line (n, D) are met by those of a fact (m, D), these by those, and the line's worst."""
    cosines = line @ fact.T
    return float(cosines.max(1).mean()), float(cosines.max(0).mean()), float(cosines.max(1).min())


def _lead(values: np.ndarray) -> np.ndarray:
    """(N,) how far the best lies over the second, and the rest under the best."""
    if len(values) < 2:
        return np.zeros(len(values))
    first, second = np.argsort(-values, kind="stable")[:2]
    lead = values - values[first]
    lead[first] = values[first] - values[second]
    return lead


def weigh(near: Near, read: np.ndarray, question: str, facts: Sequence[str]) -> np.ndarray:
    """(P, len(FEATURES)) of the facts that were read, `facts` each after its topic; `read` (P,) is the reader's."""
    return np.column_stack([read, _lead(read), near.rows, wording(question, facts)])


def rank_cards(
    question: str,
    persona: Persona | Sequence[Card],
    history: Sequence[tuple[str, str]] = (),
    *,
    limit: int = MAX_CARDS,
    meanings: Meanings | None = None,
    reader: Reader | None = None,
) -> list[Candidate]:
    """The facts that fit a line, best first.

    Args:
        question: what the user says.
        persona: who is asked, or the cards alone.
        history: (speaker, text) with speaker "user" or "agent", oldest first, without the question.
        limit: at most so many.
        meanings: of texts (default: a shared `Embedder`).
        reader: who reads them (default: the reader that ships).
    Returns:
        candidates whose score is the probability, calibrated on training questions, that the fact is the answer to
        the line; as many as there are facts and the limit allows, for the reader of the scores to judge.

    """
    cards = persona.cards if isinstance(persona, Persona) else persona
    found = look_up(question, history, cards)
    near = choose(found, meanings or shared_meanings())
    if not near.places:
        return []
    reader = reader or default_reader()
    facts = [as_read(found, place) for place in near.places]
    logits = reader.mix(weigh(near, reader.read(found.question, facts), found.question, facts))
    logits = logits - TOLD * np.array([found.told[place] for place in near.places])
    return ranked([found.facts[place] for place in near.places], logits, limit)


def ranked(facts: Sequence[str], logits: np.ndarray, limit: int = MAX_CARDS) -> list[Candidate]:
    """Facts with their probabilities, best first; `logits` (P,), that of "none of them" being 0."""
    top = max(float(logits.max(initial=0.0)), 0.0)
    mass = np.exp(logits - top)
    scores = mass / (mass.sum() + np.exp(-top))
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:limit]
    return [Candidate(facts[i], float(scores[i])) for i in order]


def as_read(found: Lookup, place: int) -> str:
    """A fact with its topic, as the reader reads it."""
    return f"{found.topics[place]}: {found.facts[place]}"
