"""Signed distance fields and the meshes drawn from them.

A field is a function of points (N, 3) float32, metres, to (N,) float32: negative inside. Shapes are smooth unions of
round cones (Quilez, "distance functions"); exactness away from the surface is not needed, only a good zero set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visavis.errors import MissingExtraError

__all__ = [
    "Field",
    "Mesh",
    "ellipsoid",
    "extract",
    "gradient",
    "neighbours",
    "round_cone",
    "smooth_max",
    "smooth_min",
    "split",
]

Array = NDArray[np.float32]
Field = Callable[[Array], Array]


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles: vertices (V, 3) float32 metres, faces (F, 3) int64 counter-clockwise from outside."""

    vertices: Array
    faces: NDArray[np.int64]

    def mirrored(self) -> Mesh:
        """Reflected in x = 0, still facing outwards."""
        return Mesh(self.vertices * np.array([-1, 1, 1], np.float32), self.faces[:, ::-1])


def round_cone(p: Array, a: ArrayLike, b: ArrayLike, ra: float, rb: float, squash: ArrayLike = (1, 1, 1)) -> Array:
    """A cone with ball ends from a (radius ra) to b (radius rb), metres; `squash` (3,) divides its thickness per axis.

    The radius is interpolated along the axis, which is close enough to the exact round cone for slender limbs.
    """
    s = np.asarray(squash, np.float32)
    p, a, b = p * s, np.asarray(a, np.float32) * s, np.asarray(b, np.float32) * s
    ab = b - a
    t = np.clip((p - a) @ ab / max(float(ab @ ab), 1e-12), 0, 1)
    distance = np.linalg.norm(p - a - t[:, None] * ab, axis=1) - (ra + t * (rb - ra))
    return (distance / s.max()).astype(np.float32)


def ellipsoid(p: Array, centre: ArrayLike, radii: ArrayLike) -> Array:
    """An ellipsoid with radii (3,) along the axes; first-order distance."""
    r = np.asarray(radii, np.float32)
    q = (p - np.asarray(centre, np.float32)) / r
    k0 = np.linalg.norm(q, axis=1)
    k1 = np.linalg.norm(q / r, axis=1)
    return k0 * (k0 - 1) / np.maximum(k1, 1e-6)


def smooth_min(a: Array, b: Array, k: float) -> Array:
    """Union of two fields, rounded over the distance k (metres)."""
    h = np.maximum(k - np.abs(a - b), 0) / k
    return np.minimum(a, b) - h * h * k * 0.25


def smooth_max(a: Array, b: Array, k: float) -> Array:
    """Intersection of two fields, rounded over the distance k (metres)."""
    return -smooth_min(-a, -b, k)


def gradient(field: Field, p: Array, step: float = 2e-4) -> Array:
    """(N, 3) unit outward direction of a field by central differences."""
    out = np.empty_like(p)
    for axis in range(3):
        e = np.zeros(3, np.float32)
        e[axis] = step
        out[:, axis] = field(p + e) - field(p - e)
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)


def neighbours(faces: NDArray[np.int64], count: int) -> Any:
    """(count, count) sparse matrix with 1 where two vertices share an edge."""
    from scipy.sparse import coo_matrix

    i = np.concatenate([faces[:, a] for a in (0, 1, 2, 1, 2, 0)])
    j = np.concatenate([faces[:, a] for a in (1, 2, 0, 0, 1, 2)])
    matrix = coo_matrix((np.ones(len(i)), (i, j)), shape=(count, count)).tocsr()
    matrix.data[:] = 1
    return matrix


def extract(
    field: Field,
    low: Sequence[float],
    high: Sequence[float],
    cell: float,
    triangles: int,
    relax: int = 8,
) -> Mesh:
    """The zero set of a field as an even triangle mesh.

    Marching cubes on a grid of `cell` metres over the box low..high, quadric decimation to about `triangles`, then
    rounds of tangential smoothing, each projected back onto the field, so that limbs keep triangles where they bend.
    """
    try:
        import fast_simplification
        from skimage.measure import marching_cubes
    except ImportError as error:
        raise MissingExtraError("building the avatar", "train") from error

    axes = [np.arange(a, b + cell, cell, dtype=np.float32) for a, b in zip(low, high, strict=True)]
    shape = tuple(len(a) for a in axes)
    values = np.empty(shape, np.float32)
    for i, x in enumerate(axes[0]):
        y, z = np.meshgrid(axes[1], axes[2], indexing="ij")
        values[i] = field(np.stack([np.full_like(y, x), y, z], axis=-1).reshape(-1, 3)).reshape(y.shape)
    vertices, faces, _, _ = marching_cubes(values, 0.0, spacing=(cell,) * 3)
    vertices = (vertices + np.array([a[0] for a in axes])).astype(np.float32)
    faces = faces.astype(np.int64)
    if len(faces) > triangles:
        points, tris = fast_simplification.simplify(vertices, faces.astype(np.int32), target_count=triangles)
        vertices, faces = points.astype(np.float32), tris.astype(np.int64)
    near = neighbours(faces, len(vertices))
    degree = np.maximum(np.asarray(near.sum(axis=1)), 1)
    for _ in range(relax):
        normal = gradient(field, vertices)
        shift = np.asarray(near @ vertices) / degree - vertices
        shift -= normal * np.sum(shift * normal, axis=1, keepdims=True)
        vertices = (vertices + 0.5 * shift).astype(np.float32)
        vertices = vertices - gradient(field, vertices) * np.clip(field(vertices), -cell, cell)[:, None]
    # Outside must be outside: flip if the volume came out negative.
    c = vertices[faces]
    if np.sum(c[:, 0] * np.cross(c[:, 1], c[:, 2])) < 0:
        faces = faces[:, ::-1]
    used, back = np.unique(faces, return_inverse=True)
    return Mesh(vertices[used].astype(np.float32), back.reshape(-1, 3))


def split(mesh: Mesh, values: Array) -> tuple[Mesh, NDArray[np.bool_]]:
    """Cut triangles along the zero line of a value per vertex (V,), so that a colour border can run there exactly.

    Returns:
        the mesh with the cut, and per face whether it lies on the positive side.
    """
    values = np.where(np.abs(values) < 1e-7, 1e-7, values)
    positive = values[mesh.faces] > 0
    vertices: list[Array] = list(mesh.vertices)
    cut: dict[tuple[int, int], int] = {}

    def crossing(i: int, j: int) -> int:
        key = (min(i, j), max(i, j))
        if key not in cut:
            t = values[key[0]] / (values[key[0]] - values[key[1]])
            vertices.append((mesh.vertices[key[0]] * (1 - t) + mesh.vertices[key[1]] * t).astype(np.float32))
            cut[key] = len(vertices) - 1
        return cut[key]

    faces: list[tuple[int, int, int]] = []
    side: list[bool] = []
    for face, where in zip(mesh.faces.tolist(), positive.tolist(), strict=True):
        if all(where) or not any(where):
            faces.append(tuple(face))
            side.append(where[0])
            continue
        lone = next(i for i in range(3) if where[i] != where[i - 1] and where[i] != where[i - 2])
        a, b, c = face[lone], face[lone - 2], face[lone - 1]
        ab, ca = crossing(a, b), crossing(a, c)
        faces += [(a, ab, ca), (ab, b, c), (ab, c, ca)]
        side += [where[lone], not where[lone], not where[lone]]
    return Mesh(np.stack(vertices), np.array(faces, np.int64)), np.array(side)
