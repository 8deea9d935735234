"""Open Sound Control 1.0 messages and bundles as bytes: text, int and float arguments. Knows no sockets.

Source: the OSC 1.0 specification (Wright 2002). Enough for the VMC protocol; no pattern matching, no time tags but
"immediately".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from visavis.errors import FileFormatError

__all__ = ["Argument", "bundle", "message", "messages"]

Argument = str | int | float
_BUNDLE = b"#bundle\0"
_NOW = (1).to_bytes(8, "big")


def _text(value: str) -> bytes:
    raw = value.encode("utf8") + b"\0"
    return raw + b"\0" * (-len(raw) % 4)


def message(address: str, *arguments: Argument) -> bytes:
    """One message; bool is not an argument type here."""
    tags, data = ",", b""
    for value in arguments:
        if isinstance(value, str):
            tags, data = tags + "s", data + _text(value)
        elif isinstance(value, int):
            tags, data = tags + "i", data + struct.pack(">i", value)
        else:
            tags, data = tags + "f", data + struct.pack(">f", value)
    return _text(address) + _text(tags) + data


def bundle(parts: list[bytes]) -> bytes:
    """Messages to be handled at once."""
    return _BUNDLE + _NOW + b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def messages(packet: bytes) -> Iterator[tuple[str, tuple[Argument, ...]]]:
    """The messages of a packet, bundles opened, as address and arguments.

    Raises:
        FileFormatError: it is no OSC packet, or has arguments of other types.
    """
    try:
        yield from _messages(packet, 0)
    except (struct.error, UnicodeDecodeError, ValueError, IndexError) as error:
        raise FileFormatError(f"expected an OSC packet of texts, ints and floats; got {error}") from error


def _messages(packet: bytes, depth: int) -> Iterator[tuple[str, tuple[Argument, ...]]]:
    if depth > 8:
        raise ValueError("bundles nested more than eight deep")
    if packet.startswith(_BUNDLE):
        at = 16
        while at < len(packet):
            (size,) = struct.unpack_from(">I", packet, at)
            part = packet[at + 4 : at + 4 + size]
            if len(part) != size or not size:
                raise ValueError("a bundle that is cut off")
            yield from _messages(part, depth + 1)
            at += 4 + size
        return
    address, at = _read_text(packet, 0)
    tags, at = _read_text(packet, at)
    if not address.startswith("/") or not tags.startswith(","):
        raise ValueError(f"an address {address[:20]!r} with type tags {tags[:20]!r}")
    out: list[Argument] = []
    for tag in tags[1:]:
        if tag == "s":
            text, at = _read_text(packet, at)
            out.append(text)
        elif tag in "if":
            out.append(struct.unpack_from(">" + tag, packet, at)[0])
            at += 4
        else:
            raise ValueError(f"an argument of type {tag!r}")
    yield address, tuple(out)


def _read_text(packet: bytes, at: int) -> tuple[str, int]:
    end = packet.index(b"\0", at)
    return packet[at:end].decode("utf8"), end + 4 - end % 4
