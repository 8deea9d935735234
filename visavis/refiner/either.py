"""The two refiners behind one function: the first, and the one with modes. The folder says which it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visavis.emotion import Emotion
from visavis.motion.motion import Motion
from visavis.refiner import modes
from visavis.refiner.conditions import Conditions
from visavis.refiner.flow import FlowRefiner
from visavis.refiner.model import Refiner
from visavis.refiner.sampler import refine

__all__ = ["AnyRefiner", "load_refiner", "refine_next"]

AnyRefiner = Refiner | FlowRefiner


def load_refiner(folder: str | Path) -> AnyRefiner:
    """Read a refiner of either version, ready to run.

    Raises:
        FileFormatError: there is none, or its files do not fit each other.
    """
    folder = Path(folder)
    try:
        version = json.loads((folder / "refiner.json").read_text()).get("version", 1)
    except (OSError, ValueError, AttributeError):
        version = 1  # whose loading says what is wrong
    return Refiner.load(folder) if version == 1 else FlowRefiner.load(folder)


def refine_next(
    refiner: AnyRefiner,
    decoded: Motion,
    sound: NDArray[np.float32],
    emotion: Emotion,
    *,
    known: Motion | None = None,
    confidence: modes.Confidence = 1.0,
    seed: int = 0,
) -> Motion:
    """Refine what comes after `known`.

    Args:
        refiner: either.
        decoded: T frames.
        sound: (T', 5) prosody of the same stretch.
        emotion: how it feels.
        known: the last frames of what was shown; they are continued.
        confidence: how far `decoded` is trusted (`visavis.refiner.modes.refine`); a refiner without modes trusts all
            of it alike.
        seed: of the noise.
    """
    if isinstance(refiner, Refiner):
        return refine(refiner, decoded, sound, emotion, known=known, seed=seed)
    wanted = Conditions(sound, emotion)
    if known is None:
        return modes.refine(refiner, decoded, wanted, confidence=confidence, seed=seed)
    return modes.continued(refiner, known, decoded, wanted, confidence=confidence, seed=seed)
