"""The turn graph, planners, engines, sessions and events."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from visavis.agent.agent import Agent
    from visavis.agent.session import Session
    from visavis.agent.turn import Turn

__all__ = ["Agent", "Session", "Turn"]

_HOMES = {"Agent": "visavis.agent.agent", "Session": "visavis.agent.session", "Turn": "visavis.agent.turn"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'visavis.agent' has no attribute {name!r}")
