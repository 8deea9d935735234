"""Training of the motion codec.

Losses: L1 on 6D rotations, on joint positions by forward kinematics (wrists and fingertips weigh more) and on their
velocities; commitment. The codebook starts from k-means of the encoder's outputs, follows them by exponential moving
averages (van den Oord et al. 2017, appendix A.1), and codes that nobody uses are reset to random inputs.

Legend: B batch, T frames of a window, S steps, K bones of a part, D code width.
"""

from __future__ import annotations

import csv
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from visavis.finetune.checkpoints import Checkpointer
from visavis.motion.skeleton import Skeleton, default_skeleton
from visavis.tokenizers.codec import CodecConfig, MotionCodec, PartCodec

__all__ = ["Chain", "CodecTraining", "fit", "part_positions"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CodecTraining:
    """Settings of a run.

    Attributes:
        steps: optimiser steps.
        batch: windows per step and part.
        window: frames per window, a multiple of 4.
        lr: peak learning rate of AdamW; cosine to a tenth.
        positions: weight of the position loss, per metre.
        velocity: weight of the velocity loss, per metre a frame.
        commitment: weight that ties the encoder to its codes.
        decay: of the moving averages of the codebook.
        seed: of everything random.
    """

    steps: int = 6000
    batch: int = 64
    window: int = 64
    lr: float = 1e-3
    positions: float = 5.0
    velocity: float = 10.0
    commitment: float = 0.25
    decay: float = 0.97
    seed: int = 0


def _matrices(d: Tensor) -> Tensor:
    """(..., 6) → (..., 3, 3) by Gram-Schmidt, columns."""
    x = torch.nn.functional.normalize(d[..., :3], dim=-1)
    y = d[..., 3:] - (x * d[..., 3:]).sum(-1, keepdim=True) * x
    y = torch.nn.functional.normalize(y, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y)], dim=-1)


class Chain:
    """Forward kinematics of one part: joints and tips relative to the part's own root."""

    def __init__(self, skeleton: Skeleton, part: str) -> None:
        bones = skeleton.part(part)
        place = {int(bone): i for i, bone in enumerate(bones)}
        self.parents = [place.get(int(skeleton.parents[bone]), -1) for bone in bones]
        self.offsets = torch.from_numpy(skeleton.offsets_m[bones].copy())
        if part == "core":
            self.offsets[0] = 0.0
        names = [skeleton.names[bone] for bone in bones]
        self.tips = [
            (i, torch.from_numpy(skeleton.tips_m[n].copy())) for i, n in enumerate(names) if n in skeleton.tips_m
        ]
        if part == "core":  # both shoulders, so that a turned chest costs what it moves
            chest = names.index("upperChest")
            self.tips += [(chest, torch.tensor([x, 0.12, 0.0])) for x in (-0.16, 0.16)]
        weights = [5.0 if name.endswith("Hand") else 1.0 for name in names] + [3.0] * len(self.tips)
        self.weights = torch.tensor(weights)[:, None]

    def __call__(self, d: Tensor) -> Tensor:
        """(..., K, 6) → (..., K + tips, 3) metres."""
        local = _matrices(d)
        turned: list[Tensor] = []
        places: list[Tensor] = []
        for i, parent in enumerate(self.parents):
            if parent < 0:
                turned.append(local[..., i, :, :])
                places.append(self.offsets[i].expand(*d.shape[:-2], 3))
            else:
                turned.append(turned[parent] @ local[..., i, :, :])
                places.append(places[parent] + turned[parent] @ self.offsets[i])
        places += [places[i] + turned[i] @ tip for i, tip in self.tips]
        return torch.stack(places, dim=-2)


def part_positions(features: NDArray[np.float32], part: str) -> NDArray[np.float32]:
    """(T, K * 6) features of a part → (T, K + tips, 3) metres relative to its root; `right` as mirrored left."""
    chain = Chain(default_skeleton(), "core" if part == "core" else "left")
    return chain(torch.from_numpy(features).unflatten(-1, (-1, 6))).numpy()


@torch.no_grad()
def _kmeans(z: Tensor, k: int, rounds: int = 10) -> Tensor:
    """Spherical k-means: (N, D) unit vectors → (k, D)."""
    centres = z[torch.randperm(len(z))[:k]]
    if len(centres) < k:
        centres = centres[torch.randint(len(centres), (k,))]
    for _ in range(rounds):
        nearest = (z @ centres.T).argmax(-1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, z)
        empty = torch.bincount(nearest, minlength=k) == 0
        sums[empty] = z[torch.randint(len(z), (int(empty.sum()),))]
        centres = torch.nn.functional.normalize(sums, dim=-1)
    return centres


class _Part:
    """One network in training, with the moving averages of its codebook."""

    def __init__(self, net: PartCodec, part: str, settings: CodecTraining) -> None:
        self.net, self.settings = net, settings
        self.chain = Chain(default_skeleton(), part)
        self.size = len(net.codebook)
        self.count = torch.ones(self.size)
        self.total = net.codebook.clone()
        self.optimizer = torch.optim.AdamW(net.parameters(), lr=settings.lr, betas=(0.9, 0.98), weight_decay=1e-4)

    def start(self, x: Tensor) -> None:
        """Set the scale of the features and the first codebook from (N, T, F) windows."""
        flat = x.reshape(-1, x.shape[-1])
        self.net.mean.copy_(flat.mean(0))
        # One scale per part: a bone that hardly moves must not weigh as much as an arm.
        self.net.scale.fill_(float(flat.std(0).pow(2).mean().sqrt()) + 1e-4)
        with torch.no_grad():
            z = self.net.embed(x).flatten(0, 1)
        self.reset(_kmeans(z, self.size))

    def reset(self, codebook: Tensor) -> None:
        self.net.codebook.copy_(codebook)
        self.total, self.count = codebook.clone(), torch.ones(self.size)

    @torch.no_grad()
    def _follow(self, z: Tensor, codes: Tensor) -> None:
        decay = self.settings.decay
        hits = torch.bincount(codes, minlength=self.size).float()
        self.count.mul_(decay).add_(hits, alpha=1 - decay)
        self.total.mul_(decay).add_(torch.zeros_like(self.total).index_add_(0, codes, z), alpha=1 - decay)
        dead = self.count < 0.02
        if dead.any():
            fresh = z[torch.randint(len(z), (int(dead.sum()),))]
            self.total[dead], self.count[dead] = fresh, 1.0
        self.net.codebook.copy_(torch.nn.functional.normalize(self.total, dim=-1))

    def step(self, x: Tensor, share: float) -> dict[str, float]:
        """One optimiser step on (B, T, F)."""
        s = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = s.lr * min(1.0, share * 50) * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * share)))
        z = self.net.embed(x)
        codes = self.net.quantize(z.detach())
        q = self.net.codebook[codes]
        out = self.net.render(z + (q - z).detach())
        truth, made = self.chain(x.unflatten(-1, (-1, 6))), self.chain(out.unflatten(-1, (-1, 6)))
        weights = self.chain.weights
        rotation = (out - x).abs().mean()
        position = ((made - truth).abs() * weights).mean()
        speed = ((made.diff(dim=1) - truth.diff(dim=1)).abs() * weights).mean()
        commitment = (z - q.detach()).pow(2).sum(-1).mean()
        loss = rotation + s.positions * position + s.velocity * speed + s.commitment * commitment
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        self._follow(z.detach().flatten(0, 1), codes.flatten())
        error_mm = 1000 * float((made - truth).norm(dim=-1).mean().detach())
        usage = torch.bincount(codes.flatten(), minlength=self.size).float()
        p = usage / usage.sum()
        perplexity = float(torch.exp(-(p * (p + 1e-9).log()).sum()))
        return {"loss": float(loss.detach()), "error_mm": error_mm, "perplexity": perplexity}


def fit(
    sample: Callable[[str, int, int, np.random.Generator], NDArray[np.float32]],
    folder: Path,
    config: CodecConfig | None = None,
    settings: CodecTraining | None = None,
) -> MotionCodec:
    """Train a codec and save it in `folder` with its curve (`curve.csv`).

    Args:
        sample: (network, batch, frames, rng) → (batch, frames, K * 6) windows of training motion; network is `core`
            or `side` (left arms and mirrored right ones).
        folder: where the codec, the curve and the checkpoint go; a checkpoint there is continued.
        config: the manifest.
        settings: the run.
    """
    settings = settings or CodecTraining()
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    codec = MotionCodec(config)
    parts = {
        name: _Part(net, "core" if name == "core" else "left", settings)  # type: ignore[arg-type]
        for name, net in codec.networks.items()
    }
    checkpointer = Checkpointer(folder / "checkpoint.pt")
    first = 0
    if state := checkpointer.load():
        codec.load_state_dict(state["codec"])
        for name, part in parts.items():
            part.total, part.count = state["total"][name], state["count"][name]
            part.optimizer.load_state_dict(state["optimizer"][name])
        first = state["step"]
        log.info("continue at step %d", first)
    else:
        for name, part in parts.items():
            part.start(torch.from_numpy(sample(name, 256, settings.window, rng)))

    def save(step: int) -> None:
        checkpointer.save({
            "codec": codec.state_dict(), "step": step,
            "total": {n: p.total for n, p in parts.items()}, "count": {n: p.count for n, p in parts.items()},
            "optimizer": {n: p.optimizer.state_dict() for n, p in parts.items()},
        })  # fmt: skip

    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with open(folder / "curve.csv", "a", newline="") as file:
        curve = csv.writer(file)
        for step in range(first, settings.steps):
            for name, part in parts.items():
                x = torch.from_numpy(sample(name, settings.batch, settings.window, rng))
                figures = part.step(x, step / settings.steps)
                if step % 50 == 0:
                    curve.writerow([step, name, *(f"{v:.4f}" for v in figures.values())])
                    log.info("step %d %s %s (%.0f s)", step, name, figures, time.monotonic() - began)
            if step % 50 == 0:
                file.flush()
            if step in (100, 300):  # the encoder has moved far from the first k-means
                for name, part in parts.items():
                    with torch.no_grad():
                        x = torch.from_numpy(sample(name, 256, settings.window, rng))
                        part.reset(_kmeans(part.net.embed(x).flatten(0, 1), part.size))
            if checkpointer.due():
                save(step + 1)
    save(settings.steps)
    codec.eval().save(folder)
    return codec
