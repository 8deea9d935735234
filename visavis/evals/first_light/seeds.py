"""Do ten seeds of one sentence differ, and do their strokes keep their time? Measured on the exported BVH.

Every frozen sentence is said once with each seed, as `visavis say SENTENCE --seed N` does it. Wrists are compared frame
by frame in the chest frame; strokes are those of gestures that every seed makes with a hand.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visavis.agent import Agent, Turn
from visavis.evals.first_light.table import Table, data_file, median, progress, share
from visavis.evals.first_light.timing import read_turn
from visavis.evals.strokes import apexes, nearest, stress_of_word
from visavis.metrics.bootstrap import bootstrap
from visavis.metrics.strokes import WINDOW_S
from visavis.motion.kinematics import positions, to_chest
from visavis.motion.motion import Motion

__all__ = ["between", "measure", "wrists"]

LEAST_M = 0.03
_Key = tuple[int, str, int]  # clause, gloss, word


def wrists(motion: Motion) -> NDArray[np.float32]:
    """(T, 2, 3) both wrists in the chest frame, metres."""
    places = positions(motion)
    return np.stack([to_chest(motion, places[:, motion.skeleton.index(f"{s}Hand")]) for s in ("left", "right")], axis=1)


def between(motions: Sequence[Motion]) -> list[float]:
    """The distance of wrists of every pair of motions in metres, the mean over both and over the frames of both."""
    x = [wrists(motion) for motion in motions]
    pairs = itertools.combinations(range(len(x)), 2)
    return [
        float(np.linalg.norm(x[i][: len(x[j])] - x[j][: len(x[i])], axis=-1).mean()) for i, j in pairs
    ]  # fmt: skip


def _strokes(turn: Turn, motion: Motion) -> dict[_Key, float]:
    """When each gesture of a hand has its stroke in the exported motion, seconds from its word's stressed vowel."""
    found, before = {}, 0
    for place, clause in enumerate(turn.record.clauses):
        for gesture in clause.gestures:
            if gesture.hand in ("left", "right", "both"):
                stress = stress_of_word(turn.speech, min(before + gesture.anchor, len(turn.speech.words) - 1))
                away = nearest(apexes(motion, gesture.hand), stress, WINDOW_S)
                found[place, gesture.gloss, gesture.anchor] = away
        before += len(clause.words)
    return found


def measure(
    folder: Path, limit: int | None = None, seeds: int = 10, lines: Sequence[str] | None = None, **options: Any
) -> Table:
    """Say sentences with seeds 0 to `seeds` - 1 each.

    Args:
        folder: where the BVH is written.
        limit: only the first sentences (default 20).
        seeds: how many.
        lines: other sentences than the frozen ones.
        options: of the agents (voice, model, refine).
    """
    lines = (lines or data_file("timing_sentences.txt").read_text("utf-8").splitlines())[: limit or 20]
    motions: dict[int, list[Motion]] = defaultdict(list)
    strokes: dict[tuple[int, _Key], list[float]] = defaultdict(list)
    for seed in progress(range(seeds), "seeds"):
        with Agent(seed=seed, **options) as agent:
            for number, line in enumerate(lines):
                with agent.session() as session:
                    turn = session.say(line)
                motion = read_turn(turn, folder, whole=False)
                motions[number].append(motion)
                for key, away in _strokes(turn, motion).items():
                    strokes[number, key].append(away)
    table = Table(f"{seeds} seeds of each of {len(lines)} frozen sentences, exported BVH")
    apart = [float(np.mean(between(motions[number]))) for number in range(len(lines))]
    table.add("wrists of two seeds apart, mean of a sentence", bootstrap(apart), "mm", 1000)
    table.add("… the nearest sentence", bootstrap([min(apart)]), "mm", 1000)
    table.add("sentences 30 mm apart or more", share(x >= LEAST_M for x in apart), "%", 100)
    shared = [np.array(times) for times in strokes.values() if len(times) == seeds]
    table.add("strokes that every seed makes", share(len(times) == seeds for times in strokes.values()), "%", 100)
    table.add("… from their stress, median", median(np.abs([x for times in shared for x in times])), "ms", 1000)
    table.add("… of a seed from the median of its seeds, mean", bootstrap([
        float(np.abs(times - np.median(times)).mean()) for times in shared
    ]), "ms", 1000)  # fmt: skip
    table.details = {
        "sentences": [{"text": line, "apart_mm": round(1000 * x, 1)} for line, x in zip(lines, apart, strict=True)],
        "strokes_ms": {
            f"{number} {key[1]}": [round(1000 * x) for x in times] for (number, key), times in strokes.items()
        },
    }
    return table
