"""The motion codec: joint rotations ↔ motion tokens, one per body part and step of 4 frames.

Parts come from the manifest, in order: `core`, then the two sides, whole (`left`, `right`) or arm and hand apart
(`left_arm`, `right_arm`, `left_hand`, `right_hand`; the wrist's turn belongs to the hand). The right side is mirrored
into the left's space before it is coded, so both share one encoder, one decoder and one codebook. Each part is a 1D
convolutional VQ-VAE over 6D rotations (van den Oord et al. 2017; Zhou et al. 2019); the decoder looks at most
`LOOKAHEAD_STEPS` steps ahead, so tokens can be decoded as they stream. Legs, eyes, jaw and the root are not tokens.

A *chained* codec codes every part seen from the parts before it as they will be decoded: what the torso's tokens get
wrong, the arm's turn back, and so the hand's for the arm. Errors do not add up along a limb.

Legend: B batch, T frames, S steps (T = 4 S), P parts, J all bones, K bones of a part, D code width.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from visavis.errors import FileFormatError, TokenError
from visavis.motion import rotations
from visavis.motion.motion import FRAMES_PER_STEP, Motion
from visavis.motion.skeleton import ARM_BONES, CORE_BONES, Skeleton, default_skeleton

if TYPE_CHECKING:
    from visavis.tokenizers.code_choice import CodeChoice

__all__ = [
    "FIVE_PARTS",
    "LOOKAHEAD_STEPS",
    "PARTS",
    "CodecConfig",
    "MotionCodec",
    "PartCodec",
    "limb_of",
    "network_of",
    "part_bones",
    "part_features",
    "rotations_from_6d",
]

PARTS = ("core", "left", "right")
FIVE_PARTS = ("core", "left_arm", "right_arm", "left_hand", "right_hand")
LOOKAHEAD_STEPS = 2
_NETWORK = {"core": "core", "left": "side", "left_arm": "arm", "left_hand": "hand"}
_ARM = ARM_BONES.index("Hand")  # bones of a side before the hand
_CHEST = CORE_BONES.index("upperChest")  # where the arms hang


@dataclass(frozen=True)
class CodecConfig:
    """The manifest of a codec: parts in order, codebook size, widths.

    Attributes:
        parts: body parts in the order of their tokens.
        codebook_size: codes per codebook.
        code_dim: width of a code.
        width: channels of the convolutions, by network.
        frames_per_step: frames that one token stands for.
        encoder: (past, future) steps that each convolution of the encoder sees.
        decoder: the same of the decoder; the future ones are its look-ahead.
        chained: whether a part is coded as seen from the decoded parts before it.
        levels: grid of a finite scalar quantiser (Mentzer et al. 2023), its product the codebook size; empty for a
            learnt codebook.
        cosine: whether codes are unit vectors, compared by angle (Yu et al. 2022), or points, by distance.
    """

    parts: tuple[str, ...] = PARTS
    codebook_size: int = 512
    code_dim: int = 16
    width: dict[str, int] = field(default_factory=lambda: {"core": 96, "side": 192})
    frames_per_step: int = FRAMES_PER_STEP
    encoder: tuple[tuple[int, int], ...] = ((1, 1), (1, 1))
    decoder: tuple[tuple[int, int], ...] = ((2, 1), (2, 1), (2, 0))
    chained: bool = False
    levels: tuple[int, ...] = ()
    cosine: bool = True

    def __post_init__(self) -> None:
        unknown = [part for part in self.parts if part not in (*PARTS, *FIVE_PARTS)]
        if unknown or len(set(self.parts)) != len(self.parts) or not self.parts:
            raise ValueError(f"expected different parts of {sorted({*PARTS, *FIVE_PARTS})}; got {self.parts}")
        bones = [f"{limb_of(part)}{bone}" for part in self.parts for bone in _bones_within(part)]
        if len(set(bones)) != len(bones):
            raise ValueError(f"expected parts that share no bone; got {self.parts}")
        if sum(ahead for _, ahead in self.decoder) > LOOKAHEAD_STEPS:
            raise ValueError(f"expected a decoder that looks at most {LOOKAHEAD_STEPS} steps ahead; got {self.decoder}")
        if self.levels and int(np.prod(self.levels)) != self.codebook_size:
            raise ValueError(f"expected levels whose product is {self.codebook_size}; got {self.levels}")

    @property
    def past_steps(self) -> int:
        """Earlier steps that decoding sees."""
        return sum(past for past, _ in self.decoder)


def limb_of(part: str) -> str:
    """The limb that a part belongs to: `core`, `left` or `right`."""
    return part.partition("_")[0]


def network_of(part: str) -> str:
    """The network (and codebook) of a part; both sides share one."""
    return _NETWORK[part.replace("right", "left")]


def _bones_within(part: str) -> range:
    """Places of a part's bones among those of its limb."""
    if part == "core":
        return range(len(CORE_BONES))
    last = _ARM if part.endswith("_arm") else len(ARM_BONES)
    return range(_ARM if part.endswith("_hand") else 0, last)


@lru_cache(maxsize=32)
def part_bones(part: str, skeleton: Skeleton) -> NDArray[np.int64]:
    """(K,) the bones of a part, parents before children."""
    within = _bones_within(part)
    return skeleton.part(limb_of(part))[within.start : within.stop]


def part_features(turned: NDArray[np.float32], part: str, skeleton: Skeleton) -> NDArray[np.float32]:
    """6D rotations of a part.

    Args:
        turned: (..., J, 4) unit quaternions, parent-relative.
        part: see the manifest.
        skeleton: whose bones they are.
    Returns:
        (..., K * 6) float32, the right side mirrored into the left's space.
    """
    bones = turned[..., part_bones(part, skeleton), :]
    d = rotations.to_6d(rotations.mirror(bones) if limb_of(part) == "right" else bones)
    return d.reshape(*d.shape[:-2], -1)


def rotations_from_6d(features: NDArray[np.float32], part: str) -> NDArray[np.float32]:
    """The inverse of `part_features`: (..., K * 6) → (..., K, 4)."""
    q = rotations.from_6d(features.reshape(*features.shape[:-1], -1, 6))
    return rotations.mirror(q) if limb_of(part) == "right" else q


def _convolve(conv: nn.Conv1d, x: Tensor) -> Tensor:
    """A convolution over S of (B, S, C) as one product of matrices: several times faster here than torch's own."""
    if conv.kernel_size[0] > 1:
        x = x.unfold(1, conv.kernel_size[0], conv.stride[0]).flatten(2)  # (B, S, C * kernel)
    return nn.functional.linear(x, conv.weight.flatten(1), conv.bias)


class _Residual(nn.Module):
    """Convolution over time that sees `left` steps of the past and `right` of the future."""

    def __init__(self, width: int, left: int, right: int) -> None:
        super().__init__()
        self.pad = (left, right)
        self.conv = nn.Conv1d(width, width, left + right + 1)
        self.mix = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:  # (B, S, C)
        left, right = self.pad
        padded = torch.cat([x[:, :1].expand(-1, left, -1), x, x[:, -1:].expand(-1, right, -1)], dim=1)
        return x + _convolve(self.mix, nn.functional.gelu(_convolve(self.conv, padded)))


def _grid(levels: Sequence[int]) -> Tensor:
    """(codes, D) the points of a grid over [-1, 1], the last dimension fastest."""
    axes = [torch.linspace(-1, 1, count) for count in levels]
    return torch.cartesian_prod(*axes).reshape(-1, len(levels))


class PartCodec(nn.Module):
    """VQ-VAE of one part.

    The codebook learns by exponential moving averages with resets of dead codes (see `visavis.finetune.codec`). With
    `levels` it is a fixed grid instead.
    """

    codebook: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, features: int, width: int, config: CodecConfig) -> None:
        super().__init__()
        self.stride = stride = config.frames_per_step
        self.levels, self.cosine = config.levels, config.cosine
        code_dim = len(config.levels) or config.code_dim
        self.inlet = nn.Conv1d(features, width, stride, stride)
        self.encoder = nn.Sequential(*(_Residual(width, *reach) for reach in config.encoder))
        self.to_code = nn.Conv1d(width, code_dim, 1)
        self.from_code = nn.Conv1d(code_dim, width, 1)
        self.decoder = nn.Sequential(*(_Residual(width, *reach) for reach in config.decoder))
        self.outlet = nn.Conv1d(width, features * stride, 1)
        codes = nn.functional.normalize(torch.randn(config.codebook_size, code_dim), dim=-1)
        self.register_buffer("codebook", _grid(config.levels) if config.levels else codes)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    def _blocks(self, blocks: nn.Module, h: Tensor) -> Tensor:
        """The residual blocks; in training with products in bfloat16, twice as fast where the CPU has them."""
        if not self.training:
            return blocks(h)  # type: ignore[no-any-return]
        with torch.autocast("cpu", torch.bfloat16):
            return blocks(h).float()  # type: ignore[no-any-return]

    def embed(self, x: Tensor) -> Tensor:
        """(B, T, F) features → (B, S, D): unit vectors, points, or points in [-1, 1] for a grid."""
        h = self._blocks(self.encoder, _convolve(self.inlet, (x - self.mean) / self.scale))
        z = _convolve(self.to_code, h)
        if self.levels:
            return torch.tanh(z)
        return nn.functional.normalize(z, dim=-1) if self.cosine else z

    def quantize(self, z: Tensor) -> Tensor:
        """(B, S, D) vectors → (B, S) int64 nearest codes."""
        if not self.levels:
            return (z @ self.codebook.T - 0.5 * self.codebook.pow(2).sum(-1)).argmax(-1)
        code = torch.zeros(z.shape[:-1], dtype=torch.int64)
        for column, count in enumerate(self.levels):
            code = code * count + ((z[..., column] + 1) / 2 * (count - 1)).round().long()
        return code

    def render(self, z: Tensor) -> Tensor:
        """(B, S, D) codes as vectors → (B, T, F) features."""
        h = _convolve(self.outlet, self._blocks(self.decoder, _convolve(self.from_code, z)))  # (B, S, stride * F)
        return h.unflatten(-1, (self.stride, -1)).flatten(1, 2) * self.scale + self.mean


class MotionCodec(nn.Module):
    """All parts of the codec, with the manifest that names them."""

    def __init__(self, config: CodecConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CodecConfig()
        skeleton = default_skeleton()
        self.networks = nn.ModuleDict({
            network_of(part): PartCodec(6 * len(part_bones(part, skeleton)), config.width[network_of(part)], config)
            for part in config.parts
        })  # fmt: skip
        self._choices: dict[str, CodeChoice] = {}

    def network(self, part: str) -> PartCodec:
        """The network that codes a part."""
        return self.networks[network_of(part)]  # type: ignore[return-value]

    def _choice(self, part: str) -> CodeChoice:
        """How the codes of a part's network are chosen with care: made once, in about half a second and 10 to 30 MB."""
        from visavis.tokenizers.code_choice import CodeChoice

        name = network_of(part)
        if name not in self._choices:
            ahead = sum(step for _, step in self.config.decoder)
            self._choices[name] = CodeChoice(self.network(part), part, self.config.past_steps, ahead)
        return self._choices[name]

    @torch.inference_mode()
    def encode(self, motion: Motion, careful: bool = False) -> NDArray[np.int64]:
        """Turn a motion into motion tokens.

        Args:
            motion: T frames; the last step is filled by repeating the last frame.
            careful: choose codes by what is decoded (see `code_choice`): truer to the motion, most of all to wrists and
                fingertips, and a little less even in time. Otherwise the codes nearest to the encoder's output, which
                is what the models learn from. Weights must not change after the first careful encoding.
        Returns:
            (S, P) int64 in [0, codebook_size), S = ceil(T / 4).
        """
        missing = -len(motion) % self.config.frames_per_step
        turned = np.concatenate([motion.rotations, np.repeat(motion.rotations[-1:], missing, axis=0)])
        chain = _Chain() if self.config.chained else None
        columns: dict[str, NDArray[np.int64]] = {}
        for group in _groups(self.config.parts):
            bones = np.stack([turned[:, part_bones(part, motion.skeleton)] for part in group])  # (G, T, K, 4)
            if chain:
                bones = chain.seen(bones, group)
            net = self.network(group[0])
            sides = [rotations.mirror(q) if limb_of(p) == "right" else q for q, p in zip(bones, group, strict=True)]
            features = torch.from_numpy(rotations.to_6d(np.stack(sides)).reshape(*bones.shape[:2], -1))
            z = net.embed(features)
            codes = net.quantize(z)
            if careful:
                codes = self._choice(group[0])(features, z, codes)
            columns |= zip(group, codes.numpy(), strict=True)
            if chain and len(columns) < len(self.config.parts):
                chain.decoded(bones, self._rotations(dict(zip(group, net.render(net.codebook[codes]), strict=True))))
        return np.stack([columns[part] for part in self.config.parts], axis=-1)

    @staticmethod
    def _rotations(made: dict[str, Tensor]) -> dict[str, NDArray[np.float32]]:
        """Parts' features (T, K * 6) as rotations (T, K, 4), all in one go."""
        widths = [x.shape[-1] // 6 for x in made.values()]
        turned = rotations.from_6d(torch.cat(list(made.values()), dim=-1).unflatten(-1, (-1, 6)).numpy())
        split = np.split(turned, np.cumsum(widths)[:-1], axis=1)
        return {
            part: rotations.mirror(q) if limb_of(part) == "right" else q for part, q in zip(made, split, strict=True)
        }

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
        made: dict[str, Tensor] = {}
        for group in _groups(parts) if frames else []:
            net = self.network(group[0])
            ids = torch.from_numpy(codes[:, [parts.index(part) for part in group]].astype(np.int64)).T
            made |= zip(group, net.render(net.codebook[ids]), strict=True)
        for part, own in self._rotations(made).items() if frames else ():
            turned[:, part_bones(part, skeleton)] = own
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
            codec = cls(_config(data))
            weights = load_file(folder / "codec.safetensors")
            codec.load_state_dict({k: v.float() for k, v in weights.items()})
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            why = " ".join(str(error).split())[:200]  # torch lists every tensor that does not fit
            raise FileFormatError(
                f"expected a motion codec (codec.json, codec.safetensors) in {folder}; {why}: "
                "train one with `visavis train codec`"
            ) from error
        for network in codec.networks.values():  # half precision moved the codes off the sphere, or the grid, a little
            assert isinstance(network, PartCodec)
            if network.levels:
                network.codebook = _grid(network.levels)
            elif network.cosine:
                network.codebook = nn.functional.normalize(network.codebook, dim=-1)
        return codec.eval()


def _config(data: dict[str, Any]) -> CodecConfig:
    """The manifest from JSON, where tuples are lists; fields that an older one lacks keep their defaults."""
    fields = dict(data)
    for key in ("encoder", "decoder"):
        if key in fields:
            fields[key] = tuple((int(past), int(ahead)) for past, ahead in fields[key])
    for key in ("parts", "levels"):
        if key in fields:
            fields[key] = tuple(fields[key])
    return CodecConfig(**fields)


def _groups(parts: Sequence[str]) -> list[list[str]]:
    """Parts that one network codes together, in the order in which they hang on each other."""
    groups: dict[str, list[str]] = {}
    for part in sorted(parts, key=lambda part: (part.endswith("_hand"), part != "core")):
        groups.setdefault(network_of(part), []).append(part)
    return list(groups.values())


class _Chain:
    """What was decoded wrongly so far along each limb, to be turned back by the part that comes next.

    At the end of a part its bone is off in the world; the next part's first bone is coded with that error taken back,
    so that its own orientation in the world is the true one again.
    """

    def __init__(self) -> None:
        self._off: dict[str, NDArray[np.float32]] = {}  # limb → (T, 4)

    def seen(self, bones: NDArray[np.float32], parts: Sequence[str]) -> NDArray[np.float32]:
        """True parent-relative rotations (G, T, K, 4) of parts as seen from the decoded bones that they hang on."""
        if self._off and parts[0] != "core":
            off = np.stack([self._off[limb_of(part)] for part in parts])
            bones = bones.copy()
            bones[:, :, 0] = rotations.multiply(off, bones[:, :, 0])
        return bones

    def decoded(self, seen: NDArray[np.float32], made: dict[str, NDArray[np.float32]]) -> None:
        """Remember what became of parts: `seen` (G, T, K, 4) as above, `made` by part (T, K, 4)."""
        last = _CHEST + 1 if "core" in made else seen.shape[2]
        true, wrong = _along(np.stack([seen, np.stack(list(made.values()))])[..., :last, :])
        off = rotations.multiply(rotations.conjugate(wrong), true)
        for place, part in enumerate(made):
            for limb in ("left", "right") if part == "core" else (limb_of(part),):
                self._off[limb] = off[place]


def _along(bones: NDArray[np.float32]) -> NDArray[np.float32]:
    """(..., K, 4) rotations down a limb → (..., 4), the last bone's seen from the first one's parent."""
    out = bones[..., 0, :]
    for place in range(1, bones.shape[-2]):
        out = rotations.multiply(out, bones[..., place, :])
    return out
