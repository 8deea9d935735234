"""Voices by name."""

from __future__ import annotations

import inspect

from visavis.errors import UsageError
from visavis.extensions import extension
from visavis.speech.cache import CachedVoice, KeyedVoice, SpeechCache, cache_folder
from visavis.speech.types import Voice

__all__ = ["has_pace", "open_voice"]


def open_voice(name: str, cache: bool = True) -> Voice:
    """Open a voice.

    Args:
        name: `silent` (no sound, times by rule), an espeak-ng voice such as `en-us` or `en-us+f3`, or the address of a
            speech server with OpenAI's `/v1/audio/speech`, `http://127.0.0.1:8880/v1?model=kokoro&voice=af_heart`;
            or a voice that another package offers (`visavis.extensions`).
        cache: keep what was spoken on disk as well; in memory it is always kept for the voice's lifetime.

    Raises:
        MissingExtraError: espeak-ng is asked for and the extra `speech` is not installed.
        UsageError: there is no such voice.
        VoiceError: the voice does not work.
    """
    voice: KeyedVoice
    if not isinstance(name, str) or not name.strip():
        raise UsageError(f"expected a voice such as 'en-us+f3', 'silent' or 'http://...', got {name!r}")
    added = extension("voice", name)
    if added is not None:
        return CachedVoice(added, SpeechCache(None)) if hasattr(added, "key") else added  # type: ignore[no-any-return]
    if name == "silent":
        from visavis.speech.silent import SilentVoice

        return CachedVoice(SilentVoice(), SpeechCache(None))
    if name.startswith(("http://", "https://")):
        from visavis.speech.http_voice import HttpVoice

        voice = HttpVoice(name)
    else:
        from visavis.speech.espeak import EspeakVoice

        voice = EspeakVoice(name)
    return CachedVoice(voice, SpeechCache(cache_folder() / "speech" if cache else None))


def has_pace(voice: Voice) -> bool:
    """Whether a voice can be told to speak faster or slower: its `speak` takes a `pace`, and so does its `key`."""
    if not isinstance(voice, CachedVoice):
        return "pace" in inspect.signature(voice.speak).parameters
    asked = (voice.voice.speak, voice.voice.key)
    return all("pace" in inspect.signature(one).parameters for one in asked)
