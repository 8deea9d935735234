"""The voice: synthesis, prosody, visemes, alignment, the face of a speaker.

The names are loaded on first use, because the espeak worker starts through this package and must start fast.
`prosody`, `visemes` and `align` are functions of the modules of the same names:
`from visavis.speech.prosody import prosody`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from visavis.speech.face import face_track, idle_face
    from visavis.speech.types import Phoneme, Speech, Voice, Word
    from visavis.speech.visemes import Viseme
    from visavis.speech.voices import open_voice
    from visavis.speech.wav import read_wav, write_wav

__all__ = [
    "Phoneme",
    "Speech",
    "Viseme",
    "Voice",
    "Word",
    "face_track",
    "idle_face",
    "open_voice",
    "read_wav",
    "write_wav",
]

_HOMES = {
    "Phoneme": "types",
    "Speech": "types",
    "Viseme": "visemes",
    "Voice": "types",
    "Word": "types",
    "face_track": "face",
    "idle_face": "face",
    "open_voice": "voices",
    "read_wav": "wav",
    "write_wav": "wav",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"visavis.speech.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'visavis.speech' has no attribute {name!r}")
