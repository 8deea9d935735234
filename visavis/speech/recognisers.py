"""Recognisers by name, as options have them: `phrases:FILE`, `whisper:FOLDER_OR_NAME`, or what a package offers."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from visavis.errors import FileFormatError, UsageError
from visavis.extensions import extension, names
from visavis.speech.recogniser import Recogniser

__all__ = ["open_recogniser"]

MOST_BYTES: Final = 64 * 1024


def open_recogniser(spec: str) -> Recogniser:
    """Open one.

    Args:
        spec: `phrases:FILE`, a text file with one phrase a line, any of which is heard; `whisper:PLACE`, weights for
            faster-whisper; or the name of an installed one (`visavis.extensions`).
    Raises:
        UsageError: there is no such recogniser, or it cannot be opened so.
        FileFormatError: the file of phrases cannot be read.
        MissingExtraError: its extra is not installed.
    """
    kind, _, place = spec.partition(":")
    if kind == "phrases" and place:
        from visavis.speech.grammar import GrammarRecogniser

        return GrammarRecogniser(_phrases(Path(place)))
    if kind == "whisper" and place:
        from visavis.speech.whisper import WhisperRecogniser

        return WhisperRecogniser(place)
    found: Recogniser | None = extension("recogniser", spec)
    if found is None:
        known = ", ".join(["phrases:FILE", "whisper:FOLDER_OR_NAME", *names("recogniser")])
        raise UsageError(f"expected a recogniser ({known}); got {spec[:80]!r}")
    return found


def _phrases(path: Path) -> list[str]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise FileFormatError(f"expected at most {MOST_BYTES:,} bytes of phrases in {path}: shorten it")
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise FileFormatError(f"expected a text file with one phrase a line; {path} cannot be read: {error}") from None
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]
