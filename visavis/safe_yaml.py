"""Reading YAML that may be long or anybody's: safely, and by the reader in C where libyaml is there, ten times faster.

The reader in C calls itself for every level and has no bound of its own: 100,000 brackets end the process. So the
levels are counted first.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

__all__ = ["DEEPEST", "load"]

DEEPEST: Final = 100  # levels, one inside the other; what ships has 6
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(text: str) -> Any:
    """What a YAML document says, as `yaml.safe_load` does.

    Raises:
        yaml.YAMLError: it is none, or has more than `DEEPEST` levels.
    """
    level = 0
    for event in yaml.parse(text, Loader=_LOADER):
        level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if level > DEEPEST:
            mark: Any = event.start_mark
            problem = f"expected at most {DEEPEST} levels, one inside the other"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
    return yaml.load(text, Loader=_LOADER)
