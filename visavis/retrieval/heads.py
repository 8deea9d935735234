"""Files of small heads: arrays of known names and shapes, float16 on disk and float32 in memory.

It does not know what a head decides; whoever owns one says which arrays it has and how it is trained again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from visavis.errors import FileFormatError

__all__ = ["Shapes", "load_heads", "save_heads"]

Array = NDArray[np.float32]
Shapes = Mapping[str, tuple[int, ...]]


def save_heads(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write the arrays as float16."""
    save_file({name: np.ascontiguousarray(array, np.float16) for name, array in arrays.items()}, path)


def load_heads(path: Path, shapes: Shapes, *, what: str, remedy: str) -> dict[str, Array]:
    """Read what `save_heads` wrote: an array, float32, for each name of `shapes`.

    Args:
        path: of the file.
        shapes: what every array is called and how large it is; further arrays in the file are ignored.
        what: the head in a message, e.g. "the heads of feeling".
        remedy: what to do where the file cannot be used.
    Raises:
        FileFormatError: the file is missing, is something else, or an array lacks, has another shape or is not finite.
    """
    try:
        arrays = load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise FileFormatError(f"expected {what} in {path.name}, which cannot be read ({error}): {remedy}") from error
    for name, shape in shapes.items():
        if name not in arrays:
            raise FileFormatError(f"expected `{name}` of {shape} in {path.name}, got {sorted(arrays)}: {remedy}")
        if (got := arrays[name].shape) != shape:
            raise FileFormatError(f"expected `{name}` of {shape} in {path.name}, got {got}: {remedy}")
        if not np.isfinite(arrays[name]).all():
            raise FileFormatError(f"expected finite numbers in `{name}` in {path.name}, got others: {remedy}")
    return {name: arrays[name].astype(np.float32) for name in shapes}
