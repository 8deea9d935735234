"""The sessions of one server: opened up to a limit, found by id, closed when nobody needs them, drained at the end.

Personas share models and voices through one agent each. All methods run on the event loop; what loads or waits runs
beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from visavis.agent.events import Event
from visavis.agent.store import checked_id
from visavis.errors import UsageError, VisavisError

__all__ = ["Agents", "Full", "Hosted", "HostedSession", "HostedSessions"]

log = logging.getLogger(__name__)

SWEEP_S: Final = 5.0


class Full(VisavisError):
    """The server takes no more on for now."""

    def __init__(self, why: str, again_s: float) -> None:
        super().__init__(why)
        self.again_s = again_s


class HostedSession(Protocol):
    """What the server needs of a session (`visavis.agent.Session`)."""

    id: str
    state: str

    def events(self, body: bool = True) -> Any:
        """A reader of everything from now on: an async iterator with `close`."""
        ...

    def submit(self, text: str | None = None, *, say: str | None = None) -> str:
        """Answer a line, or say a text; the turn's id."""
        ...

    def receive(self, event: Event) -> None:
        """Take an event of the client."""
        ...

    def interrupt(self, played_s: float | None = None) -> bool:
        """End what is under way."""
        ...

    def happened(self, name: str) -> str | None:
        """Something that is not speech; the id of the turn that answers it, if one does."""
        ...

    def update(self, /, **settings: Any) -> None:
        """Change settings from the next turn on."""
        ...

    @property
    def history(self) -> list[tuple[str, str]]:
        """What was said, and heard."""
        ...

    def close(self) -> None:
        """End it."""
        ...


Agents = Callable[[str, str], HostedSession]
"""Opens the session of an id with a persona's name, in a thread; raises what `Agent` raises."""


@dataclass(eq=False)
class Hosted:
    """A session with who looks at it."""

    session: HostedSession
    persona: str
    opened_at: float
    touched: float
    readers: int = 0
    closing: bool = False

    @property
    def id(self) -> str:
        """Of the session."""
        return self.session.id

    def touch(self) -> None:
        """Somebody needs it."""
        self.touched = time.monotonic()


@dataclass(eq=False)
class HostedSessions:
    """All sessions of a server.

    Args:
        open_session: opens one; see `Agents`.
        most: at once.
        idle_s: one that nobody needs for so long is closed.
    """

    open_session: Agents
    most: int
    idle_s: float
    draining: bool = False
    _all: dict[str, Hosted] = field(default_factory=dict)
    _opening: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Any:
        return iter(list(self._all.values()))

    async def open(self, persona: str, session_id: str | None = None) -> Hosted:
        """Open a session, or take up again what is kept of one.

        Args:
            persona: the name of one.
            session_id: None gives it one that cannot be guessed.
        Raises:
            Full: there are as many as may be, or the server is about to end.
            UsageError: the id cannot be used or is taken; a persona that is not there.
        """
        if self.draining:
            raise Full("the server is shutting down: try another one", 30.0)
        name = session_id if session_id is not None else secrets.token_hex(16)
        checked_id(name)
        if name in self._all or name in self._opening:
            raise UsageError(f"expected the id of no open session; {name} is open: use it, or close it first")
        if len(self._all) + len(self._opening) >= self.most:
            raise Full(f"all {self.most} sessions of this server are taken: come again later", self.idle_s / 10)
        self._opening.add(name)
        try:
            session = await asyncio.to_thread(self.open_session, persona, name)
        finally:
            self._opening.discard(name)
        now = time.monotonic()
        hosted = self._all[name] = Hosted(session, persona, now, now)
        return hosted

    def get(self, session_id: str) -> Hosted | None:
        """The open session of an id."""
        hosted = self._all.get(session_id)
        return None if hosted is None or hosted.closing else hosted

    async def close(self, session_id: str) -> bool:
        """End a session; whether there was one."""
        hosted = self.get(session_id)
        if hosted is None:
            return False
        hosted.closing = True
        try:
            await asyncio.to_thread(hosted.session.close)
        finally:
            self._all.pop(session_id, None)
        return True

    async def sweep(self) -> None:
        """Close, for ever, the sessions that nobody needs any more."""
        while True:
            await asyncio.sleep(min(SWEEP_S, self.idle_s / 4))
            now = time.monotonic()
            for hosted in list(self._all.values()):
                if not hosted.readers and now - hosted.touched > self.idle_s:
                    log.info("session closed after %.0f s without anybody", self.idle_s)
                    with contextlib.suppress(VisavisError):
                        await self.close(hosted.id)

    async def drain(self, patience_s: float) -> None:
        """Open no more, let what is being said be finished, then close all."""
        self.draining = True
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline and any(
            hosted.session.state in ("thinking", "speaking") for hosted in self._all.values()
        ):
            await asyncio.sleep(0.05)
        await asyncio.gather(*(self.close(name) for name in list(self._all)), return_exceptions=True)
