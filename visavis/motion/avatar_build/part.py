"""`Part`: one piece of the avatar while it is being built."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

__all__ = ["Part"]


@dataclass(frozen=True, eq=False)
class Part:
    """A mesh with materials and what its skin may follow.

    Attributes:
        vertices: (V, 3) metres.
        faces: (F, 3).
        material: one name for all faces, or (F,) names.
        name: for messages and for finding it again.
        bones: the bones that its vertices may follow.
        smooth: rounds of weight smoothing over the mesh.
        steepness: power by which a bone's pull falls with distance (see `skin.py`), one number or (V,).
        labels: per vertex (V,) values that the face morphs need (see `morphs.py`), empty below the chin; `tint` (V,)
            darkens any piece.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int64]
    material: str | NDArray[np.str_]
    name: str = ""
    bones: tuple[str, ...] = ()
    smooth: int = 0
    steepness: float | NDArray[np.float32] = 8.0
    labels: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def bound(self, name: str, bones: tuple[str, ...], smooth: int) -> Part:
        """The same piece with its name and bones."""
        return replace(self, name=name, bones=bones, smooth=smooth)

    @property
    def face_materials(self) -> NDArray[np.str_]:
        """(F,) material of every face."""
        if isinstance(self.material, str):
            return np.full(len(self.faces), self.material)
        return self.material
