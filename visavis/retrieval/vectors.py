"""Nearest neighbours among vectors of meaning: plain numpy to 100,000 of them, FAISS beyond where it is installed.

Both give the same answer, the greatest inner products of unit vectors, so that a library may grow past the border
without a change of results.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visavis.errors import MissingExtraError

__all__ = ["MOST_IN_NUMPY", "VectorIndex"]

Array = NDArray[np.float32]

MOST_IN_NUMPY: Final = 100_000


class VectorIndex:
    """Search among N unit vectors of D dimensions.

    Args:
        vectors: (N, D) float32 of unit length.
        most_in_numpy: with more vectors than this FAISS searches.

    Raises:
        ValueError: not a matrix.
        MissingExtraError: more vectors than numpy is trusted with, and no FAISS.
    """

    def __init__(self, vectors: Array, most_in_numpy: int = MOST_IN_NUMPY) -> None:
        if vectors.ndim != 2:
            raise ValueError(f"expected vectors (N, D); got {vectors.shape}")
        self.vectors = np.ascontiguousarray(vectors, np.float32)
        self._faiss: Any = None
        if len(vectors) > most_in_numpy:
            try:
                import faiss  # type: ignore[import-not-found,unused-ignore]
            except ImportError as error:
                raise MissingExtraError(f"a library of {len(vectors)} clips", "scale") from error
            self._faiss = faiss.IndexFlatIP(vectors.shape[1])
            self._faiss.add(self.vectors)

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, query: Array, k: int) -> tuple[NDArray[np.int64], Array]:
        """The k nearest to (D,), nearest first: their places (k,) and cosines (k,); all of them where N < k."""
        k = min(k, len(self.vectors))
        if not k:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        query = np.asarray(query, np.float32)
        if self._faiss is not None:
            cosines, places = self._faiss.search(query[None], k)
            return places[0].astype(np.int64), cosines[0]
        cosines = self.vectors @ query
        best = np.argpartition(-cosines, k - 1)[:k] if k < len(cosines) else np.arange(k)
        best = best[np.lexsort((best, -cosines[best]))]
        return best.astype(np.int64), cosines[best]
