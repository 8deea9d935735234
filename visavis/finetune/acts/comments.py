"""GoEmotions under Ekman's labels (Demszky et al. 2020): 49,000 comments, each felt as one or more of `EMOTIONS`.

The copy that is read has no test part: what is called held out here is one half of its development part, by a hash of
the comment's id; the other half is there to choose on. Comments that the training part has, too, are left out.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from visavis.emotion import EMOTIONS
from visavis.errors import FileFormatError

__all__ = ["GO_EMOTIONS", "Comments", "Part", "read_comments"]

GO_EMOTIONS: Final = Path(".cache/real/goemotions/data/ekman")
Part = Literal["train", "choose", "held"]


@dataclass(frozen=True, eq=False)
class Comments:
    """N texts and how they are felt: (N, 7) shares in the order of `EMOTIONS`, each row sums to 1."""

    texts: tuple[str, ...]
    shares: NDArray[np.float32]

    @property
    def single(self) -> Comments:
        """Those with one label."""
        rows = np.flatnonzero(self.shares.max(1) == 1)
        return Comments(tuple(self.texts[row] for row in rows), self.shares[rows])

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) the place in `EMOTIONS` of the label, of several the first."""
        return self.shares.argmax(1)


def read_comments(folder: Path, part: Part) -> Comments:
    """One part of the comments in a folder with `labels.txt`, `train.tsv` and `dev.tsv` (text, labels, id).

    Raises:
        FileFormatError: the folder does not hold them.
    """
    train = _rows(folder, "train")
    if part == "train":
        return _comments(train)
    seen = {_plain(text) for text, _, _ in train}
    half = 0 if part == "choose" else 1
    rows = [row for row in _rows(folder, "dev") if _half(row[2]) == half and _plain(row[0]) not in seen]
    return _comments(rows)


def _rows(folder: Path, name: str) -> list[tuple[str, list[int], str]]:
    """(text, places in `EMOTIONS`, id) of a file."""
    path = folder / f"{name}.tsv"
    try:
        places = [EMOTIONS.index(label) for label in (folder / "labels.txt").read_text("utf-8").split()]
        rows = []
        for line in path.read_text("utf-8").split("\n"):
            if line:
                text, labels, id_ = line.split("\t")
                rows.append((text, [places[int(label)] for label in labels.split(",")], id_))
    except (OSError, ValueError, IndexError) as error:
        raise FileFormatError(
            f"expected GoEmotions under Ekman's labels in {folder} (labels.txt, train.tsv, dev.tsv), could not read "
            f"{path.name} ({error}): github.com/monologg/GoEmotions-pytorch has them in data/ekman"
        ) from error
    return rows


def _comments(rows: list[tuple[str, list[int], str]]) -> Comments:
    shares = np.zeros((len(rows), len(EMOTIONS)), np.float32)
    for row, (_, places, _) in enumerate(rows):
        shares[row, places] = 1 / len(places)
    return Comments(tuple(text for text, _, _ in rows), shares)


def _half(id_: str) -> int:
    return int(hashlib.sha256(id_.encode()).hexdigest(), 16) % 2


def _plain(text: str) -> str:
    return re.sub(r"\W+", " ", text.lower()).strip()
