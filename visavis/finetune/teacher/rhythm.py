"""Rhythm: how a speaker's head, torso and forearms go along with the stressed syllables, gestures or not.

Speakers nod, dip and flick on pitch accents, the more the stronger the accent, and are slowest where it falls (Hadar
et al. 1983; McClave 2000; Krahmer and Swerts 2007; Loehr 2012). A beat of the body is quick down onto the vowel and
slow back, a little above where it was before the next. It lasts less than two motion tokens, so the tokens do not carry
it: the refiner learns it as the difference between a taught motion and the same motion with its rhythm.

Angles are radians; a curve of 1 is the bottom of a plain beat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from visavis.motion import rotations
from visavis.motion.kinematics import forward
from visavis.motion.motion import FPS, Motion
from visavis.retrieval.posing import Performer

__all__ = ["LEAST_STRESS", "Beats", "beat_curve", "beats_of", "with_rhythm"]

Array = NDArray[np.float32]

LEAST_STRESS = 0.5
_NEAREST_S = 0.22  # between two beats: of nearer accents the stronger has it
_STROKE_S = (0.19, 0.23)  # down onto the accent
_EARLY_S = 0.02  # the bottom is a little before the vowel (Leonard and Cummins 2011)
_SHORTEST_S = 0.06  # of a rise
_BACK_S, _PREPARE_S = 0.5, 0.4  # back to rest; and the rise before a beat that comes out of rest
_LIFT = 0.35  # of a beat's depth: how far the body rises before it
_HEAD_DEG, _TORSO_DEG, _ELBOW_DEG = 4.5, 2.5, 7.5
_SHARES = {"torso": {"spine": 0.3, "chest": 0.35, "upperChest": 0.35}, "head": {"neck": 0.5, "head": 0.5}}
# The forearm's direction up (-1 hangs, 0 is level): hanging arms flick up on a beat, raised ones go down.
_HANGS, _RAISED = -0.85, -0.45


@dataclass(frozen=True)
class Beats:
    """How large the beats of one speaker are in one turn: head, torso, left and right forearm; 1 is plain."""

    head: float = 1.0
    torso: float = 1.0
    left: float = 0.6
    right: float = 1.0


def beats_of(performer: Performer, size: float) -> Beats:
    """The beats of a performer.

    Args:
        performer: amplitude, head style, and the hand that does most.
        size: of movements under the emotion of the moment.
    """
    plain = size * performer.amplitude
    left, right = (0.6, 1.0) if performer.handedness == "right" else (1.0, 0.6)
    return Beats(plain * (0.7 + 0.3 * performer.head_style), plain, left * plain, right * plain)


def beat_curve(accents: Sequence[tuple[float, float]], frames: int, rng: np.random.Generator) -> Array:
    """(T,) how far down the body is: 0 at rest, about the accent's weight at its beat, slightly negative before one.

    Speed is zero a little before each accent. Between two of them the body rises as far as there is time; where there
    is much, it rests. Pieces are of minimum jerk (Flash and Hogan 1985).

    Args:
        accents: (seconds, weight), in order of time.
        frames: T.
        rng: of small variation.
    """
    keys = [(-_BACK_S, 0.0)]
    for at, weight in _apart(accents):
        bottom, depth = at - _EARLY_S, weight * rng.uniform(0.8, 1.2)
        begin = bottom - rng.uniform(*_STROKE_S)
        before_s, before = keys[-1]
        top = -_LIFT * depth
        if begin - before_s > _BACK_S + _PREPARE_S:
            keys += [(before_s + _BACK_S, 0.0), (begin - _PREPARE_S, 0.0), (begin, top)]
        elif begin - before_s > _SHORTEST_S:
            share = float(_smooth(np.minimum((begin - before_s) / _BACK_S, 1.0)))
            keys.append((begin, before + (top - before) * share))
        keys.append((bottom, depth))
    keys.append((keys[-1][0] + _BACK_S, 0.0))
    times = np.arange(frames) / FPS
    curve = np.zeros(frames, np.float32)
    for (a, x), (b, y) in zip(keys, keys[1:], strict=False):
        inside = (times >= a) & (times < b)
        curve[inside] = x + (y - x) * _smooth((times[inside] - a) / (b - a))
    return curve


def _apart(accents: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The accents that have a beat: of two that are too near the stronger."""
    kept: list[tuple[float, float]] = []
    for at, weight in accents:
        if not kept or at - kept[-1][0] >= _NEAREST_S:
            kept.append((at, weight))
        elif weight > kept[-1][1]:
            kept[-1] = (at, weight)
    return kept


def _smooth(x: NDArray[np.floating]) -> NDArray[np.floating]:
    return x**3 * (10 - 15 * x + 6 * x * x)


def with_rhythm(motion: Motion, curve: Array, size: Beats, free: Mapping[str, Array] | None = None) -> Motion:
    """The motion with head, torso and forearms beating along a curve.

    Args:
        motion: T frames.
        curve: (T,) of `beat_curve`.
        size: of the speaker's beats.
        free: by side, (T,) in [0, 1], how far the arm may beat; 0 where a gesture uses it.
    """
    skeleton = motion.skeleton
    turned = motion.rotations.copy()

    def turn(bone: str, axis: int, degrees: NDArray[np.floating]) -> None:
        vectors = np.zeros((len(motion), 3), np.float32)
        vectors[:, axis] = np.radians(degrees)
        i = skeleton.index(bone)
        turned[:, i] = rotations.multiply(rotations.from_rotation_vector(vectors), turned[:, i])

    for bone, share in _SHARES["torso"].items():
        turn(bone, 0, share * size.torso * _TORSO_DEG * curve)
    for bone, share in _SHARES["head"].items():
        turn(bone, 0, share * size.head * _HEAD_DEG * curve)
    places, _ = forward(motion.rotations, motion.root_m, skeleton)
    for side, flexing, amount in (("left", -1.0, size.left), ("right", 1.0, size.right)):
        elbow, wrist = (places[:, skeleton.index(f"{side}{bone}")] for bone in ("LowerArm", "Hand"))
        up = (wrist - elbow)[:, 1] / np.linalg.norm(wrist - elbow, axis=-1)
        raised = _smooth(np.clip((up - _HANGS) / (_RAISED - _HANGS), 0, 1))
        beat = amount * _ELBOW_DEG * curve * (1 - 2 * raised)
        turn(f"{side}LowerArm", 1, flexing * (beat if free is None else beat * free[side]))
    return replace(motion, rotations=turned)
