"""What is told when a shipped table cannot be read: what was expected, what came, and which command makes it anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from visavis.errors import FileFormatError

__all__ = ["readable"]


@contextmanager
def readable(path: Path, what: str, command: str) -> Iterator[None]:
    """Whatever goes wrong inside is one clear error about the file.

    Raises:
        FileFormatError: the file is missing or holds something else.
    """
    try:
        yield
    except (OSError, KeyError, ValueError, TypeError, AttributeError, IndexError, SafetensorError) as error:
        raise FileFormatError(
            f"expected {what} in {path.name}, could not read it ({error}): run `python -m {command}`"
        ) from error
