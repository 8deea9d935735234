"""How near hands are to body and each other: a body as a few rounded solids, a hand as a few points.

The solids are fixed to hips, chest, neck and head and sized by the skeleton (shoulders, trunk, head). A point of a hand
has a place by a solid in the body's own proportions, so the same place is known on any other body.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis.motion import rotations as rot
from visavis.motion.kinematics import forward
from visavis.motion.motion import Motion
from visavis.motion.skeleton import Skeleton, default_skeleton

__all__ = ["DEEPEST_M", "SIDES", "Posed", "body_gaps", "gaps_m", "hand_gaps", "hand_size", "sizes_of"]

Array = NDArray[np.float32]

SIDES: Final = ("left", "right")
# Rounded boxes of the default body: bone, least and greatest corner, radius; metres. The skin, not what must stay out.
_SOLIDS: Final = (
    ("hips", (-0.070, -0.02, 0.0), (0.070, 0.05, 0.0), 0.095),
    ("spine", (-0.055, 0.0, 0.005), (0.055, 0.10, 0.005), 0.090),
    ("upperChest", (-0.070, -0.08, 0.010), (0.070, 0.07, 0.010), 0.092),
    ("neck", (0.0, 0.0, 0.005), (0.0, 0.06, 0.005), 0.050),
    ("head", (0.0, 0.05, 0.010), (0.0, 0.12, 0.008), 0.088),
)
# Points of a left hand are palm and back, then fingertips; with their radii.
_FINGERTIPS: Final = ("Thumb", "Index", "Middle", "Little")
_RADIUS_M: Final = (0.016, 0.016, 0.009, 0.008, 0.008, 0.007)
_PALM: Final = ((0.70, -0.10, 0.0), (0.70, 0.10, 0.0))  # in lengths of the palm: along, palmar or dorsal, towards thumb
# A hand that hangs beside the hips touches nothing; an elbow bent this much may put it there (radians).
_AKIMBO: Final = np.radians([40.0, 60.0])
_HANGING_M: Final = 0.17  # what a hanging hand's gap is enlarged by: more than any approach counts from
DEEPEST_M: Final = 0.03  # below the skin; points farther in are given there


def _ratio(skeleton: Skeleton, *pairs: tuple[str, str]) -> float:
    """Length of ways between resting bones, in those of the default body."""
    ours = default_skeleton()

    def length(body: Skeleton) -> float:
        place = body.rest_positions_m
        return sum(float(np.linalg.norm(place[body.index(a)] - place[body.index(b)])) for a, b in pairs)

    return length(skeleton) / length(ours)


def sizes_of(skeleton: Skeleton) -> dict[str, Array]:
    """Bone of a solid → (3,) width, height and depth in those of the default body."""
    wide = _ratio(skeleton, ("leftUpperArm", "rightUpperArm"))
    hips = _ratio(skeleton, ("leftUpperLeg", "rightUpperLeg"))
    tall = _ratio(skeleton, ("hips", "spine"), ("spine", "chest"), ("chest", "upperChest"), ("upperChest", "neck"))
    neck = _ratio(skeleton, ("neck", "head"))
    tip = skeleton.tips_m.get("head")
    head = float(np.linalg.norm(tip) / np.linalg.norm(default_skeleton().tips_m["head"])) if tip is not None else tall
    depth = float(np.sqrt(wide * tall))
    trunk = np.array([wide, tall, depth], np.float32)
    return {
        "hips": np.array([hips, tall, depth], np.float32),
        "spine": trunk,
        "upperChest": trunk,
        "neck": np.array([neck, neck, neck], np.float32),
        "head": np.full(3, head, np.float32),
        **skeleton.girth,
    }


def hand_size(skeleton: Skeleton, side: str) -> float:
    """Length of a palm, metres."""
    palm = skeleton.offsets_m[skeleton.index(f"{side}MiddleProximal")]
    return float(np.linalg.norm(palm))


@dataclass(frozen=True, eq=False)
class Posed:
    """A body with its frames and the points of its hands: world places (T, J, 3), orientations (T, J, 4)."""

    motion: Motion
    places: Array
    world: Array
    points: dict[str, Array]  # side → (T, P, 3)

    @classmethod
    def of(cls, motion: Motion, fingers: bool = True) -> Posed:
        """Place a motion's body; without `fingers` only palms have points."""
        skeleton = motion.skeleton
        places, world = forward(motion.rotations, motion.root_m, skeleton)
        points = {}
        for side, sign in (("left", 1.0), ("right", -1.0)):
            hand, size = skeleton.index(f"{side}Hand"), hand_size(skeleton, side)
            some = [
                places[:, hand] + rot.rotate(world[:, hand], np.array(p, np.float32) * [sign, 1, 1] * size)
                for p in _PALM
            ]
            for finger in _FINGERTIPS if fingers else ():
                bone = f"{side}{finger}Distal"
                i = skeleton.index(bone)
                tip = skeleton.tips_m.get(bone, default_skeleton().tips_m[bone])
                some.append(places[:, i] + rot.rotate(world[:, i], tip))
            points[side] = np.stack(some, axis=1).astype(np.float32)
        return cls(motion, places, world, points)

    def local(self, bone: str, points: Array) -> Array:
        """World points (T, P, 3) in a bone's frame."""
        i = self.motion.skeleton.index(bone)
        return rot.rotate(rot.conjugate(self.world[:, i, None]), points - self.places[:, i, None])

    def outside(self, bone: str, points: Array) -> Array:
        """Points (T, P, 3) of a bone's frame in the world."""
        i = self.motion.skeleton.index(bone)
        return self.places[:, i, None] + rot.rotate(self.world[:, i, None], points)


def _gap(local: Array, low: tuple[float, ...], high: tuple[float, ...], radius: float) -> Array:
    """(T, P) metres between points (T, P, 3) in the default body's measure and a rounded box, less their own radii."""
    apart = local - np.clip(local, np.array(low, np.float32), np.array(high, np.float32))
    return np.asarray(np.linalg.norm(apart, axis=-1) - radius - np.array(_RADIUS_M[: local.shape[1]]), np.float32)


def _outside(local: Array, gap: Array, low: tuple[float, ...], high: tuple[float, ...]) -> Array:
    """Points (T, P, 3) that are deep inside a rounded box brought up to `DEEPEST_M` below its skin."""
    apart = local - np.clip(local, np.array(low, np.float32), np.array(high, np.float32))
    length = np.linalg.norm(apart, axis=-1, keepdims=True)
    front = np.array([0, 0, 1], np.float32)
    out = np.where(length > 1e-3, apart / np.maximum(length, 1e-3), front)
    return np.asarray(local + out * np.maximum(-DEEPEST_M - gap, 0.0)[..., None], np.float32)


def body_gaps(body: Posed, side: str) -> list[tuple[str, Array, Array]]:
    """For every solid: its bone, the points of one hand (T, P, 3) in the default body's measure, and gaps (T, P).

    Thin bodies and loose data leave hands inside our solids: points deep inside are given near the skin.
    """
    sizes, out = sizes_of(body.motion.skeleton), []
    lower = body.motion.rotations[:, body.motion.skeleton.index(f"{side}LowerArm")]
    bend = np.arccos(np.clip(1.0 - 2.0 * (lower[:, 1] ** 2 + lower[:, 2] ** 2), -1.0, 1.0))
    hanging = 1.0 - np.clip((bend - _AKIMBO[0]) / (_AKIMBO[1] - _AKIMBO[0]), 0.0, 1.0)
    for bone, low, high, radius in _SOLIDS:
        local = body.local(bone, body.points[side]) / sizes[bone]
        gap = _gap(local, low, high, radius)
        if bone in ("hips", "spine"):
            gap = gap + (hanging * _HANGING_M)[:, None].astype(np.float32)
        out.append((bone, _outside(local.astype(np.float32), gap, low, high), gap))
    return out


def hand_gaps(body: Posed) -> tuple[Array, Array]:
    """Ways (T, P, P, 3) from the points of the right hand to those of the left, and the gaps (T, P, P) between them."""
    ways = body.points["left"][:, :, None] - body.points["right"][:, None]
    radii = np.array(_RADIUS_M[: ways.shape[1]], np.float32)
    return ways, (np.linalg.norm(ways, axis=-1) - radii[:, None] - radii).astype(np.float32)


def gaps_m(motion: Motion) -> dict[str, Array]:
    """How near hands are to the body and to each other: "left", "right" and "hands" → (T,) metres, below 0 inside.

    In the measure of the default body; `motion` is on our 55 bones of any proportions.
    """
    body = Posed.of(motion)
    out = {side: np.min([gap.min(axis=1) for *_, gap in body_gaps(body, side)], axis=0) for side in SIDES}
    return {**out, "hands": hand_gaps(body)[1].min(axis=(1, 2))}
