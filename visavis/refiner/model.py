"""The refiner: a small flow-matching transformer from decoded motion tokens to motion in time with the speech.

Paired flow matching (Lipman et al. 2023; Liu et al. 2023): the path starts at the decoded motion plus a little noise
and ends at the clean motion, so it is short and nearly straight and a few Euler steps suffice. The network predicts
the end point. One token of the transformer is a patch of 4 frames.

Legend: B batch, T frames, N patches (T = 4 N), F = 264 features (6D rotations of core, left and mirrored right),
C = 5 prosody channels, E = 7 emotion weights.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from visavis.errors import FileFormatError

__all__ = ["REACH", "Block", "Refiner", "RefinerConfig", "smooth"]


@dataclass(frozen=True)
class RefinerConfig:
    """Sizes of the refiner.

    Attributes:
        features: width of a frame of motion.
        prosody: channels of `visavis.speech.prosody`.
        emotions: weights of an emotion vector.
        width: of the transformer.
        layers: of the transformer.
        heads: of its attention.
        patch: frames per token.
        noise: standard deviation of the start's noise, in units of normalised features.
    """

    features: int = 264
    prosody: int = 5
    emotions: int = 7
    width: int = 160
    layers: int = 4
    heads: int = 4
    patch: int = 4
    noise: float = 0.15


class Block(nn.Module):
    """Pre-norm attention with a learned bias by distance, and a gated feed-forward net."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(2 * width, width)
        self.distance = nn.Parameter(torch.zeros(heads, 2 * REACH + 1))

    def forward(self, x: Tensor, offsets: Tensor) -> Tensor:
        """(B, N, W) → same; offsets (N, N) in 0..2 REACH, the distance between two tokens."""
        batch, n, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        bias = self.distance[:, offsets].unsqueeze(0)
        y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias.expand(batch, -1, -1, -1))
        x = x + self.out(y.transpose(1, 2).reshape(batch, n, width))
        gate, value = self.up(self.norm2(x)).chunk(2, dim=-1)
        return x + self.down(nn.functional.silu(gate) * value)


REACH = 16  # patches: 2.1 s to either side share one bias each, farther ones the last


class Refiner(nn.Module):
    """Predicts the clean motion from a point on the path to it.

    Forward takes everything normalised by `mean` and `scale` of the motion.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, config: RefinerConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or RefinerConfig()
        # per frame: the point on the path, the decoded motion, prosody, and whether the frame is known
        self.inlet = nn.Linear(c.patch * (2 * c.features + c.prosody + 1), c.width)
        self.condition = nn.Linear(c.emotions + 16, c.width)
        self.blocks = nn.ModuleList(Block(c.width, c.heads) for _ in range(c.layers))
        self.norm = nn.LayerNorm(c.width)
        self.outlet = nn.Linear(c.width, c.patch * c.features)
        nn.init.zeros_(self.outlet.weight)
        nn.init.zeros_(self.outlet.bias)
        self.register_buffer("mean", torch.zeros(c.features))
        self.register_buffer("scale", torch.ones(c.features))

    def forward(
        self, point: Tensor, decoded: Tensor, prosody: Tensor, known: Tensor, emotion: Tensor, time: Tensor
    ) -> Tensor:
        """Predict the end of the path.

        Args:
            point: (B, T, F) normalised motion on the path.
            decoded: (B, T, F) normalised decoded motion.
            prosody: (B, T, C).
            known: (B, T) 1 where `point` is given and final (an earlier chunk, a protected frame), else 0.
            emotion: (B, E) intensities.
            time: (B,) place on the path in [0, 1].
        Returns:
            (B, T, F) normalised clean motion.
        """
        c = self.config
        batch, frames, _ = point.shape
        n = frames // c.patch
        x = torch.cat([point, decoded, prosody, known[..., None]], dim=-1).view(batch, n, -1)
        angles = time[:, None] * math.pi * 2.0 ** torch.arange(8, device=time.device)
        condition = self.condition(torch.cat([emotion, angles.sin(), angles.cos()], dim=-1))
        x = self.inlet(x) + condition[:, None]
        place = torch.arange(n, device=x.device)
        offsets = (place[None] - place[:, None]).clamp(-REACH, REACH) + REACH
        for block in self.blocks:
            x = block(x, offsets)
        change = self.outlet(self.norm(x)).view(batch, frames, c.features)
        # All of it is smoothed: what jerks in the decoded motion could not be taken away by a smooth change.
        return smooth(decoded + change)

    def save(self, folder: Path) -> None:
        """Write `refiner.safetensors` (half precision) and `refiner.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({k: v.contiguous().half() for k, v in self.state_dict().items()}, folder / "refiner.safetensors")
        (folder / "refiner.json").write_text(json.dumps(asdict(self.config), indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Refiner:
        """Read a refiner saved by `save`, ready to run.

        Raises:
            FileFormatError: the files are missing or do not fit each other.
        """
        try:
            refiner = cls(RefinerConfig(**json.loads((folder / "refiner.json").read_text())))
            weights = load_file(folder / "refiner.safetensors")
            refiner.load_state_dict({k: v.float() for k, v in weights.items()})
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            why = " ".join(str(error).split())[:200]  # torch lists every tensor that does not fit
            raise FileFormatError(
                f"expected a refiner (refiner.json, refiner.safetensors) in {folder}; {why}: "
                "train one with `visavis train refiner`"
            ) from error
        return refiner.eval()


def smooth(x: Tensor) -> Tensor:
    """A binomial filter over time, (B, T, F) → same: a patch's own border leaves no step in the motion."""
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=x.device, dtype=x.dtype) / 16
    padded = nn.functional.pad(x.transpose(1, 2), (2, 2), mode="replicate")
    frames = x.shape[1]
    return sum(weight * padded[..., i : i + frames] for i, weight in enumerate(kernel)).transpose(1, 2)  # type: ignore
