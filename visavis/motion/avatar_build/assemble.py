"""Puts the pieces together into an `Avatar`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visavis.motion.avatar import Avatar, Material, vertex_normals
from visavis.motion.avatar_build.body import body_field, body_parts
from visavis.motion.avatar_build.head import head_parts
from visavis.motion.avatar_build.head_shape import ORIGIN, skull
from visavis.motion.avatar_build.morphs import face_morphs
from visavis.motion.avatar_build.part import Part
from visavis.motion.avatar_build.skin import four_largest, part_weights
from visavis.motion.face import ARKIT_NAMES
from visavis.motion.skeleton import default_skeleton

__all__ = ["PALETTE", "build"]

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


def _shade(parts: list[Part], starts: NDArray[np.int64], normals: NDArray[np.float32]) -> NDArray[np.float32]:
    """(V, 3) factors: darker where the body shades itself, a blush on cheeks and nose, dark in the mouth."""

    def everything(p: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.minimum(body_field(p), skull(p - ORIGIN))

    points = np.concatenate([part.vertices for part in parts]).astype(np.float32)
    hidden = np.zeros(len(points), np.float32)
    for reach in (0.012, 0.03, 0.06):
        away = everything(points + reach * normals)
        hidden += np.clip((reach - np.maximum(away, 0)) / reach, 0, 1) / 3
    # A convex place already has a little of this; only what is beyond counts.
    hidden = np.clip((hidden - 0.12) / 0.88, 0, 1)[:, None]
    out = 1 - hidden * np.array([0.26, 0.36, 0.38], np.float32)
    for part, start in zip(parts, starts, strict=False):
        rows = slice(start, start + len(part.vertices))
        if part.name.endswith(("eyeball", "teeth", "tongue", "brow")):
            out[rows] = 1
        if part.name == "face":
            p = part.vertices - ORIGIN
            front = np.stack([np.abs(p[:, 0]) - 0.043, p[:, 1] - 0.038, np.minimum(p[:, 2] - 0.05, 0)], axis=1)
            blush = np.exp(-np.sum((front / [0.017, 0.014, 0.03]) ** 2, axis=1))
            nose = np.exp(-np.sum(((p - [0, 0.047, 0.110]) / 0.010) ** 2, axis=1))
            pink = 1 - (0.55 * blush + 0.3 * nose)[:, None] * np.array([0.0, 0.20, 0.20])
            ring = part.labels["mouth"][:, None]
            inside = np.clip((ring - 6) / 3, 0, 1)
            out[rows] = np.where(ring > 3, 1 - 0.5 * inside, np.maximum(out[rows], 0.80) * pink)
    return out.astype(np.float32)


def build() -> Avatar:
    """The default avatar; the same result on every run."""
    head = head_parts()
    parts: list[Part] = [*head, *body_parts()]
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    positions = np.concatenate([part.vertices for part in parts]).astype(np.float32)
    faces = np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=False)])
    names = np.concatenate([part.face_materials for part in parts])
    order = {material.name: i for i, material in enumerate(PALETTE)}
    corner = positions[faces]
    solid = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1) > 1e-11
    faces, names = faces[solid], names[solid]
    material = np.array([order[name] for name in names], np.uint8)
    by_material = np.argsort(material, kind="stable")
    joints, weights = four_largest(np.concatenate([part_weights(part) for part in parts]))
    morph_index, morph_delta_m = face_morphs(head)
    assert weights.shape[0] == len(positions) and default_skeleton().index("hips") == 0
    normals = vertex_normals(positions, faces)
    return Avatar(
        positions_m=positions,
        shade=_shade(parts, starts, normals),
        faces=faces[by_material].astype(np.int32),
        face_material=material[by_material],
        materials=PALETTE,
        joints=joints,
        weights=weights,
        morph_names=ARKIT_NAMES,
        morph_index=morph_index,
        morph_delta_m=morph_delta_m,
        head_vertices=int(starts[len(head)]),
    )
