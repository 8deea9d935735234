"""Fit and measure the recall of cards.

The logistic model of `visavis.agent.recall` is fitted on lines to training personas: one row for every fact, 1 if it
answers the line. Measured on dev settings and dev question templates, which the fit never sees.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from importlib import resources
from itertools import islice
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from visavis.agent.recall import FEATURES, RecallModel, features, stems
from visavis.finetune.replies.generate import talks_of_split
from visavis.finetune.replies.worlds import Split

__all__ = ["fit", "measure"]

COMMAND = "python -m visavis.finetune.replies --fit-recall"
FIT_PERSONAS = 360
MEASURE_PERSONAS = 96
TURNS_OF_PERSONA = 10
RIDGE = 1e-3
ASKING = ("known", "greet_known", "follow_up")
DECLINED = ("near", "far", "unknown", "greet_unknown")


def _lines(personas: int, seed: int, split: Split, model: RecallModel) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """(act, (N, F) features, (N,) whether the fact answers) for every line of the user."""
    found = []
    for world, talks, vectors in islice(talks_of_split(seed, split), personas):
        made = 0
        for talk in talks:
            history: list[tuple[str, str]] = []
            for turn in talk:
                facts, rows = features(turn.user, history, world.persona.cards, vectors, model)
                right = np.array([fact in turn.answers for fact in facts], float)
                found.append((turn.act, rows, right))
                history += [("user", turn.user), ("agent", "")]
                made += 1
            if made >= TURNS_OF_PERSONA:
                break
    return found


def _rarity(seed: int) -> tuple[dict[str, float], float]:
    """How rare stems are in the facts of training personas: log of the inverse share, for common ones only."""
    counts: Counter[str] = Counter()
    total = 0
    for world, _, _ in islice(talks_of_split(seed, "train"), 72):
        for fact in world.persona.facts:
            counts.update(stems(fact))
            total += 1
    rare = math.log(total / 2)
    return {stem: round(math.log(total / n), 2) for stem, n in sorted(counts.items()) if n >= 12}, round(rare, 2)


def fit(seed: int) -> None:
    """Fit on training settings and write `visavis/agent/data/recall.json`."""
    idf, rare = _rarity(seed)
    size = len(FEATURES)
    blank = RecallModel(np.zeros(size), 0.0, np.zeros(size), np.ones(size), idf, rare)
    lines = _lines(FIT_PERSONAS, seed, "train", blank)
    rows = np.concatenate([rows for _, rows, _ in lines])
    right = np.concatenate([right for _, _, right in lines])
    mean, scale = rows.mean(0), rows.std(0) + 1e-9
    x = np.concatenate([(rows - mean) / scale, np.ones((len(rows), 1))], 1)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        z = x @ w
        gradient = x.T @ (1 / (1 + np.exp(-np.clip(z, -30, 30))) - right) / len(x) + RIDGE * np.r_[w[:-1], 0] / size
        return float(np.mean(np.logaddexp(0, z) - right * z) + RIDGE / size / 2 * (w[:-1] ** 2).sum()), gradient

    w = minimize(loss, np.zeros(size + 1), jac=True, method="L-BFGS-B").x
    model = replace(blank, weights=w[:-1], bias=float(w[-1]), mean=mean, scale=scale)
    data = {
        "command": COMMAND,
        "seed": seed,
        "lines": len(lines),
        "features": FEATURES,
        "weights": [round(float(v), 4) for v in model.weights],
        "bias": round(model.bias, 4),
        "mean": [round(float(v), 4) for v in mean],
        "scale": [round(float(v), 4) for v in scale],
        "idf_unknown": rare,
        "idf": idf,
    }
    path = Path(str(resources.files("visavis.agent"))) / "data" / "recall.json"
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _auc(high: np.ndarray, low: np.ndarray) -> float:
    """Probability that a value of `high` exceeds one of `low`; NaN if either is empty."""
    if not len(high) or not len(low):
        return math.nan
    order = np.searchsorted(np.sort(low), high, "left") + np.searchsorted(np.sort(low), high, "right")
    return float(order.mean() / 2 / len(low))


def measure(seed: int, split: Split = "dev") -> dict[str, float]:
    """Top-1 and top-5 accuracy, separation of known from unknown (AUC of the best score), calibration error."""
    from visavis.agent.recall import recall_model

    recall_model.cache_clear()
    model = recall_model()
    asked: list[float] = []
    declined: list[float] = []
    near: list[float] = []
    first = fifth = 0
    scores: list[float] = []
    truth: list[float] = []
    for act, rows, right in _lines(MEASURE_PERSONAS, seed + 1000, split, model):
        p = model.probability(rows)
        order = np.argsort(-p, kind="stable")
        if act in ASKING and right.any():
            first += bool(right[order[0]])
            fifth += bool(right[order[:5]].any())
            asked.append(float(p.max()))
        elif act in DECLINED:
            (near if act == "near" else declined).append(float(p.max()))
        if act in (*ASKING, *DECLINED):
            scores.append(float(p[order[0]]))
            truth.append(float(right[order[0]]))
    top, hit = np.array(scores), np.array(truth)
    bins = np.minimum((top * 10).astype(int), 9)
    error = sum(abs(top[bins == b].mean() - hit[bins == b].mean()) * (bins == b).mean() for b in set(bins))
    return {
        "known_questions": len(asked),
        "top_1": round(first / max(1, len(asked)), 3),
        "top_5": round(fifth / max(1, len(asked)), 3),
        "declined_questions": len(declined),
        "near_questions": len(near),
        "auc_known_unknown": round(_auc(np.array(asked), np.array(declined)), 3),
        "auc_known_near": round(_auc(np.array(asked), np.array(near)), 3),
        "known_best_over_half": round(float((np.array(asked) >= 0.5).mean()), 3),
        "unknown_best_over_half": round(float((np.array(declined) >= 0.5).mean()), 3),
        "near_best_over_half": round(float((np.array(near) >= 0.5).mean()), 3),
        "calibration_error": round(float(error), 3),
    }
