"""A recogniser for anything that is said: faster-whisper (extra `whisper`), with weights that the user gives.

The project ships no weights. Give a folder, or the name of a model on the Hugging Face hub, which faster-whisper then
downloads once: naming it is the user's consent to that; with HF_HUB_OFFLINE=1 only what is already there is taken.
Whisper hears whole utterances, so a partial result means hearing the utterance again from its start: off by default.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visavis.errors import MissingExtraError, ServiceError, UsageError
from visavis.speech.recogniser import HeardWord, Hypothesis
from visavis.speech.streamed import HEARING_HZ

__all__ = ["WhisperRecogniser"]

LONGEST_S = 30.0  # Whisper's window; of a longer utterance the last seconds are kept
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


class WhisperRecogniser:
    """Whisper over one utterance at a time."""

    name = "whisper"

    def __init__(
        self, weights: str | Path, *, language: str = "en", partial_every_s: float | None = None, device: str = "auto"
    ) -> None:
        """Load the weights.

        Args:
            weights: a folder in CTranslate2's form (holding `model.bin`), or a name on the hub such as "tiny.en".
            language: spoken; not guessed, because short utterances are guessed wrongly.
            partial_every_s: tell partial results after so much new sound; None for none.
            device: "cpu", "cuda" or "auto".

        Raises:
            MissingExtraError: the extra `whisper` is not installed.
            UsageError: there are no such weights.
            ServiceError: the hub cannot be reached or the weights cannot be loaded.
        """
        place = _checked(weights)
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise MissingExtraError("recognising speech with Whisper", "whisper") from error
        try:
            self._model: Any = WhisperModel(place, device=device, cpu_threads=1)
        except ValueError as error:
            raise UsageError(
                f"expected weights for faster-whisper, {weights} are none: {_first_line(error)}"
            ) from error
        except Exception as error:  # the library raises what its parts raise: the hub, the network, CTranslate2
            raise ServiceError(
                f"the weights {str(weights)!r} could not be loaded ({_first_line(error)}): give a folder that holds "
                "model.bin, or check the connection to the hub"
            ) from error
        self._language, self._partial_every_s = language, partial_every_s
        self.start()

    def start(self) -> None:
        """An utterance begins."""
        self._pieces: list[NDArray[np.float32]] = []
        self._dropped = self._kept = self._since = 0

    def feed(self, pcm: NDArray[np.float32]) -> Hypothesis | None:
        """Keep the sound; now and then, if asked for, tell what it holds so far."""
        self._pieces.append(pcm.astype(np.float32))
        self._kept += len(pcm)
        self._since += len(pcm)
        while self._kept - len(self._pieces[0]) > LONGEST_S * HEARING_HZ:
            first = self._pieces.pop(0)
            self._kept -= len(first)
            self._dropped += len(first)
        if self._partial_every_s is None or self._since < self._partial_every_s * HEARING_HZ:
            return None
        self._since = 0
        return self._transcribed(final=False)

    def finish(self) -> Hypothesis:
        """What was said."""
        return self._transcribed(final=True)

    def close(self) -> None:
        """Let go of the model."""
        self._model = None
        self._pieces = []

    def _transcribed(self, final: bool) -> Hypothesis:
        if self._kept < HEARING_HZ // 10:
            return Hypothesis("", (), 0.0, final)
        sound = np.concatenate(self._pieces)[-round(LONGEST_S * HEARING_HZ) :]
        try:
            segments, _ = self._model.transcribe(
                sound, language=self._language, task="transcribe", beam_size=5 if final else 1, word_timestamps=True,
                condition_on_previous_text=False, vad_filter=False,
            )  # fmt: skip
            return _hypothesis(list(segments), self._dropped / HEARING_HZ, final)
        except RuntimeError as error:
            raise ServiceError(
                f"Whisper failed ({_first_line(error)}): say it again, or use another recogniser"
            ) from error


def _hypothesis(segments: Iterable[Any], shift_s: float, final: bool) -> Hypothesis:
    """faster-whisper's segments as one result; words without a time of their own are left out."""
    words = tuple(
        HeardWord(w.word.strip(), float(w.start) + shift_s, float(w.end) + shift_s, float(np.clip(w.probability, 0, 1)))
        for segment in segments
        for w in segment.words or ()
        if w.word.strip()
    )
    text = " ".join(w.text for w in words)
    confidence = float(np.exp(np.mean([np.log(max(w.confidence, 1e-6)) for w in words]))) if words else 0.0
    return Hypothesis(text, words, confidence, final)


def _checked(weights: str | Path) -> str:
    """A folder that exists, or something that looks like a name on the hub."""
    text = str(weights)
    if Path(text).is_dir():
        if not (Path(text) / "model.bin").is_file():
            raise UsageError(f"expected a folder with model.bin (CTranslate2), {text} has none: convert the weights")
        return text
    if isinstance(weights, Path) or not _HUB_NAME.fullmatch(text):
        raise UsageError(f"expected a folder of weights or a name such as 'tiny.en'; there is no folder {text}")
    return text


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
