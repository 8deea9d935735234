"""From Enter to the first sound and motion, and how long the whole turn takes beside how long it speaks."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np

from visavis.agent import Agent
from visavis.agent.events import MotionDelta, ResponseDone, SpeechDelta
from visavis.agent.session import Session
from visavis.evals.first_light.facts import heldout
from visavis.evals.first_light.table import Table, median, progress

__all__ = ["measure"]

STAGES = ("recall", "reply", "act", "speak", "aim", "move", "decode", "refine", "solve", "first_motion")


async def _ask(session: Session, line: str) -> dict[str, Any]:
    """Ask; seconds to the first sound and motion and to the end, and what the turn says of itself."""
    began = time.perf_counter()
    row: dict[str, Any] = {"line": line}
    async for event in session.respond(line):
        now = time.perf_counter() - began
        if isinstance(event, SpeechDelta):
            row.setdefault("sound_s", now)
        elif isinstance(event, MotionDelta):
            row.setdefault("motion_s", now)
        elif isinstance(event, ResponseDone):
            words = [word["end_s"] for clause in event.turn["clauses"] for word in clause["words"]]
            row |= {"whole_s": now, "spoken_s": max(words), "text": event.turn["text"]}
            row["timings_ms"] = event.turn["timings_ms"]
    return row


def measure(count: int = 50, **options: Any) -> Table:
    """Ask held-out questions, with one to warm up for each persona."""
    rows: list[dict[str, Any]] = []
    people = heldout()
    each = -(-count // len(people))
    for persona, questions, _ in progress(people, "personas"):
        with Agent(persona, **options) as agent:
            asyncio.run(_ask(agent.session(), "Hello there!"))
            session = agent.session()
            for ask, _ in questions[: min(each, count - len(rows))]:
                rows.append(asyncio.run(_ask(session, ask)))
        if len(rows) >= count:
            break
    table = Table("From Enter to sound and motion, warm, over held-out questions")
    first = [max(row["sound_s"], row["motion_s"]) for row in rows]
    table.add("first sound and motion", median(first), "ms", 1000)
    table.add("whole turn over its speech", median([row["whole_s"] / row["spoken_s"] for row in rows]))
    for stage in STAGES:
        table.add(f"stage {stage}", median([row["timings_ms"].get(stage, 0.0) for row in rows]), "ms")
    table.details = {"slowest_first_ms": round(1000 * float(np.max(first))), "rows": rows}
    return table
