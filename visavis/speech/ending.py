"""How the last second of speech sounds: whether the melody says "I have finished" or "there is more".

Speakers lower their voice and let it die away at the end of what they have to say, or raise it in a question; where
they only search for a word the pitch stays level and the last syllable is drawn out (Duncan 1972; Gravano and
Hirschberg 2011; Skantze 2021). Seen are pitch, loudness and rhythm alone; words are the business of `completeness`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from visavis.speech.prosody import FPS, prosody
from visavis.speech.streamed import HEARING_HZ
from visavis.speech.types import Speech

__all__ = ["FEATURES", "LONGEST_S", "ending_features", "probability_of_end"]

LONGEST_S = 4.0  # of the past that counts
FEATURES = (
    "last pitch", "fall of pitch", "pitch above the lowest", "pitch below the highest", "range of the last half second",
    "pitch of the second before", "last loudness", "fall of loudness", "voiceless end", "last voiced stretch",
    "its length against the others'", "length", "stretches", "highest of the last half second",
)  # fmt: skip

Array = NDArray[np.float64]


def ending_features(sound: NDArray[np.float32]) -> Array:
    """What the end of a stretch of speech is like.

    Args:
        sound: (N,) float32 at 16 kHz up to the last sound of the speech, at most the last `LONGEST_S` count.

    Returns:
        (14,) float64, `FEATURES`: pitches in octaves from the speaker's median over the stretch, loudness in units of
        45 dB, times in seconds; all in about [-2, 2]; zeros where nothing is voiced.
    """
    sound = sound[-round(LONGEST_S * HEARING_HZ) :]
    samples = np.clip(np.rint(sound * 32767), -32768, 32767).astype(np.int16)
    if len(samples) < HEARING_HZ // 10 or not np.any(samples):
        return np.zeros(len(FEATURES))
    tracks = prosody(Speech("", samples, HEARING_HZ)).astype(np.float64)
    pitch, voiced, loud = 0.5 * tracks[:, 0], tracks[:, 1] > 0, tracks[:, 2]  # six semitones are half an octave
    at = np.flatnonzero(voiced)
    if len(at) < 4:
        return np.zeros(len(FEATURES))
    f0 = pitch[at]
    recent = f0[at >= at[-1] - 0.5 * FPS]
    before = f0[(at < at[-1] - 0.3 * FPS) & (at >= at[-1] - 1.3 * FPS)]
    last = float(np.median(f0[-3:]))
    runs = np.split(at, np.flatnonzero(np.diff(at) > 1) + 1)
    lengths = np.array([len(run) for run in runs]) / FPS
    sounding = loud[loud > 0.3]
    end = loud[max(0, at[-1] - 2) : at[-1] + 1].mean()
    return np.array([
        last,
        last - float(np.median(f0[-9:-3])) if len(f0) > 5 else 0.0,
        last - float(np.percentile(f0, 10)),
        last - float(np.percentile(f0, 90)),
        float(recent.std()),
        float(before.mean()) if len(before) else 0.0,
        end - float(sounding.mean()) if len(sounding) else 0.0,
        end - float(loud[max(0, at[-1] - 10) : max(1, at[-1] - 4)].mean()),
        min((len(pitch) - 1 - at[-1]) / FPS, 0.5),
        min(lengths[-1], 1.0),
        float(np.log((lengths[-1] + 0.05) / (lengths.mean() + 0.05))),
        float(np.log(len(pitch) / FPS)),
        min(len(runs) / 10, 2.0),
        float(recent.max()) - last,
    ])  # fmt: skip


@cache
def _model() -> dict[str, Array]:
    raw = yaml.safe_load((Path(__file__).parent / "data" / "ending.yaml").read_text("utf8"))
    return {name: np.array(value, np.float64) for name, value in raw.items()}


def probability_of_end(features: Array) -> float:
    """That a turn is over after a stretch of speech with these (14,) features, in [0, 1].

    A network with one hidden layer, trained on synthetic speech (`python -m visavis.evals.turn_taking --fit`), for
    which half of the pauses are ends.
    """
    model = _model()
    hidden = np.tanh(model["hidden"] @ ((features - model["mean"]) / model["scale"]) + model["hidden_bias"])
    return float(1 / (1 + np.exp(-(model["out"] @ hidden + model["out_bias"]))))
