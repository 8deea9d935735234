"""What is kept, and what a place to keep it must do.

To add a store write a class with the methods of `Store`. It may assume that ids are checked and that one thread at a
time calls it; what it is given must be there, whole, after the process was killed as soon as a method has returned.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, runtime_checkable

from visavis.errors import UsageError

__all__ = ["Memory", "SessionNote", "Store", "TurnNote", "checked_id"]

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def checked_id(value: object, what: str = "a session's id") -> str:
    """The id itself; ids are names, never paths.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(value, str) or not _ID.fullmatch(value) or ".." in value:
        shown = value[:70] if isinstance(value, str) else value
        raise UsageError(f"expected {what} of 1 to 64 letters, digits, '-', '_' and '.'; got {shown!r}")
    return value


@dataclass(frozen=True)
class TurnNote:
    """One turn: the partner's line, and what was heard of the answer.

    state: `open` while more may be heard; `done`; `cut` when it was interrupted or failed.
    at: when it began, ISO 8601 in UTC.
    """

    number: int
    user: str | None
    said: str
    state: Literal["open", "done", "cut"]
    at: str


@dataclass(frozen=True)
class Memory:
    """Something the partner told, or what a conversation was about, as one sentence that can be said back.

    id: of its own.
    kind: `fact` or `summary`.
    text: the sentence, to the partner: "Your dog is called Rex."
    slot: what it is about, if there can be only one: a newer one takes its place.
    session, turn: where it was told.
    at: when, ISO 8601 in UTC.
    """

    id: str
    kind: Literal["fact", "summary"]
    text: str
    slot: str
    session: str
    turn: int
    at: str


@dataclass(frozen=True)
class SessionNote:
    """A session that is kept."""

    id: str
    owner: str
    turns: int
    at: str


@runtime_checkable
class Store(Protocol):
    """Keeps turns and memories. All methods raise `StoreError` when the world fails."""

    def put_turn(self, session: str, owner: str, note: TurnNote) -> None:
        """Keep a turn, in place of what was kept under its number."""
        ...

    def turns(self, session: str, most: int = 200) -> list[TurnNote]:
        """The last turns of a session, oldest first; none of one that is unknown."""
        ...

    def sessions(self, owner: str | None = None) -> list[SessionNote]:
        """Everybody's sessions or one owner's, newest first."""
        ...

    def drop_turns(self, session: str, numbers: Sequence[int] | None = None) -> None:
        """Delete some turns of a session, or the session."""
        ...

    def put_memory(self, owner: str, memory: Memory) -> None:
        """Keep a memory, in place of what was kept under its id."""
        ...

    def memories(self, owner: str) -> list[Memory]:
        """All that is remembered for an owner, oldest first."""
        ...

    def drop_memories(self, owner: str, ids: Sequence[str] | None = None) -> None:
        """Delete some memories of an owner, or all."""
        ...

    def close(self) -> None:
        """Free files and connections."""
        ...
