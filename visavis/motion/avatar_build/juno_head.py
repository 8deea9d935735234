"""What the second avatar's head wears: curls and glasses. Frame of the head bone, metres, before its warp."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visavis.motion.avatar_build.body import lathe, turns
from visavis.motion.avatar_build.field import Mesh, ellipsoid, extract, smooth_max, smooth_min
from visavis.motion.avatar_build.head_shape import EYE, skull
from visavis.motion.avatar_build.part import Part

__all__ = ["curls", "glasses"]

Array = NDArray[np.float32]

_CROWN = np.array([0.0, 0.122, -0.020], np.float32)
_RADII = np.array([0.0960, 0.0990, 0.1030], np.float32)
# What stays free of hair.
_FACE = np.array([0.0, 0.050, 0.112], np.float32)
_FACE_RADII = np.array([0.0800, 0.1060, 0.0780], np.float32)


def _curl_balls() -> tuple[Array, Array]:
    """Centres (N, 3) and radii (N,) of the curls: an even cover of the head without the face."""
    n = 250
    k = np.arange(n) + 0.5
    height, around = 1 - 2 * k / n, np.pi * (1 + 5**0.5) * k
    ring = np.sqrt(1 - height**2)
    d = np.column_stack([ring * np.cos(around), height, ring * np.sin(around)])
    random = np.random.default_rng(11)
    p = _CROWN + _RADII * d * (1 + 0.035 * random.standard_normal((n, 1)))
    p[:, 1] -= 0.030 * np.clip(-2 * d[:, 1], 0, 1) * (d[:, 2] < 0.2)  # longer at the back
    face = ((p - _FACE) / _FACE_RADII) ** 2
    keep = (face.sum(axis=1) > 1) & (p[:, 1] > 0.0)
    ear = np.hypot(p[:, 1] - 0.060, p[:, 2] - 0.008) < 0.028
    keep &= ~ear & ~((p[:, 2] > 0.034) & (p[:, 1] < 0.080))
    radii = 0.0175 + 0.0055 * random.random(n)
    return p[keep].astype(np.float32), radii[keep].astype(np.float32)


def curls() -> Part:
    """Full, round, curly hair: many soft balls about the head, darker in the creases between them."""
    from scipy.spatial import cKDTree

    centres, radii = _curl_balls()
    tree = cKDTree(centres)

    def gaps(p: Array) -> Array:
        """(N, 5) distances to the nearest balls, ascending."""
        near = tree.query(p, k=5)[1]
        return np.sort(np.linalg.norm(p[:, None] - centres[near], axis=2) - radii[near], axis=1).astype(np.float32)

    def shape(p: Array) -> Array:
        gap = gaps(p)
        d = gap[:, 0]
        for i in range(1, 5):
            d = smooth_min(d, gap[:, i], 0.0045)
        cap = ellipsoid(p, _CROWN, _RADII - 0.002)
        cap = smooth_max(cap, -ellipsoid(p, _FACE, _FACE_RADII), 0.010)
        cap = smooth_max(cap, 0.078 - p[:, 1] + 0.8 * (p[:, 2] + 0.03), 0.010)
        return smooth_max(smooth_min(d, cap, 0.006), -(skull(p) + 0.006), 0.004)

    mesh = extract(shape, (-0.140, -0.04, -0.17), (0.140, 0.27, 0.14), 0.0034, 7000, relax=3)
    gap = gaps(mesh.vertices)
    top = np.clip((gap[:, 1] - gap[:, 0]) / 0.011, 0, 1)
    inner = np.clip((np.linalg.norm((mesh.vertices - _CROWN) / _RADII, axis=1) - 0.92) / 0.22, 0, 1)
    tint = 0.50 + 0.50 * (0.35 + 0.65 * top) * inner
    return Part(mesh.vertices, mesh.faces, "hair", "hair", ("head",), labels={"tint": tint.astype(np.float32)})


def _tube(points: NDArray[np.floating], radius: float, closed: bool) -> Mesh:
    """A wire along points (N, 3)."""
    c, s = turns(7)
    rows = []
    n = len(points)
    for i in range(n):
        along = points[(i + 1) % n] - points[i - 1] if closed else points[min(i + 1, n - 1)] - points[max(i - 1, 0)]
        along = along / np.linalg.norm(along)
        side = np.cross(along, [0.13, 0.97, 0.2])
        side /= np.linalg.norm(side)
        other = np.cross(along, side)
        thin = radius if closed or 0 < i < n - 1 else 1e-4
        rows.append((points[i] + thin * (c[:, None] * side + s[:, None] * other)).astype(np.float32))
    return lathe([*rows, rows[0]] if closed else rows)


def glasses() -> Part:
    """Round wire glasses on the nose and over the ears."""
    wire, turn = 0.0020, 0.16
    centre = EYE + np.array([0.0015, -0.003, 0.0315], np.float32)
    c, s = turns(40)
    # A rim lies in a plane turned a little outwards.
    rim = centre + 0.0262 * np.column_stack([np.cos(turn) * c, s, -np.sin(turn) * c])
    t = np.linspace(-1, 1, 9)
    bridge = np.column_stack([0.0090 * t, 0.0770 + 0.0030 * (1 - t * t), 0.1112 + 0.0012 * (1 - t * t)])
    hinge = [centre + [0.0250, 0.0065, -0.0040], centre + [0.0385, 0.0068, -0.0190]]
    arm = np.array([*hinge, [0.0745, 0.0795, 0.070], [0.0780, 0.0790, 0.030], [0.0785, 0.0785, 0.006]])
    left = [_tube(rim, wire, True), _tube(arm, wire, False)]
    meshes = [*left, *(mesh.mirrored() for mesh in left), _tube(bridge, wire, False)]
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    faces = np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=False)])
    return Part(np.concatenate([m.vertices for m in meshes]), faces, "frame", "glasses", ("head",))
