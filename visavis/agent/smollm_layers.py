"""The layers of SmolLM2 over whole sequences, with changes merged into their matrices, or beside them.

They run as this processor is quickest: rounded to bytes where it has units for that (`visavis.agent.matrices`). As they
are, a few numbers of a state are many times as large as the others, and what is rounded by the greatest loses the rest.
So states, values and hidden units are turned, 64 numbers at a time, by a Hadamard matrix, which spreads what is large
over all of them, and all matrices are turned against that; the result is the same (Ashkboos et al. 2024, QuaRot).

Legend: B lines, T ids, F texts to judge, D width.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from visavis.agent import smollm
from visavis.agent.matrices import ByteMatrix, Matrix, has_bf16_units, has_byte_units
from visavis.agent.smollm import HEAD_WIDTH, HEADS, KEYS, NORMS, PARTS, SHAPES, WIDTH, SmolLM

__all__ = ["ByteLayers", "Layers", "PackedLayers", "checked_changes", "layers_of"]

LOADERS: Final = 2  # threads; packing is most of what loading takes
BLOCK: Final = HEAD_WIDTH  # numbers that are turned together; a head's values stay its own


def turns_of(count: int) -> Tensor:
    """(T, 1, HEAD_WIDTH / 2) complex rotations of the first T places (RoPE, Su et al. 2021)."""
    speeds = smollm.THETA ** (-torch.arange(0, HEAD_WIDTH, 2, dtype=torch.float64) / HEAD_WIDTH)
    angles = torch.outer(torch.arange(count, dtype=torch.float64), speeds)
    return torch.polar(torch.ones_like(angles), angles).to(torch.complex64)[:, None]


class Layers(ABC):
    """The decoder's layers over whole sequences. `linear(x, layer, part)` is one of its products.

    Args:
        norms: (D,) each, by (layer, name); none where the matrices hold them.
    """

    def __init__(self, norms: Mapping[tuple[int, str], Tensor]) -> None:
        self.norms = norms
        self._beside: dict[tuple[int, str], tuple[Tensor, Tensor]] = {}

    @abstractmethod
    def linear(self, x: Tensor, layer: int, part: str) -> Tensor:
        """(B, T, in) → (B, T, out)."""

    def beside(self, changes: Mapping[str, Tensor]) -> Self:
        """The same layers, whose matrices stay as they are, with these changes beside them: a few more products, and
        hardly any memory.

        Args:
            changes: `layers.N.PART.down` (r, in) and `.up` (out, r), as `checked_changes` has them.
        """
        out = copy.copy(self)
        out._beside = {}
        for name in changes:
            if name.endswith(".down"):
                _, number, part, _ = name.split(".")
                up = changes[f"layers.{number}.{part}.up"]
                out._beside[int(number), part] = self._as_taken(changes[name], up, int(number), part)
        return out

    def _as_taken(self, down: Tensor, up: Tensor, layer: int, part: str) -> tuple[Tensor, Tensor]:
        """Changes of a matrix, for what these layers give to it and take from it."""
        return down.float(), up.float()

    def _through(self, x: Tensor, layer: int, part: str) -> Tensor:
        """A product, with what stands beside its matrix."""
        out = self.linear(x, layer, part)
        if (layer, part) not in self._beside:
            return out
        down, up = self._beside[layer, part]
        return out + F.linear(F.linear(x.float(), down), up)

    def run(self, x: Tensor, layers: range, ends: Tensor | None = None) -> Tensor:
        """(B, T, D) float32 states before the first of `layers` → those after the last.

        With `ends` (B, F) only those at these places come out, (B, F, D). Padding stands at the end of a line.
        """
        turns = turns_of(x.shape[1]).to(x.device)
        for layer in layers:
            y = F.rms_norm(x, (WIDTH,), self.norms.get((layer, "attention")), smollm.EPSILON)
            mixed = self._attend(self._through(y, layer, "qkv").float(), turns)
            if ends is not None and layer == layers[-1]:
                place = ends[..., None].expand(-1, -1, WIDTH)
                x, mixed = x.gather(1, place), mixed.gather(1, place)
            x = x + self._through(mixed, layer, "out")
            y = F.rms_norm(x, (WIDTH,), self.norms.get((layer, "mlp")), smollm.EPSILON)
            gate, up = self._through(y, layer, "gate_up").chunk(2, dim=-1)
            x = x + self._through(F.silu(gate) * up, layer, "down")
        return x

    def _attend(self, qkv: Tensor, turns: Tensor) -> Tensor:
        """Causal attention of (B, T, (HEADS + 2 KEYS) HEAD_WIDTH) → (B, T, D)."""
        lines, count, _ = qkv.shape
        turned, values = qkv.view(lines, count, -1, HEAD_WIDTH).split([HEADS + KEYS, KEYS], dim=2)
        pairs = torch.view_as_complex(turned.reshape(lines, count, HEADS + KEYS, -1, 2))
        queries, keys = torch.view_as_real(pairs * turns).flatten(-2).split([HEADS, KEYS], dim=2)
        q, k, v = (part.transpose(1, 2) for part in (queries, keys, values))
        k, v = (part.repeat_interleave(HEADS // KEYS, dim=1) for part in (k, v))
        return self.attention(q, k, v).transpose(1, 2).reshape(lines, count, WIDTH)

    def attention(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(B, HEADS, T, HEAD_WIDTH) each."""
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class PackedLayers(Layers):
    """The layers in bf16 or float32.

    Args:
        base: the decoder's file.
        changes: `layers.N.PART.down` (r, in) and `.up` (out, r) of the matrices that are changed.
        count: how many layers, from the first.
    """

    def __init__(self, base: SmolLM, changes: Mapping[str, Tensor], count: int) -> None:
        super().__init__({(layer, name): base.norm(layer, name) for layer in range(count) for name in NORMS})
        exact = not has_bf16_units()
        self.matrices = {place: Matrix(_merged(base, changes, place), exact) for place in _places(count)}

    def linear(self, x: Tensor, layer: int, part: str) -> Tensor:
        """As `Layers.linear`."""
        return self.matrices[layer, part](x.flatten(0, 1)).unflatten(0, x.shape[:2])


class ByteLayers(Layers):
    """The layers in bytes; what they take and give is as without. Arguments as of `PackedLayers`."""

    def __init__(self, base: SmolLM, changes: Mapping[str, Tensor], count: int) -> None:
        super().__init__({})
        self.base = base

        def packed(place: tuple[int, str]) -> ByteMatrix:
            return ByteMatrix(_against(_merged(base, changes, place), place[1], base, place[0]))

        places = _places(count)
        with ThreadPoolExecutor(LOADERS) as pool:
            self.matrices = dict(zip(places, pool.map(packed, places), strict=True))

    def run(self, x: Tensor, layers: range, ends: Tensor | None = None) -> Tensor:
        """As `Layers.run`."""
        return _turned(super().run(_turned(x), layers, ends))  # turned twice is as it was

    def linear(self, x: Tensor, layer: int, part: str) -> Tensor:
        """As `Layers.linear`, from turned states to turned states."""
        rows = x.flatten(0, 1)
        return self.matrices[layer, part](_turned(rows) if part == "down" else rows).unflatten(0, x.shape[:2])

    def _as_taken(self, down: Tensor, up: Tensor, layer: int, part: str) -> tuple[Tensor, Tensor]:
        """As `Layers._as_taken`; hidden units are turned by `linear` itself."""
        return down.float() if part == "down" else _taking(down.float(), part, self.base, layer), _giving(
            up.float(), part
        )


def checked_changes(weights: Mapping[str, Tensor], layers: range) -> dict[str, Tensor]:
    """`layers.N.PART.down` (r, in) and `.up` (out, r) of every matrix of these layers, out of some weights.

    Raises:
        ValueError: one is missing, has another shape or holds what is no number.
    """
    out = {}
    for layer in layers:
        for part, (rows, columns) in SHAPES.items():
            name = f"layers.{layer}.{part}"
            down, up = (weights.get(f"{name}.{side}") for side in ("down", "up"))
            if down is None or up is None:
                raise ValueError(f"changes of {name} are missing")
            if down.ndim != 2 or down.shape[1] != columns or tuple(up.shape) != (rows, len(down)):
                raise ValueError(
                    f"changes of {name} must be (r, {columns}) and ({rows}, r); got {tuple(down.shape)} and "
                    f"{tuple(up.shape)}"
                )
            if not (down.isfinite().all() and up.isfinite().all()):
                raise ValueError(f"changes of {name} must be numbers; some are not")
            out[f"{name}.down"], out[f"{name}.up"] = down, up
    return out


def layers_of(base: SmolLM, changes: Mapping[str, Tensor], count: int) -> Layers:
    """The first layers with their changes, as this processor runs them fastest."""
    return (ByteLayers if has_byte_units() else PackedLayers)(base, changes, count)


def _places(count: int) -> list[tuple[int, str]]:
    """(layer, part) of every matrix."""
    return [(layer, part) for layer in range(count) for part in PARTS]


def _merged(base: SmolLM, changes: Mapping[str, Tensor], place: tuple[int, str]) -> Tensor:
    """(out, in) float32: a matrix with its changes, if it has any."""
    layer, part = place
    matrix, name = base.matrix(layer, part).float(), f"layers.{layer}.{part}"
    return matrix.addmm_(changes[f"{name}.up"], changes[f"{name}.down"]) if f"{name}.up" in changes else matrix


def _hadamard() -> Tensor:
    """(BLOCK, BLOCK), symmetric and its own inverse."""
    out = torch.ones(1, 1)
    while len(out) < BLOCK:
        out = torch.cat([torch.cat([out, out], 1), torch.cat([out, -out], 1)])
    return out / BLOCK**0.5


_HADAMARD: Final = _hadamard()


def _turned(x: Tensor) -> Tensor:
    """(..., a multiple of BLOCK), turned block by block."""
    return (x.unflatten(-1, (-1, BLOCK)) @ _HADAMARD).flatten(-2)


def _against(matrix: Tensor, part: str, base: SmolLM, layer: int) -> Tensor:
    """The same matrix for states, values and hidden units that are turned, with the scales of the norm before it."""
    return _giving(_taking(matrix, part, base, layer), part)


def _taking(matrix: Tensor, part: str, base: SmolLM, layer: int) -> Tensor:
    """The same matrix, which takes turned numbers, where a norm stands before it without its scales."""
    if part in ("qkv", "gate_up"):
        matrix = matrix * base.norm(layer, "attention" if part == "qkv" else "mlp")
    return _turned(matrix)


def _giving(matrix: Tensor, part: str) -> Tensor:
    """The same matrix, which gives turned values and states; queries, keys and hidden units stay as they are."""
    if part == "gate_up":
        return matrix
    plain = len(matrix) - KEYS * HEAD_WIDTH if part == "qkv" else 0
    turned = (_HADAMARD @ matrix[plain:].unflatten(0, (-1, BLOCK))).flatten(0, 1)
    return torch.cat([matrix[:plain], turned]) if plain else turned
