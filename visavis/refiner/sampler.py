"""REFINE: run the flow from decoded motion to refined motion, protecting what must not move.

`strength` 0 is the identity. Frames that are `known` (the end of the previous chunk) come back unchanged, and the
motion continues them without a seam. Strokes are protected afterwards by the solver, which meets their targets again
(`visavis.motion.constraints`): masking arm angles would not do, because a moving spine moves the wrist too.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from visavis.emotion import Emotion
from visavis.motion import rotations
from visavis.motion.motion import Motion
from visavis.refiner.model import Refiner
from visavis.tokenizers.codec import PARTS, part_features, rotations_from_6d

__all__ = ["STEPS", "motion_features", "refine", "with_features"]

STEPS = 2


def motion_features(motion: Motion) -> NDArray[np.float32]:
    """(T, 264) 6D rotations of core, left and mirrored right."""
    return np.concatenate([part_features(motion.rotations, part, motion.skeleton) for part in PARTS], axis=-1)


def with_features(motion: Motion, features: NDArray[np.float32]) -> Motion:
    """The motion with the bones of all parts taken from (T, 264) features."""
    turned = motion.rotations.copy()
    start = 0
    for part in PARTS:
        bones = motion.skeleton.part(part)
        turned[:, bones] = rotations_from_6d(features[:, start : start + 6 * len(bones)], part)
        start += 6 * len(bones)
    return replace(motion, rotations=turned)


@torch.inference_mode()
def refine(
    refiner: Refiner,
    decoded: Motion,
    prosody: NDArray[np.float32],
    emotion: Emotion,
    *,
    known: Motion | None = None,
    strength: float = 1.0,
    seed: int = 0,
    steps: int = STEPS,
) -> Motion:
    """Refine a decoded motion.

    Args:
        refiner: the model.
        decoded: T frames of decoded motion.
        prosody: (T', 5) of the same stretch of audio at 30 fps; cut or filled with silence to T.
        emotion: how it feels.
        known: the last frames of the previous chunk, already final; they are continued.
        strength: 0 gives `decoded` back, 1 the full refinement; between, the rotations between.
        seed: of the noise.
        steps: Euler steps, at most 8.
    Returns:
        T frames; legs, root and face as in `decoded`.
    """
    if not 1 <= steps <= 8:
        raise ValueError(f"steps must lie in 1..8; got {steps}")
    if strength <= 0.0 or len(decoded) == 0:
        return decoded
    patch = refiner.config.patch
    lead = 0 if known is None else len(known) // patch * patch
    frames = lead + len(decoded)
    padded = frames + (-frames % patch)

    def stretch(x: NDArray[np.float32], fill: str) -> torch.Tensor:
        x = np.concatenate([np.zeros((lead, x.shape[1]), np.float32), x[: len(decoded)]])
        missing = padded - len(x)
        x = np.pad(x, ((0, missing), (0, 0)), mode="edge" if fill == "edge" else "constant")  # type: ignore[call-overload]
        return torch.from_numpy(x.astype(np.float32))[None]

    x = stretch(motion_features(decoded), "edge")
    mask = torch.zeros(1, padded)
    if known is not None and lead:
        x[:, :lead] = torch.from_numpy(motion_features(known)[-lead:])
        mask[:, :lead] = 1.0
    x = (x - refiner.mean) / refiner.scale
    sound = stretch(prosody, "zero")
    felt = torch.tensor([emotion.vector])
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(x.shape, generator=generator) * refiner.config.noise
    point = x + noise * (1 - mask[..., None])
    for i in range(steps):
        time = i / steps
        end = refiner(point, x, sound, mask, felt, torch.tensor([time]))
        end = torch.where(mask[..., None] > 0, x, end)
        point = point + (end - point) * ((1 / steps) / (1 - time))
    features = (point * refiner.scale + refiner.mean)[0, lead:frames].numpy()
    refined = with_features(decoded, features)
    if strength < 1.0:
        share = np.full(decoded.rotations.shape[:2], strength, np.float32)
        refined = replace(refined, rotations=rotations.slerp(decoded.rotations, refined.rotations, share))
    return refined
