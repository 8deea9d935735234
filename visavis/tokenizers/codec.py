"""The motion codec: joint rotations ↔ motion tokens, one per body part and step of 4 frames.

Parts come from the manifest, in order: `core`, then `left` and `right`. The right side is mirrored into the left's
space before it is coded, so both share one encoder, one decoder and one codebook. Each part is a 1D convolutional
VQ-VAE over 6D rotations (van den Oord et al. 2017; Zhou et al. 2019); the decoder looks at most `LOOKAHEAD_STEPS` steps
ahead, so tokens can be decoded as they stream. Legs, eyes, jaw and the root are not tokens.

Legend: B batch, T frames, S steps (T = 4 S), P parts, J all bones, K bones of a part, D code width.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from visavis.errors import FileFormatError, TokenError
from visavis.motion import rotations
from visavis.motion.motion import FRAMES_PER_STEP, Motion
from visavis.motion.skeleton import Skeleton, default_skeleton

__all__ = ["LOOKAHEAD_STEPS", "PARTS", "CodecConfig", "MotionCodec", "PartCodec", "part_features", "rotations_from_6d"]

PARTS = ("core", "left", "right")
LOOKAHEAD_STEPS = 2
_SIDE = {"core": "core", "left": "side", "right": "side"}


@dataclass(frozen=True)
class CodecConfig:
    """The manifest of a codec: parts in order, codebook size, widths.

    Attributes:
        parts: body parts in the order of their tokens.
        codebook_size: codes per codebook.
        code_dim: width of a code.
        width: channels of the convolutions, by network.
        frames_per_step: frames that one token stands for.
    """

    parts: tuple[str, ...] = PARTS
    codebook_size: int = 512
    code_dim: int = 16
    width: dict[str, int] = field(default_factory=lambda: {"core": 96, "side": 192})
    frames_per_step: int = FRAMES_PER_STEP


def part_features(turned: NDArray[np.float32], part: str, skeleton: Skeleton) -> NDArray[np.float32]:
    """6D rotations of a part.

    Args:
        turned: (..., J, 4) unit quaternions, parent-relative.
        part: core, left or right.
        skeleton: whose bones they are.
    Returns:
        (..., K * 6) float32, the right side mirrored into the left's space.
    """
    bones = turned[..., skeleton.part(part), :]
    if part == "right":
        bones = rotations.mirror(bones)
    d = rotations.to_6d(bones)
    return d.reshape(*d.shape[:-2], -1)


def rotations_from_6d(features: NDArray[np.float32], part: str) -> NDArray[np.float32]:
    """The inverse of `part_features`: (..., K * 6) → (..., K, 4)."""
    q = rotations.from_6d(features.reshape(*features.shape[:-1], -1, 6))
    return rotations.mirror(q) if part == "right" else q


class _Residual(nn.Module):
    """Convolution over time that sees `left` frames of the past and `right` of the future."""

    def __init__(self, width: int, left: int, right: int) -> None:
        super().__init__()
        self.pad = (left, right)
        self.conv = nn.Conv1d(width, width, left + right + 1)
        self.mix = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, T)
        padded = nn.functional.pad(x, self.pad, mode="replicate")
        return x + self.mix(nn.functional.gelu(self.conv(padded)))


class PartCodec(nn.Module):
    """VQ-VAE of one part.

    Codes are looked up by cosine in a codebook of unit vectors (Yu et al. 2022); the codebook learns by exponential
    moving averages with resets of dead codes (see `visavis.finetune.codec`).
    """

    codebook: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, features: int, width: int, code_dim: int, codebook_size: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.inlet = nn.Conv1d(features, width, stride, stride)
        self.encoder = nn.Sequential(_Residual(width, 1, 1), _Residual(width, 1, 1))
        self.to_code = nn.Conv1d(width, code_dim, 1)
        self.from_code = nn.Conv1d(code_dim, width, 1)
        # Two look-ahead steps in all: one each; the rest is the past.
        self.decoder = nn.Sequential(_Residual(width, 2, 1), _Residual(width, 2, 1), _Residual(width, 2, 0))
        self.outlet = nn.Conv1d(width, features * stride, 1)
        self.register_buffer("codebook", nn.functional.normalize(torch.randn(codebook_size, code_dim), dim=-1))
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    def embed(self, x: Tensor) -> Tensor:
        """(B, T, F) features → (B, S, D) unit vectors."""
        h = self.inlet(((x - self.mean) / self.scale).transpose(1, 2))
        return nn.functional.normalize(self.to_code(self.encoder(h)).transpose(1, 2), dim=-1)

    def quantize(self, z: Tensor) -> Tensor:
        """(B, S, D) unit vectors → (B, S) int64 nearest codes by cosine."""
        return (z @ self.codebook.T).argmax(-1)

    def render(self, z: Tensor) -> Tensor:
        """(B, S, D) codes as vectors → (B, T, F) features."""
        h = self.outlet(self.decoder(self.from_code(z.transpose(1, 2))))  # (B, F * stride, S)
        batch, _, steps = h.shape
        h = h.view(batch, self.stride, -1, steps).permute(0, 3, 1, 2).reshape(batch, steps * self.stride, -1)
        return h * self.scale + self.mean


class MotionCodec(nn.Module):
    """All parts of the codec, with the manifest that names them."""

    def __init__(self, config: CodecConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CodecConfig()
        skeleton = default_skeleton()
        self.networks = nn.ModuleDict({
            name: PartCodec(
                6 * len(skeleton.part("core" if name == "core" else "left")),
                config.width[name], config.code_dim, config.codebook_size, config.frames_per_step,
            )
            for name in dict.fromkeys(_SIDE[part] for part in config.parts)
        })  # fmt: skip

    def network(self, part: str) -> PartCodec:
        """The network that codes a part."""
        return self.networks[_SIDE[part]]  # type: ignore[return-value]

    @torch.inference_mode()
    def encode(self, motion: Motion) -> NDArray[np.int64]:
        """Turn a motion into motion tokens.

        Args:
            motion: T frames; the last step is filled by repeating the last frame.
        Returns:
            (S, P) int64 in [0, codebook_size), S = ceil(T / 4).
        """
        stride = self.config.frames_per_step
        missing = -len(motion) % stride
        turned = np.concatenate([motion.rotations, np.repeat(motion.rotations[-1:], missing, axis=0)])
        columns = []
        for part in self.config.parts:
            net = self.network(part)
            x = torch.from_numpy(part_features(turned, part, motion.skeleton))[None]
            columns.append(net.quantize(net.embed(x))[0].numpy())
        return np.stack(columns, axis=-1)

    @torch.inference_mode()
    def decode(self, codes: NDArray[np.integer], base: Motion | None = None) -> Motion:
        """Turn motion tokens into joint rotations.

        Args:
            codes: (S, P) in [0, codebook_size).
            base: gives the bones that are not tokens (legs, eyes, jaw), the root and the face, frame by frame (its
                last frame repeats); T-pose where it is None.
        Returns:
            A motion of 4 S frames at 30 fps.
        Raises:
            TokenError: a code is outside the codebook, or the number of parts is wrong.
        """
        codes = np.asarray(codes)
        parts = self.config.parts
        if codes.ndim != 2 or codes.shape[1] != len(parts):
            raise TokenError(f"expected codes of shape (steps, {len(parts)}) for parts {parts}; got {codes.shape}")
        size = self.config.codebook_size
        if len(codes) and (codes.min() < 0 or codes.max() >= size):
            bad = codes[(codes < 0) | (codes >= size)][0]
            raise TokenError(
                f"codebook has {size} entries, token {bad} is outside it: was the model trained with another tokenizer?"
            )
        frames = len(codes) * self.config.frames_per_step
        skeleton = default_skeleton()
        if base is None:
            base = Motion.rest(max(frames, 1), skeleton)
        index = np.minimum(np.arange(frames), len(base) - 1)
        turned = base.rotations[index].copy()
        for column, part in enumerate(parts):
            net = self.network(part)
            if frames:
                z = net.codebook[torch.from_numpy(codes[:, column].astype(np.int64))][None]
                turned[:, skeleton.part(part)] = rotations_from_6d(net.render(z)[0].numpy(), part)
        face = None if base.face is None else base.face[index]
        return Motion(turned, base.root_m[index], face, skeleton)

    def save(self, folder: Path) -> None:
        """Write `codec.safetensors` and the manifest `codec.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({k: v.contiguous().half() for k, v in self.state_dict().items()}, folder / "codec.safetensors")
        (folder / "codec.json").write_text(json.dumps(asdict(self.config), indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> MotionCodec:
        """Read a codec saved by `save`, ready to run.

        Raises:
            FileFormatError: the files are missing or do not fit each other.
        """
        try:
            data = json.loads((folder / "codec.json").read_text())
            codec = cls(CodecConfig(**{**data, "parts": tuple(data["parts"])}))
            weights = load_file(folder / "codec.safetensors")
            codec.load_state_dict({k: v.float() for k, v in weights.items()})
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            why = " ".join(str(error).split())[:200]  # torch lists every tensor that does not fit
            raise FileFormatError(
                f"expected a motion codec (codec.json, codec.safetensors) in {folder}; {why}: "
                "train one with `visavis train codec`"
            ) from error
        for network in codec.networks.values():  # half precision moved the codes off the sphere a little
            assert isinstance(network, PartCodec)
            network.codebook = nn.functional.normalize(network.codebook, dim=-1)
        return codec.eval()
