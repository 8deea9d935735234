"""visavis: an embodied partner for two-person conversation."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from visavis.agent import Agent, GestureRequest, Turn
    from visavis.emotion import Emotion
    from visavis.motion.motion import Motion

__version__ = "0.1.0"
__all__ = ["Agent", "Emotion", "GestureRequest", "Motion", "Turn"]

_HOMES = {
    "Agent": "visavis.agent",
    "Turn": "visavis.agent",
    "GestureRequest": "visavis.agent",
    "Emotion": "visavis.emotion",
    "Motion": "visavis.motion.motion",
}


def __getattr__(name: str) -> Any:
    """Load the public names on first use, so that `import visavis` and `--help` stay fast."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'visavis' has no attribute {name!r}")
