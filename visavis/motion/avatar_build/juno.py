"""Juno, the second avatar: 1.47 m and broad with short limbs, curly hair and glasses, in dungarees over a T-shirt.

Numbers are in `juno.yaml`; clothes and limbs in `juno_body.py`, what the head wears in `juno_head.py`.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import yaml

from visavis.motion.avatar import Material
from visavis.motion.avatar_build.design import Design
from visavis.motion.avatar_build.warp import Warp
from visavis.motion.skeleton import Skeleton, default_skeleton

__all__ = ["hand_scale", "juno", "juno_skeleton", "juno_warp"]


@lru_cache(maxsize=1)
def _data() -> dict[str, Any]:
    return yaml.safe_load((files("visavis.motion.avatar_build") / "juno.yaml").read_text())


def hand_scale() -> np.ndarray:
    """(3,) the hand's size beside the default one's: along the fingers, through the palm, across it."""
    return np.array(_data()["hand"], np.float32)


def juno_warp() -> Warp:
    """How the first avatar's head becomes this one's."""
    return Warp.from_data(_data()["head"])


@lru_cache(maxsize=1)
def juno_skeleton() -> Skeleton:
    """The bones of the default skeleton, with other lengths: trunk 0.93, legs 0.79, arms 0.82 of its own."""
    base, warp, given = default_skeleton(), juno_warp(), _data()["skeleton"]
    offsets = base.offsets_m.copy()
    flip = np.array([-1, 1, 1], np.float32)
    hand = {side: base.index(f"{side}Hand") for side in ("left", "right")}
    for i, name in enumerate(base.names):
        left = "left" + name[5:] if name.startswith("right") else name
        if left in given:
            offsets[i] = np.array(given[left], np.float32) * (flip if left != name else 1)
        elif base.parents[i] == base.index("head"):
            offsets[i] = warp(base.offsets_m[i][None])[0]
        elif _under(base, i, hand.values()):
            offsets[i] = base.offsets_m[i] * hand_scale()
    tips = {name: tip * (1 if name.endswith("Toes") else hand_scale()) for name, tip in base.tips_m.items()}
    tips["head"] = warp(base.tips_m["head"][None])[0]
    tips = {name: tip.astype(np.float32) for name, tip in tips.items()}
    girth = {bone: np.array(size, np.float32) for bone, size in _data()["girth"].items()}
    return Skeleton(base.names, base.parents, offsets, tips, girth)


def _under(skeleton: Skeleton, bone: int, above: Any) -> bool:
    """Whether a bone hangs, at any depth, on one of others."""
    parent = int(skeleton.parents[bone])
    return parent >= 0 and (parent in above or _under(skeleton, parent, above))


def juno() -> Design:
    """The plan of the second avatar."""
    from visavis.motion.avatar_build import juno_body, juno_head
    from visavis.motion.avatar_build.head import head_parts

    palette = tuple(Material(name, (r, g, b), rough) for name, (r, g, b, rough) in _data()["palette"].items())
    return Design(
        skeleton=juno_skeleton(),
        palette=palette,
        head=lambda: head_parts([juno_head.curls(), juno_head.glasses()]),
        warp=juno_warp(),
        body=juno_body.body_parts,
        body_field=juno_body.body_field,
    )
