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
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from visavis.agent.recall import Meanings
from visavis.emotion import EMOTIONS
from visavis.errors import FileFormatError
from visavis.retrieval.embedder import DIMENSIONS

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
        save_file({"weight": self.weight.astype(np.float16), "bias": self.bias.astype(np.float16)}, path)

    @classmethod
    def load(cls, path: Path) -> Answering:
        """Read what `save` wrote.

        Raises:
            FileFormatError: the file is missing or holds something else.
        """
        again = "run `python -m visavis.finetune.replies.train_answering`"
        try:
            arrays = load_file(path)
            made = cls(arrays["weight"].astype(np.float32), arrays["bias"].astype(np.float32))
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            raise FileFormatError(f"expected the head of answering in {path.name}, got {error!r}: {again}") from error
        count = len(EMOTIONS)
        if made.weight.shape != (count, DIMENSIONS) or made.bias.shape != (count,):
            raise FileFormatError(
                f"expected weight ({count}, {DIMENSIONS}) and bias ({count},) in {path.name}, got "
                f"{made.weight.shape} and {made.bias.shape}: {again}"
            )
        return made
