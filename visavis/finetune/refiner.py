"""Training of the refiner: pairs of corrupted decoded motion and clean motion, with the sound of the turn.

What the refiner will meet is imitated: codec error and substituted tokens come from the corpus itself, damping and
drifts in time are made here. First the timing net learns to undo drifts, then the transformer to mend motion that is in
time. Legend as in `visavis.refiner.model`.
"""

from __future__ import annotations

import csv
import functools
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from visavis.finetune.checkpoints import Checkpointer
from visavis.finetune.codec import Chain
from visavis.motion.skeleton import default_skeleton
from visavis.refiner.model import Refiner, RefinerConfig
from visavis.tokenizers.codec import PARTS

__all__ = ["RefinerBatch", "RefinerTraining", "corrupt", "drifted", "fit", "fit_timing"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RefinerTraining:
    """Settings of a run: optimiser steps of the transformer and of the timing net before it, windows per step (twice as
    many for timing), frames per window, AdamW's peak rate, seed.
    """

    steps: int = 4000
    timing_steps: int = 5000
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


def drifted(
    x: Tensor, generator: torch.Generator, parts: Sequence[int], knot: int, reach: float, share: float
) -> tuple[Tensor, Tensor]:
    """Motion out of time, and the warp that would bring it back.

    Args:
        x: (B, T, F) motion.
        generator: of the drift.
        parts: features of each part.
        knot: frames between the points at which a new drift is drawn.
        reach: the farthest drift in frames; three quarters are common to the parts, a quarter is each part's own.
        share: of the windows that drift at all.

    Returns:
        the drifted motion (B, T, F), and (B, T, P) frames: what belongs to frame t is found at t + warp.
    """
    batch, frames, _ = x.shape
    knots = frames // knot + 2
    common = torch.rand(batch, 1, knots, generator=generator) * 2 - 1
    own = torch.rand(batch, len(parts), knots, generator=generator) * 2 - 1
    drift = reach * (0.75 * common + 0.25 * own) * (torch.rand(batch, 1, 1, generator=generator) < share).float()
    drift = torch.nn.functional.interpolate(drift, size=frames, mode="linear", align_corners=True).transpose(1, 2)
    here = torch.arange(frames)[None, :, None]
    at = torch.cummax((here + drift).clamp(0, frames - 1), dim=1).values  # time stands still, but never runs back
    moved = torch.cat([_read(y, at[..., i : i + 1]) for i, y in enumerate(x.split(tuple(parts), dim=-1))], dim=-1)
    drift, back = at - here, here - at
    for _ in range(5):  # fixed point: back(t) = -drift(t + back(t))
        back = -_read(drift, here + back)
    return moved, back


def _read(x: Tensor, at: Tensor) -> Tensor:
    """(B, T, C) read at the frames (B, T, 1) or (B, T, C), between frames in proportion."""
    at = at.clamp(0, x.shape[1] - 1)
    low = at.floor().long().clamp(max=x.shape[1] - 2)
    between = at - low
    low = low.expand(-1, -1, x.shape[-1])
    return x.gather(1, low) * (1 - between) + x.gather(1, low + 1) * between


def corrupt(decoded: Tensor, generator: torch.Generator) -> Tensor:
    """What the transformer must mend beside timing: a third of the windows of (B, T, F) are damped."""
    batch = len(decoded)
    damping = torch.rand(batch, 1, 1, generator=generator) * 0.35
    damping *= (torch.rand(batch, 1, 1, generator=generator) < 0.35).float()
    slow = torch.nn.functional.avg_pool1d(decoded.transpose(1, 2), 15, 1, 7, count_include_pad=False).transpose(1, 2)
    return decoded * (1 - damping) + slow * damping


def fit_timing(
    sample: Callable[[int, int, np.random.Generator], RefinerBatch],
    refiner: Refiner,
    settings: RefinerTraining,
    checkpointer: Checkpointer | None = None,
    state: dict[str, Any] | None = None,
) -> None:
    """Teach `refiner.timing` to undo drifts of up to ±6 frames (200 ms), a new one for about every stroke.

    The language model places its beats without regard to the stress (LOG.md), so drifts are large and always there.
    """
    rng = np.random.default_rng([settings.seed, 1])
    generator = torch.Generator().manual_seed(settings.seed + 1)
    net, parts = refiner.timing, [6 * len(chain.parents) for chain in _chains()]
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.01)
    first = 0
    if state is not None:
        net.load_state_dict(state["timing"], strict=False)
        optimizer.load_state_dict(state["timing_optimizer"])
        first = state["timing_step"]
        rng = np.random.default_rng([settings.seed, 1, first])
    losses: list[float] = []
    zeros: list[float] = []
    for step in range(first, settings.timing_steps):
        share = step / settings.timing_steps
        optimizer.param_groups[0]["lr"] = 2e-3 * min(1.0, (step + 1) / 100) * (1 - 0.98 * share)
        batch = sample(2 * settings.batch, settings.window, rng)
        clean = batch.decoded if step % 2 else batch.clean
        moved, back = drifted(clean, generator, parts, 14, 6.0, 1.0)
        lively = _lively(refiner, moved)
        warp = net(moved, batch.prosody)
        loss = (torch.nn.functional.smooth_l1_loss(warp, back, reduction="none") * lively).sum() / lively.sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        zeros.append(
            float((torch.nn.functional.smooth_l1_loss(0 * back, back, reduction="none") * lively).sum() / lively.sum())
        )
        if step % 100 == 99:
            log.info("timing %d: %.3f frames left of %.3f", step + 1, np.mean(losses), np.mean(zeros))
            losses, zeros = [], []
        if checkpointer is not None and checkpointer.due():
            checkpointer.save({
                "timing": net.state_dict(), "timing_optimizer": optimizer.state_dict(), "timing_step": step + 1,
                "refiner": refiner.state_dict(),
            })  # fmt: skip


@torch.no_grad()
def _lively(refiner: Refiner, rotations: Tensor) -> Tensor:
    """(B, T, P) how fast each part's point moves, m/s, at most 0.6: where nothing moves any timing is as good."""
    points = refiner.timing.points(rotations)
    speed = (30.0 * points.diff(dim=1, append=points[:, -1:])).norm(dim=-1)
    return torch.nn.functional.avg_pool1d(speed.transpose(1, 2), 9, 1, 4).transpose(1, 2).clamp(max=0.6)


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
    rng = np.random.default_rng(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    refiner = Refiner(config)
    rest = [value for name, value in refiner.named_parameters() if not name.startswith("timing.")]
    optimizer = torch.optim.AdamW(rest, lr=settings.lr, betas=(0.9, 0.98), weight_decay=0.01)
    checkpointer = Checkpointer(folder / "checkpoint.pt")
    first = 0
    if state := checkpointer.load():
        refiner.load_state_dict(state["refiner"], strict=False)
        if "optimizer" in state:
            optimizer.load_state_dict(state["optimizer"])
            first = state["step"]
        log.info("continue at step %d", first)
    else:
        flat = sample(64, settings.window, rng).clean.flatten(0, 1)
        refiner.mean.copy_(flat.mean(0))
        # A floor, so that a bone that hardly moves is not blown up to the size of an arm.
        deviation = flat.std(0)
        refiner.scale.copy_(deviation.clamp(min=float(deviation.mean()) * 0.3))

    folder.mkdir(parents=True, exist_ok=True)
    if not first:
        fit_timing(sample, refiner, settings, checkpointer, state if state and "timing_step" in state else None)
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
        goals = [chain(x) for chain, x in _by_part(batch.clean[some])]
    loss_metres = loss_metres_speed = torch.zeros(())
    for (chain, x), goal in zip(_by_part(end[some] * refiner.scale + refiner.mean), goals, strict=True):
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


def _by_part(features: Tensor) -> list[tuple[Chain, Tensor]]:
    """Each part's chain with its (B, T, K, 6) of (B, T, F)."""
    sizes = [6 * len(chain.parents) for chain in _chains()]
    return [
        (chain, x.unflatten(-1, (-1, 6))) for chain, x in zip(_chains(), features.split(sizes, dim=-1), strict=True)
    ]
