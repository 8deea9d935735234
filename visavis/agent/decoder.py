"""The forward pass of a small Llama from a cache of keys and values, for one stream of ids or for many at once.

What makes it quick at this size: matrices stay in bf16 as they are shipped, packed once for the processor's bf16
units (half the memory traffic of float32, and eight rows cost little more than one); keys, values and rotations are
one product each; buffers of fixed size; logits only for allowed ids. It knows nothing of constraints or requests.

Legend: N rows (ids fed), S slots (streams in the cache), R the longest run of ids of a stream, T places looked at,
C context, D width, H heads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from visavis.agent.engine import Floats, Ids
from visavis.agent.llama import EPSILON, Llama, _Layer, rotary

__all__ = ["Cache", "Decoder", "Matrix", "has_bf16_units"]

# Gathering more rows of the embedding than this costs more than the logits of all.
FEW: Final = 1024
# Runs of more ids than this are read alone: padding the other streams to their length would cost more.
ALONE: Final = 8

_PACKED: Final = cast(Any, torch.ops.mkldnn)


def has_bf16_units() -> bool:
    """Whether this processor multiplies bf16 natively (AVX-512 BF16 or AMX) and torch can pack matrices for that."""
    try:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return bool(native and _PACKED._is_mkldnn_bf16_supported() and _PACKED._reorder_linear_weight)
    except (AttributeError, RuntimeError):
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


class Cache:
    """Keys and values of several streams: (layers, S, C, 2 D) float32, keys first; `used[slot]` places are set."""

    def __init__(self, decoder: Decoder, slots: int = 1) -> None:
        config = decoder.config
        # Zeros, because a place that is masked still counts as weight 0 times what is there, which must be a number.
        self.values = torch.zeros(config.layers, slots, config.context, 2 * config.width)
        self.used = [0] * slots

    @property
    def slots(self) -> int:
        """How many streams fit."""
        return len(self.used)

    def grown(self, decoder: Decoder, slots: int) -> Cache:
        """A copy with room for more streams."""
        out = Cache(decoder, slots)
        out.values[:, : self.slots].copy_(self.values)
        out.used[: self.slots] = self.used
        return out

    def move(self, source: int, target: int) -> None:
        """Take what a slot holds to another one."""
        used = self.used[target] = self.used[source]
        self.values[:, target, :used] = self.values[:, source, :used]
        self.used[source] = 0


class _Ready(NamedTuple):
    """A layer as it is run; norms (D,) times the root of D."""

    norm_attention: Tensor
    norm_mlp: Tensor
    qkv: Matrix
    out: Matrix
    gate_up: Matrix
    down: Matrix


class Decoder:
    """A model, ready to be read forward.

    Args:
        model: trained weights.
        exact: products in float32. Without bf16 units they are in any case.
    """

    def __init__(self, model: Llama, exact: bool) -> None:
        config = self.config = model.config
        self.exact = exact or not has_bf16_units()
        width = config.width
        with torch.inference_mode():
            self.embedding = model.embedding.detach().float().clone()
            # A last column, the same for every id, so that the length of a row is its root mean square with epsilon.
            more = torch.full((config.vocabulary, 1), (width * EPSILON) ** 0.5)
            self._rows = torch.cat([self.embedding, more], dim=1)
            self._norm = self._scale(model.norm)
            self._layers: list[_Ready] = []
            for layer in cast("list[_Layer]", list(model.layers)):
                qkv = layer.qkv.detach()
                qkv = torch.cat([self._pairs(qkv[:width]), self._pairs(qkv[width : 2 * width]), qkv[2 * width :]])
                weights = (qkv, layer.out.detach(), layer.gate_up.detach(), layer.down.detach())
                norms = self._scale(layer.norm_attention), self._scale(layer.norm_mlp)
                self._layers.append(_Ready(*norms, *(Matrix(weight, self.exact) for weight in weights)))
            cos, sin = rotary(config.context, config.head_width)
            turns = torch.complex(cos, sin)
            # (C, 3, 1, D/H/2): queries and keys are turned, values are not.
            self._turns = torch.stack([turns, turns, torch.ones_like(turns)], dim=1)[:, :, None]

    def _scale(self, norm: Tensor) -> Tensor:
        return norm.detach().float() * self.config.width**0.5

    def _pairs(self, weight: Tensor) -> Tensor:
        """Rows of q or k in the order in which the two numbers of a rotation are neighbours; scores stay the same."""
        heads, width = self.config.heads, self.config.head_width
        return weight.view(heads, 2, width // 2, -1).transpose(1, 2).reshape(heads * width, -1)

    @torch.inference_mode()
    def feed(self, cache: Cache, ids: Sequence[int], slot: int = 0) -> Tensor:
        """Read N ids of one stream after those in its slot → (N, D) normalised states."""
        heads, each, width = self.config.heads, self.config.head_width, self.config.width
        count, before = len(ids), cache.used[slot]
        after = before + count
        future = None
        if count > 1 and before:
            future = torch.ones(count, after, dtype=torch.bool).tril(before)
        new = cache.values[:, slot, before:after].unbind(0)
        keys, values = _kept(cache.values[:, slot : slot + 1, :after], heads)

        def attend(layer: int, turned: Tensor) -> Tensor:
            new[layer].copy_(turned[:, width:])
            q = turned[:, :width].view(1, count, heads, each).transpose(1, 2)
            out = F.scaled_dot_product_attention(
                q, keys[layer], values[layer], future, is_causal=count > 1 and not before
            )
            return out.transpose(1, 2).reshape(count, width)

        states = self._read(ids, self._turns[before:after], attend)
        cache.used[slot] = after
        return states

    @torch.inference_mode()
    def feed_many(self, cache: Cache, runs: Sequence[Sequence[int]]) -> list[Tensor | None]:
        """Read a run of ids of each of the first S streams → the state (D,) after each; None for an empty run.

        A long run is read alone, the others together.
        """
        last: list[Tensor | None] = [None] * len(runs)
        together = [len(run) if len(run) <= ALONE else 0 for run in runs]
        if sum(count > 0 for count in together) == 1:
            together = [0] * len(runs)
        for slot, run in enumerate(runs):
            if run and not together[slot]:
                last[slot] = self.feed(cache, run, slot)[-1]
        if any(together):
            states = self._feed_together(cache, runs, together)
            end = 0
            for slot, count in enumerate(together):
                end += count
                if count:
                    last[slot] = states[end - 1]
        return last

    def _feed_together(self, cache: Cache, runs: Sequence[Sequence[int]], counts: Sequence[int]) -> Tensor:
        """Read short runs of several streams in one pass → (N, D) states, stream after stream.

        `counts` says how many ids of each run: all or none.
        """
        config, width = self.config, self.config.width
        slots, heads, each, longest = len(runs), config.heads, config.head_width, max(counts)
        rows = [(s, i) for s, count in enumerate(counts) for i in range(count)]  # N × (slot, place in its run)
        place = [cache.used[s] + i for s, i in rows]
        reach = max(place) + 1
        places = torch.tensor(place)
        targets = torch.tensor([s * config.context + at for (s, _), at in zip(rows, place, strict=True)])
        even = len(rows) == slots and longest == 1
        if even:
            queries = back = places  # not used
            seen = places[:, None]
        else:
            begins = [sum(counts[:s]) for s in range(slots)]
            # (S, R) which row is a stream's i-th query; repeated where its run is shorter.
            queries = torch.tensor(
                [
                    [min(b + i, b + max(c, 1) - 1, len(rows) - 1) for i in range(longest)]
                    for b, c in zip(begins, counts, strict=True)
                ]
            )
            back = torch.tensor([s * longest + i for s, i in rows])
            seen = places[queries]
        hidden = torch.zeros(slots, 1, seen.shape[1], reach)
        hidden.masked_fill_(torch.arange(reach) > seen[:, None, :, None], float("-inf"))
        flat = cache.values.view(config.layers, -1, 2 * width).unbind(0)
        keys, values = _kept(cache.values[:, :slots, :reach], heads)

        def attend(layer: int, turned: Tensor) -> Tensor:
            flat[layer].index_copy_(0, targets, turned[:, width:])
            q = turned[:, :width].view(-1, heads, each)
            q = q[:, :, None] if even else q[queries].transpose(1, 2)  # (S, H, R, D/H)
            out = F.scaled_dot_product_attention(q, keys[layer], values[layer], hidden)
            out = out.transpose(1, 2).reshape(-1, width)
            return out if even else out[back]

        states = self._read([runs[s][i] for s, i in rows], self._turns[places], attend)
        for slot, count in enumerate(counts):
            cache.used[slot] += count
        return states

    def _read(self, ids: Sequence[int], turns: Tensor, attend: Callable[[int, Tensor], Tensor]) -> Tensor:
        """The layers over N rows; `attend` (layer, turned (N, 3 D)) → (N, D) keeps keys and values, and attends."""
        width, heads, count = self.config.width, self.config.heads, len(ids)
        rows = self._rows[torch.tensor(ids)]
        x = rows[:, :width]
        for number, layer in enumerate(self._layers):
            mixed = layer.qkv(_normalised(rows, x, layer.norm_attention)).float()
            pairs = torch.view_as_complex(mixed.view(count, 3, heads, -1, 2))
            turned = torch.view_as_real(pairs.mul_(turns)).view(count, 3 * width)
            x += layer.out(attend(number, turned))
            gate, up = layer.gate_up(_normalised(rows, x, layer.norm_mlp)).chunk(2, dim=-1)
            x += layer.down(F.silu(gate).mul_(up))
        return _normalised(rows, x, self._norm)

    @torch.inference_mode()
    def logits(self, state: Tensor, ids: Ids | None) -> Floats:
        """(D,) state → (n,) logits of `ids`, or of all; in float32 always, so that near ties stay as they are."""
        if ids is None:
            rows = self.embedding
        elif len(ids) > FEW:
            return cast(Floats, (self.embedding @ state).numpy()[ids])
        elif ids[-1] - ids[0] == len(ids) - 1 and bool((ids[1:] > ids[:-1]).all()):
            rows = self.embedding[int(ids[0]) : int(ids[-1]) + 1]
        else:
            rows = self.embedding[torch.from_numpy(ids)]
        return cast(Floats, (rows @ state).numpy())


def _kept(values: Tensor, heads: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """(layers, S, T, 2 D) of a cache → keys and values of every layer, (S, H, T, D/H) each, as views."""
    split = values.unflatten(3, (2, heads, -1)).permute(3, 0, 1, 4, 2, 5)
    return split[0].unbind(0), split[1].unbind(0)


def _normalised(rows: Tensor, x: Tensor, scale: Tensor) -> Tensor:
    """RMS norm (Zhang and Sennrich 2019) of x (N, D), the first columns of rows (N, D + 1); few operations."""
    return torch.div(x, torch.linalg.vector_norm(rows, 2, 1, True)).mul_(scale)
