"""What grows while a glTF file is written: the binary chunk, its views and accessors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pygltflib as gltf
from numpy.typing import NDArray

__all__ = ["Store"]

Array = NDArray[np.float32]

_KINDS = {1: gltf.SCALAR, 3: gltf.VEC3, 4: gltf.VEC4, 16: gltf.MAT4}
_TYPES = {
    "float32": gltf.FLOAT,
    "uint8": gltf.UNSIGNED_BYTE,
    "uint16": gltf.UNSIGNED_SHORT,
    "uint32": gltf.UNSIGNED_INT,
}


@dataclass
class Store:
    """The binary chunk with its views and accessors."""

    blob: bytearray = field(default_factory=bytearray)
    views: list[gltf.BufferView] = field(default_factory=list)
    accessors: list[gltf.Accessor] = field(default_factory=list)

    def view(self, data: NDArray[Any], target: int | None = None) -> int:
        """Append bytes, aligned to four."""
        self.blob += b"\0" * (-len(self.blob) % 4)
        raw = np.ascontiguousarray(data).tobytes()
        self.views.append(gltf.BufferView(buffer=0, byteOffset=len(self.blob), byteLength=len(raw), target=target))
        self.blob += raw
        return len(self.views) - 1

    def accessor(
        self, data: NDArray[Any], target: int | None = None, bounds: bool = False, normalized: bool = False
    ) -> int:
        """Append an array (N,) or (N, C)."""
        flat = data.reshape(len(data), -1)
        self.accessors.append(
            gltf.Accessor(
                bufferView=self.view(data, target),
                componentType=_TYPES[data.dtype.name],
                count=len(data),
                type=_KINDS[flat.shape[1]],
                normalized=normalized,
                min=flat.min(axis=0).tolist() if bounds else None,
                max=flat.max(axis=0).tolist() if bounds else None,
            )
        )
        return len(self.accessors) - 1

    def sparse(self, index: NDArray[np.integer], values: Array, count: int) -> int:
        """An accessor (count, 3) that is zero but at `index` (K,), where it has `values` (K, 3)."""
        low, high = np.minimum(values.min(axis=0), 0), np.maximum(values.max(axis=0), 0)
        self.accessors.append(
            gltf.Accessor(
                byteOffset=None,  # only allowed together with a bufferView
                componentType=gltf.FLOAT,
                count=count,
                type=gltf.VEC3,
                min=low.tolist(),
                max=high.tolist(),
                sparse=gltf.Sparse(
                    count=len(index),
                    indices=gltf.AccessorSparseIndices(
                        bufferView=self.view(index.astype(np.uint32)), componentType=gltf.UNSIGNED_INT
                    ),
                    values=gltf.AccessorSparseValues(bufferView=self.view(values.astype(np.float32))),
                ),
            )
        )
        return len(self.accessors) - 1
