"""An arm in the terms of the posing engine: always a left one, its hand as pronation and bend of the wrist.

HOME (`visavis.motion.idle.relaxed_pose`) in the same terms, landmarks of the body, and small arm algebra.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visavis import safe_yaml
from visavis.errors import LexiconError
from visavis.motion import rotations as rot
from visavis.motion.idle import relaxed_pose
from visavis.motion.ik import FOREARM_SHARE, solve_arm, split_pronation
from visavis.motion.kinematics import forward
from visavis.motion.skeleton import default_skeleton

__all__ = [
    "FLIP",
    "Home",
    "arm_length_m",
    "elbow_inside",
    "forearm",
    "home",
    "landmark",
    "orientation",
    "split",
    "twisted",
]

Array = NDArray[np.float32]

FLIP: Final = np.array([-1, 1, 1], np.float32)
_HARD_TWIST: Final = np.radians(95.0)
_DIRECTIONS: Final = {
    "out": (1.0, 0.0, 0.0), "in": (-1.0, 0.0, 0.0), "up": (0.0, 1.0, 0.0),
    "down": (0.0, -1.0, 0.0), "forward": (0.0, 0.0, 1.0), "backward": (0.0, 0.0, -1.0),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Home:
    """HOME: the whole pose, and each arm as a left arm.

    Attributes:
        pose: (J, 4) local rotations.
        arms: side → (19, 4) local rotations of the arm.
        wrist: side → (3,) in the chest frame, metres.
        hand: side → (4,) pronation and bend of the wrist, radians.
        rest: side → (4, 3) rotation vectors from the solver's arm at this wrist to the arm of HOME.
        head: place (3,) and orientation (4,) of the head bone in the chest frame.
    """

    pose: Array
    arms: dict[str, Array]
    wrist: dict[str, Array]
    hand: dict[str, Array]
    rest: dict[str, Array]
    head: tuple[Array, Array]


@lru_cache(maxsize=1)
def home() -> Home:
    """HOME of the default body."""
    skeleton = default_skeleton()
    pose = np.asarray(relaxed_pose(skeleton), np.float32)
    places, turned = forward(pose[None], skeleton.offsets_m[:1], skeleton)
    chest = skeleton.index("upperChest")
    to_chest = rot.conjugate(turned[0, chest])
    arms, wrists, hands, rest = {}, {}, {}, {}
    for side in ("left", "right"):
        local = pose[skeleton.part(side)]
        i = skeleton.index(f"{side}Hand")
        wrist = rot.rotate(to_chest, places[0, i] - places[0, chest])
        hand = rot.multiply(to_chest, turned[0, i])
        if side == "right":
            local, wrist, hand = rot.mirror(local), wrist * FLIP, rot.mirror(hand)
        solved = solve_arm(skeleton, "left", wrist[None], None, np.zeros(1, np.float32))
        angle, bend = split(forearm(solved), hand[None])
        solved = twisted(solved, angle, bend)[0]
        arms[side], wrists[side] = local, wrist
        hands[side] = np.concatenate([angle, bend[0]]).astype(np.float32)
        rest[side] = rot.to_rotation_vector(rot.multiply(rot.conjugate(solved), local[:4]))
    head = skeleton.index("head")
    place = rot.rotate(to_chest, places[0, head] - places[0, chest])
    return Home(pose, arms, wrists, hands, rest, (place, rot.multiply(to_chest, turned[0, head])))


@lru_cache(maxsize=1)
def _landmarks() -> dict[str, tuple[str, Array]]:
    data = safe_yaml.load((files("visavis.retrieval") / "data" / "landmarks.yaml").read_text())
    return {name: (entry["bone"], np.array(entry["at"], np.float32)) for name, entry in data.items()}


def landmark(name: str) -> tuple[str, Array]:
    """Bone and place (3,) in its frame, metres, on the side of a left hand; LexiconError if there is none."""
    if name not in _landmarks():
        raise LexiconError(f"landmark must be one of {', '.join(_landmarks())}; got {name!r}")
    return _landmarks()[name]


@lru_cache(maxsize=1)
def arm_length_m() -> float:
    """From shoulder to wrist: the unit of the lexicon."""
    skeleton = default_skeleton()
    return float(sum(skeleton.offsets_m[skeleton.index(f"left{bone}")][0] for bone in ("LowerArm", "Hand")))


def forearm(local: Array) -> Array:
    """(T, 4, 4) Shoulder, UpperArm, LowerArm, Hand → (T, 4) orientation of the forearm in the chest frame."""
    return rot.multiply(rot.multiply(local[:, 0], local[:, 1]), local[:, 2])


def split(above: Array, hand: Array) -> tuple[Array, Array]:
    """Turn of a hand as its wrist can do it.

    Args:
        above: (T, 4) orientation of the untwisted forearm in the chest frame.
        hand: (T, 4) wanted orientation of the hand there.

    Returns:
        pronation (T,) and bend (T, 3), radians, inside the range of movement.
    """
    _, local, angle = split_pronation(rot.multiply(rot.conjugate(above), hand))
    angle = np.clip(angle, -_HARD_TWIST, _HARD_TWIST).astype(np.float32)
    untwist = rot.from_axis_angle([1, 0, 0], -(1.0 - FOREARM_SHARE) * angle)
    return angle, rot.to_rotation_vector(rot.multiply(untwist, local))


def twisted(local: Array, angle: Array, bend: Array) -> Array:
    """Arms (T, 4, 4) with their hands turned by pronation (T,) and bend (T, 3)."""
    out = local.copy()
    out[:, 2] = rot.multiply(local[:, 2], rot.from_axis_angle([1, 0, 0], FOREARM_SHARE * angle))
    wrist = rot.from_axis_angle([1, 0, 0], (1.0 - FOREARM_SHARE) * angle)
    out[:, 3] = rot.multiply(wrist, rot.from_rotation_vector(bend))
    return out


def _vector(direction: Any) -> Array:
    return rot.normalize(_DIRECTIONS[direction] if isinstance(direction, str) else direction)


@lru_cache(maxsize=1024)
def _orientation(palm: Any, fingers: Any) -> tuple[float, ...]:
    x, y = _vector(fingers), -_vector(palm)
    y = rot.normalize(y - (x @ y) * x)
    return tuple(map(float, rot.from_matrix(np.stack([x, y, np.cross(x, y)], axis=-1))))


def orientation(palm: Any, fingers: Any) -> Array:
    """(4,) of a left hand whose palm faces and fingers point so (the palm gives way where they are not square)."""
    return np.array(_orientation(palm, fingers), np.float32)


def elbow_inside(local: Array) -> Array:
    """(T,) how deep (0 to 1) elbow and mid-forearm of left arms (T, 4, 4) lie in the chest, an elliptic cylinder."""
    skeleton = default_skeleton()
    offset = [skeleton.offsets_m[skeleton.index(f"left{b}")] for b in ("Shoulder", "UpperArm", "LowerArm", "Hand")]
    upper = rot.multiply(local[:, 0], local[:, 1])
    elbow = offset[0] + rot.rotate(local[:, 0], offset[1]) + rot.rotate(upper, offset[2])
    middle = elbow + 0.5 * rot.rotate(rot.multiply(upper, local[:, 2]), offset[3])
    out = np.zeros(len(local), np.float32)
    for point, radius in ((elbow, 1.25), (middle, 1.2)):
        r = np.hypot(point[:, 0] / (0.155 * radius), (point[:, 2] - 0.01) / (0.11 * radius))
        out += np.where(point[:, 1] < 0.12, np.maximum(1.0 - r, 0.0), 0.0)
    return out
