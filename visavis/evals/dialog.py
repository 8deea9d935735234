"""Scripted dialogs: who is spoken to, what the user says, and what must come of it. Read from YAML.

    name: A visitor in the museum
    persona: guide                          # a preset, or a file beside this one
    turns:
      - user: How big is the blue whale?    # or `say:` for a text that is said as given
        expect:
          text: {contains: [thirty metres], absent: [euros]}
          emotion: [joy, neutral]
          gestures:
            - {gloss: huge size, near: [whale, thirty], words: 1}
          timing: {median_offset_ms: 150}
          motion: continuous
          within_ms: 20000

Everything under `expect` is optional. `visavis.evals.checks` says what each means.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from visavis import safe_yaml
from visavis.agent.persona import Persona, load_persona, presets
from visavis.emotion import EMOTIONS
from visavis.errors import FileFormatError

__all__ = ["Dialog", "Expect", "ExpectGesture", "ExpectText", "ExpectTiming", "ScriptedTurn", "load_dialog"]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Strings = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ExpectText(_Strict):
    """What the words must be: `equals` exactly; `contains` all and `any` one of these, `absent` none (any case)."""

    equals: str | None = None
    contains: Strings = ()
    any: Strings = ()
    absent: Strings = ()


class ExpectGesture(_Strict):
    """A gesture, one of `gloss`, at most `words` words from one of the words `near` (anywhere if there are none).

    stroke_within_s: a stroke of its hand must be found in the exported motion so near the stress of its word.
    """

    gloss: Annotated[Strings, Field(min_length=1)]
    near: Strings = ()
    words: Annotated[int, Field(ge=0)] = 1
    stroke_within_s: Annotated[float, Field(gt=0)] = 0.35


class ExpectTiming(_Strict):
    """How far, at the median, strokes may be from the stresses of their words."""

    median_offset_ms: Annotated[float, Field(gt=0)] = 150.0


class Expect(_Strict):
    """What must come of a turn."""

    text: ExpectText | None = None
    emotion: Strings | None = None
    gestures: tuple[ExpectGesture, ...] = ()
    timing: ExpectTiming | None = None
    motion: Literal["continuous"] | None = None
    within_ms: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _known(self) -> Expect:
        wrong = [name for name in self.emotion or () if name not in EMOTIONS]
        if wrong:
            raise ValueError(f"expected emotions of {', '.join(EMOTIONS)}; got {', '.join(wrong)}")
        return self


class ScriptedTurn(_Strict):
    """One turn: the user's line, or a text to say as given."""

    user: str | None = None
    say: str | None = None
    expect: Expect = Expect()

    @model_validator(mode="after")
    def _one(self) -> ScriptedTurn:
        if (self.user is None) == (self.say is None):
            raise ValueError("a turn has either `user`, a line to answer, or `say`, a text to say as given")
        return self


class Dialog(_Strict):
    """A conversation with one persona."""

    name: Annotated[str, Field(min_length=1)]
    persona: str = "guide"
    turns: Annotated[tuple[ScriptedTurn, ...], Field(min_length=1)]


def _near(name: str) -> str:
    """The field that was probably meant, if there is one."""
    known = {field for model in _Strict.__subclasses__() for field in model.model_fields}
    near = difflib.get_close_matches(name, sorted(known), 1)
    return f": did you mean {near[0]!r}?" if near else ""


def load_dialog(path: Path) -> tuple[Dialog, Persona]:
    """Read a dialog and its persona.

    Raises:
        FileFormatError: in one line: no such file, not YAML, an unknown field, a value that does not fit.
        PersonaError: the persona cannot be read.
    """
    try:
        raw = safe_yaml.load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(f"expected a readable dialog in YAML; got {path}: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark is not None else ""
        raise FileFormatError(f"{path}{line}: expected YAML; {getattr(error, 'problem', None) or error}") from None
    if not isinstance(raw, dict):
        raise FileFormatError(f"{path}: expected a mapping with name, persona and turns; got {type(raw).__name__}")
    try:
        dialog = Dialog.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        what = f"unknown field{_near(str(first['loc'][-1]))}" if first["type"] == "extra_forbidden" else first["msg"]
        got = f"; got {first['input']!r:.60}" if first["type"].endswith("_type") else ""
        raise FileFormatError(f"{path}: {where}: {what.removeprefix('Value error, ')}{got}") from None
    persona = load_persona(dialog.persona if dialog.persona in presets() else path.parent / dialog.persona)
    return dialog, persona
