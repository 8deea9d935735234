"""Fit the recall head of the gesture index, and say how good it is on utterances that it has not seen.

Multinomial logistic regression with an L2 penalty by L-BFGS over MiniLM features (`retrieval/layers.py`); the penalty
is the one whose held-out probabilities are calibrated. The anchor part is a softmax over the words of an utterance,
fitted on the starred words with the own shares of heads that have not seen the utterance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from visavis.retrieval.index import RecallHead, word_features
from visavis.retrieval.layers import WIDTH, Reading, read
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.utterances import NONE, Utterance, cue_words, load_utterances

__all__ = ["FOLDS", "Lesson", "cross_fit", "fit_anchor", "fit_head", "folds_of", "lesson"]

FOLDS = 8
PENALTY = 3e-3
HINT_WEIGHT = 0.3
SCALE = 10.0  # of features in the fit: unit vectors are small for L-BFGS


@dataclass(frozen=True)
class Lesson:
    """Everything the training reads: utterances, their readings, their labels (G is "none"), and hints.

    Hints are what says a gloss without being an utterance: its cue words, and its meaning line in the lexicon.
    """

    utterances: tuple[Utterance, ...]
    readings: list[Reading]
    labels: np.ndarray
    glosses: tuple[str, ...]
    hint_features: np.ndarray
    hint_labels: np.ndarray

    @property
    def features(self) -> np.ndarray:
        """(N, WIDTH)."""
        return np.stack([one.features for one in self.readings])


def lesson(utterances: Sequence[Utterance] | None = None) -> Lesson:
    """Read the utterances (all authored ones by default) and the cue words with the model."""
    given = tuple(load_utterances() if utterances is None else utterances)
    glosses = tuple(sorted({one.gloss for one in given} - {NONE}))
    labels = np.array([len(glosses) if one.gloss == NONE else glosses.index(one.gloss) for one in given])
    hints = [(cue, gloss) for gloss, words in cue_words().items() for cue in words]
    hints += [(gesture.meaning, gloss) for gloss, gesture in load_lexicon().items()]
    hints = [(hint, gloss) for hint, gloss in hints if gloss in glosses]
    hint_features = np.stack([one.features for one in read([hint for hint, _ in hints])])
    hint_labels = np.array([glosses.index(gloss) for _, gloss in hints])
    return Lesson(given, read([one.text for one in given]), labels, glosses, hint_features, hint_labels)


def folds_of(labels: np.ndarray, folds: int = FOLDS, seed: int = 0) -> np.ndarray:
    """(N,) the fold of each utterance, each class spread evenly."""
    rng = np.random.default_rng(seed)
    found = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        found[rng.permutation(places)] = np.arange(len(places)) % folds
    return found


def _regress(features: np.ndarray, labels: np.ndarray, weight: np.ndarray, classes: int) -> tuple[np.ndarray, ...]:
    """Weights (classes, WIDTH) and bias (classes,) of the penalised regression."""
    mean = features.mean(0)
    x, y, w = torch.tensor(features - mean) * SCALE, torch.tensor(labels), torch.tensor(weight / weight.sum())
    weights = torch.zeros(classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights, bias], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        each = torch.nn.functional.cross_entropy(x @ weights.T + bias, y, reduction="none")
        total = (each * w).sum() + PENALTY * weights.square().sum()
        total.backward()
        return total

    optimiser.step(loss)
    final = weights.detach().numpy() * SCALE
    return final, bias.detach().numpy() - final @ mean


def fit_head(data: Lesson, chosen: np.ndarray, anchor: np.ndarray | None = None, mix: float = 0.0) -> RecallHead:
    """A head from the utterances where `chosen` (N,) is true."""
    features = np.concatenate([data.features[chosen], data.hint_features]).astype(np.float32)
    labels = np.concatenate([data.labels[chosen], data.hint_labels])
    weight = np.concatenate([np.ones(int(chosen.sum())), np.full(len(data.hint_labels), HINT_WEIGHT)]).astype(
        np.float32
    )
    weights, bias = _regress(features, labels, weight, len(data.glosses) + 1)
    return RecallHead(
        data.glosses,
        weights.astype(np.float16).astype(np.float32),
        bias.astype(np.float32),
        np.zeros(WIDTH, np.float32) if anchor is None else anchor,
        mix,
    )


def cross_fit(data: Lesson, folds: np.ndarray) -> list[RecallHead]:
    """One head per fold, trained on all other folds."""
    return [fit_head(data, folds != fold) for fold in range(int(folds.max()) + 1)]


def fit_anchor(
    data: Lesson, folds: np.ndarray, heads: Sequence[RecallHead], keep: np.ndarray
) -> tuple[np.ndarray, float]:
    """The common vector (WIDTH,) and the weight of a gloss' own share, from the utterances where `keep` is true."""
    words, own, owner, right = [], [], [], []
    count = 0
    for index in np.flatnonzero(keep & (data.labels < len(data.glosses))):
        utterance = data.utterances[index]
        features = word_features(data.readings[index], utterance.text)
        usable = ~np.isnan(features[:, 0])
        words.append(features[usable])
        own.append(features[usable] @ heads[folds[index]].weights[data.labels[index]])
        owner.append(np.full(int(usable.sum()), count))
        starred = np.isin(np.arange(len(features)), utterance.anchors)[usable]
        right.append(starred / max(1, starred.sum()))
        count += 1
    x, shares = torch.tensor(np.concatenate(words)), torch.tensor(np.concatenate(own))
    group, target = torch.tensor(np.concatenate(owner)), torch.tensor(np.concatenate(right).astype(np.float32))
    common, mix = torch.zeros(WIDTH, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.LBFGS([common, mix], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        logits = x @ common * SCALE + mix * shares
        total = torch.zeros(count).index_add(0, group, logits.exp()).log()
        nll = (total.sum() - (target * logits).sum()) / count + 0.01 * common.square().sum()
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
