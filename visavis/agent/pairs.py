"""Two texts read together, as a cross-encoder reads them (Nogueira and Cho 2019): [CLS] first [SEP] second [SEP]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from visavis.retrieval.embedder import Encoder

__all__ = ["pair_batch", "unpadded"]

MAX_FIRST = 64  # pieces of the first that are read; its end
MAX_SECOND = 96


def unpadded(encoder: Encoder) -> Encoder:
    """The same encoder, for pairs: nothing is cut or padded before the pair is made."""
    encoder.tokenizer.no_truncation()
    encoder.tokenizer.no_padding()
    return encoder


def pair_batch(encoder: Encoder, pairs: Sequence[tuple[str, str]]) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask and types, (B, T) int64 each, of [CLS] first [SEP] second [SEP]."""
    tokenizer = encoder.tokenizer
    cls, sep = int(tokenizer.token_to_id("[CLS]") or 0), int(tokenizer.token_to_id("[SEP]") or 0)

    def pieces(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False).ids)

    rows = [([cls, *pieces(a)[-MAX_FIRST:], sep], [*pieces(b)[:MAX_SECOND], sep]) for a, b in pairs]
    longest = max(len(first) + len(second) for first, second in rows)
    out = np.zeros((3, len(rows), longest), np.int64)
    for i, (first, second) in enumerate(rows):
        end = len(first) + len(second)
        out[0, i, :end] = first + second
        out[1, i, :end] = 1
        out[2, i, len(first) : end] = 1
    ids, mask, types = torch.from_numpy(out)
    return ids, mask, types
