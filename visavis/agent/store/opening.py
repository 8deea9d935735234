"""Stores by name: a file, a Postgres URL, or the default file in the folder of `visavis.home`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from visavis.agent.store.types import Store
from visavis.errors import UsageError
from visavis.home import home_folder

__all__ = ["FILE", "open_store"]

FILE: Final = "conversations.sqlite"


def open_store(where: str | Path | bool | None) -> Store | None:
    """Open a store.

    Args:
        where: a file, `postgresql://USER@HOST/DATABASE`, True for the default file, False or None for none.

    Raises:
        UsageError: no store has such an address.
        MissingExtraError: a Postgres URL, and psycopg is not installed.
        StoreError: it cannot be used.
    """
    if where is None or where is False:
        return None
    if where is True:
        where = home_folder() / FILE
    if not isinstance(where, str | Path):
        raise UsageError(f"expected a file, a Postgres URL or a `Store` to keep conversations in; got {where!r}")
    text = str(where)
    if text.startswith(("postgresql://", "postgres://")):
        from visavis.agent.store.postgres import PostgresStore

        return PostgresStore(text)
    if "://" in text or not text.strip():
        raise UsageError(f"expected a file or postgresql://USER@HOST/DATABASE to keep conversations in; got {text!r}")
    from visavis.agent.store.sqlite import SqliteStore

    return SqliteStore(Path(text))
