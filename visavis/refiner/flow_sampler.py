"""Running the flow: from what is given, how sure it is and what is known to a motion.

Every mode (`visavis.refiner.modes`) is this one function with another mask.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from visavis.motion.motion import Motion
from visavis.refiner.conditions import Conditions, emotion_weights
from visavis.refiner.flow import FlowRefiner
from visavis.refiner.joining import join
from visavis.refiner.pose_points import LIMBS, with_points
from visavis.refiner.sampler import motion_features, with_features

__all__ = ["MOST_STEPS", "flow"]

MOST_STEPS = 16
LEAST_CURVED = 4  # steps from which on the path may bend


@torch.inference_mode()
def flow(
    refiner: FlowRefiner,
    given: Motion,
    known: NDArray[np.bool_],
    confidence: NDArray[np.float32],
    conditions: Conditions,
    *,
    seed: int,
    steps: int,
) -> Motion:
    """Make the frames and limbs that are not known.

    Args:
        refiner: the network.
        given: T frames; where neither known nor trusted, its limbs count for nothing.
        known: (T, 3) by limb, what is final.
        confidence: (T, 3) in [0, 1] by limb, how far `given` is trusted.
        conditions: what the motion shall fit; their sound begins with the first frame.
        seed: of the noise.
        steps: Euler steps, 1 to 16.
    Returns:
        T frames; what is known, legs, eyes, root and face as given.
    """
    if not 1 <= steps <= MOST_STEPS:
        raise ValueError(f"steps must lie in 1..{MOST_STEPS}; got {steps}")
    frames = len(given)
    if frames == 0 or known.all():
        return given
    c = refiner.config
    more = -frames % c.patch

    def filled(x: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.pad(np.asarray(x, np.float32), ((0, more), (0, 0)), mode="edge"))[None]

    base = refiner.normalised(filled(with_points(motion_features(given))))
    # What is not trusted must not leak: a mask says how much of it counts.
    held, sure = filled(known), filled(np.clip(confidence, 0.0, 1.0))
    noise = refiner.noise(1, frames + more, torch.Generator().manual_seed(seed))
    point, seen = refiner.start(base, held, sure, noise)
    heard = torch.tensor([float(conditions.sound is not None)])
    guided = conditions.sound is not None and conditions.sound_weight != 1.0
    if guided:  # once with the sound and once without, in one pass
        heard = torch.tensor([1.0, 0.0])
    rest = [
        held, sure, filled(conditions.heard(frames, c.prosody)), heard,
        torch.tensor([emotion_weights(conditions.emotion)]), conditions.style_vector(refiner),
    ]  # fmt: skip
    rest = [x.expand(len(heard), *x.shape[1:]) for x in rest]
    fixed = refiner.columns(held, c.features) > 0

    def end_of(point: torch.Tensor, time: float) -> torch.Tensor:
        both = len(heard), -1, -1
        end = refiner(point.expand(both), seen.expand(both), *rest, torch.full((len(heard),), time))
        if guided:
            end = end[1:] + conditions.sound_weight * (end[:1] - end[1:])
        return end

    # What is known is known on the way, too; at the end how far the network is from it says how to join them.
    end = _integrated(end_of, lambda end: torch.where(fixed, base[..., : c.features], end), point, steps)
    features = (end * refiner.scale[: c.features] + refiner.mean[: c.features])[0, :frames].numpy()
    assert known.shape == (frames, len(LIMBS)), "a mask by frame and limb"
    return join(with_features(given, features), given, known)


def _integrated(
    end_of: Callable[[torch.Tensor, float], torch.Tensor],
    held: Callable[[torch.Tensor], torch.Tensor],
    point: torch.Tensor,
    steps: int,
) -> torch.Tensor:
    """From the start of the path to its end, given where a point on it would end and what of an end is known.

    A point moves by dx/dt = (end - x) / (1 - t). Two or three steps take each end as it is (Euler). More, which begin
    at noise, let it go on changing as it did in the last step (exponential Adams-Bashforth, the order of
    DPM-Solver++ 2M, Lu et al. 2022): Euler's ends are means of what may follow, too still by 15 to 45 % in eight steps,
    these by less than 20 (of Gaussian motion with 0.1 to 4 times the noise's deviation).
    """
    before = None
    for i in range(steps):
        left, then = 1 - i / steps, 1 - (i + 1) / steps
        end = end_of(point, i / steps)
        turn = torch.zeros_like(end) if before is None or steps < LEAST_CURVED else (end - before) * steps
        before = end
        if i + 1 == steps:
            return end + turn * left
        share = then / left
        point = share * point + (1 - share) * held(end) + turn * (left - then + then * math.log(share))
    raise AssertionError("a step at least")
