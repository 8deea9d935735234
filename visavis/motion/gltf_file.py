"""glTF 2.0 files as data: JSON, buffers, bounds-checked accessors and the tree of nodes. Knows nothing of motion.

Written for files from anywhere: every index, size and number is checked before it is used, nothing outside the file is
ever opened, and whatever is wrong is one `FileFormatError`. Source: glTF 2.0 specification (Khronos), GLB container.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from visavis.errors import FileFormatError
from visavis.motion import rotations as rot

__all__ = ["GltfFile", "Nodes"]

MAGIC = b"glTF"
_JSON, _BIN = 0x4E4F534A, 0x004E4942
_DTYPES: dict[int, Any] = {
    5120: np.int8,
    5121: np.uint8,
    5122: np.int16,
    5123: np.uint16,
    5125: np.uint32,
    5126: np.float32,
}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
MOST_BYTES = 512 * 2**20
MOST_VALUES = 4_000_000  # in the JSON; each takes some hundred bytes in memory
MOST_NODES = 20_000
MOST_NUMBERS = 20_000_000  # in one accessor
_FARTHEST = 1e12  # beyond lies damage, and overflow


def _reject(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


@dataclass(frozen=True, eq=False)
class Nodes:
    """The nodes at rest. Legend: N nodes.

    Attributes:
        names: names as in the file, "" where there is none.
        parents: (N,) int64, -1 for a root.
        order: all nodes, parents before children.
        local: (N, 4, 4) float64 matrices to the parent.
        local_rotations: (N, 4) float32, the rotation part of `local`.
        world: (N, 4, 4) float64 matrices to the world.
        world_rotations: (N, 4) float32 products of the local rotations.
    """

    names: tuple[str, ...]
    parents: NDArray[np.int64]
    order: tuple[int, ...]
    local: NDArray[np.float64]
    local_rotations: NDArray[np.float32]
    world: NDArray[np.float64]
    world_rotations: NDArray[np.float32]

    def path(self, node: int) -> list[int]:
        """The node and its ancestors, the root last."""
        out = [node]
        while self.parents[out[-1]] >= 0:
            out.append(int(self.parents[out[-1]]))
        return out


class GltfFile:
    """A glTF file in memory.

    Attributes:
        path: where it came from, for messages.
        json: the document.
        blob: the binary chunk of a GLB, or None.
    """

    def __init__(self, path: str | Path, document: dict[str, Any], blob: bytes | None) -> None:
        self.path = Path(path)
        self.json = document
        self.blob = blob

    # -- reading ------------------------------------------------------------------------------------------------

    @classmethod
    def read(cls, path: str | Path) -> GltfFile:
        """Read a GLB container, or glTF JSON whose buffers are data URIs.

        Raises:
            FileFormatError: it is neither, or is cut or damaged.
        """
        path = Path(path)
        try:
            if path.stat().st_size > MOST_BYTES:
                raise FileFormatError(f"{path.name}: expected at most {MOST_BYTES >> 20} MB: export a smaller file")
            data = path.read_bytes()
        except OSError as error:
            raise FileFormatError(
                f"expected a .vrm or .glb file; {path} cannot be read: {error.strerror or error}"
            ) from error
        if data[:4] == MAGIC:
            text, blob = _chunks(path, data)
        else:
            text, blob = data, None
        if text.count(b",") + text.count(b"[") + text.count(b"{") > MOST_VALUES:
            raise FileFormatError(f"{path.name}: expected at most {MOST_VALUES} values of JSON: simplify the scene")
        try:
            document = json.loads(text.decode("utf-8-sig").rstrip("\0 "), parse_constant=_reject)
        except (ValueError, RecursionError) as error:
            raise FileFormatError(f"{path.name}: expected glTF (a GLB container or JSON), got {error}") from error
        out = cls(path, document if isinstance(document, dict) else {}, blob)
        version = out.table(out.json, "asset").get("version")
        if not isinstance(version, str) or not version.startswith("2."):
            out.fail("glTF version 2", f"version {version!r}", "export it as glTF 2.0 (.glb)")
        return out

    def save(self) -> None:
        """Write it as a GLB container to its path."""
        text = json.dumps(self.json, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        parts = struct.pack("<II", len(text), _JSON) + text
        if self.blob is not None:
            blob = self.blob + b"\0" * (-len(self.blob) % 4)
            parts += struct.pack("<II", len(blob), _BIN) + blob
        self.path.write_bytes(MAGIC + struct.pack("<II", 2, 12 + len(parts)) + parts)

    def fail(self, expected: str, got: str, advice: str = "export the file again") -> NoReturn:
        """Raise the error of a file that is not what it should be."""
        raise FileFormatError(f"{self.path.name}: expected {expected}, got {got}: {advice}")

    def table(self, holder: dict[str, Any], name: str) -> dict[str, Any]:
        """An object of the JSON; empty where it is absent."""
        found = holder.get(name, {})
        if not isinstance(found, dict):
            self.fail(f"an object `{name}`", type(found).__name__)
        return found

    def rows(self, holder: dict[str, Any], name: str) -> list[dict[str, Any]]:
        """A list of objects of the JSON; empty where it is absent."""
        found = holder.get(name, [])
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            self.fail(f"a list of objects `{name}`", type(found).__name__)
        return found

    def index(self, value: object, count: int, what: str) -> int:
        """Check an index into a list of `count`."""
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < count:
            self.fail(f"{what} in 0..{count - 1}", repr(value)[:40])
        return value

    def number(self, value: object, what: str) -> float:
        """Check one finite number."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e30:
            self.fail(f"a number for {what}", repr(value)[:40])
        return float(value)

    def numbers(self, value: object, count: int, what: str) -> NDArray[np.float64]:
        """Check a list of `count` finite numbers."""
        if not isinstance(value, list) or len(value) != count:
            self.fail(f"{count} numbers for {what}", repr(value)[:40])
        return np.array([self.number(v, what) for v in value], dtype=np.float64)

    def extension(self, name: str) -> dict[str, Any]:
        """An extension of the whole document; empty where it is absent."""
        return self.table(self.table(self.json, "extensions"), name)

    # -- buffers ------------------------------------------------------------------------------------------------

    @cached_property
    def _buffers(self) -> dict[int, bytes]:
        return {}

    def buffer(self, number: object) -> bytes:
        """The bytes of a buffer."""
        rows = self.rows(self.json, "buffers")
        i = self.index(number, len(rows), "a buffer")
        if i not in self._buffers:
            uri = rows[i].get("uri")
            if uri is None:
                if i != 0 or self.blob is None:
                    self.fail("the binary chunk of a GLB", "none", "the file is cut, or its .bin is missing")
                self._buffers[i] = self.blob or b""
            elif isinstance(uri, str) and uri.startswith("data:") and ";base64," in uri[:100]:
                try:
                    self._buffers[i] = base64.b64decode(uri.split(",", 1)[1], validate=True)
                except (binascii.Error, ValueError) as error:
                    self.fail("base64 in a data URI", str(error))
            else:
                self.fail("buffers inside the file", f"the address {str(uri)[:40]!r}", "export it as one .glb")
        return self._buffers[i]

    def _view(self, number: object) -> tuple[memoryview, int]:
        rows = self.rows(self.json, "bufferViews")
        view = rows[self.index(number, len(rows), "a buffer view")]
        data = self.buffer(view.get("buffer"))
        start = self.index(view.get("byteOffset", 0), len(data) + 1, "a byte offset")
        length = self.index(view.get("byteLength"), len(data) - start + 1, "a byte length")
        stride = self.index(view.get("byteStride", 0), 253, "a byte stride")
        return memoryview(data)[start : start + length], stride

    def view(self, number: object) -> bytes:
        """The bytes of a buffer view, such as an image."""
        return bytes(self._view(number)[0])

    def _read(self, view: object, offset: object, kind: object, count: int, width: int) -> NDArray[Any]:
        """`count` elements of `width` numbers, as they lie in the file."""
        if not isinstance(kind, int) or kind not in _DTYPES:
            self.fail("a component type of glTF", repr(kind)[:40])
        dtype = np.dtype(_DTYPES[kind]).newbyteorder("<")
        data, stride = self._view(view)
        start = self.index(offset, len(data) + 1, "a byte offset")
        size = dtype.itemsize * width
        step = stride or size
        if step < size or (count and start + (count - 1) * step + size > len(data)):
            self.fail(f"{count} elements of {size} bytes", f"a buffer view of {len(data)} bytes")
        out = np.ndarray((count, width), dtype, data, start, (step, dtype.itemsize))
        return out.astype(dtype.newbyteorder("="))

    def accessor(self, number: object, width: int | None = None) -> NDArray[np.float32]:
        """Numbers of an accessor as (count, width) float32, normalised integers brought to [-1, 1] or [0, 1].

        Raises:
            FileFormatError: it lies outside its buffer, has another width than asked for, or holds NaN.
        """
        rows = self.rows(self.json, "accessors")
        row = rows[self.index(number, len(rows), "an accessor")]
        kind = row.get("type")
        if not isinstance(kind, str) or kind not in _WIDTHS or (width is not None and _WIDTHS[kind] != width):
            self.fail(f"an accessor with {width or 'known'} numbers an element", f"type {kind!r}")
        wide = _WIDTHS[kind]
        count = self.index(row.get("count"), MOST_NUMBERS // wide + 1, "a count")
        component = row.get("componentType")
        if row.get("bufferView") is None:
            values = np.zeros((count, wide), np.float32)
            integral: int | None = None
        else:
            values = self._read(row["bufferView"], row.get("byteOffset", 0), component, count, wide)
            integral = (
                2 ** (8 * values.itemsize - (values.dtype.kind == "i")) - 1 if values.dtype.kind in "iu" else None
            )
        if "sparse" in row:
            values = self._sparse(self.table(row, "sparse"), values.copy(), component)
        out = values.astype(np.float32)
        if integral is not None and row.get("normalized") is True:
            out = np.maximum(out / integral, -1.0).astype(np.float32)
        if not (np.abs(out) < _FARTHEST).all():  # NaN too
            self.fail("numbers within reach", "NaN or larger ones in an accessor")
        return out

    def _sparse(self, row: dict[str, Any], values: NDArray[Any], component: object) -> NDArray[Any]:
        count = self.index(row.get("count"), len(values) + 1, "a sparse count")
        where, what = self.table(row, "indices"), self.table(row, "values")
        places = self._read(where.get("bufferView"), where.get("byteOffset", 0), where.get("componentType"), count, 1)[
            :, 0
        ]
        if places.dtype.kind != "u" or (count and int(places.max()) >= len(values)):
            self.fail("sparse indices inside the accessor", "others")
        fresh = self._read(what.get("bufferView"), what.get("byteOffset", 0), component, count, values.shape[1])
        values = values.astype(fresh.dtype)
        values[places] = fresh
        return values

    # -- nodes --------------------------------------------------------------------------------------------------

    @cached_property
    def nodes(self) -> Nodes:
        """The tree of nodes at rest.

        Raises:
            FileFormatError: it is no tree, or a node cannot be placed.
        """
        rows = self.rows(self.json, "nodes")
        count = len(rows)
        if count > MOST_NODES:
            self.fail(f"at most {MOST_NODES} nodes", str(count), "simplify the scene")
        parents = np.full(count, -1, dtype=np.int64)
        for i, row in enumerate(rows):
            children = row.get("children", [])
            if not isinstance(children, list):
                self.fail("a list of children", type(children).__name__)
            for child in children:
                c = self.index(child, count, "a child node")
                if parents[c] >= 0 or c == i:
                    self.fail("a tree of nodes", f"node {c} under two parents")
                parents[c] = i
        local, turned = np.zeros((count, 4, 4)), np.zeros((count, 4), np.float32)
        for i, row in enumerate(rows):
            local[i], turned[i] = self._placed(row)
        order = [int(i) for i in np.flatnonzero(parents < 0)]
        children_of: dict[int, list[int]] = {}
        for i, parent in enumerate(parents):
            children_of.setdefault(int(parent), []).append(i)
        for i in order:  # grows while it is walked
            order += children_of.get(i, [])
        if len(order) != count:
            self.fail("a tree of nodes", "a circle")
        world, world_turned = local.copy(), turned.copy()
        with np.errstate(over="ignore", invalid="ignore"):
            for i in order:
                if parents[i] >= 0:
                    world[i] = world[parents[i]] @ local[i]
                    world_turned[i] = rot.normalize(rot.multiply(world_turned[parents[i]], turned[i]))
        if not (np.abs(world) < _FARTHEST).all():  # NaN too
            self.fail("nodes of finite size", "others")
        names = tuple(str(row.get("name", "")) for row in rows)
        return Nodes(names, parents, tuple(order), local, turned, world, world_turned)

    def _placed(self, row: dict[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Local matrix and rotation of one node."""
        if "matrix" in row:
            matrix = self.numbers(row["matrix"], 16, "a matrix").reshape(4, 4).T
            size = np.linalg.norm(matrix[:3, :3], axis=0)
            if not (size > 1e-9).all():
                return matrix, rot.IDENTITY.copy()
            turn = matrix[:3, :3] / size
            if np.linalg.det(turn) < 0:
                turn = turn * np.array([-1.0, 1.0, 1.0])
            u, _, v = np.linalg.svd(turn)  # the nearest rotation, should the matrix shear
            return matrix, rot.from_matrix(u @ np.diag([1.0, 1.0, np.linalg.det(u @ v)]) @ v)
        move = self.numbers(row.get("translation", [0, 0, 0]), 3, "a translation")
        q = self.numbers(row.get("rotation", [0, 0, 0, 1]), 4, "a rotation")
        scale = self.numbers(row.get("scale", [1, 1, 1]), 3, "a scale")
        length = float(np.linalg.norm(q))
        if length < 1e-6:
            self.fail("a rotation of length 1", "zero")
        turned = (q / length).astype(np.float32)
        matrix = np.eye(4)
        matrix[:3, :3] = rot.to_matrix(turned) * scale
        matrix[:3, 3] = move
        return matrix, turned


def _chunks(path: Path, data: bytes) -> tuple[bytes, bytes | None]:
    """JSON text and binary chunk of a GLB container."""
    if len(data) < 20:
        raise FileFormatError(f"{path.name}: expected a GLB container, got {len(data)} bytes: the file is cut")
    version, total = struct.unpack_from("<II", data, 4)
    if version != 2:
        raise FileFormatError(f"{path.name}: expected GLB version 2, got {version}: export it as glTF 2.0")
    if total > len(data):
        raise FileFormatError(f"{path.name}: expected {total} bytes, got {len(data)}: the file is cut")
    found: dict[int, bytes] = {}
    at = 12
    while at + 8 <= total:
        size, kind = struct.unpack_from("<II", data, at)
        if at + 8 + size > total:
            raise FileFormatError(f"{path.name}: expected a chunk of {size} bytes, got its start: the file is damaged")
        found.setdefault(kind, data[at + 8 : at + 8 + size])
        at += 8 + size + (-size % 4)
    if _JSON not in found:
        raise FileFormatError(f"{path.name}: expected JSON in a GLB container, got none: the file is damaged")
    return found[_JSON], found.get(_BIN)
