"""Everything below the chin: sweater, trousers, shoes, neck and hands, as fields around the default skeleton."""

from __future__ import annotations

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
    torus,
)
from visavis.motion.avatar_build.part import Part
from visavis.motion.skeleton import FINGERS, default_skeleton

__all__ = ["body_field", "body_parts"]

Array = NDArray[np.float32]
_BONES = default_skeleton()
HEM_Y = 0.868
COLLAR = np.array([0.0, 1.392, -0.020], np.float32)


def _at(name: str, dx: float = 0, dy: float = 0, dz: float = 0) -> Array:
    return _BONES.rest_positions_m[_BONES.index(name)] + np.array([dx, dy, dz], np.float32)


def _tip(name: str) -> Array:
    return _at(name) + _BONES.tips_m[name]


def _sides(p: Array) -> Array:
    """Fold space onto the left half: shapes given for the left exist on both sides."""
    return p * np.where(p[:, :1] < 0, np.array([-1, 1, 1], np.float32), np.float32(1))


def sweater(p: Array) -> Array:
    """A soft crew-neck sweater with long sleeves."""
    q = _sides(p)
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
    whole = smooth_max(whole, HEM_Y - q[:, 1], 0.010)
    # The collar leans forward with the neck.
    tilted = np.stack([p[:, 0], p[:, 1] - 0.30 * (p[:, 2] + 0.02), p[:, 2]], axis=1).astype(np.float32)
    collar = torus(tilted, COLLAR, 0.0605, 0.0115)
    return smooth_min(whole, collar, 0.004)


def trousers(p: Array) -> Array:
    """Straight trousers."""
    q = _sides(p)
    hip, knee, foot = _at("leftUpperLeg"), _at("leftLowerLeg"), _at("leftFoot")
    pelvis = round_cone(q, (0.040, 0.95, -0.006), (0.050, 0.885, -0.008), 0.086, 0.096, (1, 1, 1.22))
    seat = ellipsoid(q, (0.058, 0.872, -0.036), (0.072, 0.080, 0.066))
    thigh = round_cone(q, hip + [0.002, -0.075, 0], knee, 0.078, 0.061, (1, 1, 0.96))
    shin = round_cone(q, knee, foot - [0, 0.01, -0.004], 0.062, 0.053, (1, 1, 0.96))
    calf = ellipsoid(q, knee + [0.0, -0.14, -0.014], (0.056, 0.13, 0.058))
    leg = smooth_min(smooth_min(thigh, shin, 0.03), calf, 0.04)
    leg = smooth_max(leg, -(q[:, 0] - 0.006), 0.012)
    whole = smooth_min(smooth_min(pelvis, seat, 0.04), leg, 0.045)
    whole = smooth_max(whole, 0.062 - q[:, 1], 0.01)
    return smooth_max(whole, q[:, 1] - 1.0, 0.01)


def shoe(p: Array) -> Array:
    """The left sneaker, standing on y = 0."""
    foot, toes = _at("leftFoot"), _at("leftToes")
    heel = round_cone(p, foot + [0, -0.034, -0.022], toes + [0.002, 0.016, 0.0], 0.040, 0.041, (1, 1.0, 1))
    front = round_cone(p, toes + [0.002, 0.016, 0.0], toes + [-0.004, 0.012, 0.040], 0.042, 0.036, (1, 1.12, 1))
    ankle = round_cone(p, foot + [0, 0.02, -0.006], foot + [0, -0.03, 0.01], 0.041, 0.043)
    tongue = round_cone(p, foot + [0, 0.012, 0.03], toes + [0, 0.03, -0.01], 0.024, 0.028)
    upper = smooth_min(smooth_min(smooth_min(heel, front, 0.03), ankle, 0.03), tongue, 0.02)
    outline = np.minimum(
        round_cone(p * [1, 0, 1], (foot + [0, 0, -0.022]) * [1, 0, 1], (toes + [0.002, 0, 0]) * [1, 0, 1], 0.043, 0.046),
        round_cone(p * [1, 0, 1], (toes + [0.002, 0, 0]) * [1, 0, 1], (toes + [-0.004, 0, 0.041]) * [1, 0, 1], 0.046, 0.040),
    )  # fmt: skip
    sole = smooth_max(outline.astype(np.float32), np.abs(p[:, 1] - 0.012) - 0.012, 0.008)
    upper = smooth_max(upper, 0.01 - p[:, 1], 0.004)
    return smooth_min(upper, sole, 0.003)


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
        points[-1] = points[-1] - (points[-1] - points[-2]) * 0.30
        radii = np.array([0.0106, 0.0099, 0.0092, 0.0083]) * sizes[finger]
        one = np.full(len(p), 1.0, np.float32)
        for a, b, ra, rb in zip(points, points[1:], radii, radii[1:], strict=False):
            one = smooth_min(one, round_cone(p, a, b, ra, rb), 0.002)
        fingers = np.minimum(fingers, one)
    names = [f"leftThumb{joint}" for joint in ("Metacarpal", "Proximal", "Distal")]
    points = [*(_at(name) for name in names), _tip(names[-1])]
    points[-1] = points[-1] - (points[-1] - points[-2]) * 0.32
    thumb = round_cone(p, wrist + [0.012, -0.006, 0.012], points[0], 0.0175, 0.0165)
    for a, b, ra, rb in zip(points, points[1:], (0.0165, 0.0122, 0.0108), (0.0122, 0.0108, 0.0090), strict=False):
        thumb = smooth_min(thumb, round_cone(p, a, b, ra, rb), 0.004)
    return smooth_min(smooth_min(palm, thumb, 0.013), fingers, 0.006)


def _cuff() -> Mesh:
    """The left cuff: a ribbed ring about the wrist, turned from its profile (along the arm, radius)."""
    profile = ((-0.066, 0.030), (-0.064, 0.0372), (-0.060, 0.0392), (-0.040, 0.0388), (-0.018, 0.0380), (-0.014, 0.0365),
               (-0.014, 0.0335), (-0.020, 0.0300), (-0.030, 0.0200))  # fmt: skip
    n = 32
    turn = 2 * np.pi * np.arange(n) / n
    rib = 1 + 0.012 * (np.arange(n) % 2)
    wrist = _at("leftHand")
    rows = [wrist + np.column_stack([np.full(n, x), r * rib * np.cos(turn), r * rib * np.sin(turn)]) for x, r in profile]
    faces = []
    for k in range(len(profile) - 1):
        a, b = k * n + np.arange(n), (k + 1) * n + np.arange(n)
        faces += [np.stack([a, np.roll(a, -1), np.roll(b, -1)], axis=1), np.stack([a, np.roll(b, -1), b], axis=1)]
    return Mesh(np.concatenate(rows).astype(np.float32), np.concatenate(faces))


def neck(p: Array) -> Array:
    """The neck, from inside the collar into the head."""
    base, top = _at("neck"), _at("head")
    column = round_cone(p, base - [0, 0.05, 0.002], top + [0, 0.045, -0.004], 0.056, 0.051, (1, 1, 0.98))
    return column


def _cut(mesh: Mesh, values: Array, low: str, high: str, materials: NDArray[np.str_] | None = None) -> Part:
    cut, above = split(mesh, values)
    return Part(cut.vertices, cut.faces, np.where(above, high, low))


def body_parts() -> list[Part]:
    """The clothed body without a head."""
    wrist = float(_at("leftHand")[0])
    knit = extract(sweater, (-0.70, 0.86, -0.17), (0.70, 1.46, 0.16), 0.0075, 5200)
    band = np.minimum(
        np.minimum(wrist - 0.056 - np.abs(knit.vertices[:, 0]), knit.vertices[:, 1] - 0.924),
        np.hypot(knit.vertices[:, 0], knit.vertices[:, 2] + 0.02)
        + 8 * np.maximum(1.372 - knit.vertices[:, 1], 0)
        - 0.0835,
    )
    arms = ("Shoulder", "UpperArm", "LowerArm")
    sides = ("left", "right")
    torso_bones = ("hips", "spine", "chest", "upperChest", *(s + b for s in sides for b in arms))
    parts = [_cut(knit, band, "band", "shirt").bound("sweater", torso_bones, smooth=10)]
    legs = extract(trousers, (-0.2, 0.04, -0.17), (0.2, 1.02, 0.15), 0.0065, 3000)
    leg_bones = ("hips", *(s + b for s in sides for b in ("UpperLeg", "LowerLeg")))
    parts.append(Part(legs.vertices, legs.faces, "trousers").bound("trousers", leg_bones, smooth=10))
    left_shoe = extract(shoe, (0.03, -0.01, -0.10), (0.16, 0.16, 0.19), 0.0045, 900)
    left_cuff = _cuff()
    left_hand = extract(hand, (wrist - 0.09, 1.30, -0.09), (wrist + 0.22, 1.39, 0.11), 0.0016, 2600)
    for side in sides:
        mesh = left_shoe if side == "left" else left_shoe.mirrored()
        part = _cut(mesh, mesh.vertices[:, 1] - 0.0235, "sole", "shoe")
        parts.append(part.bound(f"{side} shoe", (side + "Foot", side + "Toes"), smooth=4))
        mesh = left_cuff if side == "left" else left_cuff.mirrored()
        parts.append(Part(mesh.vertices, mesh.faces, "band").bound(f"{side} cuff", (side + "LowerArm",), 0))
        mesh = left_hand if side == "left" else left_hand.mirrored()
        bones = ("LowerArm", "Hand", *(n[4:] for n in _BONES.names if n.startswith("left") and _is_finger(n)))
        part = Part(mesh.vertices, mesh.faces, "skin")
        parts.append(part.bound(f"{side} hand", tuple(side + b for b in bones), smooth=2))
    column = extract(neck, (-0.07, 1.32, -0.09), (0.07, 1.58, 0.08), 0.006, 500)
    parts.append(Part(column.vertices, column.faces, "skin").bound("neck", ("upperChest", "neck", "head"), smooth=6))
    return parts


def _is_finger(name: str) -> bool:
    return any(finger in name for finger in FINGERS)


def body_field(p: Array) -> Array:
    """All of the clothed body: for occlusion."""
    q = _sides(p)
    return np.minimum.reduce([sweater(p), trousers(p), shoe(q), hand(q), neck(p)])
