"""What the library offers for a clause: gestures by its meaning, and those that its numbers and places call for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from visavis.agent.native import sane_params
from visavis.retrieval.library import Library, Wanted
from visavis.retrieval.params import params_of, told
from visavis.retrieval.scene import Scene
from visavis.tokenizers.turn_language import MAX_CANDIDATES, Candidate, Tag

__all__ = ["TOLD", "Offer", "aimed", "offered"]

LIKED: Final = 2.0  # how much likelier a gesture is that the persona likes, in odds
TOLD: Final = 0.85  # how surely a length, a count or a place calls for the gesture that shows it


@dataclass(frozen=True)
class Offer:
    """Candidates, best first, and for each word of the clause how likely some gesture belongs to it.

    called: the words whose numbers, directions or places call for one of the candidates, and which.
    """

    candidates: tuple[Candidate, ...]
    chances: tuple[float, ...]
    called: Mapping[int, str] = field(default_factory=dict)

    def score(self, gloss: str) -> float:
        """Of a candidate; 0 for any other gloss."""
        return next((c.score for c in self.candidates if c.text == gloss), 0.0)


def offered(
    library: Library,
    text: str,
    wanted: Wanted | None = None,
    scene: Scene | None = None,
    avoid: Collection[str] = (),
    prefer: Collection[str] = (),
) -> Offer:
    """What there is for a clause.

    Args:
        library: everything that can be performed.
        text: the clause.
        wanted: what the gestures must fit.
        scene: places that can be pointed at.
        avoid: glosses that this persona never makes.
        prefer: glosses that it likes: one that fits counts as twice as likely.
    """
    wanted = wanted or Wanted()
    found = library.candidates(text, wanted=wanted)
    chances = library.word_chances(text) if found else np.zeros(len(text.split()), np.float32)
    called = {}
    for gloss, word in told(text, scene):
        if gloss in library and gloss not in wanted.recent:
            found = [Candidate(gloss, TOLD), *(c for c in found if c.text != gloss)][:MAX_CANDIDATES]
            chances[word] = max(float(chances[word]), TOLD)
            called[word] = gloss
    found = [candidate for candidate in found if candidate.text not in avoid]
    if prefer and any(candidate.text in prefer for candidate in found):
        found = sorted((_liked(candidate, prefer) for candidate in found), key=lambda c: -c.score)
    shown = {candidate.text for candidate in found}
    called = {word: gloss for word, gloss in called.items() if gloss in shown}
    return Offer(tuple(found), tuple(chances.tolist()) if found else (), called)


def _liked(candidate: Candidate, prefer: Collection[str]) -> Candidate:
    """With its odds doubled where this persona likes it."""
    if candidate.text not in prefer:
        return candidate
    odds = LIKED * candidate.score / max(1.0 - candidate.score, 1e-6)
    return Candidate(candidate.text, odds / (1.0 + odds))


def aimed(library: Library, text: str, tag: Tag, scene: Scene | None = None) -> dict[str, Any]:
    """The parameters of a tag: the model's where they are sane, but what the text itself says goes first."""
    known = library.params(tag.gloss)
    return sane_params(known, tag.params) | params_of(known, text, tag.word, scene)
