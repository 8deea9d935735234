"""How the model's opinion on gestures and that of recall make one decision: whether, on which word, which.

Both speak in log-odds, and each of the three questions has its own trust in either, because they know different things:
recall tells well whether a sentence calls for a gesture and which, the model reads what stands around a word. The
trusts are regressions on sentences that neither the model nor recall has learnt from (`python -m visavis.evals.acts
tune`), so they belong to the weights: a planner's folder may hold its own `joining.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from visavis.errors import FileFormatError
from visavis.tokenizers.turn_language import Candidate

__all__ = ["APART", "FILE", "MOST", "SUREST", "Joining", "evidence", "log_odds", "where_features", "which_features"]

FILE: Final = "joining.json"
MOST: Final = 2  # gestures in a sentence
APART: Final = 2  # words between two of them, at least
SUREST: Final = (-9.0, 4.0)  # the model's log-odds are believed within these
LEAST: Final = 0.01  # of a chance: below, recall has no opinion

Floats = NDArray[np.float64]


def log_odds(chance: float) -> float:
    """Of a probability, which is taken within 0.0001 of certainty."""
    chance = min(max(chance, 1e-4), 1 - 1e-4)
    return float(np.log(chance / (1 - chance)))


def where_features(chances: Sequence[float], odds: Mapping[int, float], words: int) -> Floats:
    """(words, 2) what recall and the model say of each word; where no gesture may stand, the least."""
    model = [min(max(odds.get(word, SUREST[0]), SUREST[0]), SUREST[1]) for word in range(words)]
    recall = [np.log((chances[word] if word < len(chances) else 0.0) + LEAST) for word in range(words)]
    return np.stack([recall, model], axis=1).astype(np.float64)


def which_features(candidates: Sequence[Candidate]) -> Floats:
    """(candidates,) what recall says of each; the model's part is the log-probability of writing it."""
    return np.log([max(candidate.score, LEAST) for candidate in candidates])


def evidence(candidates: Sequence[Candidate], chances: Sequence[float]) -> float:
    """How surely recall sees a gesture in a sentence: by the best candidate, or by a word.

    A word speaks for a gesture that is no candidate, too, because it was just made: then another stands in for it.
    """
    return max(*(candidate.score for candidate in candidates), *chances, 0.0, 0.0)


@dataclass(frozen=True)
class Joining:
    """The trusts.

    bias: log-odds of a gesture where neither says anything; 0 or more is made.
    whether_recall, whether_model: trust in the log-odds of what recall has, and in those of the model at its
        likeliest word.
    where_recall, where_model: trust in the log-chance of a word, and in the model's log-odds there.
    which_recall, which_model: trust in the log-score of a candidate, and in the log-probability of its name.
    """

    bias: float
    whether_recall: float
    whether_model: float
    where_recall: float
    where_model: float
    which_recall: float
    which_model: float

    @classmethod
    def load(cls, folder: Path | None = None) -> Self:
        """Those of a planner's folder if it has its own, else those of the shipped planner.

        Raises:
            FileFormatError: the file does not hold these numbers.
        """
        path = folder / FILE if folder is not None and (folder / FILE).is_file() else shipped()
        names = [field.name for field in fields(cls)]
        try:
            values = json.loads(path.read_text("utf-8"))
            return cls(**{name: float(values[name]) for name in names})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FileFormatError(
                f"expected the numbers {', '.join(names)} in {path}, could not read them ({error}): "
                "run `python -m visavis.evals.acts tune --write`"
            ) from error

    def save(self, path: Path) -> None:
        """Write what `load` reads."""
        rounded = {name: round(value, 4) for name, value in asdict(self).items()}
        path.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")

    def whether(self, best: float, odds: Mapping[int, float]) -> float:
        """Log-odds of a gesture; `best` is what recall has (`evidence`), `odds` the model's by word."""
        model = min(max(max(odds.values(), default=SUREST[0]), SUREST[0]), SUREST[1])
        return self.bias + self.whether_recall * log_odds(best) + self.whether_model * model

    def where(self, chances: Sequence[float], odds: Mapping[int, float], words: int) -> Floats:
        """(words,) how much speaks for each word."""
        return where_features(chances, odds, words) @ [self.where_recall, self.where_model]

    def which(self, candidates: Sequence[Candidate]) -> Floats:
        """(candidates,) what recall adds to `which_model` times the model's log-probability of each."""
        return self.which_recall * which_features(candidates)

    def places(
        self, candidates: Sequence[Candidate], chances: Sequence[float], odds: Mapping[int, float], bias: float = 0.0
    ) -> list[int]:
        """Words of a sentence that get a gesture, the surest first.

        The sentence as a whole decides on the first; another word must by itself be as sure.

        Args:
            candidates: best first.
            chances: for each word, what recall thinks that some gesture belongs to it; without, the candidates count.
            odds: the model's log-odds of a gesture before each word where one may stand.
            bias: added to the log-odds of every gesture.
        """
        if not candidates or not odds:
            return []
        share = self.where(chances, odds, max(odds) + 1)
        order = sorted(odds, key=lambda word: (-share[word], word))
        if self.whether(evidence(candidates, chances), odds) + bias < 0:
            return []
        taken = order[:1]
        for word in order[1:]:
            own = self.whether(chances[word] if word < len(chances) else 0.0, {word: odds[word]}) + bias
            if len(taken) < MOST and own >= 0 and all(abs(word - other) > APART for other in taken):
                taken.append(word)
        return taken


def shipped() -> Path:
    """Where the numbers of the shipped planner are."""
    return Path(str(files("visavis.agent") / "data" / FILE))
