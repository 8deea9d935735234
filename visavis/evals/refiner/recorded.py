"""Rhythm on recordings of a real speaker: motion from the sound alone, and his own motion refined to it.

Stresses are the given words' (where there are phonemes, their stressed vowels'); the refiner hears the recording with
its transcript, as `visavis move free --audio FILE --transcript TEXT` does. Beats are found in exported BVH. Compared is
the same motion made for the same sound shifted by half of the recording: its beats are as many.
"""

from __future__ import annotations

import itertools
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis.evals.any_body.audio import Given, read_given, recordings
from visavis.evals.first_light.table import Table, median, progress
from visavis.evals.strokes import apexes, beats, nearest
from visavis.metrics.beat_consistency import DECISIVE_SIGMA_S, STANDARD_SIGMA_S, beat_consistency, lift
from visavis.metrics.bootstrap import bootstrap, paired_difference
from visavis.metrics.strokes import WINDOW_S
from visavis.motion.bvh import read_bvh, write_bvh
from visavis.motion.files import read_motion
from visavis.motion.motion import FPS, Motion
from visavis.motion.retarget import retarget
from visavis.refiner.conditions import Conditions
from visavis.refiner.flow import FlowRefiner
from visavis.refiner.modes import free, refine
from visavis.speech.prosody import prosody
from visavis.speech.recorded import read_recording, recorded_speech
from visavis.tokenizers.codec import MotionCodec

__all__ = ["pieces", "recorded"]

PIECE_S: Final = 10.0
_SEEDS: Final = 3
_LEAST: Final = 4  # stresses in a piece


def pieces(given: Given, seconds: float) -> list[tuple[float, float, NDArray[np.float64]]]:
    """From, to, and the stressed onsets between, of pieces of about ten seconds with four stresses or more."""
    edges = np.linspace(0.0, seconds, max(1, round(seconds / PIECE_S)) + 1)
    at = given.stressed_s
    cut = [(float(a), float(b), at[(at >= a) & (at < b)]) for a, b in itertools.pairwise(edges)]
    return [piece for piece in cut if len(piece[2]) >= _LEAST]


def recorded(data: Path, refiner: FlowRefiner, codec: MotionCodec) -> Table:
    """The table.

    Args:
        data: NAME.wav with given words, some with NAME.npz (`visavis.evals.any_body.audio`).
        refiner: with modes.
        codec: whose tokens the speaker's own motion is refined from.
    Raises:
        UsageError: there are no recordings.
    """
    lifts: dict[str, list[float]] = defaultdict(list)
    plain: dict[str, list[float]] = defaultdict(list)
    strokes: dict[str, list[float]] = defaultdict(list)
    rates: dict[str, list[float]] = defaultdict(list)
    seconds = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for wav in progress(recordings(data), "recordings"):
            given = read_given(wav)
            samples, rate_hz = read_recording(wav)
            sound = prosody(recorded_speech(samples, rate_hz, given.transcript)[0])
            seconds += len(sound) / FPS
            cut = pieces(given, len(sound) / FPS)
            sounds = {"": sound, ", shifted sound": np.roll(sound, len(sound) // 2, axis=0)}
            runs: dict[str, list[Motion]] = {
                f"free{label}": [free(refiner, Conditions(heard), seed=seed) for seed in range(_SEEDS)]
                for label, heard in sounds.items()
            }
            npz = wav.with_suffix(".npz")
            if npz.exists():
                own = retarget(read_motion(npz)).slice(0, len(sound))
                decoded = codec.decode(codec.encode(own), own).slice(0, len(own))
                runs |= {"the speaker's own": [own], "his, decoded": [decoded]}
                runs |= {
                    f"his, refined{label}": [refine(refiner, decoded, Conditions(heard[: len(own)]))]
                    for label, heard in sounds.items()
                }
            for name, motions in runs.items():
                shown = []
                for motion in motions:
                    write_bvh(motion, Path(folder) / "motion.bvh")
                    shown.append(read_bvh(Path(folder) / "motion.bvh"))
                found = [beats(motion) for motion in shown]
                rates[name] += [len(b) / m.duration_s for b, m in zip(found, shown, strict=True)]
                for first, last, onsets in cut:
                    mine = [b[(b >= first) & (b < last)] - first for b in found]
                    lifts[name].append(float(np.mean([
                        lift(onsets - first, b, last - first, DECISIVE_SIGMA_S) for b in mine
                    ])))  # fmt: skip
                    plain[name].append(float(np.mean([
                        beat_consistency(onsets - first, b, STANDARD_SIGMA_S) for b in mine
                    ])))  # fmt: skip
                strokes[name] += [
                    abs(nearest(given.stressed_s, float(at), WINDOW_S)) for motion in shown for at in apexes(motion)
                ]
    table = Table(f"Recordings of a real speaker, {seconds:.0f} s in pieces of {PIECE_S:g} s")
    for name in sorted(lifts):
        table.add(f"lift (0.1 s), {name}", bootstrap(lifts[name]))
        table.add(f"beat consistency (0.3 s), {name}", bootstrap(plain[name]))
        table.add(f"beats a second, {name}", bootstrap(rates[name]))
        table.add(f"stroke to the nearest given stress, {name}", median(strokes[name]), "ms", 1000)
    for name in ("free", "his, refined"):
        other = f"{name}, shifted sound"
        if name in lifts:
            table.add(f"lift, {name}, own minus shifted sound", paired_difference(lifts[name], lifts[other]))
    if "his, refined" in lifts:
        table.add("lift, his, refined minus decoded", paired_difference(lifts["his, refined"], lifts["his, decoded"]))
    return table
