"""Robin, the first avatar: 1.68 m and slim, in a sweater. On the default skeleton."""

from __future__ import annotations

from visavis.motion.avatar import Material
from visavis.motion.avatar_build.body import body_field, body_parts
from visavis.motion.avatar_build.design import Design
from visavis.motion.avatar_build.head import head_parts
from visavis.motion.skeleton import default_skeleton

__all__ = ["PALETTE", "robin"]

# Flat and friendly; sRGB.
PALETTE = (
    Material("skin", (0.925, 0.735, 0.615), 0.75),
    Material("lips", (0.800, 0.490, 0.455), 0.6),
    Material("mouth", (0.360, 0.120, 0.130), 0.9),
    Material("tongue", (0.800, 0.420, 0.420), 0.6),
    Material("teeth", (0.965, 0.955, 0.925), 0.4),
    Material("sclera", (0.965, 0.960, 0.950), 0.3),
    Material("iris", (0.330, 0.420, 0.300), 0.3),
    Material("iris_rim", (0.180, 0.240, 0.190), 0.3),
    Material("pupil", (0.060, 0.050, 0.055), 0.2),
    Material("glint", (1.0, 1.0, 1.0), 0.2),
    Material("lash", (0.170, 0.110, 0.095), 0.9),
    Material("brow", (0.290, 0.185, 0.140), 0.9),
    Material("hair", (0.365, 0.235, 0.170), 0.85),
    Material("shirt", (0.235, 0.560, 0.585), 0.95),
    Material("band", (0.180, 0.450, 0.480), 0.95),
    Material("trousers", (0.235, 0.275, 0.385), 0.95),
    Material("shoe", (0.910, 0.470, 0.375), 0.8),
    Material("sole", (0.955, 0.945, 0.925), 0.8),
)


def robin() -> Design:
    """The plan of the first avatar."""
    return Design(default_skeleton(), PALETTE, head_parts, None, body_parts, body_field)
