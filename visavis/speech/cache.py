"""Spoken texts kept in memory and on disk, so that the same text with the same settings always sounds the same.

On disk an entry is a wav file and a JSON file named by the SHA-256 of the text and everything that decides its sound;
nothing is ever unpickled, and an entry that does not fit what it promises is spoken again. The folder is
`$VISAVIS_CACHE_DIR/speech`, else that of the user's cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, Protocol

from visavis.emotion import Emotion
from visavis.errors import FileFormatError
from visavis.speech.types import Phoneme, Speech, Voice, Word
from visavis.speech.wav import decode_wav, encode_wav

__all__ = ["CachedVoice", "SpeechCache", "cache_folder"]

_VERSION = 1  # of the entries: raise it when words or phonemes are derived differently
_IN_MEMORY = 256
_MAX_BYTES = 512 * 1024 * 1024
_SWEEP_EVERY = 200  # writes


def cache_folder() -> Path:
    """Where cached things go: `VISAVIS_CACHE_DIR`, else the user's cache folder of the platform."""
    if given := os.environ.get("VISAVIS_CACHE_DIR"):
        return Path(given)
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "visavis" / "Cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "visavis"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "visavis"


class KeyedVoice(Voice, Protocol):
    """A voice that can say what decides its sound."""

    def key(self, emotion: Emotion) -> str:
        """Everything besides the text that decides the sound."""
        ...


def _to_json(speech: Speech) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "text": speech.text,
        "voice": speech.voice,
        "rate_hz": speech.sample_rate_hz,
        "samples": len(speech.samples),
        "words": [[w.text, w.start_s, w.end_s, w.stress, w.stress_s, w.char_start, w.char_end] for w in speech.words],
        "phonemes": [[p.symbol, p.start_s, p.end_s, p.stress] for p in speech.phonemes],
    }


class SpeechCache:
    """Entries by key; `folder` None keeps them in memory alone. Threads and processes may share a folder."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._memory: OrderedDict[str, Speech] = OrderedDict()
        self._lock = threading.Lock()
        self._writes = 0

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / key[:2] / key

    def get(self, key: str, text: str) -> Speech | None:
        """The entry, or None when there is none that is whole."""
        with self._lock:
            if key in self._memory:
                self._memory.move_to_end(key)
                return self._memory[key]
        if self.folder is None:
            return None
        path = self._path(key)
        try:
            entry = json.loads(path.with_suffix(".json").read_bytes())
            samples, rate_hz = decode_wav(path.with_suffix(".wav").read_bytes())
            if (entry["version"], entry["text"], entry["rate_hz"]) != (_VERSION, text, rate_hz):
                return None
            if entry["samples"] != len(samples):
                return None
            words = tuple(
                Word(str(t), float(a), float(b), float(s), float(v), int(i), int(j))
                for t, a, b, s, v, i, j in entry["words"]
            )
            phonemes = tuple(Phoneme(str(t), float(a), float(b), int(s)) for t, a, b, s in entry["phonemes"])
            speech = Speech(text, samples, rate_hz, words, phonemes, str(entry["voice"]))
        except (OSError, ValueError, KeyError, TypeError, FileFormatError):
            return None
        self._remember(key, speech)
        return speech

    def put(self, key: str, speech: Speech) -> None:
        """Keep an entry; a disk that cannot be written costs the cache, not the speech."""
        self._remember(key, speech)
        if self.folder is None:
            return
        path = self._path(key)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            # the JSON comes last: an entry without it does not exist
            _replace(path.with_suffix(".wav"), encode_wav(speech.samples, speech.sample_rate_hz))
            _replace(path.with_suffix(".json"), json.dumps(_to_json(speech)).encode())
            self._writes += 1
            if self._writes % _SWEEP_EVERY == 0:
                self._sweep()

    def _remember(self, key: str, speech: Speech) -> None:
        speech.samples.flags.writeable = False  # shared by everybody who asks
        with self._lock:
            self._memory[key] = speech
            while len(self._memory) > _IN_MEMORY:
                self._memory.popitem(last=False)

    def _sweep(self) -> None:
        """Delete the oldest entries when the folder has grown past its limit."""
        assert self.folder is not None
        files = [(f.stat().st_mtime, f.stat().st_size, f) for f in self.folder.glob("??/*.wav")]
        total = sum(size for _, size, _ in files)
        for _, size, file in sorted(files, key=lambda entry: entry[0]):
            if total <= _MAX_BYTES:
                break
            file.with_suffix(".json").unlink(missing_ok=True)
            file.unlink(missing_ok=True)
            total -= size


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that nobody sees half of it."""
    part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    part.write_bytes(data)
    os.replace(part, path)


class CachedVoice:
    """A voice that speaks each text once for each manner of speaking."""

    def __init__(self, voice: KeyedVoice, cache: SpeechCache) -> None:
        self.voice = voice
        self.cache = cache
        self.name = voice.name

    def speak(self, text: str, emotion: Emotion = Emotion(), pace: float = 1.0) -> Speech:  # noqa: B008 - frozen
        """Speak a text, or return what was spoken before; see `visavis.speech.types.Voice`.

        `pace` other than 1 is for voices that have one (`visavis.speech.voices.has_pace`).
        """
        how: dict[str, Any] = {} if pace == 1.0 else {"pace": pace}
        said = json.dumps([_VERSION, self.voice.key(emotion, **how), text])
        key = hashlib.sha256(said.encode()).hexdigest()
        speech = self.cache.get(key, text)
        if speech is None:
            speech = self.voice.speak(text, emotion, **how)
            self.cache.put(key, speech)
        return speech

    def close(self) -> None:
        """Free what the voice holds."""
        self.voice.close()
