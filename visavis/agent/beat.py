"""One thread that beats for all live sessions of an agent: their bodies, the letting out of speech, what was heard.

It runs only while there is a session to beat for. A session that fails is told so and left out; the others go on.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Final, Protocol

__all__ = ["BEAT_S", "Beat", "Beating"]

log = logging.getLogger(__name__)

BEAT_S: Final = 0.1


class Beating(Protocol):
    """What beats."""

    id: str

    def tick(self) -> bool:
        """Do what is due; False when there is nothing more to do."""
        ...


class Beat:
    """The thread and those it beats for."""

    def __init__(self) -> None:
        self._members: list[Beating] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, member: Beating) -> None:
        """Beat for somebody from now on."""
        with self._changed:
            if self._closed or member in self._members:
                return
            self._members.append(member)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="visavis-beat", daemon=True)
                self._thread.start()
            self._changed.notify()

    def remove(self, member: Beating) -> None:
        """No longer beat for somebody."""
        with self._changed:
            if member in self._members:
                self._members.remove(member)
            self._changed.notify()

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._members.clear()
            thread = self._thread
            self._changed.notify()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            with self._changed:
                if not self._members:
                    self._thread = None
                    return
                due = max(due + BEAT_S, time.monotonic())
                self._changed.wait(max(due - time.monotonic(), 0.0))
                members = list(self._members)
            for member in members:
                try:
                    goes_on = member.tick()
                except Exception:
                    log.exception("the session %s failed and is no longer live", member.id)
                    goes_on = False
                if not goes_on:
                    self.remove(member)
