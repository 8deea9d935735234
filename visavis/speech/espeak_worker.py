"""The worker process of the espeak-ng voice: requests on standard input, sound and events on standard output.

espeak-ng is GPL-3.0, keeps global state and crashes when two threads enter it, so it lives in a process of its
own (`python -m visavis.speech.espeak_worker`), loaded by ctypes from the wheel `espeakng-loader`. The process
imports nothing heavy and ends when its standard input closes.

A frame is `b"VSP1"`, two little-endian uint32 (bytes of JSON, bytes of PCM), the JSON, the PCM (int16, mono).
A request is `{"id", "text", "voice", "rate", "pitch", "range", "volume"}` with no PCM; an empty text only checks
the voice. An answer is `{"id", "rate_hz", "words": [[ms, position, length]], "phonemes": [[ms, position, name]]}`
or `{"id", "error", "kind"}`; positions count characters of the text from 0, times are those of the first sample.

Source: espeak-ng `speak_lib.h` (structures and constants).
"""

from __future__ import annotations

import ctypes as C
import json
import os
import struct
import sys
import tempfile
from typing import IO, Any

__all__ = ["MAX_REQUEST_BYTES", "FrameError", "main", "read_frame", "write_frame"]

MAGIC = b"VSP1"
MAX_REQUEST_BYTES = 256 * 1024
MAX_PCM_BYTES = 512 * 1024 * 1024  # over three hours of 22,050 Hz
_HEAD = struct.Struct("<4sII")

_BUFFER_MS = 200
_SYNCHRONOUS = 2
_PHONEME_EVENTS, _IPA, _DO_NOT_EXIT = 1, 2, 0x8000
_UTF8 = 1
_PARAMETERS = {"rate": 1, "volume": 2, "pitch": 3, "range": 4}
_END, _WORD, _PHONEME = 0, 1, 7
_LONGEST_PATH = 150  # espeak-ng keeps the data path in a short fixed buffer


class FrameError(Exception):
    """A frame that is cut off, too large or not a frame."""


def _read_exactly(stream: IO[bytes], size: int) -> bytes:
    parts = []
    while size > 0:
        part = stream.read(size)
        if not part:
            raise FrameError("the stream ended inside a frame")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def read_frame(
    stream: IO[bytes], max_json: int = MAX_PCM_BYTES, max_pcm: int = MAX_PCM_BYTES
) -> tuple[dict[str, Any], bytes] | None:
    """Read one frame; None at the end of the stream.

    Raises:
        FrameError: cut off, larger than the limits (bytes), or no frame at all.
    """
    first = stream.read(1)
    if not first:
        return None
    magic, json_bytes, pcm_bytes = _HEAD.unpack(first + _read_exactly(stream, _HEAD.size - 1))
    if magic != MAGIC or json_bytes > max_json or pcm_bytes > max_pcm:
        raise FrameError(f"bad frame: {magic!r}, {json_bytes} + {pcm_bytes} bytes")
    try:
        header = json.loads(_read_exactly(stream, json_bytes))
    except ValueError as error:
        raise FrameError(f"bad JSON in a frame: {error}") from error
    if not isinstance(header, dict):
        raise FrameError("a frame's JSON is not an object")
    return header, _read_exactly(stream, pcm_bytes)


def write_frame(stream: IO[bytes], header: dict[str, Any], pcm: bytes = b"") -> None:
    """Write one frame and flush."""
    body = json.dumps(header).encode()
    stream.write(_HEAD.pack(MAGIC, len(body), len(pcm)) + body)
    if pcm:
        stream.write(pcm)
    stream.flush()


class _Id(C.Union):
    _fields_ = [("number", C.c_int), ("name", C.c_char_p), ("string", C.c_char * 8)]


class _Event(C.Structure):
    _fields_ = [
        ("type", C.c_int),
        ("uid", C.c_uint),
        ("text_position", C.c_int),
        ("length", C.c_int),
        ("audio_position", C.c_int),
        ("sample", C.c_int),
        ("user_data", C.c_void_p),
        ("id", _Id),
    ]


_Callback = C.CFUNCTYPE(C.c_int, C.POINTER(C.c_short), C.c_int, C.POINTER(_Event))


def _short_path(path: str) -> str:
    """The data folder, through a link in the temporary folder when its own path is too long for espeak-ng."""
    if len(path) <= _LONGEST_PATH:
        return path
    link = os.path.join(tempfile.mkdtemp(prefix="vsp"), "d")
    os.symlink(path, link)
    return link


class Engine:
    """espeak-ng, one per process."""

    def __init__(self) -> None:
        import espeakng_loader

        self.data_path = espeakng_loader.get_data_path()
        self.lib = C.CDLL(espeakng_loader.get_library_path())
        options = _PHONEME_EVENTS | _IPA | _DO_NOT_EXIT
        path = _short_path(self.data_path).encode()
        self.rate_hz = self.lib.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, path, options)
        if self.rate_hz <= 0:
            raise OSError(f"espeak-ng did not start (code {self.rate_hz}, data in {self.data_path})")
        self._callback = _Callback(self._collect)
        self.lib.espeak_SetSynthCallback(self._callback)
        self._voice = ""
        self._pcm: list[bytes] = []
        self._words: list[tuple[int, int, int]] = []
        self._phonemes: list[tuple[int, int, str]] = []

    def _collect(self, wav: Any, count: int, events: Any) -> int:
        i = 0
        while events[i].type != _END:
            event = events[i]
            if event.type == _WORD:
                self._words.append((event.audio_position, event.text_position - 1, event.length))
            elif event.type == _PHONEME:
                name = bytes(event.id.string).split(b"\0")[0].decode("utf8", "ignore")
                self._phonemes.append((event.audio_position, event.text_position - 1, name))
            i += 1
        if wav and count > 0:
            self._pcm.append(C.string_at(wav, count * 2))
        return 0

    def set_voice(self, name: str) -> None:
        """Choose `language` or `language+variant`; ValueError when it is not installed."""
        if name == self._voice:
            return
        _, _, variant = name.partition("+")
        variants = os.path.join(self.data_path, "voices", "!v")
        # espeak-ng silently ignores an unknown variant
        missing = bool(variant) and os.path.isdir(variants) and variant not in os.listdir(variants)
        if missing or self.lib.espeak_SetVoiceByName(name.encode()):
            raise ValueError(name)
        self._voice = name

    def speak(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Answer one request."""
        self.set_voice(str(request["voice"]))
        self._pcm, self._words, self._phonemes = [], [], []
        text = str(request["text"])
        if text:
            for name, number in _PARAMETERS.items():
                self.lib.espeak_SetParameter(number, int(request[name]), 0)
            raw = text.encode("utf8", "replace")
            code = self.lib.espeak_Synth(C.c_char_p(raw), C.c_size_t(len(raw) + 1), 0, 1, 0, _UTF8, None, None)
            if code:
                raise OSError(f"espeak-ng failed with code {code}")
        answer = {"rate_hz": self.rate_hz, "words": self._words, "phonemes": self._phonemes}
        return answer, b"".join(self._pcm)


def main() -> None:
    """Serve requests until standard input closes."""
    # The library may print; keep the pipe for frames alone.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    source = sys.stdin.buffer
    engine: Engine | None = None
    while (frame := read_frame(source, MAX_REQUEST_BYTES, 0)) is not None:
        request, _ = frame
        pcm = b""
        try:
            engine = engine or Engine()
            answer, pcm = engine.speak(request)
        except ImportError as error:
            answer = {"error": str(error), "kind": "missing"}
        except ValueError as error:
            answer = {"error": str(error), "kind": "voice"}
        except (OSError, KeyError) as error:
            answer = {"error": str(error), "kind": "failed"}
        write_frame(out, {"id": request.get("id"), **answer}, pcm)


if __name__ == "__main__":
    main()
