"""Ask the held-out personas all frozen questions, and judge what they say.

REPLY alone, as in `visavis.evals.first_light.facts`: the cards are recalled and the reply is planned as in a turn,
without voice and body. A question counts as right if its fact is said and no other fact of the persona. Intervals are
over questions; those of one persona are alike, so they are a little too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from visavis.agent.planner import Planner
from visavis.agent.recall import rank_cards
from visavis.agent.text_input import checked_line
from visavis.emotion import EMOTIONS
from visavis.errors import TextError
from visavis.evals.first_light.facts import Answer, answer
from visavis.evals.first_light.table import Table, progress, share
from visavis.evals.personas.held import Ask, Feeling, Held, feelings, held
from visavis.metrics.bootstrap import Estimate, bootstrap, paired_difference

__all__ = ["Replied", "ask", "feel", "macro", "measure", "measure_emotions"]

WITH, WITHOUT = "with quoting", "without quoting"  # the constraint by which facts are quoted

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Replied:
    """A question to a persona, and the replies by name of the planner."""

    one: Held
    ask: Ask
    answers: dict[str, Answer]

    @property
    def side(self) -> str:
        """Whether the persona is one of the people or of a setting."""
        return "settings" if self.one.setting else "people"


def ask(planners: dict[str, Planner], one: Held, question: Ask, seed: int = 0) -> Replied:
    """Recall once, and have every planner reply; a follow-up comes after the question before it and its true answer."""
    history = [] if question.before is None else [("user", question.before[0]), ("agent", question.before[1])]
    cards = rank_cards(question.text, one.persona.known, history)
    replies = {
        name: answer(planner, one.persona, question.text, question.fact, seed, history, cards)
        for name, planner in planners.items()
    }
    return Replied(one, question, replies)


def feel(planner: Planner, one: Held, line: Feeling, seed: int = 0) -> Answer:
    """Say a line to a persona; the reply's emotion is `plan.emotion` of what comes."""
    return answer(planner, one.persona, line.text, None, seed)


def macro(intended: Sequence[str], hits: Sequence[bool]) -> Estimate:
    """The mean over intended emotions of the share of hits, in [0, 1], with its interval; NaN for none."""
    names, hit = np.array(intended), np.array(hits, dtype=np.float64)

    def mean(rows: NDArray[np.float64]) -> float:
        places = rows.astype(int)
        return float(np.mean([hit[places][names[places] == name].mean() for name in set(names[places].tolist())]))

    return bootstrap(np.arange(len(hit), dtype=np.float64), mean)


def measure_emotions(
    planner: Planner,
    *,
    limit: int | None = None,
    seed: int = 0,
    at_once: int = 8,
    people: Sequence[Held] | None = None,
) -> Table:
    """The lines with an intended emotion alone; arguments as of `measure`."""
    table = Table("Lines with an intended emotion, said to held-out personas")
    _felt(table, planner, held() if people is None else people, _some(list(feelings()), limit), seed, at_once)
    return table


def measure(
    planner: Planner,
    unquoted: Planner | None = None,
    *,
    limit: int | None = None,
    seed: int = 0,
    at_once: int = 8,
    people: Sequence[Held] | None = None,
) -> Table:
    """All questions and lines; the details hold every reply.

    Args:
        planner: with the quoting constraint.
        unquoted: the same model without it, or None to leave it out.
        limit: so many questions of each kind, evenly spread, for a quick look.
        seed: of the replies.
        at_once: replies in threads side by side; the engine steps them together. Which are together decides the last
            bits of float arithmetic, so one reply in thousands may differ between two runs.
        people: who is asked (default: the frozen ones).
    """
    people = held() if people is None else people
    planners = {WITH: planner} | ({} if unquoted is None else {WITHOUT: unquoted})
    asked = [(one, question) for one in people for question in one.asks]
    kinds = ("known", "near", "far", "follow_up")
    chosen = [pair for kind in kinds for pair in _some([p for p in asked if p[1].kind == kind], limit)]
    lines = _some(list(feelings()), limit)
    replied = _together(lambda pair: ask(planners, *pair, seed), chosen, at_once, "questions")
    hand = len({(one.persona.name, one.persona.role) for one in people if not one.setting})
    drawn = [one.setting for one in people if one.setting]
    table = Table(f"{hand} held-out people, and {len(drawn)} personas of {len(set(drawn))} held-out settings")
    known = [r for r in replied if r.ask.kind == "known"]
    following = [r for r in replied if r.ask.kind == "follow_up"]
    _recalled(table, "RECALL", known)
    for name in planners:
        rows = [(r.side, r.answers[name]) for r in known]
        _shares(table, f"right {name}", rows, lambda a: a.right)
        found = [a.right for _, a in rows if a.cards and a.cards[0].text == a.expected]
        table.add(f"right where RECALL is right {name}", share(found), "%", 100)
        table.add(f"another card's fact {name}", share(bool(a.wrong_facts) for _, a in rows), "%", 100)
        table.add(f"declined though known {name}", share(a.declined for _, a in rows), "%", 100)
        unknown = [(r.ask.kind, r.answers[name]) for r in replied if r.ask.fact is None]
        titled = [({"near": "near misses", "far": "others"}[kind], a) for kind, a in unknown]
        _shares(table, f"unknown declined {name}", titled, lambda a: a.declined)
        table.add(f"unknown and no fact stated {name}", share(not a.wrong_facts for _, a in unknown), "%", 100)
        _shares(table, f"follow-ups right {name}", [(r.side, r.answers[name]) for r in following], lambda a: a.right)
    if unquoted is not None:
        quoting, free = ([float(r.answers[name].right) for r in known] for name in (WITH, WITHOUT))
        table.add("right, gain by quoting", paired_difference(quoting, free), "points", 100)
    _recalled(table, "RECALL, follow-ups", following)
    _felt(table, planner, people, lines, seed, at_once)
    refused = [_refused(text) for text in [*(q.text for _, q in chosen), *(line.text for line in lines)]]
    table.add("lines that the check of input would refuse", share(refused), "%", 100)
    table.details["questions"] = [_row(r) for r in replied]
    return table


def _felt(
    table: Table, planner: Planner, people: Sequence[Held], lines: Sequence[Feeling], seed: int, at_once: int
) -> None:
    """Say the lines to the personas in turn."""
    numbered = [(people[place % len(people)], line) for place, line in enumerate(lines)]
    felt = _together(lambda pair: feel(planner, *pair, seed), numbered, at_once, "emotions")
    _emotions(table, lines, felt)
    table.details["emotions"] = [
        {"kind": line.kind, "said": line.text, "accept": line.accept, "reply": a.plan.text, "felt": a.plan.emotion.name}
        for line, a in zip(lines, felt, strict=True)
    ]


def _some(items: Sequence[T], limit: int | None) -> list[T]:
    if limit is None or limit >= len(items):
        return list(items)
    return [items[place] for place in np.linspace(0, len(items) - 1, limit).round().astype(int)]


def _together(work: Callable[[T], R], items: Sequence[T], at_once: int, label: str) -> list[R]:
    """The work on every item, in order, some at once."""
    with ThreadPoolExecutor(at_once) as threads:
        futures = [threads.submit(work, item) for item in items]
        try:
            return [future.result() for future in progress(futures, label)]
        except BaseException:
            for future in futures:
                future.cancel()
            raise


def _recalled(table: Table, title: str, rows: Sequence[Replied]) -> None:
    cards = [[card.text for card in r.answers[WITH].cards] for r in rows]
    wanted = [r.ask.fact for r in rows]
    table.add(f"{title}: fact is first", share(w == c[0] for w, c in zip(wanted, cards, strict=True)), "%", 100)
    table.add(f"{title}: fact is among five", share(w in c for w, c in zip(wanted, cards, strict=True)), "%", 100)


def _shares(table: Table, title: str, rows: Sequence[tuple[str, Answer]], hit: Callable[[Answer], bool]) -> None:
    """The share of hits of all rows, then of each group."""
    table.add(title, share(hit(a) for _, a in rows), "%", 100)
    for group in dict.fromkeys(group for group, _ in rows):
        table.add(f"{title}, {group}", share(hit(a) for name, a in rows if name == group), "%", 100)


def _emotions(table: Table, lines: Sequence[Feeling], felt: Sequence[Answer]) -> None:
    intended = [line.accept[0] for line in lines]
    named = [a.plan.emotion.name for a in felt]
    hits = [name in line.accept for name, line in zip(named, lines, strict=True)]
    table.add("emotion as intended", share(hits), "%", 100)
    table.add("emotion as intended, mean over the emotions", macro(intended, hits), "%", 100)
    for emotion in [name for name in EMOTIONS if name in intended]:
        some = [hit for hit, name in zip(hits, intended, strict=True) if name == emotion]
        table.add(f"emotion as intended, {emotion}", share(some), "%", 100)
    first = [name == want for name, want in zip(named, intended, strict=True)]
    table.add("emotion as intended, the first of those accepted", share(first), "%", 100)


def _refused(text: str) -> bool:
    try:
        checked_line(text)
    except TextError:
        return True
    return False


def _row(r: Replied) -> dict[str, Any]:
    first = r.answers[WITH]
    return {
        "kind": r.ask.kind, "persona": f"{r.one.persona.name}, {r.one.persona.role}", "setting": r.one.setting,
        "before": r.ask.before, "asked": r.ask.text, "expected": r.ask.fact,
        "cards": [[card.text, round(card.score, 3)] for card in first.cards],
        "replies": {
            name: {
                "said": a.plan.text, "emotion": a.plan.emotion.name, "right": a.right, "declined": a.declined,
                "other_facts": a.wrong_facts,
            }
            for name, a in r.answers.items()
        },
    }  # fmt: skip
