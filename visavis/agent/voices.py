"""The voices that sessions of one agent may change to: each opened once, shared, and closed with the agent."""

from __future__ import annotations

import threading
from typing import Final

from visavis.errors import UsageError
from visavis.speech import open_voice
from visavis.speech.types import Voice

__all__ = ["Voices"]

MOST: Final = 8  # each may hold a process
LONGEST: Final = 80


class Voices:
    """Opens voices by name; usable from any thread."""

    def __init__(self) -> None:
        self._open: dict[str, Voice] = {}
        self._lock = threading.Lock()
        self._closed = False

    def get(self, name: str) -> Voice:
        """The voice of a name.

        An address of a speech server is refused: a client could make this machine call any other.

        Raises:
            MissingExtraError, UsageError, VoiceError: as `open_voice`; or there are too many.
        """
        if len(name) > LONGEST or "://" in name:
            raise UsageError(f"expected the name of a voice, such as 'en-us+f3' or 'silent'; got {name[:LONGEST]!r}")
        with self._lock:
            if name not in self._open:
                if self._closed or len(self._open) >= MOST:
                    known = ", ".join(self._open) or "none: the agent is closed"
                    raise UsageError(f"expected at most {MOST} voices in one agent; use one of {known}")
                self._open[name] = open_voice(name)
            return self._open[name]

    def close(self) -> None:
        """Close all."""
        with self._lock:
            self._closed = True
            for voice in self._open.values():
                voice.close()
            self._open.clear()
