"""The anchor part of the gesture index: which word of an utterance its gesture belongs to.

A softmax over the words of an utterance, fitted on the starred words with the gloss' own share of every word's features
(`retrieval/index.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from visavis.retrieval.index import RecallHead, word_features
from visavis.retrieval.layers import WIDTH, Reading
from visavis.retrieval.utterances import Utterance

__all__ = ["auc", "fit_anchor"]

SCALE = 10.0  # of features in the fit: unit vectors are small for L-BFGS


def fit_anchor(
    utterances: Sequence[Utterance], readings: Sequence[Reading], head: RecallHead
) -> tuple[np.ndarray, float]:
    """The common vector (WIDTH,) and the weight of a gloss' own share, from utterances that call for a gesture."""
    words, own, owner, right = [], [], [], []
    for index, (utterance, reading) in enumerate(zip(utterances, readings, strict=True)):
        features = word_features(reading, utterance.text)
        usable = ~np.isnan(features[:, 0])
        words.append(features[usable])
        own.append(features[usable] @ head.weights[head.glosses.index(utterance.gloss)])
        owner.append(np.full(int(usable.sum()), index))
        starred = np.isin(np.arange(len(features)), utterance.anchors)[usable]
        right.append(starred / max(1, starred.sum()))
    x, shares = torch.tensor(np.concatenate(words)), torch.tensor(np.concatenate(own))
    group, target = torch.tensor(np.concatenate(owner)), torch.tensor(np.concatenate(right).astype(np.float32))
    common, mix = torch.zeros(WIDTH, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.LBFGS([common, mix], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        logits = x @ common * SCALE + mix * shares
        total = torch.zeros(len(utterances)).index_add(0, group, logits.exp()).log()
        nll = (total.sum() - (target * logits).sum()) / len(utterances) + 0.01 * common.square().sum()
        nll.backward()
        return nll

    optimiser.step(loss)
    return common.detach().numpy() * SCALE, float(mix.detach())


def auc(score: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve in [0, 1], 0.5 is chance; NaN without both classes."""
    n = int(positive.sum())
    if n in (0, len(positive)):
        return float("nan")
    ranks = np.argsort(np.argsort(score, kind="stable"), kind="stable")
    return float((ranks[positive].sum() - n * (n - 1) / 2) / (n * (len(positive) - n)))
