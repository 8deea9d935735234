"""Sequences of ids that a model may write, as a tree with what speaks for each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from visavis.agent.engine import Floats, Ids

__all__ = ["Trie"]


class Trie:
    """Sequences of ids, walked one id at a time; a node is an int, 0 the root.

    `best` holds for every node the highest of the `weights` of the sequences that go through it.
    """

    def __init__(self, sequences: Sequence[Sequence[int]], weights: Sequence[float] = ()) -> None:
        self.children: list[dict[int, int]] = [{}]
        self.ends: list[bool] = [False]
        self.best: list[float] = [-np.inf]
        for number, sequence in enumerate(sequences):
            weight = weights[number] if len(weights) else 0.0
            node = 0
            for id_ in sequence:
                if id_ not in self.children[node]:
                    self.children[node][id_] = len(self.children)
                    self.children.append({})
                    self.ends.append(False)
                    self.best.append(-np.inf)
                node = self.children[node][id_]
                self.best[node] = max(self.best[node], weight)
            self.ends[node] = True

    def next(self, node: int) -> list[int]:
        """Ids that go on from here."""
        return list(self.children[node])

    def step(self, node: int, id_: int) -> int:
        """The node after `id_`."""
        return self.children[node][id_]

    def weigh(self, node: int, ids: Ids, logits: Floats) -> Floats:
        """The logits (n,) of `ids` (n,) plus the best weight behind each; ids that leave the trie gain nothing."""
        children = self.children[node]
        weights = [self.best[children[int(id_)]] if int(id_) in children else 0.0 for id_ in ids]
        return (logits + np.array(weights)).astype(np.float32) if len(set(weights)) > 1 else logits
