"""A planner to be measured by what it says, without voice and body."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from visavis.agent.planner import Planner

__all__ = ["planner_of"]


@contextmanager
def planner_of(model: str | None) -> Iterator[Planner]:
    """The planner of a folder, or the shipped one, on one thread as the command line has it; closed at the end."""
    import torch

    from visavis.agent.loading import load_tools
    from visavis.agent.persona import load_persona

    torch.set_num_threads(1)
    tools = load_tools(load_persona("guide"), "silent", model, True)  # of the persona nothing is asked
    try:
        yield tools.planner
    finally:
        tools.close()
