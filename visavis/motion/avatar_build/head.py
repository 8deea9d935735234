"""The head: the pieces in the frame of the head bone, moved to their place in the body."""

from __future__ import annotations

from dataclasses import replace

from visavis.motion.avatar_build.face_mesh import face_skin
from visavis.motion.avatar_build.features import brow, ears, eyeball, hair, teeth, tongue
from visavis.motion.avatar_build.head_shape import ORIGIN
from visavis.motion.avatar_build.part import Part

__all__ = ["head_parts"]


def head_parts() -> list[Part]:
    """Everything that belongs to the head, in the world's T-pose."""
    parts = [
        face_skin(),
        *(make(side) for make in (eyeball, brow) for side in ("left", "right")),
        teeth("upper"),
        teeth("lower"),
        tongue(),
        *ears(),
        hair(),
    ]
    return [replace(part, vertices=part.vertices + ORIGIN) for part in parts]
