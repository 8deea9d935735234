"""A fingerprint ties together what was made for each other: codec, vocabulary, planner, refiner, tokenised library.

The planner's codes mean something only under the codec it was trained with; the refiner repairs that codec's errors;
the library holds that codec's tokens. `record` writes, when weights are made, what belongs together: each part's
SHA-256, and one over all. `check_models` refuses a mixture with one sentence.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final

from visavis.errors import FingerprintError

__all__ = ["FILE", "check_models", "models_fingerprint", "part_hashes", "record"]

FILE: Final = "fingerprint.json"
PARTS: Final = ("codec", "vocabulary", "planner", "refiner", "library")
_REMEDY: Final = {
    "library": "run `visavis library retokenise`",
    "vocabulary": "restore the planner's folder",
    "planner": "restore the planner's folder",
    "codec": "use the codec it was trained with, or train the planner again",
    "refiner": "train the refiner with this codec",
}


def part_hashes(models: Path, planner: Path | None = None) -> dict[str, str]:
    """SHA-256 of each part that exists: `models` holds codec, refiner and library; `planner` its own folder."""
    planner = planner or models / "planner"
    found = {}
    for part in PARTS:
        if part == "vocabulary":  # our own text pieces, or those of a base
            own = (planner / "text.model").is_file()
            files = [planner / ("text.model" if own else "tokenizer.json"), planner / "vocabulary.json"]
        elif part == "planner":  # large models come in several files
            files = [
                planner / "config.json",
                *(sorted(planner.glob("model*.safetensors")) or [planner / "model.safetensors"]),
            ]
        else:
            files = sorted(p for p in (models / part).rglob("*") if p.suffix in (".safetensors", ".json", ".npz"))
            files = [path for path in files if path.name != FILE]
        if files and all(path.is_file() for path in files):
            digest = hashlib.sha256()
            for path in files:
                digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
            found[part] = digest.hexdigest()
    return found


def models_fingerprint(models: Path, planner: Path | None = None) -> str:
    """One short name for all parts together, 16 hexadecimal digits."""
    return _together(part_hashes(models, planner))


def record(models: Path, planner: Path | None = None) -> str:
    """Write what belongs together, in the planner's folder and, for the shipped planner, beside all models."""
    planner = planner or models / "planner"
    hashes = part_hashes(models, planner)
    content = json.dumps({"version": 1, "fingerprint": _together(hashes), "parts": hashes}, indent=1) + "\n"
    (planner / FILE).write_text(content, encoding="utf-8")
    if planner.resolve() == (models / "planner").resolve():
        (models / FILE).write_text(content, encoding="utf-8")
    return _together(hashes)


def check_models(models: Path, planner: Path | None = None) -> str:
    """The `models_fingerprint` of parts that are those that `record` saw together.

    A library or refiner that was recorded and is absent is not an error: both are optional when a turn runs.

    Raises:
        FingerprintError: a part is another.
    """
    planner = planner or models / "planner"
    path = planner / FILE
    try:
        wanted: dict[str, str] = dict(json.loads(path.read_text(encoding="utf-8"))["parts"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FingerprintError(
            f"expected {path}, which says what the planner was made for; got {error!r}: "
            "train it with `visavis train planner` or restore the folder"
        ) from error
    found = part_hashes(models, planner)
    for part, value in wanted.items():
        if part not in found and part in ("refiner", "library"):
            continue
        if found.get(part) != value:
            came = f"{found[part][:12]}" if part in found else "none"
            raise FingerprintError(
                f"expected the {part} {value[:12]} that the planner in {planner} was made with, got {came}: "
                f"{_REMEDY.get(part, 'restore it')}"
            )
    return _together(found)


def _together(hashes: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()[:16]
