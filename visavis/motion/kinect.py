"""Kinect v2 joint positions as text (`time, x, y, z, state, …` for 25 joints), turned into rotations. Reads only.

A row holds a time in 100 ns or ms, and for each joint its place in metres as the camera sees it (the person faces the
camera at -Z, so the world is the camera's turned half round) and how sure the camera is (0 to 2). A body of the mean
bone lengths in T-pose is turned until its bones point as they were seen. The camera sees no twist: that of the torso
comes from hips and shoulders, that of a hand from its thumb, all others are the least possible.
Source: Microsoft's Kinect for Windows SDK 2.0 (`JointType`), the CSV of the LabanotationSuite.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis.errors import FileFormatError
from visavis.motion import rotations as rot
from visavis.motion.motion import Motion
from visavis.motion.reading import MOST_JOINT_FRAMES, check_size, finish, text_lines

__all__ = ["KINECT_NAMES", "is_kinect", "read_kinect"]

Doubles = NDArray[np.float64]

# As the file has them: name, parent, direction from the parent in T-pose.
_LEFT: Final = (1.0, 0.0, 0.0)
_RIGHT: Final = (-1.0, 0.0, 0.0)
_UP: Final = (0.0, 1.0, 0.0)
_DOWN: Final = (0.0, -1.0, 0.0)
_FRONT: Final = (0.0, 0.0, 1.0)
_JOINTS: Final = (
    ("SpineBase", "", _UP), ("SpineMid", "SpineBase", _UP), ("Neck", "SpineShoulder", _UP), ("Head", "Neck", _UP),
    ("ShoulderLeft", "SpineShoulder", _LEFT), ("ElbowLeft", "ShoulderLeft", _LEFT), ("WristLeft", "ElbowLeft", _LEFT),
    ("HandLeft", "WristLeft", _LEFT), ("ShoulderRight", "SpineShoulder", _RIGHT),
    ("ElbowRight", "ShoulderRight", _RIGHT), ("WristRight", "ElbowRight", _RIGHT), ("HandRight", "WristRight", _RIGHT),
    ("HipLeft", "SpineBase", _LEFT), ("KneeLeft", "HipLeft", _DOWN), ("AnkleLeft", "KneeLeft", _DOWN),
    ("FootLeft", "AnkleLeft", _FRONT), ("HipRight", "SpineBase", _RIGHT), ("KneeRight", "HipRight", _DOWN),
    ("AnkleRight", "KneeRight", _DOWN), ("FootRight", "AnkleRight", _FRONT), ("SpineShoulder", "SpineMid", _UP),
    ("HandTipLeft", "HandLeft", _LEFT), ("ThumbLeft", "WristLeft", _FRONT), ("HandTipRight", "HandRight", _RIGHT),
    ("ThumbRight", "WristRight", _FRONT),
)  # fmt: skip
KINECT_NAMES: Final = tuple(name for name, _, _ in _JOINTS)
_COLUMNS: Final = 1 + 4 * len(_JOINTS)
# Joints whose children fix their whole orientation: (towards, second direction from … to …, both as at rest).
_FRAMES: Final = {
    "SpineBase": ("SpineMid", _UP, "HipRight", "HipLeft", _LEFT),
    "SpineShoulder": ("Neck", _UP, "ShoulderRight", "ShoulderLeft", _LEFT),
    "WristLeft": ("HandLeft", _LEFT, "WristLeft", "ThumbLeft", _FRONT),
    "WristRight": ("HandRight", _RIGHT, "WristRight", "ThumbRight", _FRONT),
}
# Joints with one child (or one that matters) are turned the shortest way.
_TOWARDS: Final = {
    "SpineMid": "SpineShoulder", "Neck": "Head", "ShoulderLeft": "ElbowLeft", "ElbowLeft": "WristLeft",
    "ShoulderRight": "ElbowRight", "ElbowRight": "WristRight", "HandLeft": "HandTipLeft", "HandRight": "HandTipRight",
    "HipLeft": "KneeLeft", "KneeLeft": "AnkleLeft", "AnkleLeft": "FootLeft", "HipRight": "KneeRight",
    "KneeRight": "AnkleRight", "AnkleRight": "FootRight",
}  # fmt: skip


def is_kinect(line: str) -> bool:
    """Whether a line of text could be a row of such a file: 101 numbers between commas."""
    words = line.strip().rstrip(",").split(",")
    try:
        return len(words) == _COLUMNS and all(abs(float(word)) < 1e30 for word in words)
    except ValueError:
        return False


def _frame(first: Doubles, second: Doubles) -> NDArray[np.float32]:
    """Orientations (T, 4) whose y points along `first` and whose x lies in the plane of both."""
    y = first / np.maximum(np.linalg.norm(first, axis=-1, keepdims=True), 1e-9)
    z = np.cross(second, y)
    z /= np.maximum(np.linalg.norm(z, axis=-1, keepdims=True), 1e-9)
    # Where the two are parallel or one is nothing, any frame will do that is one.
    lost = (np.linalg.norm(z, axis=-1) < 0.5) | (np.linalg.norm(y, axis=-1) < 0.5)
    m = np.stack([np.cross(y, z), y, z], axis=-1)
    m[lost] = np.eye(3)
    return rot.from_matrix(m)


def _table(path: Path) -> Doubles:
    rows: list[Doubles] = []
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            for line in text_lines(file, path):
                if not line.strip():
                    continue
                row = np.array(line.strip().rstrip(",").split(","), dtype=np.float64)
                if len(row) != _COLUMNS:
                    raise ValueError(f"a row has {len(row)} numbers")
                rows.append(row)
                if len(rows) * len(_JOINTS) > MOST_JOINT_FRAMES:
                    raise FileFormatError(f"expected at most {len(rows)} rows; {path} has more: cut it into takes")
    except ValueError as error:
        raise FileFormatError(
            f"every row of {path} must hold {_COLUMNS} numbers; {str(error)[:100]}: check the file for cut lines"
        ) from error
    table = np.stack(rows) if rows else np.zeros((0, _COLUMNS))
    if not (np.abs(table[:, 1:]) < 1e4).all() or not np.isfinite(table[:, 0]).all():
        raise FileFormatError(f"expected places in metres in every row of {path}: export it again")
    return table


def _times(stamps: Doubles, path: Path) -> Doubles:
    """Seconds from zero of time stamps in milliseconds or in 100 ns, told by the usual 30 frames a second."""
    steps = np.diff(stamps)
    if (steps < 0).any():
        raise FileFormatError(f"expected times that grow from row to row in {path}: export it again")
    usual = float(np.median(steps)) if len(steps) else 0.0
    ticks = 1e7 if usual > 20_000 else 1e3
    return (stamps - stamps[0]) / ticks if len(stamps) else stamps


def _seen(table: Doubles) -> Doubles:
    """(K, 25, 3) places in our world; a joint that was not tracked stays where it was last seen."""
    cells = table[:, 1:].reshape(len(table), len(_JOINTS), 4)
    places = cells[..., :3] * np.array([-1.0, 1.0, -1.0])
    known = cells[..., 3] > 0
    last = np.maximum.accumulate(np.where(known, np.arange(len(table))[:, None], 0), axis=0)
    return np.take_along_axis(places, last[..., None], axis=0)


def read_kinect(path: Path | str) -> Motion:
    """Read Kinect joint positions as a motion of 25 joints at 30 frames a second, standing at the origin of the world.

    Raises:
        FileFormatError: a row that does not hold 101 numbers, or places that are none.
    """
    path = check_size(path)
    table = _table(path)
    if not len(table):
        raise FileFormatError(f"expected rows of {_COLUMNS} numbers in {path}; it is empty")
    seen, times = _seen(table), _times(table[:, 0], path)
    # Parents before children: the shoulders' joint comes late in the file.
    depth: dict[str, int] = {"": -1}
    while len(depth) <= len(_JOINTS):
        depth.update({name: depth[above] + 1 for name, above, _ in _JOINTS if above in depth})
    order = sorted(range(len(_JOINTS)), key=lambda i: depth[KINECT_NAMES[i]])
    names = [KINECT_NAMES[i] for i in order]
    at = {name: seen[:, KINECT_NAMES.index(name)] for name in names}
    parents = [names.index(_JOINTS[i][1]) if _JOINTS[i][1] else -1 for i in order]
    offsets = np.zeros((len(names), 3))
    for j, i in enumerate(order):
        name, parent, way = _JOINTS[i]
        if parent:
            offsets[j] = np.median(np.linalg.norm(at[name] - at[parent], axis=-1)) * np.array(way)
    floor = float(np.percentile(np.minimum(at["FootLeft"][:, 1], at["FootRight"][:, 1]), 5))
    world: dict[str, NDArray[np.float32]] = {}
    turned = np.tile(rot.IDENTITY, (len(table), len(names), 1))
    for j, name in enumerate(names):
        above = world[names[parents[j]]] if parents[j] >= 0 else np.tile(rot.IDENTITY, (len(table), 1))
        if name in _FRAMES:
            towards, along, a, b, across = _FRAMES[name]
            rest = _frame(np.array([along]), np.array([across]))
            found = _frame(at[towards] - at[name], at[b] - at[a])
            world[name] = rot.multiply(found, rot.conjugate(rest))
            # What hangs from such a joint sits where it was mostly seen: shoulders lie lower than their middle.
            for child, above_it in enumerate(parents):
                if above_it == j:
                    seen_there = rot.rotate(rot.conjugate(world[name]), at[names[child]] - at[name])
                    offsets[child] = np.median(seen_there, axis=0)
        elif name in _TOWARDS:
            carried = rot.rotate(above, offsets[names.index(_TOWARDS[name])])
            wanted = at[_TOWARDS[name]] - at[name]
            lost = np.linalg.norm(wanted, axis=-1, keepdims=True) < 1e-6
            turn = rot.rotation_between(carried, np.where(lost, carried, wanted))
            world[name] = rot.multiply(turn, above)
        else:
            world[name] = above
        turned[:, j] = rot.multiply(rot.conjugate(above), world[name])
    # Where the camera stood means nothing to whom the motion is for: the body mostly stands at the origin.
    middle = np.median(at["SpineBase"], axis=0)
    root = at["SpineBase"] - np.array([middle[0], floor, middle[2]])
    offsets[0] = [0.0, float(np.median(root[:, 1])), 0.0]
    return finish(names, parents, offsets, {}, rot.normalize(turned), root, times, path)
