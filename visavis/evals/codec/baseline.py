"""A plain codebook: k-means over whole steps of a part, every step coded for itself, no network.

It has the parts, the step and the number of codes of the codec that it stands beside, and learns from the same corpus.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from visavis.finetune.codec import kmeans
from visavis.motion.motion import FRAMES_PER_STEP, Motion
from visavis.motion.skeleton import default_skeleton
from visavis.refiner.sampler import with_features
from visavis.tokenizers.codec import network_of, part_bones, part_features, rotations_from_6d

__all__ = ["PlainCodebook"]

_ROWS = 12_000
_ROUNDS = 10


class PlainCodebook:
    """Nearest neighbours among k centres of (frames of a step × 6D rotations), one book for both sides."""

    def __init__(self, parts: Sequence[str], size: int, features: NDArray[np.float32], seed: int = 0) -> None:
        """Learn from (N, T, 264) windows."""
        self.parts, self.size = tuple(parts), size
        rng = np.random.default_rng(seed)
        steps = features[:, : features.shape[1] // FRAMES_PER_STEP * FRAMES_PER_STEP].reshape(-1, FRAMES_PER_STEP, 264)
        steps = steps[rng.permutation(len(steps))[:_ROWS]]
        turned = with_features(Motion.rest(len(steps) * FRAMES_PER_STEP), steps.reshape(-1, 264)).rotations
        rows: dict[str, list[NDArray[np.float32]]] = {}
        for part in self.parts:
            rows.setdefault(network_of(part), []).append(self._steps(turned, part))
        self.books = {name: self._centres(np.concatenate(found), seed) for name, found in rows.items()}

    def _centres(self, rows: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
        torch.manual_seed(seed)
        rows = rows[np.random.default_rng(seed).permutation(len(rows))[:_ROWS]]
        return kmeans(torch.from_numpy(rows), self.size, cosine=False, rounds=_ROUNDS).numpy()  # type: ignore[no-any-return]

    @staticmethod
    def _steps(turned: NDArray[np.float32], part: str) -> NDArray[np.float32]:
        """(S, 4 * K * 6) of (4 S, J, 4)."""
        return part_features(turned, part, default_skeleton()).reshape(len(turned) // FRAMES_PER_STEP, -1)

    def __call__(self, motion: Motion) -> tuple[Motion, NDArray[np.int64]]:
        """There and back: the decoded motion, and codes (S, P)."""
        missing = -len(motion) % FRAMES_PER_STEP
        turned = np.concatenate([motion.rotations, np.repeat(motion.rotations[-1:], missing, axis=0)])
        out, columns = turned.copy(), []
        for part in self.parts:
            book = self.books[network_of(part)]
            steps = self._steps(turned, part)
            codes = (steps @ book.T - 0.5 * (book**2).sum(axis=-1)).argmax(axis=-1)  # the nearest centre
            made = book[codes].reshape(len(turned), -1).astype(np.float32)
            out[:, part_bones(part, motion.skeleton)] = rotations_from_6d(made, part)
            columns.append(codes.astype(np.int64))
        return Motion(out[: len(motion)], motion.root_m, None, motion.skeleton), np.stack(columns, axis=-1)
