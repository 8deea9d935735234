"""The skin of the face and head as a mesh whose rings follow the lids and the lips, so that they open and close.

Eyes and mouth are structured rings; the rest is a blue-noise set of points, symmetric, dense where there is detail,
triangulated on the sphere of directions (the convex hull of unit vectors is their Delaunay triangulation).
Everything is in the frame of the head bone, metres.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis.motion.avatar_build.field import Mesh, neighbours
from visavis.motion.avatar_build.head_shape import (
    CENTRE,
    EYE,
    EYEBALL_M,
    LID_M,
    MOUTH_Y,
    cast_from_centre,
    cast_from_front,
)
from visavis.motion.avatar_build.part import Part

__all__ = ["LID_CLOSED", "eye_opening", "face_skin", "mouth_line"]

Array = NDArray[np.float32]

EYE_POINTS: Final = 36
MOUTH_POINTS: Final = 44
MOUTH_HALF_M: Final = 0.0240
# Lid rings from the edge outwards: degrees beyond the edge, radius, and how much of a blink the ring follows.
_LID_RINGS: Final = (
    (-1.0, EYEBALL_M + 0.0002, 1.0),
    (0.0, LID_M - 0.0004, 1.0),
    (2.6, LID_M + 0.0003, 0.97),
    (7.0, LID_M + 0.0002, 0.80),
    (13.0, 0.0, 0.50),
    (20.0, 0.0, 0.22),
)
LID_CLOSED: Final = -0.5  # the closing line: this share of the lower lid's height


def eye_opening(phi: Array) -> tuple[Array, Array]:
    """Azimuth (toward the temple) and elevation, radians from the eye's centre, of the lid edge at angle phi."""
    azimuth = np.radians(47.0) * np.cos(phi)
    height = np.where(np.sin(phi) >= 0, np.radians(29.0), np.radians(25.0))
    # The outer corner lies a little higher than the inner one.
    elevation = height * np.sign(np.sin(phi)) * np.abs(np.sin(phi)) ** 1.15 + np.radians(2.5) * np.cos(phi)
    return azimuth.astype(np.float32), elevation.astype(np.float32)


def _eye_point(azimuth: Array, elevation: Array, radius: float) -> Array:
    d = np.stack([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)], axis=1)
    return (EYE + radius * d).astype(np.float32)


def _closing(azimuth: Array, elevation: Array, phi: Array) -> Array:
    """Elevation change that brings a lid edge to the closing line, which joins the corners."""
    _, low = eye_opening(-np.abs(phi).astype(np.float32))
    tilt = np.radians(2.5) * np.cos(phi)
    line = tilt + (low - tilt) * -LID_CLOSED
    return line - elevation


def _eye_rings() -> tuple[list[Array], list[dict[str, Array]]]:
    """Rings of the left eye from the edge outwards, with their blink (positions of the closed lid) as labels."""
    phi = (2 * np.pi * np.arange(EYE_POINTS) / EYE_POINTS).astype(np.float32)
    azimuth, elevation = eye_opening(phi)
    shift = _closing(azimuth, elevation, phi)
    rings, labels = [], []
    for beyond, radius, follow in _LID_RINGS:
        grow = np.radians(beyond)
        a = azimuth + grow * np.cos(phi)
        b = elevation + grow * np.sin(phi)
        points = _eye_point(a, b, radius or LID_M)
        if not radius:
            points = cast_from_centre(points - CENTRE)
        # Closed lids bulge: half-way, a lid moves on the chord, not on the sphere; the upper one closes over the lower.
        bulge = np.where(np.sin(phi) > 1e-6, 0.0017, 0.0004)
        r = np.linalg.norm(points - EYE, axis=1)
        closed = _eye_point(a, b + follow * shift, 1.0) - EYE
        start = _eye_point(a, b, 1.0) - EYE
        moved = points + (closed - start) * r[:, None] + closed * (bulge * follow * (radius > 0))[:, None]
        rings.append(points)
        upper = (np.sin(phi) > 1e-6).astype(np.float32)
        labels.append(
            {"blink": (moved - points).astype(np.float32), "upper": upper, "follow": np.full_like(phi, follow)}
        )
    return rings, labels


def mouth_line(x: NDArray[np.floating]) -> Array:
    """Height of the closed mouth at x: the corners lie a little higher, a friendly rest."""
    return (MOUTH_Y + 0.0042 * (np.abs(x) / MOUTH_HALF_M) ** 2).astype(np.float32)


def _mouth_rings() -> list[Array]:
    """Rings from the outermost on the skin to the back of the mouth: 0-1 skin, 2-4 lips, 5- inside."""
    phi = (2 * np.pi * np.arange(MOUTH_POINTS) / MOUTH_POINTS).astype(np.float32)
    c, s = np.cos(phi), np.sin(phi)
    up, arch = s >= 0, np.abs(s)
    bow = 1.0 + 0.16 * np.exp(-(((np.abs(c) - 0.22) / 0.16) ** 2)) - 0.10 * np.exp(-((c / 0.12) ** 2))
    rings = []
    # extra half width, height of the upper and the lower half, push outwards along z; metres
    for wide, upper, lower, out in (
        (0.0135, 0.0178, 0.0205, 0.0),
        (0.0062, 0.0112, 0.0130, 0.0),
        (0.0020, 0.0064 * bow, 0.0080, 0.0006),
        (0.0008, 0.0034 * bow, 0.0046, 0.0022),
        (0.0, -0.0002, -0.0002, 0.0004),
    ):
        x = (MOUTH_HALF_M + wide) * c
        y = mouth_line(np.clip(x, -MOUTH_HALF_M, MOUTH_HALF_M)) + np.where(up, upper, -lower) * arch**0.8
        point = cast_from_front(np.column_stack([x, y]))
        point[:, 2] += out * np.minimum(1, arch * 1.6)
        rings.append(point)
    inner = rings[-1]
    for share, height, back in (
        (0.97, 0.0016, 0.0050),
        (0.93, 0.0110, 0.0100),
        (0.80, 0.0150, 0.0300),
        (0.35, 0.008, 0.042),
    ):
        ring = inner.copy()
        ring[:, 0] *= share
        ring[:, 1] += np.where(up, height, -height) * arch**0.8
        ring[:, 2] -= back
        rings.append(ring.astype(np.float32))
    return rings


def _spacing(p: Array) -> Array:
    """Wanted distance between skin points, metres."""
    s = np.where(p[:, 2] > 0.03, 0.0072, 0.0155)
    s = np.where((p[:, 1] > 0.15) | (p[:, 2] < -0.03), 0.022, s)
    nose = np.linalg.norm((p - [0, 0.046, 0.104]) / [1, 1.4, 1], axis=1)
    s = np.minimum(s, 0.0026 + 0.25 * np.maximum(nose - 0.012, 0))
    eye = np.linalg.norm(np.abs(p[:, :2]) - EYE[:2], axis=1) + 10 * (p[:, 2] < 0.03)
    s = np.minimum(s, 0.0042 + 0.22 * np.maximum(eye - 0.022, 0))
    mouth = np.hypot(p[:, 0] / 1.5, p[:, 1] - MOUTH_Y) + 10 * (p[:, 2] < 0.03)
    return np.minimum(s, 0.0042 + 0.22 * np.maximum(mouth - 0.022, 0)).astype(np.float32)


def _scatter(borders: Array, forbidden: NDArray[np.bool_], candidates: Array) -> Array:
    """Greedy blue noise: candidates of the left half in order, kept if far from what is kept and from borders."""
    from scipy.spatial import cKDTree

    spacing = _spacing(candidates)
    near_border = cKDTree(borders).query(candidates)[0] < 0.75 * spacing
    middle = np.abs(candidates[:, 0]) < 1e-6
    # A point and its mirror image must not crowd each other either.
    open_ = ~(near_border | forbidden | (~middle & (candidates[:, 0] < 0.5 * spacing)))
    tree = cKDTree(candidates)
    kept = []
    for i in range(len(candidates)):
        if open_[i]:
            kept.append(i)
            open_[tree.query_ball_point(candidates[i], 0.98 * spacing[i])] = False
    return candidates[kept]


def _candidates() -> Array:
    """Points of the middle line, then an even cover of the left half (golden spiral), detailed parts first."""
    turn = np.linspace(0, 2 * np.pi, 1500, endpoint=False)
    middle = cast_from_centre(np.column_stack([np.zeros_like(turn), np.sin(turn), np.cos(turn)]))
    middle[:, 0] = 0
    n = 60000
    k = np.arange(n) + 0.5
    height, around = 1 - 2 * k / n, np.pi * (1 + 5**0.5) * k
    ring = np.sqrt(1 - height**2)
    directions = np.column_stack([ring * np.cos(around), height, ring * np.sin(around)])
    side = cast_from_centre(directions[directions[:, 0] > 0.004])
    order = np.argsort(np.round(_spacing(side) / 0.003) * 3 + np.random.default_rng(5).random(len(side)), kind="stable")
    return np.concatenate([middle, side[order]])


def _quads(outer: NDArray[np.int64], inner: NDArray[np.int64]) -> NDArray[np.int64]:
    """Triangles of the band between two rings of the same count, running counter-clockwise seen from outside."""
    a, b = outer, inner
    an, bn = np.roll(a, -1), np.roll(b, -1)
    return np.concatenate([np.stack([a, an, bn], axis=1), np.stack([a, bn, b], axis=1)])


def _softened(mesh: Mesh, where: NDArray[np.bool_]) -> Mesh:
    """Smooth the chosen vertices (V,) a little: the ring borders and small casts leave creases otherwise."""
    near = neighbours(mesh.faces, len(mesh.vertices))
    degree = np.maximum(np.asarray(near.sum(axis=1)).reshape(-1, 1), 1)
    vertices = mesh.vertices
    middle = np.abs(vertices[:, 0]) < 1e-6
    for factor in (0.45, -0.25, 0.45, -0.25, 0.4):  # a step back after each step keeps the volume (Taubin 1995)
        moved = vertices + factor * (np.asarray(near @ vertices) / degree - vertices)
        vertices = np.where(where[:, None], moved, vertices).astype(np.float32)
        vertices[middle, 0] = 0
    return Mesh(vertices, mesh.faces)


def face_skin() -> Part:
    """The skin with lids, lips and the inside of the mouth.

    Labels: `blink` (V, 3) displacement of a full blink, `upper` 1 on upper lids, `follow` share of a blink,
    `eye` +1 left, -1 right, 0 elsewhere, `mouth` ring number + 1 (0 elsewhere), `mouth_sin` sine of the ring angle.
    """
    from scipy.spatial import ConvexHull

    eye_rings, eye_labels = _eye_rings()
    mouth_rings = _mouth_rings()
    flip = np.array([-1, 1, 1], np.float32)
    borders = np.concatenate([eye_rings[-1], mouth_rings[0]])
    candidates = _candidates()
    fine = candidates - EYE
    azimuth, elevation = np.arctan2(fine[:, 0], fine[:, 2]), np.arctan2(fine[:, 1], np.hypot(fine[:, 0], fine[:, 2]))
    in_eye = ((azimuth / np.radians(67)) ** 2 + (elevation / np.radians(50)) ** 2 < 1) & (fine[:, 2] > 0)
    in_mouth = (candidates[:, 0] / (MOUTH_HALF_M + 0.0135)) ** 2 + ((candidates[:, 1] - MOUTH_Y) / 0.0195) ** 2 < 1
    scattered = _scatter(borders, in_eye | (in_mouth & (candidates[:, 2] > 0.04)), candidates)
    middle = np.abs(scattered[:, 0]) < 1e-6
    free = np.concatenate([scattered, scattered[~middle] * flip])

    vertices: list[Array] = [free]
    count = len(free)
    labels: dict[str, list[Array]] = {
        "blink": [np.zeros((count, 3), np.float32)],
        **{k: [np.zeros(count, np.float32)] for k in ("upper", "follow", "eye", "mouth", "mouth_sin")},
    }

    def add(points: Array, **given: Array | float) -> NDArray[np.int64]:
        nonlocal count
        vertices.append(points.astype(np.float32))
        for name, values in labels.items():
            shape = (len(points), 3) if name == "blink" else (len(points),)
            values.append(np.broadcast_to(np.asarray(given.get(name, 0.0), np.float32), shape))
        count += len(points)
        return np.arange(count - len(points), count)

    faces: list[NDArray[np.int64]] = []
    materials: list[NDArray[np.str_]] = []

    def fill(band: NDArray[np.int64], material: str | NDArray[np.str_]) -> None:
        faces.append(band)
        materials.append(np.broadcast_to(np.asarray(material), (len(band),)))

    holes = []
    for eye, sign in ((1.0, np.ones(3, np.float32)), (-1.0, flip)):
        rows = [
            add(ring * sign, blink=lab["blink"] * sign, upper=lab["upper"], follow=lab["follow"], eye=eye)
            for ring, lab in zip(eye_rings, eye_labels, strict=True)
        ]
        holes.append(rows[-1])
        upper = np.tile(np.sin(2 * np.pi * (np.arange(EYE_POINTS) + 0.5) / EYE_POINTS) > 0, 2)
        for k, (inner, outer) in enumerate(zip(rows, rows[1:], strict=False)):
            band = _quads(outer, inner)
            lash = upper & (k <= 1)
            fill(band if eye > 0 else band[:, ::-1], np.where(lash, "lash", "skin"))
    sine = np.sin(2 * np.pi * np.arange(MOUTH_POINTS) / MOUTH_POINTS)
    rows = [add(ring, mouth=k + 1, mouth_sin=sine) for k, ring in enumerate(mouth_rings)]
    holes.append(rows[0])
    for k, (outer, inner) in enumerate(zip(rows, rows[1:], strict=False)):
        fill(_quads(outer, inner), "skin" if k < 2 else "lips" if k < 5 else "mouth")
    back = add(mouth_rings[-1].mean(axis=0, keepdims=True), mouth=len(rows))
    fill(np.stack([rows[-1], np.roll(rows[-1], -1), np.full(MOUTH_POINTS, back[0])], axis=1), "mouth")

    points = np.concatenate(vertices)
    outside = np.concatenate([np.arange(len(free)), *holes])
    d = points[outside] - CENTRE
    hull = ConvexHull(d / np.linalg.norm(d, axis=1, keepdims=True))
    triangles = hull.simplices
    c = hull.points[triangles]
    inward = np.einsum("na,na->n", c[:, 0], np.cross(c[:, 1], c[:, 2])) < 0
    triangles = np.where(inward[:, None], triangles[:, ::-1], triangles)
    triangles = outside[triangles]
    for hole in holes:
        triangles = triangles[~np.isin(triangles, hole).all(axis=1)]
    fill(triangles.astype(np.int64), "skin")
    mesh = Mesh(points, np.concatenate(faces))
    soft = np.zeros(len(points), bool)
    soft[: len(free)] = free[:, 2] > 0.02
    soft[np.concatenate(holes)] = True
    mesh = _softened(mesh, soft)
    return Part(
        mesh.vertices,
        mesh.faces,
        np.concatenate(materials),
        name="face",
        bones=("head",),
        labels={name: np.concatenate(values) for name, values in labels.items()},
    )
