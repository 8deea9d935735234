"""SmartBody's text formats: a skeleton (`.sk`) and motion for it (`.skm`); neither carries a face we could read.

A joint's rotation relative to its parent is jorient · prerot · q · postrot, where `q` is its `Quat` channel: three
numbers, the axis of the rotation times its angle in radians (an exponential map, in spite of the name). Rotations about
a single axis are degrees. Position channels are added to the joint's offset; those of other joints than the root (the
face's muscles) are ignored. Source: the files of USC ICT's SmartBody; that `Quat` means this is measured by
`tests/motion/test_smartbody.py`: feet stand still under no other reading.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis.errors import FileFormatError
from visavis.motion import rotations as rot
from visavis.motion.motion import Motion
from visavis.motion.phases import Phases
from visavis.motion.reading import MOST_JOINT_FRAMES, MOST_JOINTS, check_size, finish, text_lines, unique_names
from visavis.motion.skeleton import Skeleton

__all__ = ["read_phases", "read_sk", "read_skm", "write_sk", "write_skm"]

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]

_WIDTH: Final = {"xpos": 1, "ypos": 1, "zpos": 1, "xrot": 1, "yrot": 1, "zrot": 1, "quat": 3, "swing": 2, "twist": 1}
_MOST_SKELETON_BYTES: Final = 4 << 20
_PHASES: Final = ("ready", "strokeStart", "emphasis", "stroke", "relax")


@dataclass(frozen=True)
class _Rig:
    """A skeleton as the file has it, with the frames that its channels are given in.

    Attributes:
        skeleton: rest frames aligned to the world.
        before: (J, 4) jorient · prerot.
        after: (J, 4) postrot.
    """

    skeleton: Skeleton
    before: Array
    after: Array

    def world(self) -> Array:
        """(J, 4) orientations in the rest pose."""
        out = rot.multiply(self.before, self.after)
        for i, parent in enumerate(self.skeleton.parents):
            if parent >= 0:
                out[i] = rot.multiply(out[parent], out[i])
        return out


def _words(text: str) -> Iterator[str]:
    for line in text.splitlines():
        yield from re.findall(r'"[^"]*"|[{}]|[^\s{}"]+', line.partition("#")[0])


def _read_rig(path: Path) -> _Rig:
    names: list[str] = []
    parents: list[int] = []
    offsets: list[list[float]] = []
    before: list[Array] = []
    after: list[Array] = []
    stack: list[int] = []
    if path.stat().st_size > _MOST_SKELETON_BYTES:
        raise FileFormatError(
            f"expected a SmartBody skeleton of a few kilobytes; {path} is far larger: export it again"
        )
    words = _words(path.read_text(encoding="utf-8-sig", errors="replace"))
    try:
        while next(words) != "skeleton":
            pass
        for word in words:
            if word in ("root", "joint"):
                name = next(words)
                name = f"joint_{len(names)}" if name == "{" else name.strip('"')
                if (word == "root") == bool(names) or len(names) >= MOST_JOINTS or (names and not stack):
                    raise ValueError(f"{word} {name[:40]!r} is one too many, or lies in no other joint")
                names.append(name)
                parents.append(stack[-1] if stack else -1)
                offsets.append([0.0, 0.0, 0.0])
                before.append(rot.IDENTITY)
                after.append(rot.IDENTITY)
            elif word == "{":
                stack.append(len(names) - 1)
            elif word == "}":
                stack.pop()
                if not stack:
                    break
            elif word == "offset" and stack:
                offsets[stack[-1]] = [float(next(words)) for _ in range(3)]
            elif word in ("prerot", "postrot", "jorient") and stack:
                turn = _axis_angle(words)
                here = stack[-1]
                if word == "postrot":
                    after[here] = turn
                else:
                    before[here] = rot.multiply(before[here], turn) if word == "prerot" else rot.multiply(
                        turn, before[here]
                    )  # fmt: skip
    except (StopIteration, ValueError, IndexError) as error:
        raise FileFormatError(
            f"{path} is cut off or damaged ({str(error)[:200]}): export the skeleton again"
        ) from error
    if not names or stack:
        raise FileFormatError(
            f"expected a SmartBody skeleton with a root joint; {path} {'is cut off' if names else 'has none'}"
        )
    pre, post = np.stack(before), np.stack(after)
    local = np.asarray(offsets, np.float64)
    if (
        not np.isfinite(local).all()
        or np.abs(local).max() > 1e6
        or not np.isfinite(pre).all()
        or not np.isfinite(post).all()
    ):
        raise FileFormatError(f"expected finite offsets and rotations in {path}: export the skeleton again")
    # Offsets along the axes of the world.
    rig = _Rig(Skeleton(unique_names(names), np.asarray(parents, np.int64), local.astype(np.float32), {}), pre, post)
    world = rig.world()
    straight = np.stack([
        offset if parent < 0 else rot.rotate(world[parent], offset)
        for offset, parent in zip(rig.skeleton.offsets_m, parents, strict=True)
    ])  # fmt: skip
    return _Rig(Skeleton(rig.skeleton.names, rig.skeleton.parents, straight, {}), pre, post)


def _axis_angle(words: Iterator[str]) -> Array:
    """`axis x y z ang degrees`."""
    values = {}
    for label, count in (("axis", 3), ("ang", 1)):
        if (found := next(words)) != label:
            raise ValueError(f"{label!r} expected, {found[:40]!r} found")
        values[label] = [float(next(words)) for _ in range(count)]
    # The axis of no rotation is written as zero.
    return rot.from_axis_angle(values["axis"], np.radians(values["ang"][0])) if any(values["axis"]) else rot.IDENTITY


@lru_cache(maxsize=8)
def _cached_rig(path: Path, changed_ns: int, size: int) -> _Rig:
    return _read_rig(path)


def _rig(path: Path | str) -> _Rig:
    path = check_size(path)
    about = path.stat()
    return _cached_rig(path.resolve(), about.st_mtime_ns, about.st_size)


def read_sk(path: Path | str) -> Skeleton:
    """Read a SmartBody skeleton, rest frames aligned to the world, lengths as the file has them (metres).

    Raises:
        FileFormatError: not a SmartBody skeleton, or cut off.
    """
    return _rig(path).skeleton


def _find_skeleton(path: Path, named: str) -> Path:
    """The `.sk` that belongs to a motion: one folder for both, or folders beside each other; by name if several."""
    folders = [path.parent, path.parent.parent / "skeletons", path.parent.parent]
    for folder in folders:
        found = sorted(folder.glob("*.sk")) if folder.is_dir() else []
        if len(found) == 1:
            return found[0]
        # Motions are named `Performer@Clip`.
        who = {text.partition("@")[0].lower() for text in (path.stem, named)}
        fitting = [each for each in found if each.stem.lower() in who]
        if fitting:
            return fitting[0]
        if found:
            raise FileFormatError(
                f"expected one skeleton (.sk) beside {path}; there are {len(found)} and none is called "
                f"{path.stem.partition('@')[0]!r}: name the skeleton file"
            )
    raise FileFormatError(
        f"expected the skeleton (.sk) of {path} beside it or in ../skeletons; there is none: name the skeleton file"
    )


@dataclass(frozen=True)
class _Take:
    name: str
    channels: list[tuple[str, str]]  # joint and kind, the kind in small letters
    times_s: Doubles  # (K,)
    table: Doubles  # (K, sum of widths)
    marks_s: dict[str, float]


def _parse_motion(path: Path) -> _Take:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return _parse_lines(text_lines(file, path), path)


def _parse_lines(lines: Iterator[str], path: Path) -> _Take:
    name, count = "", None
    channels: list[tuple[str, str]] | None = None
    times: list[float] = []
    rows: list[Doubles] = []
    marks: dict[str, float] = {}
    try:
        for line in lines:
            words = line.partition("#")[0].split()
            if not words:
                continue
            if words[0] == "name":
                name = " ".join(words[1:]).strip('"')
            elif words[0] == "channels":
                wanted = int(words[1])
                if not 0 < wanted <= 4 * MOST_JOINTS:
                    raise ValueError(f"{wanted} channels")
                channels = []
                while len(channels) < wanted:
                    parts = next(lines).partition("#")[0].split()
                    if parts:
                        joint, kind = parts[0], parts[1].lower()
                        if kind not in _WIDTH:
                            raise ValueError(f"a channel {kind[:40]!r}")
                        channels.append((joint, kind))
            elif words[0] == "frames":
                count = int(words[1])
            elif words[0] == "kt":
                if channels is None or count is None:
                    raise ValueError("frames before their channels")
                if len(rows) >= count or (len(rows) + 1) * len(channels) > MOST_JOINT_FRAMES:
                    raise ValueError("more frames than announced")
                times.append(float(words[1]))
                if words[2] != "fr":
                    raise ValueError(f"{words[2][:40]!r} where fr was expected")
                rows.append(np.array(words[3:], dtype=np.float64))
            elif len(words) >= 3 and words[1] == "time:":
                marks[words[0]] = float(words[2])
    except (StopIteration, ValueError, IndexError) as error:
        raise FileFormatError(f"{path} is cut off or damaged ({str(error)[:200]}): export the motion again") from error
    if channels is None or count is None:
        raise FileFormatError(f"expected channels and frames in a SmartBody motion; {path} has none: export it again")
    width = sum(_WIDTH[kind] for _, kind in channels)
    if len(rows) != count or any(len(row) != width for row in rows):
        raise FileFormatError(
            f"expected {count} frames of {width} numbers in {path}; got {len(rows)} frames: it is cut off or damaged"
        )
    table = np.stack(rows) if rows else np.zeros((0, width))
    if not np.isfinite(table).all() or (np.abs(table) > 1e6).any():
        raise FileFormatError(f"expected finite numbers in every frame of {path}: export it again")
    return _Take(name, channels, np.asarray(times, np.float64), table, marks)


def _turns(take: _Take, rig: _Rig, quat: Callable[[Doubles], Array] = rot.from_rotation_vector) -> tuple[Array, Array]:
    """Rotations of the channels (K, J, 4) and what is added to the root's offset (K, 3); `quat` reads three numbers."""
    names = {name: i for i, name in enumerate(rig.skeleton.names)}
    turned = np.tile(rot.IDENTITY, (len(take.table), len(names), 1))
    root = np.zeros((len(take.table), 3))
    axes = np.eye(3, dtype=np.float32)
    column, known = 0, 0
    for joint, kind in take.channels:
        values = take.table[:, column : column + _WIDTH[kind]]
        column += _WIDTH[kind]
        i = names.get(joint)
        if i is None:
            continue
        known += 1
        if kind == "quat":
            turned[:, i] = rot.multiply(turned[:, i], quat(values))
        elif kind == "swing":
            swing = np.concatenate([values, np.zeros_like(values[:, :1])], axis=-1)
            turned[:, i] = rot.multiply(rot.from_rotation_vector(swing), turned[:, i])
        elif kind == "twist":
            turned[:, i] = rot.multiply(turned[:, i], rot.from_axis_angle(axes[2], np.radians(values[:, 0])))
        elif kind.endswith("rot"):
            # Angles about single axes combine as x, then y, then z.
            turn = rot.from_axis_angle(axes["xyz".index(kind[0])], np.radians(values[:, 0]))
            turned[:, i] = rot.multiply(turn, turned[:, i])
        elif i == 0:
            root[:, "xyz".index(kind[0])] = values[:, 0]
    if not known:
        raise FileFormatError(
            f"expected the joints of the skeleton in the channels; none of {len(take.channels)} is one of "
            f"{', '.join(rig.skeleton.names[:3])} …: name the skeleton file that belongs to the motion"
        )
    return turned, root.astype(np.float32)


def read_skm(path: Path | str, skeleton_path: Path | str | None = None) -> Motion:
    """Read a SmartBody motion on its own skeleton, rest frames aligned to the world, at 30 frames a second.

    Args:
        path: the `.skm`.
        skeleton_path: the `.sk` it was made for; by default the one beside it or in `../skeletons`.

    Raises:
        FileFormatError: not a SmartBody motion, cut off, or its skeleton is not to be found.
    """
    path = check_size(path)
    take = _parse_motion(path)
    rig = _rig(skeleton_path if skeleton_path is not None else _find_skeleton(path, take.name))
    turned, root = _turns(take, rig)
    straight = _aligned(turned, rig)
    skeleton = rig.skeleton
    return finish(
        skeleton.names, list(skeleton.parents), skeleton.offsets_m, {}, straight, skeleton.offsets_m[0] + root,
        take.times_s, path,
    )  # fmt: skip


def _aligned(turned: Array, rig: _Rig) -> Array:
    """Rotations of channels (K, J, 4) → parent-relative rotations that are the identity at rest."""
    world = rig.world()
    above = np.concatenate([rot.IDENTITY[None], world])[rig.skeleton.parents + 1]
    # A rest world orientation is Wp · before · after; the channel turns between the two.
    left = rot.multiply(above, rig.before)
    right = rot.multiply(rig.after, rot.conjugate(world))
    return rot.multiply(rot.multiply(left, turned), right)


def read_phases(path: Path | str) -> Phases | None:
    """The gesture phases that a SmartBody motion carries, None if it carries none.

    `emphasis` is our stroke, SmartBody's `stroke` its end; the gesture starts with the clip and ends with it.

    Raises:
        FileFormatError: not a SmartBody motion, or cut off.
    """
    take = _parse_motion(check_size(path))
    if not all(mark in take.marks_s for mark in _PHASES) or len(take.times_s) < 2:
        return None
    start, end = float(take.times_s[0]), float(take.times_s[-1])
    inner = [min(max(take.marks_s[mark], start), end) for mark in _PHASES]
    times = list(np.maximum.accumulate([start, *inner, end]))
    return Phases(*(float(t) - start for t in times))


def write_sk(skeleton: Skeleton, path: Path | str) -> None:
    """Write a skeleton; its rest frames stay aligned to the world, so no joint has a prerot. Tips are left out."""
    children: list[list[int]] = [[] for _ in skeleton.names]
    for bone, parent in enumerate(skeleton.parents):
        if parent >= 0:
            children[parent].append(bone)
    lines = [f"# SK Skeleton Definition\n# Units: m  Joints: {len(skeleton)}\n", "set_name visavis\n", "skeleton"]
    stack: list[tuple[int, int]] = [(0, 0)]  # bone and depth; ~bone closes it
    while stack:
        bone, depth = stack.pop()
        pad = "  " * depth
        if bone < 0:
            lines.append(f"{pad}}}")
            continue
        x, y, z = (float(v) for v in skeleton.offsets_m[bone])
        lines.append(f"{pad}{'joint' if depth else 'root'} {_name(skeleton, bone)}")
        lines.append(f"{pad}{{ offset {x:.6f} {y:.6f} {z:.6f}")
        if not depth:
            lines.extend(f"{pad}  channel {axis}Pos 0 free" for axis in "XYZ")
        lines.append(f"{pad}  channel Quat")
        stack.append((~bone, depth))
        stack.extend((child, depth + 1) for child in reversed(children[bone]))
    Path(path).write_text("\n".join([*lines, "", "end", ""]), encoding="utf-8")


def write_skm(motion: Motion, path: Path | str) -> None:
    """Write a motion and, beside it, its skeleton (`.sk`, same stem); the face has no place there and is left out."""
    path = Path(path)
    write_sk(motion.skeleton, path.with_suffix(".sk"))
    names = [_name(motion.skeleton, bone) for bone in range(len(motion.skeleton))]
    channels = [f"{names[0]} {axis}Pos" for axis in "XYZ"] + [f"{name} Quat" for name in names]
    root = motion.root_m.astype(np.float64) - np.round(motion.skeleton.offsets_m[0].astype(np.float64), 6)
    turns = rot.to_rotation_vector(motion.rotations).reshape(len(motion), 3 * len(names))
    table = np.concatenate([root, turns], axis=-1)
    form = " ".join(["%.6f"] * table.shape[1])
    lines = [
        "# SKM Motion Definition\n# Units: m\n",
        "SkMotion\n",
        f'name "{path.stem}"\n',
        f"channels {len(channels)}",
    ]
    lines += [*channels, "", f"frames {len(motion)}"]
    lines += [f"kt {i / motion.fps:.6f} fr {form % tuple(row)}" for i, row in enumerate(table)]
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _name(skeleton: Skeleton, bone: int) -> str:
    return re.sub(r'[\s{}"#]+', "_", skeleton.names[bone]) or f"joint_{bone}"
