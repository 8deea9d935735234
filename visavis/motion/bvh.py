"""BVH: skeleton and motion in one text file, degrees, and as a rule centimetres, as animation programs expect it.

Reads any hierarchy and channel order. What the format leaves open is settled so:
the rest pose is all channels at zero; rotations apply in the order of the channels (the first is the outermost);
the position channels of the root are its place, those of other joints stand for their OFFSET and are taken as steady
(Bandai-Namco's files have them everywhere); a root that only carries one moving joint is folded into that joint.
BVH has no unit: centimetres are assumed, another one if only that gives a body of 0.3 to 3 m.

Writes the channels Zrotation Xrotation Yrotation, R = Rz · Rx · Ry, the world position before those of the root, and
End Sites under all last joints. Source: Biovision hierarchical data as described by Meredith & Maddock (2001).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis.errors import FileFormatError
from visavis.motion import rotations as rot
from visavis.motion.motion import Motion
from visavis.motion.reading import (
    MOST_JOINT_FRAMES,
    MOST_JOINTS,
    check_size,
    finish,
    frame_rate,
    text_lines,
    unique_names,
)
from visavis.motion.skeleton import Skeleton

__all__ = ["read_bvh", "write_bvh"]

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]

_CM: Final = 100.0
_ROTATIONS: Final = "Zrotation Xrotation Yrotation"
# Eyes and jaw have no tip of their own, and programs expect an End Site under every last joint.
_SHORT_TIP_M: Final = (0.0, 0.0, 0.02)
# Metres per unit, in the order in which they are tried: centimetres, metres, millimetres, decimetres, inches, feet.
_UNITS_M: Final = (0.01, 1.0, 0.001, 0.1, 0.0254, 0.3048)
# The longest way through a human body along its bones (toes to fingertips) over its height.
_WAY_TO_HEIGHT: Final = 1.35
_FARTHEST: Final = 1e9  # in any unit
_CHANNEL: Final = re.compile(r"([XYZ])(position|rotation)", re.IGNORECASE)


def _to_zxy(q: Array) -> Doubles:
    """(..., 3) degrees about z, x, y with R = Rz · Rx · Ry."""
    x, y, z, w = np.moveaxis(np.asarray(q, np.float64), -1, 0)
    angle_z = np.arctan2(-2 * (x * y - z * w), 1 - 2 * (x * x + z * z))
    # What is left after taking Rz away, Rx · Ry, gives the others without loss even at gimbal lock, where z is noise.
    c, s = np.cos(angle_z), np.sin(angle_z)
    angle_y = np.arctan2(
        c * 2 * (x * z + y * w) + s * 2 * (y * z - x * w), c * (1 - 2 * (y * y + z * z)) + s * 2 * (x * y + z * w)
    )
    angle_x = np.arctan2(2 * (y * z + x * w), c * (1 - 2 * (x * x + z * z)) - s * 2 * (x * y - z * w))
    return np.degrees(np.stack([angle_z, angle_x, angle_y], axis=-1))


def _numbers(values: NDArray[np.floating] | tuple[float, ...]) -> str:
    return " ".join(f"{float(v):.6f}" for v in values)


def _hierarchy(skeleton: Skeleton) -> tuple[list[str], list[int]]:
    """Lines of the HIERARCHY block and the bones in the order in which their channels come."""
    children: list[list[int]] = [[] for _ in skeleton.names]
    for bone, parent in enumerate(skeleton.parents):
        if parent >= 0:
            children[parent].append(bone)
    lines, order = ["HIERARCHY"], []
    stack: list[tuple[int, int]] = [(0, 0)]  # bone and depth; ~bone closes it
    while stack:
        bone, depth = stack.pop()
        pad = "\t" * depth
        if bone < 0:
            lines.append(f"{pad}}}")
            continue
        order.append(bone)
        # A name is one word to most programs.
        name = "_".join(skeleton.names[bone].split()) or f"joint_{bone}"
        root = skeleton.parents[bone] < 0
        channels = f"6 Xposition Yposition Zposition {_ROTATIONS}" if root else f"3 {_ROTATIONS}"
        lines.extend([
            f"{pad}{'ROOT' if root else 'JOINT'} {name}", f"{pad}{{",
            f"{pad}\tOFFSET {_numbers(skeleton.offsets_m[bone] * _CM)}", f"{pad}\tCHANNELS {channels}",
        ])  # fmt: skip
        stack.append((~bone, depth))
        if not children[bone]:
            tip = skeleton.tips_m.get(skeleton.names[bone])
            end = np.array(_SHORT_TIP_M) if tip is None else tip
            lines.extend([f"{pad}\tEnd Site", f"{pad}\t{{", f"{pad}\t\tOFFSET {_numbers(end * _CM)}", f"{pad}\t}}"])
        stack.extend((child, depth + 1) for child in reversed(children[bone]))
    return lines, order


def write_bvh(motion: Motion, path: Path | str) -> None:
    """Write skeleton and motion; the face has no place in BVH and is left out."""
    lines, order = _hierarchy(motion.skeleton)
    angles = _to_zxy(motion.rotations)[:, order].reshape(len(motion), 3 * len(order))
    # Unwrapped, so that programs that interpolate between frames do not spin through a full turn.
    angles = np.unwrap(angles, period=360.0, axis=0) if len(motion) else angles
    table = np.concatenate([motion.root_m.astype(np.float64) * _CM, angles], axis=-1)
    lines += ["MOTION", f"Frames: {len(motion)}", f"Frame Time: {1.0 / motion.fps:.8f}"]
    form = " ".join(["%.5f"] * table.shape[1])
    lines += [form % tuple(row) for row in table]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


@dataclass
class _Joint:
    name: str
    parent: int
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    channels: list[tuple[int, bool]] = field(default_factory=list)  # axis 0 to 2, and whether it is a rotation
    tip: tuple[float, float, float] | None = None


def _vector(words: list[str]) -> tuple[float, float, float]:
    x, y, z = (float(word) for word in words)
    if not max(abs(x), abs(y), abs(z)) < _FARTHEST:  # also where one is no number
        raise FileFormatError(f"expected finite OFFSETs of a body's size; got {' '.join(words)[:80]}: export it again")
    return x, y, z


def _channels(words: list[str], path: Path) -> list[tuple[int, bool]]:
    count, names = int(words[1]), words[2:]
    found = [_CHANNEL.fullmatch(name) for name in names]
    if count != len(names) or not all(found) or len({name.lower() for name in names}) != len(names):
        raise FileFormatError(
            f"expected CHANNELS with a count and as many of Xposition … Zrotation; {path} has {' '.join(words)[:80]!r}"
        )
    return [("XYZ".index(m[1].upper()), m[2].lower() == "rotation") for m in found if m]


def _parse_hierarchy(lines: Iterator[str], path: Path) -> list[_Joint]:
    """Joints in file order; leaves the lines behind MOTION."""
    joints: list[_Joint] = []
    stack: list[int] = []  # open blocks: a joint, or -2 for an End Site
    announced: int | None = None  # a joint or End Site whose block has not begun
    for line in lines:
        # Brackets may stand on a line of their own or not.
        for piece in re.findall(r"[{}]|[^{}]+", line):
            words = piece.split()
            if not words:
                continue
            word = words[0].upper()
            if word == "MOTION":
                if stack or not joints:
                    raise FileFormatError(f"{path} has a hierarchy that is cut off or damaged: export it again")
                return joints
            if word in ("ROOT", "JOINT"):
                if (word == "ROOT") == bool(joints):
                    raise FileFormatError(
                        f"expected one ROOT with all joints below it; {path} has "
                        f"{'several' if joints else 'a JOINT before it'}: keep one body to a file"
                    )
                if len(joints) >= MOST_JOINTS:
                    raise FileFormatError(f"expected at most {MOST_JOINTS} joints; {path} has more")
                if word == "JOINT" and (not stack or stack[-1] < 0):
                    raise ValueError(f"joint {' '.join(words[1:])[:40]!r} lies in no other joint")
                joints.append(_Joint(" ".join(words[1:]) or f"joint_{len(joints)}", stack[-1] if stack else -1))
                announced = len(joints) - 1
            elif word == "END":
                announced = -2
            elif word == "{":
                if announced is None or len(stack) > 2 * MOST_JOINTS:
                    raise ValueError("a bracket that belongs to no joint")
                stack.append(announced)
                announced = None
            elif word == "}":
                stack.pop()
            elif word == "OFFSET":
                if stack[-1] == -2:
                    joints[stack[-2]].tip = _vector(words[1:4])
                else:
                    joints[stack[-1]].offset = _vector(words[1:4])
            elif word == "CHANNELS":
                joints[stack[-1]].channels = _channels(words, path)
            elif word != "HIERARCHY":
                raise FileFormatError(
                    f"a BVH hierarchy holds ROOT, JOINT, End Site, OFFSET, CHANNELS; {path} has {words[0][:40]!r}"
                )
    raise FileFormatError(f"{path} has no MOTION block, it is cut off: export it again")


def _parse_motion(lines: Iterator[str], width: int, joints: int, path: Path) -> tuple[Doubles, float]:
    """The table of channels (K, width) and the frames per second."""
    frames, rate = None, None
    rows: list[Doubles] = []
    found = 0
    for line in lines:
        words = line.replace(":", " : ").split() if rate is None else line.split()
        if not words:
            continue
        if rate is None:
            label = " ".join(words).lower()
            if label.startswith("frames :"):
                frames = int(words[2])
            elif label.startswith("frame time :"):
                rate = frame_rate(words[3], path)
            else:
                raise ValueError(f"{line.strip()[:40]!r} where Frames or Frame Time was expected")
            continue
        if frames is None or not 0 <= frames * joints <= MOST_JOINT_FRAMES:
            break
        rows.append(np.array(words, dtype=np.float64))
        found += len(words)
        if found > frames * width:
            break
    if frames is None or rate is None:
        raise FileFormatError(f"expected Frames and Frame Time after MOTION; {path} is cut off: export it again")
    if not 0 <= frames * joints <= MOST_JOINT_FRAMES:
        raise FileFormatError(
            f"expected at most {MOST_JOINT_FRAMES // joints} frames of {joints} joints; {path} has {frames}"
        )
    if found != frames * width:
        more = "more" if found > frames * width else str(found)
        raise FileFormatError(
            f"expected {frames} frames of {width} numbers; {path} has {more}, it is cut off or damaged: export it again"
        )
    table = np.concatenate(rows) if rows else np.zeros(0)
    if not (np.abs(table) < _FARTHEST).all():
        raise FileFormatError(f"expected finite numbers in every frame of {path}: export it again")
    return table.reshape(frames, width), rate


def _unit_m(parents: list[int], offsets: Doubles, tips: dict[int, Doubles]) -> float:
    """Metres per unit of the file, from the longest way through the body along its bones."""
    lengths = np.linalg.norm(offsets, axis=-1)
    way, longest = np.zeros(len(parents)), 0.0
    for i in range(len(parents) - 1, -1, -1):  # children come after their parents
        if i in tips:
            end = float(np.linalg.norm(tips[i]))
            longest, way[i] = max(longest, way[i] + end), max(way[i], end)
        if parents[i] >= 0:
            above, here = parents[i], way[i] + lengths[i]
            longest, way[above] = max(longest, way[above] + here), max(way[above], here)
    height = max(longest, way[0]) / _WAY_TO_HEIGHT
    for unit in _UNITS_M:
        if 0.3 <= height * unit <= 3.0:
            return unit
    return _UNITS_M[0]


def _local(joint: _Joint, table: Doubles) -> tuple[Array, Doubles | None]:
    """Rotations (K, 4) of a joint and its positions (K, 3) in the file's unit, None without position channels."""
    q = np.tile(rot.IDENTITY, (len(table), 1))
    place = np.tile(np.asarray(joint.offset, np.float64), (len(table), 1))
    axes = np.eye(3, dtype=np.float32)
    for (axis, turns), values in zip(joint.channels, table.T, strict=True):
        if turns:
            # Whole turns are taken away in double precision: programs write angles of many of them.
            q = rot.multiply(q, rot.from_axis_angle(axes[axis], np.radians(np.remainder(values, 720.0))))
        else:
            place[:, axis] = values
    return q, place if any(not turns for _, turns in joint.channels) else None


def _folds(joints: list[_Joint], places: list[Doubles | None]) -> int:
    """How many joints at the top only carry the next one, which moves by itself."""
    count = 0
    while sum(joint.parent == count for joint in joints) == 1 and joints[count + 1].parent == count:
        child = places[count + 1]
        if child is None or not len(child) or joints[count].tip is not None:
            break
        size = max(float(np.linalg.norm(joint.offset)) for joint in joints[count + 2 :]) if joints[count + 2 :] else 0.0
        moves = np.ptp(child, axis=0).max() > 1e-3 * size
        elsewhere = np.abs(np.median(child, axis=0) - joints[count + 1].offset).max() > size
        if not moves and not elsewhere:
            break
        count += 1
    return count


def read_bvh(path: Path | str) -> Motion:
    """Read a BVH file of any skeleton, at any rate; the motion has 30 frames a second and metres.

    Translation of joints other than the root is ignored but for its steady part, which is the bone.

    Raises:
        FileFormatError: not a BVH file, cut off, several bodies, or numbers missing or not finite.
    """
    path = check_size(path)
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            first = file.read(4096).split(maxsplit=1)
            if not first or first[0].upper() != "HIERARCHY":
                raise FileFormatError(
                    f"a BVH file begins with HIERARCHY; {path} begins with {' '.join(first[:1])[:40]!r}"
                )
            file.seek(0)
            lines = text_lines(file, path)
            joints = _parse_hierarchy(lines, path)
            width = sum(len(joint.channels) for joint in joints)
            if not width:
                raise FileFormatError(f"expected CHANNELS in the joints of {path}; there are none: export it again")
            table, rate = _parse_motion(lines, width, len(joints), path)
    except (IndexError, ValueError) as error:
        raise FileFormatError(f"{path} is cut off or damaged ({str(error)[:200]}): export it again") from error
    return _assemble(joints, table, rate, path)


def _assemble(joints: list[_Joint], table: Doubles, rate: float, path: Path) -> Motion:
    turned = np.empty((len(table), len(joints), 4), dtype=np.float32)
    places: list[Doubles | None] = []
    column = 0
    for i, joint in enumerate(joints):
        turned[:, i], place = _local(joint, table[:, column : column + len(joint.channels)])
        places.append(place)
        column += len(joint.channels)
    root = np.tile(joints[0].offset, (len(table), 1)) if places[0] is None else places[0]
    top = _folds(joints, places)
    q = turned[:, 0]
    for i in range(1, top + 1):
        place = places[i]
        assert place is not None, "only joints with positions are folded"
        root = root + rot.rotate(q, place)
        q = rot.multiply(q, turned[:, i])
    turned = turned[:, top:]
    turned[:, 0] = q
    joints, places = joints[top:], places[top:]
    parents = [-1, *(joint.parent - top for joint in joints[1:])]
    offsets = np.array([joint.offset for joint in joints], np.float64)
    for i, place in enumerate(places[1:], start=1):
        # Programs that write differences from the OFFSET write zeros where nothing moves.
        if place is not None and place.any():
            offsets[i] = np.median(place, axis=0)
    if top:
        offsets[0, [0, 2]] = 0.0  # of a joint that moves by itself it says where a take began, not what the body is
    ends = {i: np.asarray(joint.tip, np.float64) for i, joint in enumerate(joints) if joint.tip is not None}
    unit = _unit_m(parents, offsets, ends)
    names = unique_names([joint.name for joint in joints])
    tips = {names[i]: (end * unit).astype(np.float32) for i, end in ends.items() if end.any()}
    tips = {name: tip for name, tip in tips.items() if not np.allclose(tip, _SHORT_TIP_M)}
    return finish(names, parents, offsets * unit, tips, turned, root * unit, np.arange(len(table)) / rate, path)
