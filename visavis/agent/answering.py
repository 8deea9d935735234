"""What a line makes whoever answers it feel: a linear head on MiniLM's sentence vector.

REPLY's model has read some eighty wordings of every kind of news, worry or insult, too few to know the next one; its
head stands on vectors that have. It decides nothing: the planner weighs it with what the model thinks.
`python -m visavis.finetune.replies.train_answering` trains it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis.agent.recall import Meanings
from visavis.emotion import EMOTIONS
from visavis.retrieval.embedder import DIMENSIONS
from visavis.retrieval.heads import load_heads, save_heads

__all__ = ["DEFAULT_ANSWERING", "Answering"]

DEFAULT_ANSWERING: Final = Path(__file__).parent / "data" / "answering.safetensors"


@dataclass(frozen=True, eq=False)
class Answering:
    """weight (E, D) and bias (E,), float32; E = 7 emotions in the order of `EMOTIONS`, D = 384."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    @staticmethod
    @functools.cache
    def default() -> Answering:
        """The one that ships."""
        return Answering.load(DEFAULT_ANSWERING)

    def log_chances(self, line: str, vectors: Meanings) -> NDArray[np.float32]:
        """(E,) log-probabilities of what whoever answers `line` feels."""
        logits = (vectors.encode([line]) @ self.weight.T + self.bias)[0]
        logits = logits - logits.max()
        return np.asarray(logits - np.log(np.exp(logits).sum()), np.float32)

    def save(self, path: Path) -> None:
        """Write it, as float16."""
        save_heads(path, {"weight": self.weight, "bias": self.bias})

    @classmethod
    def load(cls, path: Path) -> Answering:
        """Read what `save` wrote.

        Raises:
            FileFormatError: the file is missing or holds something else.
        """
        count = len(EMOTIONS)
        shapes = {"weight": (count, DIMENSIONS), "bias": (count,)}
        remedy = "run `python -m visavis.finetune.replies.train_answering`"
        return cls(**load_heads(path, shapes, what="the head of answering", remedy=remedy))
