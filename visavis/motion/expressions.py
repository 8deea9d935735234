"""VRM's preset expressions and the 52 ARKit shapes: each in terms of the other. Knows no mesh and no file.

A preset is a sum of ARKit shapes (`data/expressions.yaml`). A face track is brought to presets by least squares with
weights in [0, 1]; the way back is the sum.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis import safe_yaml
from visavis.motion.face import ARKIT_NAMES, face_index

__all__ = ["MOUTH_PRESETS", "PRESETS", "fitted_presets", "from_presets", "preset_shapes", "to_presets"]

Array = NDArray[np.float32]
# All presets of VRM 1.0.
PRESETS: Final = (
    "happy", "angry", "sad", "relaxed", "surprised", "aa", "ih", "ou", "ee", "oh", "blink", "blinkLeft", "blinkRight",
    "lookUp", "lookDown", "lookLeft", "lookRight", "neutral",
)  # fmt: skip
MOUTH_PRESETS: Final = ("aa", "ih", "ou", "ee", "oh")
_SWEEPS = 24


@lru_cache(maxsize=1)
def preset_shapes() -> MappingProxyType[str, MappingProxyType[str, float]]:
    """Preset → ARKit name → weight."""
    data = safe_yaml.load((files("visavis.motion") / "data" / "expressions.yaml").read_text("utf8"))
    out = {}
    for preset, shapes in data.items():
        flat: dict[str, float] = {}
        for name, weight in shapes.items():
            for side in ("Left", "Right") if name.endswith("Both") else ("",):
                flat[name.removesuffix("Both") + side] = float(weight)
        out[preset] = MappingProxyType(flat)
    return MappingProxyType(out)


@lru_cache(maxsize=1)
def fitted_presets() -> tuple[str, ...]:
    """The presets that `to_presets` gives: `blink` is left to its two sides, `relaxed` and `neutral` to the rest."""
    return tuple(name for name in preset_shapes() if name not in ("blink", "relaxed", "neutral"))


def _matrix(presets: tuple[str, ...]) -> NDArray[np.float64]:
    out = np.zeros((len(presets), len(ARKIT_NAMES)))
    for i, preset in enumerate(presets):
        for name, weight in preset_shapes().get(preset, {}).items():
            out[i, face_index(name)] = weight
    return out


def to_presets(face: NDArray[np.floating]) -> dict[str, Array]:
    """The presets that come nearest to a face track.

    Args:
        face: (T, 52) ARKit weights.

    Returns:
        preset → (T,) weights in [0, 1]: box-bounded least squares by coordinate descent.
    """
    names = fitted_presets()
    shapes = _matrix(names)
    gram, wanted = shapes @ shapes.T, np.asarray(face, np.float64) @ shapes.T
    weights = np.zeros_like(wanted)
    for _ in range(_SWEEPS):
        for k in range(len(names)):
            rest = wanted[:, k] - weights @ gram[:, k]
            weights[:, k] = np.clip(weights[:, k] + rest / gram[k, k], 0, 1)
    return {name: weights[:, k].astype(np.float32) for k, name in enumerate(names)}


def from_presets(weights: dict[str, Array], frames: int) -> Array:
    """(frames, 52) ARKit weights that show the given presets (each (frames,)), clipped to [0, 1]."""
    face = np.zeros((frames, len(ARKIT_NAMES)))
    for name, values in weights.items():
        face += np.asarray(values, np.float64)[:, None] * _matrix((name,))
    return np.clip(face, 0, 1).astype(np.float32)
