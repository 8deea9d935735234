"""Head, spine and posture of the teacher: what the words, the emotion and the partner do to them.

Angles are radians as rotation vectors (x: nod down is positive, y: turn left is positive, z: tilt to the right
shoulder is negative) added to the idle pose, spread over the bones. Sources: McClave 2000 (head movements with
negation, uncertainty, inclusivity), Dael et al. 2012 (posture and emotion), Ward and Tsukahara 2000 (backchannels),
Bavelas, Coates and Johnson 2000 (what a listener answers to what is said: `answers`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from visavis.agent.listening import ListenerSignal, signal_tracks
from visavis.emotion import Emotion
from visavis.finetune.teacher.beats import word_class
from visavis.motion.motion import FPS
from visavis.speech.types import Word

__all__ = ["bump", "emotion_posture", "listener_tracks", "nod", "shake", "speaker_tracks"]

Array = NDArray[np.float32]
_CLEAR_S = 0.1  # between two movements of a listener

# emotion: (head rotation, spine rotation, shoulders' lift) at full intensity, in degrees
_POSTURE: dict[str, tuple[tuple[float, float, float], tuple[float, float, float], float]] = {
    "neutral": ((0, 0, 0), (0, 0, 0), 0),
    "joy": ((-6, 0, 3), (-4, 0, 0), 2),
    "sadness": ((17, 0, 5), (9, 0, 0), -5),
    "anger": ((7, 0, 0), (9, 0, 0), 5),
    "fear": ((-4, 5, 0), (-8, 4, 0), 11),
    "surprise": ((-9, 0, 0), (-7, 0, 0), 6),
    "disgust": ((3, 15, -6), (-6, 6, 0), 3),
}

# word class: what the head does, degrees (nod, turn, tilt), at moderate liveliness
_HEAD: dict[str, tuple[float, float, float]] = {
    "uncertain": (0, 0, 8), "whole": (0, 8, 0), "large": (-3, 7, 0), "partner": (5, 0, 0), "self": (2, 0, 4),
    "up": (-8, 0, 0), "down": (8, 0, 0), "there": (0, 10, 0), "here": (6, 0, 0), "small": (4, 0, 5),
    "order": (5, 4, 0), "agree": (9, 0, 0), "past": (-6, -6, 0), "forward": (6, 3, 0), "together": (3, 0, -5),
    "hold": (5, 0, 3), "apart": (0, -8, 3), "force": (10, 0, 0), "mind": (-4, 5, 5), "feel": (5, 0, -7),
}  # fmt: skip


def emotion_posture(emotion: Emotion) -> tuple[Array, Array, float]:
    """Head (3,) and spine (3,) offsets as rotation vectors and the shoulders' lift, radians."""
    head, spine, lift = _POSTURE[emotion.name]
    k = np.float32(np.radians(1.0) * emotion.intensity)
    return np.array(head, np.float32) * k, np.array(spine, np.float32) * k, float(lift * k)


def bump(frames: int, at_s: float, rise_s: float, fall_s: float) -> Array:
    """(T,) a smooth bump of height 1 at `at_s`."""
    t = np.arange(frames, dtype=np.float32) / FPS - at_s
    x = np.where(t < 0, t / rise_s, t / fall_s)
    return np.where(np.abs(x) < 1, 0.5 * (1 + np.cos(np.pi * np.clip(x, -1, 1))), 0.0).astype(np.float32)


def _oscillation(frames: int, at_s: float, cycles: float, hz: float) -> Array:
    t = np.arange(frames, dtype=np.float32) / FPS - at_s
    if cycles < 1:
        return np.zeros(frames, np.float32)
    length = cycles / hz
    window = np.where((t > 0) & (t < length), np.maximum(np.sin(np.pi * np.clip(t / length, 0, 1)), 0.0) ** 0.6, 0.0)
    return (np.sin(2 * np.pi * hz * t) * window).astype(np.float32)


def nod(frames: int, at_s: float, rng: np.random.Generator, size: float = 1.0, most_s: float = np.inf) -> Array:
    """(T, 3) one to three nods from `at_s`, of which those that take longer than `most_s` are left out."""
    out = np.zeros((frames, 3), np.float32)
    degrees, cycles, hz = rng.uniform(6, 12), int(rng.integers(1, 4)), rng.uniform(1.6, 2.4)
    out[:, 0] = np.radians(degrees) * size * _oscillation(frames, at_s, min(cycles, most_s * hz // 1), hz)
    return out


def shake(frames: int, at_s: float, rng: np.random.Generator, size: float = 1.0, most_s: float = np.inf) -> Array:
    """(T, 3) a shake of the head from `at_s`, to and fro as often as there is time for."""
    out = np.zeros((frames, 3), np.float32)
    degrees, cycles, hz = rng.uniform(7, 13), int(rng.integers(1, 3)), rng.uniform(1.4, 2.2)
    out[:, 1] = np.radians(degrees) * size * _oscillation(frames, at_s, min(cycles, most_s * hz // 1), hz)
    return out


def _drift(frames: int, rng: np.random.Generator, degrees: float, seconds: float) -> Array:
    """(T, 3) slow smooth noise with this standard deviation."""
    pad = int(3 * seconds * FPS)
    x = gaussian_filter1d(rng.normal(size=(frames + 2 * pad, 3)), seconds * FPS, axis=0)[pad : pad + frames]
    return (x / (x.std() + 1e-6) * np.radians(degrees)).astype(np.float32)


def speaker_tracks(
    words: Sequence[Word],
    frames: int,
    emotion: Emotion,
    rng: np.random.Generator,
    *,
    liveliness: float,
    quiet: Sequence[tuple[float, float]] = (),
) -> tuple[Array, Array]:
    """Head (T, 3) and spine (T, 3) of a speaker.

    Args:
        words: with stress times.
        frames: T.
        emotion: sets posture and size.
        rng: makes every choice.
        liveliness: 1 for a moderate speaker.
        quiet: (from_s, to_s) where a gesture moves the head itself.
    """
    head = _drift(frames, rng, 1.4 * liveliness, 0.55)
    spine = _drift(frames, rng, 0.7 * liveliness, 1.1)
    side = float(rng.choice([-1, 1]))  # a speaker tilts and turns to one side for a while
    for word in words:
        kind, at = word_class(word.text), word.stress_s
        if any(a < at < b for a, b in quiet):
            continue
        if word.stress < 0.5 and kind not in ("negation", "partner", "uncertain", "whole"):
            continue
        beat = bump(frames, at, rng.uniform(0.15, 0.25), rng.uniform(0.25, 0.45))
        strength = liveliness * rng.uniform(0.5, 1.4) * max(word.stress, 0.6)
        if kind == "negation":
            head += shake(frames, at - 0.2, rng, liveliness)
        elif kind in _HEAD:
            turn = np.radians(np.array(_HEAD[kind], np.float32)) * (1, side, side)
            head += strength * beat[:, None] * turn.astype(np.float32)
            if kind in ("partner", "forward", "force"):
                spine[:, 0] += np.radians(3) * strength * beat
        elif rng.random() < 0.6:
            head[:, 0] += np.radians(5) * strength * beat
            spine[:, 0] += np.radians(1.2) * strength * beat
    head_posture, spine_posture, _ = emotion_posture(emotion)
    # away while the words are found, back for the last ones (Kendon 1967)
    start = bump(frames, 0.15, 0.5, rng.uniform(0.8, 1.5))
    head[:, 1] += np.radians(rng.uniform(2, 8)) * liveliness * side * start
    head[:, 0] += np.radians(rng.uniform(-2, 4)) * start
    return head + head_posture, spine + spine_posture


def listener_tracks(
    partner: Sequence[Word],
    frames: int,
    emotion: Emotion,
    rng: np.random.Generator,
    *,
    liveliness: float,
    answers: Sequence[ListenerSignal] = (),
) -> tuple[Array, Array, list[float]]:
    """Head (T, 3), spine (T, 3) and the times of the nods of a listener.

    An oracle: it knows the partner's words and pauses before they come.

    Args:
        partner: words with their times.
        frames: T.
        emotion: sets the posture.
        rng: makes every choice.
        liveliness: 1 for a moderate listener.
        answers: to what is said; nods at pauses make room for them.
    """
    head = _drift(frames, rng, 1.0 * liveliness, 0.8)
    spine = _drift(frames, rng, 0.7, 1.4)
    nods: list[float] = []
    for i, word in enumerate(partner):
        pause = partner[i + 1].start_s - word.end_s if i + 1 < len(partner) else 1.0
        border = pause > 0.12 or word.text[-1:] in ".,!?;:"
        if border and rng.random() < (0.75 if pause > 0.2 else 0.4) * min(1.0, liveliness):
            at = word.end_s + rng.uniform(-0.15, 0.2)
            if (nods and at - nods[-1] < 1.0) or any(
                one.at_s - _CLEAR_S <= at <= one.at_s + one.length_s + _CLEAR_S for one in answers
            ):
                continue
            room = min((one.at_s - at - _CLEAR_S for one in answers if one.at_s > at), default=np.inf)
            move = shake if word_class(word.text) == "negation" else nod
            head += move(frames, at, rng, 0.7 if move is shake else 0.8, room)
            nods.append(at)
    answered = signal_tracks(answers, np.arange(frames) / FPS)
    head_posture, spine_posture, _ = emotion_posture(emotion)
    spine[:, 0] += np.radians(rng.uniform(0, 4))  # listeners lean in a little
    return head + answered.head + head_posture, spine + answered.spine + spine_posture, nods
