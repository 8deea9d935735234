"""The loss of a base: cross-entropy of the positions to be learnt, without the logits of all ids at once.

A vocabulary of 150,000 makes the logits of 4,096 positions 2.5 GB in float32, and their gradient as much again; that
is what *Cut Your Losses* (Wijmans et al. 2024, arXiv 2411.09009) does away with. Its own kernels, and Liger's, run on
CUDA alone; PyTorch 2.13's `linear_cross_entropy` runs anywhere, but on a CPU in bf16 takes six times as long as this
and returns a sum that is 11 % off (LOG.md). So the same is done here by plain means, on any device: logits exist for a
few hundred positions at a time and are computed again in the backward pass, for about one more product. Prompts have no
logits at all.
"""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["IGNORED", "answer_loss", "head_weight", "lean"]

IGNORED: Final = -100  # the label of a position that is not to be learnt
CHUNK: Final = 512  # positions whose logits exist at the same time


def answer_loss(states: Tensor, weight: Tensor, targets: Tensor, soft_cap: float | None = None) -> Tensor:
    """Sum of the cross-entropies, in nats.

    Args:
        states: (N, D) what the head reads.
        weight: (V, D) of the head.
        targets: (N,) int64 ids in [0, V).
        soft_cap: logits become `cap * tanh(logits / cap)`, as Gemma 2 has it.
    Returns:
        () float32; 0 for N = 0, with gradients.
    """
    if not len(states):
        return states.float().sum() + 0.0 * weight[0, 0].float()
    total = states.new_zeros((), dtype=torch.float32)
    for some, wanted in zip(states.split(CHUNK), targets.split(CHUNK), strict=True):
        total = total + checkpoint(_chunk_loss, some, weight, wanted, soft_cap, use_reentrant=False)
    return total


def _chunk_loss(states: Tensor, weight: Tensor, targets: Tensor, soft_cap: float | None) -> Tensor:
    logits = F.linear(states, weight).float()
    if soft_cap is not None:
        logits = soft_cap * torch.tanh(logits / soft_cap)
    return F.cross_entropy(logits, targets, reduction="sum")


def head_weight(head: nn.Module) -> Tensor:
    """(V, D) the head's weight, with the rows that PEFT trains in their places."""
    adapter: Any = getattr(head, "token_adapter", None)
    if adapter is None or adapter.merged or adapter.disable_adapters:
        return head.weight if adapter is None else adapter.get_base_layer().weight  # type: ignore[return-value]
    return adapter.get_merged_weights(adapter.active_adapters)  # type: ignore[no-any-return]


def lean(model: Any) -> Callable[[], None]:
    """Make a causal model of transformers answer `model(input_ids=…, labels=…)` by `answer_loss` alone.

    Without labels it answers as before. Heads that scale their logits are recognised by trying: where the two losses
    of a few random positions differ, the model is left as it is.

    Returns:
        what takes the change back.
    """
    stock = model.forward
    cap = getattr(model.config, "final_logit_softcapping", None)

    def forward(
        self: Any,
        input_ids: Tensor | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: Any = None,
        **more: Any,
    ) -> Any:
        if labels is None or input_ids is None:
            return stock(input_ids=input_ids, labels=labels, **more)
        states = self.base_model(input_ids=input_ids, **more).last_hidden_state[:, :-1]  # (B, T - 1, D)
        wanted = labels[:, 1:]
        learnt = wanted != IGNORED
        weight = head_weight(self.get_output_embeddings())
        dtype = (
            torch.get_autocast_dtype(states.device.type)
            if torch.is_autocast_enabled(states.device.type)
            else weight.dtype
        )
        loss = answer_loss(states[learnt].to(dtype), weight.to(dtype), wanted[learnt], cap)
        count = num_items_in_batch if num_items_in_batch is not None else learnt.sum().clamp(min=1)
        return {"loss": loss / count}

    def restore() -> None:
        model.forward = stock

    agrees = _agrees(model, stock, types.MethodType(forward, model))
    if agrees:
        model.forward = types.MethodType(forward, model)
    return restore


@torch.no_grad()
def _agrees(model: Any, stock: Callable[..., Any], ours: Callable[..., Any]) -> bool:
    """Whether both ways give a few random positions the same loss."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(model.config.vocab_size, (2, 12), generator=generator).to(model.device)
    with _evaluating(model):
        one, other = (float(forward(input_ids=ids, labels=ids, use_cache=False)["loss"]) for forward in (stock, ours))
    return abs(one - other) < 0.01 * max(1.0, abs(one))


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _measure(way: str, positions: int = 2048, width: int = 512, ids: int = 100_000) -> None:
    """Print seconds and memory of one loss with its gradients, bf16, on this CPU (`python -m … full|torch|chunks`)."""
    import resource  # not on Windows

    torch.manual_seed(0)
    states = torch.randn(positions, width).bfloat16().requires_grad_()
    weight = (0.05 * torch.randn(ids, width)).bfloat16().requires_grad_()
    targets = torch.randint(ids, (positions,))
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    if way == "full":
        loss = F.cross_entropy(F.linear(states, weight).float(), targets, reduction="sum")
    elif way == "torch":
        options = nn.LinearCrossEntropyOptions()
        loss = F.linear_cross_entropy(states, weight, targets, reduction="sum", options=options)
    else:
        loss = answer_loss(states, weight, targets)
    loss.backward()  # type: ignore[no-untyped-call]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    nats = float(loss.detach()) / positions
    print(f"{way}: {time.process_time() - began:.1f} s of CPU, {grown / 1e6:.2f} GB, {nats:.4f} nats a position")


if __name__ == "__main__":
    _measure(sys.argv[1])
