"""The head: the pieces in the frame of the head bone, moved to their place in the body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from visavis.motion.avatar_build.face_mesh import face_skin
from visavis.motion.avatar_build.features import brow, ears, eyeball, hair, teeth, tongue
from visavis.motion.avatar_build.head_shape import ORIGIN
from visavis.motion.avatar_build.part import Part

__all__ = ["head_parts"]


def head_parts(worn: Sequence[Part] | None = None) -> list[Part]:
    """Everything that belongs to the head, in the world's T-pose of the default skeleton.

    Args:
        worn: what the head wears, in the frame of its bone; short hair if None.
    """
    parts = [
        face_skin(),
        *(make(side) for make in (eyeball, brow) for side in ("left", "right")),
        teeth("upper"),
        teeth("lower"),
        tongue(),
        *ears(),
        *([hair()] if worn is None else worn),
    ]
    return [replace(part, vertices=part.vertices + ORIGIN) for part in parts]
