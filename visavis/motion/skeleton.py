"""The skeleton: the VRM 1.0 humanoid, 55 bones in a pinned order, T-pose, metres, Y up, facing +Z, left is +X.

Rest rotations are the identity, so a bone's rotation is relative to its parent and zero means T-pose.
Source: VRMC_vrm-1.0 (humanoid bones); the proportions are those of our default avatar (`data/vrm_skeleton.json`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["ARM_BONES", "CORE_BONES", "FINGERS", "LEG_BONES", "Skeleton", "default_skeleton"]

FINGERS: Final = ("Thumb", "Index", "Middle", "Ring", "Little")
CORE_BONES: Final = ("hips", "spine", "chest", "upperChest", "neck", "head")
# An arm with its hand, without the side's prefix ("left" or "right"): 19 bones.
ARM_BONES: Final = (
    "Shoulder", "UpperArm", "LowerArm", "Hand",
    "ThumbMetacarpal", "ThumbProximal", "ThumbDistal",
    *(f"{finger}{joint}" for finger in FINGERS[1:] for joint in ("Proximal", "Intermediate", "Distal")),
)  # fmt: skip
LEG_BONES: Final = ("UpperLeg", "LowerLeg", "Foot", "Toes")


@dataclass(frozen=True, eq=False)
class Skeleton:
    """Bones with parents and rest offsets.

    Attributes:
        names: bone names, parents before children.
        parents: (J,) int64 index of the parent, -1 for the root.
        offsets_m: (J, 3) float32 offset from the parent in the T-pose; for the root its height above the floor.
        tips_m: end points of the last bones (fingertips, crown, toe tips), offset from that bone.
        girth: of a body whose flesh is known: hips, spine or upperChest → (3,) its width, height and depth in those of
            the default body. Where it is missing, whoever needs it guesses from the bones.
    """

    names: tuple[str, ...]
    parents: NDArray[np.int64]
    offsets_m: NDArray[np.float32]
    tips_m: dict[str, NDArray[np.float32]]
    girth: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.names)}

    def index(self, name: str) -> int:
        """The place of a bone; KeyError if there is none of that name."""
        return self._index[name]

    def indices(self, names: tuple[str, ...] | list[str]) -> NDArray[np.int64]:
        """(N,) the places of several bones."""
        return np.array([self._index[name] for name in names], dtype=np.int64)

    @cached_property
    def rest_positions_m(self) -> NDArray[np.float32]:
        """(J, 3) positions of all bones in the T-pose, in the world."""
        out = np.zeros_like(self.offsets_m)
        for i, parent in enumerate(self.parents):
            out[i] = self.offsets_m[i] + (out[parent] if parent >= 0 else 0)
        return out

    @cached_property
    def mirror_index(self) -> NDArray[np.int64]:
        """(J,) for every bone the place of its counterpart on the other side (itself in the middle)."""

        def other(name: str) -> str:
            if name.startswith("left"):
                return "right" + name[4:]
            return "left" + name[5:] if name.startswith("right") else name

        return self.indices([other(name) for name in self.names])

    def part(self, name: str) -> NDArray[np.int64]:
        """Bones of a body part: `core` (6), `left` (19) or `right` (19), the two sides in the same order."""
        if name == "core":
            return self.indices(CORE_BONES)
        return self.indices([f"{name}{bone}" for bone in ARM_BONES])


@lru_cache(maxsize=1)
def default_skeleton() -> Skeleton:
    """The default avatar's skeleton (55 bones, 1.68 m)."""
    data = json.loads((files("visavis.motion") / "data" / "vrm_skeleton.json").read_text())
    names = tuple(bone["name"] for bone in data["bones"])
    parents = np.array([names.index(b["parent"]) if b["parent"] else -1 for b in data["bones"]], dtype=np.int64)
    offsets = np.array([b["offset_m"] for b in data["bones"]], dtype=np.float32)
    tips = {name: np.array(tip, dtype=np.float32) for name, tip in data["tips_m"].items()}
    return Skeleton(names, parents, offsets, tips)
