"""The forward pass of a small Llama from a cache of keys and values, for one stream of ids or for many at once.

What makes it quick at this size: matrices stay in bf16 as they are shipped, packed once for the processor's bf16
units (half the memory traffic of float32, and eight rows cost little more than one); keys, values and rotations are
one product each; buffers of fixed size; logits only for allowed ids. It knows nothing of constraints or requests.

Legend: N rows (ids fed), S slots (streams in the cache), R the longest run of ids of a stream, T places looked at,
C context, D width, H heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

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
        return cast(Tensor, _PACKED._linear_pointwise(half, self.packed, None, "none", [], ""))


class Cache:
    """Keys and values of several streams: (layers, S, C, 2 D) float32, keys first; `used[slot]` places are set."""

    def __init__(self, decoder: Decoder, slots: int = 1) -> None:
        config = decoder.config
        self.values = torch.empty(config.layers, slots, config.context, 2 * config.width)
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
            self.norm = model.norm.detach().float().clone()
            self.layers = []
            for layer in cast("list[_Layer]", list(model.layers)):
                qkv = layer.qkv.detach()
                qkv = torch.cat([self._pairs(qkv[:width]), self._pairs(qkv[width : 2 * width]), qkv[2 * width :]])
                norms = (layer.norm_attention.detach().float().clone(), layer.norm_mlp.detach().float().clone())
                weights = (qkv, layer.out.detach(), layer.gate_up.detach(), layer.down.detach())
                self.layers.append((*norms, *(Matrix(weight, self.exact) for weight in weights)))
            cos, sin = rotary(config.context, config.head_width)
            turns = torch.complex(cos, sin)
            # (C, 3, 1, D/H/2): queries and keys are turned, values are not.
            self.turns = torch.stack([turns, turns, torch.ones_like(turns)], dim=1)[:, :, None]

    def _pairs(self, weight: Tensor) -> Tensor:
        """Rows of q or k in the order in which the two numbers of a rotation are neighbours; scores stay the same."""
        heads, width = self.config.heads, self.config.head_width
        return weight.view(heads, 2, width // 2, -1).transpose(1, 2).reshape(heads * width, -1)

    @torch.inference_mode()
    def feed(self, cache: Cache, ids: Sequence[int], slot: int = 0) -> Tensor:
        """Read N ids of one stream after those in its slot → (N, D) normalised states."""
        count, before = len(ids), cache.used[slot]
        after = before + count
        future = None
        if count > 1 and before:
            future = torch.ones(count, after, dtype=torch.bool).tril(before)
        heads, each = self.config.heads, self.config.head_width

        def attend(turned: Tensor, kept: Tensor) -> Tensor:
            kept = kept[slot]
            kept[before:after] = turned[:, 1:].flatten(1)
            k, v = kept[:after].view(1, after, 2, heads, each).permute(2, 0, 3, 1, 4)
            q = turned[:, 0].transpose(0, 1)[None]  # (1, H, N, D/H)
            out = F.scaled_dot_product_attention(q, k, v, future, is_causal=count > 1 and not before)
            return out[0].transpose(0, 1).reshape(count, -1)

        states = self._read(cache, ids, self.turns[before:after], attend)
        cache.used[slot] = after
        return states

    @torch.inference_mode()
    def feed_many(self, cache: Cache, runs: Sequence[Sequence[int]]) -> Tensor:
        """Read a run of ids of each of the first S streams → (S, D) the state after each; an empty run's is void.

        A long run is read alone, the others together.
        """
        last = torch.zeros(len(runs), self.config.width)
        short = list(runs)
        for slot, run in enumerate(runs):
            if len(run) > ALONE:
                last[slot] = self.feed(cache, run, slot)[-1]
                short[slot] = []
        counts = [len(run) for run in short]
        if not any(counts):
            return last
        if sum(map(bool, counts)) == 1:
            slot = next(slot for slot, count in enumerate(counts) if count)
            last[slot] = self.feed(cache, short[slot], slot)[-1]
            return last
        states = self._feed_together(cache, short, counts)
        ends = torch.tensor(counts).cumsum(0) - 1
        fed = torch.tensor([slot for slot, count in enumerate(counts) if count])
        last[fed] = states[ends[fed]]
        return last

    def _feed_together(self, cache: Cache, runs: Sequence[Sequence[int]], counts: Sequence[int]) -> Tensor:
        """Read short runs of several streams in one pass → (N, D) states, stream after stream."""
        config = self.config
        slots, heads, each = len(runs), config.heads, config.head_width
        longest = max(counts)
        starts = cache.used[:slots]
        reach = max(start + count for start, count in zip(starts, counts, strict=True))
        place = [start + i for start, count in zip(starts, counts, strict=True) for i in range(count)]
        row = [slot * config.context + start + i for slot, (start, count) in enumerate(zip(starts, counts, strict=True)) for i in range(count)]
        rows, places = torch.tensor(row), torch.tensor(place)
        padded: Tensor | None = None
        if longest > 1 or min(counts) == 0:
            begin, at = 0, []
            for count in counts:
                at.append([begin + min(i, count - 1) if count else 0 for i in range(longest)])
                begin += count
            padded = torch.tensor(at)  # (S, R) which row a stream's i-th query is; repeats where its run is shorter
            back = torch.tensor([slot * longest + i for slot, count in enumerate(counts) for i in range(count)])
            seen = places[padded]
        else:
            seen = places[:, None]
        hidden = torch.zeros(slots, 1, seen.shape[1], reach)
        hidden.masked_fill_(torch.arange(reach) > seen[:, None, :, None], float("-inf"))

        def attend(turned: Tensor, kept: Tensor) -> Tensor:
            kept.view(-1, 2 * config.width).index_copy_(0, rows, turned[:, 1:].flatten(1))
            k, v = kept[:slots, :reach].view(slots, reach, 2, heads, each).permute(2, 0, 3, 1, 4)
            q = turned[:, 0]  # (N, H, D/H)
            q = q[:, :, None] if padded is None else q[padded].transpose(1, 2)  # (S, H, R, D/H)
            out = F.scaled_dot_product_attention(q, k, v, hidden).transpose(1, 2)  # (S, R, H, D/H)
            out = out.reshape(-1, config.width)
            return out if padded is None else out[back]

        ids = [id_ for run in runs for id_ in run]
        states = self._read(cache, ids, self.turns[places], attend)
        for slot, count in enumerate(counts):
            cache.used[slot] += count
        return states

    def _read(self, cache: Cache, ids: Sequence[int], turns: Tensor, attend: Any) -> Tensor:
        """The layers over N rows; `attend` (turned (N, 3, H, D/H), a layer's cache) → (N, D) does the attention."""
        width, heads, count = self.config.width, self.config.heads, len(ids)
        half = torch.float32 if self.exact else torch.bfloat16
        x = self.embedding[torch.tensor(list(ids))]
        for (norm_attention, norm_mlp, qkv, out, gate_up, down), kept in zip(self.layers, cache.values, strict=True):
            mixed = qkv(F.rms_norm(x, (width,), norm_attention, EPSILON)).float()
            pairs = torch.view_as_complex(mixed.view(count, 3, heads, -1, 2))
            turned = torch.view_as_real(pairs * turns).flatten(3)  # (N, 3, H, D/H)
            x = x + out(attend(turned, kept))
            gate, up = gate_up(F.rms_norm(x, (width,), norm_mlp, EPSILON).to(half)).chunk(2, dim=-1)
            x = x + down(F.silu(gate) * up)
        return F.rms_norm(x, (width,), self.norm, EPSILON)

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
