"""How recall, single words and the model's opinion make one decision on gestures: whether, on which word, which.

All speak in log-odds, and each of the three questions has its own trust in each, because they know different things:
recall tells a sentence by its situation; its words one by one (`visavis.retrieval.wordings`, `visavis.retrieval.cues`)
tell with what a gesture is said and where its stroke falls; the model reads what stands around a word. The trusts are
regressions on sentences that none of them has learnt from (`python -m visavis.evals.acts tune`), so they belong to the
weights: a planner's folder may hold its own `joining.json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from visavis.errors import FileFormatError
from visavis.retrieval.cues import Cues
from visavis.retrieval.wordings import Wordings
from visavis.tokenizers.turn_language import Candidate

__all__ = [
    "APART",
    "FILE",
    "MOST",
    "SUREST",
    "Joining",
    "Words",
    "evidence",
    "log_odds",
    "where_features",
    "which_features",
]

FILE: Final = "joining.json"
MOST: Final = 2  # gestures in a sentence
APART: Final = 2  # words between two of them, at least
SUREST: Final = (-9.0, 4.0)  # the model's log-odds are believed within these
LEAST: Final = 0.01  # of a chance: below, recall has no opinion
CLEAR: Final = 1.0  # nats by which a word leads clearly: hardly ever does a reader choose another one then

Floats = NDArray[np.float64]


def log_odds(chance: float) -> float:
    """Of a probability, which is taken within 0.0001 of certainty."""
    chance = min(max(chance, 1e-4), 1 - 1e-4)
    return float(np.log(chance / (1 - chance)))


@dataclass(frozen=True, eq=False)
class Words:
    """What the words of a sentence say of its candidates, one by one. C candidates, W words.

    called: the words whose numbers or directions call for a gesture, and which.
    reader: gives how likely a gesture belongs to each word (W,), in logs, where somebody reads the sentence for that.
    """

    text: str
    candidates: Sequence[Candidate]
    wordings: Wordings
    cues: Cues
    called: Mapping[int, str]
    reader: Callable[[str], Floats] | None = None

    @cached_property
    def fits(self) -> Floats:
        """(C,) nats for each candidate, as `Wordings.fits`; what was never counted is spoken for as much as the best of
        the others, so that recall decides.
        """
        fits = self.wordings.fits(self.text, [candidate.text for candidate in self.candidates]).astype(np.float64)
        return np.where(np.isnan(fits), fits[~np.isnan(fits)].max(initial=0.0), fits)

    @cached_property
    def fit(self) -> float:
        """How much they speak for any of the candidates, in nats."""
        return float(self.fits.max(initial=0.0))

    def features(self, gloss: str) -> Floats:
        """(W, 3) for a gesture: 1 where a number or direction calls for it, else 0; the log-odds of its stroke; and how
        near in meaning the word is.
        """
        count = len(self.text.split())
        called = np.array([float(self.called.get(word) == gloss) for word in range(count)])
        stars, near = self.wordings.stars(self.text, gloss), self.cues.nearness(self.text, gloss)
        return np.stack([called, stars, near], axis=1)

    def read(self, gloss: str) -> Floats:
        """(W,) what the reader says of a gesture; 0 where nobody reads."""
        if self.reader is None:
            return np.zeros(len(self.text.split()))
        if gloss not in self._known:
            self._known[gloss] = self.reader(gloss)
        return self._known[gloss]

    @cached_property
    def _known(self) -> dict[str, Floats]:
        return {}


def where_features(
    chances: Sequence[float], odds: Mapping[int, float], count: int, words: Words | None = None, gloss: str = ""
) -> Floats:
    """(count, 5) what recall, the sentence's words (`Words.features`, for the likeliest gesture) and the model say of
    each word; where no gesture may stand, the model's least.
    """
    model = [min(max(odds.get(word, SUREST[0]), SUREST[0]), SUREST[1]) for word in range(count)]
    recall = [np.log((chances[word] if word < len(chances) else 0.0) + LEAST) for word in range(count)]
    said = np.zeros((count, 3)) if words is None else words.features(gloss)[:count]
    return np.column_stack([recall, said, model]).astype(np.float64)


def which_features(candidates: Sequence[Candidate], words: Words | None = None) -> Floats:
    """(candidates, 3) what recall, numbers and directions, and the counted words say of each; the model's part is the
    log-probability of writing it.
    """
    recall = np.log([max(candidate.score, LEAST) for candidate in candidates])
    if words is None:
        return np.column_stack([recall, np.zeros((len(recall), 2))])
    glosses = set(words.called.values())
    return np.column_stack([recall, [candidate.text in glosses for candidate in candidates], words.fits])


def evidence(candidates: Sequence[Candidate], chances: Sequence[float]) -> float:
    """How surely recall sees a gesture in a sentence: by the best candidate, or by a word.

    A word speaks for a gesture that is no candidate, too, because it was just made: then another stands in for it.
    """
    return max(*(candidate.score for candidate in candidates), *chances, 0.0, 0.0)


@dataclass(frozen=True)
class Joining:
    """The trusts; those that a file does not name are 0.

    bias: log-odds of a gesture where nobody says anything; 0 or more is made.
    whether_recall, whether_model, whether_wording: trust in the log-odds of what recall has, in those of the model at
        its likeliest word, and in how much the counted words speak for any of the candidates.
    where_recall, where_model: trust in the log-chance of a word, and in the model's log-odds there.
    where_called, where_wording, where_cues, where_read: trust, for the likeliest candidate, in a number or direction,
        in the log-odds of its stroke, in how near the word is to it in meaning, and in what the larger reader says.
    which_recall, which_model: trust in the log-score of a candidate, and in the log-probability of its name.
    which_called, which_wording: trust in a number or direction, and in how much the counted words speak for it.
    """

    bias: float
    whether_recall: float
    whether_model: float
    where_recall: float
    where_model: float
    which_recall: float
    which_model: float
    whether_wording: float = 0.0
    where_called: float = 0.0
    where_wording: float = 0.0
    where_cues: float = 0.0
    where_read: float = 0.0
    which_called: float = 0.0
    which_wording: float = 0.0

    @classmethod
    def load(cls, folder: Path | None = None) -> Self:
        """Those of a planner's folder if it has its own, else those of the shipped planner.

        Raises:
            FileFormatError: the file does not hold these numbers.
        """
        path = folder / FILE if folder is not None and (folder / FILE).is_file() else shipped()
        names = [field.name for field in fields(cls) if field.default is MISSING]
        try:
            values = json.loads(path.read_text("utf-8"))
            more = [field.name for field in fields(cls) if field.name not in names and field.name in values]
            return cls(**{name: float(values[name]) for name in [*names, *more]})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FileFormatError(
                f"expected the numbers {', '.join(names)} in {path}, could not read them ({error}): "
                "run `python -m visavis.evals.acts tune --write`"
            ) from error

    def save(self, path: Path) -> None:
        """Write what `load` reads."""
        rounded = {name: round(value, 4) for name, value in asdict(self).items()}
        path.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")

    def whether(self, best: float, odds: Mapping[int, float], fit: float = 0.0) -> float:
        """Log-odds of a gesture; `best` is what recall has (`evidence`), `odds` the model's by word, `fit` what the
        counted words say (`Words.fit`).
        """
        model = min(max(max(odds.values(), default=SUREST[0]), SUREST[0]), SUREST[1])
        return (
            self.bias + self.whether_recall * log_odds(best) + self.whether_model * model + self.whether_wording * fit
        )

    def where(
        self,
        candidates: Sequence[Candidate],
        chances: Sequence[float],
        odds: Mapping[int, float],
        count: int,
        words: Words | None = None,
    ) -> Floats:
        """(count,) how much speaks for each word; the larger reader is asked where none of them leads clearly."""
        best = candidates[int(np.argmax(self.which(candidates, words)))].text
        trusts = [self.where_recall, self.where_called, self.where_wording, self.where_cues, self.where_model]
        share = np.asarray(where_features(chances, odds, count, words, best) @ trusts)
        if words is None or not self.where_read or _clear([float(share[word]) for word in odds]):
            return share
        return share + self.where_read * words.read(best)[:count]

    def which(self, candidates: Sequence[Candidate], words: Words | None = None) -> Floats:
        """(candidates,) what recall and words add to `which_model` times the model's log-probability of each."""
        return which_features(candidates, words) @ [self.which_recall, self.which_called, self.which_wording]

    def places(
        self,
        candidates: Sequence[Candidate],
        chances: Sequence[float],
        odds: Mapping[int, float],
        bias: float = 0.0,
        words: Words | None = None,
    ) -> list[int]:
        """Words of a sentence that get a gesture, the surest first.

        The sentence as a whole decides on the first; another word must by itself be as sure.

        Args:
            candidates: best first.
            chances: for each word, what recall thinks that some gesture belongs to it; without, the candidates count.
            odds: the model's log-odds of a gesture before each word where one may stand.
            bias: added to the log-odds of every gesture.
            words: what the sentence's words say of the candidates.
        """
        if not candidates or not odds:
            return []
        fit = 0.0 if words is None else words.fit
        if self.whether(evidence(candidates, chances), odds, fit) + bias < 0:
            return []
        share = self.where(candidates, chances, odds, max(odds) + 1, words)
        order = sorted(odds, key=lambda word: (-share[word], word))
        taken = order[:1]
        for word in order[1:]:
            own = self.whether(chances[word] if word < len(chances) else 0.0, {word: odds[word]}, fit) + bias
            if len(taken) < MOST and own >= 0 and all(abs(word - other) > APART for other in taken):
                taken.append(word)
        return taken


def _clear(shares: Sequence[float]) -> bool:
    """Whether one of them leads clearly."""
    best = sorted(shares, reverse=True)[:2]
    return len(best) < 2 or best[0] - best[1] >= CLEAR


def shipped() -> Path:
    """Where the numbers of the shipped planner are."""
    return Path(str(files("visavis.agent") / "data" / FILE))
