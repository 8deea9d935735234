"""Where hands, feet and head are in a skeleton whose names say nothing: from its tree and its rest pose.

Needs a rest pose that looks like a body: upright along Y, the head above, the feet below, the arms out or down.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from visavis.motion.skeleton import Skeleton

__all__ = ["Anchors", "anchors_by_shape", "split_limb"]


@dataclass(frozen=True)
class Anchors:
    """Joints found by shape; `notes` say what was assumed."""

    head: int | None = None
    hands: dict[str, int] = field(default_factory=dict)
    feet: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def _path(skeleton: Skeleton, joint: int) -> list[int]:
    out = []
    while joint >= 0:
        out.append(joint)
        joint = int(skeleton.parents[joint])
    return out[::-1]


def _end(skeleton: Skeleton, leaf: int, shared: set[int]) -> int:
    """The joint that carries several chains on the way to a leaf (a palm, a foot), else the leaf itself."""
    counts = np.bincount(skeleton.parents[skeleton.parents >= 0], minlength=len(skeleton))
    own = [joint for joint in _path(skeleton, leaf) if joint not in shared]
    palms = [joint for joint in own[2:] if counts[joint] >= 3]
    return palms[0] if palms else leaf


def anchors_by_shape(skeleton: Skeleton) -> Anchors:
    """Hands are the joints farthest to the sides, feet the lowest of two chains, the head the highest leaf between."""
    place: NDArray[np.floating] = skeleton.rest_positions_m.astype(np.float64)
    parents = set(int(p) for p in skeleton.parents)
    leaves = [i for i in range(len(skeleton)) if i not in parents]
    if len(leaves) < 3:
        return Anchors()
    height = float(np.ptp(place[:, 1])) or 1.0
    low = min(leaves, key=lambda i: place[i, 1])
    low_path = set(_path(skeleton, low))

    # The other foot: as low, and on a chain of its own whose branching joint is high above.
    def own_top(leaf: int) -> float:
        return max((float(place[j, 1]) for j in _path(skeleton, leaf) if j not in low_path), default=-np.inf)

    floor = float(place[low, 1])
    others = [i for i in leaves if place[i, 1] < floor + 0.12 * height and own_top(i) > floor + 0.3 * height]
    if not others:
        return Anchors(notes=("no second leg was found",))
    other = max(others, key=lambda i: float(np.linalg.norm((place[i] - place[low])[[0, 2]])))
    shared = low_path & set(_path(skeleton, other))
    feet = [_ankle(skeleton, leaf, shared) for leaf in (low, other)]
    across = place[feet[0]] - place[feet[1]]
    across[1] = 0.0
    across /= np.linalg.norm(across) or 1.0
    centre = (place[feet[0]] + place[feet[1]]) / 2
    side = (place - centre) @ across
    legs = {j for leaf in (low, other) for j in _path(skeleton, leaf) if j not in shared}
    upper = [i for i in leaves if i not in legs and place[i, 1] > centre[1] + 0.25 * height]
    middle = [i for i in upper if abs(side[i]) < 0.12 * height]
    if not middle or len(upper) < 3:
        return Anchors(notes=("no head or no arms were found",))
    crown = max(middle, key=lambda i: place[i, 1])
    ends = [max(upper, key=lambda i: side[i]), min(upper, key=lambda i: side[i])]
    trunk = set(_path(skeleton, crown))
    hands = [_end(skeleton, leaf, trunk) for leaf in ends]
    head = _head(skeleton, crown, [*ends])
    toes = (place[low] - place[feet[0]]) + (place[other] - place[feet[1]])
    toes[1] = 0.0
    notes: tuple[str, ...] = ()
    if np.linalg.norm(toes) > 0.02 * height:
        left = np.cross([0.0, 1.0, 0.0], toes)
    else:
        left, notes = np.array([1.0, 0.0, 0.0]), ("the feet have no toes: taken to face +Z, left is +X",)
    first = "left" if float(across @ left) > 0 else "right"
    second = "right" if first == "left" else "left"
    return Anchors(head, {first: hands[0], second: hands[1]}, {first: feet[0], second: feet[1]}, notes)


def _ankle(skeleton: Skeleton, leaf: int, shared: set[int]) -> int:
    """The third joint of a leg; the leaf where there are only three."""
    own = [joint for joint in _path(skeleton, leaf) if joint not in shared]
    if len(own) <= 3:
        return own[-1]
    _, lower = split_limb(skeleton, own, None, end=3)
    return own[lower + 1] if lower + 1 < len(own) else own[-1]


def _head(skeleton: Skeleton, crown: int, hands: list[int]) -> int:
    """The first joint above the arms that carries the crown and lies in the upper third of neck and head."""
    arms = {joint for hand in hands for joint in _path(skeleton, hand)}
    own = [joint for joint in _path(skeleton, crown) if joint not in arms]
    if len(own) <= 1:
        return crown
    place = skeleton.rest_positions_m
    bottom, top = float(place[own[0], 1]), float(place[own[-1], 1])
    if len(own) == 2 and skeleton.names[own[1]] not in skeleton.tips_m and top - bottom < 1e-6:
        return own[0]
    # neck → head, or neck → head → crown: the crown's own joint is farther from the head than the head from the neck.
    if len(own) >= 3 and (top - float(place[own[-2], 1])) > 0.9 * (float(place[own[-2], 1]) - bottom):
        return own[-2]
    return own[-1]


def split_limb(
    skeleton: Skeleton, chain: list[int], lower: int | None = None, end: int | None = None
) -> tuple[int, int]:
    """Places in `chain` of the upper and the lower bone: two long parts of about the same length before the end.

    Args:
        skeleton: the body.
        chain: joints from the trunk to hand or foot.
        lower: place of the lower bone, where it is known.
        end: for chains that go on (a foot's toes): the last place of the hand or foot to consider; None for the last.
    """
    place = skeleton.rest_positions_m[chain].astype(np.float64)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(place, axis=0), axis=1))])
    best, answer = np.inf, (0, 1)
    for last in range(2, len(chain)) if end is not None else [len(chain) - 1]:
        for low in range(1, last) if lower is None else [lower]:
            for up in range(low):
                first, second = length[low] - length[up], length[last] - length[low]
                if min(first, second) <= 0:
                    continue
                # Alike in length, and as much of the whole limb as possible.
                cost = abs(float(np.log(first / second))) + 1.5 * (1.0 - (first + second) / length[-1])
                if cost < best:
                    best, answer = cost, (up, low)
    return answer
