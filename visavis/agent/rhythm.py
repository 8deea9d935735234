"""Beats: which stresses a hand marks. About half of them have one, the strong ones first, never two within 0.65 s
(Leonard and Cummins 2011; Loehr 2012).

Where words are known the motion model writes the beat itself, told when by its cues (`beat_stresses`). Of a recording
whose words are not known it reads no words and leaves its hands at rest for long stretches: there beats are small clips
(`choose_beats`), mostly by the performer's main hand. They say nothing, so they are in `retrieval/data/beats` and not
in the lexicon.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files

import numpy as np

from visavis.agent.choreography import Choice
from visavis.agent.grid import STRESSED
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.library import Library
from visavis.speech.types import Word

__all__ = ["beat_library", "beat_stresses", "choose_beats"]

SHARE = 0.55  # of the stresses that have a beat
NEAREST_S = 0.65
WEAKEST = 0.5
CLEAR_S = 0.15  # between a gesture and a beat
_KINDS, _CHANCES = ("beat", "beat open", "beat both"), (0.5, 0.28, 0.22)


@lru_cache(maxsize=1)
def beat_library() -> Library:
    """The beats by gloss."""
    return Library(load_lexicon(str(files("visavis.retrieval") / "data" / "beats")))


def choose_beats(rhythm: Sequence[Word], seed: int, *, after_s: float = -1.0, amount: float = 1.0) -> list[Choice]:
    """Beats for some syllables.

    Args:
        rhythm: syllables with their stress.
        seed: of the choice.
        after_s: when the last beat before was, on the clock of `rhythm`.
        amount: factor on their number, from the persona.

    Returns:
        Choices by place in `rhythm`, in order of time.
    """
    rng = np.random.default_rng((seed & 0xFFFFFFFF, 331))
    chosen = _chosen(rhythm, rng, after_s, WEAKEST, SHARE * 1.4 * amount)
    kinds = rng.choice(len(_KINDS), size=len(chosen), p=_CHANCES)
    return [
        Choice(_KINDS[int(kind)], i, round(float(rhythm[i].stress), 3), "rule")
        for i, kind in zip(chosen, kinds, strict=True)
    ]


def beat_stresses(
    words: Sequence[Word],
    busy: Sequence[tuple[float, float]],
    seed: int,
    *,
    after_s: float = -1.0,
    amount: float = 1.0,
) -> list[float]:
    """The stresses that the motion model beats, in seconds on the clock of `words`, in order of time.

    Args:
        words: with their stresses.
        busy: from and to, in seconds, where a gesture has the hands.
        seed: of the choice.
        after_s: when the last beat before was.
        amount: factor on their number, from the persona and the emotion.
    """
    rng = np.random.default_rng((seed & 0xFFFFFFFF, 337))
    free = [word for word in words if not any(a - CLEAR_S < word.stress_s < b + CLEAR_S for a, b in busy)]
    return [float(free[i].stress_s) for i in _chosen(free, rng, after_s, STRESSED, SHARE * amount)]


def _chosen(words: Sequence[Word], rng: np.random.Generator, after_s: float, weakest: float, share: float) -> list[int]:
    """Places of the words that have a beat, the strong ones first where two are near each other."""
    wanted = [i for i, word in enumerate(words) if word.stress >= weakest and rng.random() < share]
    chosen: list[int] = []
    for i in sorted(wanted, key=lambda i: -words[i].stress):
        at = words[i].stress_s
        if at - after_s >= NEAREST_S and all(abs(at - words[k].stress_s) >= NEAREST_S for k in chosen):
            chosen.append(i)
    return sorted(chosen)
