"""Sentences with the gesture that belongs to each, or none; and when a gesture that was made is the right one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import yaml
from numpy.typing import NDArray

from visavis.evals.first_light.table import data_file
from visavis.evals.library.parameters import SCENE, same
from visavis.evals.library.parameters import sentences as parameter_sentences
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.scene import Scene

__all__ = ["COLUMNS", "Item", "Made", "counts", "f1", "items"]

Kind = Literal["called", "neutral", "aimed"]
# What is counted of each sentence; "near": the joint decision where the next word counts, too.
COLUMNS: Final = ("wanted", "made", "moved", "both", "gloss", "joint", "near")


@dataclass(frozen=True)
class Item:
    """One sentence.

    kind: "called" for a gesture by its meaning, "aimed" by its numbers and places, or "neutral".
    accept: glosses that fit; word: the one its stroke belongs to; expect: parameters that it gives (of "aimed"
    sentences; there any gesture that takes them counts, as in `visavis.evals.library.parameters`).
    """

    text: str
    kind: Kind
    accept: tuple[str, ...] = ()
    word: str = ""
    expect: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scene(self) -> Scene | None:
        """What stands around: things only where a sentence is about them."""
        return SCENE if self.kind == "aimed" else None

    def fits(self, made: Made) -> bool:
        """Whether a gesture is one that the sentence calls for, parameters included."""
        if self.kind == "aimed":
            return same(load_lexicon()[made.gloss].params, self.expect, made.params)
        return made.gloss in self.accept

    def away(self, made: Made) -> int:
        """Words between its word and where a gesture was made; 0 is right."""
        places = [i for i, word in enumerate(self.text.split()) if _bare(word) == _bare(self.word)]
        return min((abs(place - made.word) for place in places), default=1000)


@dataclass(frozen=True)
class Made:
    """A gesture of a sentence: gloss, index of its word in `text.split()`, parameters, and what recall gave it."""

    gloss: str
    word: int
    params: Mapping[str, Any]
    score: float


def _bare(word: str) -> str:
    return re.sub(r"[^\w']", "", word).strip("'").lower()


def items(half: str) -> list[Item]:
    """All sentences of the half "held" or "tune": those that call for a gesture, neutral ones, those that aim it."""
    folder = data_file("x").parent if half == "held" else Path(str(files("visavis.finetune"))) / "acts" / "data"
    name = "library_held.yaml" if half == "held" else "library_tune.yaml"
    rows = yaml.safe_load((folder / name).read_text("utf-8"))
    quiet = [line.strip() for line in (folder / "library_neutral.txt").read_text("utf-8").split("\n") if line.strip()]
    return [
        *(Item(row["text"], "called", tuple(row["accept"]), str(row["word"])) for row in rows),
        *(Item(text, "neutral") for text in quiet),
        *(
            Item(row["text"], "aimed", (row["gloss"],), str(row["word"]), row["expect"])
            for row in parameter_sentences(half)
        ),
    ]


def counts(some: list[Item], made: list[list[Made]]) -> NDArray[np.float64]:
    """(N, 7) of `COLUMNS`: gestures wanted (0 or 1) and made; whether any was made; whether one was both wanted and
    made; right glosses (and parameters); right ones on the right word; and there or on the next word.
    """
    rows = []
    for item, gestures in zip(some, made, strict=True):
        wanted = item.kind != "neutral"
        right = [gesture for gesture in gestures if wanted and item.fits(gesture)]
        away = min((item.away(gesture) for gesture in right), default=1000)
        moved = bool(gestures)
        rows.append([wanted, len(gestures), moved, wanted and moved, bool(right), away == 0, away <= 1])
    return np.array(rows, np.float64).reshape(-1, len(COLUMNS))


def f1(rows: NDArray[np.float64], column: str = "joint") -> float:
    """Harmonic mean of precision (of the gestures made) and recall (of those wanted), in [0, 1]; NaN for nothing."""
    total = dict(zip(COLUMNS, rows.sum(0), strict=True))
    both = total["made"] + total["wanted"]
    return float(2 * total[column] / both) if both else float("nan")
