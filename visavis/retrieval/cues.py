"""How near each word of a sentence is in meaning to the cue words of a gesture: "chucked" is near to "throw".

Counts (`wordings`) know only words that an author wrote; this knows any, by MiniLM's vectors of single words, brought
to a few dimensions by the principal components of the cue words. Made by `python -m visavis.finetune.acts.place_cues`.
It knows no sentence, and nothing of a gesture that somebody added.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from visavis.retrieval.embedder import DIMENSIONS, Embedder
from visavis.retrieval.table_files import readable

__all__ = ["DEFAULT_CUES", "Cues"]

DEFAULT_CUES: Final = Path(__file__).parent / "data" / "cues.safetensors"
NEAREST: Final = 3  # cue words of a gesture that count for a word
STEPS: Final = 127  # of a component, in the file

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Cues:
    """The cue words. N of them, D dimensions.

    matrix: (D, 384) from MiniLM's vectors; vectors: (N, D) of unit length.
    of: for each gloss, where its cue words are.
    """

    matrix: Array
    vectors: Array
    of: Mapping[str, slice]

    @classmethod
    def place(cls, words: Mapping[str, Sequence[str]], dimensions: int) -> Self:
        """From the cue words of each gloss."""
        made = _embedder().encode([word for cues in words.values() for word in cues])
        matrix = np.linalg.svd(made, full_matrices=False)[2][:dimensions].astype(np.float16).astype(np.float32)
        return cls(
            matrix, _unit(np.round(_unit(made @ matrix.T) * STEPS)), _slices({g: len(w) for g, w in words.items()})
        )

    @staticmethod
    @functools.cache
    def default() -> Cues:
        """Those that ship, loaded once."""
        return Cues.load(DEFAULT_CUES)

    def nearness(self, text: str, gloss: str) -> Array:
        """(W,) for `text.split()`: the mean cosine of each word with the nearest cue words of a gloss; 0 for a word of
        signs alone, and everywhere for a gloss without cue words.
        """
        words = [re.sub(r"[^\w']", "", word).lower() for word in text.split()]
        out = np.zeros(len(words), np.float32)
        places = [i for i, word in enumerate(words) if word]
        if places and gloss in self.of:
            made = _unit(_embedder().encode([words[i] for i in places]) @ self.matrix.T)
            near = np.sort(made @ self.vectors[self.of[gloss]].T, axis=1)
            out[places] = near[:, -NEAREST:].mean(1)
        return out

    def save(self, path: Path) -> None:
        """Write them, a byte a component."""
        arrays: dict[str, NDArray[Any]] = {
            "matrix": self.matrix.astype(np.float16), "vectors": np.round(self.vectors * STEPS).astype(np.int8),
            "counts": np.frombuffer(
                json.dumps({gloss: part.stop - part.start for gloss, part in self.of.items()}).encode(), np.uint8
            ).copy(),
        }  # fmt: skip
        save_file(arrays, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            FileFormatError: the file is missing or holds something else.
        """
        with readable(path, "the cue words of gestures", "visavis.finetune.acts.place_cues"):
            arrays = load_file(path)
            counts = {str(gloss): int(count) for gloss, count in json.loads(arrays["counts"].tobytes()).items()}
            matrix, vectors = arrays["matrix"].astype(np.float32), arrays["vectors"].astype(np.float32)
            whole = sum(counts.values()) == len(vectors) and min(counts.values(), default=0) >= 0
            if matrix.shape != (vectors.shape[1], DIMENSIONS) or not whole:
                raise ValueError(
                    f"{matrix.shape}, {vectors.shape} and {sum(counts.values())} cues do not belong together"
                )
        return cls(matrix, _unit(vectors), _slices(counts))


def _slices(counts: Mapping[str, int]) -> dict[str, slice]:
    ends = np.cumsum(list(counts.values())).tolist()
    return {gloss: slice(end - count, end) for (gloss, count), end in zip(counts.items(), ends, strict=True)}


def _unit(vectors: Array) -> Array:
    return (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)).astype(np.float32)


@functools.cache
def _embedder() -> Embedder:
    return Embedder(capacity=16384)
