"""Aspects of a gesture: small groups of numbers which say one thing each, to compare one by one.

They follow the parameters of sign phonology (Stokoe 1960; Battison 1978): hand shape, orientation, place, path; and
head and trunk, which gestures use as much. Two ways to make one gesture often share most aspects and differ wholly in
one or two, so each is compared for itself and the logarithm of a distance counts, as under a Cauchy distribution:
what differs wholly costs hardly more than what differs. All is of the busier hand, as a right hand; nothing here
knows of glosses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis.motion.motion import FPS
from visavis.retrieval.reading import HAND, MOUTH, TIPS, Reading, moments

__all__ = ["ASPECTS", "AspectIndex", "aspects_of", "log_distances"]

Array = NDArray[np.float32]

# What is compared and how many numbers it has; "stroke" is from ready to the end of the stroke, "whole" all movement.
ASPECTS: Final = {
    "stroke fingers": 3, "stroke way of the palm": 4, "stroke place": 3, "stroke shape": 20,
    "stroke change of shape": 40, "stroke tips to mouth": 5, "stroke reach of head": 6,
    "whole size": 2, "whole axes": 6, "whole fingers": 3, "whole palm": 3, "whole turn of palm": 4,
    "whole roundness": 3, "whole shape": 20, "whole change of shape": 40, "whole tips to mouth": 5,
    "whole head": 3, "whole reach of head": 6, "whole way of head": 3, "whole trunk": 3, "whole reach of trunk": 6,
    "lasting": 3,
}  # fmt: skip
_SIZES: Final = np.array(list(ASPECTS.values()), np.float32)
_STARTS: Final = np.cumsum([0, *list(ASPECTS.values())[:-1]])
_NEAR: Final = 0.1  # of a distance: nearer is the same
_UPPER: Final = np.triu_indices(3)
_SMALL_M: Final = 0.02  # below which a path is noise


def _hand(frames: Array, some: Array) -> dict[str, Array]:
    """Of one hand: (T, CHANNELS) at full rate and (M, CHANNELS) at moments."""
    hand, mouth = some[:, :HAND], some[:, 2 * HAND + 6 :] + MOUTH
    wrist, palm, fingers = hand[:, :3], hand[:, 3:6], hand[:, 6:9]
    tips = hand[:, TIPS].reshape(-1, 5, 3)
    gaps = [np.linalg.norm(tips[:, a] - tips[:, b], axis=1) for a, b in ((0, 1), (0, 2), (1, 2), (2, 3), (3, 4))]
    reach = np.linalg.norm(tips - wrist[:, None], axis=-1)
    shape = np.concatenate([0.6 * hand[:, 9:19], 12 * reach, 10 * np.stack(gaps, 1)], axis=1)
    steps = np.diff(wrist, axis=0)
    speed = np.linalg.norm(steps, axis=1, keepdims=True)
    ahead, share = steps / np.maximum(speed, 1e-5), speed / (speed.sum() + _SMALL_M)
    along, pointing = ((ahead * way[1:]).sum(1, keepdims=True) * share for way in (palm, fingers))
    moved = np.diff(frames[:, :3], axis=0)
    way = float(np.linalg.norm(moved, axis=1).sum())
    path = frames[:, :3] - frames[:, :3].mean(0)
    size = float(np.sqrt((path**2).sum(1).mean()))
    spread = moved.T @ moved
    around = np.cross((path[1:] + path[:-1]) / 2, moved).sum(0)
    turned = np.linalg.norm(np.diff(frames[:, 3:6], axis=0), axis=1).sum()
    return {
        "fingers": fingers.mean(0), "palm": palm.mean(0), "place": 4 * wrist[-1], "shape": shape.mean(0),
        "change of shape": np.concatenate([shape[-1] - shape[0], shape.max(0) - shape.min(0)]),
        "way of the palm": np.array([along.sum(), np.abs(along).sum(), pointing.sum(), np.abs(pointing).sum()]),
        "tips to mouth": 6 * np.minimum(np.linalg.norm(tips - mouth[:, None], axis=-1), 0.5).min(0),
        "size": np.log([size + _SMALL_M, way + 0.05]), "roundness": around / (size * way + 1e-3),
        "axes": way / (way + 0.03) * (spread / (np.trace(spread) + 1e-5))[_UPPER],
        "turn of palm": np.append(palm[-1] - palm[0], turned),
    }  # fmt: skip


def _core(frames: Array, some: Array) -> dict[str, Array]:
    """Of head and trunk."""
    head, trunk = 3 * some[:, 2 * HAND : 2 * HAND + 3], 3 * some[:, 2 * HAND + 3 : 2 * HAND + 6]
    way = np.abs(np.diff(frames[:, 2 * HAND : 2 * HAND + 3], axis=0)).sum(0)
    return {
        "head": head.mean(0), "trunk": trunk.mean(0), "way of head": np.log(0.05 + way),
        "reach of head": np.append(head.min(0), head.max(0)), "reach of trunk": np.append(trunk.min(0), trunk.max(0)),
    }  # fmt: skip


def aspects_of(read: Reading) -> Array:
    """(A,) float32: the `ASPECTS` one after the other, each in units in which its numbers are comparable."""
    p = read.phases
    stroke = p.ready_s, max(p.stroke_end_s, p.stroke_s + 0.05)
    whole = p.start_s, max(p.end_s, p.start_s + 0.15)
    lasting = [p.stroke_end_s - p.ready_s, p.end_s - p.start_s, p.stroke_end_s - p.stroke_s]
    found = {"lasting": np.log(0.1 + np.array(lasting))}
    for name, (from_s, to_s) in (("stroke", stroke), ("whole", whole)):
        first = min(round(from_s * FPS), len(read.table) - 4)
        frames = read.table[first : max(round(to_s * FPS), first + 3) + 1]
        some = moments(read.table, from_s, to_s)
        values = _hand(frames, some) | _core(frames, some)
        found.update({f"{name} {aspect}": value for aspect, value in values.items()})
    return np.concatenate([found[name] for name in ASPECTS]).astype(np.float32)


def log_distances(one: Array, others: Array) -> Array:
    """(..., K) how far two gestures are apart in each aspect, of whitened (..., A) that broadcast: log, no unit."""
    apart = np.add.reduceat(np.square(one - others), _STARTS, axis=-1) / _SIZES
    return np.asarray(np.log(apart + _NEAR), np.float32)


@dataclass(frozen=True, eq=False)
class AspectIndex:
    """Variants of the lexicon to compare with, aspect by aspect.

    whiten (A, A): to units in which ways to make one gesture differ by about 1, within each aspect; weights (K,) what
    each aspect counts, not negative; rows (N, A), whitened, with the gloss of each.
    """

    whiten: Array
    weights: Array
    rows: Array
    glosses: tuple[str, ...]

    def log_odds(self, aspects: Array) -> Array:
        """(N,) of each row for one gesture (A,), up to a constant."""
        return np.asarray(-log_distances(aspects @ self.whiten, self.rows) @ self.weights, np.float32)
