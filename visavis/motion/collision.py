"""Hands and forearms outside the body: rounded boxes for trunk, neck and head, balls for what must not go into them.

The solids are a little thinner than the avatar's clothes, so that a touch (a hand on the heart, a finger on the lips)
is no collision; a body whose flesh is known (`Skeleton.girth`) has its own. Upper arms and legs are not tested: at
ease they touch the trunk by nature.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis.motion import rotations as rot
from visavis.motion.ik import move_arm
from visavis.motion.kinematics import forward
from visavis.motion.motion import Motion

__all__ = ["penetration_m", "push_out"]

Array = NDArray[np.float32]

# Rounded boxes: bone, least and greatest corner in its frame, radius around; metres. The trunk is wider than deep.
_SOLIDS: Final = (
    ("hips", (-0.065, -0.02, 0.0), (0.065, 0.05, 0.0), 0.090),
    ("spine", (-0.050, 0.0, 0.005), (0.050, 0.10, 0.005), 0.085),
    ("upperChest", (-0.060, -0.08, 0.010), (0.060, 0.05, 0.010), 0.085),
    ("neck", (0.0, 0.0, 0.005), (0.0, 0.06, 0.005), 0.045),
    ("head", (0.0, 0.06, 0.008), (0.0, 0.12, 0.008), 0.078),
)
# Points of a left arm: bone, place in its frame, radius.
_POINTS: Final = (
    ("LowerArm", (0.12, 0.0, 0.0), 0.030),
    ("LowerArm", (0.20, 0.0, 0.0), 0.025),
    ("Hand", (0.0, 0.0, 0.0), 0.022),
    ("Hand", (0.065, 0.0, 0.0), 0.016),
    ("MiddleProximal", (0.02, 0.0, 0.0), 0.009),
    ("MiddleDistal", (0.0, 0.0, 0.0), 0.008),
)
_ARM: Final = ("Shoulder", "UpperArm", "LowerArm", "Hand")
_HAND_RADIUS: Final = 0.014


def _arm_points(motion: Motion, side: str, places: Array, turned: Array) -> tuple[Array, Array]:
    """(T, P, 3) places of the points in the world and (P,) their radii."""
    sign = np.array([1 if side == "left" else -1, 1, 1], np.float32)
    points = []
    for bone, at, _ in _POINTS:
        i = motion.skeleton.index(side + bone)
        points.append(places[:, i] + rot.rotate(turned[:, i], np.array(at, np.float32) * sign))
    return np.stack(points, axis=1), np.array([radius for *_, radius in _POINTS], np.float32)


def _depths(motion: Motion, side: str, places: Array, turned: Array) -> tuple[Array, Array]:
    """How deep every point of an arm is in every solid (T, P, C), and the unit way out (T, P, C, 3)."""
    points, radii = _arm_points(motion, side, places, turned)
    depths, ways = [], []
    for bone, low, high, radius in _SOLIDS:
        i = motion.skeleton.index(bone)
        girth = motion.skeleton.girth.get(bone, np.ones(3, np.float32))
        local = rot.rotate(rot.conjugate(turned[:, i])[:, None], points - places[:, i, None]) / girth
        apart = local - np.clip(local, np.array(low, np.float32), np.array(high, np.float32))
        distance = np.linalg.norm(apart, axis=-1)
        # A point in the very middle leaves to the front.
        front = np.array([0, 0, 1], np.float32)
        away = np.where(distance[..., None] > 1e-4, apart / np.maximum(distance, 1e-4)[..., None], front) * girth
        size = np.linalg.norm(away, axis=-1)
        ways.append(rot.rotate(turned[:, i, None], away / size[..., None]))
        depths.append((radius + radii - distance) * size)
    return np.stack(depths, axis=2), np.stack(ways, axis=2)


def penetration_m(motion: Motion) -> Array:
    """(T,) metres by which hands or forearms are inside trunk or head, or one palm inside the other; 0 if none is."""
    if not len(motion):
        return np.zeros(0, np.float32)
    places, turned = forward(motion.rotations, motion.root_m, motion.skeleton)
    deepest = [_depths(motion, side, places, turned)[0].max(axis=(1, 2)) for side in ("left", "right")]
    left, right = (_arm_points(motion, side, places, turned)[0][:, 3:5] for side in ("left", "right"))
    apart = np.linalg.norm(left[:, :, None] - right[:, None], axis=-1).min(axis=(1, 2))
    return np.maximum(np.maximum(*deepest), np.maximum(2 * _HAND_RADIUS - apart, 0)).clip(0).astype(np.float32)


def _smoothed(x: Array, frames: int) -> Array:
    """Widened and then averaged over time, so that the push comes and goes gently and is full where it is needed."""
    size = np.linalg.norm(x, axis=-1)
    padded = np.pad(x, ((frames, frames), (0, 0)), mode="edge")
    window = np.lib.stride_tricks.sliding_window_view(padded, 2 * frames + 1, axis=0)  # (T, 3, W)
    kernel = np.hanning(2 * frames + 3)[1:-1]
    mean = window @ (kernel / kernel.sum())
    # Where the average is too short for what is needed here, the difference is made up.
    short = np.maximum(size - np.linalg.norm(mean, axis=-1), 0.0)
    return (mean + rot.normalize(x) * short[:, None]).astype(np.float32)


def push_out(motion: Motion, passes: int = 5, fade_frames: int = 5) -> Motion:
    """Bring hands and forearms out of trunk and head, as little as needed, hands keeping their orientation.

    Args:
        motion: frames without collision stay as they are, but for some frames around one.
        passes: more bring deeper ones out further.
        fade_frames: how many frames before and after take part.
    """
    if not len(motion):
        return motion
    for _ in range(passes):
        places, turned = forward(motion.rotations, motion.root_m, motion.skeleton)
        out, changed = motion.rotations.copy(), False
        chest = motion.skeleton.index("upperChest")
        back = rot.conjugate(turned[:, chest])
        for side in ("left", "right"):
            depth, way = _depths(motion, side, places, turned)
            flat = depth.reshape(len(motion), -1)
            worst = flat.argmax(axis=1)
            rows = np.arange(len(motion))
            deep = np.maximum(flat[rows, worst], 0.0)
            if deep.max() < 5e-4:
                continue
            changed = True
            push = _smoothed(way.reshape(len(motion), -1, 3)[rows, worst] * deep[:, None], fade_frames)
            busy = np.flatnonzero(np.linalg.norm(push, axis=-1) > 1e-6)
            columns = motion.skeleton.indices([side + bone for bone in _ARM])
            wrist = places[:, columns[3]] + push
            local = rot.rotate(back, wrist - places[:, chest])[busy]
            hand = rot.multiply(back, turned[:, columns[3]])[busy]
            out[np.ix_(busy, columns)] = move_arm(motion.skeleton, side, out[busy][:, columns], local, hand)
        if not changed:
            break
        motion = replace(motion, rotations=out)
    return motion
