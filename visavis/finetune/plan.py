"""What training a base will take, before any weight is read: `visavis train planner --base … --dry-run`.

Sizes come from the base's configuration alone (a model without memory). Hours are products of this device as measured
now times a share of it that training reaches; memory is a sum of its large parts. Both are estimates, and say so.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from visavis.finetune.answer_loss import CHUNK
from visavis.finetune.expand import base_config, base_vocabulary
from visavis.finetune.gguf_base import head
from visavis.finetune.lora import LoraTraining, adapt, trained_share
from visavis.tokenizers.codec import FIVE_PARTS

__all__ = ["Plan", "make_plan", "measured_flops"]

# Of what a large bf16 product reaches, checkpointed layers and all around them: a usual share, not measured.
UTILISATION: Final = 0.45


@dataclass(frozen=True)
class Plan:
    """A run, estimated.

    Attributes:
        base: whose model.
        weights: of the expanded base; rows and lora: of these two, trained.
        memory_gb: on each device, at most, by what takes it.
        tokens: to read, over all devices; steps: of the optimiser, by phase.
        flops_device: products a second of one device; devices: how many.
        hours: of the run.
    """

    base: str
    weights: int
    rows: int
    lora: int
    memory_gb: dict[str, float]
    tokens: int
    steps: dict[str, int]
    flops_device: float
    device: str
    devices: int

    @property
    def share(self) -> float:
        """Of the weights that are trained."""
        return (self.rows + self.lora) / self.weights

    @property
    def hours(self) -> float:
        """Six products for every weight and token: forward, forward again, and the gradient of the states."""
        return 6 * self.weights * self.tokens / (UTILISATION * self.flops_device * self.devices) / 3600

    def __str__(self) -> str:
        memory = ", ".join(f"{name} {value:.2f}" for name, value in self.memory_gb.items())
        steps = ", ".join(f"{count:,} of {phase}" for phase, count in self.steps.items())
        return "\n".join(
            (
                f"base        {self.base}",
                f"parameters  {self.weights:,} with the new rows; trained {self.rows + self.lora:,} "
                f"({100 * self.share:.2f} %): {self.rows:,} of new rows, {self.lora:,} of LoRA",
                f"memory      about {sum(self.memory_gb.values()):.2f} GB a device: {memory}",
                f"tokens      {self.tokens:,} in steps: {steps}",
                f"hours       about {self.hours:.2f} on {self.devices} x {self.device}, whose bf16 products reach "
                f"{self.flops_device / 1e12:.2f} TFLOP/s now, {100 * UTILISATION:.0f} % of it assumed",
            )
        )


def make_plan(base: str | Path, settings: LoraTraining) -> Plan:
    """Estimate a run on the device at hand; under `accelerate launch`, on all of them."""
    from transformers import AutoModelForCausalLM

    with head(str(base)) as read:
        config = base_config(read)
        vocabulary = base_vocabulary(read, FIVE_PARTS, rows=config.vocab_size)
    config.vocab_size, config.bos_token_id, config.eos_token_id, config.pad_token_id = vocabulary.size, None, None, None
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
        width = model.get_input_embeddings().weight.shape[1]
        layers, hidden = config.num_hidden_layers, getattr(config, "intermediate_size", 4 * width)
        rows, lora, weights = trained_share(adapt(model, vocabulary, settings.rank))
    weights -= lora
    devices = int(os.environ.get("WORLD_SIZE", "1"))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU ({torch.get_num_threads()} threads)"
    table = vocabulary.size * width
    memory = _memory(weights, rows + lora, table, settings, width, layers, hidden, vocabulary.size)
    steps = {phase: settings.steps(phase, devices) for phase in ("rows", "lora")}
    return Plan(str(base), weights, rows, lora, memory, settings.tokens, steps, measured_flops(device), name, devices)


def _memory(
    weights: int, trained: int, table: int, settings: LoraTraining,
    width: int, layers: int, hidden: int, ids: int,
) -> dict[str, float]:  # fmt: skip
    """GB by part, bf16 but where said."""
    tokens = settings.blocks * settings.context
    return {
        "weights": 2 * weights / 1e9,
        "trained, float32, with gradients and Adam": 16 * trained / 1e9,
        # PEFT puts the trained rows into copies for embedding and head, whose gradients are whole too
        "tables with trained rows": 4 * 2 * table / 1e9,
        "states": 2 * tokens * (layers * width + 4 * hidden + 8 * width) / 1e9,
        "logits of a chunk": 3 * 4 * min(CHUNK, tokens) * ids / 1e9,
    }


def measured_flops(device: torch.device, size: int = 2048) -> float:
    """Floating-point operations a second of bf16 products of this size, the best of a few."""
    if device.type == "cuda":
        size *= 4
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    best = float("inf")
    for _ in range(4):
        began = time.perf_counter()
        a @ a
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best
