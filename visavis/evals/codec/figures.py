"""Errors of a codec, clip by clip, and the codes it used.

All errors compare the decoded clip with the clip itself, same root and legs, default skeleton. Fingertips are measured
twice: as places relative to the wrist along the axes of the world, so that a turned hand counts, and in the hand's own
frame, where only fingers count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from visavis.metrics.bootstrap import Estimate, bootstrap
from visavis.motion import rotations as rot
from visavis.motion.kinematics import forward
from visavis.motion.motion import FPS, Motion
from visavis.motion.skeleton import FINGERS, default_skeleton
from visavis.tokenizers.codec import MotionCodec, network_of

__all__ = ["MEASURES", "Figures", "clip_errors", "measure", "through"]

# Hips are left out: their place is the root's, which is no token; the crown shows how the head is turned.
_BODY = (
    "spine", "chest", "upperChest", "neck", "head",
    *(f"{side}{bone}" for side in ("left", "right") for bone in ("Shoulder", "UpperArm", "LowerArm", "Hand")),
)  # fmt: skip
_WRISTS = ("leftHand", "rightHand")
MEASURES = ("body_mm", "wrists_mm", "fingertips_mm", "fingertips_in_hand_mm", "acceleration_m_s2")

Array = NDArray[np.float32]
Code = Callable[[Motion], tuple[Motion, NDArray[np.int64]]]


def _places(motion: Motion) -> tuple[Array, Array, Array, Array]:
    """Body (T, 14, 3) with the crown, wrists (T, 2, 3), fingertips relative to the wrist (T, 10, 3) in the world and in
    the hand.
    """
    skeleton = default_skeleton()
    places, turned = forward(motion.rotations, motion.root_m, skeleton)

    def tip(name: str) -> Array:
        i = skeleton.index(name)
        return places[:, i] + rot.rotate(turned[:, i], skeleton.tips_m[name])

    body = np.concatenate([places[:, skeleton.indices(_BODY)], tip("head")[:, None]], axis=1)
    world, own = [], []
    for wrist in _WRISTS:
        side, hand = wrist.removesuffix("Hand"), skeleton.index(wrist)
        for finger in FINGERS:
            away = tip(f"{side}{finger}Distal") - places[:, hand]
            world.append(away)
            own.append(rot.rotate(rot.conjugate(turned[:, hand]), away))
    return body, places[:, skeleton.indices(_WRISTS)], np.stack(world, axis=1), np.stack(own, axis=1)


def clip_errors(truth: Motion, made: Motion) -> dict[str, float]:
    """The measures of one clip; NaN for the acceleration of fewer than three frames."""
    pairs = list(zip(_places(truth), _places(made), strict=True))
    mm = [1000 * float(np.linalg.norm(a - b, axis=-1).mean()) for a, b in pairs]
    change = np.diff(pairs[0][0] - pairs[0][1], n=2, axis=0) * FPS**2
    acceleration = float(np.linalg.norm(change, axis=-1).mean()) if len(change) else float("nan")
    return dict(zip(MEASURES, [*mm, acceleration], strict=True))


@dataclass
class Figures:
    """What was measured: errors by measure and clip, how often each code was used, by codebook."""

    clips: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in MEASURES})
    used: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    def estimate(self, measure: str) -> Estimate:
        """The mean over clips with its bootstrap interval; clips weigh alike, whatever their length."""
        return bootstrap([value for value in self.clips[measure] if value == value])

    def add(self, truth: Motion, made: Motion) -> None:
        """One clip."""
        for name, value in clip_errors(truth, made).items():
            self.clips[name].append(value)

    def count(self, part: str, codes: NDArray[np.int64], size: int) -> None:
        """The codes of one part of one clip."""
        book = network_of(part)
        self.used[book] = self.used.get(book, np.zeros(size, np.int64)) + np.bincount(codes, minlength=size)

    def count_all(self, parts: Sequence[str], codes: NDArray[np.int64], size: int) -> None:
        """The codes (S, P) of one clip."""
        for column, part in enumerate(parts):
            self.count(part, codes[:, column], size)

    def merged(self, other: Figures) -> Figures:
        """Both together."""
        clips = {name: self.clips[name] + other.clips[name] for name in MEASURES}
        used = {
            book: self.used.get(book, 0) + other.used.get(book, 0) for book in dict.fromkeys([*self.used, *other.used])
        }
        return Figures(clips, used)  # type: ignore[arg-type]

    def share_used(self) -> dict[str, float]:
        """The share of each codebook that was used at least once."""
        return {book: float((counts > 0).mean()) for book, counts in self.used.items()}

    def perplexity(self) -> dict[str, float]:
        """exp(entropy) of the codes of each codebook: as many equally likely codes would be as hard to guess."""
        out = {}
        for book, counts in self.used.items():
            p = counts[counts > 0] / counts.sum()
            out[book] = float(np.exp(-(p * np.log(p)).sum()))
        return out


def measure(code: Code, parts: Sequence[str], size: int, motions: Sequence[Motion]) -> Figures:
    """Every motion there and back.

    Args:
        code: motion → decoded motion of the same length, codes (S, P).
        parts: names of the P parts.
        size: codes in a codebook.
        motions: the clips.
    """
    figures = Figures()
    for motion in motions:
        made, codes = code(motion)
        figures.add(motion, made)
        figures.count_all(parts, codes, size)
    return figures


def through(codec: MotionCodec, careful: bool = False) -> Code:
    """Encoding (with care, or by the nearest codes) and decoding by a codec, in the form that `measure` takes."""

    def code(motion: Motion) -> tuple[Motion, NDArray[np.int64]]:
        codes = codec.encode(motion, careful)
        return codec.decode(codes, motion).slice(0, len(motion)), codes

    return code
