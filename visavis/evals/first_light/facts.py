"""Facts of personas that no corpus holds: are they given right, and what is not known declined?

REPLY alone: the cards are recalled and the reply is planned as in a turn, without voice and body.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from visavis import safe_yaml
from visavis.agent.persona import Persona
from visavis.agent.planner import Cancel, Planner
from visavis.agent.recall import rank_cards
from visavis.evals.first_light.table import Table, data_file, progress, share
from visavis.metrics.bootstrap import paired_difference
from visavis.tokenizers.turn_language import Candidate, ReplyPlan, ReplyPrompt

__all__ = ["Answer", "answer", "heldout", "judge", "measure"]

_DECLINES = re.compile(
    r"\b(not sure|no idea|unsure|afraid|sorry|unfortunately|(do not|don't|can't|cannot|couldn't|can not|could not) "
    r"(really |actually |honestly )?(know|say|tell|help|answer|remember|have|think)|never heard|wish i|beats me|"
    r"ask (somebody|someone|my|a|the)|find out|i'd have to|i would have to|nothing about|no information|unknown|"
    r"over my head|good question|outside what|not something|isn't something)\b"
)


@dataclass(frozen=True)
class Answer:
    """One question and what came of it; `expected` is None where nothing is known."""

    persona: str
    asked: str
    expected: str | None
    cards: list[Candidate]
    plan: ReplyPlan
    right: bool
    declined: bool
    wrong_facts: list[str]


def heldout() -> list[tuple[Persona, list[tuple[str, int]], list[str]]]:
    """Personas, their questions with the place of the fact, and questions about what they do not know."""
    raw = safe_yaml.load(data_file("heldout_personas.yaml").read_text("utf-8"))
    return [
        (
            Persona.model_validate(entry["persona"]),
            [(question["ask"], question["fact"]) for question in entry["questions"]],
            entry["unknown"],
        )
        for entry in raw["personas"]
    ]


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[\w']+", text.lower().replace("’", "'")))


def judge(text: str, persona: Persona, expected: str | None) -> tuple[bool, bool, list[str]]:
    """Whether the expected fact is in a reply and no other; whether it declines and states no fact; the other facts."""
    said = f" {_plain(text)} "
    stated = [fact for fact in persona.facts if f" {_plain(fact)} " in said]
    others = [fact for fact in stated if fact != expected]
    right = expected is not None and expected in stated and not others
    return right, not stated and bool(_DECLINES.search(text.lower().replace("’", "'"))), others


def answer(
    planner: Planner,
    persona: Persona,
    asked: str,
    expected: str | None,
    seed: int = 0,
    history: Sequence[tuple[str, str]] = (),
    cards: list[Candidate] | None = None,
) -> Answer:
    """Recall (unless `cards` were recalled already) and reply as a turn does."""
    cards = rank_cards(asked, persona.known, history) if cards is None else cards
    plan = planner.reply(ReplyPrompt(persona.name, persona.role, cards, history, asked), seed=seed, cancel=Cancel())
    right, declined, others = judge(plan.text, persona, expected)
    if any(segment.quoted for segment in plan.segments):
        declined = False
    return Answer(persona.name, asked, expected, cards, plan, right, declined, others)


def measure(planner: Planner, unquoted: Planner | None = None, seed: int = 0) -> Table:
    """All questions.

    Args:
        planner: with the quoting constraint.
        unquoted: the same model without it, or None to leave it out.
        seed: which ten answers are shown.
    """
    known: dict[str, list[Answer]] = {"with": [], "without": []}
    unknown: dict[str, list[Answer]] = {"with": [], "without": []}
    for persona, questions, nothing in progress(heldout(), "personas"):
        for label, mind in (("with", planner), ("without", unquoted)):
            if mind is not None:
                known[label] += [answer(mind, persona, ask, persona.facts[at], seed) for ask, at in questions]
                unknown[label] += [answer(mind, persona, ask, None, seed) for ask in nothing]
    table = Table("Facts of 20 personas never seen in training")
    recalled = [[card.text for card in a.cards] for a in known["with"]]
    wanted = [a.expected for a in known["with"]]
    table.add("RECALL: fact is first", share(w == r[0] for w, r in zip(wanted, recalled, strict=True)), "%", 100)
    table.add("RECALL: fact is among five", share(w in r for w, r in zip(wanted, recalled, strict=True)), "%", 100)
    for label in [name for name in known if known[name]]:
        rows = known[label]
        suffix = f"{label} the quoting constraint"
        table.add(f"right, {suffix}", share(a.right for a in rows), "%", 100)
        table.add(f"another card's fact, {suffix}", share(bool(a.wrong_facts) for a in rows), "%", 100)
        table.add(f"declined though known, {suffix}", share(a.declined for a in rows), "%", 100)
        table.add(f"unknown declined, {suffix}", share(a.declined for a in unknown[label]), "%", 100)
        table.add(f"unknown, no fact stated, {suffix}", share(not a.wrong_facts for a in unknown[label]), "%", 100)
    if unquoted is not None:
        gain = paired_difference([float(a.right) for a in known["with"]], [float(a.right) for a in known["without"]])
        table.add("right, gain by the constraint", gain, "points", 100)
    everything = [*known["with"], *unknown["with"]]
    shown = random.Random(seed).sample(everything, min(10, len(everything)))
    table.details = {
        "ten_answers": [_row(a) for a in shown],
        "known": {label: [_row(a) for a in rows] for label, rows in known.items()},
        "unknown": {label: [_row(a) for a in rows] for label, rows in unknown.items()},
    }
    return table


def _row(a: Answer) -> dict[str, object]:
    return {
        "persona": a.persona, "asked": a.asked, "expected": a.expected, "said": a.plan.text,
        "emotion": a.plan.emotion.name, "right": a.right, "declined": a.declined, "other_facts": a.wrong_facts,
        "cards": [[card.text, round(card.score, 3)] for card in a.cards],
    }  # fmt: skip
