"""Any server with OpenAI's `/v1/audio/speech` as a voice: wav or raw PCM comes back, times by alignment.

The address names the server, and its query the model, the voice and (for raw PCM) the rate:
`http://127.0.0.1:8880/v1?model=kokoro&voice=af_heart&rate=24000`. A key is taken from `VISAVIS_SPEECH_API_KEY`.
"""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit, urlunsplit

import numpy as np
from numpy.typing import NDArray

from visavis.emotion import Emotion
from visavis.errors import FileFormatError, TextError, UsageError, VoiceError
from visavis.speech.align import align
from visavis.speech.manner import manner
from visavis.speech.types import Speech
from visavis.speech.wav import decode_wav

__all__ = ["HttpVoice"]

MAX_BYTES = 256 * 1024 * 1024
_TIMEOUT_S = 60.0
_PCM_RATE_HZ = 24_000


class HttpVoice:
    """A speech server."""

    def __init__(self, address: str) -> None:
        """`address` as in the module's head; nothing is sent yet."""
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"expected an address such as 'http://127.0.0.1:8880/v1?voice=alloy', got {address!r}")
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        path = parts.path.rstrip("/")
        if not path.endswith("/audio/speech"):
            path += "/audio/speech" if path.endswith("/v1") else "/v1/audio/speech"
        self.url = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
        self.name = address
        self._model, self._voice = query.get("model", "tts-1"), query.get("voice", "alloy")
        rate = query.get("rate", str(_PCM_RATE_HZ))
        if not rate.isdigit() or not 4_000 <= int(rate) <= 192_000:
            raise UsageError(f"expected a rate in hertz between 4000 and 192000 in the voice's address, got {rate!r}")
        self._rate_hz = int(rate)
        import httpx

        key = os.environ.get("VISAVIS_SPEECH_API_KEY")
        self._client = httpx.Client(timeout=_TIMEOUT_S, headers={"Authorization": f"Bearer {key}"} if key else {})
        self._lock = threading.Lock()

    def key(self, emotion: Emotion, pace: float = 1.0) -> str:
        """What besides the text decides the sound, for the cache."""
        return f"{self.name} {self._speed(emotion, pace)}"

    @staticmethod
    def _speed(emotion: Emotion, pace: float) -> float:
        return round(manner(emotion).rate * pace, 2)

    def speak(self, text: str, emotion: Emotion = Emotion(), pace: float = 1.0) -> Speech:  # noqa: B008 - frozen
        """Speak a text, `pace` times as fast as usual; see `visavis.speech.types.Voice`."""
        if not text.strip():
            raise TextError("expected text with at least one word to speak, got none")
        import httpx

        request = {
            "model": self._model,
            "voice": self._voice,
            "input": text,
            "response_format": "wav",
            "speed": self._speed(emotion, pace),
        }
        body = bytearray()
        try:
            with self._lock, self._client.stream("POST", self.url, json=request) as response:
                for part in response.iter_bytes():
                    body += part
                    if len(body) > MAX_BYTES:
                        raise VoiceError(f"expected at most {MAX_BYTES} bytes of speech from {self.url}, more came")
                status, kind = response.status_code, response.headers.get("content-type", "")
        except httpx.HTTPError as error:
            raise VoiceError(f"the speech server {self.url} failed ({error}): is it running?") from error
        if status != 200:
            said = bytes(body[:200]).decode("utf8", "replace")
            raise VoiceError(f"the speech server {self.url} answered {status}: {said}")
        samples, rate_hz = self._decode(bytes(body), kind)
        if not len(samples):
            raise VoiceError(f"the speech server {self.url} sent no sound for {text[:60]!r}")
        return replace(align(samples, rate_hz, text), voice=self.name)

    def _decode(self, body: bytes, kind: str) -> tuple[NDArray[np.int16], int]:
        if body[:4] == b"RIFF":
            try:
                return decode_wav(body, name="the answer")
            except FileFormatError as error:
                raise VoiceError(f"the speech server {self.url}: {error}") from error
        if "pcm" in kind or "octet-stream" in kind or "L16" in kind:
            return np.frombuffer(body[: len(body) // 2 * 2], "<i2").astype(np.int16), self._rate_hz
        raise VoiceError(f"expected wav or raw PCM from {self.url}, got {kind or 'no content type'}: check its formats")

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
