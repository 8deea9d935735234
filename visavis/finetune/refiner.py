"""Training of the refiner: pairs of corrupted decoded motion and clean motion, with the sound of the turn.

What the refiner will meet is imitated: codec error and substituted tokens come from the corpus itself, damping and time
warps of up to ±150 ms are made here; without them it never learns timing. Legend as in `visavis.refiner.model`.
"""

from __future__ import annotations

import csv
import functools
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from visavis.finetune.checkpoints import Checkpointer
from visavis.finetune.codec import Chain
from visavis.motion.skeleton import default_skeleton
from visavis.refiner.model import Refiner, RefinerConfig
from visavis.tokenizers.codec import PARTS

__all__ = ["RefinerBatch", "RefinerTraining", "by_part", "corrupt", "fit"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RefinerTraining:
    """Settings of a run: optimiser steps, windows per step, frames per window, AdamW's peak rate, seed."""

    steps: int = 4000
    batch: int = 24
    window: int = 96
    lr: float = 1e-3
    seed: int = 0


@dataclass(frozen=True)
class RefinerBatch:
    """clean and decoded (B, T, F) features, prosody (B, T, C), emotion (B, E)."""

    clean: Tensor
    decoded: Tensor
    prosody: Tensor
    emotion: Tensor


def corrupt(decoded: Tensor, generator: torch.Generator) -> Tensor:
    """Damp and warp (B, T, F) in time: half of the windows drift by up to ±4.5 frames (150 ms), smoothly.

    A third of them stay as decoded, so that the refiner learns to leave good input alone.
    """
    batch, frames, _ = decoded.shape
    knots = max(3, frames // 24 + 2)
    drift = (torch.rand(batch, 1, knots, generator=generator) * 2 - 1) * 4.5
    drift *= (torch.rand(batch, 1, 1, generator=generator) < 0.5).float()
    drift = torch.nn.functional.interpolate(drift, size=frames, mode="linear", align_corners=True)[:, 0]
    at = (torch.arange(frames) + drift).clamp(0, frames - 1)
    low = at.floor().long().clamp(max=frames - 2)
    share = (at - low)[..., None]
    index = low[..., None].expand(-1, -1, decoded.shape[-1])
    x = decoded.gather(1, index) * (1 - share) + decoded.gather(1, index + 1) * share
    damping = torch.rand(batch, 1, 1, generator=generator) * 0.35
    damping *= (torch.rand(batch, 1, 1, generator=generator) < 0.35).float()
    slow = torch.nn.functional.avg_pool1d(x.transpose(1, 2), 15, 1, 7, count_include_pad=False).transpose(1, 2)
    return x * (1 - damping) + slow * damping


def fit(
    sample: Callable[[int, int, np.random.Generator], RefinerBatch],
    folder: Path,
    config: RefinerConfig | None = None,
    settings: RefinerTraining | None = None,
) -> Refiner:
    """Train a refiner and save it in `folder` with its curve; a checkpoint there is continued.

    Args:
        sample: (batch, frames, rng) → windows of training motion with what was decoded of them.
        folder: where weights, curve and checkpoint go.
        config: sizes.
        settings: the run.
    """
    settings = settings or RefinerTraining()
    torch.manual_seed(settings.seed)
    refiner = Refiner(config)
    optimizer = torch.optim.AdamW(refiner.parameters(), lr=settings.lr, betas=(0.9, 0.98), weight_decay=0.01)
    checkpointer = Checkpointer(folder / "checkpoint.pt")
    first = 0
    if state := checkpointer.load():
        refiner.load_state_dict(state["refiner"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
        log.info("continue at step %d", first)
    else:
        flat = sample(64, settings.window, np.random.default_rng(settings.seed)).clean.flatten(0, 1)
        refiner.mean.copy_(flat.mean(0))
        # A floor, so that a bone that hardly moves is not blown up to the size of an arm.
        deviation = flat.std(0)
        refiner.scale.copy_(deviation.clamp(min=float(deviation.mean()) * 0.3))

    # From the step on: a run that was cut does not see the same windows again.
    rng = np.random.default_rng([settings.seed, first])
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + first)
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with open(folder / "curve.csv", "a", newline="") as file:
        curve = csv.writer(file)
        for step in range(first, settings.steps):
            share = step / settings.steps
            for group in optimizer.param_groups:
                group["lr"] = (
                    settings.lr * min(1.0, (step + 1) / 100) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))
                )
            figures = _step(refiner, optimizer, sample(settings.batch, settings.window, rng), generator)
            if step % 20 == 0:
                curve.writerow([step, *(f"{value:.5f}" for value in figures.values())])
                file.flush()
                log.info("step %d %s (%.0f s)", step, figures, time.monotonic() - began)
            if checkpointer.due():
                checkpointer.save(
                    {"refiner": refiner.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
                )
    checkpointer.save({"refiner": refiner.state_dict(), "optimizer": optimizer.state_dict(), "step": settings.steps})
    refiner.eval().save(folder)
    return refiner


def _step(
    refiner: Refiner, optimizer: torch.optim.Optimizer, batch: RefinerBatch, generator: torch.Generator
) -> dict[str, float]:
    clean = (batch.clean - refiner.mean) / refiner.scale
    decoded = corrupt((batch.decoded - refiner.mean) / refiner.scale, generator)
    size, frames, _ = clean.shape
    patch = refiner.config.patch
    # Half of the windows continue an earlier chunk of 1 to 4 patches that is known.
    lead = torch.randint(0, 5, (size,), generator=generator) * (torch.rand(size, generator=generator) < 0.5)
    known = (torch.arange(frames)[None] < patch * lead[:, None]).float()
    decoded = torch.where(known[..., None] > 0, clean, decoded)
    noise = torch.randn(clean.shape, generator=generator) * refiner.config.noise * (1 - known[..., None])
    time = torch.rand(size, generator=generator)
    start = decoded + noise
    point = start + (clean - start) * time[:, None, None]
    keep = (torch.rand(size, 1, 1, generator=generator) > 0.05).float()
    end = refiner(point, decoded, batch.prosody * keep, known, batch.emotion, time)
    free = (1 - known)[..., None]
    loss_place = ((end - clean).abs() * free).mean()
    loss_speed = ((end.diff(dim=1) - clean.diff(dim=1)).abs() * free[:, 1:]).mean()
    loss_change = (end.diff(dim=1).diff(dim=1) - clean.diff(dim=1).diff(dim=1)).abs().mean()
    # Rotations of the fingers are most of the features and least of what is seen: hands and head count in metres.
    some = slice(0, max(1, size // 4))  # forward kinematics costs more than the network
    with torch.no_grad():
        goals = [chain(x) for chain, x in by_part(batch.clean[some])]
    loss_metres = loss_metres_speed = torch.zeros(())
    for (chain, x), goal in zip(by_part(end[some] * refiner.scale + refiner.mean), goals, strict=True):
        weight = chain.weights / chain.weights.mean()
        made = chain(x)
        loss_metres = loss_metres + ((made - goal).abs() * weight * free[some, ..., None]).mean()
        loss_metres_speed = loss_metres_speed + ((made.diff(dim=1) - goal.diff(dim=1)).abs() * weight).mean()
    loss = 0.5 * (loss_place + 3.0 * loss_speed + 2.0 * loss_change) + 8.0 * loss_metres + 40.0 * loss_metres_speed
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(refiner.parameters(), 1.0)
    optimizer.step()
    before = float(((decoded - clean).abs() * free).mean())
    return {
        "loss": float(loss.detach()), "place": float(loss_place.detach()), "decoded": before,
        "metres": float(loss_metres.detach()) / 3,
    }  # fmt: skip


@functools.cache
def _chains() -> tuple[Chain, ...]:
    """Forward kinematics of the parts, the right one mirrored as it is in the features."""
    return tuple(Chain(default_skeleton(), "core" if part == "core" else "left") for part in PARTS)


def by_part(features: Tensor) -> list[tuple[Chain, Tensor]]:
    """Each part's chain with its (B, T, K, 6) of (B, T, F)."""
    sizes = [6 * len(chain.parents) for chain in _chains()]
    return [
        (chain, x.unflatten(-1, (-1, 6))) for chain, x in zip(_chains(), features.split(sizes, dim=-1), strict=True)
    ]
