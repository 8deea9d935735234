"""The espeak-ng voice: the client of `espeak_worker`, which does the speaking in a process of its own.

The worker starts on the first use, is restarted once when it dies or does not answer in time, and belongs to the
process that started it (after a fork a new one starts). Calls from several threads wait for each other.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import queue
import re
import subprocess
import sys
import threading
import weakref
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from visavis.emotion import Emotion
from visavis.errors import MissingExtraError, TextError, UsageError, VoiceError
from visavis.processes import start_module
from visavis.speech.espeak_worker import FrameError, read_frame, write_frame
from visavis.speech.manner import manner
from visavis.speech.types import Phoneme, Speech
from visavis.speech.words import Sound, assemble, is_spoken, speakable

__all__ = ["EspeakVoice"]

NAME = re.compile(r"[a-z]{2,3}(-[a-z0-9]{1,12}){0,3}(\+[A-Za-z0-9]{1,20})?")
MAX_CHARACTERS = 20_000
_WORDS_A_MINUTE, _PITCH, _RANGE, _VOLUME = 165, 50, 55, 90  # espeak-ng's own scales
_PITCH_PER_SEMITONE = 5.0  # 50 points of espeak-ng's pitch are about ten semitones
_CHUNK = 1_200  # characters per request
_JOIN_S = 0.30  # the pause between two requests, as after a full stop
_START_TIMEOUT_S, _TIMEOUT_S = 10.0, 20.0
_QUIET_S = 0.3  # what is heard of a text in which nothing is spoken
_CLOSURE_S = 0.09  # longest silence before the burst of a voiceless stop
_STOPS = ("p", "t", "k", "tʃ")


_Answers = queue.SimpleQueue[tuple[dict[str, Any], bytes] | None]


def _read(pipe: IO[bytes], answers: _Answers) -> None:
    """Pass frames on until the pipe ends; None marks the end."""
    with contextlib.suppress(OSError, FrameError, ValueError):
        while (frame := read_frame(pipe)) is not None:
            answers.put(frame)
    answers.put(None)


def _stop(process: subprocess.Popen[bytes], reader: threading.Thread, pid: int) -> None:
    """End a worker; its pipes are closed when nobody reads them any more."""
    if pid != os.getpid():
        return  # a fork's copy: the process belongs to the parent
    with contextlib.suppress(OSError):
        process.kill()
    process.wait(timeout=5)
    reader.join(timeout=5)
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError, ValueError):
            if pipe is not None:
                pipe.close()


class _Worker:
    """One worker process and the thread that reads its answers."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        try:
            self.process = start_module("visavis.speech.espeak_worker")
        except OSError as error:
            raise VoiceError(f"the voice's process could not be started ({error}): check {sys.executable}") from error
        self._answers: _Answers = queue.SimpleQueue()
        reader = threading.Thread(target=_read, args=(self.process.stdout, self._answers), daemon=True)
        reader.start()
        self.stop = weakref.finalize(self, _stop, self.process, reader, self.pid)  # at the latest when Python ends

    def ask(self, request: dict[str, Any], timeout_s: float) -> tuple[dict[str, Any], bytes] | None:
        """The answer, or None when the process died, broke the protocol or was too slow."""
        assert self.process.stdin is not None
        try:
            write_frame(self.process.stdin, request)
            answer = self._answers.get(timeout=timeout_s)
        except (OSError, ValueError, queue.Empty):
            return None
        return answer if answer is not None and answer[0].get("id") == request["id"] else None


_inherited: list[_Worker] = []


class EspeakVoice:
    """espeak-ng's formant voice `name`: a language with an optional variant, `en-us`, `en-us+f3`, `en+m3`."""

    def __init__(self, name: str) -> None:
        """Start the worker and check that the voice is there.

        Raises:
            MissingExtraError: the extra `speech` is not installed.
            UsageError: espeak-ng has no such voice.
            VoiceError: the worker does not work.
        """
        if importlib.util.find_spec("espeakng_loader") is None:
            raise MissingExtraError("the espeak-ng voice", "speech")
        if not NAME.fullmatch(name):
            raise UsageError(f"expected a voice such as 'en-us' or 'en-us+f3', got {name!r}")
        self.name = name
        self._version = importlib.metadata.version("espeakng-loader")
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self._count = 0
        try:
            self._ask("", {})
        except BaseException:
            self.close()
            raise

    def settings(self, emotion: Emotion, pace: float = 1.0) -> dict[str, int]:
        """espeak-ng's rate (words a minute), pitch, range and volume for an emotion."""
        change = manner(emotion)
        return {
            "rate": round(_WORDS_A_MINUTE * change.rate * pace),
            "pitch": int(np.clip(round(_PITCH + _PITCH_PER_SEMITONE * change.pitch), 0, 99)),
            "range": int(np.clip(round(_RANGE * change.range), 0, 99)),
            "volume": int(np.clip(round(_VOLUME * change.volume), 0, 120)),
        }

    def speak(self, text: str, emotion: Emotion = Emotion(), pace: float = 1.0) -> Speech:  # noqa: B008 - frozen
        """Speak a text, `pace` times as fast as usual; see `visavis.speech.types.Voice`."""
        if not text.strip():
            raise TextError("expected text with at least one word to speak, got none")
        if len(text) > MAX_CHARACTERS:
            raise TextError(f"expected at most {MAX_CHARACTERS} characters, got {len(text)}: speak it clause by clause")
        settings = self.settings(emotion, pace)
        samples: list[NDArray[np.int16]] = []
        sounds: list[Sound] = []
        rate_hz, at_s = 22_050, 0.0
        for start, end in _pieces(text):
            if not is_spoken(text[start:end]):
                continue
            if samples:
                silence = np.zeros(round(_JOIN_S * rate_hz), np.int16)
                sounds.append(Sound(Phoneme("", at_s, at_s + _JOIN_S), start))
                samples.append(silence)
                at_s += _JOIN_S
            answer, pcm = self._ask(speakable(text[start:end]), settings)
            rate_hz = int(answer["rate_hz"])
            piece = np.frombuffer(pcm, "<i2").astype(np.int16, copy=False)
            sounds += [_moved(s, at_s, start) for s in _sounds(answer, piece, rate_hz)]
            samples.append(piece)
            at_s += len(piece) / rate_hz
        if not samples or at_s == 0.0:
            samples = [np.zeros(round(_QUIET_S * rate_hz), np.int16)]
        return assemble(text, sounds, np.concatenate(samples), rate_hz, self.name)

    def key(self, emotion: Emotion, pace: float = 1.0) -> str:
        """What besides the text decides the sound, for the cache."""
        return f"espeak-ng {self._version} {self.name} {self.settings(emotion, pace)}"

    def _ask(self, text: str, settings: dict[str, int]) -> tuple[dict[str, Any], bytes]:
        with self._lock:
            for _ in range(2):
                if self._worker is not None and self._worker.pid != os.getpid():
                    _inherited.append(self._worker)  # the parent's: not ours to end or to close
                    self._worker = None
                started = self._worker is None
                if self._worker is None:
                    self._worker = _Worker()
                self._count += 1
                request = {"id": self._count, "text": text, "voice": self.name, **settings}
                found = self._worker.ask(request, _TIMEOUT_S + (_START_TIMEOUT_S if started else 0.0))
                if found is not None:
                    break
                self._worker.stop()
                self._worker = None
            else:
                raise VoiceError("the voice's process died or did not answer, twice: try again, or use voice 'silent'")
        answer, pcm = found
        kind = answer.get("kind")
        if kind == "missing":
            raise MissingExtraError("the espeak-ng voice", "speech")
        if kind == "voice":
            raise UsageError(
                f"espeak-ng has no voice {self.name!r}: expected one such as 'en-us', 'en-us+f3' or 'en+m3'"
            )
        if kind:
            raise VoiceError(f"espeak-ng failed ({answer.get('error')}): try again, or use voice 'silent'")
        return answer, pcm

    def close(self) -> None:
        """End the worker process."""
        with self._lock:
            if self._worker is not None:
                self._worker.stop()
                self._worker = None


def _pieces(text: str) -> list[tuple[int, int]]:
    """Cut long text behind sentences (else phrases, else words, else anywhere) into (start, end) positions."""
    pieces, start = [], 0
    while len(text) - start > _CHUNK:
        window = text[start : start + _CHUNK]
        cut = 0
        for border in (r"[.!?…][\"'”’)]*\s", r"[,;:]\s", r"\s"):
            ends = [m.end() for m in re.finditer(border, window)]
            if ends and ends[-1] > _CHUNK // 4:
                cut = ends[-1]
                break
        pieces.append((start, start + (cut or _CHUNK)))
        start = pieces[-1][1]
    pieces.append((start, len(text)))
    return pieces


def _moved(sound: Sound, seconds: float, characters: int) -> Sound:
    p = sound.phoneme
    return Sound(Phoneme(p.symbol, p.start_s + seconds, p.end_s + seconds, p.stress), sound.position + characters)


def _sounds(answer: dict[str, Any], samples: NDArray[np.int16], rate_hz: int) -> list[Sound]:
    """Phoneme events → sounds with ends; the first sound of a word takes the word's position."""
    duration_s = len(samples) / rate_hz
    events = answer["phonemes"]
    sounds: list[Sound] = []
    for i, (ms, position, name) in enumerate(events):
        start_s = min(ms / 1000, duration_s)
        end_s = min(events[i + 1][0] / 1000, duration_s) if i + 1 < len(events) else duration_s
        stress = 2 if "ˈ" in name else 1 if "ˌ" in name else 0
        symbol = name.replace("ˈ", "").replace("ˌ", "")
        previous = sounds[-1].phoneme if sounds else None
        if not symbol and previous is not None and (end_s - start_s < 0.035 or not previous.symbol):
            # a glide inside a word, or silence after silence
            longer = Phoneme(previous.symbol, previous.start_s, max(previous.end_s, end_s), previous.stress)
            sounds[-1] = Sound(longer, sounds[-1].position)
            continue
        if symbol in _STOPS and previous is not None:
            start_s = _closure(samples, rate_hz, start_s, previous)
            cut = Phoneme(previous.symbol, previous.start_s, start_s, previous.stress)
            sounds[-1] = Sound(cut, sounds[-1].position)
        sounds.append(Sound(Phoneme(symbol, start_s, max(start_s, end_s), stress), position))
    return sounds


def _closure(samples: NDArray[np.int16], rate_hz: int, burst_s: float, previous: Phoneme) -> float:
    """espeak-ng reports the burst of a voiceless stop; its closure is the silence before, which ends the sound before.

    The earliest start of the silence is 15 ms into the sound before.
    """
    hop = rate_hz // 400  # 2.5 ms
    earliest = max(previous.start_s + 0.015, burst_s - _CLOSURE_S)
    end = round(burst_s * rate_hz)
    start = round(earliest * rate_hz)
    if end - start < 2 * hop:
        return burst_s
    rows = np.abs(samples[start:end][: (end - start) // hop * hop].astype(np.int32)).reshape(-1, hop).max(axis=1)
    loud = np.flatnonzero(rows[:-2] > 60)  # the burst may begin one or two rows early
    first = int(loud[-1]) + 1 if len(loud) else 0
    return earliest + first * hop / rate_hz if first < len(rows) - 2 else burst_s
