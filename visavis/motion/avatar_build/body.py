"""Everything below the chin: sweater, trousers, shoes, neck and hands, as fields around the default skeleton."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from visavis.motion.avatar_build.field import (
    Mesh,
    ellipsoid,
    extract,
    round_cone,
    smooth_max,
    smooth_min,
    split,
)
from visavis.motion.avatar_build.part import Part
from visavis.motion.skeleton import FINGERS, default_skeleton

__all__ = ["body_field", "body_parts", "hand", "lathe", "sides", "sole", "turns"]

Array = NDArray[np.float32]
_BONES = default_skeleton()
HEM_Y = 0.868
COLLAR = np.array([0.0, 1.4115, -0.019], np.float32)


def _at(name: str) -> Array:
    return _BONES.rest_positions_m[_BONES.index(name)]


def _tip(name: str) -> Array:
    return _at(name) + _BONES.tips_m[name]


def sides(p: Array) -> Array:
    """Fold space onto the left half: shapes given for the left exist on both sides."""
    return p * np.where(p[:, :1] < 0, np.array([-1, 1, 1], np.float32), np.float32(1))


def sweater(p: Array) -> Array:
    """A soft crew-neck sweater with long sleeves."""
    q = sides(p)
    flat = (1, 1, 1.32)
    chest = round_cone(q, (0.046, 1.262, -0.012), (0.041, 1.07, -0.010), 0.107, 0.096, flat)
    waist = round_cone(q, (0.042, 1.07, -0.010), (0.054, 0.895, -0.006), 0.097, 0.122, flat)
    # One more down the middle, or the fold between the halves would show.
    middle = round_cone(p, (0, 1.27, -0.012), (0, 0.895, -0.008), 0.117, 0.126, (1, 1, 1.28))
    torso = smooth_min(smooth_min(chest, waist, 0.06), middle, 0.05)
    slope = round_cone(q, (0.0, 1.375, -0.016), (0.150, 1.345, -0.022), 0.058, 0.051, (1, 1, 1))
    torso = smooth_min(torso, slope, 0.07)
    shoulder, elbow, wrist = _at("leftUpperArm"), _at("leftLowerArm"), _at("leftHand")
    upper = round_cone(q, shoulder, elbow, 0.0535, 0.0440)
    lower = round_cone(q, elbow, wrist - [0.02, 0, 0], 0.0440, 0.0335)
    arm = smooth_min(upper, lower, 0.02)
    whole = smooth_min(torso, arm, 0.055)
    whole = smooth_max(whole, q[:, 0] - (wrist[0] - 0.030), 0.008)
    # The hem draws in under a soft fold.
    whole = whole + 0.004 * np.exp(-(((q[:, 1] - HEM_Y - 0.032) / 0.010) ** 2)).astype(np.float32)
    whole = smooth_max(whole, HEM_Y - q[:, 1], 0.016)
    return whole


def trousers(p: Array) -> Array:
    """Straight trousers."""
    q = sides(p)
    hip, knee, foot = _at("leftUpperLeg"), _at("leftLowerLeg"), _at("leftFoot")
    pelvis = round_cone(q, (0.040, 0.95, -0.006), (0.050, 0.885, -0.008), 0.086, 0.096, (1, 1, 1.22))
    seat = ellipsoid(q, (0.058, 0.872, -0.036), (0.072, 0.080, 0.066))
    thigh = round_cone(q, hip + [0.002, -0.075, 0], knee, 0.078, 0.061, (1, 1, 0.96))
    shin = round_cone(q, knee, foot - [0, 0.01, -0.004], 0.062, 0.053, (1, 1, 0.96))
    calf = ellipsoid(q, knee + [0.0, -0.14, -0.014], (0.056, 0.13, 0.058))
    leg = smooth_min(smooth_min(thigh, shin, 0.03), calf, 0.04)
    leg = smooth_max(leg, -(q[:, 0] - 0.006), 0.012)
    whole = smooth_min(smooth_min(pelvis, seat, 0.04), leg, 0.045)
    whole = smooth_max(whole, 0.060 - q[:, 1], 0.018)
    return smooth_max(whole, q[:, 1] - 1.0, 0.01)


def shoe(p: Array) -> Array:
    """The left sneaker, standing on y = 0."""
    foot, toes = _at("leftFoot"), _at("leftToes")
    heel = round_cone(p, foot + [0, -0.034, -0.022], toes + [0.002, 0.016, 0.0], 0.040, 0.041, (1, 1.0, 1))
    front = round_cone(p, toes + [0.002, 0.016, 0.0], toes + [-0.004, 0.012, 0.040], 0.042, 0.036, (1, 1.12, 1))
    ankle = round_cone(p, foot + [0, 0.02, -0.006], foot + [0, -0.03, 0.01], 0.041, 0.043)
    tongue = round_cone(p, foot + [0, 0.012, 0.03], toes + [0, 0.03, -0.01], 0.024, 0.028)
    upper = smooth_min(smooth_min(smooth_min(heel, front, 0.03), ankle, 0.03), tongue, 0.02)
    return smooth_max(upper, 0.012 - p[:, 1], 0.004)


def lathe(rows: list[Array]) -> Mesh:
    """A skin over rings (n, 3) of the same count; each runs counter-clockwise about the direction of the next."""
    n = len(rows[0])
    faces = []
    for k in range(len(rows) - 1):
        a, b = k * n + np.arange(n), (k + 1) * n + np.arange(n)
        faces += [np.stack([a, np.roll(a, -1), np.roll(b, -1)], axis=1), np.stack([a, np.roll(b, -1), b], axis=1)]
    return Mesh(np.concatenate(rows).astype(np.float32), np.concatenate(faces))


def turns(n: int) -> tuple[Array, Array]:
    """Cosine and sine (n,) once round a circle."""
    turn = 2 * np.pi * np.arange(n) / n
    return np.cos(turn).astype(np.float32), np.sin(turn).astype(np.float32)


def sole() -> Mesh:
    """The left sole: the outline of the shoe as seen from above, a little wider."""
    foot, toes = _at("leftFoot"), _at("leftToes")
    flat = np.array([1, 0, 1], np.float32)
    heel, ball, tip = (
        (q * flat).astype(np.float32) for q in (foot - [0, 0, 0.020], toes + [0.002, 0, 0], toes + [-0.003, 0, 0.039])
    )
    c, s = turns(48)
    ray = np.column_stack([0.55 * c, 0 * c, -s])  # more points at toe and heel than along the sides
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    centre = 0.5 * (heel + tip)
    reach = np.zeros(len(ray))
    for _ in range(60):
        p = (centre + ray * reach[:, None]).astype(np.float32)
        inside = np.minimum(round_cone(p, heel, ball, 0.0430, 0.0475), round_cone(p, ball, tip, 0.0475, 0.0420))
        reach = reach - 0.7 * inside
    profile = ((0, -0.04), (0, -0.006), (0.003, -0.001), (0.008, 0), (0.018, 0), (0.023, -0.002), (0.025, -0.007))
    rows = [centre + ray * (reach + out)[:, None] + [0, y, 0] for y, out in profile]
    rows.append(centre + ray * 0.02 + [0, 0.026, 0])
    return lathe([row.astype(np.float32) for row in rows])


def hand(p: Array) -> Array:
    """The left hand with its wrist; five fingers that do not touch."""
    wrist = _at("leftHand")
    forearm = round_cone(p, wrist - [0.075, 0, 0], wrist + [0.008, 0, 0], 0.0265, 0.0255, (1, 1.22, 1))
    palm = forearm
    for finger, radius in (("Index", 0.0122), ("Middle", 0.0126), ("Ring", 0.0120), ("Little", 0.0112)):
        knuckle = _at(f"left{finger}Proximal")
        root = wrist + (knuckle - wrist) * [0.16, 0, 0.52] + [0, -0.001, 0.001]
        palm = smooth_min(palm, round_cone(p, root, knuckle, 0.0185, radius), 0.014)
    ball = ellipsoid(p, wrist + [0.038, -0.009, 0.020], (0.030, 0.014, 0.017))
    palm = smooth_min(palm, ball, 0.012)
    palm = smooth_min(palm, ellipsoid(p, wrist + [0.036, -0.007, -0.020], (0.030, 0.013, 0.013)), 0.012)
    fingers = np.full(len(p), 1.0, np.float32)
    sizes = {"Index": 1.0, "Middle": 1.03, "Ring": 0.97, "Little": 0.86}
    for finger in FINGERS[1:]:
        names = [f"left{finger}{joint}" for joint in ("Proximal", "Intermediate", "Distal")]
        points = [*(_at(name) for name in names), _tip(names[-1])]
        points[-1] = (0.70 * points[-1] + 0.30 * points[-2]).astype(np.float32)
        radii = np.array([0.0106, 0.0099, 0.0092, 0.0083]) * sizes[finger]
        one = np.ones(len(p), np.float32)
        for a, b, ra, rb in zip(points, points[1:], radii.tolist(), radii[1:].tolist(), strict=False):
            one = smooth_min(one, round_cone(p, a, b, ra, rb), 0.002)
        fingers = np.minimum(fingers, one)
    names = [f"leftThumb{joint}" for joint in ("Metacarpal", "Proximal", "Distal")]
    points = [*(_at(name) for name in names), _tip(names[-1])]
    points[-1] = (0.68 * points[-1] + 0.32 * points[-2]).astype(np.float32)
    thumb = round_cone(p, wrist + [0.012, -0.006, 0.012], points[0], 0.0175, 0.0165)
    for a, b, ra, rb in zip(points, points[1:], (0.0165, 0.0122, 0.0108), (0.0122, 0.0108, 0.0090), strict=False):
        thumb = smooth_min(thumb, round_cone(p, a, b, ra, rb), 0.004)
    return smooth_min(smooth_min(palm, thumb, 0.013), fingers, 0.006)


def _cuff() -> Mesh:
    """The left cuff: a ribbed ring about the wrist, turned from its profile (along the arm, radius)."""
    profile = (
        (-66, 30),
        (-64, 37.2),
        (-60, 39.2),
        (-40, 38.8),
        (-18, 38),
        (-14, 36.5),
        (-14, 33.5),
        (-20, 30),
        (-30, 20),
    )
    c, s = turns(32)
    rib = 1 + 0.012 * (np.arange(32) % 2)
    wrist = _at("leftHand")
    ring = np.column_stack([0 * c, rib * c, rib * s])
    return lathe([(wrist + 1e-3 * (ring * r + [x, 0, 0])).astype(np.float32) for x, r in profile])


def _collar() -> Mesh:
    """A ring about the neck, lying where the cloth ends."""
    c, s = turns(44)
    height = np.full(len(c), 1.48, np.float32)
    for _ in range(60):
        ring = COLLAR + np.column_stack([0.0615 * c, height - COLLAR[1], -0.0615 * s])
        height = height - 0.5 * sweater(ring.astype(np.float32))
    rows = []
    for minor in np.linspace(0, 2 * np.pi, 11):
        radius = 0.0605 - 0.0100 * np.cos(minor)
        q = np.column_stack([radius * c, -0.0120 * np.sin(minor) + 0 * c, -radius * s])
        q[:, 1] += height + 0.003 - COLLAR[1]
        rows.append((COLLAR + q).astype(np.float32))
    return lathe(rows)


def neck(p: Array) -> Array:
    """The neck, from inside the collar into the head."""
    base, top = _at("neck"), _at("head")
    column = round_cone(p, base - [0, 0.05, 0.002], top + [0, 0.045, -0.004], 0.056, 0.051, (1, 1, 0.98))
    return column


def _cut(mesh: Mesh, values: Array, low: str, high: str) -> Part:
    cut, above = split(mesh, values)
    return Part(cut.vertices, cut.faces, np.where(above, high, low))


def body_parts() -> list[Part]:
    """The clothed body without a head."""
    wrist = float(_at("leftHand")[0])
    knit = extract(sweater, (-0.70, 0.86, -0.17), (0.70, 1.46, 0.16), 0.0075, 4600)
    arms = ("Shoulder", "UpperArm", "LowerArm")
    both = ("left", "right")
    torso_bones = ("hips", "spine", "chest", "upperChest", *(s + b for s in both for b in arms))
    parts = [_cut(knit, knit.vertices[:, 1] - HEM_Y - 0.032, "band", "shirt").bound("sweater", torso_bones, smooth=7)]
    legs = extract(trousers, (-0.2, 0.04, -0.17), (0.2, 1.02, 0.15), 0.0065, 2400)
    leg_bones = ("hips", *(s + b for s in both for b in ("UpperLeg", "LowerLeg")))
    parts.append(Part(legs.vertices, legs.faces, "trousers").bound("trousers", leg_bones, smooth=10))
    left_shoe = extract(shoe, (0.03, -0.01, -0.10), (0.16, 0.16, 0.19), 0.0045, 900)
    left_cuff, left_sole, ring = _cuff(), sole(), _collar()
    parts.append(Part(ring.vertices, ring.faces, "band").bound("collar", ("upperChest", "neck"), smooth=3))
    left_hand = extract(hand, (wrist - 0.09, 1.30, -0.09), (wrist + 0.22, 1.39, 0.11), 0.0015, 3200)
    for side in both:
        mesh = left_shoe if side == "left" else left_shoe.mirrored()
        foot_bones = (side + "Foot", side + "Toes")
        parts.append(Part(mesh.vertices, mesh.faces, "shoe").bound(f"{side} shoe", foot_bones, smooth=4))
        mesh = left_sole if side == "left" else left_sole.mirrored()
        parts.append(Part(mesh.vertices, mesh.faces, "sole").bound(f"{side} sole", foot_bones, smooth=4))
        mesh = left_cuff if side == "left" else left_cuff.mirrored()
        parts.append(Part(mesh.vertices, mesh.faces, "band").bound(f"{side} cuff", (side + "LowerArm",), 0))
        mesh = left_hand if side == "left" else left_hand.mirrored()
        bones = ("LowerArm", "Hand", *(n[4:] for n in _BONES.names if n.startswith("left") and _is_finger(n)))
        part = Part(mesh.vertices, mesh.faces, "skin")
        part = part.bound(f"{side} hand", tuple(side + b for b in bones), smooth=2)
        # Neighbouring fingers are close: a steep fall keeps each on its own bones.
        parts.append(replace(part, steepness=16.0))
    column = extract(neck, (-0.07, 1.32, -0.09), (0.07, 1.58, 0.08), 0.006, 500)
    parts.append(Part(column.vertices, column.faces, "skin").bound("neck", ("upperChest", "neck", "head"), smooth=6))
    return parts


def _is_finger(name: str) -> bool:
    return any(finger in name for finger in FINGERS)


def body_field(p: Array) -> Array:
    """All of the clothed body: for occlusion."""
    q = sides(p)
    return np.minimum.reduce([sweater(p), trousers(p), shoe(q), hand(q), neck(p)])
