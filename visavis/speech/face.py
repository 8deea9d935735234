"""The face of somebody who speaks, or listens: ARKit weights at 30 frames a second.

The mouth comes from the visemes, brows rise on stressed words (Graf et al. 2002), the emotion gives the rest of the
face, the eyes look away at the start of a turn and back at its end (Kendon 1967) and blink at phrase borders too.
Knows no mesh. Tables: `data/face.yaml`, `data/visemes.yaml`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visavis import safe_yaml
from visavis.emotion import Emotion
from visavis.motion.face import ARKIT_NAMES, face_index
from visavis.speech.life import blink_curve, blink_times, drift, saccades
from visavis.speech.prosody import prosody, stresses
from visavis.speech.types import Speech
from visavis.speech.visemes import FPS, close_lips, mouth, visemes

__all__ = ["face_track", "idle_face"]

_LOOK_DEGREES = 32.0  # of an eye at a weight of 1
_PAUSE_S = 0.15
_MOUTH = tuple(i for i, n in enumerate(ARKIT_NAMES) if n.startswith(("mouth", "jaw", "tongue")))
_ALIVE = ("browInnerUp", "browOuterUpLeft", "browOuterUpRight", "mouthSmileLeft", "mouthSmileRight", "eyeSquintLeft",
          "eyeSquintRight", "cheekSquintLeft", "cheekSquintRight", "mouthPressLeft", "mouthPressRight")  # fmt: skip
_FADE_S = 0.15


@cache
def _emotions() -> dict[str, tuple[NDArray[np.float64], float, float]]:
    """Emotion → ((52,) weights, factor on the brows, degrees of gaze up)."""
    data: dict[str, Any] = safe_yaml.load((Path(__file__).parent / "data" / "face.yaml").read_text("utf8"))
    table = {}
    for name, entry in data.items():
        weights = np.zeros(len(ARKIT_NAMES))
        for shape, value in entry["weights"].items():
            for side in ("Left", "Right") if shape.endswith("Both") else ("",):
                weights[face_index(shape.removesuffix("Both") + side)] = value
        table[name] = (weights, float(entry["brows"]), float(entry["gaze"]))
    return table


def _look(track: NDArray[np.float64], gaze: NDArray[np.float64]) -> None:
    """Set the eyes' shapes from (T, 2) degrees to the avatar's left and up; the lids follow the gaze down."""
    left, up = gaze[:, 0] / _LOOK_DEGREES, gaze[:, 1] / _LOOK_DEGREES
    for name, value in (
        ("eyeLookOutLeft", left),
        ("eyeLookInRight", left),
        ("eyeLookInLeft", -left),
        ("eyeLookOutRight", -left),
        ("eyeLookUpLeft", up),
        ("eyeLookUpRight", up),
        ("eyeLookDownLeft", -up),
        ("eyeLookDownRight", -up),
    ):
        track[:, face_index(name)] = np.clip(value, 0, 1)
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        track[:, face_index(name)] += 0.35 * np.clip(-up, 0, 1)


def _blink(track: NDArray[np.float64], curve: NDArray[np.float64]) -> None:
    for side in ("Left", "Right"):
        lid, wide = face_index(f"eyeBlink{side}"), face_index(f"eyeWide{side}")
        track[:, lid] = np.maximum(track[:, lid], curve)
        track[:, wide] *= 1 - curve


def _alive(track: NDArray[np.float64], times: NDArray[np.float64], seed: int) -> None:
    columns = [face_index(name) for name in _ALIVE]
    track[:, columns] += 0.03 * (0.6 + drift(times, seed, len(columns)))


def _phrase_borders(speech: Speech) -> list[float]:
    """Where pauses inside the speech begin."""
    pauses = [p for p in speech.phonemes if not p.symbol and p.end_s - p.start_s >= _PAUSE_S]
    return [p.start_s for p in pauses if 0.2 < p.start_s < speech.duration_s - 0.3]


def _speaking_gaze(
    times: NDArray[np.float64], speech: Speech, rng: np.random.Generator, starts_turn: bool, ends_turn: bool
) -> NDArray[np.float64]:
    """(T, 2) degrees (left, up) of looking away: at the start of a turn, now and then at a phrase, never at its end."""
    away: list[tuple[float, float]] = []
    duration = speech.duration_s
    chances = rng.random(8)
    if starts_turn and duration > 1.2 and chances[0] < 0.85:
        away.append((-0.05, min(0.35 * duration, 0.6 + 0.6 * float(chances[1]))))
    for border in _phrase_borders(speech):
        if rng.random() < 0.3 and (not away or border - away[-1][1] > 1.5):
            away.append((border + 0.05, border + 0.5 + 0.5 * rng.random()))
    last_s = duration - 0.7 if ends_turn else duration
    gaze = np.zeros((len(times), 2))
    for start, end in away:
        end = min(end, last_s)
        if end - start < 0.25:
            continue
        side = 1.0 if rng.random() < 0.5 else -1.0
        target = np.array(
            [side * (9 + 7 * rng.random()), 5 * rng.random() if rng.random() < 0.6 else -7 * rng.random()]
        )
        ramp = np.clip((times - start) / 0.06, 0, 1) * np.clip((end - times) / 0.06 + 1, 0, 1)
        gaze += ramp[:, None] * target
    return gaze


def _speaking_blinks(
    times: NDArray[np.float64], start_s: float, speech: Speech, rng: np.random.Generator
) -> list[float]:
    """Blinks at about half of the phrase borders, and the usual ones where none of those is near; on the clock."""
    chosen: list[float] = []
    for border in _phrase_borders(speech):
        at = start_s + border + 0.02 + 0.06 * rng.random()
        if rng.random() < 0.5 and (not chosen or at - chosen[-1] > 2.0):
            chosen.append(at)
    usual = blink_times(start_s, start_s + len(times) / FPS, int(rng.integers(1 << 31)))
    return sorted(chosen + [t for t in usual if all(abs(t - c) > 2.2 for c in chosen)])


def _brows(speech: Speech, times: NDArray[np.float64], factor: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """(T,) raise of the brows: on most strong stresses, a little before the vowel."""
    curve = np.zeros(len(times))
    for at_s, stress in stresses(speech):
        if stress >= 0.75 and rng.random() < 0.65:
            height = (0.14 + 0.2 * rng.random()) * stress * factor
            curve = np.maximum(curve, height * np.exp(-0.5 * ((times - at_s + 0.02) / 0.11) ** 2))
    return curve


def face_track(
    speech: Speech,
    emotion: Emotion = Emotion(),  # noqa: B008 - frozen
    seed: int = 0,
    duration_s: float | None = None,
    *,
    start_s: float = 0.0,
    starts_turn: bool = True,
    ends_turn: bool = True,
    previous: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """The face that goes with a speech.

    Args:
        speech: its visemes move the mouth; loud vowels open it further.
        emotion: the rest of the face.
        seed: of everything that is left to chance.
        duration_s: length of the track, default the speech's own; beyond the speech the mouth rests.
        start_s: the turn's clock at the speech's start, so that the clauses of a turn differ by chance.
        starts_turn: the eyes may look away at the start.
        ends_turn: the eyes rest on the partner at the end.
        previous: (52,) the frame before this track, from which it goes on without a jump.

    Returns:
        (T, 52) float32 ARKit weights in [0, 1], T = duration rounded up to frames, frame k at k / 30 s. At every
        p, b, m `mouthClose` equals `jawOpen` in at least one frame: the lips are closed.
    """
    frames = max(1, int(np.ceil((speech.duration_s if duration_s is None else duration_s) * FPS - 1e-6)))
    times = np.arange(frames) / FPS
    rng = np.random.default_rng((seed & 0xFFFFFFFF, 77, round(max(0.0, start_s) * 1000)))
    weights, brow_factor, gaze_up = _emotions()[emotion.name]
    sequence = visemes(speech)
    loud = prosody(speech, frames)[:, 2]
    track = mouth(sequence, frames, (0.75 + 0.35 * loud).astype(np.float32))
    feeling = np.tile(weights * max(emotion.intensity, 0.0 if emotion.name != "neutral" else 1.0), (frames, 1))
    talking = np.convolve(loud > 0.1, np.ones(7) / 7, mode="same")[:frames] if frames > 7 else np.ones(frames)
    feeling[:, _MOUTH] *= (1 - 0.35 * talking)[:, None]
    track += feeling
    raised = _brows(speech, times, 1 + emotion.intensity * (brow_factor - 1), rng)
    track[:, face_index("browInnerUp")] += raised
    for side in ("Left", "Right"):
        track[:, face_index(f"browOuterUp{side}")] += 0.8 * raised
    _alive(track, times + start_s, seed)
    gaze = _speaking_gaze(times, speech, rng, starts_turn, ends_turn) + saccades(times + start_s, seed)
    gaze[:, 1] += gaze_up * emotion.intensity
    _look(track, gaze)
    _blink(track, blink_curve(times + start_s, _speaking_blinks(times, start_s, speech, rng)))
    track = np.clip(track, 0, 1)
    if previous is not None:
        fade = np.clip(times / _FADE_S, 0, 1)[:, None]
        fade = fade * fade * (3 - 2 * fade)
        track = previous * (1 - fade) + track * fade
    return np.clip(close_lips(track, sequence), 0, 1).astype(np.float32)


def idle_face(frames: int, seed: int = 0, start_s: float = 0.0) -> NDArray[np.float32]:
    """The face of somebody who listens or waits: blinks, small jumps of the eyes, a slight smile.

    A function of the seed and the clock: pieces with following `start_s` fit together.

    Returns:
        (frames, 52) float32 ARKit weights in [0, 1].
    """
    times = start_s + np.arange(frames) / FPS
    track = np.zeros((frames, len(ARKIT_NAMES)))
    if frames == 0:
        return track.astype(np.float32)
    smile = 0.1 + 0.05 * drift(times / 3, seed + 1, 1)
    for name in ("mouthSmileLeft", "mouthSmileRight"):
        track[:, face_index(name)] = smile[:, 0]
    _alive(track, times, seed)
    _look(track, saccades(times, seed))
    _blink(track, blink_curve(times, blink_times(start_s, start_s + frames / FPS, seed)))
    return np.clip(track, 0, 1).astype(np.float32)
