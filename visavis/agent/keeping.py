"""What of one session is kept: its turns, as far as they were heard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from visavis.agent.journal import Journal
from visavis.agent.memory import now_iso
from visavis.agent.store.types import TurnNote
from visavis.agent.transcript import Line

__all__ = ["Keeping"]


class Keeping:
    """The notes of a session in a journal.

    Args:
        session: its id.
        owner: whose it is.
        journal: writes them.
    """

    def __init__(self, session: str, owner: str, journal: Journal) -> None:
        self.session, self.owner, self.journal = session, owner, journal
        self._notes: dict[int, TurnNote] = {}

    def resume(self) -> tuple[list[Line], int]:
        """The lines that were heard when the session was last alive, and the number of its last turn.

        Raises:
            StoreError: the store cannot be read.
        """
        self.journal.flush()
        notes = self.journal.store.turns(self.session)
        lines: list[Line] = []
        for note in notes:
            if note.user:
                lines.append(Line("user", note.user, note.number))
            if note.said:
                lines.append(Line("agent", note.said, note.number))
        return lines, max((note.number for note in notes), default=0)

    def turn(self, number: int, user: str | None, said: str, state: Literal["open", "done", "cut"]) -> None:
        """Keep what was said and heard in a turn; nothing is written where nothing has changed."""
        before = self._notes.get(number)
        note = TurnNote(number, user, said, state, before.at if before else now_iso())
        if note == before:
            return
        self._notes[number] = note
        for old in [n for n in self._notes if n < number - 8]:
            del self._notes[old]
        session, owner = self.session, self.owner
        self.journal.put(("turn", session, number), lambda store: store.put_turn(session, owner, note))

    def drop(self, numbers: Sequence[int], session: str | None = None) -> None:
        """Delete turns of this session, or of another one of the same owner."""
        session = session or self.session
        for number in numbers:
            if session == self.session:
                self._notes.pop(number, None)
            self.journal.put(("turn", session, number), lambda store, n=number: store.drop_turns(session, [n]))  # type: ignore[misc]

    def drop_all(self) -> None:
        """Delete all turns of all sessions of the owner."""
        self._notes.clear()
        session, owner = self.session, self.owner

        def drop(store: object) -> None:
            kept = self.journal.store
            for note in kept.sessions(owner):
                kept.drop_turns(note.id)
            kept.drop_turns(session)

        self.journal.put(("owner", owner), drop)
