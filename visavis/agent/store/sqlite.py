"""The default store: one SQLite file, for this user alone.

Write-ahead log with `synchronous=NORMAL`: what was written survives the death of the process. Deleted text is
overwritten (`secure_delete`), and the log is emptied after a deletion, because forgetting is a promise.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from visavis.agent.store.sql import SqlStore
from visavis.errors import StoreError

__all__ = ["SqliteStore"]

BUSY_S: Final = 2.0  # another process may hold the file so long


class SqliteStore(SqlStore):
    """A store in a file.

    Raises:
        StoreError: the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Made here, so that it is nobody else's from the first moment; what is there keeps its permissions.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"expected a file to keep conversations in; {path} cannot be used ({error})") from error
        self._connection = connection
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA secure_delete=ON")
            super().__init__(str(path), (sqlite3.Error,), "?", self._transaction, connection.close)
        except BaseException as error:
            connection.close()
            if isinstance(error, sqlite3.Error):
                raise StoreError(
                    f"expected a database of visavis in {path}; it cannot be used ({error}): move it away, or name "
                    "another with --store"
                ) from error
            raise

    def drop_turns(self, session: str, numbers: Sequence[int] | None = None) -> None:
        """See `Store`; nothing of them stays in the file."""
        super().drop_turns(session, numbers)
        self._empty_log()

    def drop_memories(self, owner: str, ids: Sequence[str] | None = None) -> None:
        """See `Store`; nothing of them stays in the file."""
        super().drop_memories(owner, ids)
        self._empty_log()

    def _empty_log(self) -> None:
        with self._lock, contextlib.suppress(sqlite3.Error):  # somebody else reads: it is emptied when they are done
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        cursor = self._connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        try:
            yield cursor
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # where the disk is full SQLite has rolled back by itself
                cursor.execute("ROLLBACK")
            raise
        else:
            cursor.execute("COMMIT")
        finally:
            cursor.close()
