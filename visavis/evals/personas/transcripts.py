"""Five talks of ten turns, to be read: scripted lines of a user, answered by whole agents as `visavis chat` does.

With recall, memory and gestures, by the silent voice, unedited (`docs/transcripts.md`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from visavis import safe_yaml
from visavis.agent import Agent
from visavis.agent.persona import Persona, load_persona
from visavis.agent.turn import Turn
from visavis.evals.first_light.table import data_file, progress
from visavis.evals.personas.held import held

__all__ = ["Talk", "play", "talks", "told"]

TALKS = "personas_talks.yaml"


@dataclass(frozen=True)
class Talk:
    """What a user says to a persona; `shipped` if that comes with visavis."""

    persona: Persona
    shipped: bool
    lines: tuple[str, ...]


def talks() -> tuple[Talk, ...]:
    """The frozen five."""
    raw = safe_yaml.load(data_file(TALKS).read_text("utf-8"))
    people = held() if any("held" in one for one in raw) else ()
    return tuple(
        Talk(
            load_persona(one["persona"]) if "persona" in one else people[one["held"]].persona,
            "persona" in one,
            tuple(one["lines"]),
        )
        for one in raw
    )


def play(talk: Talk, seed: int = 0, *, model: str | Path | None = None, limit: int | None = None) -> list[Turn]:
    """Have a talk, or its first `limit` lines, in one session of a new agent."""
    with Agent(talk.persona, voice="silent", model=model, seed=seed, refine=False) as agent:
        session = agent.session()
        return [session.answer(line) for line in progress(talk.lines[:limit], talk.persona.name)]


def told(played: Iterable[tuple[Talk, Sequence[Turn]]], seed: int) -> str:
    """The talks as a page in Markdown."""
    out = []
    prints: dict[str, None] = {}
    for talk, turns in played:
        persona = talk.persona
        kind = "a persona that ships" if talk.shipped else "a held-out persona"
        out += [f"## {persona.name}, {persona.role}", "", f"*{kind[0].upper()}{kind[1:]}.*", ""]
        for turn in turns:
            prints[turn.record.fingerprint] = None
            out += [f"**You:** {turn.record.user}", "", f"**{persona.name}** {_how(turn)}: {turn.record.text}", ""]
        out += ["It knows:", ""]
        out += [f"- {card.topic}: {' '.join(card.facts)}" for card in persona.cards] + [""]
    head = [
        "# Transcripts", "",
        f"Written by `python -m visavis.evals.personas transcripts --seed {seed}`, unedited. Nothing is trained on",
        "what the user says here, nor on the held-out personas. In brackets: the emotion of the reply, and its",
        f"gestures with their words. Models: {', '.join(prints)}.", "",
    ]  # fmt: skip
    return "\n".join([*head, *out]).rstrip() + "\n"


def _how(turn: Turn) -> str:
    """The emotion of a turn with its strength, and its gestures on their words, in brackets."""
    first = turn.record.clauses[0]
    done = [
        f"{gesture.gloss} on “{clause.words[gesture.anchor].text}”"
        for clause in turn.record.clauses
        for gesture in clause.gestures
    ]
    return f"({'; '.join([f'{first.emotion} {first.intensity:.1f}', *done])})"
