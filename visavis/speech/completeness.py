"""Whether the words so far are a whole sentence: "where is the" is not, "where is the bridge" may be.

A linear score over the last words, their endings, the first word and the length, learnt from the project's own
sentences against their beginnings (`python -m visavis.evals.turn_taking --fit`). Bare words are looked at: a
recogniser's punctuation, if it has any, is its own guess. English.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["BUCKETS", "bare_words", "completeness", "word_features"]

BUCKETS = 1 << 14
_LOOKED_AT = 24  # words: of a longer text the last ones count
_FILLERS = frozenset(("um", "uh", "er", "erm", "ehm", "uhm", "hm", "hmm"))
_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")


def bare_words(text: str) -> list[str]:
    """The words in lower case, without punctuation."""
    return _WORD.findall(text.lower().replace("’", "'"))


def word_features(words: Sequence[str]) -> NDArray[np.int64]:
    """The places in a row of `BUCKETS` that are 1 for these bare words."""
    words = words[-_LOOKED_AT:]
    return np.unique([zlib.crc32(name.encode()) % BUCKETS for name in _names(words)]).astype(np.int64)


def _names(words: Sequence[str]) -> Iterator[str]:
    a, b, c = (["<"] * 3 + list(words))[-3:]
    first = " ".join(words[:2])
    length = min(len(words), 12)
    yield from (f"1 {c}", f"2 {b} {c}", f"3 {a} {b} {c}", f"b {b}", f"s3 {c[-3:]}", f"s2 {c[-2:]}", f"n {length}")
    yield from (f"f {words[0] if words else ''} {length}", f"ff {first} {min(length, 5)}", f"fl {first} {c}")
    yield f"bs {b} {c[-2:]}"
    yield f"ab {a} {b} {c[-2:]}"


@cache
def _weights() -> tuple[NDArray[np.float32], float]:
    from safetensors.numpy import load_file

    raw = load_file(Path(__file__).parent / "data" / "completeness.safetensors")
    return raw["weight"].astype(np.float32), float(raw["bias"][0])


def completeness(text: str) -> float:
    """That a speaker who pauses after these words has said all, in [0, 1]; 0 for no words and after a filler.

    Learnt where one end stands against one pause inside, and not certain even then: many sentences can go on.
    """
    words = bare_words(text)
    if not words or words[-1] in _FILLERS:  # who fills a pause holds the floor (Clark and Fox Tree 2002)
        return 0.0
    weight, bias = _weights()
    return float(1 / (1 + np.exp(-(float(weight[word_features(words)].sum()) + bias))))
