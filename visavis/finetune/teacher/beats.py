"""Beats: the small strokes that hands make on stressed words, as paths of the wrists in the chest frame.

Preparation begins 200-600 ms before the stress, the stroke ends up to 100 ms before it, about half of the stresses
have one, and there is no retraction when the next preparation is near (Leonard and Cummins 2011; Loehr 2012; Kita et
al. 1998). What a word means bends the beat: negation sweeps out, "you" reaches forward, and so on (`words.yaml`).

All positions are of the left wrist, metres, chest frame (x out, y up, z forward); right arms are mirrored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
import yaml
from numpy.typing import NDArray

from visavis.motion.motion import FPS
from visavis.speech.types import Word

__all__ = ["ArmPath", "Key", "WORD_CLASSES", "arm_path", "plan_beats", "word_class"]

Array = NDArray[np.float32]

# class: (start offset, end offset) from the centre of gesture space, and the palm's direction at the end
_SHAPES: dict[str, tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]] = {
    "": ((0.00, 0.10, 0.00), (0.03, -0.02, 0.05), (-0.6, -0.7, 0.2)),
    "negation": ((-0.14, 0.05, 0.04), (0.13, -0.01, 0.00), (0.0, -0.9, 0.4)),
    "uncertain": ((-0.02, 0.02, -0.03), (0.12, 0.06, 0.02), (0.0, 0.9, 0.3)),
    "self": ((0.02, 0.03, 0.06), (-0.12, 0.12, -0.12), (-0.5, 0.1, -0.9)),
    "partner": ((0.00, 0.02, -0.04), (-0.02, 0.07, 0.17), (-0.2, 0.8, 0.3)),
    "whole": ((-0.12, 0.03, 0.02), (0.16, 0.02, 0.04), (-0.4, 0.5, 0.6)),
    "large": ((-0.06, 0.04, 0.00), (0.13, 0.10, 0.05), (-0.9, 0.0, 0.2)),
    "small": ((0.02, 0.10, 0.02), (-0.06, 0.12, 0.10), (-0.9, 0.0, 0.1)),
    "up": ((0.00, -0.03, 0.02), (0.03, 0.20, 0.06), (-0.6, 0.6, 0.2)),
    "down": ((0.00, 0.14, 0.02), (0.02, -0.07, 0.06), (0.0, -1.0, 0.1)),
    "there": ((-0.03, 0.05, -0.02), (0.18, 0.10, 0.12), (-0.4, -0.3, 0.8)),
    "here": ((0.00, 0.12, 0.02), (-0.03, -0.04, 0.08), (0.0, -1.0, 0.0)),
    "order": ((-0.05, 0.09, 0.02), (0.07, -0.01, 0.05), (-0.8, -0.5, 0.2)),
    "agree": ((0.00, 0.10, 0.00), (0.06, 0.00, 0.14), (-0.1, 0.9, 0.3)),
    "past": ((0.00, 0.05, 0.05), (0.06, 0.22, -0.14), (-0.3, 0.2, -0.9)),
    "forward": ((-0.02, 0.03, -0.08), (0.02, 0.05, 0.20), (-0.9, -0.2, 0.3)),
    "together": ((0.14, 0.04, 0.02), (-0.09, 0.04, 0.08), (-0.95, 0.1, 0.1)),
    "hold": ((0.02, 0.14, 0.00), (-0.03, -0.02, 0.08), (-0.7, 0.6, 0.2)),
    "apart": ((-0.10, 0.02, 0.06), (0.14, 0.03, 0.00), (0.6, -0.5, 0.5)),
    "force": ((0.00, 0.20, -0.02), (0.00, -0.08, 0.06), (-0.95, -0.1, 0.1)),
    "mind": ((0.00, 0.10, -0.02), (0.05, 0.28, -0.05), (-0.8, 0.2, -0.3)),
    "feel": ((0.03, 0.05, 0.04), (-0.10, 0.05, -0.10), (-0.4, 0.0, -0.95)),
}
WORD_CLASSES = tuple(_SHAPES)
_CENTRE = np.array([0.19, -0.21, 0.27], np.float32)
_NEAREST_M = 0.2  # of a wrist before the chest: a flat hand on it
_BOTH_HANDS = {"whole", "uncertain", "large", "together", "hold", "apart"}


@lru_cache(maxsize=1)
def _table() -> dict[str, str]:
    data = yaml.safe_load((files("visavis.finetune.teacher") / "words.yaml").read_text())
    out: dict[str, str] = {}
    for name, forms in data.items():
        for form in forms:
            # YAML reads `no` and `yes` as booleans
            out.setdefault({False: "no", True: "yes"}.get(form, str(form)), name)
    return out


def word_class(word: str) -> str:
    """The class of a word in `words.yaml`, "" for most words."""
    return _table().get(word.lower().strip(".,!?;:\"'()"), "")


@dataclass(frozen=True)
class Key:
    """A place of the wrist at a time: (3,) metres in the chest frame, and the palm's direction."""

    time_s: float
    place_m: tuple[float, float, float]
    palm: tuple[float, float, float]
    engaged: float = 1.0


@dataclass(frozen=True)
class ArmPath:
    """wrist (T, 3) metres, palm (T, 3) directions, engaged (T,) in [0, 1] (0: the arm is at home)."""

    wrist: Array
    palm: Array
    engaged: Array


def _outside(place: NDArray[np.floating]) -> NDArray[np.floating]:
    """The place, but not inside the chest, however large the speaker's movements are."""
    x, y, z = place
    return np.array([max(x, 0.09), y, max(z, _NEAREST_M if x < 0.24 else 0.1)])


def _beat(word: Word, rng: np.random.Generator, size: float, tempo: float, shift: float) -> list[Key]:
    kind = word_class(word.text)
    begin, end, palm = _SHAPES[kind]
    prep = rng.uniform(0.25, 0.5) / tempo
    stroke = rng.uniform(0.17, 0.27) / tempo
    apex = word.stress_s - rng.uniform(0.0, 0.08)
    jitter = rng.normal(0, 0.015, 3)
    a = _outside(_CENTRE + np.array(begin) * size + jitter + (shift, 0, 0))
    b = _outside(_CENTRE + np.array(end) * size + jitter + (shift, 0, 0))
    facing = np.array(palm) + rng.normal(0, 0.15, 3)
    before = 0.5 * facing + 0.5 * np.array(_SHAPES[""][2])
    at = apex - stroke
    return [
        Key(at - prep, (np.nan,) * 3, tuple(before)),  # from wherever the hand is
        Key(at, tuple(a), tuple(before)),
        Key(apex, tuple(b), tuple(facing)),
        Key(apex + rng.uniform(0.12, 0.45), tuple(b + rng.normal(0, 0.006, 3)), tuple(facing)),
    ]


def plan_beats(
    words: Sequence[Word],
    busy: Sequence[tuple[float, float, str]],
    rng: np.random.Generator,
    *,
    rate: float,
    size: float,
    tempo: float,
    dominant: str,
) -> tuple[dict[str, list[Key]], list[float]]:
    """Choose beats for both arms.

    Args:
        words: with their stress times.
        busy: (from_s, to_s, side) where a gesture uses an arm.
        rng: makes every choice.
        rate: share of the stresses that have a beat, in [0, 1].
        size: 1 for a moderate speaker.
        tempo: 1 for a moderate speaker, more is quicker.
        dominant: the side that does most.
    Returns:
        Keys by side, in order of time, retractions included; and the stresses that have a beat, in seconds.
    """
    stresses: list[float] = []
    keys: dict[str, list[Key]] = {"left": [], "right": []}
    other = "left" if dominant == "right" else "right"
    last_end = {"left": -1.0, "right": -1.0}
    step = 0.0
    for word in words:
        kind = word_class(word.text)
        # Pronouns and negations are often unstressed and yet gestured on.
        if word.stress < (0.3 if kind == "negation" else 0.6) and not (
            kind in ("self", "partner") and rng.random() < 0.25
        ):
            continue
        # What is meant draws gestures: most beats stand on words that have a shape of their own.
        if rng.random() > (min(0.25 + rate, 0.9) if kind else 0.5 * rate):
            continue
        both = rng.random() < (0.8 if kind in _BOTH_HANDS else 0.06)
        sides = [dominant, other] if both else [dominant if rng.random() < 0.85 else other]
        step = min(step + 0.05, 0.12) if kind == "order" else 0.0
        state = rng.bit_generator.state
        for side in sides:
            rng.bit_generator.state = state  # both hands do the same
            beat = _beat(word, rng, size, tempo, step)
            if beat[0].time_s < 0:  # hands begin at home
                beat[0] = Key(0.0, beat[0].place_m, beat[0].palm)
                if beat[1].time_s < 0.2:
                    continue
            start, end = beat[0].time_s, beat[-1].time_s
            taken = any(a - 0.15 < end and start < b + 0.15 and which == side for a, b, which in busy)
            if taken or start < last_end[side] - 0.2:
                continue
            if start < last_end[side]:
                beat[0] = Key(last_end[side], beat[0].place_m, beat[0].palm)
                if beat[1].time_s - beat[0].time_s < 0.12:
                    continue
            keys[side] += beat
            last_end[side] = end
            if word.stress_s not in stresses[-1:]:
                stresses.append(word.stress_s)
    return keys, stresses


def _smooth(x: NDArray[np.floating]) -> NDArray[np.floating]:
    """Minimum jerk from 0 to 1 (Flash and Hogan 1985)."""
    x = np.clip(x, 0, 1)
    return x**3 * (10 - 15 * x + 6 * x * x)


def arm_path(keys: Sequence[Key], frames: int, home: Array, rng: np.random.Generator) -> ArmPath:
    """Minimum-jerk path through the keys; from home and back to it where the next key is over 0.8 s away.

    Args:
        keys: in order of time; a NaN place is where the hand happens to be.
        frames: T.
        home: (3,) the wrist at rest.
        rng: curves the paths.
    """
    times = np.arange(frames, dtype=np.float32) / FPS
    resting = (-0.5, -0.4, 0.0)
    points = [Key(-1.0, tuple(home), resting, 0.0)]
    for key in keys:
        previous = points[-1]
        if np.isnan(key.place_m[0]):
            gap = key.time_s - previous.time_s
            if previous.engaged > 0 and gap > 0.8:
                back = min(gap - 0.1, rng.uniform(0.55, 0.8))
                points.append(Key(previous.time_s + back, tuple(home), resting, 0.0))
                previous = points[-1]
            points.append(
                Key(max(key.time_s, previous.time_s + 0.01), previous.place_m, previous.palm, previous.engaged)
            )
        else:
            points.append(Key(max(key.time_s, previous.time_s + 0.05), key.place_m, key.palm))
    if points[-1].engaged > 0:
        points.append(Key(points[-1].time_s + rng.uniform(0.6, 0.85), tuple(home), resting, 0.0))
    wrist = np.tile(np.asarray(home, np.float32), (frames, 1))
    palm = np.tile(np.asarray(resting, np.float32), (frames, 1))
    engaged = np.zeros(frames, np.float32)
    for a, b in zip(points, points[1:], strict=False):
        inside = (times >= a.time_s) & (times < b.time_s)
        share = _smooth((times[inside] - a.time_s) / (b.time_s - a.time_s))[:, None]
        start, end = np.array(a.place_m), np.array(b.place_m)
        bow = np.linalg.norm(end - start) * rng.uniform(0.05, 0.18)
        arc = np.sin(np.pi * share) * np.array([0.6 * bow, 0.2 * bow, 0.8 * bow])
        wrist[inside] = start + (end - start) * share + arc
        palm[inside] = np.array(a.palm) + (np.array(b.palm) - np.array(a.palm)) * share
        engaged[inside] = (a.engaged + (b.engaged - a.engaged) * share)[:, 0]
    return ArmPath(wrist, palm, engaged)
