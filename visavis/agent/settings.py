"""What can be changed of a session while it goes on: `session.update` and its checks.

All of a change is checked before any of it holds. A persona is none of it: it belongs to a session from its beginning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from visavis.agent.work import Tools
from visavis.emotion import EMOTIONS, Emotion
from visavis.errors import UsageError
from visavis.retrieval.scene import Scene
from visavis.speech.voices import has_pace

__all__ = ["Settings", "checked_settings", "changed_tools"]

USUAL: Final = 0.6  # intensity of an emotion that is given by name alone


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Felt(_Strict):
    """An emotion."""

    name: str
    intensity: Annotated[float, Field(ge=0, le=1)] = USUAL

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in EMOTIONS:
            raise ValueError(f"expected one of {', '.join(EMOTIONS)}")
        return value


class Around(_Strict):
    """A scene: places by name, and the partner's head, in metres (see `visavis.retrieval.scene`)."""

    objects: dict[str, list[float]] = {}
    partner_head_m: list[float] | None = None


class Settings(_Strict):
    """Settings of a session; those that are not given stay as they are.

    voice: its name; None for the persona's.
    rate: how fast it speaks, 1 usual.
    emotion: how every turn feels, by name (at 0.6) or with an intensity; None leaves it to the model.
    gestures, refine: whether semantic gestures are made and the refiner runs; without, a turn costs less.
    scene: what is around, instead of what was; None for nothing. `input.scene` adds to it.
    listening: whether the body listens (`visavis.agent.attending`); it idles otherwise.
    """

    voice: str | None = None
    rate: Annotated[float, Field(ge=0.5, le=2)] = 1.0
    emotion: Felt | str | None = None
    gestures: bool = True
    refine: bool = True
    scene: Around | None = None
    listening: bool = True

    @field_validator("emotion")
    @classmethod
    def _felt(cls, value: Felt | str | None) -> Felt | None:
        return Felt(name=value) if isinstance(value, str) else value


def checked_settings(raw: Mapping[str, Any]) -> Settings:
    """Settings from outside.

    Raises:
        UsageError: a field that there is not, or a value that cannot be; one sentence.
    """
    known = ", ".join(Settings.model_fields)
    unknown = sorted(str(name) for name in raw if name not in Settings.model_fields)
    if "persona" in unknown:
        raise UsageError(f"expected settings of {known}; a persona belongs to a session: open another session for it")
    if unknown:
        raise UsageError(f"expected settings of {known}; got {unknown[0][:80]!r}")
    try:
        return Settings.model_validate(dict(raw))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field, why = str(first["loc"][0]), str(first["msg"]).removeprefix("Value error, ")
        raise UsageError(f"{field}: {' '.join(why.split())[:200]}; got {str(raw[field])[:80]!r}") from None


def changed_tools(tools: Tools, before: Tools, wanted: Settings) -> Tools:
    """What the next turns are made with.

    Args:
        tools: those of now.
        before: those with which the session began, for what is given back to the persona.
        wanted: what was asked for.
    Raises:
        UsageError: a voice that is not there or has no pace; places that cannot be.
        MissingExtraError, VoiceError: a voice that cannot be opened.
    """
    given = wanted.model_fields_set
    if "voice" in given:
        if wanted.voice is not None and tools.voices is None:
            raise UsageError("expected a session of an `Agent` to change the voice of; this one has only its own")
        voice = before.voice if wanted.voice is None or tools.voices is None else tools.voices.get(wanted.voice)
        tools = replace(tools, voice=voice)
    if "rate" in given:
        tools = replace(tools, pace=wanted.rate)
    if tools.pace != 1.0 and not has_pace(tools.voice):
        name = getattr(tools.voice, "name", type(tools.voice).__name__)
        raise UsageError(f"expected a voice that has a pace; {name!r} does not: set rate to 1")
    if "emotion" in given:
        felt = wanted.emotion
        assert not isinstance(felt, str), "validation has made it an emotion"
        tools = replace(tools, emotion=None if felt is None else Emotion(felt.name, felt.intensity))
    if "gestures" in given:
        tools = replace(tools, gestures=wanted.gestures)
    if "scene" in given:
        around = wanted.scene
        scene = None if around is None else Scene().seen(around.objects, around.partner_head_m)
        tools = replace(tools, scene=scene)
    assert math.isfinite(tools.pace), "pydantic bounds it"
    return tools
