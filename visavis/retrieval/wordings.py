"""Which words people say with each gesture, and on which of them its stroke falls: counts of the authored utterances.

Recall tells a sentence by its situation; this tells it by its words, one by one, so that the two err apart. How much a
word speaks for a gesture is the logarithm of how much likelier it is in that gesture's utterances than in all (as in
naive Bayes, but what is unlikely counts for nothing: nobody wrote everything that may be said). Counted by
`python -m visavis.finetune.acts.count_wordings`. It knows no order, no context and no gesture that somebody added.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from visavis.retrieval.table_files import readable

__all__ = ["DEFAULT_WORDINGS", "Wordings", "stem"]

DEFAULT_WORDINGS: Final = Path(__file__).parent / "data" / "wordings.safetensors"
# What is believed of a gesture before it is counted, in utterances: of how often a word is said, and how often a word
# that is said is the one of the stroke, with this gesture and with any.
SAID_PRIOR: Final = 2.0
STARRED_PRIOR, ANY_PRIOR = 5.0, 3.0
_ENDINGS: Final = ("ingly", "edly", "ing", "ies", "ied", "ed", "es", "ly", "s", "er", "e", "y")

Array = NDArray[np.float32]


def stem(word: str) -> str:
    """A word without signs and endings: "Shovelled," and "shovelling" are both "shovel"; "" of signs alone."""
    word = re.sub(r"[^\w']", "", word).strip("'").lower()
    word = re.sub(r"('s|n't|'re|'ll|'ve|'d|'m)$", "", word)
    ending = next((one for one in _ENDINGS if word.endswith(one) and len(word) - len(one) >= 3), "")
    word = word[: len(word) - len(ending)]
    doubled = len(word) > 3 and word[-1] == word[-2]
    return word[:-1] if doubled else word


@dataclass(frozen=True, eq=False)
class Wordings:
    """The counts. G glosses, S stems, N pairs of both that were met.

    glosses: G of them; stems: S of them.
    starts: (S + 1,) where the pairs of each stem begin; gloss: (N,) the place of each pair's gloss.
    said: (N,) how often the stem is said with the gloss; starred: (N,) how often the stroke is on it.
    """

    glosses: tuple[str, ...]
    stems: tuple[str, ...]
    starts: NDArray[np.int64]
    gloss: NDArray[np.int64]
    said: NDArray[np.float64]
    starred: NDArray[np.float64]

    @classmethod
    def count(cls, met: Mapping[tuple[str, str], tuple[int, int]]) -> Self:
        """From pairs of gloss and stem, each with how often it was said and starred."""
        glosses = tuple(sorted({gloss for gloss, _ in met}))
        stems = tuple(sorted({one for _, one in met}))
        place = {gloss: i for i, gloss in enumerate(glosses)}
        pairs = sorted(met, key=lambda pair: (pair[1], pair[0]))
        rows = {one: 0 for one in stems}
        for _, one in pairs:
            rows[one] += 1
        return cls(
            glosses, stems, np.concatenate([[0], np.cumsum(list(rows.values()))]).astype(np.int64),
            np.array([place[gloss] for gloss, _ in pairs], np.int64),
            np.array([met[pair][0] for pair in pairs], np.float64),
            np.array([met[pair][1] for pair in pairs], np.float64),
        )  # fmt: skip

    @staticmethod
    @functools.cache
    def default() -> Wordings:
        """Those that ship, loaded once."""
        return Wordings.load(DEFAULT_WORDINGS)

    @functools.cached_property
    def _place(self) -> dict[str, int]:
        return {one: i for i, one in enumerate(self.stems)}

    @functools.cached_property
    def _number(self) -> dict[str, int]:
        return {gloss: i for i, gloss in enumerate(self.glosses)}

    @functools.cached_property
    def _lengths(self) -> NDArray[np.float64]:
        """(G,) words said with each gloss."""
        return np.bincount(self.gloss, self.said, len(self.glosses)).astype(np.float64)

    @functools.cached_property
    def _starred(self) -> float:
        """The share of all words that are starred."""
        return float(self.starred.sum() / max(self.said.sum(), 1.0))

    def _pairs(self, word: str) -> slice:
        """The pairs of a word; none of a word that was never met."""
        place = self._place.get(stem(word))
        return slice(0, 0) if place is None else slice(self.starts[place], self.starts[place + 1])

    def fits(self, text: str, glosses: Sequence[str]) -> Array:
        """How much the words of a text speak for each gloss.

        Returns:
            (C,) nats of 0 or more; NaN for a gloss that was never counted.
        """
        found = np.zeros(len(self.glosses))
        total = max(self.said.sum(), 1.0)
        for word in text.split():
            pairs = self._pairs(word)
            share = (self.said[pairs].sum() + 0.5) / total
            some = self.gloss[pairs]
            here = (self.said[pairs] + SAID_PRIOR * share) / (self._lengths[some] + SAID_PRIOR)
            found[some] += np.maximum(np.log(here / share), 0.0)
        return np.array([found[self._number[g]] if g in self._number else np.nan for g in glosses], np.float32)

    def stars(self, text: str, gloss: str) -> Array:
        """At which words of a text the stroke of a gesture would be: (W,) log-odds for `text.split()`, each by itself;
        of a gloss that was never counted, as of any.
        """
        number, out = self._number.get(gloss, -1), []
        for word in text.split():
            pairs = self._pairs(word)
            said, starred = self.said[pairs], self.starred[pairs]
            any_ = (starred.sum() + ANY_PRIOR * self._starred) / (said.sum() + ANY_PRIOR)
            own = self.gloss[pairs] == number
            out.append((starred[own].sum() + STARRED_PRIOR * any_) / (said[own].sum() + STARRED_PRIOR))
        chances = np.clip(np.array(out), 1e-4, 1 - 1e-4)
        return np.log(chances / (1 - chances)).astype(np.float32)

    def save(self, path: Path) -> None:
        """Write them, counts up to 255."""
        arrays: dict[str, NDArray[Any]] = {
            "glosses": np.frombuffer(json.dumps(self.glosses).encode(), np.uint8),
            "stems": np.frombuffer(" ".join(self.stems).encode(), np.uint8),
            "starts": self.starts.astype(np.uint32), "gloss": self.gloss.astype(np.uint16),
            "said": np.minimum(self.said, 255).astype(np.uint8),
            "starred": np.minimum(self.starred, 255).astype(np.uint8),
        }  # fmt: skip
        save_file({name: array.copy() for name, array in arrays.items()}, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            FileFormatError: the file is missing or holds something else.
        """
        with readable(path, "the counted words of gestures", "visavis.finetune.acts.count_wordings"):
            arrays = load_file(path)
            glosses = tuple(json.loads(arrays["glosses"].tobytes()))
            stems = tuple(arrays["stems"].tobytes().decode().split(" "))
            starts, gloss = arrays["starts"].astype(np.int64), arrays["gloss"].astype(np.int64)
            said, starred = arrays["said"].astype(np.float64), arrays["starred"].astype(np.float64)
            count = len(gloss)
            if starts.shape != (len(stems) + 1,) or not said.shape == starred.shape == (count,):
                raise ValueError(f"{len(stems)} stems, {starts.shape} starts, {count} pairs do not belong together")
            outside = ((gloss < 0) | (gloss >= len(glosses))).any()
            if outside or starts[0] != 0 or starts[-1] != count or (np.diff(starts) < 0).any():
                raise ValueError("a pair is outside")
        return cls(glosses, stems, starts, gloss, said, starred)
