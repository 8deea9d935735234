"""Reading YAML that may be long or anybody's: safely, and by the reader in C where libyaml is there, ten times faster.

The reader in C calls itself for every level and has no bound of its own: 100,000 brackets end the process. So the
levels are counted first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import yaml

__all__ = ["DEEPEST", "load", "load_texts"]

DEEPEST: Final = 100  # levels, one inside the other; what ships has 6
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(text: str) -> Any:
    """What a YAML document says, as `yaml.safe_load` does, where every key of a mapping comes once.

    Raises:
        yaml.YAMLError: it is none, has more than `DEEPEST` levels, or a key twice, of which only the last would count.
    """
    open_: list[_Open] = []
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionEndEvent):
            open_.pop()
            continue
        if open_ and isinstance(event, yaml.NodeEvent):
            open_[-1].take(event)
        if isinstance(event, yaml.CollectionStartEvent):
            open_.append(_Open(isinstance(event, yaml.MappingStartEvent)))
            if len(open_) > DEEPEST:
                raise _wrong(event, f"expected at most {DEEPEST} levels, one inside the other")
    return yaml.load(text, Loader=_LOADER)


def load_texts(text: str) -> Any:
    """A document of mappings, lists and texts alone: what looks like a number or a date stays as it is written.

    Built from the events as they come, in a third of the time of `load`: for long documents. Aliases are refused.

    Raises:
        yaml.YAMLError: as `load`.
    """
    made: list[list[Any]] = [[]]  # what has begun, the innermost last; of a mapping keys and values by turns
    event: Any
    for event in yaml.parse(text, Loader=_LOADER):
        kind = event.__class__
        if kind is yaml.ScalarEvent:
            made[-1].append(event.value)
        elif kind is yaml.SequenceStartEvent or kind is yaml.MappingStartEvent:
            made.append([])
            if len(made) > DEEPEST + 1:
                raise _wrong(event, f"expected at most {DEEPEST} levels, one inside the other")
        elif kind is yaml.SequenceEndEvent:
            whole = made.pop()
            made[-1].append(whole)
        elif kind is yaml.MappingEndEvent:
            keys, values = made[-1][::2], made.pop()[1::2]
            if not all(isinstance(key, str) for key in keys) or len(set(keys)) < len(keys):
                raise _wrong(event, "expected every key of this mapping once, and each a text")
            made[-1].append(dict(zip(keys, values, strict=True)))
        elif kind is yaml.AliasEvent:
            raise _wrong(event, f"expected no alias; got *{event.anchor}: write it out")
        elif kind is yaml.DocumentStartEvent and made[0]:
            raise _wrong(event, "expected one document")
    return made[0][0] if made[0] else None


@dataclass(slots=True)
class _Open:
    """A list or mapping that has begun: the keys so far, and whether the next node is one."""

    mapping: bool
    keys: set[tuple[str, Any]] = field(default_factory=set)
    key_next: bool = True

    def take(self, event: yaml.NodeEvent) -> None:
        if self.mapping:
            if self.key_next and isinstance(event, yaml.ScalarEvent) and event.value != "<<":
                key = (event.value, event.implicit)
                if key in self.keys:
                    raise _wrong(event, f"expected every key once; {event.value[:60]!r} comes again: put both together")
                self.keys.add(key)
            self.key_next = not self.key_next


def _wrong(event: yaml.Event, problem: str) -> yaml.MarkedYAMLError:
    mark: Any = event.start_mark
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
