"""Is a gesture understood when it is made in a way that the library does not contain?

`visavis describe` on the performances of `visavis.evals.library.performances`, one for each gloss, each by several
performers. Figures are over glosses: what one performer's motion says is not independent of what another's says.
"""

from __future__ import annotations

import zlib
from typing import Final

import numpy as np

from visavis.emotion import EMOTIONS
from visavis.evals.first_light.table import Table, progress
from visavis.evals.library.performances import ANOTHER, load_performances
from visavis.metrics.bootstrap import bootstrap
from visavis.retrieval.describe import describe
from visavis.retrieval.lexicon import Gesture
from visavis.retrieval.posing import Performer, perform

__all__ = ["measure"]

PERFORMERS: Final = 3  # of each performance, the first of them plain
FIRST_SEED: Final = 900  # of performers; learning uses others


def half_of(gloss: str) -> str:
    """The half, "held" or "tune", to which a gloss's performance belongs."""
    return "held" if zlib.crc32(gloss.encode()) % 2 else "tune"


def measure(half: str) -> Table:
    """Gloss first and among five, and the strongest emotion, of one half of the performances: "held" or "tune"."""
    chosen = [gesture for gloss, gesture in load_performances().items() if half_of(gloss) == half]
    table = Table(f"Performances that the library does not contain, half {half}, {PERFORMERS} performers each")
    first, five, felt, chance = [], [], [], []  # of each gloss
    missed: list[dict[str, object]] = []
    for gesture in progress(chosen, "performances"):
        said = [describe(perform(gesture, who, variant=ANOTHER).motion) for who in _performers(gesture)]
        named = [[gloss for gloss, _ in one.glosses] for one in said]
        best = {e for e in EMOTIONS if gesture.emotion.get(e, 0.0) == max(gesture.emotion.values())}
        first.append(float(np.mean([glosses[0] == gesture.gloss for glosses in named])))
        five.append(float(np.mean([gesture.gloss in glosses for glosses in named])))
        felt.append(float(np.mean([one.emotions[0][0] in best for one in said])))
        chance.append(len(best) / len(EMOTIONS))
        missed += [{"gloss": gesture.gloss, "named": glosses} for glosses in named if glosses[0] != gesture.gloss]
    table.add("gloss named first", bootstrap(first), "%", 100)
    table.add("gloss among five", bootstrap(five), "%", 100)
    table.add("strongest emotion", bootstrap(felt), "%", 100)
    table.add("... by chance", bootstrap(chance), "%", 100)
    table.add("... times chance", bootstrap(np.array(felt) / np.mean(chance)), "times")
    table.details["missed"] = missed
    return table


def _performers(gesture: Gesture) -> list[Performer]:
    name = zlib.crc32(gesture.gloss.encode())
    rest = range(FIRST_SEED, FIRST_SEED + PERFORMERS - 1)
    return [Performer.neutral(), *(Performer.random(np.random.default_rng([seed, name])) for seed in rest)]
