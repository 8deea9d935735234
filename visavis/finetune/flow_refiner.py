"""Training of the refiner of all modes: one network, and what it is asked changes from window to window.

    confidence   1 (what the codec made of right tokens), 0 (nothing), or between, by limb and by stretch: the lower,
                 the further the given motion is warped in time, damped, and drowned in noise
    known        nothing, a lead (continue), all but an interval (in-between), all but one limb's interval (edit), or
                 nothing but keyframes: random masks of limbs, intervals and frames

Where the motion is sure the losses are those of `visavis.finetune.refiner`; where it is not, a squared error alone.
Legend as in `visavis.refiner.flow`.
"""

from __future__ import annotations

import csv
import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from visavis.finetune.checkpoints import Checkpointer
from visavis.finetune.motion_corpus import MotionCorpus
from visavis.finetune.refiner import by_part
from visavis.motion.skeleton import ARM_BONES, CORE_BONES
from visavis.refiner.flow import FlowConfig, FlowRefiner
from visavis.refiner.model import Refiner
from visavis.refiner.pose_points import LIMBS, pose_points

__all__ = ["FlowBatch", "FlowTraining", "Windows", "fit"]

log = logging.getLogger(__name__)

_EXAMPLE = 96  # frames of a clip that tells a style
_DRIFT = 9.0  # frames (300 ms) either way, at confidence 0
_DAMPING = 0.7
_FINGERS = 0.3  # weight of a finger's rotations: they are most of the features and least of what is seen


@dataclass(frozen=True)
class FlowTraining:
    """Settings of a run.

    Attributes:
        steps: optimiser steps.
        batch: windows per step.
        window: frames per window, a multiple of 4.
        lr: AdamW's peak rate; cosine to a twentieth.
        average: of the moving average of the weights, which is what is kept.
        seed: of everything random.
        seconds: where the run ends if its steps are not over, by the clock; the rate falls with whichever is nearer.
    """

    steps: int = 3000
    batch: int = 16
    window: int = 96
    lr: float = 8e-4
    average: float = 0.998
    seed: int = 0
    seconds: float = math.inf


@dataclass(frozen=True)
class FlowBatch:
    """clean and decoded (B, T, E), sound (B, T, C), heard (B,), emotion (B, 7), performer (B,), example (B, T', E)."""

    clean: Tensor
    decoded: Tensor
    sound: Tensor
    heard: Tensor
    emotion: Tensor
    performer: Tensor
    example: Tensor


class Windows:
    """Random windows of a motion corpus in the rhythm of its speech (`clean`), with what the codec made of the same
    motion without it, and examples of their performers.
    """

    def __init__(
        self, corpus: MotionCorpus, clean: NDArray[np.float16], decoded: NDArray[np.float16], performers: int
    ) -> None:
        self.corpus, self.features, self.nobody = corpus, (clean, decoded), performers
        self.points = tuple(_all_points(x) for x in self.features)
        self._by_performer: dict[int, list[int]] = defaultdict(list)
        for number, turn in enumerate(corpus.turns):
            if turn.frames >= 40:
                self._by_performer[turn.performer].append(number)

    def _rows(self, rows: NDArray[np.int64], which: int) -> Tensor:
        features = self.features[which][rows]
        return torch.from_numpy(np.concatenate([features, self.points[which][rows]], axis=-1).astype(np.float32))

    def sample(self, batch: int, frames: int, rng: np.random.Generator) -> FlowBatch:
        """`batch` windows of `frames` frames."""
        rows, turns = self.corpus.windows(batch, frames, rng)
        examples = []
        for turn in turns:
            others = self._by_performer.get(turn.performer, [0])
            other = self.corpus.turns[others[int(rng.integers(len(others)))]]
            first = other.start + int(rng.integers(max(other.frames - _EXAMPLE, 0) + 1))
            examples.append(np.minimum(first + np.arange(_EXAMPLE), other.start + other.frames - 1))
        sound = torch.from_numpy(self.corpus.prosody[rows].astype(np.float32))
        return FlowBatch(
            self._rows(rows, 0), self._rows(rows, 1), _varied(sound, rng),
            torch.tensor([float(turn.mode == "speak") for turn in turns]),
            torch.tensor([turn.felt.vector for turn in turns]),
            torch.tensor([turn.performer if turn.performer < self.nobody else self.nobody for turn in turns]),
            self._rows(np.stack(examples), 0),
        )  # fmt: skip


def _all_points(features: NDArray[np.float16]) -> NDArray[np.float16]:
    """(N, 9) of (N, 264), a piece at a time."""
    pieces = [pose_points(features[i : i + 20_000]).astype(np.float16) for i in range(0, len(features), 20_000)]
    return np.concatenate(pieces)


def _varied(sound: Tensor, rng: np.random.Generator) -> Tensor:
    """(B, T, 5) prosody as of other voices and microphones: melody, loudness and onsets scaled and noisy, stress off.

    Recordings have no exact stresses: a sixth of the windows have none, half have them a little elsewhere.
    """
    x = sound.clone()
    noise = torch.Generator().manual_seed(int(rng.integers(2**31)))
    batch, frames, _ = x.shape

    def each(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, 1, generator=noise)

    def hiss(size: float) -> Tensor:
        return torch.randn(batch, frames, generator=noise) * size * (torch.rand(batch, 1, generator=noise) < 0.5)

    spoken = (x[..., 2] > 0).float()
    x[..., 0] = (x[..., 0] * each(0.6, 1.4) + hiss(0.08)) * (x[..., 1] > 0)
    x[..., 1] = (x[..., 1] + hiss(0.05) * spoken).clamp(0, 1)
    x[..., 2] = (x[..., 2] * each(0.8, 1.1) + hiss(0.04) * spoken).clamp(0, 1)
    x[..., 3] = (x[..., 3] * each(0.6, 1.3) + hiss(0.05).abs() * spoken).clamp(0, 1)
    shift = int(rng.integers(-1, 2)) if rng.random() < 0.5 else 0
    there = (torch.rand(batch, 1, generator=noise) > 1 / 6).float()
    x[..., 4] = torch.roll(x[..., 4], shift, dims=1) * there * each(0.7, 1.0)
    return x


def _spans(batch: int, frames: int, least: int, most: int, generator: torch.Generator) -> Tensor:
    """(B, T) True in one random stretch of each window."""
    length = torch.randint(least, most + 1, (batch, 1), generator=generator)
    first = (torch.rand(batch, 1, generator=generator) * (frames - length + 1)).long()
    at = torch.arange(frames)[None]
    return (at >= first) & (at < first + length)


def _some_limbs(batch: int, generator: torch.Generator) -> Tensor:
    """(B, 1, L) True for one or two limbs of each window, mostly an arm."""
    pick = torch.multinomial(torch.tensor([0.2, 0.4, 0.4]), batch, replacement=True, generator=generator)
    chosen = torch.nn.functional.one_hot(pick, len(LIMBS)).bool()
    chosen |= torch.rand(batch, len(LIMBS), generator=generator) < 0.15
    return chosen[:, None]


def confidences(batch: int, frames: int, generator: torch.Generator) -> Tensor:
    """(B, T, L) how sure the given motion is: more than half all sure, the rest between."""
    kind = torch.rand(batch, 1, 1, generator=generator)
    one = 0.15 + 0.8 * torch.rand(batch, 1, 1, generator=generator)
    each = 0.15 + 0.8 * torch.rand(batch, 1, len(LIMBS), generator=generator)
    level = torch.where(torch.rand(batch, 1, 1, generator=generator) < 0.6, one.expand_as(each), each)
    level = level.expand(-1, frames, -1).clone()
    stroke = _spans(batch, frames, 8, frames // 2, generator)[..., None] & _some_limbs(batch, generator)
    stroke &= torch.rand(batch, 1, 1, generator=generator) < 0.5  # what a clip forces is sure
    level[stroke] = 1.0
    level = torch.nn.functional.avg_pool1d(level.transpose(1, 2), 9, 1, 4, count_include_pad=False).transpose(1, 2)
    return torch.where(kind < 0.55, torch.ones_like(level), level)


def tasks(batch: int, frames: int, patch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """What is asked of each window, by mode at random.

    Returns:
        (B, T, L) True where it is known; (B, T, L) how sure the rest is: as decoded tokens are where a window is
        refined or continued, mostly nothing where it is filled in or edited, nothing at all where it is free.
    """
    at = torch.arange(frames)[None]
    shares = torch.tensor([0.30, 0.22, 0.13, 0.14, 0.09, 0.12])
    kind = torch.multinomial(shares, batch, replacement=True, generator=generator)[:, None, None]
    lead = (at < torch.randint(2, 8 * patch + 1, (batch, 1), generator=generator))[..., None]
    gap = ~_spans(batch, frames, 4, frames * 2 // 3, generator)[..., None]
    edited = ~(_spans(batch, frames, 8, frames, generator)[..., None] & _some_limbs(batch, generator))
    keys = (torch.rand(batch, frames, generator=generator) < 2.0 / frames)[..., None]
    known = torch.zeros(batch, frames, len(LIMBS), dtype=torch.bool)
    for number, mask in enumerate((torch.zeros_like(lead), lead, gap, edited, keys)):
        known |= mask & (kind == number)
    nothing = (kind == 5) | ((kind > 1) & (torch.rand(batch, 1, 1, generator=generator) < 0.6))
    sure = confidences(batch, frames, generator)
    return known, torch.where(nothing, torch.zeros_like(sure), sure)


def corrupted(refiner: FlowRefiner, decoded: Tensor, confidence: Tensor, generator: torch.Generator) -> Tensor:
    """(B, T, E) decoded motion warped in time and damped, the more the less it is sure; untouched where it is."""
    batch, frames, width = decoded.shape
    doubt = 1 - confidence
    knots = max(3, frames // 24 + 2)
    drift = (torch.rand(batch, 1, knots, generator=generator) * 2 - 1) * _DRIFT
    drift = torch.nn.functional.interpolate(drift, size=frames, mode="linear", align_corners=True)[:, 0]
    at = (torch.arange(frames)[None, :, None] + drift[..., None] * doubt).clamp(0, frames - 1)
    low = at.floor().long().clamp(max=frames - 2)
    share = refiner.columns(at - low, width)
    index = refiner.columns(low, width)
    x = decoded.gather(1, index) * (1 - share) + decoded.gather(1, index + 1) * share
    slow = torch.nn.functional.avg_pool1d(x.transpose(1, 2), 15, 1, 7, count_include_pad=False).transpose(1, 2)
    damping = refiner.columns(doubt * torch.rand(batch, 1, 1, generator=generator) * _DAMPING, width)
    return x * (1 - damping) + slow * damping


class _Average:
    """A moving average of the weights, which forgets the noise of single steps (Polyak and Juditsky 1992)."""

    def __init__(self, refiner: FlowRefiner, decay: float) -> None:
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in refiner.state_dict().items()}

    @torch.no_grad()
    def follow(self, refiner: FlowRefiner, step: int) -> None:
        decay = min(self.decay, (step + 1) / (step + 10))  # short runs must not remember the start
        for name, value in refiner.state_dict().items():
            self.weights[name].lerp_(value, 1 - decay)


def fit(
    sample: Callable[[int, int, np.random.Generator], FlowBatch],
    folder: Path,
    config: FlowConfig | None = None,
    settings: FlowTraining | None = None,
    begin_from: Refiner | None = None,
) -> FlowRefiner:
    """Train a refiner of all modes and save it in `folder` with its curve; a checkpoint there is continued.

    Args:
        sample: (batch, frames, rng) → windows (`Windows.sample`).
        folder: where weights, curve and checkpoint go.
        config: sizes.
        settings: the run.
        begin_from: a refiner without modes whose weights are taken over first.
    """
    settings = settings or FlowTraining()
    torch.manual_seed(settings.seed)
    refiner = FlowRefiner(config)
    optimizer = torch.optim.AdamW(refiner.parameters(), lr=settings.lr, betas=(0.9, 0.98), weight_decay=0.01)
    checkpointer = Checkpointer(folder / "checkpoint.pt")
    first, spent = 0, 0.0
    state = checkpointer.load()
    if state:
        refiner.load_state_dict(state["refiner"])
        optimizer.load_state_dict(state["optimizer"])
        first, spent = state["step"], state["seconds"]
        log.info("continue at step %d after %.0f s", first, spent)
    else:
        clean = sample(400, settings.window, np.random.default_rng(settings.seed)).clean.flatten(0, 1)
        refiner.measure(clean)
        if begin_from is not None:
            refiner.begin_from(begin_from)
            refiner.measure(clean, units=False)  # in the units of what it begins from
    average = _Average(refiner, settings.average)
    if state:
        average.weights = state["average"]
    # From the step on: a run that was cut does not see the same windows again.
    rng = np.random.default_rng([settings.seed, first])
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + first)
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic() - spent

    def save(step: int) -> None:
        checkpointer.save({
            "refiner": refiner.state_dict(), "average": average.weights, "optimizer": optimizer.state_dict(),
            "step": step, "seconds": time.monotonic() - began,
        })  # fmt: skip

    step = first
    with open(folder / "curve.csv", "a", newline="") as file:
        curve = csv.writer(file)
        while step < settings.steps:
            share = max(step / settings.steps, (time.monotonic() - began) / settings.seconds)
            if share >= 1.0:
                break
            rate = settings.lr * min(1.0, (step + 1) / 100) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))
            for group in optimizer.param_groups:
                group["lr"] = rate
            batch = sample(settings.batch, settings.window, rng)
            figures = _step(refiner, optimizer, batch, generator)
            average.follow(refiner, step)
            if step % 20 == 0:
                curve.writerow([step, *(f"{value:.5f}" for value in figures.values())])
                file.flush()
                told = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
                log.info("step %d: %s (%.0f s)", step, told, time.monotonic() - began)
            step += 1
            if checkpointer.due():
                save(step)
    save(step)
    refiner.load_state_dict(average.weights)
    refiner.eval().save(folder)
    return refiner


def _styles(refiner: FlowRefiner, batch: FlowBatch, generator: torch.Generator) -> Tensor:
    """(B, S): a third by label, a third by example, a third of nobody."""
    kind = torch.randint(0, 3, (len(batch.performer),), generator=generator)
    nobody = refiner.config.performers
    named = refiner.style_named(torch.where(kind == 0, batch.performer, torch.full_like(batch.performer, nobody)))
    shown = refiner.style_of(refiner.normalised(batch.example))
    return torch.where((kind == 1)[:, None], shown, named)


def _importance() -> Tensor:
    """(F,) weight of a feature in the losses on rotations."""
    arm = [1.0] * 24 + [_FINGERS] * (6 * len(ARM_BONES) - 24)
    return torch.tensor([1.0] * (6 * len(CORE_BONES)) + arm + arm)


def _step(
    refiner: FlowRefiner, optimizer: torch.optim.Optimizer, batch: FlowBatch, generator: torch.Generator
) -> dict[str, float]:
    c = refiner.config
    clean_seen, decoded = refiner.normalised(batch.clean), refiner.normalised(batch.decoded)
    size, frames, _ = clean_seen.shape
    clean = clean_seen[..., : c.features]
    known, sure = tasks(size, frames, c.patch, generator)
    given = corrupted(refiner, decoded, sure, generator)
    given = torch.where(refiner.columns(known, given.shape[-1]), clean_seen, given)
    held = known.float()
    start, seen = refiner.start(given, held, sure, refiner.noise(size, frames, generator), c.noise)
    # The few places on the path that sampling visits, and all between them.
    when = torch.rand(size, generator=generator)
    when = torch.where(torch.rand(size, generator=generator) < 0.6, (when * 8).floor() / 8, when)
    point = start + (clean - start) * when[:, None, None]
    heard = batch.heard * (torch.rand(size, generator=generator) > 0.07)
    # Half of those who continue know nothing of the sound before.
    deaf = known.all(-1) & (torch.rand(size, 1, generator=generator) < 0.5) & known[:, :1].all(-1)
    sound = batch.sound * (~deaf)[..., None]
    emotion = batch.emotion * (torch.rand(size, 1, generator=generator) > 0.07)
    style = _styles(refiner, batch, generator)
    with torch.autocast("cpu", torch.bfloat16):
        end = refiner(point, seen, held, sure, sound, heard, emotion, style, when)
    end = end.float()
    # A flow needs the mean of what may follow; absolute errors give a median that stands still. So where nothing is
    # sure errors are squared, of places and speeds alike, which have the same mean, and metres do not count.
    firm = torch.maximum(sure, held) ** 4
    weight = firm * (0.35 + 0.65 * torch.maximum(sure, 0.5 * held) * (1 - 0.6 * held))
    columns, importance = refiner.columns(firm, c.features), _importance()
    column = refiner.columns(weight, c.features) * importance
    off = end - clean
    doubt = (1 - columns) * importance
    loss_place = (columns * off.abs() * importance + 2.0 * doubt * off.pow(2)).mean()
    loss_speed = (off.diff(dim=1).abs() * column[:, 1:] + 6.0 * doubt[:, 1:] * off.diff(dim=1).pow(2)).mean()
    loss_change = (off.diff(dim=1).diff(dim=1).abs() * column[:, 2:]).mean()
    some = slice(0, max(1, size // 4))  # forward kinematics costs more than the network
    mean, scale = refiner.mean[: c.features], refiner.scale[: c.features]
    with torch.no_grad():
        goals = [chain(x) for chain, x in by_part(batch.clean[some, :, : c.features])]
    loss_metres = loss_metres_speed = torch.zeros(())
    for limb, ((chain, x), goal) in enumerate(zip(by_part(end[some] * scale + mean), goals, strict=True)):
        each = (chain.weights / chain.weights.mean()) * weight[some, :, limb, None, None]
        away = chain(x) - goal
        loss_metres = loss_metres + (away.abs() * each).mean()
        loss_metres_speed = loss_metres_speed + (away.diff(dim=1).abs() * each[:, 1:]).mean()
    loss = 0.5 * (loss_place + 3.0 * loss_speed + 2.0 * loss_change) + 8.0 * loss_metres + 40.0 * loss_metres_speed
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(refiner.parameters(), 1.0)
    optimizer.step()
    surely = (sure > 0.99).all(-1).all(-1)
    exact = off.detach().abs().mean((1, 2))
    return {
        "loss": float(loss.detach()), "sure": float(exact[surely].mean()), "unsure": float(exact[~surely].mean()),
        "metres": float(loss_metres.detach()) / len(LIMBS),
    }  # fmt: skip
