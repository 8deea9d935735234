"""What the library offers for a clause: gestures by its meaning, and those that its numbers and places call for.

Where recall is neither sure of a gesture nor sees none, a larger reader reads the sentence with what recall found and
the meanings of these, if its base is installed (`visavis.agent.base_reader`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visavis.agent.base_reader import as_read, default_judge
from visavis.agent.native import sane_params
from visavis.agent.recall import Rereads, joined, ranked
from visavis.retrieval.library import Library, Wanted
from visavis.retrieval.params import params_of, told
from visavis.retrieval.scene import Scene
from visavis.tokenizers.turn_language import MAX_CANDIDATES, Candidate, Tag

__all__ = [
    "TOLD", "UNSURE", "Offer", "aimed", "logits_of", "offered", "read_again", "said_of", "shipped_reader",
    "unsure",
]  # fmt: skip

LIKED: Final = 2.0  # how much likelier a gesture is that the persona likes, in odds
UNSURE: Final = (0.15, 0.9)  # of recall's best chance; between, the larger reader reads
LEAST: Final = 0.02  # how likely nothing is called for, at least
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
    reader: Callable[[], Rereads | None] | None = None,
) -> Offer:
    """What there is for a clause.

    Args:
        library: everything that can be performed.
        text: the clause.
        wanted: what the gestures must fit.
        scene: places that can be pointed at.
        avoid: glosses that this persona never makes.
        prefer: glosses that it likes: one that fits counts as twice as likely.
        reader: gives who reads again what recall is unsure of, or None for nobody; asked only then.
    """
    wanted = wanted or Wanted()
    found = library.candidates(text, wanted=wanted)
    chances = library.word_chances(text) if found else np.zeros(len(text.split()), np.float32)
    if reader is not None and unsure(found) and (judge := reader()) is not None:
        found = read_again(library, text, found, judge)
        chances = library.word_chances(text, found=found)
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


def shipped_reader() -> Rereads | None:
    """The larger reader of gestures that ships; None where its base is not installed."""
    return default_judge("gestures")


def unsure(found: Sequence[Candidate]) -> bool:
    """Whether the best of what recall found is neither likely nor unlikely to be meant."""
    return bool(found) and UNSURE[0] <= found[0].score <= UNSURE[1]


def logits_of(found: Sequence[Candidate]) -> NDArray[np.float64]:
    """(P,) what recall says of its candidates, 0 being as likely as that none of them is meant."""
    scores = np.array([candidate.score for candidate in found])
    return np.asarray(np.log(np.maximum(scores, 1e-4)) - np.log(max(1.0 - scores.sum(), LEAST)))


def said_of(library: Library, text: str, found: Sequence[Candidate], judge: Rereads) -> NDArray[np.float64]:
    """(P,) what the larger reader says of them."""
    texts = [as_read(candidate.text, library.meaning_of(candidate.text)) for candidate in found]
    return np.asarray(judge.read(text, texts[::-1])[::-1])  # the likeliest last: it is judged in sight of all


def read_again(library: Library, text: str, found: Sequence[Candidate], judge: Rereads) -> list[Candidate]:
    """What recall found, as recall and reader together have it."""
    logits = joined(judge.join, logits_of(found), said_of(library, text, found, judge))
    return ranked([candidate.text for candidate in found], logits, len(found))


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
