"""A planner to be measured by what it says, without voice and body."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from visavis.agent.native import NativePlanner

__all__ = ["planner_of"]


@contextmanager
def planner_of(model: str | None) -> Iterator[NativePlanner]:
    """The planner of a folder, or the shipped one, on one thread as the command line has it; closed at the end."""
    import torch

    from visavis.agent.loading import load_tools
    from visavis.agent.persona import load_persona

    torch.set_num_threads(1)
    tools = load_tools(load_persona("guide"), "silent", model, True)  # of the persona nothing is asked
    try:
        yield cast(NativePlanner, tools.planner)
    finally:
        tools.close()
