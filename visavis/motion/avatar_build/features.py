"""What sits on and in the head: eyes, brows, teeth, tongue, ears and hair. Frame of the head bone, metres."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visavis.motion.avatar_build.face_mesh import mouth_line
from visavis.motion.avatar_build.field import Mesh, ellipsoid, extract, round_cone, smooth_max, smooth_min
from visavis.motion.avatar_build.head_shape import EYE, EYEBALL_M, cast_from_front, skull
from visavis.motion.avatar_build.part import Part

__all__ = ["brow", "ears", "eyeball", "hair", "teeth", "tongue"]

Array = NDArray[np.float32]


def _band(rows: list[NDArray[np.int64]], closed: bool) -> NDArray[np.int64]:
    out = []
    for a, b in zip(rows, rows[1:], strict=False):
        an, bn = (np.roll(a, -1), np.roll(b, -1)) if closed else (a[1:], b[1:])
        a0, b0 = (a, b) if closed else (a[:-1], b[:-1])
        out += [np.stack([a0, b0, bn], axis=1), np.stack([a0, bn, an], axis=1)]
    return np.concatenate(out)


def eyeball(side: str) -> Part:
    """The front of an eyeball: pupil, iris with a dark rim, white, and a glint on the side of the light."""
    sign = np.array([1 if side == "left" else -1, 1, 1], np.float32)
    n = 28
    around = 2 * np.pi * np.arange(n) / n
    rings = (("pupil", 12.5), ("iris", 25.5), ("iris_rim", 28.5), ("sclera", 44.0), ("sclera", 64.0), ("sclera", 88.0))
    vertices, faces, materials = [EYE + [0, 0, EYEBALL_M]], [], []
    before = np.zeros(n, np.int64)
    for material, angle in rings:
        a = np.radians(angle)
        ring = np.column_stack([np.sin(a) * np.cos(around), np.sin(a) * np.sin(around), np.full(n, np.cos(a))])
        row = len(vertices) + np.arange(n)
        vertices += list(EYE + EYEBALL_M * ring)
        if before[1] == 0:
            band = np.stack([before, row, np.roll(row, -1)], axis=1)
        else:
            band = _band([before, row], closed=True)
        faces.append(band)
        materials += [material] * len(band)
        before = row
    points = np.array(vertices, np.float32) * sign
    tris = np.concatenate(faces)
    if side == "right":
        tris = tris[:, ::-1]
    centre = EYE * sign
    for x, y, size in ((11.0, 13.0, 5.0), (-10.0, -11.0, 2.6)):
        start = len(points)
        k = 10
        t = 2 * np.pi * np.arange(k) / k
        az, el = np.radians(x + size * np.cos(t)), np.radians(y + size * np.sin(t))
        disc = np.column_stack([np.sin(az) * np.cos(el), np.sin(el), np.cos(az) * np.cos(el)])
        disc = np.concatenate([disc.mean(axis=0, keepdims=True), disc])
        disc /= np.linalg.norm(disc, axis=1, keepdims=True)
        points = np.concatenate([points, (centre + (EYEBALL_M + 0.00025) * disc).astype(np.float32)])
        i = np.arange(k)
        tris = np.concatenate([tris, start + np.stack([0 * i, 1 + i, 1 + (i + 1) % k], axis=1)])
        materials += ["glint"] * k
    return Part(points, tris, np.array(materials), name=f"{side} eyeball", bones=(f"{side}Eye",))


def brow(side: str) -> Part:
    """A tapered strip that lies on the skin."""
    n = 14
    t = np.linspace(0, 1, n)
    x = 0.0125 + 0.0415 * t
    y = 0.1005 + 0.0105 * np.sin(np.pi * (0.12 + 0.74 * t)) - 0.003 * t
    half = 0.0040 * (1 - t) ** 0.45 * (0.75 + 0.25 * np.minimum(1, t * 6)) + 0.0004
    rows, points = [], []
    for k, (offset, out) in enumerate(((-1.0, -0.0005), (-0.5, 0.0019), (0.5, 0.0019), (1.0, -0.0005))):
        p = cast_from_front(np.column_stack([x, y + offset * half]))
        p[:, 2] += out
        p[0, 2] = min(p[0, 2], p[1, 2] + 0.0005)
        points.append(p)
        rows.append(k * n + np.arange(n))
    mesh = Mesh(np.concatenate(points).astype(np.float32), _band(rows[::-1], closed=False))
    if side == "right":
        mesh = mesh.mirrored()
    return Part(mesh.vertices, mesh.faces, "brow", name=f"{side} brow", bones=("head",))


def teeth(row: str) -> Part:
    """One row of teeth as an arch: front, edge and back."""
    n = 17
    x = np.linspace(-0.0215, 0.0215, n)
    flat = cast_from_front(np.column_stack([x, np.full(n, float(mouth_line(np.zeros(1))[0]))]))
    depth = flat[:, 2] - (0.0062 if row == "upper" else 0.0085) - 5.0 * x**2
    middle = float(mouth_line(np.zeros(1))[0])
    edge, root = (-0.0022, 0.0085) if row == "upper" else (-0.0030, -0.0110)
    # Slight notches between the teeth.
    scallop = 0.0003 * np.abs(np.cos(np.pi * x / 0.0086)) * np.sign(edge - root)
    rows, points = [], []
    for k, (y, back) in enumerate(((root, 0.0), (edge, 0.0), (edge, 0.0035), (root, 0.0045))):
        height = middle + y + (scallop if y == edge else 0)
        points.append(np.column_stack([x * (1 - 0.03 * (back > 0)), np.broadcast_to(height, (n,)), depth - back]))
        rows.append(k * n + np.arange(n))
    faces = _band(rows, closed=False)
    if row == "lower":
        faces = faces[:, ::-1]
    bone = "head" if row == "upper" else "jaw"
    return Part(np.concatenate(points).astype(np.float32), faces, "teeth", name=f"{row} teeth", bones=(bone,))


def tongue() -> Part:
    """A tongue that lies in the lower jaw."""
    front = float(cast_from_front(np.array([[0.0, float(mouth_line(np.zeros(1))[0])]]))[0, 2])

    def shape(p: Array) -> Array:
        d = ellipsoid(p, (0, 0.0005, front - 0.0290), (0.0150, 0.0062, 0.0175))
        groove = round_cone(p, (0, 0.0085, front - 0.015), (0, 0.0085, front - 0.045), 0.0022, 0.0022)
        return smooth_max(d, -groove, 0.003)

    mesh = extract(shape, (-0.018, -0.008, front - 0.05), (0.018, 0.009, front - 0.008), 0.0016, 260)
    return Part(mesh.vertices, mesh.faces, "tongue", name="tongue", bones=("jaw",))


def ears() -> list[Part]:
    """Both ears."""

    def shape(p: Array) -> Array:
        # Turned a little outwards and back.
        c, s = np.cos(0.42), np.sin(0.42)
        q = p - np.array([0.0775, 0.064, -0.010], np.float32)
        q = np.stack([c * q[:, 0] + s * q[:, 2], q[:, 1], -s * q[:, 0] + c * q[:, 2]], axis=1)
        outer = ellipsoid(q, (0, 0.006, -0.006), (0.0072, 0.0265, 0.0170))
        lobe = ellipsoid(q, (-0.001, -0.019, 0.0), (0.0060, 0.0100, 0.0095))
        d = smooth_min(outer, lobe, 0.010)
        d = smooth_max(d, -ellipsoid(q, (0.0080, 0.005, -0.003), (0.0055, 0.0165, 0.0095)), 0.004)
        return smooth_min(d, ellipsoid(q, (0.0, -0.002, 0.008), (0.0055, 0.0070, 0.0050)), 0.004)

    mesh = extract(shape, (0.055, 0.025, -0.05), (0.105, 0.105, 0.025), 0.0017, 640)
    return [
        Part(m.vertices, m.faces, "skin", name=f"{side} ear", bones=("head",))
        for side, m in (("left", mesh), ("right", mesh.mirrored()))
    ]


def hair() -> Part:
    """Short, full hair with a side parting and a swept fringe."""

    def shape(p: Array) -> Array:
        q = p * np.where(p[:, :1] < 0, np.array([-1, 1, 1], np.float32), np.float32(1))
        cap = ellipsoid(p, (0.002, 0.122, -0.022), (0.0935, 0.1010, 0.1060))
        nape = ellipsoid(p, (0, 0.052, -0.056), (0.071, 0.064, 0.050))
        d = smooth_min(cap, nape, 0.03)
        # Soft waves that run from the parting.
        angle = np.arctan2(p[:, 0] + 0.03, p[:, 2] + 0.02)
        wave = np.sin(13 * angle + 34 * p[:, 1]) + 0.5 * np.sin(29 * angle + 20 * p[:, 1])
        d = d + 0.0022 * wave.astype(np.float32) * np.clip((0.215 - p[:, 1]) * 16, 0, 1)
        face = ellipsoid(q, (0, 0.058, 0.095), (0.0725, 0.0980, 0.0930))
        d = smooth_max(d, -face, 0.010)
        d = smooth_max(d, -ellipsoid(q, (0.083, 0.052, 0.004), (0.03, 0.050, 0.030)), 0.010)  # around the ears
        d = smooth_max(d, 0.004 - p[:, 1] + 0.9 * np.maximum(p[:, 2] + 0.045, 0), 0.012)
        burn = round_cone(q, (0.0755, 0.105, 0.020), (0.0745, 0.062, 0.018), 0.009, 0.0045)
        d = smooth_min(d, burn, 0.008)
        # The fringe: locks from the parting (the avatar's right) across the brow.
        locks = (
            ((-0.034, 0.196, 0.030), (0.004, 0.185, 0.078), (0.052, 0.146, 0.076), 0.022, 0.021, 0.009),
            ((-0.036, 0.194, 0.036), (-0.010, 0.178, 0.084), (0.030, 0.142, 0.0925), 0.020, 0.018, 0.007),
            ((-0.030, 0.198, 0.020), (0.030, 0.188, 0.062), (0.072, 0.134, 0.050), 0.022, 0.022, 0.010),
            ((-0.038, 0.192, 0.036), (-0.056, 0.172, 0.066), (-0.070, 0.134, 0.048), 0.018, 0.017, 0.008),
            ((-0.036, 0.193, 0.040), (-0.040, 0.174, 0.078), (-0.056, 0.143, 0.074), 0.016, 0.014, 0.006),
        )
        for a, b, c, ra, rb, rc in locks:
            lock = smooth_min(round_cone(p, a, b, ra, rb), round_cone(p, b, c, rb, rc), 0.012)
            d = smooth_min(d, lock, 0.007)
        # Only what stands out of the skin is needed.
        return smooth_max(d, -(skull(p) + 0.006), 0.004)

    mesh = extract(shape, (-0.12, -0.03, -0.15), (0.12, 0.24, 0.13), 0.0040, 3200)
    return Part(mesh.vertices, mesh.faces, "hair", name="hair", bones=("head",))
