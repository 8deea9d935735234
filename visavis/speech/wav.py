"""Reading and writing wav files: mono int16 inside; 8, 16, 24, 32 bit integer and 32, 64 bit float from outside.

Written on the RIFF layout itself, because the standard library's reader knows no float files, and because a file
from outside may lie about its sizes: nothing here allocates more than the file holds.
"""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visavis.errors import FileFormatError

__all__ = ["decode_wav", "encode_wav", "read_wav", "resample", "write_wav"]

MAX_FILE_BYTES = 2**31
_RATES = (1_000, 384_000)  # hertz
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE


def resample(samples: NDArray[np.int16], from_hz: int, to_hz: int) -> NDArray[np.int16]:
    """Change the sample rate of (N,) samples by a polyphase filter; the length is N * to_hz / from_hz, rounded up."""
    if from_hz == to_hz or len(samples) == 0:
        return samples
    from scipy.signal import resample_poly

    common = math.gcd(from_hz, to_hz)
    changed = resample_poly(samples.astype(np.float32), to_hz // common, from_hz // common)
    return np.clip(np.rint(changed), -32768, 32767).astype(np.int16)


def _chunks(data: bytes) -> dict[bytes, bytes]:
    """The first chunk of each kind; a last chunk that promises more than the file holds is cut to what is there."""
    chunks: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], struct.unpack_from("<I", data, at + 4)[0]
        chunks.setdefault(kind, data[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    return chunks


def _values(raw: bytes, kind: int, bits: int) -> NDArray[np.float32] | None:
    """Interleaved samples scaled to int16's range, or None for a coding that is not known."""
    raw = raw[: len(raw) // (bits // 8) * (bits // 8)] if bits >= 8 else b""
    if kind == _PCM and bits == 8:
        return (np.frombuffer(raw, np.uint8).astype(np.float32) - 128) * 256
    if kind == _PCM and bits == 16:
        return np.frombuffer(raw, "<i2").astype(np.float32)
    if kind == _PCM and bits == 24:
        bytes3 = np.frombuffer(raw, np.uint8).reshape(-1, 3).astype(np.int32)
        high = bytes3[:, 1] + ((bytes3[:, 2] ^ 128) - 128) * 256
        return high.astype(np.float32) + bytes3[:, 0].astype(np.float32) / np.float32(256)
    if kind == _PCM and bits == 32:
        return (np.frombuffer(raw, "<i4") / 65536).astype(np.float32)
    if kind == _FLOAT and bits in (32, 64):
        return np.nan_to_num(np.frombuffer(raw, f"<f{bits // 8}")).astype(np.float32) * 32767
    return None


def decode_wav(data: bytes, sample_rate_hz: int | None = None, name: str = "wav data") -> tuple[NDArray[np.int16], int]:
    """Decode the bytes of a wav file to mono (N,) int16 samples and their rate.

    Channels are averaged. With `sample_rate_hz` the samples are resampled to it.

    Raises:
        FileFormatError: not a wav file that can be used; the message says what was found.
    """

    def refuse(found: str) -> FileFormatError:
        return FileFormatError(f"expected a wav file (PCM or float), {name} {found}: convert it with `sox` or `ffmpeg`")

    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise refuse("is empty" if not data else f"begins with {data[:4]!r}")
    chunks = _chunks(data)
    layout = chunks.get(b"fmt ", b"")
    if len(layout) < 16:
        raise refuse("has no format chunk")
    kind, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", layout)
    if kind == _EXTENSIBLE and len(layout) >= 26:
        kind = struct.unpack_from("<H", layout, 24)[0]
    if not 1 <= channels <= 64 or not _RATES[0] <= rate <= _RATES[1]:
        raise refuse(f"says {channels} channels at {rate} Hz")
    if b"data" not in chunks:
        raise refuse("has no data chunk")
    values = _values(chunks[b"data"], kind, bits)
    if values is None or block != channels * bits // 8:
        raise refuse(f"has the coding {kind} with {bits} bits in blocks of {block} bytes")
    frames = values[: len(values) // channels * channels].reshape(-1, channels)
    mono = np.clip(np.rint(frames.mean(axis=1)), -32768, 32767).astype(np.int16) if len(frames) else np.zeros(0, "i2")
    if sample_rate_hz is not None:
        return resample(mono, rate, sample_rate_hz), sample_rate_hz
    return mono, rate


def read_wav(path: str | os.PathLike[str], sample_rate_hz: int | None = None) -> tuple[NDArray[np.int16], int]:
    """Read a wav file as mono (N,) int16 samples and their rate in hertz (see `decode_wav`).

    Raises:
        FileFormatError: there is no such file, or it is not a wav file that can be used.
    """
    file = Path(path)
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise FileFormatError(f"expected a wav file of at most 2 GB, {file} is larger: cut it into pieces")
        data = file.read_bytes()
    except OSError as error:
        raise FileFormatError(f"expected a wav file, {file} cannot be read: {error.strerror}") from error
    return decode_wav(data, sample_rate_hz, str(file))


def encode_wav(samples: NDArray[np.int16], sample_rate_hz: int) -> bytes:
    """The bytes of a 16-bit mono wav file of (N,) int16 samples."""
    if samples.dtype != np.int16 or samples.ndim != 1:
        raise ValueError(f"samples must be (N,) int16; got {samples.shape} {samples.dtype}")
    body = samples.astype("<i2", copy=False).tobytes()
    layout = struct.pack("<HHIIHH", _PCM, 1, sample_rate_hz, sample_rate_hz * 2, 2, 16)
    head = b"WAVEfmt " + struct.pack("<I", len(layout)) + layout + b"data" + struct.pack("<I", len(body))
    return b"RIFF" + struct.pack("<I", len(head) + len(body)) + head + body


def write_wav(path: str | os.PathLike[str], samples: NDArray[np.int16], sample_rate_hz: int) -> None:
    """Write (N,) int16 samples as a 16-bit mono wav file."""
    Path(path).write_bytes(encode_wav(samples, sample_rate_hz))
