"""What can be added to visavis from outside, by name: voices, recognisers, planners, engines, retrievers, behaviours.

A package offers one by an entry point, and its name can then be used wherever a name is taken (`--voice mine`):

    [project.entry-points."visavis.voices"]
    mine = "my_package.voice:MyVoice"

`register` does the same for this process alone. Voices, recognisers, planners and engines are classes, or functions
without arguments that make one; a behaviour or a retriever may be the function itself. Nothing is imported before it is
asked for.
"""

from __future__ import annotations

import importlib.metadata
from typing import Any, Final

from visavis.errors import UsageError

__all__ = ["KINDS", "extension", "names", "register"]

KINDS: Final = ("voice", "recogniser", "planner", "engine", "retriever", "behaviour")

_MADE: Final = ("voice", "recogniser", "planner", "engine")  # by a call without arguments
_registered: dict[tuple[str, str], Any] = {}


def register(kind: str, name: str, thing: Any) -> None:
    """Offer something in this process; it goes before an installed one of the same name.

    Args:
        kind: one of `KINDS`.
        name: what it is called in options.
        thing: see the module.
    Raises:
        UsageError: there is no such kind.
    """
    _registered[_checked(kind), name] = thing


def names(kind: str) -> list[str]:
    """What is offered of a kind."""
    here = [name for of, name in _registered if of == _checked(kind)]
    return sorted({*here, *(point.name for point in importlib.metadata.entry_points(group=f"visavis.{kind}s"))})


def extension(kind: str, name: str) -> Any | None:
    """Make one by name; None where nothing of this name is offered.

    Raises:
        UsageError: there is no such kind, or what is offered cannot be loaded.
    """
    thing = _registered.get((_checked(kind), name))
    if thing is None:
        found = [point for point in importlib.metadata.entry_points(group=f"visavis.{kind}s") if point.name == name]
        if not found:
            return None
        try:
            thing = found[0].load()
        except (ImportError, AttributeError) as error:
            raise UsageError(
                f"the {kind} {name!r} is offered as {found[0].value}, which cannot be loaded ({error}): "
                "is its package whole?"
            ) from error
    return thing() if kind in _MADE or isinstance(thing, type) else thing


def _checked(kind: str) -> str:
    if kind not in KINDS:
        raise UsageError(f"expected one of {', '.join(KINDS)}; got {kind!r}")
    return kind
