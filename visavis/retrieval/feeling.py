"""What a text is felt as, by its meaning and by the line before it: small heads on MiniLM's sentence vectors.

    said   what the text itself says: a linear probe
    heard  what the partner's line before makes whoever answers it feel
    open   how far the text leaves it to that line: "I see." does, "I am so angry!" does not

With a line before, the logits are (1 - open) said + open heard; without one they are what is said. The probe is trained
on GoEmotions (Demszky et al. 2020), the other two on authored turns (`python -m visavis.finetune.acts.train_feeling`).
It decides nothing: a planner weighs it with what it thinks itself.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from visavis.emotion import EMOTIONS
from visavis.retrieval.embedder import DIMENSIONS, Embedder
from visavis.retrieval.heads import Shapes, load_heads, save_heads

__all__ = ["DEFAULT_FEELING", "Feeling", "Vectors"]

Array = NDArray[np.float32]

DEFAULT_FEELING: Final = Path(__file__).parent / "data" / "feeling.safetensors"


class Vectors(Protocol):
    """Texts as vectors of unit length, as `visavis.retrieval.embedder.Embedder` gives them."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(K, 384) of K texts."""


@dataclass(frozen=True, eq=False)
class Feeling:
    """The heads; E = 7 emotions in the order of `EMOTIONS`, D = 384, all float32.

    said (E, D) and said_bias (E,); heard (E, D) and heard_bias (E,); open (D,) and open_bias (1,).
    """

    said: Array
    said_bias: Array
    heard: Array
    heard_bias: Array
    open: Array
    open_bias: Array

    @staticmethod
    @functools.cache
    def default() -> Feeling:
        """The one that ships."""
        return Feeling.load(DEFAULT_FEELING)

    def log_chances(self, text: str, before: str = "", vectors: Vectors | None = None) -> Array:
        """(E,) log-probabilities that a text is felt so.

        Args:
            text: what is said; no words give what is felt most often.
            before: the partner's line before it; empty where there is none.
            vectors: of texts (default: a shared `Embedder`).
        """
        known = (vectors or _embedder()).encode([text, before] if before else [text])
        return self.weigh(known[:1], known[1:] if before else None)[0]

    def weigh(self, text: Array, before: Array | None = None) -> Array:
        """(N, E) log-probabilities for vectors of texts (N, D) and, if there are any, of lines before them (N, D)."""
        logits = text @ self.said.T + self.said_bias
        if before is not None:
            share = 0.5 + 0.5 * np.tanh((text @ self.open + self.open_bias) / 2)[:, None]  # (N, 1)
            logits = (1 - share) * logits + share * (before @ self.heard.T + self.heard_bias)
        logits = logits - logits.max(1, keepdims=True)
        return (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)

    def save(self, path: Path) -> None:
        """Write it, as float16."""
        save_heads(path, {one.name: getattr(self, one.name) for one in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Feeling:
        """Read what `save` wrote.

        Raises:
            FileFormatError: the file is missing or holds something else.
        """
        count = len(EMOTIONS)
        shapes: Shapes = {
            "said": (count, DIMENSIONS), "said_bias": (count,), "heard": (count, DIMENSIONS), "heard_bias": (count,),
            "open": (DIMENSIONS,), "open_bias": (1,),
        }  # fmt: skip
        remedy = "run `python -m visavis.finetune.acts.train_feeling`"
        return cls(**load_heads(path, shapes, what="the heads of feeling", remedy=remedy))


@functools.cache
def _embedder() -> Embedder:
    return Embedder(capacity=256)
