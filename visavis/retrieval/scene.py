"""What is around: named places that a gesture can point at, and where the partner's head is.

A YAML file:

    objects:
      door: [1.5, 1.0, 2.0]
    partner_head: [0.0, 1.6, 1.5]

Places are metres in the world: the body stands at the origin on the floor and faces +Z, its left is +X, up is +Y.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from visavis import safe_yaml
from visavis.errors import FileFormatError, UsageError

__all__ = ["Scene", "read_scene"]

Place = tuple[float, float, float]
FARTHEST_M = 1000.0
MOST_OBJECTS = 200
PARTNER = frozenset({"you", "yours", "yourself"})
TOWARDS = frozenset("at to of by near behind beside before opposite with from on and".split())


class Scene(BaseModel):
    """Named places, in metres in the world."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    objects: dict[str, Place] = {}
    partner_head: Place | None = None

    @field_validator("objects")
    @classmethod
    def _named(cls, value: dict[str, Place]) -> dict[str, Place]:
        for name, place in value.items():
            if not re.fullmatch(r"[a-z][a-z '-]{0,39}", name.lower()):
                raise ValueError(f"an object's name is made of letters, as in 'red door'; got {name!r}")
            _near_enough(name, place)
        return {name.lower(): place for name, place in value.items()}

    @field_validator("partner_head")
    @classmethod
    def _partner(cls, value: Place | None) -> Place | None:
        if value is not None:
            _near_enough("partner_head", value)
        return value

    def seen(self, objects: Mapping[str, Sequence[float]], partner_head: Sequence[float] | None) -> Scene:
        """The scene with places that are new or have moved.

        Raises:
            UsageError: a name or a place that cannot be used.
        """
        known: dict[str, object] = {**self.objects, **{name.lower(): place for name, place in objects.items()}}
        if len(known) > MOST_OBJECTS:
            raise UsageError(f"expected at most {MOST_OBJECTS} objects in a scene; got {len(known)}")
        try:
            return Scene.model_validate({"objects": known, "partner_head": partner_head or self.partner_head})
        except ValidationError as error:
            raise UsageError(f"expected places as name: [x, y, z] in metres; {_first(error)}") from None

    def named(self, text: str) -> list[tuple[int, str, Place]]:
        """What a text names: (index of the last word of the name in `text.split()`, name, place), in order.

        "You" is the partner's head where it is a place ("behind you") or stands alone, not the subject of a clause.
        Plurals and possessives count; of two names the longer wins.
        """
        words = [re.sub(r"^\W+|(?:'s)?\W*$", "", word).lower() for word in text.split()]
        found: dict[int, tuple[str, Place]] = {}
        if self.partner_head is not None:
            found = {
                i: ("you", self.partner_head)
                for i, word in enumerate(words)
                if word in PARTNER and (i == len(words) - 1 or (i and words[i - 1] in TOWARDS))
            }
        for name in sorted(self.objects, key=len):
            parts = name.split()
            for i in range(len(words) - len(parts) + 1):
                if words[i : i + len(parts)] == parts or words[i : i + len(parts)] == [*parts[:-1], parts[-1] + "s"]:
                    found[i + len(parts) - 1] = (name, self.objects[name])
        return [(i, *found[i]) for i in sorted(found)]


def _near_enough(name: str, place: Place) -> None:
    if not all(abs(x) <= FARTHEST_M for x in place) or sum(x * x for x in place) < 1e-4:  # NaN fails too
        raise ValueError(f"{name} must lie within {FARTHEST_M:.0f} m and not at the origin; got {place}")


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"


def read_scene(path: Path | str) -> Scene:
    """Read a scene.

    Raises:
        FileFormatError: the file is missing, not YAML or not a scene.
    """
    try:
        data = safe_yaml.load(Path(path).read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise ValueError(f"got {type(data).__name__}")
        return Scene.model_validate(data)
    except ValidationError as error:
        why = _first(error)
    except (OSError, TypeError, ValueError, yaml.YAMLError) as error:
        why = " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
    raise FileFormatError(
        f"expected a scene (objects: {{name: [x, y, z]}}, partner_head: [x, y, z]) in {path}; {why}: correct it"
    )
