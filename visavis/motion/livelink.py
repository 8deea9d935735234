"""Write a face track as Live Link Face does: one CSV row a frame, the 52 ARKit weights, then head and eyes.

Source: the CSV of Epic's Live Link Face app: `Timecode` (HH:MM:SS:FF.mmm), `BlendShapeCount` (61), 52 weights, yaw,
pitch and roll of head and both eyes in radians. Times start at zero with the motion.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis.errors import FileFormatError
from visavis.motion import rotations as rot
from visavis.motion.face import ARKIT_NAMES, neutral_face
from visavis.motion.kinematics import forward
from visavis.motion.motion import Motion

__all__ = ["read_livelink", "write_livelink"]

_ANGLES: Final = tuple(
    f"{what}{angle}" for what in ("Head", "LeftEye", "RightEye") for angle in ("Yaw", "Pitch", "Roll")
)
_EYE_REACH: Final = np.radians(35.0)  # of a look weight of 1


def _timecode(frame: int, fps: int) -> str:
    seconds, part = divmod(frame, fps)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{part:02d}.000"


def _head_angles(motion: Motion) -> NDArray[np.float32]:
    """(T, 3) yaw (to the avatar's left positive), pitch (down positive), roll of the head in the world, radians."""
    _, turned = forward(motion.rotations, motion.root_m, motion.skeleton)
    m = rot.to_matrix(turned[:, motion.skeleton.index("head")])
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


def read_livelink(path: Path | str) -> NDArray[np.float32]:
    """(T, 52) float32 weights of a Live Link Face CSV, row by row as they are (timecodes are not resampled).

    Raises:
        FileFormatError: a blendshape's column is missing or a row cannot be read.
    """
    with Path(path).open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row]
    header = {name.strip().lower(): i for i, name in enumerate(rows[0])} if rows else {}
    missing = [name for name in ARKIT_NAMES if name.lower() not in header]
    if missing:
        raise FileFormatError(
            f"a Live Link Face CSV has a column for each of 52 blendshapes; {path} lacks {', '.join(missing[:3])}"
            f"{' …' if len(missing) > 3 else ''}: export the take from the app again"
        )
    columns = [header[name.lower()] for name in ARKIT_NAMES]
    try:
        values = [[float(row[i]) for i in columns] for row in rows[1:]]
    except (ValueError, IndexError) as error:
        raise FileFormatError(
            f"every row of {path} must hold 52 numbers; {error}: check the file for cut lines"
        ) from error
    return np.asarray(values, np.float32).reshape(-1, len(ARKIT_NAMES))
