"""How a feeling is borne: what the words do not ask for and motion tokens hardly carry.

Joy brings the forearms forward and up, anger the elbows out and the hands apart; sadness lets the arms hang close to
the body and the head sink, fear draws the arms before it. Movements of head, torso and arms are larger in joy and
anger, smaller in sadness (Wallbott 1998; Castellano et al. 2007; Dael et al. 2012). Laid over a clause's motion by how
strong the feeling is, less over an arm that is raised already, and not over an arm that makes a gesture. Head and torso
are held as somebody feels over gestures, too, unless a hand is near the head; what they do in a gesture keeps its size.
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

# emotion: degrees that the upper arm goes out and forward, that the elbow bends, that the upper arm turns outwards
# about itself, that head and torso sink beside what the model does; how much larger head, torso and arms move
_BEARING: Final[dict[str, tuple[float, ...]]] = {
    "neutral": (0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0),
    "joy": (2, 28, 54, 0, 0, 0, 0.4, 1.5, 1.5),
    "sadness": (-5, 4, 0, 0, 14, 0, -1.0, -1.0, -1.0),
    "anger": (10, 10, 50, 35, -5, 3, 0.6, 1.0, 3.0),
    "fear": (-3, 8, 26, 0, 0, 0, -0.2, -0.2, -0.2),
    "surprise": (8, 6, 20, 0, 0, 0, 0.2, 0.2, 0.3),
    "disgust": (-2, 3, 8, 0, 0, 0, -0.1, -0.1, -0.1),
}
_OF: Final = np.array([_BEARING[name] for name in EMOTIONS], np.float32)
_SHARES: Final = {"spine": 0.3, "chest": 0.35, "upperChest": 0.35, "neck": 0.4, "head": 0.6}
_FARTHEST: Final = np.radians(20.0)
_SLOW_S, _EDGE_S = 0.5, 0.3  # slower than the former is posture; what moves is left alone beside a stretch's borders
_GENTLY_S: Final = 0.25  # an arm that rises gives its bearing up as slowly as this
_CHANGE_S: Final = 0.8  # from one feeling to another
# The forearm's direction up: below, an arm hangs; above, it is raised and is bent no further.
_HANGS, _RAISED = -0.9, -0.2
_NEAR_M, _FAR_M = 0.3, 0.45  # of a wrist from the head: nearer, a gesture is made at the head, which stays where it is


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
    out, ahead, bend, twist, head, torso, nods, sways, arms = (felt @ _OF).T
    skeleton = motion.skeleton
    turned = motion.rotations.copy()
    frames = np.arange(len(motion))
    inside = fade_curve(np.clip(np.minimum(frames, frames[::-1]) / (_EDGE_S * FPS), 0, 1))
    places, _ = forward(motion.rotations, motion.root_m, skeleton)
    wrists = places[:, skeleton.indices(["leftHand", "rightHand"])]
    away = np.linalg.norm(wrists - places[:, [skeleton.index("head")]], axis=-1).min(-1)
    held = np.maximum(free["core"], fade_curve(np.clip((away - _NEAR_M) / (_FAR_M - _NEAR_M), 0, 1)))
    for name, share in _SHARES.items():
        bone, sinks, larger = skeleton.index(name), torso, sways
        if name in ("neck", "head"):
            sinks, larger = head, nods
        _swell(turned, bone, free["core"] * inside * larger)
        _turn(turned, bone, 0, share * held * sinks)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        upper, lower, hand = skeleton.indices([f"{side}{bone}" for bone in ("UpperArm", "LowerArm", "Hand")])
        along = places[:, hand] - places[:, lower]
        up = along[:, 1] / np.linalg.norm(along, axis=-1)
        hangs = 1 - fade_curve(np.clip((up - _HANGS) / (_RAISED - _HANGS), 0, 1))
        gently = gaussian_filter1d(hangs, _GENTLY_S * FPS, mode="nearest")
        hangs = free[side] * (hangs + inside * (gently - hangs))
        for bone in (upper, lower):
            _swell(turned, bone, free[side] * inside * arms)
        _turn(turned, upper, 0, -ahead * hangs)
        _turn(turned, upper, 1, sign * twist * hangs)
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
    """Make what a bone does faster than its posture changes larger, by a share `more`; 20 degrees further at most."""
    q = turned[:, bone]
    signed = np.where((q @ q[0])[:, None] < 0, -q, q)
    slow = rot.normalize(gaussian_filter1d(signed, _SLOW_S * FPS, axis=0, mode="nearest"))
    off = rot.to_rotation_vector(rot.multiply(q, rot.conjugate(slow)))
    size = np.linalg.norm(off, axis=-1) + 1e-6
    further = _FARTHEST * np.tanh(more * size / _FARTHEST) / size  # smoothly bounded
    turned[:, bone] = rot.normalize(rot.multiply(rot.from_rotation_vector(off * further[:, None]), q))
