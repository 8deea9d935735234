"""Ask for the emotion of texts: the planner as a turn asks it, and what its model alone makes of the seven."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from visavis.agent.constrain import EmotionConstraint
from visavis.agent.engine import Engine, Floats, Ids
from visavis.agent.graph import LONGEST_FELT
from visavis.agent.planner import Cancel, Planner
from visavis.emotion import EMOTIONS
from visavis.evals.first_light.table import progress
from visavis.retrieval.library import Library
from visavis.tokenizers.turn_language import ActPrompt

__all__ = ["decided", "logits", "prompt_of"]


def prompt_of(library: Library, text: str, before: str = "") -> ActPrompt:
    """What a turn asks with."""
    head = " ".join(text.split()[:LONGEST_FELT])
    return ActPrompt(head, None, library.candidates(head), before)


def decided(
    planner: Planner, library: Library, texts: Sequence[str], befores: Sequence[str] = (), label: str = "texts"
) -> NDArray[np.int64]:
    """(N,) places in `EMOTIONS` of what a planner decides, with the lines before if they are given."""
    found = []
    for number in progress(range(len(texts)), label):
        prompt = prompt_of(library, texts[number], befores[number] if befores else "")
        found.append(EMOTIONS.index(planner.feel(prompt, cancel=Cancel()).name))
    return np.array(found, np.int64)


class _Noting(EmotionConstraint):
    """Keeps the logits of the emotions, as the model has them."""

    seen: dict[int, float]

    def weigh(self, ids: Ids, logits: Floats) -> Floats:
        if not self._taken:
            self.seen = dict(zip(ids.tolist(), logits.tolist(), strict=True))
        return logits


def logits(engine: Engine, library: Library, texts: Sequence[str]) -> NDArray[np.float64]:
    """(N, 7) the model's own, in the order of `EMOTIONS`."""
    places = [engine.vocabulary.control(name) for name in EMOTIONS]
    found = np.zeros((len(texts), len(EMOTIONS)))
    for number in progress(range(len(texts)), "texts"):
        constraint = _Noting(engine.vocabulary, [0.0] * len(EMOTIONS))
        for _ in engine.generate(prompt_of(library, texts[number]).ids(engine.vocabulary), constraint, limit=2):
            pass
        found[number] = [constraint.seen[place] for place in places]
    return found
