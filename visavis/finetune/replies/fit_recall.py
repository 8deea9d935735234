"""Fit and measure the recall of cards.

The model of `visavis.agent.recall` is fitted on lines to training personas: one choice for every line, among
the facts and "none of them". Measured on dev settings and dev question templates, which the fit never sees.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from importlib import resources
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

from visavis.agent.recall import FEATURES, Features, RecallModel, features, recall_model, stems
from visavis.finetune.replies.conversation import talks_of_split
from visavis.finetune.replies.worlds import Split

__all__ = ["fit", "measure"]

COMMAND = "python -m visavis.finetune.replies --fit-recall"
FIT_PERSONAS = 360
MEASURE_PERSONAS = 120
TURNS_OF_PERSONA = 10
HIDDEN = 12
DECAY = 1e-2
EPOCHS = 20
RATE = 3e-3
LINES_OF_BATCH = 64
ASKING = ("known", "greet_known", "follow_up")
DECLINED = ("near", "far", "unknown", "greet_unknown")


def _lines(personas: int, seed: int, split: Split, model: RecallModel) -> list[tuple[str, Features, np.ndarray]]:
    """(act, features of N facts, (N,) whether the fact answers) for every line of the user."""
    found = []
    for world, talks, vectors in islice(talks_of_split(seed, split), personas):
        made = 0
        for talk in talks:
            history: list[tuple[str, str]] = []
            for turn in talk:
                seen = features(turn.user, history, world.persona.cards, vectors, model)
                if seen.facts:
                    found.append((turn.act, seen, np.array([fact in turn.answers for fact in seen.facts], np.float32)))
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
    """Fit on training settings and write the data files of `visavis.agent.recall`."""
    idf, rare = _rarity(seed)
    nothing = np.zeros(0)
    blank = RecallModel(nothing, nothing, nothing, nothing, nothing, nothing, idf, rare)
    lines = _lines(FIT_PERSONAS, seed, "train", blank)
    arrays = _learn(lines, seed)
    data = {
        "command": COMMAND,
        "seed": seed,
        "lines": len(lines),
        "features": FEATURES,
        "idf_unknown": rare,
        "idf": idf,
    }
    folder = Path(str(resources.files("visavis.agent"))) / "data"
    (folder / "recall.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    save_file(arrays, folder / "recall.safetensors")


def _padded(
    lines: list[tuple[str, Features, np.ndarray]], mean: np.ndarray, scale: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(L, N, F) rows, (L, N + 1) what is right with "none" last, (L, N + 1) what is there."""
    most = max(len(right) for _, _, right in lines)
    rows = np.zeros((len(lines), most, len(mean)), np.float32)
    right = np.zeros((len(lines), most + 1), np.float32)
    there = np.zeros((len(lines), most + 1), bool)
    for i, (_, seen, answers) in enumerate(lines):
        n = len(answers)
        rows[i, :n] = (seen.rows - mean) / scale
        right[i, :n] = answers
        there[i, :n] = True
    there[:, -1] = True
    right[:, -1] = right.sum(1) == 0
    return torch.tensor(rows), torch.tensor(right), torch.tensor(there)


def _learn(lines: list[tuple[str, Features, np.ndarray]], seed: int) -> dict[str, np.ndarray]:
    """The arrays of `RecallModel`, by AdamW on the likelihood of any right fact, or of none; a falling rate."""
    torch.manual_seed(seed)
    every = np.concatenate([seen.rows for _, seen, _ in lines])
    mean, scale = every.mean(0), every.std(0) + 1e-9
    rows, right, there = _padded(lines, mean, scale)
    hidden, out = torch.nn.Linear(len(FEATURES), HIDDEN), torch.nn.Linear(HIDDEN, 1)
    optimizer = torch.optim.AdamW([*hidden.parameters(), *out.parameters()], lr=RATE, weight_decay=DECAY)
    for epoch in range(EPOCHS):
        optimizer.param_groups[0]["lr"] = RATE * (1 - epoch / EPOCHS)
        order = torch.randperm(len(lines))
        for start in range(0, len(order), LINES_OF_BATCH):
            batch = order[start : start + LINES_OF_BATCH]
            z = out(torch.tanh(hidden(rows[batch]))).squeeze(2)
            z = F.pad(z, (0, 1)).masked_fill(~there[batch], -1e9)
            hit = z.masked_fill(right[batch] == 0, -1e9)
            loss = (torch.logsumexp(z, 1) - torch.logsumexp(hit, 1)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    learnt = {
        "hidden": hidden.weight.T, "hidden_bias": hidden.bias, "out": out.weight[0], "out_bias": out.bias,
    }  # fmt: skip
    arrays = {name: np.ascontiguousarray(value.detach().numpy().astype(np.float32)) for name, value in learnt.items()}
    return arrays | {"mean": mean.astype(np.float32), "scale": scale.astype(np.float32)}


def _auc(high: np.ndarray, low: np.ndarray) -> float:
    """Probability that a value of `high` exceeds one of `low`; NaN if either is empty."""
    if not len(high) or not len(low):
        return math.nan
    order = np.searchsorted(np.sort(low), high, "left") + np.searchsorted(np.sort(low), high, "right")
    return float(order.mean() / 2 / len(low))


def measure(seed: int, split: Split = "dev") -> dict[str, float]:
    """Top-1 and top-5 accuracy, separation of known from unknown (AUC of the best score), calibration error."""
    recall_model.cache_clear()
    model = recall_model()
    asked: list[float] = []
    declined: list[float] = []
    near: list[float] = []
    first = fifth = 0
    scores: list[float] = []
    truth: list[float] = []
    for act, seen, right in _lines(MEASURE_PERSONAS, seed + 1000, split, model):
        p = model.probability(seen)
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
