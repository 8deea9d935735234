"""The forward pass of a small Llama from a cache of keys and values, for one stream of ids or for many at once.

What makes it quick at this size: matrices stay in bf16 as they are shipped, packed once for the processor's bf16
units (half the memory traffic of float32, and eight rows cost little more than one); keys, values and rotations are
one product each; buffers of fixed size; the last layer only for the last id of a run, logits only for allowed ids. Of
many streams all rows share every product, and attention alone is padded. It knows nothing of constraints or requests.

Legend: N rows (ids fed), S slots (streams in the cache), R the longest run of ids of a stream, T places looked at,
C context, D width, H heads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from visavis.agent.engine import Floats, Ids
from visavis.agent.llama import EPSILON, Llama, _Layer, rotary
from visavis.agent.matrices import Matrix, has_bf16_units

__all__ = ["Cache", "Decoder"]

# Gathering more rows of the embedding than this costs more than the logits of all between the first and the last.
FEW: Final = 1024
# Runs of more ids than this attend alone: padding the other streams to their length would cost more.
ALONE: Final = 8
# Rows of a pass at most, if it reads more than one run: more are not quicker, and leave the processor's cache.
ROWS: Final = 160
NOTHING: Final = np.zeros(0, np.float32)


class Cache:
    """Keys and values of several streams, (layers, S, 2, H, C, D/H) float32; `used[slot]` places of each are set."""

    def __init__(self, decoder: Decoder, slots: int = 1) -> None:
        config = decoder.config
        # Zeros, because a place that is masked still counts as weight 0 times what is there, which must be a number.
        self.values = torch.zeros(config.layers, slots, 2, config.heads, config.context, config.head_width)
        self.used = [0] * slots

    @property
    def slots(self) -> int:
        """How many streams fit."""
        return len(self.used)

    def resized(self, decoder: Decoder, slots: int) -> Cache:
        """A copy with room for more streams, or for fewer."""
        out = Cache(decoder, slots)
        kept = min(slots, self.slots)
        out.values[:, :kept].copy_(self.values[:, :kept])
        out.used[:kept] = self.used[:kept]
        return out

    def move(self, source: int, target: int) -> None:
        """Take what a slot holds to another one."""
        self.take(target, self, source)
        self.used[source] = 0

    def take(self, target: int, other: Cache, source: int = 0) -> None:
        """Copy what a slot of another cache holds."""
        used = self.used[target] = other.used[source]
        self.values[:, target, :, :, :used] = other.values[:, source, :, :, :used]


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
    def feed(self, cache: Cache, ids: Sequence[int], slot: int = 0, last: bool = False) -> Tensor:
        """Read N ids of one stream after those in its slot → (N, D) normalised states; `last`: (1, D), the last's."""
        heads, each, width = self.config.heads, self.config.head_width, self.config.width
        count, before = len(ids), cache.used[slot]
        after = before + count
        future = None
        if count > 1 and before:
            future = torch.ones(count, after, dtype=torch.bool).tril(before)
        new = cache.values[:, slot, :, :, before:after].unbind(0)
        keys, values = _kept(cache.values[:, slot : slot + 1, :, :, :after])
        top = self.config.layers - 1 if last and count > 1 else None

        def attend(layer: int, turned: Tensor) -> Tensor:
            split = turned.view(count, 3, heads, each).permute(1, 2, 0, 3)
            q = split[:1]
            new[layer].copy_(split[1:])
            if layer == top:
                out = F.scaled_dot_product_attention(q[:, :, -1:], keys[layer], values[layer])
            else:
                causal = count > 1 and not before
                out = F.scaled_dot_product_attention(q, keys[layer], values[layer], future, is_causal=causal)
            return out.transpose(1, 2).reshape(-1, width)

        states = self._read(ids, self._turns[before:after], attend, None if top is None else slice(-1, None))
        cache.used[slot] = after
        return states

    @torch.inference_mode()
    def feed_many(self, cache: Cache, runs: Sequence[Sequence[int]]) -> list[Tensor | None]:
        """Read a run of ids of each of the first S streams → the state (D,) after each; None for an empty run."""
        last: list[Tensor | None] = [None] * len(runs)
        for slots in _groups(runs):
            if len(slots) == 1:
                states = self.feed(cache, runs[slots[0]], slots[0], last=True)
            else:
                states = self._feed_together(cache, runs, slots)
            for slot, state in zip(slots, states.unbind(0), strict=True):
                last[slot] = state
        return last

    def _feed_together(self, cache: Cache, runs: Sequence[Sequence[int]], slots: Sequence[int]) -> Tensor:
        """Read the runs of several slots, the shortest first, in one pass → (len(slots), D) their last states.

        Everything but attention takes all rows at once. Short runs attend together, padded to the longest of them.
        """
        config, width = self.config, self.config.width
        heads, each, top = config.heads, config.head_width, config.layers - 1
        counts = np.array([len(runs[slot]) for slot in slots])
        ends = np.cumsum(counts)
        row_slots = np.repeat(slots, counts)
        befores = np.array([cache.used[slot] for slot in slots])
        place = np.arange(ends[-1]) - np.repeat(ends - counts - befores, counts)
        planes = row_slots[:, None] * 2 * heads + np.arange(2 * heads)
        places, targets = torch.from_numpy(place), torch.from_numpy((planes * config.context + place[:, None]).ravel())
        flat = cache.values.view(config.layers, -1, each).unbind(0)
        short = int((counts <= ALONE).sum())
        short = short if short > 1 else 0
        padded = _Padded(cache, slots[:short], counts[:short], place) if short else None
        alone = []
        for slot, end, count, before in zip(slots[short:], ends[short:], counts[short:], befores[short:], strict=True):
            after = int(before + count)
            future = torch.ones(count, after, dtype=torch.bool).tril(int(before)) if before else None
            alone.append((slice(end - count, end), future, *_kept(cache.values[:, slot : slot + 1, :, :, :after])))

        def attend(layer: int, turned: Tensor) -> Tensor:
            flat[layer].index_copy_(0, targets, turned[:, width:].reshape(-1, each))
            rows = turned[:, :width].view(-1, heads, each)
            parts = [padded(rows, layer, layer == top)] if padded is not None else []
            for at, future, keys, values in alone:
                q = rows[at].transpose(0, 1)[None]
                if layer == top:
                    out = F.scaled_dot_product_attention(q[:, :, -1:], keys[layer], values[layer])
                else:
                    causal = future is None
                    out = F.scaled_dot_product_attention(q, keys[layer], values[layer], future, is_causal=causal)
                parts.append(out.transpose(1, 2).reshape(-1, width))
            return parts[0] if len(parts) == 1 else torch.cat(parts)

        kept = None if len(place) == len(slots) else torch.from_numpy(ends - 1)
        states = self._read([id_ for slot in slots for id_ in runs[slot]], self._turns[places], attend, kept)
        for slot, after in zip(slots, befores + counts, strict=True):
            cache.used[slot] = int(after)
        return states

    def _read(
        self,
        ids: Sequence[int],
        turns: Tensor,
        attend: Callable[[int, Tensor], Tensor],
        kept: Tensor | slice | None = None,
    ) -> Tensor:
        """The layers over N rows; `attend` (layer, turned (N, 3 D)) → (N, D) keeps keys and values, and attends.

        `kept`: the rows whose states are wanted. The last layer makes no others, and `attend` returns no others there.
        """
        width, heads, count = self.config.width, self.config.heads, len(ids)
        rows = self._rows[torch.tensor(ids)]
        x = rows[:, :width]
        for number, layer in enumerate(self._layers):
            mixed = layer.qkv(_normalised(rows, x, layer.norm_attention)).float()
            pairs = torch.view_as_complex(mixed.view(count, 3, heads, -1, 2))
            turned = torch.view_as_real(pairs.mul_(turns)).view(count, 3 * width)
            if kept is not None and number == len(self._layers) - 1:
                rows = rows[kept]
                x = rows[:, :width]
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
            low, end = self._ends(ids)
            return cast(Floats, (self.embedding[low:end] @ state).numpy()[ids - low])
        elif _is_range(ids):
            rows = self.embedding[int(ids[0]) : int(ids[-1]) + 1]
        else:
            rows = self.embedding[torch.from_numpy(ids)]
        return cast(Floats, (rows @ state).numpy())

    @torch.inference_mode()
    def logits_many(self, states: Sequence[Tensor], ids: Sequence[Ids | None]) -> list[Floats]:
        """`logits` of several streams; those that ask for the same range of ids, or for most, share one product."""
        out: list[Floats] = [NOTHING] * len(states)
        shared: dict[tuple[int, int], list[int]] = {}
        most: list[int] = []
        for place, (state, wanted) in enumerate(zip(states, ids, strict=True)):
            if wanted is None or len(wanted) > FEW:
                most.append(place)
            elif _is_range(wanted):
                shared.setdefault((int(wanted[0]), int(wanted[-1]) + 1), []).append(place)
            else:
                out[place] = self.logits(state, wanted)
        if most:
            ends = [self._ends(ids[place]) for place in most]
            shared.setdefault((min(low for low, _ in ends), max(high for _, high in ends)), []).extend(most)
        for (first, end), places in shared.items():
            if len(places) == 1:
                out[places[0]] = self.logits(states[places[0]], ids[places[0]])
                continue
            made = F.linear(torch.stack([states[place] for place in places]), self.embedding[first:end]).numpy()
            for row, place in zip(made, places, strict=True):
                some = ids[place]
                out[place] = row if some is None else row[some - first]
        return out

    def _ends(self, ids: Ids | None) -> tuple[int, int]:
        """The first id and the one after the last."""
        return (0, len(self.embedding)) if ids is None else (int(ids.min()), int(ids.max()) + 1)


class _Padded:
    """Attention of short runs of several slots, padded to the longest of them.

    Args:
        cache: of all streams.
        slots: with a run; counts: (len(slots),) of ids; their rows are the first of the pass, slot after slot.
        place: (N,) of each row in its stream.
    """

    def __init__(self, cache: Cache, slots: Sequence[int], counts: NDArray[np.int64], place: NDArray[np.int64]) -> None:
        low, high, longest = min(slots), max(slots) + 1, int(counts.max())
        ends, mine = np.cumsum(counts), np.array(slots) - low
        # (S, R) which row is a stream's i-th query; its last one again where its run is shorter, any without a run.
        queries = np.zeros((high - low, longest), np.int64)
        queries[mine] = np.minimum((ends - counts)[:, None] + np.arange(longest), (ends - 1)[:, None])
        seen = torch.from_numpy(place[queries])
        self._even = longest == 1 and len(slots) == high - low  # every row is the only one of its slot, in order
        within = np.arange(ends[-1]) - np.repeat(ends - counts, counts)
        self._queries = torch.from_numpy(queries)
        self._back = torch.from_numpy(np.repeat(mine, counts) * longest + within)
        self._last = torch.from_numpy(mine)
        reach = int(place[: ends[-1]].max()) + 1
        self._hidden = torch.zeros(high - low, 1, longest, reach)
        self._hidden.masked_fill_(torch.arange(reach) > seen[:, None, :, None], float("-inf"))
        self._keys, self._values = _kept(cache.values[:, low:high, :, :, :reach])

    def __call__(self, rows: Tensor, layer: int, last: bool) -> Tensor:
        """(N, H, D/H) queries → (rows of these slots, D) attended; `last`: only of the last row of each slot."""
        if self._even:
            q, hidden, back = rows[: len(self._back), :, None], self._hidden, None
        elif last:
            q, hidden, back = rows[self._queries[:, -1:]].transpose(1, 2), self._hidden[:, :, -1:], self._last
        else:
            q, hidden, back = rows[self._queries].transpose(1, 2), self._hidden, self._back
        out = F.scaled_dot_product_attention(q, self._keys[layer], self._values[layer], hidden)  # (S, H, R, D/H)
        out = out.transpose(1, 2).reshape(-1, rows.shape[1] * rows.shape[2])
        return out if back is None else out[back]


def _groups(runs: Sequence[Sequence[int]]) -> list[list[int]]:
    """The slots whose runs are read in one pass each: short runs first, no more rows than `ROWS` but for a long run."""
    groups: list[list[int]] = []
    room = 0
    for slot in sorted((slot for slot, run in enumerate(runs) if run), key=lambda slot: len(runs[slot])):
        if len(runs[slot]) > room:
            groups.append([])
            room = ROWS
        groups[-1].append(slot)
        room -= len(runs[slot])
    return groups


def _is_range(ids: Ids) -> bool:
    """Whether ids follow one another without a gap."""
    return bool(ids[-1] - ids[0] == len(ids) - 1 and (ids[1:] > ids[:-1]).all())


def _kept(values: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """(layers, S, 2, H, T, D/H) of a cache → keys and values of every layer, (S, H, T, D/H) each, as views."""
    return values[:, :, 0].unbind(0), values[:, :, 1].unbind(0)


def _normalised(rows: Tensor, x: Tensor, scale: Tensor) -> Tensor:
    """RMS norm (Zhang and Sennrich 2019) of x (N, D), the first columns of rows (N, D + 1); few operations."""
    return torch.div(x, torch.linalg.vector_norm(rows, 2, 1, True)).mul_(scale)
