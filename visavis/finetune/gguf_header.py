"""What a GGUF file says of itself: its metadata and the table of its tensors, each length held against the file's size.

GGUF is the file of llama.cpp: a magic word, counts, keys with values, tensors with their shapes and places, then the
data. The readers at hand (the package `gguf`, transformers) believe the lengths in it: one false count keeps them busy
for ever or fills the memory. So a file goes through this module first. No data is read here, no value is understood.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

from visavis.errors import FileFormatError, MissingExtraError

__all__ = ["GgufHeader", "read_header"]

MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)
# Value types of fixed size, as `struct` writes them; 8 is a string, 9 an array.
SCALARS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING: Final = 8
ARRAY: Final = 9
MOST_DIMENSIONS: Final = 4
LONGEST_NAME: Final = 65_535  # bytes of a key or of a tensor's name

Value = int | float | bool | str | range


@dataclass(frozen=True)
class GgufHeader:
    """A header whose lengths fit into its file.

    Attributes:
        values: by key; of an array its length alone, as a `range`.
        tensors: shape of each, outermost dimension first, as torch has it.
    """

    values: dict[str, Value]
    tensors: dict[str, tuple[int, ...]]

    def text(self, key: str) -> str:
        """A string value; empty where there is none."""
        value = self.values.get(key)
        return value if isinstance(value, str) else ""

    def number(self, key: str) -> float:
        """A number; 0 where there is none."""
        value = self.values.get(key)
        return float(value) if isinstance(value, int | float) else 0.0


def read_header(path: str | Path) -> GgufHeader:
    """Read and check the header of a file.

    Raises:
        FileFormatError: it is no GGUF file, is cut short, or lengths in it are false.
        MissingExtraError: the package `gguf`, which knows how large quantised blocks are, is not installed.
    """
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(data).header()
    except (OSError, ValueError, struct.error) as error:
        raise FileFormatError(
            f"expected a GGUF file (version 2 or 3, little-endian), got {path}: {error}: was it cut short?"
        ) from error


class _Reader:
    """A place in the file, which only goes forward. ValueError or struct.error at what cannot be."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self._place = data, 0

    def header(self) -> GgufHeader:
        if self._take(4) != MAGIC:
            raise ValueError("it does not begin with GGUF")
        version, tensor_count, value_count = self._unpack("IQQ")
        if version not in VERSIONS:
            raise ValueError(f"its version is {version}")
        values: dict[str, Value] = {}
        for _ in range(self._fitting(value_count, 13, "keys")):
            key = self._string(LONGEST_NAME)
            if key in values:
                raise ValueError(f"it has the key {key!r} twice")
            values[key] = self._value(*self._unpack("I"))
        table = [self._tensor() for _ in range(self._fitting(tensor_count, 24, "tensors"))]
        tensors = {name: shape for name, shape, _, _ in table}
        if len(tensors) < len(table):
            raise ValueError("it has two tensors of one name")
        self._check_data(table, values.get("general.alignment", 32))
        return GgufHeader(values, tensors)

    def _take(self, length: int) -> bytes:
        self._place += self._fitting(length, 1, "bytes")
        return self._data[self._place - length : self._place]

    def _unpack(self, form: str) -> tuple[int, ...]:
        found = struct.unpack_from(f"<{form}", self._data, self._place)
        self._place += struct.calcsize(f"<{form}")
        return found

    def _fitting(self, count: int, size: int, what: str) -> int:
        """`count`, if so many things of at least `size` bytes can follow."""
        left = len(self._data) - self._place
        if count * size > left:
            raise ValueError(f"it speaks of {count} {what} where {left} bytes are left")
        return count

    def _string(self, most: int) -> str:
        (length,) = self._unpack("Q")
        if length > most:
            raise ValueError(f"a name in it has {length} bytes")
        return self._take(length).decode("utf-8")

    def _value(self, kind: int) -> Value:
        if kind in SCALARS:
            return self._unpack(SCALARS[kind])[0]
        if kind == STRING:
            return self._string(len(self._data))
        if kind != ARRAY:
            raise ValueError(f"it has a value of the unknown type {kind}")
        inner, count = self._unpack("IQ")
        if inner in SCALARS:
            self._take(count * struct.calcsize(SCALARS[inner]))
        elif inner == STRING:
            for _ in range(self._fitting(count, 8, "strings")):
                self._take(*self._unpack("Q"))
        else:
            raise ValueError(f"it has an array of the type {inner}")
        return range(count)

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        """(name, shape, type, place in the data)."""
        name = self._string(LONGEST_NAME)
        (dimensions,) = self._unpack("I")
        if dimensions > MOST_DIMENSIONS:
            raise ValueError(f"its tensor {name!r} has {dimensions} dimensions")
        shape = self._unpack(f"{dimensions}Q")
        kind, place = self._unpack("IQ")
        return name, shape[::-1], kind, place

    def _check_data(self, table: list[tuple[str, tuple[int, ...], int, int]], alignment: Value) -> None:
        """Every tensor's blocks lie within the file."""
        try:
            from gguf import GGML_QUANT_SIZES
        except ImportError as error:
            raise MissingExtraError("a base in a GGUF file", "train") from error

        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            raise ValueError(f"its alignment is {alignment!r}, which is no power of two")
        begin = -(-self._place // alignment) * alignment
        sizes = {int(kind): size for kind, size in GGML_QUANT_SIZES.items()}
        for name, shape, kind, place in table:
            if kind not in sizes:
                raise ValueError(f"its tensor {name!r} is of the type {kind}, which the package gguf does not know")
            block, size = sizes[kind]
            if not shape or min(shape) < 1 or shape[-1] % block:
                raise ValueError(f"its tensor {name!r} has the shape {shape}, in blocks of {block}")
            end = begin + place + prod(shape) // block * size
            if end > len(self._data):
                raise ValueError(f"its tensor {name!r} ends at byte {end} of {len(self._data)}")
