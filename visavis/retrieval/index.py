"""Find the gestures that fit a clause by what it means: MiniLM changed a little, a head, a calibrated "none".

The head is a linear map from four layers' mean vectors to one logit per gloss and one for "no gesture", trained on the
authored utterances (`python -m visavis.finetune.acts.train_encoder`). Because features are means over word pieces, a
gloss' logit is a sum over words: that sum, word by word, says which word calls for the gesture (class activation
mapping, Zhou et al. 2016). It knows nothing of how a gesture looks, and it does not decide whether to make one.
"""

from __future__ import annotations

import functools
import json
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from visavis.errors import FileFormatError
from visavis.retrieval.layers import WIDTH, Reading, read
from visavis.tokenizers.turn_language import Candidate

__all__ = ["DEFAULT_HEAD", "GestureIndex", "RecallHead", "parts_of"]

DEFAULT_HEAD: Final = Path(__file__).parent / "data" / "recall.safetensors"
MAX_PARTS: Final = 6
REMEMBERED: Final = 512  # clauses
OUTSIDE: Final = 0.01  # how far the anchor may lie in a part that does not itself call for the gesture
PART_TRUST: Final = 0.7  # how far the score of a part alone is believed; parts lack context

FILLERS: Final = re.compile(  # parts that call for nothing, whatever a gesture's utterances begin or end with
    r"well|so|now|and|but|or|then|oh|ah|anyway|anyhow|basically|actually|look here|see|alright|ok|okay so|i mean|"
    r"i think|you know|by the way|in fact|like i said|as i said|my friend|to be honest|believe it or not|these days|"
    r"right now|really",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class RecallHead:
    """The learned part. G glosses.

    weights: (G + 1, WIDTH) float32, the last row is "none"; bias: (G + 1,) float32.
    anchor: (WIDTH,) float32, what makes a word the one a gesture belongs to, whichever the gesture; anchor_mix: the
    weight of the gloss' own share beside it.
    """

    glosses: tuple[str, ...]
    weights: np.ndarray
    bias: np.ndarray
    anchor: np.ndarray
    anchor_mix: float

    def save(self, path: Path) -> None:
        """Write it, weights as float16."""
        arrays: dict[str, np.ndarray] = {
            "weights": self.weights.astype(np.float16),
            "bias": self.bias.astype(np.float32),
            "anchor": self.anchor.astype(np.float16),
            "anchor_mix": np.array([self.anchor_mix], np.float32),
            "glosses": np.frombuffer(json.dumps(self.glosses).encode(), np.uint8).copy(),
        }
        save_file(arrays, path)

    @staticmethod
    def load(path: Path) -> RecallHead:
        """Read what `save` wrote.

        Raises:
            FileFormatError: the file is missing or was made for other features.
        """
        try:
            arrays = load_file(path)
            glosses = tuple(json.loads(arrays["glosses"].tobytes()))
            weights = arrays["weights"].astype(np.float32)
            anchor = arrays["anchor"].astype(np.float32)
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            raise FileFormatError(
                f"expected the recall head in {path.name}, could not read it ({error}): "
                "run `python -m visavis.finetune.acts.train_encoder`"
            ) from error
        if weights.shape != (len(glosses) + 1, WIDTH):
            raise FileFormatError(
                f"expected a recall head of {len(glosses) + 1} x {WIDTH}, got {weights.shape}: "
                "run `python -m visavis.finetune.acts.train_encoder`"
            )
        return RecallHead(glosses, weights, arrays["bias"], anchor, float(arrays["anchor_mix"][0]))

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """(N, G + 1) probabilities of each gloss and, last, of none; features (N, WIDTH)."""
        logits = features @ self.weights.T + self.bias
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)


def parts_of(text: str) -> list[str]:
    """The text and, if punctuation divides it, its parts without fillers (at most `MAX_PARTS` in all)."""
    parts = re.split(r"(?<=[.,;:!?…—])\s+", text.strip())  # not inside 3.5 or 10:30
    parts = [part for part in parts if re.search(r"\w", part) and not FILLERS.fullmatch(re.sub(r"[^\w ]", "", part))]
    return [text, *[part for part in parts if part != text.strip()][: MAX_PARTS - 1]]


class GestureIndex:
    """Candidates for a clause. Deterministic; what was asked last is remembered."""

    def __init__(self, head: RecallHead) -> None:
        self.head = head
        self._memory: OrderedDict[str, tuple[np.ndarray, Reading, np.ndarray]] = OrderedDict()
        self._lock = threading.Lock()

    @staticmethod
    @functools.cache
    def default() -> GestureIndex:
        """The index that ships."""
        return GestureIndex(RecallHead.load(DEFAULT_HEAD))

    @property
    def glosses(self) -> tuple[str, ...]:
        """The glosses it knows, in order."""
        return self.head.glosses

    def candidates(self, text: str, k: int = 5) -> list[Candidate]:
        """The k glosses that fit best, best first; a score is the probability in [0, 1] that the gloss is meant."""
        scores = self.scores(text)[:-1]
        best = np.argsort(-scores, kind="stable")[:k]
        return [Candidate(self.glosses[index], float(scores[index])) for index in best]

    def none_score(self, text: str) -> float:
        """The probability in [0, 1] that the clause calls for none of the glosses."""
        return float(self.scores(text)[-1])

    def scores(self, text: str) -> np.ndarray:
        """(G + 1,) float32: each gloss, and none last. Not normalised: two parts may call for two gestures."""
        return self._look(text)[0]

    def anchors(self, text: str, gloss: str) -> np.ndarray:
        """(n_words,) float32 for `text.split()`: the probability that the gesture belongs to the word; sums to 1.

        An unknown gloss has no words of its own: then only the common part speaks.
        """
        _, reading, each = self._look(text)
        weights = anchor_weights(self.head, reading, text, gloss)
        if gloss in self.glosses and len(each) > 2 and len(weights):
            weights *= self._trust(text, each[1:, self.glosses.index(gloss)])
            weights /= weights.sum()
        return weights

    def word_chances(self, text: str, k: int = 3) -> np.ndarray:
        """(n_words,) float32 in [0, 1]: how likely it is that some gesture belongs to the word of `text.split()`."""
        chances = np.zeros(len(text.split()), np.float32)
        for candidate in self.candidates(text, k):
            chances += candidate.score * self.anchors(text, candidate.text)
        return np.clip(chances, 0.0, 1.0)

    def forget(self) -> None:
        """Forget what was asked: the next question takes as long as the first."""
        with self._lock:
            self._memory.clear()

    @staticmethod
    def _trust(text: str, scores: np.ndarray) -> np.ndarray:
        """(n_words,) how far each word's part calls for a gloss, 1 + `OUTSIDE` at most; scores (n_parts,)."""
        shares = scores / scores.max()
        trust = np.full(len(text.split()), OUTSIDE, np.float32)
        for part, share in zip(parts_of(text)[1:], shares, strict=True):
            start = len(text[: text.index(part)].split())
            trust[start : start + len(part.split())] += share
        return trust

    def _look(self, text: str) -> tuple[np.ndarray, Reading, np.ndarray]:
        with self._lock:
            if text in self._memory:
                self._memory.move_to_end(text)
                return self._memory[text]
            readings = read(parts_of(text))
            each = self.head.probabilities(np.stack([one.features for one in readings]))
            self._memory[text] = (combine(each), readings[0], each)
            if len(self._memory) > REMEMBERED:
                self._memory.popitem(last=False)
            return self._memory[text]


def combine(probabilities: np.ndarray) -> np.ndarray:
    """Scores of a text (G + 1,) from those of it and its parts (n, G + 1): a gesture may be called for by one part."""
    whole, parts = probabilities[0], probabilities[1:]
    if not len(parts):
        return whole.astype(np.float32)
    scores = np.maximum(whole, PART_TRUST * parts.max(axis=0))
    scores[-1] = np.minimum(whole[-1], 1 - PART_TRUST * (1 - parts[:, -1].min()))
    return scores.astype(np.float32)


def word_features(reading: Reading, text: str) -> np.ndarray:
    """(n_words, WIDTH) the mean of each word's pieces, free of the text's length; NaN for a word of signs alone."""
    words = [(match.start(), match.end()) for match in re.finditer(r"\S+", text)]
    starts, ends = reading.spans[:, 0], reading.spans[:, 1]
    lettered = np.array([bool(re.search(r"\w", text[start:end])) for start, end in reading.spans])
    found = np.full((len(words), WIDTH), np.nan, np.float32)
    for index, (start, end) in enumerate(words):
        inside = (starts >= start) & (ends <= end) & lettered
        if inside.any():
            found[index] = reading.pieces[inside].mean(axis=0) * len(reading.pieces)
    return found


def anchor_weights(head: RecallHead, reading: Reading, text: str, gloss: str) -> np.ndarray:
    """(n_words,) float32 that sum to 1; see `GestureIndex.anchors`."""
    features = word_features(reading, text)
    if not len(features):
        return np.zeros(0, np.float32)
    own = head.weights[head.glosses.index(gloss)] if gloss in head.glosses else np.zeros_like(head.anchor)
    logits = np.nan_to_num(features @ (head.anchor_mix * own + head.anchor), nan=-1e3)
    odds = np.exp(logits - logits.max())
    return (odds / odds.sum()).astype(np.float32)
