"""Frames of the socket: events as JSON text, arrays as binary.

A text frame is one event as JSON. A binary frame is a uint32 (little endian) with the length of its header, the header
(the event as JSON, with `arrays: [{name, dtype, shape}]`), and the arrays one after the other in C order, little
endian. What comes from outside is checked against strict limits; an event of an unknown type or with unknown fields is
refused with one clear sentence.

Idle motion is not part of the conversation, so its two messages are defined here and not among the session's events.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import MISSING, dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visavis.agent.events import EVENTS, Event
from visavis.errors import UsageError

__all__ = [
    "MAX_FRAME_BYTES",
    "MAX_HEADER_BYTES",
    "MAX_TEXT_BYTES",
    "IdleDelta",
    "IdleRequest",
    "WireError",
    "pack",
    "unpack",
]

MAX_TEXT_BYTES: Final = 64 * 1024  # a client's text frame; a line of chat is far smaller
MAX_HEADER_BYTES: Final = 256 * 1024
MAX_FRAME_BYTES: Final = 16 * 1024 * 1024  # ten minutes of 16 kHz speech, or five of motion
MAX_ARRAYS: Final = 8
MAX_DIMENSIONS: Final = 4
DTYPES: Final[dict[str, np.dtype[Any]]] = {
    name: np.dtype(name).newbyteorder("<") for name in ("float32", "int16", "int32", "uint8")
}


class WireError(UsageError):
    """A frame that is not what the protocol says."""


@dataclass(kw_only=True)
class IdleRequest(Event):
    """The client needs `frames` frames of idle motion from `start_s` on the idle axis (it never ends)."""

    type = "idle.request"
    start_s: float
    frames: int


@dataclass(kw_only=True)
class IdleDelta(Event):
    """Idle motion: rotations (n, 55, 4), root_m (n, 3), weights (n, 52) of the face, from `start_s`."""

    type = "idle.delta"
    rotations: NDArray[np.float32]
    root_m: NDArray[np.float32]
    start_s: float
    weights: NDArray[np.float32] | None = None
    fps: int = 30


KNOWN: Final[dict[str, type[Event]]] = {**EVENTS, IdleRequest.type: IdleRequest, IdleDelta.type: IdleDelta}


def _plain(value: object) -> object:
    """JSON for numpy scalars and other leftovers of numeric code."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be sent")


def pack(event: Event) -> str | bytes:
    """The frame of an event: text, or binary where it carries arrays.

    Raises:
        WireError: a value that JSON or the protocol cannot carry.
    """
    arrays = event.arrays()
    header: dict[str, Any] = {"type": event.type}
    header |= {
        f.name: value for f in fields(event) if f.name not in arrays and (value := getattr(event, f.name)) is not None
    }
    payload: list[bytes] = []
    if arrays:
        header["arrays"] = []
        for name, array in arrays.items():
            dtype = str(array.dtype)
            if dtype not in DTYPES:
                raise WireError(f"{event.type}: array {name} must be one of {', '.join(DTYPES)}; got {dtype}")
            header["arrays"].append({"name": name, "dtype": dtype, "shape": list(array.shape)})
            payload.append(np.ascontiguousarray(array, dtype=DTYPES[dtype]).tobytes())
    try:
        text = json.dumps(header, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
    except (TypeError, ValueError) as error:
        raise WireError(f"{event.type} cannot be sent: {error}") from error
    if not arrays:
        return text
    head = text.encode()
    return b"".join([struct.pack("<I", len(head)), head, *payload])


def unpack(frame: str | bytes) -> Event:
    """The event of a frame from outside.

    Raises:
        WireError: anything that the protocol does not allow.
    """
    if isinstance(frame, str):
        if len(frame.encode()) > MAX_TEXT_BYTES:
            raise WireError(f"a text frame may have {MAX_TEXT_BYTES:,} bytes; got {len(frame.encode()):,}")
        return _event(_json(frame), {})
    if len(frame) > MAX_FRAME_BYTES:
        raise WireError(f"a binary frame may have {MAX_FRAME_BYTES:,} bytes; got {len(frame):,}")
    if len(frame) < 4:
        raise WireError(f"a binary frame begins with the 4 bytes of its header's length; got {len(frame)} bytes")
    (size,) = struct.unpack_from("<I", frame)
    if size > min(MAX_HEADER_BYTES, len(frame) - 4):
        raise WireError(f"a header may have {MAX_HEADER_BYTES:,} bytes within its frame; this one claims {size:,}")
    try:
        header = _json(frame[4 : 4 + size].decode())
    except UnicodeDecodeError as error:
        raise WireError(f"a header must be UTF-8: {error}") from error
    return _event(header, _arrays(header.pop("arrays", None), frame, 4 + size))


def _json(text: str) -> dict[str, Any]:
    def refuse(constant: str) -> float:
        raise WireError(f"{constant} is not JSON: send finite numbers")

    try:
        value = json.loads(text, parse_constant=refuse)
    except (json.JSONDecodeError, RecursionError) as error:
        raise WireError(f"a frame must hold JSON: {error}") from error
    if not isinstance(value, dict):
        raise WireError(f"a frame must hold one JSON object; got {type(value).__name__}")
    return value


def _arrays(described: object, frame: bytes, at: int) -> dict[str, NDArray[Any]]:
    """The payload by name; every byte of it must belong to an array."""
    if not isinstance(described, list) or len(described) > MAX_ARRAYS:
        raise WireError(f"`arrays` must list at most {MAX_ARRAYS} arrays as name, dtype and shape")
    found: dict[str, NDArray[Any]] = {}
    for item in described:
        if not isinstance(item, dict) or set(item) != {"name", "dtype", "shape"} or not isinstance(item["name"], str):
            raise WireError("every entry of `arrays` must have exactly name, dtype and shape")
        name, kind, shape = item["name"], item["dtype"], item["shape"]
        if not isinstance(kind, str) or kind not in DTYPES:
            raise WireError(f"array {name}: dtype must be one of {', '.join(DTYPES)}; got {kind!r}")
        whole = isinstance(shape, list) and all(type(n) is int and 0 <= n <= MAX_FRAME_BYTES for n in shape)
        if not whole or not 1 <= len(shape) <= MAX_DIMENSIONS:
            raise WireError(f"array {name}: shape must be 1 to {MAX_DIMENSIONS} whole numbers; got {shape!r}")
        if name in found:
            raise WireError(f"array {name} appears twice")
        count = math.prod(shape)
        if at + count * DTYPES[kind].itemsize > len(frame):
            raise WireError(f"array {name} of shape {shape} runs past the end of its frame")
        found[name] = np.frombuffer(frame, DTYPES[kind], count, at).reshape(shape).copy()
        at += count * DTYPES[kind].itemsize
    if at != len(frame):
        raise WireError(f"{len(frame) - at} bytes after the last array belong to none")
    return found


def _event(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Event:
    name = header.pop("type", None)
    kind = KNOWN.get(name) if isinstance(name, str) else None
    if kind is None:
        raise WireError(f"type must name an event; got {name!r}")
    known = {f.name: f for f in fields(kind)}
    if unknown := sorted((set(header) | set(arrays)) - set(known)):
        raise WireError(f"{name} has no field {', '.join(unknown)}")
    missing = [
        f.name
        for f in known.values()
        if f.default is MISSING and f.default_factory is MISSING and f.name not in header and f.name not in arrays
    ]
    if missing:
        raise WireError(f"{name} needs {', '.join(missing)}")
    for field_name, value in header.items():
        _check_kind(name, field_name, str(known[field_name].type), value)
    for field_name in arrays:
        if not str(known[field_name].type).startswith("NDArray"):
            raise WireError(f"{name}: {field_name} is not an array")
    return kind(**header, **arrays)  # type: ignore[arg-type]  # checked above


_KINDS: Final = {"str": (str,), "float": (int, float), "int": (int,), "bool": (bool,)}


def _check_kind(event: str, name: str, declared: str, value: object) -> None:
    """Plain fields must have their declared kind (annotations are strings: `from __future__ import annotations`)."""
    if declared.startswith("NDArray"):
        raise WireError(f"{event}: {name} is an array and must come in the binary payload")
    if declared in _KINDS and (
        not isinstance(value, _KINDS[declared]) or (isinstance(value, bool) and declared != "bool")
    ):
        raise WireError(f"{event}: {name} must be {declared}; got {type(value).__name__}")
    if declared.startswith("dict") and not isinstance(value, dict):
        raise WireError(f"{event}: {name} must be an object; got {type(value).__name__}")
    if declared.startswith("list") and not isinstance(value, list) and not (value is None and "None" in declared):
        raise WireError(f"{event}: {name} must be a list; got {type(value).__name__}")
