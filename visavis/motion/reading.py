"""What all readers share: bounds on size, 30 frames a second, rest frames aligned to the world. Knows no format.

A reader gives a `Motion` on the file's own skeleton in which identity rotations are the file's rest pose and offsets
lie along the axes of the world. Files come from strangers: everything that allocates is bounded before it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, TextIO

import numpy as np
from numpy.typing import NDArray

from visavis.errors import FileFormatError
from visavis.motion import rotations as rot
from visavis.motion.motion import FPS, Motion
from visavis.motion.skeleton import Skeleton, default_skeleton

__all__ = [
    "MOST_BYTES",
    "MOST_JOINTS",
    "MOST_JOINT_FRAMES",
    "check_size",
    "finish",
    "frame_rate",
    "resample_values",
    "text_lines",
    "unique_names",
]

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]

MOST_BYTES: Final = 256 * 1024 * 1024
MOST_JOINTS: Final = 1000
# No format has longer lines; one of many megabytes would become far more memory once it is cut into words.
_MOST_LINE: Final = 1 << 20
# Bounds the memory of one motion: an hour of 30 joints, ten minutes of 200.
MOST_JOINT_FRAMES: Final = 4_000_000
# No place of a body is farther from the origin: what lies beyond is damage, and would overflow later.
_FARTHEST_M: Final = 1e6
_CHUNK: Final = 250_000
# Rates that programs write, the commonest first: a rounded frame time may fit several.
_RATES: Final = (30, 60, 120, 24, 25, 50, 100, 90, 240, 15, 48, 20, 10, 12, 200, 72)


def check_size(path: Path | str) -> Path:
    """The path, if it is a file of a size that can be read.

    Raises:
        FileFormatError: there is no such file, or it is larger than `MOST_BYTES`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileFormatError(f"expected a motion file; {path} is {'a folder' if path.is_dir() else 'not there'}")
    if (size := path.stat().st_size) > MOST_BYTES:
        raise FileFormatError(
            f"expected a file of at most {MOST_BYTES >> 20} MB; {path} has {size >> 20} MB: cut it into takes first"
        )
    return path


def text_lines(file: TextIO, path: Path | str) -> Iterator[str]:
    """The lines of a text file, one at a time.

    Raises:
        FileFormatError: a line is longer than any format has them.
    """
    while line := file.readline(_MOST_LINE + 1):
        if len(line) > _MOST_LINE:
            raise FileFormatError(f"expected lines of text in {path}; one is over {_MOST_LINE} characters long")
        yield line


def frame_rate(frame_time: str, path: Path | str) -> float:
    """Frames a second of a frame time as written: `0.0333` is 30, `0.033367` is 29.97.

    Raises:
        FileFormatError: not a number, or not a time above zero.
    """
    try:
        seconds = float(frame_time)
    except ValueError:
        seconds = float("nan")
    if not 1e-5 <= seconds <= 1e4:
        raise FileFormatError(f"expected a frame time in seconds such as 0.033333; {path} has {frame_time!r}")
    mantissa, _, power = frame_time.lower().partition("e")
    digits = len(mantissa.partition(".")[2]) - int(power or 0)
    room = 1.01 * 10.0 ** -max(digits, 2)  # written down to this, rounded or cut
    for rate in _RATES:
        if abs(1.0 / rate - seconds) <= min(room, 0.02 / rate):
            return float(rate)
    return 1.0 / seconds


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """The same names, later ones of a kind with a number behind them (`Arm`, `Arm_2`)."""
    seen: set[str] = set()
    out = []
    for name in names:
        candidate, count = name, 1
        while candidate in seen:
            count += 1
            candidate = f"{name}_{count}"
        seen.add(candidate)
        out.append(candidate)
    return tuple(out)


def _grid(times_s: Doubles, joints: int, path: Path | str) -> Doubles | None:
    """The times of the frames at 30 a second, or None where the file already has these."""
    if len(times_s) < 2:
        return None
    if not np.isfinite(times_s).all() or (np.diff(times_s) < 0).any():
        raise FileFormatError(f"expected times that grow from frame to frame in {path}: export it again")
    duration = float(times_s[-1] - times_s[0])
    count = int(min(np.floor(duration * FPS + 1e-2), 1e12)) + 1
    if count * joints > MOST_JOINT_FRAMES:
        raise FileFormatError(
            f"expected at most {MOST_JOINT_FRAMES // max(joints, 1) // FPS} seconds of {joints} joints; {path} lasts "
            f"{duration:.3g} s: cut it into takes first"
        )
    wanted = times_s[0] + np.arange(count) / FPS
    if count == len(times_s) and np.abs(wanted - times_s).max() < 2e-3:
        return None
    return wanted


def _between(times_s: Doubles, wanted: Doubles) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    high = np.clip(np.searchsorted(times_s, wanted + 1e-9, side="right"), 1, len(times_s) - 1)
    low = high - 1
    u = (wanted - times_s[low]) / np.maximum(times_s[high] - times_s[low], 1e-9)
    u = np.clip(u, 0.0, 1.0)
    u = np.where(u < 1e-3, 0.0, np.where(u > 1 - 1e-3, 1.0, u))  # a whole frame stays exactly what it is
    return low, high, u.astype(np.float32)


def resample_values(values: Array, times_s: Doubles, path: Path | str) -> Array:
    """Values (K, C) at times (K,) seconds → (T, C) float32 at 30 frames a second, linearly."""
    wanted = _grid(np.asarray(times_s, np.float64), values.shape[1], path)
    if wanted is None:
        return np.asarray(values, np.float32)
    low, high, u = _between(times_s, wanted)
    return (values[low] + (values[high] - values[low]) * u[:, None]).astype(np.float32)


def _resample_rotations(q: Array, times_s: Doubles, path: Path | str) -> Array:
    wanted = _grid(times_s, q.shape[1], path)
    if wanted is None:
        return q
    low, high, u = _between(times_s, wanted)
    out = np.empty((len(wanted), q.shape[1], 4), dtype=np.float32)
    step = max(_CHUNK // q.shape[1], 1)
    for start in range(0, len(wanted), step):
        part = slice(start, start + step)
        a, b, t = q[low[part]], q[high[part]], u[part, None, None]
        mixed = rot.slerp(a, b, np.broadcast_to(t[..., 0], a.shape[:2]))
        out[part] = np.where(t == 0, a, np.where(t == 1, b, mixed))
    return out


def finish(
    names: Sequence[str],
    parents: Sequence[int],
    offsets_m: Doubles | Array,
    tips_m: dict[str, Array],
    rotations: Array,
    root_m: Doubles | Array,
    times_s: Doubles,
    path: Path | str,
    face: Array | None = None,
) -> Motion:
    """Build the motion of a file: checked, at 30 frames a second, on our own skeleton object where it is the same.

    Args:
        names: of the joints, parents before children.
        parents: the place of each joint's parent, -1 for the root.
        offsets_m: (J, 3) in the rest pose, along the axes of the world.
        tips_m: end points of last joints by their names.
        rotations: (K, J, 4) parent-relative, identity at rest.
        root_m: (K, 3) position of the root.
        times_s: (K,) times of the frames, growing.
        path: of the file, for messages.
        face: (K, 52) ARKit weights or None.

    Raises:
        FileFormatError: numbers that are not finite or far out of range, or too many frames.
    """
    offsets_m, root_m = np.asarray(offsets_m, np.float64), np.asarray(root_m, np.float64)
    for what, values in (("rest pose", offsets_m), ("position of the root", root_m)):
        if not np.isfinite(values).all() or (np.abs(values) > _FARTHEST_M).any():
            raise FileFormatError(f"expected finite lengths in the {what} of {path}: export it again")
    if not np.isfinite(rotations).all():
        raise FileFormatError(f"expected finite rotations in {path}: export it again")
    if face is not None and not np.isfinite(face).all():
        raise FileFormatError(f"expected finite weights of the face in {path}: export it again")
    skeleton = Skeleton(
        tuple(names), np.asarray(parents, np.int64), offsets_m.astype(np.float32),
        {name: np.asarray(tip, np.float32) for name, tip in tips_m.items()},
    )  # fmt: skip
    turned = _resample_rotations(rot.continuous(rotations), times_s, path)
    root = resample_values(root_m.astype(np.float32), times_s, path)
    weights = None if face is None else np.clip(resample_values(face, times_s, path), 0.0, 1.0)
    ours = default_skeleton()
    if set(skeleton.names) == set(ours.names) and len(skeleton) == len(ours):
        order = skeleton.indices(ours.names)
        back = np.empty(len(order) + 1, dtype=np.int64)
        back[order], back[-1] = np.arange(len(order)), -1
        if (back[skeleton.parents[order]] == ours.parents).all():
            offsets = skeleton.offsets_m[order]
            turned = turned[:, order]
            same = np.allclose(offsets, ours.offsets_m, atol=1e-5)
            tips = {**ours.tips_m, **skeleton.tips_m}
            skeleton = ours if same else Skeleton(ours.names, ours.parents, offsets, tips)
    return Motion(turned, root, weights, skeleton)
