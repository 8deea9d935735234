"""BVH: skeleton and motion in one text file, centimetres and degrees, as animation programs expect it.

Every joint has the channels Zrotation Xrotation Yrotation, R = Rz · Rx · Ry; the root has its world position before
them. All 55 bones are joints, with End Sites at fingertips and toe tips. The T-pose is all zeros.
Source: Biovision hierarchical data as described by Meredith & Maddock (2001). Reads only files with our bone names;
other dialects are a matter of retargeting.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis.errors import FileFormatError
from visavis.motion import rotations as rot
from visavis.motion.motion import Motion
from visavis.motion.skeleton import Skeleton, default_skeleton

__all__ = ["read_bvh", "write_bvh"]

Array = NDArray[np.float32]

_CM: Final = 100.0
_ROTATIONS: Final = "Zrotation Xrotation Yrotation"
# Eyes and jaw have no tip of their own, and programs expect an End Site under every last joint.
_SHORT_TIP_M: Final = (0.0, 0.0, 0.02)


def _to_zxy(q: Array) -> NDArray[np.float64]:
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


def _children(skeleton: Skeleton, bone: int) -> list[int]:
    return [i for i, parent in enumerate(skeleton.parents) if parent == bone]


def _hierarchy(skeleton: Skeleton) -> tuple[list[str], list[int]]:
    """Lines of the HIERARCHY block and the bones in the order in which their channels come."""
    lines, order = ["HIERARCHY"], []

    def visit(bone: int, depth: int) -> None:
        order.append(bone)
        pad, name = "\t" * depth, skeleton.names[bone]
        root = skeleton.parents[bone] < 0
        channels = f"6 Xposition Yposition Zposition {_ROTATIONS}" if root else f"3 {_ROTATIONS}"
        lines.extend([
            f"{pad}{'ROOT' if root else 'JOINT'} {name}", f"{pad}{{",
            f"{pad}\tOFFSET {_numbers(skeleton.offsets_m[bone] * _CM)}", f"{pad}\tCHANNELS {channels}",
        ])  # fmt: skip
        below = _children(skeleton, bone)
        for child in below:
            visit(child, depth + 1)
        tip = skeleton.tips_m.get(name)
        if not below:
            end = np.array(_SHORT_TIP_M) if tip is None else tip
            lines.extend([f"{pad}\tEnd Site", f"{pad}\t{{", f"{pad}\t\tOFFSET {_numbers(end * _CM)}", f"{pad}\t}}"])
        lines.append(f"{pad}}}")

    visit(0, 0)
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
    Path(path).write_text("\n".join(lines) + "\n", encoding="ascii")


@dataclass
class _Joint:
    name: str
    parent: int
    offset_m: Array
    channels: list[str] = field(default_factory=list)
    tip_m: Array | None = None


def _parse_hierarchy(words: list[str], path: Path | str) -> tuple[list[_Joint], int]:
    """Joints in file order and the place of the word after the block."""
    joints: list[_Joint] = []
    stack: list[int] = []
    at, end_site = 0, False
    while at < len(words) and words[at] != "MOTION":
        word = words[at]
        if word in ("ROOT", "JOINT"):
            joints.append(_Joint(words[at + 1], stack[-1] if stack else -1, np.zeros(3, np.float32)))
            at += 2
        elif word == "End":
            end_site, at = True, at + 2
        elif word == "{":
            stack.append(-2 if end_site else len(joints) - 1)
            at += 1
        elif word == "}":
            end_site = False
            stack.pop()
            at += 1
        elif word == "OFFSET":
            offset = np.array([float(v) for v in words[at + 1 : at + 4]], np.float32) / np.float32(_CM)
            if end_site:
                joints[stack[-2]].tip_m = offset
            else:
                joints[-1].offset_m = offset
            at += 4
        elif word == "CHANNELS":
            count = int(words[at + 1])
            joints[-1].channels = words[at + 2 : at + 2 + count]
            at += 2 + count
        elif word == "HIERARCHY":
            at += 1
        else:
            raise FileFormatError(f"a BVH hierarchy holds ROOT, JOINT, End Site, OFFSET, CHANNELS; {path} has {word!r}")
    return joints, at


def _skeleton_of(joints: list[_Joint], path: Path | str) -> Skeleton:
    ours = default_skeleton()
    found = {joint.name: joint for joint in joints}
    missing = [name for name in ours.names if name not in found]
    if missing:
        raise FileFormatError(
            f"expected the {len(ours)} VRM bones in {path}; {len(missing)} are missing, the first is {missing[0]!r}: "
            "retarget the motion to the VRM skeleton first"
        )
    offsets = np.stack([found[name].offset_m for name in ours.names])
    if np.allclose(offsets, ours.offsets_m, atol=1e-5):
        return ours
    ends = {name: tip for name in ours.tips_m if (tip := found[name].tip_m) is not None}
    return Skeleton(ours.names, ours.parents, offsets, {**ours.tips_m, **ends})


def read_bvh(path: Path | str) -> Motion:
    """Read a BVH file with our bone names, in centimetres; channels may come in any order.

    Raises:
        FileFormatError: not a BVH file, other bones, another frame rate than 30, or numbers missing.
    """
    words = Path(path).read_text(encoding="utf-8", errors="replace").split()
    if not words or words[0] != "HIERARCHY":
        raise FileFormatError(f"a BVH file begins with HIERARCHY; {path} begins with {' '.join(words[:1])!r}")
    try:
        joints, at = _parse_hierarchy(words, path)
        if at >= len(words):
            raise FileFormatError(f"{path} has no MOTION block, it is cut off: export it again")
        skeleton = _skeleton_of(joints, path)
        frames, seconds = int(words[at + 2]), float(words[at + 5])
        numbers = np.array(words[at + 6 :], dtype=np.float64)
    except (IndexError, ValueError) as error:
        raise FileFormatError(f"{path} is cut off or damaged ({error}): export it again") from error
    if abs(seconds * 30 - 1) > 0.01:
        raise FileFormatError(
            f"expected 30 frames a second; {path} has {1 / max(seconds, 1e-6):.3g}: resample it first"
        )
    width = sum(len(joint.channels) for joint in joints)
    if len(numbers) != frames * width:
        raise FileFormatError(
            f"expected {frames} frames of {width} numbers in {path}; got {len(numbers)}: export it again"
        )
    table = numbers.reshape(frames, width)
    turned = np.tile(rot.IDENTITY, (frames, len(skeleton), 1))
    root = np.tile(skeleton.offsets_m[0], (frames, 1))
    axes = np.eye(3, dtype=np.float32)
    column = 0
    for joint in joints:
        bone = skeleton.names.index(joint.name) if joint.name in skeleton.names else None
        q = np.tile(rot.IDENTITY, (frames, 1))
        for channel in joint.channels:
            axis, values = "XYZ".index(channel[0]), table[:, column]
            if channel.endswith("rotation"):
                q = rot.multiply(q, rot.from_axis_angle(axes[axis], np.radians(values)))
            elif joint.parent < 0:
                root[:, axis] = values / _CM
            column += 1
        if bone is not None:
            turned[:, bone] = q
    return Motion(rot.continuous(turned), root, None, skeleton)
