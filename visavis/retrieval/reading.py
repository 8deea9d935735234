"""A gesture as numbers to compare: where hands, fingers and head are while it is made, and what of that is its shape.

A motion is read once into a table of channels in the chest frame; from the table come the phases and, at moments of the
stroke and of the whole gesture, features. Beside places they hold what stays when somebody makes the gesture elsewhere,
larger or with other timing: the shape of each wrist's path, hand shapes, how near the fingertips are to the face and to
the other hand. Nothing here knows of glosses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis.motion import rotations as rot
from visavis.motion.kinematics import forward, to_frame
from visavis.motion.motion import FPS, Motion
from visavis.motion.phase_detection import hands_of, phases_of, speed_of
from visavis.motion.phases import Phases
from visavis.motion.skeleton import FINGERS

__all__ = ["HAND", "MOUTH", "TIPS", "Reading", "moments", "pose_features", "read_motion_table", "reading_of"]

Array = NDArray[np.float32]

MOMENTS: Final = 12  # of the stroke, and as many of the whole gesture
# Channels of one hand: wrist 3, palm 3, fingers' direction 3, bend of two joints of five fingers 10, fingertips 15.
HAND: Final = 34
TIPS: Final = slice(19, 34)
CHANNELS: Final = 2 * HAND + 9  # right hand, left hand, head and trunk as rotation vectors, place of the head
_FLIP_HAND: Final = np.where(np.isin(np.arange(HAND), [0, 3, 6, *range(19, 34, 3)]), -1.0, 1.0).astype(np.float32)
_FLIP_CORE: Final = np.array([1, -1, -1, 1, -1, -1, -1, 1, 1], np.float32)
MOUTH: Final = np.array([0.0, 0.05, 0.08], np.float32)  # from the head's joint


@dataclass(frozen=True, eq=False)
class Reading:
    """One gesture, read.

    Attributes:
        table: (T, CHANNELS) in the chest frame, metres, radians and directions; the busier hand first, as a right hand.
        phases: on the motion's clock.
        hands: "left", "right", "both" or "none".
    """

    table: Array
    phases: Phases
    hands: str


def read_motion_table(motion: Motion) -> tuple[Array, Array]:
    """Channels (T, CHANNELS), the right hand first, and the crown of the head (T, 3), both in the chest frame."""
    skeleton, index = motion.skeleton, motion.skeleton.index
    places, turned = forward(motion.rotations, motion.root_m, skeleton)
    chest = places[:, index("upperChest")], turned[:, index("upperChest")]
    back = rot.conjugate(chest[1])

    def end(bone: str) -> Array:
        return to_frame(chest, places[:, index(bone)] + rot.rotate(turned[:, index(bone)], skeleton.tips_m[bone]))

    columns = []
    for side, along in (("right", -1.0), ("left", 1.0)):
        hand = rot.multiply(back, turned[:, index(f"{side}Hand")])
        columns += [to_frame(chest, places[:, index(f"{side}Hand")])]
        columns += [rot.rotate(hand, np.array([0, -1, 0])), rot.rotate(hand, np.array([along, 0, 0]))]
        for joint in ("Proximal", "Intermediate"):
            names = [f"{side}{finger}{joint}" for finger in FINGERS]
            names[0] = f"{side}Thumb{'Proximal' if joint == 'Proximal' else 'Distal'}"
            cosine = np.abs(motion.rotations[:, [index(name) for name in names], 3])
            columns.append(2 * np.arccos(np.clip(cosine, 0, 1)))
        columns += [end(f"{side}{finger}Distal") for finger in FINGERS]
    head = rot.to_rotation_vector(rot.multiply(back, turned[:, index("head")]))
    columns += [head, rot.to_rotation_vector(chest[1]), to_frame(chest, places[:, index("head")])]
    return np.concatenate(columns, axis=1).astype(np.float32), end("head")


def _mirrored(table: Array) -> Array:
    right, left, core = table[:, :HAND], table[:, HAND : 2 * HAND], table[:, 2 * HAND :]
    return np.concatenate([left * _FLIP_HAND, right * _FLIP_HAND, core * _FLIP_CORE], axis=1)


def reading_of(table: Array, crown: Array) -> Reading:
    """Find hands and phases in what `read_motion_table` gave, at least four frames."""
    wrists = {"right": table[:, :3], "left": table[:, HAND : HAND + 3]}
    speeds = {side: speed_of(wrist.astype(np.float64), FPS) for side, wrist in wrists.items()}
    hands = hands_of(speeds)
    moving = [speeds[side] for side in speeds if hands in (side, "both")]
    speed = np.max(moving, axis=0) if moving else speed_of(crown.astype(np.float64), FPS)
    return Reading(_mirrored(table) if hands == "left" else table, phases_of(speed, FPS), hands)


def moments(table: Array, from_s: float, to_s: float) -> Array:
    """(MOMENTS, C) of a table (T, C), evenly spread."""
    at = np.clip(np.linspace(from_s, to_s, MOMENTS) * FPS, 0, len(table) - 1)
    low = np.minimum(at.astype(int), max(len(table) - 2, 0))
    share = (at - low)[:, None]
    return np.asarray(table[low] * (1 - share) + table[np.minimum(low + 1, len(table) - 1)] * share, np.float32)


def pose_features(read: Reading) -> Array:
    """(D,) float32: the poses of stroke and gesture, their shapes, and how much of each channel there is."""
    table, p = read.table, read.phases
    stroke = moments(table, p.ready_s, max(p.stroke_end_s, p.stroke_s + 0.05))
    first, last = round(p.start_s * FPS), max(round(p.end_s * FPS), round(p.start_s * FPS) + 4)
    whole = moments(table, first / FPS, last / FPS)
    moving = np.diff(table[first : last + 1], axis=0)
    way = np.abs(moving).sum(0)
    turns = (np.diff(np.sign(moving), axis=0) != 0).mean(0) * way
    lasting = np.array([p.stroke_end_s - p.ready_s, p.end_s - p.start_s, p.stroke_end_s - p.stroke_s])
    poses = [_shapes(some).ravel() for some in (stroke, whole)]
    return np.concatenate([*poses, np.log1p(way), np.log1p(turns), lasting]).astype(np.float32)


def _shapes(table: Array) -> Array:
    """(M, E) of moments (M, CHANNELS): channels in comparable units, and what does not depend on the place."""
    hands = table[:, :HAND], table[:, HAND : 2 * HAND]
    out = [2.5 * table[:, 2 * HAND : 2 * HAND + 6]]
    mouth = table[:, 2 * HAND + 6 :] + MOUTH
    for hand in hands:
        wrist, tips = hand[:, :3], hand[:, TIPS].reshape(-1, 5, 3)
        thumb, index, middle = tips[:, 0], tips[:, 1], tips[:, 2]
        pairs = (thumb, index), (thumb, middle), (index, middle)
        path = wrist - wrist.mean(0)
        size = float(np.sqrt((path**2).sum(1).mean()))
        out += [
            3.0 * wrist, 0.7 * hand[:, 3:9], 0.4 * hand[:, 9:19],
            5.0 * np.minimum(np.linalg.norm(tips - mouth[:, None], axis=-1), 0.5), 3.0 * (wrist - mouth),
            12.0 * np.linalg.norm(tips - wrist[:, None], axis=-1),
            *(12.0 * np.linalg.norm(a - b, axis=1)[:, None] for a, b in pairs),
            4.0 * path, 0.7 * path / (size + 0.02), 8.0 * np.diff(wrist, axis=0, prepend=wrist[:1]),
        ]  # fmt: skip
    (right, left), apart = hands, hands[0][:, :3] - hands[1][:, :3]
    fingers_apart = np.linalg.norm(right[:, 22:25] - left[:, 22:25], axis=1)[:, None]
    out += [3.0 * apart, 3.0 * np.linalg.norm(apart, axis=1)[:, None], 5.0 * np.minimum(fingers_apart, 0.4)]
    return np.concatenate([*out, (right[:, 3:6] * left[:, 3:6]).sum(1)[:, None]], axis=1)
