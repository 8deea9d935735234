"""`Motion`: what a body does over time. Knows nothing of files, models or speech."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from visavis.motion import rotations
from visavis.motion.skeleton import Skeleton, default_skeleton

__all__ = ["FPS", "FRAMES_PER_STEP", "Motion"]

FPS = 30
# The step grid: one motion token per part for every 4 frames (133 ms).
FRAMES_PER_STEP = 4


@dataclass(frozen=True, eq=False)
class Motion:
    """A motion of one body.

    Legend: T frames, J bones of the skeleton.

    Attributes:
        rotations: (T, J, 4) float32 unit quaternions (x, y, z, w), parent-relative; identity is the T-pose.
        root_m: (T, 3) float32 position of the hips in the world, metres.
        face: (T, 52) float32 ARKit weights in [0, 1] in the order of `visavis.motion.face.ARKIT_NAMES`, or None.
        skeleton: the skeleton the rotations belong to.
        fps: frames per second, 30 everywhere inside visavis.
    """

    rotations: NDArray[np.float32]
    root_m: NDArray[np.float32]
    face: NDArray[np.float32] | None = None
    skeleton: Skeleton = None  # type: ignore[assignment]  # filled in __post_init__
    fps: int = FPS

    def __post_init__(self) -> None:
        skeleton = self.skeleton or default_skeleton()
        object.__setattr__(self, "skeleton", skeleton)
        object.__setattr__(self, "rotations", np.ascontiguousarray(self.rotations, dtype=np.float32))
        object.__setattr__(self, "root_m", np.ascontiguousarray(self.root_m, dtype=np.float32))
        frames = len(self.rotations)
        if self.rotations.shape != (frames, len(skeleton), 4):
            raise ValueError(f"rotations must be (T, {len(skeleton)}, 4); got {self.rotations.shape}")
        if self.root_m.shape != (frames, 3):
            raise ValueError(f"root_m must be ({frames}, 3); got {self.root_m.shape}")
        if self.face is not None:
            object.__setattr__(self, "face", np.ascontiguousarray(self.face, dtype=np.float32))
            if self.face.shape != (frames, 52):
                raise ValueError(f"face must be ({frames}, 52); got {self.face.shape}")

    def __len__(self) -> int:
        return len(self.rotations)

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self) / self.fps

    @classmethod
    def rest(cls, frames: int, skeleton: Skeleton | None = None) -> Motion:
        """`frames` frames of T-pose, standing at the origin."""
        skeleton = skeleton or default_skeleton()
        turned = np.tile(rotations.IDENTITY, (frames, len(skeleton), 1))
        return cls(turned, np.tile(skeleton.offsets_m[0], (frames, 1)), None, skeleton)

    def slice(self, start: int, stop: int) -> Motion:
        """Frames start..stop, clipped to what there is."""
        face = None if self.face is None else self.face[start:stop]
        return replace(self, rotations=self.rotations[start:stop], root_m=self.root_m[start:stop], face=face)

    def with_face(self, face: NDArray[np.float32] | None) -> Motion:
        """The same body with another face track."""
        return replace(self, face=face)

    def concatenate(self, other: Motion) -> Motion:
        """Join this motion and then the other, cut hard: blend first (`visavis.motion.blend`) where they differ."""
        if other.skeleton.names != self.skeleton.names:
            raise ValueError("motions of different skeletons cannot be joined: retarget one of them first")
        both = self.face is not None and other.face is not None
        return replace(
            self,
            rotations=np.concatenate([self.rotations, other.rotations]),
            root_m=np.concatenate([self.root_m, other.root_m]),
            face=np.concatenate([self.face, other.face]) if both else None,  # type: ignore[list-item]
        )

    def mirrored(self) -> Motion:
        """Left and right exchanged; the face keeps its sides (mirror it by name where it matters)."""
        turned = rotations.mirror(self.rotations[:, self.skeleton.mirror_index])
        return replace(self, rotations=turned, root_m=self.root_m * np.array([-1, 1, 1], np.float32))
