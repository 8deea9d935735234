"""Is the right gesture found? Sentences that share no content word with the meaning line of their gesture.

Beside the index: chance, words alone (BM25, Robertson and Zaragoza 2009, over everything that is authored for a gloss)
and MiniLM as it comes (nearest meaning line, nearest utterance).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from visavis.evals.first_light.table import Table, data_file, share
from visavis.metrics.bootstrap import Estimate, bootstrap, paired_difference
from visavis.retrieval.embedder import Embedder
from visavis.retrieval.index import GestureIndex
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.utterances import cue_words, load_more, load_utterances

__all__ = ["Bm25", "auc", "measure", "sentences"]

Ranking = list[str]


def sentences(half: str) -> tuple[list[str], list[list[str]], list[str]]:
    """Texts, the glosses accepted for each, and neutral sentences, of the half "held" or "tune"."""
    if half == "held":
        rows, neutral = data_file("library_held.yaml"), data_file("library_neutral.txt")
    else:
        folder = Path(str(files("visavis.finetune"))) / "acts" / "data"
        rows, neutral = folder / "library_tune.yaml", folder / "library_neutral.txt"
    some = yaml.safe_load(rows.read_text("utf-8"))
    quiet = [line.strip() for line in neutral.read_text("utf-8").split("\n") if line.strip()]
    return [row["text"] for row in some], [row["accept"] for row in some], quiet


class Bm25:
    """Documents ranked by the words they share with a query."""

    def __init__(self, documents: Sequence[str], k1: float = 1.5, b: float = 0.75) -> None:
        self.k1, self.b = k1, b
        self.counts = [Counter(self._words(text)) for text in documents]
        self.lengths = [sum(count.values()) for count in self.counts]
        self.mean = sum(self.lengths) / len(self.lengths)
        seen = Counter(word for count in self.counts for word in count)
        self.idf = {w: math.log(1 + (len(documents) - n + 0.5) / (n + 0.5)) for w, n in seen.items()}

    @staticmethod
    def _words(text: str) -> list[str]:
        return re.findall(r"[a-z']+", text.lower())

    def scores(self, query: str) -> NDArray[np.float64]:
        """(N,) of the documents."""
        out = np.zeros(len(self.counts))
        for word in self._words(query):
            for i, count in enumerate(self.counts):
                if n := count[word]:
                    norm = n + self.k1 * (1 - self.b + self.b * self.lengths[i] / self.mean)
                    out[i] += self.idf[word] * n * (self.k1 + 1) / norm
        return out


def auc(high: Sequence[float], low: Sequence[float], seed: int = 0) -> Estimate:
    """Probability that a value of `high` exceeds one of `low`, with an interval over both samples."""

    def one(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        b = np.sort(b)
        return float((np.searchsorted(b, a, "left") + np.searchsorted(b, a, "right")).mean() / 2 / len(b))

    a, b = np.asarray(high, np.float64), np.asarray(low, np.float64)
    rng = np.random.default_rng(seed)
    again = [one(rng.choice(a, len(a)), rng.choice(b, len(b))) for _ in range(1000)]
    return Estimate(one(a, b), float(np.quantile(again, 0.025)), float(np.quantile(again, 0.975)), len(a) + len(b))


def measure(half: str = "held", index: GestureIndex | None = None, seed: int = 0) -> Table:
    """All sentences of a half."""
    index = index or GestureIndex.default()
    texts, accepted, neutral = sentences(half)
    lexicon, glosses = load_lexicon(), list(index.glosses)
    said: dict[str, list[str]] = {gloss: [lexicon[gloss].meaning, *lexicon[gloss].examples] for gloss in glosses}
    for one in (*load_utterances(), *load_more()):
        if one.gloss in said:
            said[one.gloss].append(one.text)
    cues = cue_words()
    words = Bm25([" ".join([*said[gloss], *cues.get(gloss, ())]) for gloss in glosses])
    embedder = Embedder(capacity=100_000)
    meant = embedder.encode([lexicon[gloss].meaning for gloss in glosses])
    lines = [(gloss, line) for gloss in glosses for line in said[gloss]]
    uttered = embedder.encode([line for _, line in lines])
    owner = np.array([glosses.index(gloss) for gloss, _ in lines])
    asked = embedder.encode(texts)
    rng = np.random.default_rng(seed)

    def ranked(scores: NDArray[np.floating]) -> Ranking:
        return [glosses[i] for i in np.argsort(-scores, kind="stable")[:5]]

    nearest = np.full((len(texts), len(glosses)), -1.0)
    similar = asked @ uttered.T
    for i in range(len(glosses)):
        nearest[:, i] = similar[:, owner == i].max(1)
    rankings: dict[str, list[Ranking]] = {
        "the index": [[c.text for c in index.candidates(text, 5)] for text in texts],
        "random": [ranked(rng.random(len(glosses))) for _ in texts],
        "BM25": [ranked(words.scores(text)) for text in texts],
        "MiniLM, meaning lines": [ranked(row) for row in asked @ meant.T],
        "MiniLM, nearest utterance": [ranked(row) for row in nearest],
    }
    table = Table(f"The right gesture of {len(glosses)}, {len(texts)} sentences of the {half} half")
    hits = {
        name: np.array([[float(r[0] in a), float(any(g in a for g in r))] for r, a in zip(rows, accepted, strict=True)])
        for name, rows in rankings.items()
    }
    for name, found in hits.items():
        table.add(f"{name}: accepted @1", bootstrap(found[:, 0]), "%", 100)
        table.add(f"{name}: accepted @5", bootstrap(found[:, 1]), "%", 100)
    best = max((name for name in hits if name != "the index"), key=lambda name: hits[name][:, 0].mean())
    gain = paired_difference(list(hits["the index"][:, 0]), list(hits[best][:, 0]))
    table.add(f"the index minus {best}, @1", gain, "points", 100)
    quiet, called = [index.none_score(t) for t in neutral], [index.none_score(t) for t in texts]
    table.add("none: AUC of neutral sentences", auc(quiet, called))
    table.add("none: neutral sentences under half", share(score > 0.5 for score in quiet), "%", 100)
    table.details = {
        "missed": [
            {"text": text, "accept": accept, "found": found}
            for text, accept, found in zip(texts, accepted, rankings["the index"], strict=True)
            if found[0] not in accept
        ]
    }
    return table
