"""Puts the pieces together into an `Avatar`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visavis.motion.avatar import DEFAULT_AVATAR, Avatar, vertex_normals
from visavis.motion.avatar_build.design import Design, design
from visavis.motion.avatar_build.head_shape import ORIGIN, skull
from visavis.motion.avatar_build.morphs import face_morphs
from visavis.motion.avatar_build.part import Part
from visavis.motion.avatar_build.skin import four_largest, part_weights
from visavis.motion.face import ARKIT_NAMES

__all__ = ["build"]

Array = NDArray[np.float32]


def _shade(plan: Design, parts: list[Part], starts: NDArray[np.int64], points: Array, normals: Array) -> Array:
    """(V, 3) factors: darker where the body shades itself, a blush on cheeks and nose, dark in the mouth.

    `parts` have the head on the default skeleton; `points` and `normals` (V, 3) are where everything came to lie.
    """
    origin = plan.skeleton.rest_positions_m[plan.skeleton.index("head")]

    def everything(p: Array) -> Array:
        near = np.flatnonzero(p[:, 1] > origin[1] - 0.15)
        out = plan.body_field(p)
        local = p[near] - origin
        head = skull(plan.warp.inverse(local) if plan.warp else local)
        out[near] = np.minimum(out[near], head)
        return out

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
        if "tint" in part.labels:
            out[rows] *= part.labels["tint"][:, None]
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


def _placed(plan: Design, head: list[Part]) -> tuple[Array, tuple[NDArray[np.int32], ...], tuple[Array, ...]]:
    """The head of the default skeleton brought to this one: vertices (H, 3) in the world, and its face morphs."""
    points = np.concatenate([part.vertices for part in head]).astype(np.float32)
    index, delta = face_morphs(head)
    if plan.warp is None:
        return points, index, delta
    local = points - ORIGIN
    warped = plan.warp(local)
    carried = tuple(plan.warp(local[rows] + move) - warped[rows] for rows, move in zip(index, delta, strict=True))
    return warped + plan.skeleton.rest_positions_m[plan.skeleton.index("head")], index, carried


def build(name: str = DEFAULT_AVATAR) -> Avatar:
    """A shipped avatar by name; the same result on every run."""
    plan = design(name)
    head, body = plan.head(), plan.body()
    parts: list[Part] = [*head, *body]
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    head_points, morph_index, morph_delta_m = _placed(plan, head)
    positions = np.concatenate([head_points, *(part.vertices for part in body)]).astype(np.float32)
    faces = np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=False)])
    names = np.concatenate([part.face_materials for part in parts])
    order = {material.name: i for i, material in enumerate(plan.palette)}
    corner = positions[faces]
    solid = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1) > 1e-11
    faces, names = faces[solid], names[solid]
    material = np.array([order[name] for name in names], np.uint8)
    by_material = np.argsort(material, kind="stable")
    # A piece of the head that follows several bones would need its warped place; they all follow one.
    joints, weights = four_largest(np.concatenate([part_weights(part, plan.skeleton) for part in parts]))
    return Avatar(
        positions_m=positions,
        shade=_shade(plan, parts, starts, positions, vertex_normals(positions, faces)),
        faces=faces[by_material].astype(np.int32),
        face_material=material[by_material],
        materials=plan.palette,
        joints=joints,
        weights=weights,
        morph_names=ARKIT_NAMES,
        morph_index=morph_index,
        morph_delta_m=morph_delta_m,
        head_vertices=int(starts[len(head)]),
        skeleton=plan.skeleton,
    )
