"""Recorded clips: gestures that somebody added to the library, one file each in a folder.

A clip is written under another name and moved into place when it is whole, so that a process that dies leaves every
earlier clip as it was. The folder itself is the index: nothing else has to be kept in step with it. Files are
safetensors with a JSON header; nothing is unpickled, and a file that is not whole is named and passed over.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from visavis.errors import FileFormatError, LexiconError, ServiceError
from visavis.motion.motion import FPS, Motion
from visavis.motion.phases import Phases
from visavis.motion.skeleton import default_skeleton
from visavis.retrieval.embedder import DIMENSIONS

__all__ = ["Clip", "ClipStore", "slug_of"]

log = logging.getLogger(__name__)

VERSION: Final = 1
MOST_BYTES: Final = 64 << 20
MOST_FRAMES: Final = 60 * FPS
_SUFFIX: Final = ".safetensors"
_PARTIAL: Final = ".partial"


@dataclass(frozen=True, eq=False)
class Clip:
    """One recorded performance of a gesture on the default skeleton.

    Attributes:
        name: of the clip, and of its file.
        gloss: what it is called in a plan; several clips may share one.
        meaning: one line saying what it means.
        examples: sentences that people say with it.
        motion: T frames at 30 fps; its first frame is at `phases.start_s`.
        phases: sync points on the clip's clock.
        hands: "left", "right", "both" or "none".
        codes: (S, P) its motion tokens under the codec of `codec`.
        codec: SHA-256 of the codec that made them.
        vectors: (1 + E, 384) float32, MiniLM's of the meaning and of the examples.
        source: the file that it came from.
    """

    name: str
    gloss: str
    meaning: str
    examples: tuple[str, ...]
    motion: Motion
    phases: Phases
    hands: str
    codes: NDArray[np.int32]
    codec: str
    vectors: NDArray[np.float32]
    source: str = ""


def slug_of(text: str) -> str:
    """A file name of a gloss: small letters, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:60] or "clip"


class ClipStore:
    """A folder of clips.

    Args:
        folder: made when the first clip is added.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def paths(self) -> list[Path]:
        """The files of all clips, in order of name."""
        return sorted(self.folder.glob(f"*{_SUFFIX}")) if self.folder.is_dir() else []

    def __len__(self) -> int:
        return len(self.paths())

    def __iter__(self) -> Iterator[Clip]:
        for path in self.paths():
            try:
                yield read_clip(path)
            except FileFormatError as error:
                log.warning("%s: it is passed over", error)

    def read(self, name: str) -> Clip:
        """One clip.

        Raises:
            LexiconError: there is none of that name.
            FileFormatError: its file is not whole.
        """
        path = self.folder / f"{name}{_SUFFIX}"
        if slug_of(name) != name or not path.is_file():
            raise LexiconError(f"no clip {name!r} in {self.folder}: `visavis library list` names them all")
        return read_clip(path)

    def add(self, clip: Clip) -> Clip:
        """Write a clip under a name of its own, `clip.name` if that is free; it is whole or not there at all.

        Raises:
            ServiceError: the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for number in range(1, 1_000_000):
                name = slug_of(clip.name) if number == 1 else f"{slug_of(clip.name)}_{number}"
                path = self.folder / f"{name}{_SUFFIX}"
                if path.exists():
                    continue
                made = replace(clip, name=name)
                partial = self._write(made)
                try:
                    os.link(partial, path)  # never over a clip that somebody else has added meanwhile
                except FileExistsError:
                    continue
                finally:
                    partial.unlink()
                self._settle()
                return made
        except OSError as error:
            raise ServiceError(
                f"the library {self.folder} cannot be written ({error.strerror}): {_NOTHING_LOST}"
            ) from error
        raise LexiconError(f"no name is left for {clip.name!r} in {self.folder}: give another gloss")

    def replace(self, clip: Clip) -> None:
        """Write a clip over the one of its name."""
        try:
            os.replace(self._write(clip), self.folder / f"{clip.name}{_SUFFIX}")
            self._settle()
        except OSError as error:
            raise ServiceError(
                f"the library {self.folder} cannot be written ({error.strerror}): {_NOTHING_LOST}"
            ) from error

    def remove(self, name: str) -> None:
        """Take a clip out.

        Raises:
            LexiconError: there is none of that name.
        """
        path = self.folder / f"{name}{_SUFFIX}"
        if slug_of(name) != name or not path.is_file():
            raise LexiconError(f"no clip {name!r} in {self.folder}: `visavis library list` names them all")
        path.unlink()
        self._settle()

    def _write(self, clip: Clip) -> Path:
        partial = self.folder / f"{clip.name}.{os.getpid()}{_PARTIAL}"
        arrays = {
            "rotations": clip.motion.rotations, "root_m": clip.motion.root_m, "codes": clip.codes.astype(np.int32),
            "vectors": clip.vectors.astype(np.float32), "phases": np.array(clip.phases.times, np.float64),
        }  # fmt: skip
        if clip.motion.face is not None:
            arrays["face"] = clip.motion.face
        about = {
            "version": VERSION, "gloss": clip.gloss, "meaning": clip.meaning, "examples": list(clip.examples),
            "hands": clip.hands, "codec": clip.codec, "source": clip.source,
        }  # fmt: skip
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, partial, {"clip": json.dumps(about)})
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        return partial

    def _settle(self) -> None:
        """Have the folder's entries on disk, and sweep away what died processes left half-written."""
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        for left in self.folder.glob(f"*{_PARTIAL}"):
            owner = left.name.removesuffix(_PARTIAL).rpartition(".")[2]
            if not (owner.isdigit() and Path(f"/proc/{owner}").exists()) and owner != str(os.getpid()):
                left.unlink(missing_ok=True)


_NOTHING_LOST: Final = "free space or choose another folder; no earlier clip has changed"


def read_clip(path: Path) -> Clip:
    """Read one file.

    Raises:
        FileFormatError: it is not a clip, or not a whole one.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES >> 20} MB")
        with safe_open(path, "numpy") as file:
            about: dict[str, Any] = json.loads((file.metadata() or {}).get("clip", "null"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        if not isinstance(about, dict) or about.get("version") != VERSION:
            raise ValueError(f"it is no clip of version {VERSION}")
        times = arrays["phases"]
        if times.shape != (7,) or not np.isfinite(times).all():
            raise ValueError("its phases are not seven times")
        frames = len(arrays["rotations"])
        if not 4 <= frames <= MOST_FRAMES:
            raise ValueError(f"it has {frames} frames")
        motion = Motion(arrays["rotations"], arrays["root_m"], arrays.get("face"), default_skeleton())
        if not (np.isfinite(motion.rotations).all() and np.isfinite(motion.root_m).all()):
            raise ValueError("its motion is not finite")
        vectors, codes = arrays["vectors"], arrays["codes"]
        if vectors.ndim != 2 or vectors.shape[1] != DIMENSIONS or not len(vectors) or not np.isfinite(vectors).all():
            raise ValueError(f"its vectors are {vectors.shape}")
        if codes.ndim != 2:
            raise ValueError(f"its tokens are {codes.shape}")
        if slug_of(str(about["gloss"])).replace("_", " ") != about["gloss"]:
            raise ValueError("its gloss is not made of letters, digits and spaces")
        if about["hands"] not in ("left", "right", "both", "none"):
            raise ValueError(f"its hands are {about['hands']!r}")
        return Clip(
            path.name.removesuffix(_SUFFIX), str(about["gloss"]), str(about["meaning"]),
            tuple(str(line) for line in about["examples"]), motion, Phases(*(float(t) for t in times)),
            str(about["hands"]), codes, str(about["codec"]), vectors, str(about["source"]),
        )  # fmt: skip
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        why = " ".join(str(error).split())[:200]
        raise FileFormatError(f"expected a clip of the library in {path}; {why}: remove it or add it again") from error
