"""Phonemes to visemes, and visemes to a co-articulated mouth.

Visemes are the fifteen of Oculus LipSync with times. The mouth blends them by dominance functions (Cohen and Massaro
1993): every viseme pulls each group of shapes towards its own, stronger the nearer it is, lips sooner than the jaw.
Closures are then enforced: at p, b, m the lips meet, at f, v the lower lip meets the teeth.
Tables: `data/visemes.yaml`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visavis import safe_yaml
from visavis.motion.face import ARKIT_NAMES, face_index
from visavis.speech.types import Speech

__all__ = ["VISEMES", "Viseme", "close_lips", "closure", "lip_gap", "mouth", "visemes"]

FPS = 30.0
VISEMES = ("sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E", "I", "O", "U")

_REACH_S = 0.25  # beyond it a viseme has no pull
# how far (1/e) a viseme's pull reaches ahead of it and behind it: rounding is prepared early (look-ahead)
_PULL_S = {
    "jaw": (0.050, 0.045),
    "round": (0.100, 0.060),
    "spread": (0.070, 0.055),
    "lips": (0.035, 0.035),
    "tongue": (0.030, 0.030),
}
_CLOSE_S, _OPEN_S = 0.065, 0.060  # the lips' way to a closure and from it
_HALF_FRAME_S = 0.5 / FPS


@dataclass(frozen=True)
class Viseme:
    """One viseme (a name of `VISEMES`) and when it is seen, in seconds; stress as that of its phoneme."""

    name: str
    start_s: float
    end_s: float
    stress: int = 0


@cache
def _data() -> dict[str, Any]:
    data: dict[str, Any] = safe_yaml.load((Path(__file__).parent / "data" / "visemes.yaml").read_text("utf8"))
    return data


@cache
def viseme_shares(symbol: str) -> tuple[tuple[str, float], ...]:
    """The visemes of an IPA symbol, each with its share of the time; unknown sounds count as silence."""
    table = _data()["phonemes"]
    key = re.sub("[ˈˌː̩̃]", "", symbol)
    found = table.get(key)
    if isinstance(found, str):
        return ((found, 1.0),)
    if found:
        return tuple(found.items())
    parts = [table[p] for p in re.findall("tʃ|dʒ|.", key) if isinstance(table.get(p), str)]
    return tuple((p, 1.0 / len(parts)) for p in parts) if parts else (("sil", 1.0),)


def visemes(speech: Speech) -> list[Viseme]:
    """The visemes of a speech, in order, without gaps from 0 to its end; equal neighbours are one."""
    found: list[Viseme] = []

    def add(name: str, start_s: float, end_s: float, stress: int) -> None:
        if end_s <= start_s:
            return
        if found and found[-1].name == name:
            last = found.pop()
            start_s, stress = last.start_s, max(stress, last.stress)
        found.append(Viseme(name, start_s, end_s, stress))

    at = 0.0
    for phoneme in speech.phonemes:
        start = max(at, phoneme.start_s)
        add("sil", at, start, 0)
        at = start
        for name, share in viseme_shares(phoneme.symbol):
            end = min(at + share * (phoneme.end_s - start), max(at, phoneme.end_s))
            add(name, at, end, phoneme.stress)
            at = end
    add("sil", at, max(speech.duration_s, at), 0)
    return found


def _sides(name: str) -> tuple[str, ...]:
    return (name[:-4] + "Left", name[:-4] + "Right") if name.endswith("Both") else (name,)


@cache
def _targets() -> dict[str, tuple[NDArray[np.float64], dict[str, float]]]:
    """Viseme → ((52,) weights, dominance of each group)."""
    targets = {}
    for name, entry in _data()["mouths"].items():
        weights = np.zeros(len(ARKIT_NAMES))
        for shape, value in entry["weights"].items():
            for side in _sides(shape):
                weights[face_index(side)] = value
        targets[name] = (weights, entry["dominance"])
    return targets


@cache
def _groups() -> dict[str, list[int]]:
    groups = _data()["groups"].items()
    return {name: [face_index(side) for shape in shapes for side in _sides(shape)] for name, shapes in groups}


def mouth(sequence: Sequence[Viseme], frames: int, openness: NDArray[np.float32] | None = None) -> NDArray[np.float64]:
    """The mouth of visemes at 30 frames a second, closures included.

    Args:
        sequence: in order of time.
        frames: length of the track; frame k is at k / 30 s.
        openness: (frames,) factor on how far the jaw opens, for loudness; default 1.

    Returns:
        (frames, 52) ARKit weights; only shapes of the mouth, jaw and tongue are not 0.
    """
    track = np.zeros((frames, len(ARKIT_NAMES)))
    total = {group: np.full(frames, 1e-6) for group in _groups()}
    for viseme in sequence:
        first = max(0, int((viseme.start_s - _REACH_S) * FPS))
        end = min(frames, int((viseme.end_s + _REACH_S) * FPS) + 1)
        if first >= end:
            continue
        times = np.arange(first, end) / FPS
        # the middle 60 % is the target; the rest is on the way
        lean = 0.2 * (viseme.end_s - viseme.start_s)
        before, behind = viseme.start_s + lean - times, times - (viseme.end_s - lean)
        weights, dominance = _targets()[viseme.name]
        open_more = (0.85, 0.95, 1.1)[viseme.stress]
        for group, columns in _groups().items():
            ahead_s, after_s = _PULL_S[group]
            pull = dominance[group] * np.exp(-(np.maximum(before, 0) / ahead_s) - np.maximum(behind, 0) / after_s)
            scale = open_more if group == "jaw" and weights[columns[0]] > 0.15 else 1.0
            track[first:end, columns] += pull[:, None] * (weights[columns] * scale)
            total[group][first:end] += pull
    for group, columns in _groups().items():
        track[:, columns] /= total[group][:, None]
    if openness is not None:
        track[:, _groups()["jaw"]] *= openness[:, None]
    return close_lips(track, sequence)


def closure(sequence: Sequence[Viseme], frames: int, name: str) -> NDArray[np.float64]:
    """(frames,) in [0, 1]: how far the viseme `name` (PP or FF) is reached; 1 in at least one frame of each."""
    curve = np.zeros(frames)
    for viseme in sequence:
        if viseme.name != name:
            continue
        middle = (viseme.start_s + viseme.end_s) / 2
        nearest = round(middle * FPS) / FPS
        start, end = min(viseme.start_s + 0.01, nearest), max(viseme.end_s - 0.015, nearest)
        first, last = max(0, int((start - _CLOSE_S) * FPS)), min(frames, int((end + _OPEN_S) * FPS) + 2)
        if first >= last:
            continue
        times = np.arange(first, last) / FPS
        away = np.maximum((start - times) / _CLOSE_S, (times - end) / _OPEN_S)
        ramp = np.clip(1 - away, 0, 1)
        curve[first:last] = np.maximum(curve[first:last], ramp * ramp * (3 - 2 * ramp))
    return curve


def close_lips(track: NDArray[np.float64], sequence: Sequence[Viseme]) -> NDArray[np.float64]:
    """Enforce the closures of `sequence` on a (T, 52) track, whatever was added to it; returns a new track.

    `mouthClose` follows ARKit: it closes the lips over an open jaw, lips meet where it equals `jawOpen`.
    """
    shut = closure(sequence, len(track), "PP")
    bite = closure(sequence, len(track), "FF") * (1 - shut)
    closed = track.copy()
    jaw = face_index("jawOpen")
    closed[:, jaw] *= 1 - 0.8 * np.maximum(shut, bite)
    closed[:, jaw] = np.minimum(closed[:, jaw], 1 - 0.92 * np.maximum(shut, bite))
    closed[:, face_index("mouthClose")] = shut * closed[:, jaw]
    for name in ("mouthLowerDownLeft", "mouthLowerDownRight"):
        closed[:, face_index(name)] *= 1 - np.maximum(shut, bite)
    for name in ("mouthUpperUpLeft", "mouthUpperUpRight"):
        closed[:, face_index(name)] *= 1 - shut
    for name in ("mouthFunnel", "tongueOut"):
        closed[:, face_index(name)] *= 1 - 0.9 * np.maximum(shut, bite)
    for name in ("mouthPressLeft", "mouthPressRight"):
        closed[:, face_index(name)] = np.maximum(closed[:, face_index(name)], 0.35 * shut)
    lower = face_index("mouthRollLower")
    closed[:, lower] = np.maximum(closed[:, lower], 0.55 * bite)
    return closed


def lip_gap(track: NDArray[Any]) -> NDArray[np.float64]:
    """(T,) how far apart the lips are in a (T, 52) track, in units of `jawOpen`: 0 closed, about 0.6 wide open."""
    columns = {n: track[:, face_index(n)].astype(np.float64) for n in ("jawOpen", "mouthClose", "mouthFunnel")}
    shapes = ("mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight")
    parted = sum(track[:, face_index(n)].astype(np.float64) for n in shapes) / 4
    return np.maximum(columns["jawOpen"] - columns["mouthClose"], 0) + 0.3 * parted + 0.1 * columns["mouthFunnel"]
