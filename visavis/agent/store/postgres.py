"""The store for many machines: Postgres, by URL, through psycopg 3 (extra `scale`). It reconnects by itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from visavis.agent.store.sql import SqlStore
from visavis.errors import MissingExtraError, StoreError

__all__ = ["PostgresStore"]

CONNECT_S: Final = 5
STATEMENT_MS: Final = 5000


class PostgresStore(SqlStore):
    """A store in a Postgres database.

    Raises:
        MissingExtraError: psycopg is not installed.
        StoreError: the database cannot be reached; passwords are not shown.
    """

    def __init__(self, url: str) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise MissingExtraError("a store in Postgres", "scale") from error
        self._psycopg, self._url = psycopg, url
        self._connection: Any = None
        parts = urlsplit(url)
        where = f"postgresql://{parts.hostname or ''}{parts.path}"
        super().__init__(where, (psycopg.Error,), "%s", self._transaction, self._disconnect)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Any]:
        if self._connection is None or self._connection.closed or self._connection.broken:
            try:
                self._connection = self._psycopg.connect(
                    self._url, connect_timeout=CONNECT_S, options=f"-c statement_timeout={STATEMENT_MS}"
                )
            except self._psycopg.Error as error:
                kind = type(error).__name__
                raise StoreError(
                    f"expected a Postgres database at postgresql://{urlsplit(self._url).hostname or ''}; it cannot be "
                    f"reached ({kind}): is it running, and are user and password right?"
                ) from error
        with self._connection.transaction(), self._connection.cursor() as cursor:
            yield cursor

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
