"""Turns and memories in two tables of an SQL database, as plain JSON; the same statements on SQLite and Postgres.

Own tables and not LangGraph's checkpointer: that one keeps where a graph stands, which is worth nothing after a crash
(sound and motion of a turn are not in it), and is written when a node ends. What must be kept here is what was *heard*,
which is known while the graph has long finished; see facts on langgraph#5672.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from typing import Any, Final

from visavis.agent.store.types import Memory, SessionNote, TurnNote
from visavis.errors import StoreError

__all__ = ["TABLES", "SqlStore"]

VERSION: Final = 1
# Names are ours alone, so that a database may hold other things too.
TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS visavis_version (version INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS visavis_turns (session TEXT NOT NULL, number INTEGER NOT NULL, owner TEXT NOT NULL,"
    " data TEXT NOT NULL, PRIMARY KEY (session, number))",
    "CREATE INDEX IF NOT EXISTS visavis_turns_owner ON visavis_turns (owner)",
    "CREATE TABLE IF NOT EXISTS visavis_memories (owner TEXT NOT NULL, id TEXT NOT NULL, place INTEGER NOT NULL,"
    " data TEXT NOT NULL, PRIMARY KEY (owner, id))",
)


class SqlStore:
    """A store over one connection.

    Args:
        where: for messages.
        failures: the exceptions of the database.
        mark: how a parameter is written.
        begin: gives a cursor inside a transaction, which ends with the block.
        shut: closes the connection.
    """

    def __init__(
        self,
        where: str,
        failures: tuple[type[Exception], ...],
        mark: str,
        begin: Callable[[], AbstractContextManager[Any]],
        shut: Callable[[], None],
    ) -> None:
        self.where = where
        self._failures, self._mark, self._begin, self._shut = failures, mark, begin, shut
        self._lock = threading.Lock()
        with self._cursor() as cursor:
            for statement in TABLES:
                cursor.execute(statement)
            cursor.execute("SELECT version FROM visavis_version")
            found = cursor.fetchone()
            if found is None:
                cursor.execute(self._sql("INSERT INTO visavis_version VALUES (?)"), (VERSION,))
            elif found[0] > VERSION:
                raise StoreError(f"expected a store of version {VERSION} in {where}; it has {found[0]}: update visavis")

    def put_turn(self, session: str, owner: str, note: TurnNote) -> None:
        """See `Store`."""
        with self._cursor() as cursor:
            cursor.execute(
                self._sql(
                    "INSERT INTO visavis_turns (session, number, owner, data) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (session, number) DO UPDATE SET owner = excluded.owner, data = excluded.data"
                ),
                (session, note.number, owner, json.dumps(asdict(note))),
            )

    def turns(self, session: str, most: int = 200) -> list[TurnNote]:
        """See `Store`."""
        with self._cursor() as cursor:
            cursor.execute(
                self._sql("SELECT data FROM visavis_turns WHERE session = ? ORDER BY number DESC LIMIT ?"),
                (session, most),
            )
            return [TurnNote(**self._read(row[0])) for row in reversed(cursor.fetchall())]

    def sessions(self, owner: str | None = None) -> list[SessionNote]:
        """See `Store`."""
        with self._cursor() as cursor:
            cursor.execute("SELECT session, owner, number, data FROM visavis_turns ORDER BY session, number")
            rows = [row for row in cursor.fetchall() if owner is None or row[1] == owner]
        counts: dict[str, SessionNote] = {}
        for session, whose, _, data in rows:
            before = counts.get(session)
            counts[session] = SessionNote(session, whose, (before.turns if before else 0) + 1, self._read(data)["at"])
        return sorted(counts.values(), key=lambda note: note.at, reverse=True)

    def drop_turns(self, session: str, numbers: Sequence[int] | None = None) -> None:
        """See `Store`."""
        with self._cursor() as cursor:
            if numbers is None:
                cursor.execute(self._sql("DELETE FROM visavis_turns WHERE session = ?"), (session,))
            for number in numbers or ():
                cursor.execute(
                    self._sql("DELETE FROM visavis_turns WHERE session = ? AND number = ?"), (session, number)
                )

    def put_memory(self, owner: str, memory: Memory) -> None:
        """See `Store`."""
        with self._cursor() as cursor:
            cursor.execute(self._sql("SELECT COALESCE(MAX(place), 0) FROM visavis_memories WHERE owner = ?"), (owner,))
            place = int(cursor.fetchone()[0]) + 1
            cursor.execute(
                self._sql(
                    "INSERT INTO visavis_memories (owner, id, place, data) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (owner, id) DO UPDATE SET data = excluded.data"
                ),
                (owner, memory.id, place, json.dumps(asdict(memory))),
            )

    def memories(self, owner: str) -> list[Memory]:
        """See `Store`."""
        with self._cursor() as cursor:
            cursor.execute(self._sql("SELECT data FROM visavis_memories WHERE owner = ? ORDER BY place"), (owner,))
            return [Memory(**self._read(row[0])) for row in cursor.fetchall()]

    def drop_memories(self, owner: str, ids: Sequence[str] | None = None) -> None:
        """See `Store`."""
        with self._cursor() as cursor:
            if ids is None:
                cursor.execute(self._sql("DELETE FROM visavis_memories WHERE owner = ?"), (owner,))
            for id_ in ids or ():
                cursor.execute(self._sql("DELETE FROM visavis_memories WHERE owner = ? AND id = ?"), (owner, id_))

    def close(self) -> None:
        """See `Store`."""
        with self._lock:
            self._shut()

    def _sql(self, statement: str) -> str:
        return statement.replace("?", self._mark)

    def _read(self, data: str) -> dict[str, Any]:
        try:
            read = json.loads(data)
        except ValueError as error:
            raise StoreError(f"{self.where} holds something that visavis did not write: move it away") from error
        assert isinstance(read, dict), "a note is an object"
        return read

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        """A cursor inside a transaction; what the database says becomes one clear error."""
        with self._lock:
            try:
                with self._begin() as cursor:
                    yield cursor
            except self._failures as error:
                why = " ".join(str(error).split())[:200]
                raise StoreError(
                    f"conversations cannot be kept in {self.where} ({why}): is it writable, is there room?"
                ) from error
