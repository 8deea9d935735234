"""Who the agent is: a persona, read from a YAML file or from the presets that ship.

    name: Maya
    role: a museum guide
    manner: warm
    greeting: Welcome to the museum!           # said to who comes; this and the next two are optional
    farewell: Goodbye!                         # to who leaves after a conversation
    offer: Would you like to hear about whales?  # into a silence, once
    voice: en-us+f3
    gestures: {amount: 1.0, prefer: [huge size], avoid: [facepalm]}
    cards:
      - topic: blue whale
        facts: [The blue whale is about thirty metres long.]

A fact is one full sentence, because it is quoted as it stands. Let it say what there is before what that costs or looks
like: "There is a garage, where you can park for nine euros" is found for "Do you have parking?", "The garage costs nine
euros" is not. This module reads and checks; which fact answers a
question is the matter of `visavis.agent.recall`.
"""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path
from typing import Annotated, Final, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from visavis import safe_yaml
from visavis.errors import PersonaError

__all__ = ["MANNERS", "NATURE", "Card", "GesturePreferences", "Persona", "load_persona", "presets"]

MAX_FILE_BYTES = 1_000_000
MAX_FACT_CHARACTERS = 240  # longer ones do not fit five at a time into a small model's prompt

Manner = Literal["warm", "calm", "cheerful", "formal", "playful"]
MANNERS: tuple[str, ...] = get_args(Manner)
Line = Annotated[str, Field(min_length=1, max_length=200)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Card(_Strict):
    """What is known about one topic: facts, each a full sentence of at most 240 characters."""

    topic: Annotated[str, Field(min_length=1, max_length=80)]
    facts: Annotated[tuple[str, ...], Field(min_length=1, max_length=50)]

    @field_validator("facts")
    @classmethod
    def _sentences(cls, facts: tuple[str, ...]) -> tuple[str, ...]:
        for fact in facts:
            if not fact.endswith((".", "!", "?")):
                raise ValueError(f"a fact is a full sentence that ends in . ! or ?; got {fact[:60]!r}")
            if len(fact) > MAX_FACT_CHARACTERS:
                raise ValueError(
                    f"a fact has at most {MAX_FACT_CHARACTERS} characters, not {len(fact)}: split {fact[:40]!r}"
                )
            if any(ord(c) < 32 for c in fact):
                raise ValueError(f"a fact is one line of text without control characters; got {fact[:60]!r}")
        return facts


class GesturePreferences(_Strict):
    """How much and what the persona gestures.

    amount: scales the density (0 none, 1 usual, 2 twice).
    prefer: glosses that are twice as likely where they fit.
    avoid: glosses that are never made.
    """

    amount: Annotated[float, Field(ge=0, le=2)] = 1.0
    prefer: tuple[str, ...] = ()
    avoid: tuple[str, ...] = ()


NATURE: Final = Card(topic="myself", facts=("I am an AI, a computer program, not a person.",))


class Persona(_Strict):
    """One character with what it knows. `role` reads after the name: "Maya, a museum guide"."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    role: Annotated[str, Field(min_length=1, max_length=80)]
    manner: Manner = "warm"
    greeting: Line | None = None
    farewell: Line | None = None
    offer: Line | None = None
    cards: Annotated[tuple[Card, ...], Field(max_length=500)] = ()
    gestures: GesturePreferences = GesturePreferences()
    voice: Line = "en-us+f3"

    @property
    def facts(self) -> tuple[str, ...]:
        """Every fact of every card, in order."""
        return tuple(fact for card in self.cards for fact in card.facts)

    @property
    def known(self) -> tuple[Card, ...]:
        """Its cards, and what whoever is played here knows of itself: that it is an AI, said exactly when asked."""
        return (*self.cards, NATURE)


def presets() -> tuple[str, ...]:
    """Names of the personas that ship."""
    folder = resources.files("visavis.agent") / "personas"
    return tuple(sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def load_persona(name_or_path: str | Path) -> Persona:
    """Read a persona by the name of a preset or by the path of a YAML file.

    Raises:
        PersonaError: in one line: no such file or preset, not YAML, an unknown field, a value that does not fit.

    """
    if isinstance(name_or_path, str) and name_or_path in presets():
        text = (resources.files("visavis.agent") / "personas" / f"{name_or_path}.yaml").read_text("utf-8")
        return _parse(text, name_or_path)
    if not isinstance(name_or_path, str | Path):
        raise PersonaError(
            f"expected the name of a preset or a persona file; got {type(name_or_path).__name__}: "
            "fields make one by `Persona(name=…, role=…)`"
        )
    path = Path(name_or_path)
    try:
        if not path.is_file():
            raise PersonaError(
                f"expected a persona file or one of {', '.join(presets())}; got {str(name_or_path)[:200]!r}"
            )
        if path.stat().st_size > MAX_FILE_BYTES:
            raise PersonaError(f"a persona file has at most {MAX_FILE_BYTES:,} bytes; {path} is larger: shorten it")
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise PersonaError(
            f"expected a readable UTF-8 persona file; got {str(name_or_path)[:200]!r}: {error}"
        ) from None
    return _parse(text, str(path))


def _parse(text: str, source: str) -> Persona:
    try:
        data = safe_yaml.load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or type(error).__name__
        raise PersonaError(f"{source}{where}: expected YAML; {_one_line(str(problem))}") from None
    if not isinstance(data, dict):
        raise PersonaError(f"{source}: expected a mapping with name, role and cards; got {type(data).__name__}")
    try:
        return Persona.model_validate(data)
    except ValidationError as error:
        raise PersonaError(f"{source}: {_explain(error)}") from None


# What pydantic calls after Python's types, in YAML's words.
_SHAPES: Final = {
    "string_type": "text, in quotes where it looks like a number or like yes and no",
    "tuple_type": "a list, such as [one, another]",
    "model_type": "a mapping of fields, such as {topic: bread, facts: [Bread costs two euros.]}",
    "float_parsing": "a number",
    "float_type": "a number",
}


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]


def _explain(error: ValidationError) -> str:
    """The first of pydantic's complaints, as one line that says what to do."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        model = Card if where.startswith("cards.") else GesturePreferences if where.startswith("gestures.") else Persona
        known = list(model.model_fields)
        near = difflib.get_close_matches(str(first["loc"][-1]), known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
        return _one_line(f"unknown field {where!r}: {hint}")
    if first["type"] == "missing":
        return f"the field {where!r} is missing: add it"
    message = first["msg"].removeprefix("Value error, ")
    if (what := _SHAPES.get(first["type"])) is not None:
        message = f"expected {what}; got {first['input']!r:.60}"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return _one_line(f"{where}: {message}{more}")
