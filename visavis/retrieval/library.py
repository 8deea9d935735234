"""The motion library: the lexicon's gestures and the clips that somebody added, found by meaning and performed alike.

What is found are glosses with the probability that they are meant; what is performed is a motion with its phases. A
gloss of the lexicon is found by the trained index, an added clip by the distance of its meaning line and examples. Both
are read as probabilities in one list: the index knows only its own glosses, so what an added clip takes is taken from
them.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visavis.emotion import Emotion
from visavis.errors import LexiconError
from visavis.home import home_folder
from visavis.retrieval.clips import Clip, ClipStore
from visavis.retrieval.enrol import performance_of
from visavis.retrieval.index import PART_TRUST, GestureIndex, parts_of
from visavis.retrieval.lexicon import PLAIN, Gesture, Lexicon, Param
from visavis.retrieval.meaning import Meaning
from visavis.retrieval.params import asked, named_in
from visavis.retrieval.posing import Performance, Performer, perform
from visavis.retrieval.vectors import VectorIndex
from visavis.tokenizers.turn_language import Candidate

__all__ = ["Hit", "Library", "Wanted", "library_folder"]

log = logging.getLogger(__name__)

SETTLED_NS: Final = 3_000_000_000  # after this no file system gives a new change the old time
FELT: Final = 0.5  # from this intensity on a gesture must go with the emotion
ASKED: Final = 0.75  # how surely a text that says how often, or with which hand, calls for a gesture
LEAST_ASKED: Final = 0.02  # ... which it must resemble so far


def library_folder() -> Path:
    """Where added clips live: `$VISAVIS_LIBRARY`, or `library` in the folder of `visavis.home`."""
    named = os.environ.get("VISAVIS_LIBRARY")
    return Path(named) if named else home_folder() / "library"


@dataclass(frozen=True)
class Wanted:
    """What a gesture must fit, beside its meaning.

    emotion: how the clause feels; busy: hands that hold something ("left", "right"); room_s: the time there is for a
    whole gesture at its quickest; recent: glosses that were just made.
    """

    emotion: Emotion | None = None
    busy: Set[str] = frozenset()
    room_s: float | None = None
    recent: Sequence[str] = ()


@dataclass(frozen=True)
class Hit:
    """One finding of `search`, with the probability in [0, 1] that it is meant."""

    gloss: str
    meaning: str
    clip: str
    score: float


@dataclass(eq=False)
class _Added:
    """The added clips as they are searched: one row of `index` for every meaning line and example."""

    store: ClipStore
    stamp: tuple[int, int] | None = None
    sure: bool = False  # whether the folder had rested when it was last listed
    names: list[str] = field(default_factory=list)
    about: dict[str, tuple[str, str, str, float]] = field(default_factory=dict)  # gloss, meaning, hands, length
    by_gloss: dict[str, list[str]] = field(default_factory=dict)
    rows: list[str] = field(default_factory=list)
    index: VectorIndex | None = None

    def refresh(self, meaning: Meaning) -> None:
        """Read the folder again if it has changed.

        The folder's own time says so; it is listed only while that is fresh, when a change could hide in one tick.
        """
        folder = self.store.folder
        try:
            changed_ns = folder.stat().st_mtime_ns
        except OSError:
            changed_ns = 0
        if self.sure and self.stamp is not None and self.stamp[0] == changed_ns:
            return
        self.sure = time.time_ns() - changed_ns > SETTLED_NS
        stamp = (changed_ns, len(self.store))
        if stamp == self.stamp:
            return
        self.names, self.about, self.by_gloss, self.rows, vectors = [], {}, {}, [], []
        for clip in self.store:
            self.names.append(clip.name)
            self.by_gloss.setdefault(clip.gloss, []).append(clip.name)
            self.about[clip.name] = (clip.gloss, clip.meaning, clip.hands, clip.phases.end_s - clip.phases.start_s)
            self.rows += [clip.name] * len(clip.vectors)
            vectors.append(clip.vectors)
        rows = np.concatenate(vectors) if vectors else np.zeros((0, 384), np.float32)
        self.index = VectorIndex(meaning.project(rows))
        self.stamp = stamp


class Library:
    """Everything that can be performed.

    Args:
        lexicon: authored gestures.
        index: finds them by meaning; without one nothing of the lexicon is found.
        store: added clips; none if None.
        meaning: the projection that added clips are found by (default: the one that ships, loaded when it is needed).
    """

    def __init__(
        self,
        lexicon: Lexicon,
        index: GestureIndex | None = None,
        store: ClipStore | None = None,
        meaning: Meaning | None = None,
    ) -> None:
        self.lexicon, self.index = lexicon, index
        self._added = None if store is None else _Added(store)
        self._meaning = meaning
        self._read: dict[tuple[str, int], Clip] = {}

    @property
    def meaning(self) -> Meaning:
        """The projection of meanings."""
        return self._meaning or Meaning.default()

    @property
    def added(self) -> list[str]:
        """The names of the added clips."""
        return list(self._fresh().names) if self._added else []

    @property
    def glosses(self) -> tuple[str, ...]:
        """Everything that can be performed, the lexicon's first."""
        own = self._fresh().by_gloss if self._added else {}
        return (*self.lexicon.glosses, *sorted(set(own) - set(self.lexicon.glosses)))

    def __contains__(self, gloss: object) -> bool:
        return gloss in self.lexicon or (self._added is not None and gloss in self._fresh().by_gloss)

    def _fresh(self) -> _Added:
        assert self._added is not None, "asked only where there is a store"
        self._added.refresh(self.meaning)
        return self._added

    def params(self, gloss: str) -> Mapping[str, Param]:
        """The parameters that aim a gesture; an added clip has none."""
        return self.lexicon[gloss].params if gloss in self.lexicon else {}

    def clips(self, gloss: str) -> tuple[str, ...]:
        """The names of its performances, `GLOSS/VARIANT` for the lexicon's, then those of added clips."""
        own = [f"{gloss}/{v}" for v in self.lexicon[gloss].variant_names] if gloss in self.lexicon else []
        if self._added:
            own += self._fresh().by_gloss.get(gloss, [])
        return tuple(own)

    def meaning_of(self, gloss: str) -> str:
        """One line."""
        if gloss in self.lexicon:
            return self.lexicon[gloss].meaning
        return self._fresh().about[self.clips(gloss)[0]][1]

    # --- finding -------------------------------------------------------------------------------------------------

    def candidates(self, text: str, k: int = 5, wanted: Wanted | None = None) -> list[Candidate]:
        """The k glosses that fit a clause best and can be made now, best first; scores are probabilities."""
        found = self.index.candidates(text, len(self.index.glosses)) if self.index else []
        added = self._search_added(text, 4 * k)
        left = 1.0 - max((hit.score for hit in added), default=0.0)
        best = {candidate.text: left * candidate.score for candidate in found}
        best |= {gloss: ASKED for gloss in self._asked(text) if best[gloss] < ASKED}
        for hit in added:
            best[hit.gloss] = max(best.get(hit.gloss, 0.0), hit.score)
        order = sorted(best, key=lambda gloss: (-best[gloss], gloss))
        # Best first, and no further than needed: what fits is read from the gesture's file.
        fitting = (Candidate(gloss, best[gloss]) for gloss in order if self._fits(gloss, wanted or Wanted()))
        return list(islice(fitting, k))

    def word_chances(self, text: str, k: int = 3, found: Sequence[Candidate] | None = None) -> NDArray[np.float32]:
        """(n_words,) in [0, 1]: how likely it is that some gesture belongs to each word of `text.split()`.

        Those of the k best count: of `found`, best first, or of what there is for the text.
        """
        if self.index is None:
            return np.zeros(len(text.split()), np.float32)
        if found is not None:
            each = [candidate.score * self.index.anchors(text, candidate.text) for candidate in found[:k]]
            return np.clip(np.sum(each, axis=0), 0.0, 1.0).astype(np.float32)
        chances = self.index.word_chances(text, k)
        for gloss in self._asked(text):
            chances = chances + ASKED * self.index.anchors(text, gloss)
        for hit in self._search_added(text, k):
            chances = chances + hit.score * self.index.anchors(text, hit.gloss)
        return np.clip(chances, 0.0, 1.0).astype(np.float32)

    def _asked(self, text: str) -> list[str]:
        """Who says how often, or with which hand, means a gesture: the likeliest, or named, that can be made so."""
        wanted = asked(text)
        found = self.index.candidates(text, len(self.index.glosses)) if self.index and wanted else []
        glosses = []
        for acts in sorted(wanted):
            able = [c for c in found if any(spec.acts == acts for spec in self.params(c.text).values())]
            named = [named_in(c.text, text) for c in able]
            score, best = max(
                ((c.score + (n if n >= 0.5 else 0.0), c.text) for c, n in zip(able, named, strict=True)),
                default=(0.0, ""),
            )
            if score > LEAST_ASKED:
                glosses.append(best)
        return list(dict.fromkeys(glosses))

    def search(self, text: str, k: int = 5) -> list[Hit]:
        """What fits a text, gestures of the lexicon and added clips, best first."""
        hits = self._search_added(text, k)
        left = 1.0 - max((hit.score for hit in hits), default=0.0)
        for candidate in self.index.candidates(text, k) if self.index else ():
            gesture = self.lexicon[candidate.text]
            hits.append(Hit(gesture.gloss, gesture.meaning, f"{gesture.gloss}/{PLAIN}", left * candidate.score))
        return sorted(hits, key=lambda hit: (-hit.score, hit.clip))[:k]

    def _search_added(self, text: str, k: int) -> list[Hit]:
        if self._added is None:
            return []
        added = self._fresh()
        if not added.names:
            return []
        assert added.index is not None, "made when the folder is read"
        scores: dict[str, float] = {}
        for place, query in enumerate(self.meaning.vectors(parts_of(text))):
            rows, cosines = added.index.search(query, 4 * k)
            trust = 1.0 if place == 0 else PART_TRUST
            for row, chance in zip(rows, self.meaning.probability(cosines), strict=True):
                name = added.rows[row]
                scores[name] = max(scores.get(name, 0.0), trust * float(chance))
        names = sorted(scores, key=lambda name: (-scores[name], name))[:k]
        return [Hit(*added.about[name][:2], name, scores[name]) for name in names]

    def _fits(self, gloss: str, wanted: Wanted) -> bool:
        if gloss in wanted.recent:
            return False
        if gloss in self.lexicon:
            gesture = self.lexicon[gloss]
            length_s = gesture.phases.end_s
            hands: str = gesture.hands
            felt = wanted.emotion
            if felt is not None and felt.name != "neutral" and felt.intensity >= FELT and not _goes_with(gesture, felt):
                return False
        else:
            _, _, hands, length_s = self._fresh().about[self.clips(gloss)[0]]
        if wanted.room_s is not None and 0.5 * length_s > wanted.room_s:
            return False
        if hands == "both":
            return not wanted.busy
        return hands == "none" or len(wanted.busy) < 2

    # --- performing ----------------------------------------------------------------------------------------------

    def variants(self, gloss: str) -> tuple[str, ...]:
        """The ways to perform it that `perform` takes."""
        if gloss in self.lexicon:
            return self.lexicon[gloss].variant_names
        return self.clips(gloss)

    def perform(
        self,
        gloss: str,
        performer: Performer,
        params: Mapping[str, Any] | None = None,
        *,
        hand: str | None = None,
        variant: str | None = None,
    ) -> Performance:
        """Make a gesture.

        Args:
            gloss: of the lexicon, or of an added clip.
            performer: who makes it.
            params: what aims it; an added clip takes none.
            hand: the main hand, if it shall not follow from gesture and performer.
            variant: of `variants`; the plain one, or the first clip, if None.

        Raises:
            LexiconError: there is no such gesture, variant or parameter.
        """
        if gloss in self.lexicon:
            return perform(self.lexicon[gloss], performer, params, hand, variant or PLAIN)
        names = self.clips(gloss) if self._added else ()
        if not names:
            raise LexiconError(f"no gesture {gloss!r} in the library: `visavis library list` names them all")
        if params:
            raise LexiconError(f"{gloss!r} is a recorded clip and has no parameters; got {', '.join(params)}")
        if variant is not None and variant not in names:
            raise LexiconError(f"{gloss!r} is performed {', '.join(names)}; got {variant!r}")
        return performance_of(self._clip(variant or names[0]), performer, hand)

    def _clip(self, name: str) -> Clip:
        added = self._fresh()
        assert added.stamp is not None, "set when the folder is read"
        key = (name, added.stamp[0])
        if key not in self._read:
            self._read = {k: clip for k, clip in self._read.items() if k[1] == key[1]}
            self._read[key] = added.store.read(name)
        return self._read[key]


def _goes_with(gesture: Gesture, felt: Emotion) -> bool:
    return gesture.emotion.get(felt.name, 0.0) > 0.0 or gesture.emotion.get("neutral", 0.0) > 0.0
