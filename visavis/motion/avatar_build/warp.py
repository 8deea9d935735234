"""`Warp`: a head made into another one by a stretch and soft pushes, its face morphs with it.

One face topology and one set of 52 shapes serve every avatar: what a shape moves is carried through the warp, so lids
still close and lips still meet. Frame of the head bone, metres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Warp"]

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Warp:
    """p → scale * (p + sum of Gaussian pushes).

    Attributes:
        scale: (3,) per axis.
        at: (N, 3) centres of the pushes on the unscaled head, metres.
        radius: (N, 3) where a push has fallen to 1/e along each axis, metres.
        move: (N, 3) displacement at the centre, metres.
    """

    scale: Array
    at: Array
    radius: Array
    move: Array

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Warp:
        """From `scale` and `push` (millimetres; `both` mirrors), as in `juno.yaml`."""
        rows = []
        for push in data["push"]:
            row = np.array([push["at"], push["radius"], push["move"]], np.float32) * 1e-3
            rows += [row, row * [[-1, 1, 1], [1, 1, 1], [-1, 1, 1]]] if push.get("both") else [row]
        table = np.array(rows, np.float32)
        return cls(np.array(data["scale"], np.float32), table[:, 0], table[:, 1], table[:, 2])

    def __call__(self, p: ArrayLike) -> Array:
        """(V, 3) → (V, 3)."""
        p = np.asarray(p, np.float32)
        d = (p[:, None] - self.at) / self.radius
        return (self.scale * (p + np.exp(-np.sum(d * d, axis=2)) @ self.move)).astype(np.float32)

    def inverse(self, p: ArrayLike) -> Array:
        """(V, 3) → (V, 3), by iteration; the pushes are gentle, so a few rounds do."""
        goal = np.asarray(p, np.float32) / self.scale
        out = goal
        for _ in range(4):
            out = out + goal - self(out) / self.scale
        return out.astype(np.float32)
