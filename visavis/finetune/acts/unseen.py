"""Indices that have not seen what they are asked: ACT must learn from the scores that RECALL gives to new sentences.

The shipped index has learnt every authored utterance, so its scores for them are too good. Each of `HALVES` indices is
trained like it but without one half of the utterances, and is asked about that half alone.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from safetensors.torch import save_file

from visavis.finetune.acts.train_encoder import calibrate, development, fit, sentences, tempered
from visavis.retrieval.embedder import Encoder
from visavis.retrieval.index import DEFAULT_HEAD, RecallHead, combine, parts_of
from visavis.retrieval.layers import DEFAULT_ENCODER, load_encoder, read
from visavis.retrieval.utterances import Utterance, load_utterances

__all__ = ["FOLDS", "HALVES", "Judge", "folds_of", "half_of", "judges", "shipped"]

log = logging.getLogger(__name__)

FOLDS: Final = 8
HALVES: Final = 2
EPOCHS: Final = 4.0


def folds_of(utterances: Sequence[Utterance], folds: int = FOLDS, seed: int = 0) -> np.ndarray:
    """(N,) the fold of each utterance, each gloss spread evenly."""
    rng = np.random.default_rng(seed)
    glosses = np.array([one.gloss for one in utterances])
    found = np.zeros(len(utterances), np.int64)
    for gloss in np.unique(glosses):
        places = np.flatnonzero(glosses == gloss)
        found[rng.permutation(places)] = np.arange(len(places)) % folds
    return found


def half_of(fold: int) -> int:
    """The judge that has not seen a fold."""
    return fold % HALVES


@dataclass(frozen=True, eq=False)
class Judge:
    """An index as it is asked while the corpus is made."""

    encoder: Encoder
    head: RecallHead

    @property
    def glosses(self) -> tuple[str, ...]:
        """In the order of the scores."""
        return self.head.glosses

    def scores(self, texts: Sequence[str]) -> list[np.ndarray]:
        """For each text (G + 1,): each gloss, and none last, as `GestureIndex.scores` has them."""
        parts = [parts_of(text) for text in texts]
        known = sorted({part for some in parts for part in some})
        features = dict(zip(known, (one.features for one in read(known, self.encoder)), strict=True))
        return [combine(self.head.probabilities(np.stack([features[part] for part in some]))) for some in parts]


def shipped() -> Judge:
    """The index that ships."""
    return Judge(load_encoder(DEFAULT_ENCODER), RecallHead.load(DEFAULT_HEAD))


def judges(folder: Path, epochs: float = EPOCHS) -> tuple[Judge, ...]:
    """The judges of the halves, trained where they are not in the folder yet: each a quarter of an hour on one core."""
    utterances = load_utterances()
    halves = folds_of(utterances) % HALVES
    found = []
    for half in range(HALVES):
        place = folder / f"half_{half}"
        encoder_file, head_file = place / "recall_encoder.safetensors", place / "recall.safetensors"
        if not head_file.exists():
            log.info("an index without half %d of the utterances", half)
            without = {one.text for one, own in zip(utterances, halves, strict=True) if own == half}
            changes, head = fit(sentences(without), place, epochs)
            save_file({name: value.half().contiguous() for name, value in changes.items()}, encoder_file)
            texts, accepted = development()
            tempered(head, *calibrate(head, texts, accepted, load_encoder(encoder_file))).save(head_file)
        found.append(Judge(load_encoder(encoder_file), RecallHead.load(head_file)))
    return tuple(found)
