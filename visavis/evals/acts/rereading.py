"""What the larger reader brings to the choice of gestures: `python -m visavis.evals.acts reread`.

The sentences are those of the development half that call for a gesture by their meaning, or for none. How recall and
reader are joined is fitted on one half of them and judged on the other, both ways; `--fit` then fits it on all of them
and writes it.
"""

from __future__ import annotations

import numpy as np

from visavis.agent.offers import logits_of, said_of, unsure
from visavis.agent.recall import Rereads
from visavis.evals.acts.items import items
from visavis.evals.acts.systems import sentences
from visavis.evals.first_light.table import Table, progress
from visavis.evals.personas.rereading import FIGURES, Case, compare
from visavis.retrieval.library import Library

__all__ = ["cases", "measure"]


def cases(reader: Rereads, library: Library) -> list[Case]:
    """All of them, read."""
    drawn = []
    for number, item in enumerate(progress([one for one in items("tune") if one.kind != "aimed"], "sentences")):
        for sentence in sentences(library, item):
            found = library.candidates(sentence.text)
            said = said_of(library, sentence.text, found, reader) if unsure(found) else np.zeros(0)
            right = tuple(candidate.text in item.accept for candidate in found)
            kind = "known" if item.kind == "called" else "far"
            drawn.append(Case(f"{number:04}", kind, right, logits_of(found), said))
    return drawn


def measure(reader: Rereads, library: Library) -> tuple[Table, list[Case]]:
    """All figures."""
    some = cases(reader, library)
    table = Table(f"{len(some)} sentences of the development half")
    compare(some, table, figures={name: figure for name, figure in FIGURES.items() if "near" not in name})
    return table, some
