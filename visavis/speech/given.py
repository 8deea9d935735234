"""What somebody's own voice gives, made whole: a turn needs int16 samples, the times of all words, and phonemes.

A voice that tells no words, or not all of them, is aligned like a recording; one that tells words and no phonemes is
listened to for the mouth. Which voice it is does not matter here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from visavis.errors import VoiceError
from visavis.speech.types import Speech

__all__ = ["whole"]


def whole(speech: Any, text: str) -> Speech:
    """A voice's answer with everything that a turn needs.

    Args:
        speech: what `Voice.speak` returned; samples int16, or floats in [-1, 1].
        text: what it was to speak.

    Raises:
        VoiceError: it is no `Speech`, or there is no sound in it.
    """
    if not isinstance(speech, Speech):
        raise VoiceError(
            f"expected Speech from the voice; got {type(speech).__name__}: "
            "return visavis.speech.types.Speech(text, samples, sample_rate_hz)"
        )
    samples = np.asarray(speech.samples)
    if samples.ndim != 1 or not (samples.dtype == np.int16 or samples.dtype.kind == "f"):
        raise VoiceError(
            f"expected (N,) int16 samples, or floats in [-1, 1], from the voice; got {samples.shape} {samples.dtype}"
        )
    if not len(samples):
        raise VoiceError(f"the voice gave no sound for {text[:60]!r}")
    if samples.dtype != np.int16:
        clipped = np.clip(np.nan_to_num(samples.astype(np.float64)), -1.0, 1.0)
        speech = replace(speech, samples=np.round(32_767 * clipped).astype(np.int16))
    if [word.text for word in speech.words] != text.split():
        from visavis.speech.align import align

        return replace(align(speech.samples, speech.sample_rate_hz, text), voice=speech.voice)
    if not speech.phonemes and np.any(speech.samples):
        from visavis.speech.heard import heard_phonemes

        return replace(speech, phonemes=heard_phonemes(speech.samples, speech.sample_rate_hz))
    return speech
