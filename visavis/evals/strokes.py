"""What an exported motion does and when the voice is stressed, read from files alone: no plan is looked at.

Strokes come from the speed of the wrists in the chest frame (`visavis.metrics.strokes`), stresses from the phoneme
events of the voice. A plan only says which word a gesture was meant for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from visavis.metrics.beat_consistency import motion_beats
from visavis.metrics.strokes import detect_strokes
from visavis.motion import rotations
from visavis.motion.kinematics import chest_frame, forward, positions, to_chest
from visavis.motion.motion import Motion
from visavis.speech.types import Speech
from visavis.speech.words import is_vowel

__all__ = ["UPPER_BODY", "apexes", "beats", "head_apexes", "nearest", "stress_of_word", "stressed_onsets"]

UPPER_BODY = ("head", "leftLowerArm", "rightLowerArm", "leftHand", "rightHand")
NOSE_M = 0.5  # a point this far before the head: its speed is the head's turning and nodding
EDGE_S = 0.005


def apexes(motion: Motion, hand: str = "both") -> NDArray[np.float64]:
    """Seconds of the stroke apexes of one wrist ("left", "right") or of both, in order."""
    places = positions(motion)
    sides = [hand] if hand in ("left", "right") else ["left", "right"]
    found: list[float] = []
    for side in sides:
        wrist = to_chest(motion, places[:, motion.skeleton.index(f"{side}Hand")])
        found += [stroke.apex_s for stroke in detect_strokes(wrist, motion.fps)]
    return np.array(sorted(found))


def head_apexes(motion: Motion) -> NDArray[np.float64]:
    """Seconds of the apexes of nods and head shakes: a point half a metre before the head, seen from the chest."""
    _, turned = forward(motion.rotations, motion.root_m, motion.skeleton)
    _, chest = chest_frame(motion)
    relative = rotations.multiply(rotations.conjugate(chest), turned[:, motion.skeleton.index("head")])
    nose = rotations.rotate(relative, np.array([0.0, 0.0, NOSE_M], np.float32))
    return np.array([stroke.apex_s for stroke in detect_strokes(nose, motion.fps)])


def beats(motion: Motion) -> NDArray[np.float64]:
    """Seconds of the motion beats of head, elbows and wrists."""
    bones = motion.skeleton.indices(list(UPPER_BODY))
    return motion_beats(positions(motion)[:, bones], motion.fps)


def stress_of_word(speech: Speech, word: int) -> float:
    """When the stressed vowel of a word begins, by the phoneme events within it.

    The first phoneme of the highest stress; the first vowel of a word without stress; its beginning without phonemes.
    """
    where = speech.words[word]
    inside = [p for p in speech.phonemes if where.start_s - EDGE_S <= p.start_s < where.end_s - EDGE_S and p.symbol]
    vowels = [p for p in inside if is_vowel(p.symbol)] or inside
    if not vowels:
        return where.start_s
    return max(vowels, key=lambda p: (p.stress, -p.start_s)).start_s


def stressed_onsets(speech: Speech, least: float = 0.5) -> list[float]:
    """Onsets of the stressed vowels of all words of at least this prominence."""
    return [stress_of_word(speech, i) for i, word in enumerate(speech.words) if word.stress >= least]


def nearest(times_s: Sequence[float] | NDArray[np.float64], at_s: float, window_s: float) -> float:
    """Signed distance in seconds from `at_s` to the nearest time, ± `window_s` where there is none so near."""
    times = np.asarray(times_s, np.float64)
    if not len(times):
        return window_s
    away = times - at_s
    return float(np.clip(away[np.argmin(np.abs(away))], -window_s, window_s))
