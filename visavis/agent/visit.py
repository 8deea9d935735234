"""What a persona says when somebody comes, leaves or keeps silent: at most one line each, and only where it fits.

A visit begins with a session and anew after a `leave`. The lines are the persona's own (`greeting`, `farewell`,
`offer`); one that it does not have is not said.
"""

from __future__ import annotations

from typing import Final

from visavis.agent.persona import Persona
from visavis.errors import UsageError

__all__ = ["HAPPENINGS", "Visit"]

HAPPENINGS: Final = ("approach", "leave", "silence")


class Visit:
    """One partner after the other.

    Args:
        persona: whose lines are said.
    """

    def __init__(self, persona: Persona) -> None:
        self._persona = persona
        self._farewell: str | None = None
        self._begin()

    def _begin(self) -> None:
        self._spoken = self._partner_spoke = self._offered = False

    def spoke(self, user: str | None, given: str | None) -> None:
        """A turn was asked for: an answer to the partner's words, or a text to say."""
        if given is not None and given == self._farewell:  # said behind whoever has left
            self._farewell = None
            return
        self._spoken = True
        self._partner_spoke |= user is not None

    def line(self, happening: str, busy: bool) -> str | None:
        """What is said to it.

        - approach: the greeting, if nobody has spoken yet in this visit.
        - leave: the farewell, if the partner has spoken in this visit; what follows is another visit.
        - silence: the offer, once in a visit, and not while something is being said (`busy`).

        Raises:
            UsageError: nothing that happens.
        """
        if happening == "approach":
            return None if self._spoken else self._persona.greeting
        if happening == "leave":
            self._farewell = self._persona.farewell if self._partner_spoke else None
            self._begin()
            return self._farewell
        if happening != "silence":
            raise UsageError(f"expected one of {', '.join(HAPPENINGS)}; got {happening[:80]!r}")
        if busy or self._offered:
            return None
        self._offered = True
        return self._persona.offer
