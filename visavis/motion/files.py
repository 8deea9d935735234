"""Motion files by their content: `read_motion` finds the format, `write_motion` follows the name it is given.

Every reader gives a `Motion` on the file's own skeleton, at 30 frames a second, in metres with Y up, rest frames
aligned to the world (identity rotations are the file's rest pose); `visavis.motion.retarget` brings it to another body.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visavis.errors import FileFormatError, UsageError
from visavis.motion.kinect import is_kinect
from visavis.motion.motion import Motion
from visavis.motion.reading import check_size

__all__ = ["Format", "find_format", "formats", "read_face", "read_motion", "write_motion"]


@dataclass(frozen=True)
class Format:
    """A kind of motion file.

    Attributes:
        name: short name, also the usual extension without its dot.
        about: what it holds, in a few words.
        reads: whether `read_motion` reads it.
        writes: whether `write_motion` writes it.
        face: whether a face track can come with it.
    """

    name: str
    about: str
    reads: bool
    writes: bool
    face: bool


_FORMATS: Final = (
    Format("bvh", "skeleton and motion of any animation program", True, True, False),
    Format("glb", "glTF 2.0: skin, animation, face morphs", True, True, True),
    Format("vrma", "VRM animation 1.0: humanoid bones, expressions, look-at", True, True, True),
    Format("vrm", "an avatar, VRM 0.x or 1.0, with an animation if it has one", True, True, True),
    Format("npz", "SMPL-X parameters as in BEAT2, with the skeleton", True, True, True),
    Format("skm", "SmartBody motion, its skeleton (.sk) beside it", True, True, False),
    Format("csv", "Live Link Face: 52 ARKit weights a frame", True, True, True),
    Format("kinect", "Kinect v2 joint positions, 101 numbers a row (also .csv)", True, False, False),
)


def formats() -> tuple[Format, ...]:
    """All formats, for tables and help."""
    return _FORMATS


def _of_gltf(document: bytes) -> str:
    """Which member of the glTF family a JSON document is; told by the extensions it names, without parsing it."""
    if b'"VRMC_vrm_animation"' in document:
        return "vrma"
    return "vrm" if b'"VRMC_vrm"' in document or b'"VRM"' in document else "glb"


def find_format(path: Path | str) -> str:
    """The name of a file's format, found from its content alone.

    Raises:
        FileFormatError: there is no such file, it is too large, or of no format that is read.
    """
    path = check_size(path)
    with path.open("rb") as file:
        head = file.read(65536)
        if head[:4] == b"glTF":
            length = struct.unpack_from("<I", head, 12)[0] if len(head) >= 20 else 0
            file.seek(20)
            return _of_gltf(file.read(min(length, 64 << 20)))
        if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            return "npz"
        text = head.decode("utf-8", errors="replace").removeprefix("\ufeff").lstrip()
        if text.startswith("{"):
            file.seek(0)
            return _of_gltf(file.read(64 << 20))
    words = [word for line in text.splitlines()[:200] for word in line.partition("#")[0].split()[:1]]
    first = words[0] if words else ""
    if first.upper() == "HIERARCHY":
        return "bvh"
    if first == "SkMotion":
        return "skm"
    if first in ("set_name", "skeleton"):
        return "sk"
    header = text.split("\n", 1)[0].lower().replace('"', "")
    if "eyeblinkleft" in header or header.startswith("timecode,"):
        return "csv"
    if is_kinect(text.partition("\n")[0]):
        return "kinect"
    shown = "an empty file" if not head else repr(head[:16])
    raise FileFormatError(
        f"expected a motion file ({', '.join(each.name for each in _FORMATS if each.reads)}); {path} begins with "
        f"{shown}: convert it to one of these first"
    )


def _read_bvh(path: Path) -> Motion:
    from visavis.motion.bvh import read_bvh

    return read_bvh(path)


def _read_npz(path: Path) -> Motion:
    from visavis.motion.smplx import read_npz

    return read_npz(path)


def _read_skm(path: Path, skeleton: Path | None = None) -> Motion:
    from visavis.motion.smartbody import read_skm

    return read_skm(path, skeleton)


def _read_sk(path: Path) -> Motion:
    from visavis.motion.smartbody import read_sk

    return Motion.rest(1, read_sk(path))


def _read_csv(path: Path) -> Motion:
    from visavis.motion.livelink import read_livelink_take

    return read_livelink_take(path)


def _read_kinect(path: Path) -> Motion:
    from visavis.motion.kinect import read_kinect

    return read_kinect(path)


def _read_glb(path: Path) -> Motion:
    from visavis.motion.gltf_reader import read_glb

    return read_glb(path)


def _read_vrma(path: Path) -> Motion:
    from visavis.motion.vrma import read_vrma

    return read_vrma(path)


_READERS: Final[dict[str, Callable[[Path], Motion]]] = {
    "bvh": _read_bvh,
    "npz": _read_npz,
    "skm": _read_skm,
    "sk": _read_sk,
    "csv": _read_csv,
    "kinect": _read_kinect,
    "glb": _read_glb,
    "vrm": _read_glb,
    "vrma": _read_vrma,
}


def read_motion(path: Path | str, *, skeleton: Path | str | None = None) -> Motion:
    """Read a motion on its file's own skeleton; the extension does not matter.

    Args:
        path: a file of one of `formats()` that holds a motion; a `.sk` gives one frame of its rest pose.
        skeleton: the skeleton's file (`.sk`), for a SmartBody motion that lies apart from it.

    Raises:
        FileFormatError: there is no such file, or it is damaged or of no format that is read.
    """
    path = Path(path)
    kind = find_format(path)
    if kind == "skm" and skeleton is not None:
        return _read_skm(path, Path(skeleton))
    return _READERS[kind](path)


def read_face(path: Path | str) -> NDArray[np.float32]:
    """(T, 52) float32 ARKit weights at 30 frames a second of any file that carries a face.

    Raises:
        FileFormatError: the file cannot be read, or carries no face.
    """
    face = read_motion(path).face
    if face is None:
        raise FileFormatError(
            f"expected a face track (Live Link Face CSV, or npz, glb, vrma with a face); {path} has none"
        )
    return face


def write_motion(motion: Motion, path: Path | str, *, avatar: Any = None) -> None:
    """Write a motion in the format that the extension names.

    Args:
        motion: on the skeleton of `avatar` where that is given.
        path: ending in `.bvh`, `.glb`, `.vrma`, `.npz`, `.skm` (with its `.sk` beside it), `.csv` (face alone) or
            `.vrm` (the avatar with the motion inside).
        avatar: the body for `.glb` and `.vrm`: an `Avatar` of ours or, for `.vrm`, a `Vrm`; by default our own.

    Raises:
        UsageError: an extension that is none of these.
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind == "bvh":
        from visavis.motion.bvh import write_bvh

        write_bvh(motion, path)
    elif kind == "npz":
        from visavis.motion.smplx import write_npz

        write_npz(motion, path)
    elif kind == "skm":
        from visavis.motion.smartbody import write_skm

        write_skm(motion, path)
    elif kind == "csv":
        from visavis.motion.livelink import write_livelink

        write_livelink(motion, path)
    elif kind == "vrma":
        from visavis.motion.vrma import write_vrma

        write_vrma(motion, path)
    elif kind == "vrm":
        _write_vrm(motion, path, avatar)
    elif kind == "glb":
        from visavis.motion.glb import write_glb

        write_glb(motion, path, avatar)
    else:
        known = ", ".join(f".{each.name}" for each in _FORMATS if each.writes)
        raise UsageError(f"expected a file name ending in one of {known}; got {path.name!r}: name the format so")


def _write_vrm(motion: Motion, path: Path, avatar: Any) -> None:
    from visavis.motion.vrm import Vrm, bake, read_vrm, write_vrm

    if isinstance(avatar, Vrm):
        bake(motion, avatar, path)
        return
    from visavis.motion.avatar import load_avatar

    body = path.with_suffix(".body.vrm")
    try:
        write_vrm(avatar or load_avatar(), body)
        bake(motion, read_vrm(body), path)
    finally:
        body.unlink(missing_ok=True)
