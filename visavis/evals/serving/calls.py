"""What turns ask of the language model, recorded once and asked again of any engine.

Voice and body take no part when an engine is compared; their prompts do, so they come from whole turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from visavis.agent import Agent
from visavis.agent.engine import Engine
from visavis.agent.native import NativeMover, NativePlanner
from visavis.agent.planner import Cancel
from visavis.evals.first_light.facts import heldout
from visavis.evals.first_light.table import data_file, progress
from visavis.retrieval.library import Library

__all__ = ["Call", "record_turns", "replay"]


@dataclass(frozen=True)
class Call:
    """One question to a planner or mover: `reply`, `feel`, `act` or `move`, and with what."""

    stage: str
    args: tuple[Any, ...]
    options: dict[str, Any]


class _Noted:
    """A planner or mover that notes what it is asked."""

    def __init__(self, inner: Any, calls: list[Call]) -> None:
        self._inner, self._calls = inner, calls
        self.name = getattr(inner, "name", "")

    def __getattr__(self, stage: str) -> Any:
        def asked(*args: Any, **options: Any) -> Any:
            self._calls.append(Call(stage, args, {k: v for k, v in options.items() if k != "cancel"}))
            return getattr(self._inner, stage)(*args, **options)

        return asked


def record_turns(count: int, model: str | None = None) -> tuple[list[list[Call]], Library]:
    """The calls of `count` turns, by turn: answers of held-out personas and given sentences in turn, silent voice.

    Returns:
        the turns, and the library that planners of these calls need.
    """
    sentences = data_file("say_sentences.txt").read_text("utf-8").splitlines()
    people = heldout()
    turns: list[list[Call]] = []
    library: Library | None = None
    half = -(-count // 2)
    for number in progress(range(min(len(people), half)), "turns"):
        persona, questions, unknown = people[number]
        with Agent(persona, voice="silent", refine=False, seed=number, model=model) as agent:
            library = agent.tools.library
            own: list[Call] = []
            noted = replace(
                agent.tools, planner=_Noted(agent.tools.planner, own), mover=_Noted(agent.tools.mover, own)
            )  # fmt: skip
            agent.tools = noted
            session = agent.session()
            mine = range(number, half, len(people))
            for place in mine:
                asked = [*(ask for ask, _ in questions), *unknown]
                session.answer(asked[place // len(people) % len(asked)])
                turns.append([*own])
                own.clear()
                agent.say(sentences[place])
                turns.append([*own])
                own.clear()
    assert library is not None, "count is at least 1"
    return turns[:count], library


def replay(calls: Sequence[Call], engine: Engine, library: Library) -> list[Any]:
    """Ask an engine the same; what came of each call."""
    planner, mover = NativePlanner(engine, library), NativeMover(engine)
    return [
        getattr(mover if call.stage == "move" else planner, call.stage)(*call.args, **call.options, cancel=Cancel())
        for call in calls
    ]
