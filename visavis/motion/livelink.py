"""Live Link Face: a face track as CSV, one row a frame, the 52 ARKit weights, then head and eyes where recorded.

Source: the CSV of Epic's Live Link Face app: `Timecode` (HH:MM:SS:FF.mmm), `BlendShapeCount` (61, or 52 without head
and eyes), 52 weights, yaw, pitch and roll of head and both eyes in radians. The timecode counts frames of a rate that
is not written down, 60 a second as the app is delivered; columns are found by name, in any order and spelling of case.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis.errors import FileFormatError
from visavis.motion import rotations as rot
from visavis.motion.face import ARKIT_NAMES, neutral_face
from visavis.motion.idle import relaxed_pose
from visavis.motion.kinematics import forward
from visavis.motion.motion import Motion
from visavis.motion.reading import MOST_JOINT_FRAMES, check_size, finish, text_lines
from visavis.motion.skeleton import default_skeleton

__all__ = ["read_livelink", "read_livelink_take", "write_livelink"]

_ANGLES: Final = tuple(
    f"{what}{angle}" for what in ("Head", "LeftEye", "RightEye") for angle in ("Yaw", "Pitch", "Roll")
)
_EYE_REACH: Final = np.radians(35.0)  # of a look weight of 1
_APP_FPS: Final = 60
_TIMECODE: Final = re.compile(r"(\d{1,3}):(\d{1,2}):(\d{1,2}):(\d{1,3}(?:\.\d{1,9})?)")
_MOST_ROWS: Final = MOST_JOINT_FRAMES // 55


def _timecode(frame: int, fps: int) -> str:
    seconds, part = divmod(frame, fps)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{part:02d}.000"


def _head_angles(motion: Motion) -> NDArray[np.float32]:
    """(T, 3) yaw (to the avatar's left positive), pitch (down positive), roll of the head in the world, radians."""
    names = motion.skeleton.names
    if "head" not in names:
        return np.zeros((len(motion), 3), np.float32)
    _, turned = forward(motion.rotations, motion.root_m, motion.skeleton)
    m = rot.to_matrix(turned[:, names.index("head")])
    # R = Ry(yaw) Rx(pitch) Rz(roll)
    return np.stack(
        [
            np.arctan2(m[:, 0, 2], m[:, 2, 2]),
            np.arcsin(np.clip(-m[:, 1, 2], -1, 1)),
            np.arctan2(m[:, 1, 0], m[:, 1, 1]),
        ],
        axis=-1,
    )


def _eye_angles(face: NDArray[np.float32], side: str) -> NDArray[np.float32]:
    down, inward, outward, up = (
        face[:, ARKIT_NAMES.index(f"eyeLook{way}{side}")] for way in ("Down", "In", "Out", "Up")
    )
    yaw = (outward - inward) * (1.0 if side == "Left" else -1.0)
    return _EYE_REACH * np.stack([yaw, down - up, np.zeros_like(up)], axis=-1)


def write_livelink(motion: Motion, path: Path | str) -> None:
    """Write `motion.face` (zeros where there is none) to a CSV, one row a frame."""
    face = neutral_face(len(motion)) if motion.face is None else motion.face
    angles = np.concatenate([_head_angles(motion), _eye_angles(face, "Left"), _eye_angles(face, "Right")], axis=-1)
    count = str(len(ARKIT_NAMES) + len(_ANGLES))
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["Timecode", "BlendShapeCount", *(name[0].upper() + name[1:] for name in ARKIT_NAMES), *_ANGLES]
        )
        for i, row in enumerate(np.concatenate([face, angles], axis=-1)):
            writer.writerow([_timecode(i, motion.fps), count, *(f"{value:.6f}" for value in row)])


def _times(codes: list[str], path: Path) -> NDArray[np.float64]:
    """Seconds (K,) of rows from their timecodes, from zero; rows without a readable timecode are refused.

    The rate of the timecode is the smallest usual one above all of its frame numbers; where a take is too short to
    show it, that of the app, but 30 for one that begins at a whole first frame, as ours do.
    """
    found = [_TIMECODE.fullmatch(code.strip().replace(";", ":")) for code in codes]
    parts = [m.groups() for m in found if m]
    if len(parts) != len(codes):
        bad = next(code for code, m in zip(codes, found, strict=True) if not m)
        raise FileFormatError(
            f"expected timecodes HH:MM:SS:FF.mmm in {path}; got {bad[:40]!r}: export the take from the app again"
        )
    if not parts:
        return np.zeros(0)
    seconds = np.array([3600 * int(h) + 60 * int(m) + int(s) for h, m, s, _ in parts], np.float64)
    frames = np.array([float(f) for *_, f in parts], np.float64)
    highest = int(frames.max())
    fps = next((rate for rate in (30, 60, 120, 240, 1000) if highest < rate), 1000)
    if highest < 30 and seconds[0] == seconds[-1] and (frames[0] != 0 or seconds[0] != 0):
        fps = _APP_FPS
    # Film and television count to 24 and 25.
    for rate in (24, 25):
        if highest == rate - 1 and np.unique(seconds).size > 2:
            fps = rate
    times = seconds + frames / fps
    # Over midnight; and an app may write a row twice or swap two.
    times += 86400.0 * np.cumsum(np.diff(times, prepend=times[0]) < -43200)
    return np.maximum.accumulate(times - times[0])


def _read(path: Path | str) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64], Path]:
    """Weights (K, 52), angles of the head (K, 3) and times (K,) of the rows as they are."""
    path = check_size(path)
    weights, angles, codes = [], [], []
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            rows = csv.reader(text_lines(file, path))
            first = next((row for row in rows if row), [])
            header = {name.strip().lower().replace("_", ""): i for i, name in enumerate(first)}
            missing = [name for name in ARKIT_NAMES if name.lower() not in header]
            if missing:
                raise FileFormatError(
                    f"a Live Link Face CSV has a column for each of 52 blendshapes; {path} lacks "
                    f"{', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}: export the take from the app again"
                )
            if "timecode" not in header:
                raise FileFormatError(f"expected a column Timecode in {path}: export the take from the app again")
            columns = [header[name.lower()] for name in ARKIT_NAMES]
            turns = [header.get(name.lower(), -1) for name in _ANGLES[:3]]
            for row in rows:
                if not row:
                    continue
                if len(row) <= max(columns):
                    raise ValueError(f"a row has {len(row)} fields")
                codes.append(row[header["timecode"]])
                weights.append(np.array([row[i] for i in columns], dtype=np.float64))
                whole = min(turns) >= 0 and max(turns) < len(row)
                angles.append([float(row[i]) for i in turns] if whole else [0.0, 0.0, 0.0])
                if len(codes) > _MOST_ROWS:
                    raise FileFormatError(f"expected at most {_MOST_ROWS} rows; {path} has more: cut it into takes")
    except (ValueError, IndexError, csv.Error) as error:
        raise FileFormatError(
            f"every row of {path} must hold a timecode and 52 numbers; {str(error)[:200]}: check the file for cut lines"
        ) from error
    table = np.stack(weights) if weights else np.zeros((0, len(ARKIT_NAMES)))
    turned = np.asarray(angles, np.float64).reshape(-1, 3)
    # Phones overshoot [0, 1] a little; what is far from it is damage.
    if not (np.abs(table) < 1e6).all() or not (np.abs(turned) < 1e6).all():
        raise FileFormatError(f"expected finite numbers in every row of {path}: export the take from the app again")
    return table.astype(np.float32), turned.astype(np.float32), _times(codes, path), path


def read_livelink_take(path: Path | str) -> Motion:
    """Read a take as a motion at 30 frames a second: the face, and the default skeleton with its head turned.

    The phone sees no body: it stands with its arms hanging.

    Raises:
        FileFormatError: a blendshape's column is missing or a row cannot be read.
    """
    weights, angles, times, path = _read(path)
    skeleton = default_skeleton()
    turned = np.tile(relaxed_pose(skeleton), (len(weights), 1, 1))
    x, y, z = np.eye(3, dtype=np.float32)
    yaw = rot.from_axis_angle(y, np.remainder(angles[:, 0], 4 * np.pi))
    pitch = rot.from_axis_angle(x, np.remainder(angles[:, 1], 4 * np.pi))
    roll = rot.from_axis_angle(z, np.remainder(angles[:, 2], 4 * np.pi))
    root = np.tile(skeleton.offsets_m[0], (len(weights), 1))
    neck = forward(turned[:1], root[:1], skeleton)[1][:, skeleton.index("neck")] if len(weights) else rot.IDENTITY
    # The angles are those of the head in the world.
    head = rot.multiply(rot.multiply(yaw, pitch), roll)
    turned[:, skeleton.index("head")] = rot.multiply(rot.conjugate(neck), head)
    return finish(
        skeleton.names, list(skeleton.parents), skeleton.offsets_m, skeleton.tips_m, turned, root, times, path, weights
    )


def read_livelink(path: Path | str) -> NDArray[np.float32]:
    """(T, 52) float32 weights of a Live Link Face CSV at 30 frames a second, whatever the rate of the take.

    Raises:
        FileFormatError: a blendshape's column is missing or a row cannot be read.
    """
    face = read_livelink_take(path).face
    assert face is not None, "a take has a face"
    return face
