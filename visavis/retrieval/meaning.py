"""Meanings as vectors: MiniLM and a learned projection that brings what people say near what a gesture means.

The projection is trained on the authored utterances and meaning lines of the lexicon
(`python -m visavis.finetune.acts.train_meaning`); sentences and meaning lines share it, so anybody's new meaning line
has its place at once and no weight changes. A cosine is read as a probability by a logistic curve fitted on held-out
glosses.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from visavis.errors import FileFormatError
from visavis.retrieval.embedder import DIMENSIONS, Embedder
from visavis.retrieval.table_files import readable

__all__ = ["DEFAULT_MEANING", "Meaning"]

Array = NDArray[np.float32]

DEFAULT_MEANING: Final = Path(__file__).parent / "data" / "meaning.safetensors"


@dataclass(frozen=True, eq=False)
class Meaning:
    """The projection.

    matrix: (D, 384) float32; slope, middle: of the logistic curve over the cosine.
    """

    matrix: Array
    slope: float
    middle: float

    @staticmethod
    @functools.cache
    def default() -> Meaning:
        """The one that ships."""
        return Meaning.load(DEFAULT_MEANING)

    @property
    def dimensions(self) -> int:
        """D."""
        return int(self.matrix.shape[0])

    def project(self, vectors: Array) -> Array:
        """(N, D) of unit length from MiniLM's (N, 384)."""
        made = vectors @ self.matrix.T
        return (made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-6)).astype(np.float32)

    def vectors(self, texts: Sequence[str]) -> Array:
        """(N, D) of N texts."""
        if not texts:
            return np.zeros((0, self.dimensions), np.float32)
        return self.project(_embedder().encode(list(texts)))

    def probability(self, cosines: Array) -> Array:
        """How likely it is that what has this cosine is meant."""
        return (1.0 / (1.0 + np.exp(-self.slope * (cosines - self.middle)))).astype(np.float32)

    def save(self, path: Path) -> None:
        """Write it, the matrix as float16."""
        curve = np.array([self.slope, self.middle], np.float32)
        save_file({"matrix": self.matrix.astype(np.float16), "curve": curve}, path)

    @classmethod
    def load(cls, path: Path) -> Meaning:
        """Read what `save` wrote.

        Raises:
            FileFormatError: the file is missing or holds something else.
        """
        with readable(path, "the projection of meanings", "visavis.finetune.acts.train_meaning"):
            arrays = load_file(path)
            matrix, curve = arrays["matrix"].astype(np.float32), arrays["curve"]
        if matrix.ndim != 2 or matrix.shape[1] != DIMENSIONS or curve.shape != (2,):
            raise FileFormatError(
                f"expected a projection of {DIMENSIONS} dimensions in {path.name}, got {matrix.shape}: "
                "run `python -m visavis.finetune.acts.train_meaning`"
            )
        return cls(matrix, float(curve[0]), float(curve[1]))


@functools.cache
def _embedder() -> Embedder:
    return Embedder()
