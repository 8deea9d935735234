"""Sentences with the gestures that may be meant, as the larger reader learns to judge them.

What is authored (`visavis.retrieval.utterances`) says which gesture a sentence calls for; recall says which others
resemble it. From both come lines for `visavis.finetune.replies.train_base_reader`: a sentence, some gestures with their
meanings in random order, and which of them is meant, if any is; and a sentence with its gesture, and on which word the
stroke is.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from visavis.agent.base_reader import as_read, asked_where
from visavis.errors import FileFormatError
from visavis.retrieval.index import GestureIndex
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.utterances import NONE, load_more, load_utterances

__all__ = ["Judged", "Saying", "lines", "recalled", "words"]

RIVALS: Final = 10  # that recall names for a sentence
READ: Final = 5  # gestures of a line, as many as are offered
STRANGE: Final = 0.15  # how often one of them is any of the lexicon

Judged = tuple[str, tuple[str, ...], tuple[int, ...]]  # a line, texts, and the places of those that belong to it


@dataclass(frozen=True)
class Saying:
    """A sentence, the gesture that it calls for ("" for none), and others that resemble it, the likeliest first.

    starred: the words that its gesture belongs to, as places in `text.split()`.
    """

    text: str
    gloss: str
    rivals: tuple[str, ...]
    starred: tuple[int, ...] = ()


def recalled(file: Path, index: GestureIndex | None = None) -> list[Saying]:
    """All that is authored; what recall says of it is kept in `file`, for it takes minutes.

    Raises:
        FileFormatError: the file holds something else.
    """
    written = [one for one in (*load_utterances(), *load_more()) if one.gloss == NONE or one.gloss in load_lexicon()]
    if not file.exists():
        index = index or GestureIndex.default()
        rows = [[c.text for c in index.candidates(one.text, RIVALS + 1)] for one in written]
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_suffix(".tmp")
        new.write_text(json.dumps(rows) + "\n")
        os.replace(new, file)
    try:
        rows = json.loads(file.read_text())
        found = []
        for one, row in zip(written, rows, strict=True):
            rivals = [str(gloss) for gloss in row if gloss != one.gloss][:RIVALS]
            found.append(Saying(one.text, "" if one.gloss == NONE else one.gloss, tuple(rivals), one.anchors))
    except (ValueError, TypeError) as error:
        raise FileFormatError(
            f"expected the {len(written)} authored sentences' gestures in {file} ({error}): delete it, it is made again"
        ) from error
    return found


def words(some: Sequence[Saying], rng: random.Random) -> Iterator[Judged]:
    """Endless (sentence with its gesture, the words to judge, those that the gesture belongs to), likewise."""
    called, lexicon = [one for one in some if one.starred], load_lexicon()
    while True:
        for one in rng.sample(called, len(called)):
            yield asked_where(one.text, one.gloss, lexicon[one.gloss].meaning), tuple(one.text.split()), one.starred


def lines(some: Sequence[Saying], rng: random.Random) -> Iterator[Judged]:
    """Endless (sentence, gestures to judge, place of the right one, if any), all sentences before any comes again."""
    lexicon = load_lexicon()
    while True:
        for one in rng.sample(some, len(some)):
            nearest = one.rivals[:READ] if rng.random() < 0.7 else one.rivals
            others = rng.sample(nearest, len(nearest))
            if rng.random() < STRANGE:
                others.insert(0, rng.choice(lexicon.glosses))
            count = READ if rng.random() < 0.8 else rng.randint(2, READ)
            shown = list(dict.fromkeys([*([one.gloss] if one.gloss else []), *others]))[:count]
            rng.shuffle(shown)
            right = tuple(place for place, gloss in enumerate(shown) if gloss == one.gloss)
            yield one.text, tuple(as_read(gloss, lexicon[gloss].meaning) for gloss in shown), right
