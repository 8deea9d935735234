"""`fitted`: a motion made on one skeleton, on an avatar of other proportions. What draws and writes avatars asks here.

Knows no retargeting of its own: `visavis.motion.retarget` does it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from visavis.motion.avatar import Avatar
from visavis.motion.motion import Motion
from visavis.motion.skeleton import Skeleton

__all__ = ["fitted", "same_skeleton"]


def same_skeleton(a: Skeleton, b: Skeleton) -> bool:
    """Whether two skeletons have the same bones at the same places (to 0.01 mm)."""
    if a is b:
        return True
    return (
        a.names == b.names and np.array_equal(a.parents, b.parents) and np.allclose(a.offsets_m, b.offsets_m, 0, 1e-5)
    )


def fitted(motion: Motion, avatar: Avatar) -> Motion:
    """The motion on the avatar's skeleton: itself where it is made for it, retargeted otherwise.

    The last few results are remembered, so drawing a motion frame by frame retargets it once.
    """
    if motion.skeleton is avatar.skeleton:
        return motion
    if same_skeleton(motion.skeleton, avatar.skeleton):
        return replace(motion, skeleton=avatar.skeleton)
    return _retargeted(motion, avatar.skeleton)


@lru_cache(maxsize=4)
def _retargeted(motion: Motion, skeleton: Skeleton) -> Motion:
    from visavis.motion.retarget import retarget

    return retarget(motion, skeleton)
