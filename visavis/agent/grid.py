"""The step grid: words and cues of a stretch of speech, laid on steps of 4 frames (133 ms).

A step belongs to the clause that contains its centre. Words stand 3 steps (400 ms) before their onset, because hands
prepare before the word; those that begin within the first 3 steps stand on the first. For a listener they stand where
they end: nobody hears a word before it was said.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from visavis.motion.motion import FPS, FRAMES_PER_STEP
from visavis.motion.phases import Phases
from visavis.speech.types import Word
from visavis.tokenizers.turn_language import CUES, MoveStep

__all__ = [
    "LOOK_AHEAD_STEPS",
    "STEP_S",
    "STRESSED",
    "cues",
    "forced_steps",
    "move_steps",
    "step_count",
    "words_by_step",
    "words_heard",
]

STEP_S = FRAMES_PER_STEP / FPS
LOOK_AHEAD_STEPS = 3
STRESSED = 0.6  # a word of at least this prominence is stressed

_CUE = {name: i for i, name in enumerate(CUES)}


def step_count(duration_s: float) -> int:
    """Steps that cover a duration."""
    return math.ceil(duration_s / STEP_S - 1e-6)


def words_by_step(words: Sequence[Word], first: int, last: int) -> list[str]:
    """The words that each step first..last-1 carries, "" for most; times count from the start of the turn."""
    out: list[list[str]] = [[] for _ in range(last - first)]
    for word in words:
        step = int(word.start_s / STEP_S) - LOOK_AHEAD_STEPS
        if out:
            out[min(max(step, first), last - 1) - first].append(word.text)
    return [" ".join(texts) for texts in out]


def words_heard(words: Sequence[Word], first: int, last: int) -> list[str]:
    """The words that each step first..last-1 carries for a listener: those that end in it, or before the first."""
    out: list[list[str]] = [[] for _ in range(last - first)]
    for word in words:
        if out:
            out[min(max(int(word.end_s / STEP_S), first), last - 1) - first].append(word.text)
    return [" ".join(texts) for texts in out]


def cues(
    words: Sequence[Word],
    gestures: Sequence[Phases],
    first: int,
    last: int,
    speech_end_s: float,
    beats_s: Sequence[float] = (),
) -> list[int]:
    """One cue for each step first..last-1.

    Args:
        words: of the whole turn or of this clause at least.
        gestures: sync points of the placed gestures, on the turn's clock.
        first: the first step.
        last: one past the last step.
        speech_end_s: where the turn's speech ends; later steps are the tail.
        beats_s: the stresses that a hand beats, on the turn's clock.
    """
    out = []
    for step in range(first, last):
        begin, end = step * STEP_S, (step + 1) * STEP_S
        centre = 0.5 * (begin + end)
        if any(_inside(p, centre) for p in gestures):
            name = "clip"
        elif any(begin < p.stroke_start_s <= end + LOOK_AHEAD_STEPS * STEP_S for p in gestures):
            name = "stroke ahead"
        elif any(begin <= beat < end for beat in beats_s):
            name = "beat"
        elif any(end <= beat < end + LOOK_AHEAD_STEPS * STEP_S for beat in beats_s):
            name = "beat ahead"
        elif any(w.stress >= STRESSED and begin <= w.stress_s < end for w in words):
            name = "stress"
        elif begin >= speech_end_s:
            name = "tail"
        elif any(w.text[-1:] in ".,!?;:" and begin <= w.end_s < end for w in words):
            name = "boundary"
        elif any(w.start_s < end and begin < w.end_s for w in words):
            name = "speech"
        else:
            name = "silence"
        out.append(_CUE[name])
    return out


def _inside(phases: Phases, time_s: float) -> bool:
    """Whether a clip's own tokens stand at this time: the model writes the first half of the way in and the last
    two thirds of the way out.
    """
    begin = 0.5 * (phases.start_s + phases.ready_s)
    end = phases.relax_s + (phases.end_s - phases.relax_s) / 3
    return begin <= time_s < end


def forced_steps(phases: Phases, first: int, last: int) -> list[int]:
    """Steps of first..last-1 whose motion tokens come from the clip."""
    return [step for step in range(first, last) if _inside(phases, (step + 0.5) * STEP_S)]


def move_steps(
    words: Sequence[str], marks: Sequence[int], codes: NDArray[np.integer], forced: NDArray[np.bool_]
) -> list[MoveStep]:
    """Steps of the turn language from words, cues, codes (S, P) and which of these are a clip's (S, P)."""
    return [
        MoveStep(text, int(mark), tuple(int(code) for code in c), tuple(bool(is_) for is_ in f))
        for text, mark, c, f in zip(words, marks, codes, forced, strict=True)
    ]
