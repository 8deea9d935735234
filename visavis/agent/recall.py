"""Which of a persona's facts answer a line: few, best first, each with the probability that it is the answer.

Meaning (MiniLM cosine of the line to fact and topic), shared words (weighted by rarity, stemmed lightly), the kind of
answer that is asked for (a price, a time, a place, ...), and how far a fact stands out from the persona's others go
through one small hidden layer to a softmax over all facts and "none of them". A space learned from the embeddings
ranked settings that it knew better and unseen ones worse, so there is none. The numbers lie in `data/recall.json` and
`data/recall.safetensors`; `python -m visavis.finetune.replies --fit-recall` fits them again on training settings.
A line may hold a greeting before the question, so its sentences are also tried alone; a line that leans on what came
before ("and how old is it?") is also tried together with the user's last message.
This module reads facts as they stand and knows nothing of models; whether to decline is the matter of REPLY.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
from safetensors.numpy import load

from visavis.agent.persona import Card, Persona
from visavis.retrieval.embedder import Embedder
from visavis.tokenizers.turn_language import MAX_CARDS, Candidate

__all__ = ["FEATURES", "Features", "RecallModel", "features", "look_up", "rank_cards", "recall_model", "stems"]

FEATURES = (
    "fact", "topic", "both", "covered", "topic_words", "kind_fits", "kind_misses", "lead", "best", "rank", "question",
    "leans", "words", "rest", "rest_lead", "rest_best", "fits_rest", "fact_out", "fact_lead", "topic_out", "topic_lead",
    "both_out", "both_lead", "rest_out", "rest_gap", "facts",
)  # fmt: skip
SPREAD = 0.02  # added to the spread of the others' cosines: a few near each other by chance are not sharp

Encode = Callable[[Sequence[str]], np.ndarray]

STOPWORDS = frozenset(
    """a an and any are as at be been but by can could did do does for from get give had has have he her here him his
    how i if in is it its just know like may me might more much many my no not of oh okay on one or our out please say
    she should so some tell than thank thanks that the their them then there these they this those to too up us was
    we well were what whats what's when where which who whom whose why will with would yes you your hello hi hey good
    morning evening afternoon day about actually also anything something s re ve ll d m t""".split()
)
# What a question asks for, and what a fact must hold to give it.
KINDS = {
    "price": (
        r"\b(cost|costs|price|prices|priced|pay|charge|fee|expensive|cheap|how much (is|are|for|do|does|would))\b",
        r"(€|\$|£|\b(euros?|pounds?|dollars?|cents?|francs?|crowns?|coins?|free|costs?|price)\b)",
    ),
    "time": (
        r"\b(when|what time|which day|what day|opening|hours|open|close|closes|start|starts|begin|begins|until)\b",
        r"\b(o'clock|am|pm|noon|midnight|half past|quarter|monday|tuesday|wednesday|thursday|friday|saturday|sunday|"
        r"january|february|march|april|june|july|august|september|october|november|december|morning|afternoon|evening|"
        r"night|daily|every day|weekends?|open|\d{1,2}:\d\d|spring|summer|autumn|winter|years? ago|"
        r"in (1[5-9]|20)\d\d|from \w+ to|century|"
        r"at (one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve))\b",
    ),
    "place": (
        r"\b(where|whereabouts|find|located|which (floor|room|country|town|place|way)|from)\b",
        r"\b(in|on|at|behind|next to|beside|near|under|above|across|opposite|between|from|left|right|floor|upstairs|"
        r"downstairs|through)\b",
    ),
    "person": (
        r"\b(who|whom|whose|which (person|artist|painter|author))\b",
        r"(\b(by|called|named|mr|mrs|dr)\b|[a-z,] [A-Z][a-z]+)",
    ),
    "duration": (
        r"\b(how long (does|do|is the|will|did|must|should|have)|how many (minutes|hours|days|weeks)|duration|last)\b",
        r"\b(seconds?|minutes?|hours?|days?|weeks?|months?|years?)\b",
    ),
    "length": (
        r"\b(how (long is|big|large|tall|high|wide|deep|far|small|long are)|size|length|height|width|depth|tall|"
        r"dimensions|measure)\b",
        r"\b(metres?|meters?|centimetres?|kilometres?|millimetres?|feet|inches|miles?|big|as \w+ as|tall|long|size|"
        r"square|high|wide|deep)\b",
    ),
    "weight": (
        r"\b(weigh|weighs|weight|heavy|how (many kilos|heavy))\b",
        r"\b(grams?|kilos?|kilograms?|tons?|tonnes?|pounds?|weighs?|heavy|weight)\b",
    ),
    "age": (
        r"\b(how old|age|when was|what year|built|founded|made in|date from|dates)\b",
        r"\b(years?|centur(y|ies)|\d{4}|old|age|built|founded|since|ago|months?|days?)\b",
    ),
    "number": (
        r"\bhow many\b",
        r"\b(\d+|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|\w+ty|hundred|thousand|"
        r"million|dozen)\b",
    ),
    "reason": (r"\b(why|how come|what for|reason)\b", r"\b(because|so that|since|to keep|in order|due)\b"),
    "stuff": (
        r"\b(made of|made from|made out|material|what is .* made|ingredients?|contain|contains|what's in)\b",
        r"\b(made|of|from|wood|oak|steel|iron|stone|silk|wool|contains?|with)\b",
    ),
}
_KINDS = {name: (re.compile(ask, re.I), re.compile(fit)) for name, (ask, fit) in KINDS.items()}
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


@dataclass(frozen=True)
class RecallModel:
    """The fitted numbers; F features, H hidden units. The logit of "none of the facts" is 0."""

    mean: np.ndarray  # (F,)
    scale: np.ndarray  # (F,)
    hidden: np.ndarray  # (F, H)
    hidden_bias: np.ndarray  # (H,)
    out: np.ndarray  # (H,)
    out_bias: np.ndarray  # (1,)
    idf: dict[str, float]  # how rare a stem is
    idf_unknown: float

    def probability(self, found: Features) -> np.ndarray:
        """(N,) probabilities in (0, 1) that a fact is the answer; what is left to 1 is that none is."""
        if not len(found.rows):
            return np.zeros(0)
        rows = (found.rows - self.mean) / self.scale
        z = np.tanh(rows @ self.hidden + self.hidden_bias) @ self.out + self.out_bias
        top = max(z.max(), 0.0)
        mass = np.exp(z - top)
        return mass / (mass.sum() + np.exp(-top))


@dataclass(frozen=True)
class Features:
    """What is seen of N facts for one line."""

    facts: tuple[str, ...]  # (N,) in the order of the cards
    rows: np.ndarray  # (N, F) in the order of `FEATURES`


@functools.cache
def recall_model() -> RecallModel:
    """The fitted numbers that ship."""
    folder = resources.files("visavis.agent") / "data"
    data = json.loads((folder / "recall.json").read_text("utf-8"))
    arrays = load((folder / "recall.safetensors").read_bytes())
    if tuple(data["features"]) != FEATURES:
        raise AssertionError("recall.json was fitted for other features: run --fit-recall again")
    return RecallModel(
        **{name: array.astype(np.float64) for name, array in arrays.items()},
        idf=data["idf"],
        idf_unknown=data["idf_unknown"],
    )


@functools.cache
def _embedder() -> Embedder:
    return Embedder()


def _stem(word: str) -> str:
    """Enough of a stemmer to join plural and tense: opens, opened, opening → open."""
    for ending in ("'s", "ings", "ing", "ies", "ied", "ed", "es", "s", "ly", "e", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "sl" else word


@functools.lru_cache(maxsize=20_000)
def stems(text: str) -> frozenset[str]:
    """Stems of the content words of a text."""
    return frozenset(_stem(word) for word in re.findall(r"[a-z0-9']+", text.lower()) if word not in STOPWORDS)


def variants(line: str, last: str | None) -> list[str]:
    """The ways a line is looked up: whole; its last asking sentence alone; with the message before it, if it leans."""
    line = " ".join(line.split())[:400]
    found = [line]
    sentences = [s for s in re.split(r"(?<=[.!?,;])\s+", line) if re.search(r"\w", s)]
    asking = [s for s in re.split(r"(?<=[.!?;])\s+", line) if _ASKS.search(s)] or sentences[-1:]
    if asking and asking[-1] != line:
        found.append(asking[-1])
    if last and (_LEANS.search(line) or len(stems(line)) <= 1):
        found.append(f"{' '.join(last.split())[:300]} {line}")
    return found


@functools.lru_cache(maxsize=50_000)
def without_topic(text: str, topic: str) -> str:
    """The text with "it" for the words of its topic: what is said or asked, apart from what about."""
    named = stems(topic)
    kept: list[str] = []
    for word in text.split():
        bare = re.sub(r"[^a-z0-9']", "", word.lower())
        if bare not in STOPWORDS and _stem(bare) in named:
            while kept and kept[-1].lower() in ("the", "a", "an", "your", "our"):
                kept.pop()
            if not kept or kept[-1] != "it":
                kept.append("it")
            if word[-1] in ".?!,;":
                kept[-1] = "it" + word[-1]
        else:
            kept.append(word)
    return " ".join(kept)


@dataclass(frozen=True)
class Lookup:
    """What must be embedded to rank the facts of cards for a line; W ways of asking, N facts."""

    asked: tuple[str, ...]  # (W,)
    plain: int  # so many of them hold the line alone, without the message before it
    facts: tuple[str, ...]  # (N,)
    topics: tuple[str, ...]  # (N,)
    rests: tuple[str, ...]  # (N,) facts without their topic
    asked_rests: tuple[tuple[str, ...], ...]  # (plain, N) the line without the topic of that fact

    @property
    def texts(self) -> set[str]:
        """All of it."""
        asked = {text for row in self.asked_rests for text in row}
        return {*self.asked, *self.facts, *self.topics, *self.rests, *asked}


def look_up(line: str, history: Sequence[tuple[str, str]], cards: Sequence[Card]) -> Lookup:
    """Prepare a line; `history` is (speaker, text), oldest first."""
    pairs = [(card.topic, fact) for card in cards for fact in card.facts]
    last = next((text for speaker, text in reversed(history) if speaker == "user"), None)
    asked = variants(line, last)
    alone = variants(line, None)
    return Lookup(
        tuple(asked),
        len(alone),
        tuple(fact for _, fact in pairs),
        tuple(topic for topic, _ in pairs),
        tuple(without_topic(fact, topic) for topic, fact in pairs),
        tuple(tuple(without_topic(way, topic) for topic, _ in pairs) for way in alone),
    )


def features(
    line: str,
    history: Sequence[tuple[str, str]],
    cards: Sequence[Card],
    encode: Encode,
    model: RecallModel | None = None,
) -> Features:
    """What the model sees.

    Args:
        line: what the user says.
        history: (speaker, text), oldest first.
        cards: what can be recalled, N facts in all.
        encode: sentences → (K, 384) of unit length.
        model: whose word weights are used (default: those that ship).
    Returns:
        of N facts; none if there are no cards.

    """
    found = look_up(line, history, cards)
    asked, n = found.asked, len(found.facts)
    if not n:
        return Features((), np.zeros((0, len(FEATURES))))
    idf = (model or recall_model()).idf
    rare = (model or recall_model()).idf_unknown
    texts = sorted(found.texts)
    row = {text: place for place, text in enumerate(texts)}
    vectors = encode(texts)

    def pick(some: Sequence[str]) -> np.ndarray:
        return vectors[[row[text] for text in some]]

    question = pick(asked)
    by_fact, by_topic = question @ pick(found.facts).T, question @ pick(found.topics).T  # (W, N)
    fact_cosine, topic_cosine = by_fact.max(0), by_topic.max(0)
    both = (by_fact + by_topic).max(0) / 2
    rests = pick(found.rests)
    rest = np.max([(pick(way) * rests).sum(1) for way in found.asked_rests], 0)  # (N,)
    words = [stems(way) for way in asked]
    covered, topic_words = np.zeros(n), np.zeros(n)
    for i, (name, text) in enumerate(zip(found.topics, found.facts, strict=True)):
        known, named = stems(text) | stems(name), stems(name)
        for mine in words:
            total = sum(idf.get(w, rare) for w in mine)
            covered[i] = max(covered[i], sum(idf.get(w, rare) for w in mine & known) / total if total else 0.0)
        total = sum(idf.get(w, rare) for w in named)
        hit = max(sum(idf.get(w, rare) for w in mine & named) for mine in words)
        topic_words[i] = hit / total if total else 0.0
    fits, misses = _kinds(asked[found.plain - 1], found.facts)
    siblings = np.array([[a == b for b in found.topics] for a in found.topics]) & ~np.eye(n, dtype=bool)  # (N, N)
    rest_others = np.where(siblings, rest[None, :] + 0.2 * fits[None, :], 0.0).max(1)
    mixed = both + 0.3 * covered + 0.3 * rest + 0.1 * fits - 0.1 * misses
    order = np.sort(mixed)[::-1]
    others = np.where(mixed >= order[0] - 1e-12, order[1] if n > 1 else 0.0, order[0])
    rank = np.empty(n)
    rank[np.argsort(-mixed, kind="stable")] = np.arange(n)
    same = np.ones(n)
    columns = {
        "fact": fact_cosine,
        "topic": topic_cosine,
        "both": both,
        "covered": covered,
        "topic_words": topic_words,
        "kind_fits": fits,
        "kind_misses": misses,
        "lead": mixed - others,
        "best": same * order[0],
        "rank": np.minimum(rank, 5.0),
        "question": same * float(bool(_ASKS.search(line))),
        "leans": same * float(any(way not in line for way in asked[1:])),
        "words": same * math.log1p(len(stems(line))),
        "rest": rest,
        "rest_lead": rest + 0.2 * fits - rest_others,
        "rest_best": same * rest.max(),
        "fits_rest": fits * rest,
        "fact_out": _out(fact_cosine),
        "fact_lead": _lead(fact_cosine),
        "topic_out": _out(topic_cosine),
        "topic_lead": _lead(topic_cosine),
        "both_out": _out(both),
        "both_lead": _lead(both),
        "rest_out": _out(rest),
        "rest_gap": _lead(rest),
        "facts": same * math.log(n),
    }
    return Features(found.facts, np.stack([columns[name] for name in FEATURES], 1))


def _out(values: np.ndarray) -> np.ndarray:
    """(N,) how many spreads of the others a value lies over their mean; 0 for fewer than three."""
    n = len(values)
    if n < 3:
        return np.zeros(n)
    mean = (values.sum() - values) / (n - 1)
    square = ((values**2).sum() - values**2) / (n - 1)
    return (values - mean) / np.sqrt(np.maximum(square - mean**2, 1e-6) + SPREAD**2)


def _lead(values: np.ndarray) -> np.ndarray:
    """(N,) how far the best lies over the second, and the rest under the best."""
    if len(values) < 2:
        return values.copy()
    first, second = np.argsort(-values, kind="stable")[:2]
    lead = values - values[first]
    lead[first] = values[first] - values[second]
    return lead


def _kinds(question: str, facts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(N,) share of the kinds of answer asked for that a fact holds, and that it does not hold."""
    wanted = [fit for ask, fit in _KINDS.values() if ask.search(question)]
    if not wanted:
        return np.zeros(len(facts)), np.zeros(len(facts))
    share = np.array([sum(bool(fit.search(fact)) for fit in wanted) / len(wanted) for fact in facts])
    return share, 1.0 - share


def rank_cards(
    question: str,
    persona: Persona | Sequence[Card],
    history: Sequence[tuple[str, str]] = (),
    *,
    limit: int = MAX_CARDS,
    encode: Encode | None = None,
) -> list[Candidate]:
    """The facts that fit a line, best first.

    Args:
        question: what the user says.
        persona: who is asked, or the cards alone.
        history: (speaker, text) with speaker "user" or "agent", oldest first, without the question.
        limit: at most so many.
        encode: sentences → (K, 384) of unit length (default: a shared `Embedder`).
    Returns:
        candidates whose score is the probability, calibrated on training questions, that the fact is the answer to
        the line; as many as there are facts and the limit allows, for the reader of the scores to judge.

    """
    cards = persona.cards if isinstance(persona, Persona) else persona
    found = features(question, history, cards, encode or _embedder().encode)
    facts, scores = found.facts, recall_model().probability(found)
    order = sorted(range(len(facts)), key=lambda i: (-scores[i], i))[:limit]
    return [Candidate(facts[i], float(scores[i])) for i in order]
