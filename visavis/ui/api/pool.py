"""The agents of a server: one for each persona, made when it is first asked for; models and library are shared.

At most `MOST` are kept; the one that was asked for longest ago, and has no session, gives its place up.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from visavis.agent.hearing import Hearing
from visavis.agent.persona import Persona, load_persona, presets
from visavis.errors import PersonaError
from visavis.ui.api.sessions import HostedSession

__all__ = ["AgentPool", "known_personas"]

MOST: Final = 16


class HostedAgent(Protocol):
    """What the server needs of an agent (`visavis.Agent`)."""

    def session(self, session_id: str | None = None, *, hearing: Any = None) -> HostedSession:
        """A session of its own; see `visavis.Agent.session`."""
        ...

    def close(self) -> None:
        """End everything."""
        ...


def known_personas(first: str) -> dict[str, Persona]:
    """The personas that clients may ask for, by id: the one that was named (a preset or a file), then the presets."""
    one = load_persona(first)
    named = {first if first in presets() else one.name.lower().replace(" ", "-"): one}
    return named | {name: load_persona(name) for name in presets() if name not in named}


class AgentPool:
    """Opens sessions; may be called from several threads.

    Args:
        make: makes the agent of a persona.
        personas: those that may be asked for.
        hear: makes the ears of a session; without, sessions take text alone.
    """

    def __init__(
        self,
        make: Callable[[Persona], HostedAgent],
        personas: Mapping[str, Persona],
        hear: Callable[[], Hearing] | None = None,
    ) -> None:
        self._make, self._personas, self._hear = make, personas, hear
        self._agents: OrderedDict[str, HostedAgent] = OrderedDict()
        self._open: dict[str, int] = {}
        self._lock = threading.Lock()

    def adopt(self, persona: str, agent: HostedAgent) -> None:
        """Take an agent that was made already."""
        with self._lock:
            self._agents[persona] = agent

    def open(self, persona: str, session_id: str) -> HostedSession:
        """Open a session.

        Raises:
            PersonaError: nobody of that name.
            VisavisError: what `Agent` and `Agent.session` raise.
        """
        known = self._personas.get(persona)
        if known is None:
            raise PersonaError(f"expected one of {', '.join(self._personas)}; got {persona[:80]!r}")
        with self._lock:  # loading twice would cost more than waiting
            agent = self._agents.pop(persona, None) or self._make(known)
            self._agents[persona] = agent
            self._open[persona] = self._open.get(persona, 0) + 1
            self._shrink()
        try:
            hearing = None if self._hear is None else self._hear()
            return _Counted(agent.session(session_id, hearing=hearing), lambda: self._left(persona))
        except BaseException:
            self._left(persona)
            raise

    def close(self) -> None:
        """End all agents."""
        with self._lock:
            agents = list(self._agents.values())
            self._agents.clear()
        for agent in agents:
            agent.close()

    def _left(self, persona: str) -> None:
        with self._lock:
            self._open[persona] -= 1

    def _shrink(self) -> None:
        for name in list(self._agents):
            if len(self._agents) <= MOST:
                return
            if not self._open.get(name):
                self._agents.pop(name).close()


class _Counted:
    """A session that says when it is closed."""

    def __init__(self, session: HostedSession, closed: Callable[[], None]) -> None:
        self._session, self._closed = session, closed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def close(self) -> None:
        self._session.close()
        closed, self._closed = self._closed, lambda: None
        closed()
