"""Training of the motion codec.

Losses: L1 on 6D rotations, on joint positions by forward kinematics (wrists and fingertips weigh more), on their
velocities and accelerations; commitment. The codebook starts from k-means of the encoder's outputs, follows them by
exponential moving averages (van den Oord et al. 2017, appendix A.1), and codes that nobody uses are reset to random
inputs. In a chained codec the hand learns from the arm as decoded, and the arm from a chest that is a little off.

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
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from visavis.finetune.checkpoints import Checkpointer
from visavis.motion.skeleton import Skeleton, default_skeleton
from visavis.tokenizers.codec import FIVE_PARTS, CodecConfig, MotionCodec, PartCodec, limb_of, part_bones

__all__ = ["SHIPPED", "Chain", "CodecTraining", "fit", "kmeans", "part_positions"]

log = logging.getLogger(__name__)

RECENTRED: Final = (0.04, 0.12, 0.27, 0.46)  # shares of the run, at which codebooks begin afresh by k-means
SHIPPED: Final = CodecConfig(
    FIVE_PARTS, code_dim=24, width={"core": 96, "arm": 160, "hand": 112}, chained=True, cosine=False
)


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
        acceleration: weight of the acceleration loss, per metre a frame squared.
        commitment: weight that ties the encoder to its codes.
        decay: of the moving averages of the codebook.
        dead: a code that is used less than this share of an even use is reset, until four fifths of the run.
        seed: of everything random.
    """

    steps: int = 2600
    batch: int = 32
    window: int = 64
    lr: float = 1e-3
    positions: float = 5.0
    velocity: float = 10.0
    acceleration: float = 5.0
    commitment: float = 0.25
    decay: float = 0.98
    dead: float = 0.1
    seed: int = 0


def _matrices(d: Tensor) -> Tensor:
    """(..., 6) → (..., 3, 3) by Gram-Schmidt, columns."""
    x = torch.nn.functional.normalize(d[..., :3], dim=-1)
    y = d[..., 3:] - (x * d[..., 3:]).sum(-1, keepdim=True) * x
    y = torch.nn.functional.normalize(y, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y)], dim=-1)


class Chain:
    """Forward kinematics of one part: joints and tips relative to the part's own root, bones of one depth at a time."""

    def __init__(self, skeleton: Skeleton, part: str) -> None:
        bones = part_bones(part, skeleton)
        names = [skeleton.names[bone] for bone in bones]
        place = {int(bone): i for i, bone in enumerate(bones)}
        self.parents = [place.get(int(skeleton.parents[bone]), -1) for bone in bones]
        self.offsets = torch.from_numpy(skeleton.offsets_m[bones].copy())
        if part == "core" or part.endswith("_hand"):  # the hips or the wrist are the origin
            self.offsets[0] = 0.0
        tips = [(i, skeleton.tips_m[n]) for i, n in enumerate(names) if n in skeleton.tips_m]
        tip_weights = [3.0] * len(tips)
        if part == "core":  # shoulders, and hands before the body, so that a turned chest costs what it moves
            chest = names.index("upperChest")
            tips += [(chest, np.array(at)) for x in (-0.16, 0.16) for at in ((x, 0.12, 0.0), (1.5 * x, -0.1, 0.3))]
            tip_weights += [3.0] * 4
        if part.endswith("_arm"):
            tips += [(len(names) - 1, skeleton.offsets_m[skeleton.index(f"{limb_of(part)}Hand")])]
            tip_weights += [5.0]
        self.tips_of = torch.tensor([i for i, _ in tips])
        self.tips = torch.tensor(np.stack([tip for _, tip in tips]), dtype=torch.float32)
        weights = [5.0 if name.endswith("Hand") else 1.0 for name in names] + tip_weights
        self.weights = torch.tensor(weights)[:, None]
        depth = [0] * len(bones)
        for i, parent in enumerate(self.parents):
            depth[i] = depth[parent] + 1 if parent >= 0 else 0
        self._levels = [torch.tensor([i for i in range(len(bones)) if depth[i] == d]) for d in range(max(depth) + 1)]
        at = {int(i): column for level in self._levels for column, i in enumerate(level)}
        self._above = [torch.tensor([at[self.parents[int(i)]] for i in level]) for level in self._levels[1:]]
        self._order = torch.argsort(torch.cat(self._levels))

    def frames(self, d: Tensor) -> tuple[Tensor, Tensor]:
        """(..., K, 6) → places (..., K, 3) metres and orientations (..., K, 3, 3)."""
        local = _matrices(d)
        first = self._levels[0]
        turned = [local[..., first, :, :]]
        places = [self.offsets[first].expand(*d.shape[:-2], len(first), 3)]
        for level, above in zip(self._levels[1:], self._above, strict=True):
            up = turned[-1][..., above, :, :]
            turned.append(up @ local[..., level, :, :])
            places.append(places[-1][..., above, :] + (up * self.offsets[level][:, None, :]).sum(-1))
        return torch.cat(places, dim=-2)[..., self._order, :], torch.cat(turned, dim=-3)[..., self._order, :, :]

    def __call__(self, d: Tensor) -> Tensor:
        """(..., K, 6) → (..., K + tips, 3) metres."""
        places, turned = self.frames(d)
        ends = places[..., self.tips_of, :] + (turned[..., self.tips_of, :, :] * self.tips[:, None, :]).sum(-1)
        return torch.cat([places, ends], dim=-2)


def part_positions(features: NDArray[np.float32], part: str) -> NDArray[np.float32]:
    """(T, K * 6) features of a part → (T, K + tips, 3) metres relative to its root; the right as mirrored left."""
    chain = Chain(default_skeleton(), part.replace("right", "left"))
    return chain(torch.from_numpy(features).unflatten(-1, (-1, 6))).numpy()


def _six(m: Tensor) -> Tensor:
    """(..., 3, 3) → (..., 6), the inverse of `_matrices`."""
    return torch.cat([m[..., 0], m[..., 1]], dim=-1)


def _swayed(x: Tensor, rng: torch.Generator, degrees: float = 1.5) -> Tensor:
    """(B, T, K * 6) a part whose parent is off by a small turn that wanders: what a decoded chest does to an arm."""
    steps = x.shape[1] // 4 + 1
    turn = torch.randn(x.shape[0], 3, steps, generator=rng) * math.radians(degrees)
    turn = torch.nn.functional.interpolate(turn, size=x.shape[1], mode="linear", align_corners=True).transpose(1, 2)
    a, b, c = turn.unbind(-1)
    zero = torch.zeros_like(a)
    skew = torch.stack([zero, -c, b, c, zero, -a, -b, a, zero], dim=-1).unflatten(-1, (3, 3))
    return torch.cat([_six(torch.matrix_exp(skew) @ _matrices(x[..., :6])), x[..., 6:]], dim=-1)


def _seen_from(arm: Tensor, made: Tensor, hand: Tensor, chain: Chain) -> Tensor:
    """The hand (B, T, K * 6) as seen from the decoded forearm: its turn in the world stays what it was."""
    true = chain.frames(arm.unflatten(-1, (-1, 6)))[1][..., -1, :, :]
    off = chain.frames(made.unflatten(-1, (-1, 6)))[1][..., -1, :, :].transpose(-1, -2) @ true
    return torch.cat([_six(off @ _matrices(hand[..., :6])), hand[..., 6:]], dim=-1)


@torch.no_grad()
def kmeans(z: Tensor, k: int, cosine: bool, rounds: int = 12) -> Tensor:
    """k-means: (N, D) points → (k, D); spherical for unit vectors."""
    centres = z[torch.randperm(len(z))[:k]]
    if len(centres) < k:
        centres = centres[torch.randint(len(centres), (k,))]
    for _ in range(rounds):
        nearest = (z @ centres.T - 0.5 * centres.pow(2).sum(-1)).argmax(-1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, z)
        count = torch.bincount(nearest, minlength=k)
        centres = sums / count.clamp(min=1)[:, None]
        empty = count == 0
        centres[empty] = z[torch.randint(len(z), (int(empty.sum()),))]
        if cosine:
            centres = torch.nn.functional.normalize(centres, dim=-1)
    return centres


@torch.no_grad()
def _leverage(chain: Chain, x: Tensor) -> Tensor:
    """(F,) how far the joints go when a feature changes, in metres a unit, root mean square over poses (N, F)."""
    rows = []
    base = chain(x.unflatten(-1, (-1, 6)))
    for column in range(x.shape[-1]):
        moved = x.clone()
        moved[:, column] += 0.02
        off = (chain(moved.unflatten(-1, (-1, 6))) - base) / 0.02
        rows.append((off.pow(2).sum(-1) * chain.weights[:, 0]).sum(-1).mean().sqrt())
    return torch.stack(rows)


@torch.no_grad()
def _start_linear(net: PartCodec, x: Tensor, importance: Tensor) -> None:
    """Let the network begin as principal components of whole steps, its residual branches silent.

    A plain k-means codebook in that space is what training then improves on; from random weights it takes most of a
    short run to get there.

    Args:
        net: whose mean and scale are set.
        x: (N, T, F) windows.
        importance: (F,) weight of a feature in the components.
    """
    steps = ((x - net.mean) / net.scale).unflatten(1, (-1, net.stride)).flatten(0, 1)  # (N', stride, F)
    rows = (steps * importance).flatten(1)
    centre = rows.mean(0)
    size = net.to_code.out_channels
    _, spread, axes = torch.linalg.svd(rows - centre, full_matrices=False)
    unit = float(spread[:size].pow(2).sum().div(len(rows)).sqrt())  # codes have about the length 1
    down = axes[:size] / unit  # (D, stride * F)
    up = axes[:size] * unit
    weights = importance.repeat(net.stride)
    features = x.shape[-1]

    def as_inlet(m: Tensor) -> Tensor:  # (D, stride * F) → (D, F, stride)
        return m.unflatten(1, (net.stride, features)).transpose(1, 2)

    net.inlet.weight[:size] = as_inlet(down * weights)
    net.inlet.bias[:size] = -(down @ centre)  # type: ignore[index]
    for conv in (net.to_code, net.from_code):
        conv.weight.mul_(0.02 if conv is net.to_code else 1.0)
        conv.bias.zero_()  # type: ignore[union-attr]
        conv.weight[:size, :size, 0] = torch.eye(size)
    net.outlet.weight.mul_(0.1)
    net.outlet.weight[:, :size, 0] = (up / weights).T
    net.outlet.bias.copy_(centre / weights)  # type: ignore[union-attr]
    for block in [*net.encoder, *net.decoder]:
        block.mix.weight.mul_(0.05)  # type: ignore[union-attr,operator]
        block.mix.bias.zero_()  # type: ignore[union-attr,operator]


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
        if not self.net.cosine:
            _start_linear(self.net, x, _leverage(self.chain, flat[:: max(1, len(flat) // 256)]) + 0.02)
        with torch.no_grad():
            z = self.net.embed(x).flatten(0, 1)
        self.recentre(z)

    def recentre(self, z: Tensor) -> None:
        """A fresh codebook from k-means of (N, D) vectors; a grid stays."""
        if not self.net.levels:
            self.reset(kmeans(z, self.size, self.net.cosine))

    def reset(self, codebook: Tensor) -> None:
        self.net.codebook.copy_(codebook)
        self.total, self.count = codebook.clone(), torch.ones(self.size)

    @torch.no_grad()
    def _follow(self, z: Tensor, codes: Tensor, resets: bool) -> None:
        decay = self.settings.decay
        hits = torch.bincount(codes, minlength=self.size).float()
        self.count.mul_(decay).add_(hits, alpha=1 - decay)
        self.total.mul_(decay).add_(torch.zeros_like(self.total).index_add_(0, codes, z), alpha=1 - decay)
        dead = self.count < self.settings.dead * len(z) / self.size
        if resets and dead.any():
            fresh = z[torch.randint(len(z), (int(dead.sum()),))]
            even = len(z) / self.size
            self.total[dead], self.count[dead] = fresh * even, even
        mean = self.total / self.count[:, None]
        self.net.codebook.copy_(torch.nn.functional.normalize(mean, dim=-1) if self.net.cosine else mean)

    def step(self, x: Tensor, share: float) -> tuple[dict[str, float], Tensor]:
        """One optimiser step on (B, T, F); figures, and what was decoded."""
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
        off = (made - truth).diff(dim=1)
        speed = (off.abs() * weights).mean()
        jolt = (off.diff(dim=1).abs() * weights).mean()
        commitment = (z - q.detach()).pow(2).sum(-1).mean()
        loss = rotation + s.positions * position + s.velocity * speed + s.acceleration * jolt
        if not self.net.levels:
            loss = loss + s.commitment * commitment
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        if not self.net.levels:
            self._follow(z.detach().flatten(0, 1), codes.flatten(), share < 0.8)
        error_mm = 1000 * float((made - truth).norm(dim=-1).mean().detach())
        usage = torch.bincount(codes.flatten(), minlength=self.size).float()
        p = usage / usage.sum()
        perplexity = float(torch.exp(-(p * (p + 1e-9).log()).sum()))
        return {"loss": float(loss.detach()), "error_mm": error_mm, "perplexity": perplexity}, out.detach()


@torch.no_grad()
def _recentre(parts: dict[str, _Part], windows: _Windows) -> None:
    """Fresh codebooks for encoders that have moved away from them."""
    made: Tensor | None = None
    for name, part in parts.items():
        x = windows.draw(name, 512, made)
        z = part.net.embed(x)
        part.recentre(z.flatten(0, 1))
        made = part.net.render(part.net.codebook[part.net.quantize(z)])


Sample = Callable[[str, int, int, np.random.Generator], NDArray[np.float32]]


class _Windows:
    """Inputs of the networks, in their order: a hand gets the side that its arm got, seen from what the arm became."""

    def __init__(self, sample: Sample, codec: MotionCodec, window: int, seed: int) -> None:
        self.sample, self.codec, self.window = sample, codec, window
        self.rng = np.random.default_rng(seed)
        self.noise = torch.Generator().manual_seed(seed)
        skeleton = default_skeleton()
        self.arm_width = 6 * len(part_bones("left_arm", skeleton))
        self.chain = Chain(skeleton, "left_arm")
        self._side = self._arm = torch.empty(0)

    def draw(self, network: str, batch: int, made: Tensor | None = None) -> Tensor:
        """(batch, window, F) for a network.

        Args:
            network: core, side, arm or hand.
            batch: windows; for `hand` as many as `arm` got last.
            made: for `hand`, what the arm network decoded of its last windows; None leaves the hand as it was.
        """
        if network != "hand":
            x = torch.from_numpy(self.sample("core" if network == "core" else "side", batch, self.window, self.rng))
            if network != "arm":
                return x
            self._side, self._arm = x, x[..., : self.arm_width]
            if self.codec.config.chained:
                self._arm = _swayed(self._arm, self.noise)
            return self._arm
        hand = self._side[..., self.arm_width :]
        if made is None or not self.codec.config.chained:
            return hand
        # The true forearm is that of the side as it was drawn for the arm, sway included: its chest is not here.
        return _seen_from(self._arm, made, hand, self.chain)


def fit(
    sample: Sample,
    folder: Path,
    config: CodecConfig | None = None,
    settings: CodecTraining | None = None,
    progress: Callable[[float], None] | None = None,
) -> MotionCodec:
    """Train a codec and save it in `folder` with its curve (`curve.csv`).

    Args:
        sample: (network, batch, frames, rng) → (batch, frames, K * 6) windows of training motion; network is `core`
            or `side` (left arms and mirrored right ones).
        folder: where the codec, the curve and the checkpoint go; a checkpoint there is continued.
        config: the manifest.
        settings: the run.
        progress: told the share of the run that is over, before every step.
    """
    settings = settings or CodecTraining()
    torch.manual_seed(settings.seed)
    codec = MotionCodec(config)
    parts = {
        name: _Part(net, {"core": "core", "side": "left"}.get(name, f"left_{name}"), settings)  # type: ignore[arg-type]
        for name, net in codec.networks.items()
    }
    windows = _Windows(sample, codec, settings.window, settings.seed)
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
            part.start(windows.draw(name, 512))

    def save(step: int) -> None:
        checkpointer.save({
            "codec": codec.state_dict(), "step": step,
            "total": {n: p.total for n, p in parts.items()}, "count": {n: p.count for n, p in parts.items()},
            "optimizer": {n: p.optimizer.state_dict() for n, p in parts.items()},
        })  # fmt: skip

    folder.mkdir(parents=True, exist_ok=True)
    recentred = {round(share * settings.steps) for share in RECENTRED}
    began = time.monotonic()
    with open(folder / "curve.csv", "a", newline="") as file:
        curve = csv.writer(file)
        for step in range(first, settings.steps):
            if progress:
                progress(step / settings.steps)
            made: Tensor | None = None
            for name, part in parts.items():
                figures, made = part.step(windows.draw(name, settings.batch, made), step / settings.steps)
                if step % 50 == 0:
                    curve.writerow([step, name, *(f"{v:.4f}" for v in figures.values())])
                    log.info("step %d %s %s (%.0f s)", step, name, figures, time.monotonic() - began)
            if step % 50 == 0:
                file.flush()
            if step in recentred:  # the encoder has moved far from its codebook
                _recentre(parts, windows)
            if checkpointer.due():
                save(step + 1)
    save(settings.steps)
    codec.eval().save(folder)
    return codec
