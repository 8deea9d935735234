"""The head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visavis.motion.avatar_build.field import ellipsoid, extract, round_cone, smooth_min
from visavis.motion.avatar_build.part import Part
from visavis.motion.skeleton import default_skeleton

__all__ = ["head_parts"]

Array = NDArray[np.float32]
_BONES = default_skeleton()
ORIGIN = _BONES.rest_positions_m[_BONES.index("head")]


def skull(p: Array) -> Array:
    """Head skin in the space of the head bone."""
    cranium = ellipsoid(p, (0, 0.108, -0.008), (0.082, 0.096, 0.100))
    jaw = round_cone(p, (0, 0.02, 0.045), (0, 0.05, 0.03), 0.048, 0.062)
    return smooth_min(cranium, jaw, 0.05)


def head_parts() -> list[Part]:
    """Everything that belongs to the head."""
    mesh = extract(lambda p: skull(p - ORIGIN), (-0.12, 1.42, -0.14), (0.12, 1.70, 0.13), 0.006, 1500)
    return [Part(mesh.vertices, mesh.faces, "skin").bound("head", ("head",), 0)]
