"""The default engine: our own decode loop over a small Llama, on one CPU thread.

What makes it quick at this size: a key-value cache of fixed size, forced ids fed together in one pass, logits only for
allowed ids, few operations per layer (norm weights folded into the matrices, rotations as complex products), and
bf16 products where many tokens are read at once.
Legend: N tokens fed, P tokens before them, D width, H heads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from visavis.agent.engine import CancelToken, Constraint, Floats, Ids, Sampling
from visavis.agent.llama import EPSILON, Llama, _Layer, rotary
from visavis.errors import TokenError
from visavis.tokenizers.vocabulary import JointVocabulary, default_folder

__all__ = ["EmbeddedEngine"]

# Products of so many tokens or more run in bf16, which has matrix units on current CPUs; fewer are bound by memory.
MANY: Final = 24
# Gathering more rows of the embedding than this costs more than the logits of all.
FEW: Final = 1024


class EmbeddedEngine:
    """Runs a `Llama` in this process. Not for use by two threads at once.

    Args:
        model: trained weights.
        vocabulary: its ids.
        exact: never use bf16 products.
    """

    def __init__(self, model: Llama, vocabulary: JointVocabulary, exact: bool = False) -> None:
        if model.config.vocabulary != vocabulary.size:
            raise TokenError(
                f"expected a model of {vocabulary.size} ids, as its vocabulary; got {model.config.vocabulary}: "
                "use the vocabulary that was saved beside the model"
            )
        self.vocabulary, self.context = vocabulary, model.config.context
        self._decoder = _Decoder(model, exact)

    @classmethod
    def load(cls, folder: str | Path | None = None, exact: bool = False) -> EmbeddedEngine:
        """The engine of a folder that training wrote; None for the shipped planner."""
        folder = Path(folder) if folder is not None else default_folder()
        return cls(Llama.load(folder), JointVocabulary.load(folder), exact)

    def generate(
        self,
        prompt: Sequence[int],
        constraint: Constraint | None = None,
        *,
        sampling: Sampling | None = None,
        stop: Collection[int] = (),
        limit: int = 256,
        cancel: CancelToken | None = None,
    ) -> Iterator[int]:
        """Yield ids one by one (see `Engine.generate`). The prompt must leave room in the context."""
        self._check(prompt)
        if len(prompt) >= self.context:
            raise TokenError(f"expected a prompt below {self.context} ids, got {len(prompt)}: shorten it")
        sampling = sampling or Sampling()
        rng = np.random.default_rng(sampling.seed)
        cache = _Cache(self._decoder)
        pending = list(prompt)
        limit = min(limit, self.context - len(prompt))
        for _ in range(limit):
            if cancel is not None and cancel.cancelled:
                return
            ids = constraint.allowed() if constraint is not None else None
            if ids is not None and len(ids) == 0:
                return
            if ids is not None and len(ids) == 1:
                chosen = int(ids[0])
            else:
                state = self._decoder.feed(cache, pending)[-1]
                pending = []
                logits = self._decoder.logits(state, ids)
                if constraint is not None:
                    logits = constraint.weigh(np.arange(len(logits)) if ids is None else ids, logits)
                place = _choose(logits, sampling, rng)
                chosen = place if ids is None else int(ids[place])
            pending.append(chosen)
            if constraint is not None:
                constraint.accept(chosen)
            yield chosen
            if chosen in stop:
                return

    def score(self, prompt: Sequence[int], continuation: Sequence[int]) -> Floats:
        """(len(continuation),) log-probability of each id given all before it."""
        self._check([*prompt, *continuation])
        if not continuation:
            return np.zeros(0, np.float32)
        ids = [*prompt, *continuation][:-1]
        if not prompt or len(ids) > self.context:
            raise TokenError(f"expected 1 to {self.context} ids before the last; got {len(ids)}")
        states = self._decoder.feed(_Cache(self._decoder), ids)[len(prompt) - 1 :]
        with torch.inference_mode():
            logs = torch.log_softmax(F.linear(states, self._decoder.embedding), dim=-1)
            wanted = torch.tensor(list(continuation))[:, None]
            return cast(Floats, logs.gather(1, wanted)[:, 0].numpy())

    def _check(self, ids: Sequence[int]) -> None:
        if any(not 0 <= id_ < self.vocabulary.size for id_ in ids):
            raise TokenError(f"expected ids below {self.vocabulary.size}: were they made by another vocabulary?")


class _Cache:
    """Keys and values so far: (2, layers, H, context, D/H) float32, and how many are set."""

    def __init__(self, decoder: _Decoder) -> None:
        config = decoder.config
        shape = (2, config.layers, config.heads, config.context, config.head_width)
        self.values, self.used = torch.empty(shape), 0


class _Matrix:
    """(out, in) weights; products in float32 for few rows, in bf16 for many."""

    def __init__(self, weight: Tensor, exact: bool) -> None:
        self.weight = weight.contiguous()
        self.half = None if exact else self.weight.bfloat16()

    def __call__(self, x: Tensor) -> Tensor:
        if self.half is not None and len(x) >= MANY:
            return F.linear(x.bfloat16(), self.half).float()
        return F.linear(x, self.weight)


class _Decoder:
    """The forward pass from a cache."""

    def __init__(self, model: Llama, exact: bool) -> None:
        config = self.config = model.config
        with torch.inference_mode():
            self.embedding = model.embedding.detach().float().clone()
            self.norm = model.norm.detach().float().clone()
            self.layers = []
            for layer in cast("list[_Layer]", list(model.layers)):
                qkv = layer.qkv.detach() * layer.norm_attention.detach()
                width = config.width
                qkv = torch.cat([self._pairs(qkv[:width]), self._pairs(qkv[width : 2 * width]), qkv[2 * width :]])
                gate_up = layer.gate_up.detach() * layer.norm_mlp.detach()
                weights = (qkv, layer.out.detach(), gate_up, layer.down.detach())
                self.layers.append(tuple(_Matrix(weight.float(), exact) for weight in weights))
            cos, sin = rotary(config.context, config.head_width)
            self.turns = torch.complex(cos, sin)[:, None]  # (context, 1, D/H/2)

    def _pairs(self, weight: Tensor) -> Tensor:
        """Rows of q or k in the order in which the two numbers of a rotation are neighbours; scores stay the same."""
        heads, width = self.config.heads, self.config.head_width
        return weight.view(heads, 2, width // 2, -1).transpose(1, 2).reshape(heads * width, -1)

    @torch.inference_mode()
    def feed(self, cache: _Cache, ids: Sequence[int]) -> Tensor:
        """Read N ids after those in the cache → (N, D) normalised states."""
        config = self.config
        heads, each, width = config.heads, config.head_width, config.width
        count, before = len(ids), cache.used
        after = cache.used = before + count
        turns = self.turns[before:after]
        future = None
        if count > 1 and before:
            future = torch.ones(count, after, dtype=torch.bool).tril(before)
        x = self.embedding[torch.tensor(list(ids))]
        for number, (qkv, out, gate_up, down) in enumerate(self.layers):
            mixed = qkv(F.rms_norm(x, (width,), None, EPSILON))
            pairs = torch.view_as_complex(mixed[:, : 2 * width].view(count, 2 * heads, each // 2, 2))
            turned = torch.view_as_real(pairs * turns).view(count, 2, heads, each).permute(1, 2, 0, 3)
            keys, values = cache.values[0, number], cache.values[1, number]
            keys[:, before:after] = turned[1]
            values[:, before:after] = mixed[:, 2 * width :].view(count, heads, each).transpose(0, 1)
            seen = F.scaled_dot_product_attention(
                turned[0][None],
                keys[None, :, :after],
                values[None, :, :after],
                future,
                is_causal=count > 1 and not before,
            )
            x = x + out(seen[0].transpose(0, 1).reshape(count, width))
            gate, up = gate_up(F.rms_norm(x, (width,), None, EPSILON)).chunk(2, dim=-1)
            x = x + down(F.silu(gate) * up)
        return F.rms_norm(x, (width,), self.norm, EPSILON)

    @torch.inference_mode()
    def logits(self, state: Tensor, ids: Ids | None) -> Floats:
        """(D,) state → (n,) logits of `ids`, or of all."""
        if ids is None:
            rows = self.embedding
        elif len(ids) > FEW:
            return cast(Floats, (self.embedding @ state).numpy()[ids])
        elif ids[-1] - ids[0] == len(ids) - 1 and np.all(np.diff(ids) == 1):
            rows = self.embedding[int(ids[0]) : int(ids[-1]) + 1]
        else:
            rows = self.embedding[torch.from_numpy(ids)]
        return cast(Floats, (rows @ state).numpy())


def _choose(logits: Floats, sampling: Sampling, rng: np.random.Generator) -> int:
    """The place of the chosen logit."""
    if sampling.temperature <= 0:
        return int(np.argmax(logits))
    scaled = logits.astype(np.float64) / sampling.temperature
    if 0 < sampling.top_k < len(scaled):
        scaled[scaled < np.partition(scaled, -sampling.top_k)[-sampling.top_k]] = -np.inf
    weights = np.exp(scaled - scaled.max())
    return int(rng.choice(len(scaled), p=weights / weights.sum()))
