"""The face track: the 52 ARKit blendshapes, in the order of Live Link Face's CSV. Knows no mesh and no speech.

Source: ARKit `ARFaceAnchor.BlendShapeLocation`; the order is that of the Live Link Face app's takes (Apple's
`EyeBlinkLeft` … `TongueOut`). Weights lie in [0, 1]; left and right are the avatar's own.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["ARKIT_NAMES", "face_index", "mirror_index", "neutral_face"]

ARKIT_NAMES: Final[tuple[str, ...]] = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft",
    "eyeWideLeft",
    "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight", "eyeSquintRight",
    "eyeWideRight",
    "jawForward", "jawRight", "jawLeft", "jawOpen",
    "mouthClose", "mouthFunnel", "mouthPucker", "mouthRight", "mouthLeft", "mouthSmileLeft", "mouthSmileRight",
    "mouthFrownLeft", "mouthFrownRight", "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft",
    "mouthStretchRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
    "mouthPressLeft", "mouthPressRight", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft",
    "mouthUpperUpRight",
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip


@lru_cache(maxsize=1)
def _places() -> dict[str, int]:
    return {name: i for i, name in enumerate(ARKIT_NAMES)}


def face_index(name: str) -> int:
    """The column of a blendshape in a face track; KeyError if there is none of that name."""
    return _places()[name]


def mirror_index() -> NDArray[np.int64]:
    """(52,) for every blendshape the place of its counterpart on the other side (itself in the middle)."""

    def other(name: str) -> str:
        if name.endswith("Left"):
            return name[:-4] + "Right"
        return name[:-5] + "Left" if name.endswith("Right") else name

    return np.array([_places()[other(name)] for name in ARKIT_NAMES], dtype=np.int64)


def neutral_face(frames: int) -> NDArray[np.float32]:
    """(frames, 52) float32 zeros: a face at rest."""
    return np.zeros((frames, len(ARKIT_NAMES)), dtype=np.float32)
