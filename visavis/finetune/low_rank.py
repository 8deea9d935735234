"""Low-rank changes of MiniLM while they are learnt (LoRA, Hu et al. 2021); `visavis.retrieval.embedder.merged` applies
them.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from visavis.retrieval.embedder import ADAPTED, Encoder

__all__ = ["Adapted", "new_changes"]


def new_changes(encoder: Encoder, rank: int, generator: torch.Generator) -> dict[str, Tensor]:
    """`LAYER.down` (rank, in) and `LAYER.up` (out, rank) of every adapted matrix, which change nothing yet."""
    out: dict[str, Tensor] = {}
    for layer in range(encoder.layers):
        for part in ADAPTED:
            name = f"encoder.layer.{layer}.{part}"
            rows, columns = encoder.weights[f"{name}.weight"].shape
            out[f"{name}.down"] = torch.randn(rank, columns, generator=generator) / math.sqrt(columns)
            out[f"{name}.up"] = torch.zeros(rows, rank)
    return out


class Adapted(Encoder):
    """MiniLM with the changes beside its matrices instead of in them: no gradient of a whole matrix is ever made.

    Attention is written out, because the fused one is slow backwards at this size. `dropout` is of what the changes
    read, while there are gradients.
    """

    def __init__(self, changes: dict[str, Tensor], dropout: float = 0.0) -> None:
        super().__init__()
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.changes, self.dropout = changes, dropout

    def _linear(self, x: Tensor, name: str) -> Tensor:
        whole = super()._linear(x, name)
        if f"{name}.down" not in self.changes:
            return whole
        x = F.dropout(x, self.dropout, training=torch.is_grad_enabled())
        return whole + F.linear(F.linear(x, self.changes[f"{name}.down"]), self.changes[f"{name}.up"])

    def _attention(self, x: Tensor, bias: Tensor, name: str) -> Tensor:
        b, t, d = x.shape
        query, key, value = (
            self._linear(x, f"{name}.self.{part}").view(b, t, self.heads, d // self.heads).transpose(1, 2)
            for part in ("query", "key", "value")
        )  # each (B, H, T, D / H)
        scores = query @ key.transpose(-1, -2) * (d // self.heads) ** -0.5 + bias  # (B, H, T, T)
        mixed = scores.softmax(-1).to(value.dtype) @ value
        return self._linear(mixed.transpose(1, 2).reshape(b, t, d), f"{name}.output.dense")
