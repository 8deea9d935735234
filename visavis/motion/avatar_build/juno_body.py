"""The second avatar below the chin: T-shirt, dungarees with rolled legs, high shoes, bare arms. World, metres.

Shirt and dungarees are one skin, so that no layer shows through another when the body bends; the dungarees stand out
of it by a few millimetres, and the border of the colours runs exactly along their edge.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from visavis.motion.avatar_build import body as first
from visavis.motion.avatar_build.body import lathe, sides, turns
from visavis.motion.avatar_build.field import Mesh, ellipsoid, extract, round_cone, smooth_max, smooth_min, split
from visavis.motion.avatar_build.juno import hand_scale, juno_skeleton
from visavis.motion.avatar_build.part import Part
from visavis.motion.skeleton import FINGERS, default_skeleton

__all__ = ["body_field", "body_parts"]

Array = NDArray[np.float32]
_BONES = juno_skeleton()
WAIST_Y = 0.868  # where the dungarees' waistband ends
BIB_TOP_Y = 1.052
CUFF_LOW_Y = 0.098  # where the rolled legs end
SLEEVE_M = 0.150  # from the shoulder joint
COLLAR = np.array([0.0, 1.186, -0.020], np.float32)


def _at(name: str) -> Array:
    return _BONES.rest_positions_m[_BONES.index(name)]


def _torso(p: Array, q: Array) -> Array:
    chest = round_cone(q, (0.058, 1.055, -0.014), (0.052, 0.900, -0.006), 0.112, 0.124, (1, 1, 1.20))
    belly = round_cone(q, (0.052, 0.900, -0.004), (0.060, 0.745, -0.004), 0.124, 0.132, (1, 1, 1.24))
    middle = round_cone(p, (0, 1.060, -0.014), (0, 0.760, -0.006), 0.122, 0.142, (1, 1, 1.26))
    d = smooth_min(smooth_min(chest, belly, 0.06), middle, 0.05)
    d = smooth_min(d, ellipsoid(p, (0, 0.835, 0.036), (0.120, 0.120, 0.078)), 0.06)
    slope = round_cone(q, (0.0, 1.160, -0.016), (0.160, 1.128, -0.022), 0.056, 0.054)
    return smooth_min(d, slope, 0.07)


def _legs(q: Array) -> Array:
    hip, knee, foot = _at("leftUpperLeg"), _at("leftLowerLeg"), _at("leftFoot")
    seat = ellipsoid(q, (0.066, 0.705, -0.040), (0.086, 0.085, 0.080))
    thigh = round_cone(q, hip + [0.006, -0.05, 0], knee, 0.098, 0.083, (1, 1, 0.98))
    shin = round_cone(q, knee, foot, 0.083, 0.082, (1, 1, 0.98))
    leg = smooth_max(smooth_min(thigh, shin, 0.03), -(q[:, 0] - 0.006), 0.014)
    return smooth_min(leg, seat, 0.04)


def _strap(q: Array) -> Array:
    """(N,) distance outside the straps, seen from front, top and back: they lean in towards the neck."""
    lean = 0.070 + 0.16 * np.clip(1.13 - q[:, 1], 0, 0.2) * np.where(q[:, 2] > 0, 0.35, -0.12)
    return np.abs(q[:, 0] - lean) - 0.0185


def denim(p: Array) -> Array:
    """(N,) negative where the dungarees are: legs, waist, the bib in front, a low back, straps; about metres."""
    q = sides(p)
    front = q[:, 2] > -0.02
    # Bib: wide at the waist, narrower at the top, with round corners.
    half = 0.098 + 0.30 * np.clip(0.94 - q[:, 1], 0, 0.08)
    bib = smooth_max(q[:, 0] - half, q[:, 1] - BIB_TOP_Y, 0.03)
    back = q[:, 1] - (WAIST_Y + 0.060 - 2.2 * np.maximum(q[:, 0] - 0.02, 0) ** 2 / 0.1)
    low = smooth_min(q[:, 1] - WAIST_Y, np.where(front, bib, back), 0.02)
    out = smooth_min(low, _strap(q), 0.02)
    # Nothing on the sleeves.
    return np.maximum(out, q[:, 0] - 0.26).astype(np.float32)


def outfit(p: Array) -> Array:
    """Shirt and dungarees."""
    q = sides(p)
    shoulder, elbow = _at("leftUpperArm"), _at("leftLowerArm")
    sleeve = round_cone(q, shoulder, elbow, 0.0600, 0.0640)
    sleeve = smooth_max(sleeve, q[:, 0] - shoulder[0] - SLEEVE_M, 0.006)
    body = smooth_min(_torso(p, q), sleeve, 0.055)
    body = smooth_min(body, _legs(q), 0.045)
    body = smooth_max(body, CUFF_LOW_Y - q[:, 1], 0.012)

    def raised(edge: Array, height: float, over: float) -> Array:
        t = np.clip(0.5 - edge / over, 0, 1)
        return height * t * t * (3 - 2 * t)

    body = body - raised(denim(p), 0.0060, 0.008)
    band = np.abs(q[:, 1] - WAIST_Y + 0.016) - 0.016
    return (body - raised(band, 0.0030, 0.006)).astype(np.float32)


def arm(p: Array) -> Array:
    """The left arm, bare from inside the sleeve, with its hand."""
    wrist, shoulder, elbow = _at("leftHand"), _at("leftUpperArm"), _at("leftLowerArm")
    scale = hand_scale()
    there = default_skeleton().rest_positions_m[default_skeleton().index("leftHand")]
    hand = first.hand(((p - wrist) / scale + there).astype(np.float32)) * float(scale.min())
    upper = round_cone(p, shoulder, elbow, 0.0500, 0.0415)
    lower = round_cone(p, elbow, wrist - [0.012, 0, 0], 0.0415, 0.0280, (1, 1.04, 1))
    bulge = ellipsoid(p, elbow + [0.052, 0.0, 0.002], (0.075, 0.0425, 0.0445))
    limb = smooth_min(smooth_min(upper, lower, 0.015), bulge, 0.02)
    return smooth_max(smooth_min(limb, hand, 0.016), shoulder[0] + SLEEVE_M - 0.055 - p[:, 0], 0.01)


def shoe(p: Array) -> Array:
    """The left shoe: high, round-toed, standing on y = 0."""
    foot, toes = _at("leftFoot"), _at("leftToes")
    heel = round_cone(p, foot + [0, -0.032, -0.020], toes + [0.002, 0.020, 0.0], 0.043, 0.044)
    front = round_cone(p, toes + [0.002, 0.018, 0.0], toes + [-0.004, 0.016, 0.038], 0.046, 0.041)
    ankle = round_cone(p, foot + [0, 0.075, -0.006], foot + [0, -0.02, 0.004], 0.044, 0.045)
    tongue = round_cone(p, foot + [0, 0.012, 0.03], toes + [0, 0.032, -0.01], 0.027, 0.030)
    d = smooth_min(smooth_min(smooth_min(heel, front, 0.03), ankle, 0.03), tongue, 0.02)
    return smooth_max(d, 0.014 - p[:, 1], 0.004)


def neck(p: Array) -> Array:
    """The neck, from inside the collar into the head."""
    base, top = _at("neck"), _at("head")
    return round_cone(p, base - [0, 0.04, 0.002], top + [0, 0.045, -0.004], 0.062, 0.0565, (1, 1, 0.98))


def _collar() -> Mesh:
    """A flat ring about the neck, lying where the cloth ends."""
    c, s = turns(48)
    height = np.full(len(c), 1.26, np.float32)
    for _ in range(60):
        ring = COLLAR + np.column_stack([0.0745 * c, height - COLLAR[1], -0.0745 * s])
        height = height - 0.5 * outfit(ring.astype(np.float32))
    rows = []
    for minor in np.linspace(0, 2 * np.pi, 11):
        radius = 0.0740 - 0.0095 * np.cos(minor)
        ring = np.column_stack([radius * c, -0.0075 * np.sin(minor) + 0 * c, -radius * s])
        ring[:, 1] += height + 0.001 - COLLAR[1] + 0.35 * (radius - 0.0740)
        rows.append((COLLAR + ring).astype(np.float32))
    return lathe(rows)


def _hem() -> Mesh:
    """The left sleeve's ribbed edge."""
    c, s = turns(36)
    shoulder, elbow = _at("leftUpperArm"), _at("leftLowerArm")
    share = SLEEVE_M / float(elbow[0] - shoulder[0])
    radius = 0.0600 + share * 0.0040
    profile = (
        (-0.021, -0.012),
        (-0.0165, -0.0015),
        (-0.015, 0.0005),
        (-0.003, 0.0010),
        (0.0005, -0.0005),
        (0.001, -0.005),
        (0.0, -0.022),
    )
    ring = np.column_stack([0 * c, c, s])
    start = shoulder + np.array([SLEEVE_M, 0, 0], np.float32)
    return lathe([(start + ring * (radius + out) + [x, 0, 0]).astype(np.float32) for x, out in profile])


def _cuff() -> Mesh:
    """The left rolled-up trouser leg: a ring about the shin, turned from its profile (height, beyond the cloth)."""
    c, s = turns(40)
    profile = (
        (0.004, -0.030),
        (-0.003, -0.004),
        (-0.002, 0.004),
        (0.006, 0.0085),
        (0.040, 0.0085),
        (0.049, 0.0065),
        (0.052, -0.004),
    )
    knee, foot = _at("leftLowerLeg"), _at("leftFoot")
    rows = []
    for height, out in profile:
        t = (knee[1] - CUFF_LOW_Y - height) / (knee[1] - foot[1])
        centre = knee + (foot - knee) * t
        centre[1] = CUFF_LOW_Y + height
        rows.append((centre + (0.083 + out) * np.column_stack([c, 0 * c, -s])).astype(np.float32))
    return lathe(rows)


def _sole() -> Mesh:
    """The left sole: the first avatar's, wider and brought to this foot."""
    mesh, there = first.sole(), default_skeleton().rest_positions_m[default_skeleton().index("leftFoot")]
    return Mesh(
        ((mesh.vertices - there * [1, 0, 1]) * [1.10, 1.05, 0.99] + _at("leftFoot") * [1, 0, 1]).astype(np.float32),
        mesh.faces,
    )


def _front(xy: Array) -> Array:
    """(N, 2) x, y → points on the front of the clothes, straight from +Z."""
    p = np.column_stack([xy, np.full(len(xy), 0.26, np.float32)]).astype(np.float32)
    for _ in range(80):
        p[:, 2] -= 0.6 * outfit(p)
    return p


def _patch(x: tuple[float, float], y: tuple[float, float], out: float) -> Mesh:
    """A patch of cloth on the front with rounded lower corners, `out` metres above what it lies on."""
    n = 15
    u, v = np.meshgrid(np.linspace(-1, 1, n), np.linspace(-1, 1, n), indexing="xy")
    narrow = 1 - 0.30 * (np.maximum(-0.4 - v, 0) / 0.6) ** 2.5
    px = 0.5 * (x[0] + x[1]) + 0.5 * (x[1] - x[0]) * u * narrow
    py = 0.5 * (y[0] + y[1]) + 0.5 * (y[1] - y[0]) * v - 0.004 * (1 - u**2) * (v < -0.4)
    p = _front(np.column_stack([px.ravel(), py.ravel()]))
    edge = np.maximum(np.abs(u), np.abs(v)).ravel() > 0.99
    p[:, 2] += np.where(edge, -0.002, out)
    i = np.arange(n * n).reshape(n, n)
    a, b, c, d = i[:-1, :-1].ravel(), i[:-1, 1:].ravel(), i[1:, 1:].ravel(), i[1:, :-1].ravel()
    return Mesh(p.astype(np.float32), np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)]))


def _button(x: float, y: float) -> Mesh:
    c, s = turns(14)
    centre = _front(np.array([[x, y]], np.float32))[0]
    rows = [
        (centre + np.column_stack([r * c, r * s, 0 * c + z])).astype(np.float32)
        for r, z in ((0.0125, -0.003), (0.0125, 0.002), (0.0105, 0.0042), (0.0065, 0.0036), (0.001, 0.0036))
    ]
    return lathe(rows)


def _clothes() -> list[Part]:
    mesh = extract(outfit, (-0.36, 0.09, -0.21), (0.36, 1.25, 0.21), 0.0072, 9800)
    mesh, _ = split(mesh, denim(mesh.vertices))
    for border in (WAIST_Y - 0.033, WAIST_Y + 0.001):
        mesh, _ = split(mesh, mesh.vertices[:, 1] - border)
    centre = mesh.vertices[mesh.faces].mean(axis=1)
    waist = (centre[:, 1] > WAIST_Y - 0.033) & (centre[:, 1] < WAIST_Y + 0.001)
    material = np.where(denim(centre) > 0, "shirt", np.where(waist, "seam", "denim"))
    both = ("left", "right")
    bones = (
        *("hips", "spine", "chest", "upperChest"),
        *(s + b for s in both for b in ("Shoulder", "UpperArm", "UpperLeg", "LowerLeg")),
    )
    trunk = bones[:4]
    parts = [Part(mesh.vertices, mesh.faces, material).bound("clothes", bones, smooth=8)]
    pocket = _patch((-0.055, 0.055), (0.925, 1.010), 0.0022)
    parts.append(Part(pocket.vertices, pocket.faces, "seam").bound("pocket", trunk, smooth=3))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        button = _button(0.0745 * sign, BIB_TOP_Y - 0.016)
        parts.append(Part(button.vertices, button.faces, "button").bound(f"{side} button", trunk, smooth=3))
    return parts


def body_parts() -> list[Part]:
    """The clothed body without a head."""
    wrist, shoulder = _at("leftHand"), _at("leftUpperArm")
    parts = _clothes()
    collar, hem = _collar(), _hem()
    parts.append(Part(collar.vertices, collar.faces, "band").bound("collar", ("upperChest", "neck"), smooth=3))
    limb = extract(arm, (shoulder[0] + 0.08, 1.06, -0.10), (wrist[0] + 0.20, 1.20, 0.10), 0.0016, 3900)
    boot = extract(shoe, (0.03, 0.0, -0.10), (0.18, 0.22, 0.20), 0.0045, 800)
    base, roll = _sole(), _cuff()
    fingers = tuple(n[4:] for n in _BONES.names if n.startswith("left") and any(f in n for f in FINGERS))
    for side in ("left", "right"):

        def own(mesh: Mesh, side: str = side) -> Mesh:
            return mesh if side == "left" else mesh.mirrored()

        foot = (side + "Foot", side + "Toes")
        piece = own(boot)
        parts.append(Part(piece.vertices, piece.faces, "shoe").bound(f"{side} shoe", foot, smooth=4))
        piece = own(base)
        parts.append(Part(piece.vertices, piece.faces, "sole").bound(f"{side} sole", foot, smooth=4))
        piece = own(roll)
        parts.append(Part(piece.vertices, piece.faces, "seam").bound(f"{side} roll", (side + "LowerLeg",), 0))
        piece = own(hem)
        parts.append(Part(piece.vertices, piece.faces, "band").bound(f"{side} hem", (side + "UpperArm",), 0))
        piece = own(limb)
        part = Part(piece.vertices, piece.faces, "skin")
        part = part.bound(f"{side} arm", tuple(side + b for b in ("UpperArm", "LowerArm", "Hand", *fingers)), smooth=2)
        # Neighbouring fingers are close: a steep fall keeps each on its own bones; the elbow bends more softly.
        beyond = np.clip((np.abs(piece.vertices[:, 0]) - wrist[0] + 0.06) / 0.06, 0, 1)
        parts.append(replace(part, steepness=(6 + 10 * beyond).astype(np.float32)))
    column = extract(neck, (-0.08, 1.10, -0.10), (0.08, 1.36, 0.08), 0.006, 500)
    parts.append(Part(column.vertices, column.faces, "skin").bound("neck", ("upperChest", "neck", "head"), smooth=6))
    return parts


def body_field(p: Array) -> Array:
    """All of the clothed body: for occlusion."""
    q = sides(p)
    return np.minimum.reduce([outfit(p), arm(q), shoe(q), neck(p)])
