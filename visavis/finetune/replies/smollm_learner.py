"""SmolLM2 with low-rank changes that learn: its own matrices stand still, and no gradient of a whole one is made.

On a CPU attention is written out, because the fused one is slower there, most of all backwards; products are in bf16.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from visavis.agent.smollm import NORMS, PARTS, SHAPES, VOCABULARY, SmolLM
from visavis.agent.smollm_layers import Layers

__all__ = ["Learner", "new_changes"]


def new_changes(layers: range, rank: int, generator: torch.Generator) -> dict[str, Tensor]:
    """`layers.N.PART.down` and `.up` of these layers, which change nothing yet."""
    out: dict[str, Tensor] = {}
    for layer in layers:
        for part in PARTS:
            rows, columns = SHAPES[part]
            out[f"layers.{layer}.{part}.down"] = torch.randn(rank, columns, generator=generator) / math.sqrt(columns)
            out[f"layers.{layer}.{part}.up"] = torch.zeros(rows, rank)
    return out


class Learner(Layers):
    """The first layers, the last of which are changed.

    Args:
        base: the decoder's file.
        weights: of the changes, as of `new_changes`, and any others.
        changed: the layers that are; those before stand still, those after are not needed.
        device: where all of it is.
        under: changes that were learnt before, which stand still and are merged into the matrices.
    """

    def __init__(
        self, base: SmolLM, weights: dict[str, Tensor], changed: range, device: torch.device,
        under: Mapping[str, Tensor] | None = None,
    ) -> None:  # fmt: skip
        places = range(changed[-1] + 1)
        super().__init__({(layer, name): base.norm(layer, name).to(device) for layer in places for name in NORMS})
        self.base, self.weights, self.changed, self.device = base, weights, changed, device
        self.rows = base.rows(range(VOCABULARY)).to(device, torch.bfloat16)
        self.whole: dict[tuple[int, str], Tensor] = {}
        for layer in places:
            for part in PARTS:
                whole, name = base.matrix(layer, part), f"layers.{layer}.{part}"
                if under and f"{name}.up" in under:
                    whole = whole.float().addmm_(under[f"{name}.up"].float(), under[f"{name}.down"].float())
                self.whole[layer, part] = whole.to(device, torch.bfloat16)
        self._pieces: dict[str, list[int]] = {}

    def linear(self, x: Tensor, layer: int, part: str) -> Tensor:
        """As `Layers.linear`."""
        x = x.bfloat16()
        whole = F.linear(x, self.whole[layer, part])
        if layer not in self.changed:
            return whole
        down, up = (self.weights[f"layers.{layer}.{part}.{side}"].bfloat16() for side in ("down", "up"))
        return whole + F.linear(F.linear(x, down), up)

    def attention(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """As `Layers.attention`."""
        if self.device.type != "cpu":
            return super().attention(q.bfloat16(), k.bfloat16(), v.bfloat16())
        future = torch.full((q.shape[2], q.shape[2]), float("-inf"), dtype=torch.bfloat16).triu(1)
        scores = q.bfloat16() @ k.bfloat16().transpose(-1, -2) * q.shape[-1] ** -0.5 + future
        return scores.softmax(-1) @ v.bfloat16()

    def pieces(self, text: str) -> list[int]:
        """Ids of a text; all are remembered."""
        if text not in self._pieces:
            self._pieces[text] = self.base.pieces(text)
        return self._pieces[text]
