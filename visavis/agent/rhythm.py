"""Beats for a recording whose words are not known: small strokes on the syllables that are heard as stressed.

The motion model leaves its hands at rest for long stretches where it reads no words; so the rhythm is given by rule:
about half of the stresses have a beat, the strong ones first, never two within 0.65 s (Leonard and Cummins 2011; Loehr
2012), mostly by the performer's main hand. Beats say nothing; they are in `retrieval/data/beats`, not in the lexicon.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files

import numpy as np

from visavis.agent.choreography import Choice
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.library import Library
from visavis.speech.types import Word

__all__ = ["beat_library", "choose_beats"]

SHARE = 0.55  # of the stresses that have a beat
NEAREST_S = 0.65
WEAKEST = 0.5
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
    wanted = {i for i, word in enumerate(rhythm) if word.stress >= WEAKEST and rng.random() < SHARE * amount * 1.4}
    chosen: list[int] = []
    for i in sorted(wanted, key=lambda i: -rhythm[i].stress):
        at = rhythm[i].stress_s
        if at - after_s >= NEAREST_S and all(abs(at - rhythm[k].stress_s) >= NEAREST_S for k in chosen):
            chosen.append(i)
    kinds = rng.choice(len(_KINDS), size=len(chosen), p=_CHANCES)
    return [
        Choice(_KINDS[int(kind)], i, round(float(rhythm[i].stress), 3), "rule")
        for i, kind in zip(sorted(chosen), kinds, strict=True)
    ]
