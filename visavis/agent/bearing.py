"""How a feeling is borne: what the words do not ask for and motion tokens hardly carry.

Joy brings the forearms forward and up, anger the elbows out; sadness lets the arms hang close to the body and the head
sink, fear draws the arms before it. Movements of head, torso and arms are larger in joy and anger, smaller in sadness
(Wallbott 1998; Castellano et al. 2007; Dael et al. 2012). Laid over a clause's motion by how strong the feeling is,
less over an arm that is raised already, and not over what makes a gesture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from visavis.emotion import EMOTIONS
from visavis.motion import rotations as rot
from visavis.motion.blend import fade_curve
from visavis.motion.kinematics import forward
from visavis.motion.limits import clamp
from visavis.motion.motion import FPS, Motion

__all__ = ["feeling", "with_bearing"]

Array = NDArray[np.float32]

# emotion: degrees that the upper arm goes out and forward, that the elbow bends, that head and torso sink beside what
# the model does; how much larger head and torso move, and the arms
_BEARING: Final[dict[str, tuple[float, ...]]] = {
    "neutral": (0, 0, 0, 0, 0, 0.0, 0.0),
    "joy": (2, 18, 46, 0, 0, 0.4, 0.6),
    "sadness": (-4, 0, 0, 7, 3, -0.5, -0.5),
    "anger": (16, 10, 24, 0, 0, 0.5, 1.0),
    "fear": (-3, 8, 26, 0, 0, -0.2, -0.2),
    "surprise": (8, 6, 20, 0, 0, 0.2, 0.3),
    "disgust": (-2, 3, 8, 0, 0, -0.1, -0.1),
}
_OF: Final = np.array([_BEARING[name] for name in EMOTIONS], np.float32)
_SHARES: Final = {"spine": 0.3, "chest": 0.35, "upperChest": 0.35, "neck": 0.4, "head": 0.6}
_FARTHEST: Final = np.radians(15.0)
_SLOW_S, _EDGE_S = 0.5, 0.3  # slower than the former is posture; what moves is left alone beside a stretch's borders
_CHANGE_S: Final = 0.8  # from one feeling to another
# The forearm's direction up: below, an arm hangs; above, it is raised and is bent no further.
_HANGS, _RAISED = -0.9, -0.2


def feeling(before: Array, after: Array, frames: int) -> Array:
    """(T, 7) weights from one feeling's (7,) to another's, in 0.8 s of least jerk from the first frame on."""
    share = fade_curve(np.minimum(np.arange(1, frames + 1) / (_CHANGE_S * FPS), 1.0))[:, None]
    return (before + share * (after - before)).astype(np.float32)


def with_bearing(motion: Motion, felt: Array, free: Mapping[str, Array]) -> Motion:
    """A motion borne as somebody feels.

    Args:
        motion: T frames.
        felt: (T, 7) weights in the order of `EMOTIONS`, together at most 1.
        free: by limb (core, left, right), (T,) in [0, 1], how far no gesture uses it.
    Returns:
        T frames; other bones than upper and lower arms, spine, neck and head are bit for bit the same, all are where
        nothing is felt.
    """
    if not len(motion) or not felt[:, 1:].any():
        return motion
    out, ahead, bend, head, torso, larger, arms = (felt @ _OF).T
    skeleton = motion.skeleton
    turned = motion.rotations.copy()
    frames = np.arange(len(motion))
    inside = fade_curve(np.clip(np.minimum(frames, frames[::-1]) / (_EDGE_S * FPS), 0, 1))
    for name, share in _SHARES.items():
        bone = skeleton.index(name)
        _swell(turned, bone, free["core"] * inside * larger)
        _turn(turned, bone, 0, share * free["core"] * (head if name in ("neck", "head") else torso))
    places, _ = forward(motion.rotations, motion.root_m, skeleton)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        upper, lower, hand = skeleton.indices([f"{side}{bone}" for bone in ("UpperArm", "LowerArm", "Hand")])
        along = places[:, hand] - places[:, lower]
        up = along[:, 1] / np.linalg.norm(along, axis=-1)
        hangs = free[side] * (1 - fade_curve(np.clip((up - _HANGS) / (_RAISED - _HANGS), 0, 1)))
        for bone in (upper, lower):
            _swell(turned, bone, free[side] * inside * arms)
        _turn(turned, upper, 0, -ahead * hangs)
        _turn(turned, upper, 2, sign * out * free[side])
        _turn(turned, lower, 1, -sign * bend * hangs)
        inside_limits = clamp(turned, skeleton)
        turned[:, [upper, lower]] = inside_limits[:, [upper, lower]]
    return replace(motion, rotations=turned)


def _turn(turned: Array, bone: int, axis: int, degrees: Array) -> None:
    """Turn a bone in its parent's frame."""
    vectors = np.zeros((len(turned), 3), np.float32)
    vectors[:, axis] = np.radians(degrees)
    turned[:, bone] = rot.multiply(rot.from_rotation_vector(vectors), turned[:, bone])


def _swell(turned: Array, bone: int, more: Array) -> None:
    """Make what a bone does faster than its posture changes larger, by a share `more`; 15 degrees further at most."""
    q = turned[:, bone]
    signed = np.where((q @ q[0])[:, None] < 0, -q, q)
    slow = rot.normalize(gaussian_filter1d(signed, _SLOW_S * FPS, axis=0, mode="nearest"))
    off = rot.to_rotation_vector(rot.multiply(q, rot.conjugate(slow)))
    size = np.linalg.norm(off, axis=-1) + 1e-6
    further = _FARTHEST * np.tanh(more * size / _FARTHEST) / size  # smoothly bounded
    turned[:, bone] = rot.normalize(rot.multiply(rot.from_rotation_vector(off * further[:, None]), q))
