"""Eighty unseen sentences, two per gloss: does ACT make the right gesture, at the right word?

Beside it what retrieval alone would show, with its own "none", and chance.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from visavis import safe_yaml
from visavis.agent.clauses import sentences_of, split_clauses
from visavis.agent.native import param_values
from visavis.agent.offers import offered, shipped_reader
from visavis.agent.planner import Cancel, Planner
from visavis.evals.first_light.table import Table, data_file, progress, share
from visavis.metrics.bootstrap import Estimate, paired_difference
from visavis.retrieval.library import Library, Wanted
from visavis.tokenizers.turn_language import ActPrompt

__all__ = ["Made", "act", "measure"]


@dataclass(frozen=True)
class Made:
    """One gesture of a text: its gloss, the place of its word in the text, and the score that retrieval gave it."""

    gloss: str
    word: int
    score: float


def act(planner: Planner, library: Library, text: str, bias: float = 0.0) -> list[Made]:
    """The gestures of a text, sentence by sentence as in a turn, in order."""
    made: list[Made] = []
    before = 0
    felt = planner.feel(ActPrompt(text, None, library.candidates(text)), cancel=Cancel())
    clauses = split_clauses(text)
    for number, span in enumerate(sentences_of(clauses)):
        sentence = " ".join(clauses[i] for i in span)
        offer = offered(library, sentence, Wanted(emotion=felt), reader=shipped_reader)
        found = offer.candidates
        params = {c.text: tuple(param_values(library.params(c.text))) for c in found}
        plan = planner.act(
            ActPrompt(sentence, felt, found),
            params=params,
            seed=number,
            cancel=Cancel(),
            chances=offer.chances,
            called=offer.called,
            bias=bias,
        )
        scores = {c.text: c.score for c in found}
        made += [Made(tag.gloss, before + tag.word, scores.get(tag.gloss, 0.0)) for tag in plan.tags]
        before += len(sentence.split())
    return made


def _bare(word: str) -> str:
    return re.sub(r"[^\w']", "", word).strip("'").lower()


def measure(planner: Planner, library: Library, seed: int = 0) -> Table:
    """All eighty sentences. The gesture @1 of a text is the one of the best score; the first among equals."""
    index = library.index
    assert index is not None, "the shipped library has an index"
    rows = safe_yaml.load(data_file("gesture_sentences.yaml").read_text("utf-8"))
    rng = np.random.default_rng(seed)
    glosses = list(index.glosses)
    chance = []
    hits: dict[str, list[float]] = {name: [] for name in ("act", "accepted", "any", "made", "top", "none", "five")}
    anchored, near, details = [], [], []
    for row in progress(rows, "sentences"):
        accept, words = row["accept"], row["text"].split()
        made = act(planner, library, row["text"])
        best = max(made, key=lambda g: g.score) if made else None
        ranked = [c.text for c in index.candidates(row["text"], k=5)]
        silent = index.none_score(row["text"]) > index.candidates(row["text"], k=1)[0].score
        hits["made"].append(bool(made))
        hits["act"].append(best is not None and best.gloss == accept[0])
        hits["accepted"].append(best is not None and best.gloss in accept)
        hits["any"].append(any(g.gloss in accept for g in made))
        hits["top"].append(ranked[0] in accept)
        hits["none"].append(ranked[0] in accept and not silent)
        hits["five"].append(accept[0] in ranked)
        chance.append(float(np.mean([glosses[i] in accept for i in rng.integers(0, len(glosses), 200)])))
        right = next((g for g in made if g.gloss in accept), None)
        if right is not None:
            word = _bare(words[min(right.word, len(words) - 1)])
            anchors = [_bare(anchor) for anchor in row["anchors"]]
            anchored.append(word == anchors[0])
            near.append(word in anchors)
        details.append(
            {
                "text": row["text"], "accept": accept, "retrieved": ranked,
                "made": [[g.gloss, words[min(g.word, len(words) - 1)]] for g in made],
            }
        )  # fmt: skip
    table = Table("The right gesture on 80 unseen sentences")
    table.add("ACT: a gesture is made", share(hits["made"]), "%", 100)
    table.add("ACT: accepted gesture @1", share(hits["accepted"]), "%", 100)
    table.add("ACT: the best gesture @1", share(hits["act"]), "%", 100)
    table.add("ACT: accepted gesture among those made", share(hits["any"]), "%", 100)
    table.add("retrieval alone: accepted @1", share(hits["top"]), "%", 100)
    table.add("retrieval alone with its none: accepted @1", share(hits["none"]), "%", 100)
    table.add("retrieval alone: the best among five", share(hits["five"]), "%", 100)
    mean = float(np.mean(chance))
    table.add("random gloss: accepted @1", Estimate(mean, mean, mean, len(chance)), "%", 100)
    table.add("ACT minus retrieval with its none", paired_difference(hits["accepted"], hits["none"]), "points", 100)
    table.add("anchor, of accepted gestures: the best word", share(anchored), "%", 100)
    table.add("anchor, of accepted gestures: an accepted word", share(near), "%", 100)
    table.details = {"sentences": details}
    return table
