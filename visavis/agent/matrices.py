"""Matrices as this processor multiplies them fastest: rounded to bytes, in bf16, or as they are.

Packed once, by oneDNN through torch. Where the processor has units for bytes (VNNI, AMX) a product of some hundred rows
takes little more than half as long as in bf16, and the matrix half the memory: every row of weights and every row that
comes in is rounded to whole 127ths of its own greatest magnitude (dynamic, symmetric quantisation; vector-wise, as in
Dettmers et al. 2022, LLM.int8()).
"""

from __future__ import annotations

import functools
from typing import Any, Final, cast

import torch
from torch import Tensor

__all__ = ["ByteMatrix", "Matrix", "has_bf16_units", "has_byte_units"]

_PACKED: Final = cast(Any, torch.ops.mkldnn)
_BYTES: Final = cast(Any, torch.ops.onednn)
MOST: Final = 127  # of a byte with a sign
MIDDLE: Final = 128  # what stands for 0 where it has none
LEAST: Final = 1e-12  # a row's greatest magnitude, at least


def has_bf16_units() -> bool:
    """Whether this processor multiplies bf16 natively (AVX-512 BF16 or AMX) and torch can pack matrices for that."""
    try:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return bool(native and _PACKED._is_mkldnn_bf16_supported() and _PACKED._reorder_linear_weight)
    except (AttributeError, RuntimeError):
        return False


@functools.cache
def has_byte_units() -> bool:
    """Whether it multiplies bytes natively and without overflow, and torch can pack matrices for that: it is tried."""
    try:
        if not (torch.cpu._is_vnni_supported() or torch.cpu._is_amx_tile_supported()):
            return False
        rows = torch.full((2, 64), float(MOST))
        found = ByteMatrix(torch.full((16, 64), 1.0))(rows)
        return bool(torch.allclose(found, torch.full((2, 16), 64.0 * MOST)))
    except (AttributeError, RuntimeError, TypeError):
        return False


class Matrix:
    """(out, in) weights; products in bf16 with rounded inputs, or, `exact`, in float32."""

    def __init__(self, weight: Tensor, exact: bool) -> None:
        self.packed: Tensor | None = None
        self.turned: Tensor | None = None
        if exact:
            self.turned = weight.float().t().contiguous()  # (in, out): quicker for one row than (out, in)
        else:
            self.packed = _PACKED._reorder_linear_weight(weight.bfloat16().contiguous(), 8)

    def __call__(self, x: Tensor) -> Tensor:
        """(N, in) float32 or bf16 → (N, out), float32 or bf16."""
        if self.packed is None:
            return torch.mm(x, cast(Tensor, self.turned))
        half = x if x.dtype == torch.bfloat16 else x.bfloat16()
        return cast(Tensor, _PACKED._linear_pointwise.default(half, self.packed, None, "none", [], ""))


class ByteMatrix:
    """(out, in) weights as bytes, with a scale for each row."""

    def __init__(self, weight: Tensor) -> None:
        self._scales = weight.float().abs().amax(1).clamp_min_(LEAST) / MOST
        self._zeros = torch.zeros(len(weight), dtype=torch.int64)
        self._packed = _BYTES.qlinear_prepack((weight / self._scales[:, None]).round_().to(torch.int8), None)

    def __call__(self, x: Tensor) -> Tensor:
        """(N, in) float32 → (N, out) float32."""
        scales = x.abs().amax(1, keepdim=True).clamp_min_(LEAST).div_(MOST)
        # To a byte with a sign, which is quick, and from there to one without by its highest bit.
        rows = (x / scales).round_().to(torch.int8).view(torch.uint8).bitwise_xor_(MIDDLE)
        found = _BYTES.qlinear_pointwise(
            rows, 1.0, MIDDLE, self._packed, self._scales, self._zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return cast(Tensor, found.mul_(scales))
