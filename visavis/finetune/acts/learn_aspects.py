"""What each aspect of a gesture counts when `describe` compares, learnt from variants of one gloss.

Each variant is asked as if it were unknown: its own row is hidden, and the weights shall rank a sibling's above the
rows of all other glosses (softmax over glosses, Adam, an L1 penalty). There are as many weights as aspects, shared by
all glosses, so a few hundred siblings are enough; a metric over all features could not be learnt from as many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from visavis.retrieval.aspects import ASPECTS, AspectIndex, log_distances

__all__ = ["fit_aspects", "means"]

Array = NDArray[np.float32]
Integers = NDArray[np.int64]

BETWEEN_VARIANTS: Final = 0.3  # how much what differs between variants counts beside what differs between people
SHRINK: Final = 0.15  # of the variance within an aspect, towards the same in all directions
STEPS: Final = 150
BATCH: Final = 96
RATE: Final = 0.02
SPARSITY: Final = 0.01
FIRST: Final = 0.03  # of all weights at the beginning
HIDDEN: Final = -1e4


def means(rows: Array, label: Integers) -> Array:
    """(L, A) of rows (N, A), one a label; of a label that nothing has, zeros."""
    out = np.zeros((label.max() + 1, rows.shape[1]), np.float32)
    np.add.at(out, label, rows)
    return np.asarray(out / np.maximum(np.bincount(label), 1)[:, None], np.float32)


def _whiten(rows: Array, label: Integers, variant: Integers) -> Array:
    """(A, A), a block an aspect: after it, performances of one gloss vary by 1 in every direction."""
    middles = means(rows, variant)
    of = np.zeros(len(middles), np.int64)
    of[variant] = label
    inside, apart = rows - middles[variant], middles - means(middles, of)[of]
    free = max(len(apart) - len(set(of.tolist())), 1)
    out = np.zeros((rows.shape[1],) * 2, np.float32)
    start = 0
    for size in ASPECTS.values():
        here = slice(start, start + size)
        within = inside[:, here].T @ inside[:, here] / len(rows)
        within += BETWEEN_VARIANTS * apart[:, here].T @ apart[:, here] / free
        even = np.trace(within) / size + 1e-6
        within = (1 - SHRINK) * within + SHRINK * even * np.eye(size)
        values, vectors = np.linalg.eigh(within)
        out[here, here] = vectors / np.sqrt(values)
        start += size
    return out


def fit_aspects(
    aspects: Array,
    label: Integers,
    variant: Integers,
    plain: NDArray[np.bool_],
    other_head: NDArray[np.bool_],
    names: Sequence[str],
) -> AspectIndex:
    """Rows of the plain performances, and weights by asking for the siblings of the others.

    Args:
        aspects: (N, A) of performances, as `aspects_of` gives them.
        label: (N,) which of `names` each is.
        variant: (N,) which variant, counted over all glosses.
        plain: (N,) whether it becomes a row; a variant has one such performance.
        other_head: (N,) whether head and trunk are of another gesture: asked, but no way to make this one.
        names: of the glosses.
    """
    whiten = _whiten(aspects[~other_head], label[~other_head], variant[~other_head])
    rows = aspects @ whiten
    here, asked = np.flatnonzero(plain), np.flatnonzero(~plain)
    own = variant[asked][:, None] == variant[here]
    some = ((label[asked][:, None] == label[here]) & ~own).any(1)
    asked, own = asked[some], own[some]
    glosses = tuple(names[i] for i in label[here])
    if not len(asked):
        return AspectIndex(whiten, np.full(len(ASPECTS), FIRST, np.float32), rows[here], glosses)
    apart = np.stack([log_distances(rows[i], rows[here]) for i in asked])
    spread = apart.std((0, 1)) + 1e-6
    x, hidden = torch.from_numpy(apart / spread), torch.from_numpy(own)
    goal, of = torch.from_numpy(label[asked]), torch.from_numpy(label[here])
    torch.manual_seed(0)
    weights = torch.full((len(ASPECTS),), FIRST, requires_grad=True)
    adam = torch.optim.Adam([weights], RATE)
    for step in range(STEPS):
        for group in adam.param_groups:
            group["lr"] = RATE * (1 - step / STEPS)
        some_of = torch.randint(len(x), (BATCH,))
        odds = (-x[some_of] @ weights).masked_fill(hidden[some_of], HIDDEN)
        best = torch.full((BATCH, len(names)), HIDDEN).scatter_reduce(1, of.expand(BATCH, -1), odds, "amax")
        loss = torch.nn.functional.cross_entropy(best, goal[some_of]) + SPARSITY * weights.sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
        with torch.no_grad():
            weights.clamp_(min=0)
    return AspectIndex(whiten, np.asarray(weights.detach().numpy() / spread, np.float32), rows[here], glosses)
