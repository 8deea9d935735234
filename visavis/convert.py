"""`visavis convert`: a motion file in another format, on another body where one is asked for or the format needs one.

The format of what comes in is found from its content, that of what goes out from its extension. Two ways out are no
files of motion: a folder `NAME.openpose` gets 2D keypoints and drawn frames, and `vmc://HOST:PORT` is played to live.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from visavis.errors import ServiceError, UsageError

if TYPE_CHECKING:
    from visavis.motion.avatar import Avatar
    from visavis.motion.bone_maps import BoneMap
    from visavis.motion.motion import Motion
    from visavis.motion.skeleton import Skeleton
    from visavis.motion.vrm import Vrm

__all__ = ["Converted", "convert", "open_avatar"]

_OF_A_BODY = ("glb", "vrm")  # these hold a mesh, which has its own skeleton
_ROOTS = ("hips", "pelvis")  # a .npz holds VRM or SMPL-X joints, a .vrma the former
_FACELESS = ("bvh", "skm", "openpose")
_WAYS_OUT = ("openpose", "vmc")  # nothing reads these back


@dataclass(frozen=True)
class Converted:
    """What was done.

    Attributes:
        source: format of the file that was read.
        target: format of the file that was written.
        seconds: length of the motion.
        joints: of the written skeleton.
        bones: which joint was taken for which bone, where the motion was brought to another body.
        notes: what was lost or done on the way, a line each.
    """

    source: str
    target: str
    seconds: float
    joints: int
    bones: BoneMap | None = None
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, object]:
        """For `--json`."""
        bones = dict(self.bones.bones) if self.bones else None
        return {
            "from": self.source, "to": self.target, "seconds": round(self.seconds, 3), "joints": self.joints,
            "skeleton": self.bones.name if self.bones else None, "bones": bones, "notes": self.notes,
        }  # fmt: skip


def open_avatar(name: str) -> Avatar:
    """A shipped avatar.

    Raises:
        UsageError: there is none of that name.
    """
    from visavis.motion.avatar import avatar_names, load_avatar

    if name not in avatar_names():
        hint = ": use --to-avatar for a file of your own" if Path(name).suffix else ""
        raise UsageError(f"expected one of the avatars {', '.join(avatar_names())}; got {name!r}{hint}")
    return load_avatar(name)


def convert(
    source: str | Path,
    target: str | Path,
    *,
    skeleton: str | Path | None = None,
    to_avatar: str | Path | None = None,
    avatar: str | None = None,
) -> Converted:
    """Convert a motion file.

    Args:
        source: a file of any format that is read.
        target: the file to write; its extension names the format. Or a folder ending in `.openpose`, or `vmc://HOST:PORT`
            (`vmc://` alone is this machine and the protocol's own port).
        skeleton: the `.sk` of a SmartBody motion that lies apart from it; any other file is a body to retarget to.
        to_avatar: a `.vrm` or `.glb` of somebody's own to retarget to, and whose mesh a `.vrm` or `.glb` then holds.
        avatar: a shipped avatar's name, likewise.

    Raises:
        UsageError, FileFormatError: see the message.
    """
    from visavis.motion.files import find_format, formats, read_motion, write_motion

    place = _vmc_place(str(target)) if str(target).startswith("vmc:") else None
    source, target = Path(source), Path(target)
    kind = "vmc" if place else target.suffix.lower().removeprefix(".")
    known = [*(each.name for each in formats() if each.writes), "openpose"]
    if kind not in known and not place:
        raise UsageError(
            f"expected an output ending in one of {', '.join('.' + name for name in known)} (or vmc://HOST:PORT); "
            f"got {target.name!r}"
        )
    if to_avatar and avatar:
        raise UsageError("expected one body; got --to-avatar and --avatar: leave one out")
    if avatar:
        open_avatar(avatar)
    if skeleton and kind in _OF_A_BODY and (to_avatar or avatar or Path(skeleton).suffix.lower() != ".sk"):
        raise UsageError(f"a .{kind} holds a mesh with a skeleton of its own: give --to-avatar or --avatar instead")
    for other in (source, to_avatar, skeleton):
        if other and target.exists() and Path(other).exists() and target.samefile(other):
            raise UsageError(f"{target} would overwrite what is read: choose another name")
    found = find_format(source)
    own_skeleton = skeleton if skeleton and found == "skm" and find_format(skeleton) == "sk" else None
    motion = read_motion(source, skeleton=own_skeleton)
    if not len(motion):
        raise UsageError(f"expected a motion of at least one frame; {source} has none")

    body, mesh = _body(kind, motion, None if own_skeleton else skeleton, to_avatar, avatar)
    bones, notes = None, []
    if body is not None:
        from visavis.motion.bone_maps import guess_bones
        from visavis.motion.fitting import same_skeleton
        from visavis.motion.retarget import retarget

        if not same_skeleton(motion.skeleton, body):
            bones = guess_bones(motion.skeleton)
            motion = retarget(motion, body, bones)
    if motion.face is not None and kind in _FACELESS:
        notes.append(f"a .{kind} holds no face: the face track is left out")
    if kind == "csv":
        if motion.face is None:
            raise UsageError(f"expected a motion with a face for .csv; {source} ({found}) has none")
        notes.append("a .csv holds the face alone: the body is left out")
    from visavis.motion.vrm import Vrm, bake

    if place:
        from visavis.motion.vmc import send_vmc

        try:
            send_vmc(motion, *place)
        except OSError as error:
            host, port = place
            raise ServiceError(f"expected to reach vmc://{host}:{port}; {error.strerror or error}") from error
        return Converted(found, kind, motion.duration_s, len(motion.skeleton), bones, notes)
    target.parent.mkdir(parents=True, exist_ok=True)
    if kind == "openpose":
        from visavis.motion.keypoints import write_keypoints

        write_keypoints(motion, target)
    elif isinstance(mesh, Vrm):
        bake(motion, mesh, target)
    else:
        write_motion(motion, target, avatar=mesh)
    return Converted(found, kind, motion.duration_s, len(motion.skeleton), bones, notes)


def _vmc_place(address: str) -> tuple[str, int]:
    """Host and port of `vmc://HOST:PORT`, both optional."""
    from urllib.parse import urlsplit

    from visavis.motion.vmc import HOST, PORT

    try:
        parts = urlsplit(address)
        place = parts.hostname or HOST, parts.port or PORT
    except ValueError:
        place = None
    if place is None or parts.scheme != "vmc" or parts.path not in ("", "/"):
        raise UsageError(f"expected vmc://HOST:PORT, such as vmc://{HOST}:{PORT}; got {address!r}")
    return place


def _body(
    kind: str, motion: Motion, skeleton: str | Path | None, to_avatar: str | Path | None, avatar: str | None
) -> tuple[Skeleton | None, Avatar | Vrm | None]:
    """The skeleton to bring the motion to, None for the one it has; and the mesh to write, None for none."""
    from visavis.motion.skeleton import default_skeleton

    if to_avatar:
        from visavis.motion.vrm import read_vrm

        vrm = read_vrm(to_avatar)
        return vrm.skeleton, vrm if kind in _OF_A_BODY else None
    if avatar:
        shipped = open_avatar(avatar)
        return shipped.skeleton, shipped
    if skeleton:
        from visavis.motion.files import read_motion

        return read_motion(skeleton).skeleton, None
    if kind in _OF_A_BODY or kind in _WAYS_OUT and not set(default_skeleton().names) <= set(motion.skeleton.names):
        return default_skeleton(), None
    if (
        kind == "vrma"
        and motion.skeleton.names[0] != "hips"
        or kind == "npz"
        and motion.skeleton.names[0] not in _ROOTS
    ):
        return default_skeleton(), None
    return None, None
