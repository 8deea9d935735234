"""Talks of visitors with all sorts of personas, to learn from: `talks.tsv`.

Some 2,100 talks of eight to eleven lines, only what the visitor says, by twenty authors (large language models) who saw
no evaluation; each line with the kinds (`visavis.agent.answering.KINDS`) whose replies would do at that place, the best
first. A talk begins with `# role | visitor`. One in eight develops and is not learnt from.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis.agent.answering import KINDS
from visavis.errors import FileFormatError
from visavis.finetune.replies.worlds import Split

__all__ = ["Visited", "shares_of", "visited"]

HELD: Final = 8
SHARES: Final = ((1.0,), (0.65, 0.35), (0.55, 0.28, 0.17))  # of the kinds of a line, the best first


@dataclass(frozen=True)
class Visited:
    """A line of a visitor, the line before (empty where there is none), and the kinds whose replies would do."""

    line: str
    before: str
    kinds: tuple[str, ...]


@functools.cache
def _talks() -> tuple[tuple[Visited, ...], ...]:
    text = (resources.files("visavis.finetune.replies") / "talks.tsv").read_text("utf-8")
    out: list[list[Visited]] = []
    for number, row in enumerate(text.splitlines(), 1):
        if row.startswith("# "):
            out.append([])
            continue
        parts = row.split("\t")
        kinds = tuple(parts[0].split(","))
        if len(parts) != 2 or not parts[1] or not out or len(kinds) > len(SHARES) or not {*kinds} <= {*KINDS}:
            raise FileFormatError(f"talks.tsv, row {number}: expected one to three kinds and a line; got {row!r}")
        out[-1].append(Visited(parts[1], out[-1][-1].line if out[-1] else "", kinds))
    return tuple(map(tuple, out))


def visited(split: Split) -> list[Visited]:
    """The lines of the talks of `train` or `dev`, in order.

    Raises:
        FileFormatError: a row of `talks.tsv` is something else.
    """
    return [
        one
        for number, talk in enumerate(_talks())
        if (split == "dev") == (number % HELD == HELD - 1)
        for one in talk
    ]  # fmt: skip


def shares_of(kinds: Sequence[str]) -> NDArray[np.float32]:
    """(K,) how much of what is wanted each of one to three kinds is; they sum to 1."""
    out = np.zeros(len(KINDS), np.float32)
    for kind, share in zip(kinds, SHARES[len(kinds) - 1], strict=True):
        out[KINDS.index(kind)] += share
    return out
