"""The network of all modes: flow matching from whatever is known of a motion to a motion that fits the speech.

Paired flow matching (Lipman et al. 2023; Liu et al. 2023): the path begins at the given motion plus noise and ends at
clean motion, so where the given motion is sure the path is short and two Euler steps suffice. *Confidence* says how
sure: 1 is what the codec decodes of right tokens, 0 is nothing at all, and the path begins at noise alone. *Known*
limbs and frames are final. Trained on random masks of limbs, intervals and keyframes (`visavis.finetune.flow_refiner`),
the one network refines, continues, fills in, edits and makes motion from sound alone.

Noise has the covariance of poses and is as slow as motion (as in PriorGrad, Lee et al. 2022). White noise would lie
almost wholly outside of what bodies do: 48 of 264 directions hold 99 % of the variance of poses.

Legend: B batch, T frames, N patches (T = 4 N), F = 264 features (6D rotations of core, left and mirrored right),
E = 273 with the points of `pose_points`, L = 3 limbs, C = 5 prosody channels, S width of a style, R = 64 directions
of poses.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from visavis.errors import FileFormatError
from visavis.refiner.model import REACH, Block, Refiner, smooth
from visavis.refiner.pose_points import LIMB_OF_COLUMN, LIMBS, POINTS

__all__ = ["FlowConfig", "FlowRefiner", "smooth_noise"]

VERSION = 3
_NOISE_KNOTS = (18, 48)  # frames: taught motion half forgets a pose in 20 to 30 of them
_FADE = 24  # frames over which a known pose still tells of the frames beside it
_WAVES = 8


@dataclass(frozen=True)
class FlowConfig:
    """Sizes of the network.

    Attributes:
        version: of the layout of weights; 1 is `visavis.refiner.model.Refiner`, which does not say so.
        features: width of a frame of motion.
        prosody: channels of `visavis.speech.prosody`.
        emotions: weights of an emotion vector.
        performers: styles that have a label.
        style: width of a style.
        width: of the transformer.
        layers: of the transformer.
        heads: of its attention.
        patch: frames per token.
        directions: of poses in which noise lies.
        noise: share of the start's noise that is left where the given motion is sure, in training.
    """

    version: int = VERSION
    features: int = 264
    prosody: int = 5
    emotions: int = 7
    performers: int = 200
    style: int = 24
    width: int = 160
    layers: int = 4
    heads: int = 4
    patch: int = 4
    directions: int = 64
    noise: float = 0.1

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise ValueError(f"expected a refiner of version {VERSION}; got version {self.version}")


class FlowRefiner(nn.Module):
    """Predicts clean motion from a point on the path to it. Everything is normalised by `mean` and `scale`."""

    mean: Tensor
    scale: Tensor
    poses: Tensor

    def __init__(self, config: FlowConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or FlowConfig()
        seen = c.features + POINTS
        # a frame: the point on the path, what is given with the speed of its points, known, confidence, sound, heard
        self.inlet = nn.Linear(c.patch * (c.features + seen + POINTS + 2 * len(LIMBS) + c.prosody + 1), c.width)
        self.condition = nn.Linear(c.emotions + c.style + 2 * _WAVES, c.layers * c.width)  # linear: blends are blends
        self.performers = nn.Embedding(c.performers + 1, c.style)  # the last is nobody
        self.example = nn.Linear(3 * seen, c.style)
        self.blocks = nn.ModuleList(Block(c.width, c.heads) for _ in range(c.layers))
        self.norm = nn.LayerNorm(c.width)
        self.outlet = nn.Linear(c.width, c.patch * c.features)
        # Without training it gives back what it sees, as `start` filled it, whatever the conditions.
        for zeros in (self.outlet.weight, self.outlet.bias, self.condition.weight, self.condition.bias):
            nn.init.zeros_(zeros)
        nn.init.normal_(self.performers.weight, std=0.3)
        self.register_buffer("mean", torch.zeros(seen))
        self.register_buffer("scale", torch.ones(seen))
        self.register_buffer("poses", torch.eye(c.features, c.directions))
        self.register_buffer("limb", torch.from_numpy(LIMB_OF_COLUMN), persistent=False)

    def normalised(self, x: Tensor) -> Tensor:
        """(..., E) or (..., F) features in the network's units."""
        return (x - self.mean[: x.shape[-1]]) / self.scale[: x.shape[-1]]

    @torch.no_grad()
    def measure(self, clean: Tensor, units: bool = True) -> None:
        """Take units, unless it has some, and the directions of poses from (N, E) features of clean motion."""
        if units:
            self.mean.copy_(clean.mean(0))
            deviation = clean.std(0)
            # A floor, so that a bone that hardly moves is not blown up to the size of an arm.
            self.scale.copy_(deviation.clamp(min=float(deviation.mean()) * 0.3))
        x = self.normalised(clean[:, : self.config.features])
        x = x - x.mean(0)
        values, vectors = torch.linalg.eigh(x.T @ x / len(x))
        last = slice(-self.config.directions, None)
        self.poses.copy_(vectors[:, last] * values[last].clamp(min=0).sqrt())

    def noise(self, batch: int, frames: int, generator: torch.Generator) -> Tensor:
        """(batch, frames, F) noise as poses vary, in the network's units."""
        return smooth_noise(batch, frames, self.config.directions, generator) @ self.poses.T

    def columns(self, by_limb: Tensor, width: int) -> Tensor:
        """(..., L) something said of limbs → (..., width) of their columns."""
        return by_limb[..., self.limb[:width]]  # type: ignore[index]

    def style_of(self, example: Tensor) -> Tensor:
        """The style of an example clip: (B, T', E) normalised, a second or more → (B, S)."""
        speed = example.diff(dim=1).abs().mean(1) * 10
        return torch.tanh(self.example(torch.cat([example.mean(1), example.std(1), speed], dim=-1)))

    def style_named(self, performer: Tensor) -> Tensor:
        """The style of performers by label: (B,) int64, `config.performers` for nobody → (B, S)."""
        return torch.tanh(self.performers(performer))

    def start(
        self, base: Tensor, known: Tensor, confidence: Tensor, noise: Tensor, least: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Where the path begins.

        What is given counts in full from a confidence of a half on, less below and not at all at 0. What then lacks is
        filled from the nearest frames that count in full, which fade with their distance, so that the network begins
        from something without a jump and predicts a difference (after Oreshkin et al. 2022).

        Args:
            base: (B, T, E) what is given, normalised.
            known: (B, T, L) 1 where it is final.
            confidence: (B, T, L) in [0, 1].
            noise: (B, T, F) of `noise`.
            least: of it where the motion is sure: `config.noise` while it learns, so that it bears some; none after,
                because what is sure needs no choice, and chunks that choose meet with a step.
        Returns:
            (B, T, F) the start; (B, T, E) what the network sees of the base.
        """
        sure = torch.maximum(confidence, known)
        counts = (2 * sure).clamp(max=1.0)
        width, features = base.shape[-1], self.config.features
        before, after, near_before, near_after = _neighbours(counts >= 1)
        # Frames that do not count must not come through, not even as a number that is no number.
        trusted = torch.where(self.columns(counts, width) > 0, base, torch.zeros_like(base))
        fill = trusted.gather(1, self.columns(before, width)) * self.columns(near_before, width)
        fill = fill + trusted.gather(1, self.columns(after, width)) * self.columns(near_after, width)
        share = self.columns(counts, width)
        seen = share * trusted + (1 - share) * fill
        spread = (least + (1 - least) * (1 - sure) ** 2) * (1 - known)
        spread = spread * (1 - 0.8 * (near_before + near_after) * (1 - counts))
        return seen[..., :features] + self.columns(spread, features) * noise, seen

    def forward(
        self, point: Tensor, seen: Tensor, known: Tensor, confidence: Tensor, sound: Tensor, heard: Tensor,
        emotion: Tensor, style: Tensor, time: Tensor,
    ) -> Tensor:  # fmt: skip
        """Predict the end of the path.

        Args:
            point: (B, T, F) on the path.
            seen: (B, T, E) from `start`.
            known: (B, T, L) 1 where the frame is final.
            confidence: (B, T, L) in [0, 1].
            sound: (B, T, C) prosody.
            heard: (B,) 1 where there is a sound at all.
            emotion: (B, 7) weights.
            style: (B, S).
            time: (B,) place on the path in [0, 1].
        Returns:
            (B, T, F) clean motion, also where it is known.
        """
        c = self.config
        batch, frames, _ = point.shape
        points = seen[..., c.features :]
        speed = torch.nn.functional.pad(points.diff(dim=1), (0, 0, 1, 0)) * 4
        there = heard[:, None, None].expand(-1, frames, 1)
        x = torch.cat([point, seen, speed, known, torch.maximum(confidence, known), sound * there, there], dim=-1)
        x = self.inlet(x.view(batch, frames // c.patch, -1))
        angles = time[:, None] * math.pi * 2.0 ** torch.arange(_WAVES, device=time.device)
        told = self.condition(torch.cat([emotion, style, angles.sin(), angles.cos()], dim=-1)).chunk(c.layers, dim=-1)
        place = torch.arange(x.shape[1], device=x.device)
        offsets = (place[None] - place[:, None]).clamp(-REACH, REACH) + REACH
        for block, add in zip(self.blocks, told, strict=True):
            x = block(x + add[:, None], offsets)
        change = self.outlet(self.norm(x)).view(batch, frames, c.features)
        return smooth(seen[..., : c.features] + change)

    @torch.no_grad()
    def begin_from(self, other: Refiner) -> None:
        """Take over what a refiner without modes has learnt; what it does not know is left as it is.

        Raises:
            ValueError: it is of another size.
        """
        a, b = self.config, other.config
        sizes = [(c.features, c.prosody, c.emotions, c.width, c.layers, c.heads, c.patch) for c in (a, b)]
        if sizes[0] != sizes[1]:
            raise ValueError(f"expected a refiner of the same sizes {sizes[0]} to begin from; got {sizes[1]}")
        features, limbs = a.features, len(LIMBS)
        self.mean[:features], self.scale[:features] = other.mean, other.scale
        mine = self.inlet.weight.unflatten(1, (a.patch, -1))  # (W, patch, inputs of a frame)
        theirs = other.inlet.weight.unflatten(1, (a.patch, -1))
        known = 2 * features + 2 * POINTS
        sound = known + 2 * limbs
        mine[..., : 2 * features] = theirs[..., : 2 * features]
        mine[..., known : known + limbs] = theirs[..., -1:] / limbs
        mine[..., sound : sound + a.prosody] = theirs[..., 2 * features : -1]
        self.inlet.bias.copy_(other.inlet.bias)
        first = slice(0, a.width)
        self.condition.weight[first, : a.emotions] = other.condition.weight[:, : a.emotions]
        self.condition.weight[first, a.emotions + a.style :] = other.condition.weight[:, a.emotions :]
        self.condition.bias[first] = other.condition.bias
        for name in ("blocks", "norm", "outlet"):
            getattr(self, name).load_state_dict(getattr(other, name).state_dict())

    def save(self, folder: Path) -> None:
        """Write `refiner.safetensors` (half precision) and `refiner.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({k: v.contiguous().half() for k, v in self.state_dict().items()}, folder / "refiner.safetensors")
        (folder / "refiner.json").write_text(json.dumps(asdict(self.config), indent=1) + "\n")

    @classmethod
    def load(cls, folder: str | Path | None = None) -> FlowRefiner:
        """Read a refiner saved by `save`, ready to run; without a folder the shipped one.

        Raises:
            FileFormatError: the files are missing, of the first version, or do not fit each other.
        """
        folder = Path(str(files("visavis.models") / "refiner")) if folder is None else Path(folder)
        try:
            told = json.loads((folder / "refiner.json").read_text())
            if told.get("version", 1) != VERSION:
                raise ValueError(f"it is of version {told.get('version', 1)}, which only refines and continues")
            refiner = cls(FlowConfig(**told))
            refiner.load_state_dict({k: v.float() for k, v in load_file(folder / "refiner.safetensors").items()})
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            why = " ".join(str(error).split())[:200]  # torch lists every tensor that does not fit
            raise FileFormatError(
                f"expected a refiner of version {VERSION} (refiner.json, refiner.safetensors) in {folder}; {why}: "
                "train one with `visavis train refiner --modes`"
            ) from error
        return refiner.eval()


def _neighbours(full: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The nearest frames before and after that count in full, and how near they are.

    Args:
        full: (B, T, L) bool.
    Returns:
        (B, T, L) int64 frames before and after, any where there is none; (B, T, L) weights of both in [0, 1], 0 where
        there is none or it is `_FADE` frames away, together at most 1.
    """
    frames = full.shape[1]
    at = torch.arange(frames, device=full.device)[None, :, None].expand_as(full)
    before = torch.where(full, at, torch.full_like(at, -1)).cummax(dim=1).values
    after = torch.where(full, at, torch.full_like(at, frames)).flip(1).cummin(dim=1).values.flip(1)

    def near(distance: Tensor, there: Tensor) -> Tensor:
        u = (distance / _FADE).clamp(0, 1)
        return (1 - u**3 * (10 - 15 * u + 6 * u * u)) * there

    one, two = near(at - before, before >= 0), near(after - at, after < frames)
    total = (one + two).clamp(min=1.0)
    return before.clamp(min=0), after.clamp(max=frames - 1), one / total, two / total


def smooth_noise(batch: int, frames: int, width: int, generator: torch.Generator) -> Tensor:
    """(batch, frames, width) Gaussian noise of variance 1 that wanders as slowly as motion does."""
    layers = [_wandering(knot, batch, frames, width, generator) for knot in _NOISE_KNOTS]
    return torch.stack(layers).sum(0) / math.sqrt(len(layers))


def _wandering(knot: int, batch: int, frames: int, width: int, generator: torch.Generator) -> Tensor:
    """Of variance 1, from value to value in `knot` frames."""
    values = torch.randn(batch, frames // knot + 3, width, generator=generator)
    at = torch.arange(frames) / knot + torch.rand(batch, 1, generator=generator)
    low = at.floor().long()
    share = (at - low)[..., None]
    share = share * share * (3 - 2 * share)
    first = values.gather(1, low[..., None].expand(-1, -1, width))
    second = values.gather(1, low[..., None].expand(-1, -1, width) + 1)
    return (first * (1 - share) + second * share) / ((1 - share) ** 2 + share**2).sqrt()
