"""The turn graph, planners, engines, sessions and events."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from visavis.agent.agent import Agent
    from visavis.agent.session import Session
    from visavis.agent.turn import Turn
    from visavis.agent.work import GestureRequest

__all__ = ["Agent", "GestureRequest", "Session", "Turn"]

_HOMES = {
    "Agent": "visavis.agent.agent",
    "GestureRequest": "visavis.agent.work",
    "Session": "visavis.agent.session",
    "Turn": "visavis.agent.turn",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'visavis.agent' has no attribute {name!r}")
