"""Named hand shapes as data (`data/hand_shapes.yaml`) and the few points of a hand that gestures touch with.

A shape is written in degrees a person can read off a hand: for every finger the flexion of its three joints and its
spread; for the thumb opposition (swinging under the palm), adduction (closing to the index) and the flexion of its two
joints. Everything is a left hand in the frame of the hand bone: fingers +X, palm -Y, thumb +Z; mirror for the right.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from visavis import safe_yaml
from visavis.errors import LexiconError
from visavis.motion import rotations as rot
from visavis.motion.skeleton import ARM_BONES, FINGERS, default_skeleton

__all__ = ["EFFECTORS", "effector", "finger_tips", "hand_shape", "pinch", "pinch_gap_m", "shape_names"]

Array = NDArray[np.float32]

EFFECTORS: Final = (
    "wrist",
    "palm",
    "back",
    "index_tip",
    "middle_tip",
    "thumb_tip",
    "little_tip",
    "fingers",
    "edge",
    "heel",
)
_BONES: Final = ARM_BONES[4:]
# Flesh between the bones and the surface of palm and back of the hand, metres.
_PALM_M: Final = 0.018


class _Shape(BaseModel):
    """One named shape in degrees: fingers (flexion of three joints, spread), thumb (see the module)."""

    model_config = ConfigDict(extra="forbid")

    thumb: tuple[float, float, float, float]
    index: tuple[float, float, float, float]
    middle: tuple[float, float, float, float]
    ring: tuple[float, float, float, float]
    little: tuple[float, float, float, float]


@lru_cache(maxsize=1)
def _shapes() -> dict[str, _Shape]:
    data = safe_yaml.load((files("visavis.retrieval") / "data" / "hand_shapes.yaml").read_text())
    try:
        return {name: _Shape.model_validate(shape) for name, shape in data.items()}
    except ValidationError as error:
        raise LexiconError(f"hand_shapes.yaml: {error.errors()[0]['msg']} at {error.errors()[0]['loc']}") from error


def shape_names() -> tuple[str, ...]:
    """All shapes there are."""
    return tuple(_shapes())


def _thumb_flex_axis() -> Array:
    skeleton = default_skeleton()
    along = rot.normalize(skeleton.offsets_m[skeleton.index("leftThumbProximal")])
    across = np.array([0.35, -0.45, -0.82], np.float32)
    return rot.normalize(np.cross(along, across))


@lru_cache(maxsize=256)
def _cached(name: str) -> Array:
    shapes = _shapes()
    if name not in shapes:
        raise LexiconError(f"hand shape must be one of {', '.join(shapes)}; got {name!r}: add it to hand_shapes.yaml")
    shape = shapes[name]
    out = np.zeros((15, 3), np.float32)
    oppose, adduct, proximal, distal = np.radians(shape.thumb)
    base = rot.multiply(rot.from_axis_angle([0, 1, 0], adduct), rot.from_axis_angle([1, 0, 0], oppose))
    out[0] = rot.to_rotation_vector(base)
    out[1], out[2] = proximal * _thumb_flex_axis(), distal * _thumb_flex_axis()
    for f, finger in enumerate((shape.index, shape.middle, shape.ring, shape.little)):
        first, second, third, spread = np.radians(finger)
        turned = rot.multiply(rot.from_axis_angle([0, 1, 0], -spread), rot.from_axis_angle([0, 0, 1], -first))
        out[3 + 3 * f] = rot.to_rotation_vector(turned)
        out[4 + 3 * f, 2], out[5 + 3 * f, 2] = -second, -third
    out.setflags(write=False)
    return out


def hand_shape(name: str) -> Array:
    """(15, 3) rotation vectors of the left hand's finger bones in the skeleton's order; LexiconError if unknown."""
    return _cached(name)


def finger_tips(vectors: Array) -> dict[str, Array]:
    """Fingertips of a left hand in the frame of its hand bone, metres: finger ("Thumb", ...) → (3,)."""
    skeleton = default_skeleton()
    turned = rot.from_rotation_vector(vectors)
    out = {}
    for f, finger in enumerate(FINGERS):
        names = [f"left{name}" for name in _BONES[3 * f : 3 * f + 3]]
        place, here = np.zeros(3, np.float32), rot.IDENTITY
        for name, local in zip(names, turned[3 * f : 3 * f + 3], strict=True):
            place = place + rot.rotate(here, skeleton.offsets_m[skeleton.index(name)])
            here = rot.multiply(here, local)
        out[finger] = place + rot.rotate(here, skeleton.tips_m[names[-1]])
    return out


@lru_cache(maxsize=512)
def _effector(name: str, shape: str) -> tuple[float, ...]:
    tips = finger_tips(hand_shape(shape))
    points = {
        "wrist": np.zeros(3),
        "palm": np.array([0.065, -_PALM_M, 0.0]),
        "back": np.array([0.065, _PALM_M, 0.0]),
        "edge": np.array([0.05, 0.0, -0.045]),
        "heel": np.array([0.02, -_PALM_M, 0.0]),
        "index_tip": tips["Index"],
        "middle_tip": tips["Middle"],
        "thumb_tip": tips["Thumb"],
        "little_tip": tips["Little"],
        "fingers": (tips["Index"] + tips["Middle"] + tips["Ring"]) / 3 + np.array([-0.02, -0.008, 0.0]),
    }
    return tuple(float(v) for v in points[name])


def effector(name: str, shape: str) -> Array:
    """(3,) a point of the left hand in the frame of its hand bone when it has a shape, metres."""
    if name not in EFFECTORS:
        raise LexiconError(f"effector must be one of {', '.join(EFFECTORS)}; got {name!r}")
    return np.array(_effector(name, shape), np.float32)


def pinch_gap_m(vectors: Array) -> float:
    """Distance between the tips of thumb and index, metres."""
    tips = finger_tips(vectors)
    return float(np.linalg.norm(tips["Thumb"] - tips["Index"]))


@lru_cache(maxsize=1)
def _pinch_table() -> tuple[Array, Array]:
    blend = np.linspace(0.0, 1.0, 41, dtype=np.float32)
    closed, opened = hand_shape("pinch_closed"), hand_shape("pinch_open")
    gaps = np.array([pinch_gap_m(closed + b * (opened - closed)) for b in blend], np.float32)
    return blend, np.maximum.accumulate(gaps)


def pinch(gap_m: float) -> Array:
    """(15, 3) rotation vectors of a hand whose thumb and index tips are `gap_m` apart (clipped to what a hand can)."""
    blend, gaps = _pinch_table()
    closed, opened = hand_shape("pinch_closed"), hand_shape("pinch_open")
    return closed + np.float32(np.interp(gap_m, gaps, blend)) * (opened - closed)
