"""SMPL-X parameters in an `.npz`, laid out as BEAT2 has them, both ways. Knows neither the body model nor its mesh.

`poses` (T, 165) holds a rotation vector for each of 55 joints about the model's own rest pose, whose arms hang a
little; `trans` (T, 3) the place of the model's origin, 0.35 m above its pelvis at rest. What we write also carries the
skeleton and the face's weights, so that it comes back as it was. A file without a skeleton gets one of average
proportions under SMPL-X's joint names: the true one needs the body model, which is not free to ship. Also read: AMASS's
SMPL-X, SMPL-H (156) and SMPL (72) poses, Z up or Y up. Shape (`betas`) and `expressions` are not used.
Source: SMPL-X (Pavlakos et al. 2019), BEAT2 (Liu et al. 2024).
"""

from __future__ import annotations

import io
import math
import tokenize
import warnings
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visavis.errors import FileFormatError, UsageError
from visavis.motion import rotations as rot
from visavis.motion.face import ARKIT_NAMES
from visavis.motion.motion import Motion
from visavis.motion.reading import MOST_JOINT_FRAMES, MOST_JOINTS, check_size, finish, unique_names
from visavis.motion.skeleton import Skeleton, default_skeleton

__all__ = ["SMPLX_NAMES", "read_npz", "smplx_skeleton", "write_npz"]

Array = NDArray[np.float32]

_BODY: Final = (
    ("pelvis", "hips"), ("left_hip", "leftUpperLeg"), ("right_hip", "rightUpperLeg"), ("spine1", "spine"),
    ("left_knee", "leftLowerLeg"), ("right_knee", "rightLowerLeg"), ("spine2", "chest"), ("left_ankle", "leftFoot"),
    ("right_ankle", "rightFoot"), ("spine3", "upperChest"), ("left_foot", "leftToes"), ("right_foot", "rightToes"),
    ("neck", "neck"), ("left_collar", "leftShoulder"), ("right_collar", "rightShoulder"), ("head", "head"),
    ("left_shoulder", "leftUpperArm"), ("right_shoulder", "rightUpperArm"), ("left_elbow", "leftLowerArm"),
    ("right_elbow", "rightLowerArm"), ("left_wrist", "leftHand"), ("right_wrist", "rightHand"), ("jaw", "jaw"),
    ("left_eye_smplhf", "leftEye"), ("right_eye_smplhf", "rightEye"),
)  # fmt: skip
_FINGER: Final = (("index", "Index"), ("middle", "Middle"), ("pinky", "Little"), ("ring", "Ring"), ("thumb", "Thumb"))
_JOINT: Final = ("Proximal", "Intermediate", "Distal")
_THUMB: Final = ("Metacarpal", "Proximal", "Distal")
_HANDS: Final = tuple(
    (f"{side}_{theirs}{i + 1}", f"{side}{ours}{(_THUMB if ours == 'Thumb' else _JOINT)[i]}")
    for side in ("left", "right")
    for theirs, ours in _FINGER
    for i in range(3)
)
_PAIRS: Final = (*_BODY, *_HANDS)
SMPLX_NAMES: Final = tuple(theirs for theirs, _ in _PAIRS)
_VRM_NAMES: Final = tuple(ours for _, ours in _PAIRS)
# SMPL-H has the 22 joints of the body and the hands; SMPL has 24, of which 22 are these.
_COLUMNS: Final = {
    165: tuple(range(55)),
    156: (*range(22), *range(25, 55)),
    72: tuple(range(22)),
    66: tuple(range(22)),
}
# The model's origin lies here over its pelvis at rest; only the height matters, and that the same is taken both ways.
_PELVIS_M: Final = (0.0, -0.35, 0.01)
# The model's arms at rest, approximately: upper arms 15° below the horizontal and 10° back, forearms 5° above it.
_ARMS: Final = {"elbow": (-15.0, -10.0), "wrist": (5.0, -1.0)}
_ABOVE: Final = {
    SMPLX_NAMES.index(f"{side}_{joint}"): SMPLX_NAMES.index(f"{side}_{above}")
    for side in ("left", "right")
    for joint, above in (("elbow", "shoulder"), ("wrist", "elbow"))
}
_MOST_UNPACKED: Final = 512 * 1024 * 1024
_WANTED: Final = (
    "poses", "trans", "mocap_frame_rate", "mocap_framerate", "face_weights", "face_names", "skeleton_names",
    "skeleton_parents", "skeleton_offsets_m", "skeleton_tip_names", "skeleton_tips_m", "skeleton_poses", "pelvis_m",
)  # fmt: skip
_DAMAGE: Final = (
    OSError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError, RuntimeError,
    OverflowError, MemoryError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@lru_cache(maxsize=1)
def smplx_skeleton() -> Skeleton:
    """55 joints under SMPL-X's names in its rest pose, with the proportions of our own default avatar."""
    ours = default_skeleton()
    order = ours.indices(_VRM_NAMES)
    place = {int(bone): i for i, bone in enumerate(order)}
    parents = np.array([place.get(int(ours.parents[bone]), -1) for bone in order], dtype=np.int64)
    offsets = ours.offsets_m[order].copy()
    for side, sign in (("left", 1.0), ("right", -1.0)):
        for joint, (up, forward) in _ARMS.items():
            i = SMPLX_NAMES.index(f"{side}_{joint}")
            a, b = math.radians(up), math.radians(forward)
            way = np.array([sign * math.cos(a) * math.cos(b), math.sin(a), math.cos(a) * math.sin(b)])
            offsets[i] = np.linalg.norm(offsets[i]) * way
    tips = {theirs: ours.tips_m[mine] for theirs, mine in _PAIRS if mine in ours.tips_m}
    return Skeleton(SMPLX_NAMES, parents, offsets.astype(np.float32), tips)


def _own_rest(skeleton: Skeleton) -> dict[int, Array]:
    """For arm joints (by SMPL-X's number) the rotation from the model's rest direction to the skeleton's own."""
    out = {}
    places = {name: i for i, name in enumerate(skeleton.names)}
    for side in ("left", "right"):
        for joint, tip in (("shoulder", "elbow"), ("elbow", "wrist")):
            j, end = SMPLX_NAMES.index(f"{side}_{joint}"), SMPLX_NAMES.index(f"{side}_{tip}")
            theirs = smplx_skeleton().offsets_m[end]
            ours = next((skeleton.offsets_m[places[name]] for name in _PAIRS[end] if name in places), theirs)
            if np.linalg.norm(ours) > 1e-6:
                out[j] = rot.rotation_between(theirs, ours)
    return out


def _with_model_rest(turned: Array, joint: int, rest: dict[int, Array], back: bool = False) -> Array:
    """Rotations (T, 4) of a joint about its own rest pose → about that of the model, or `back`.

    The bones point the same way in the world under both; without this, arms would be lowered by what they are lowered
    in the model's rest pose.
    """
    before = rest.get(_ABOVE.get(joint, -1), rot.IDENTITY)
    after = rest.get(joint, rot.IDENTITY)
    if back:
        return rot.multiply(rot.multiply(before, turned), rot.conjugate(after))
    return rot.multiply(rot.multiply(rot.conjugate(before), turned), after)


def write_npz(motion: Motion, path: Path | str) -> None:
    """Write a motion of VRM or SMPL-X joints with its skeleton and its face; betas and expressions are zero.

    Joints that SMPL-X does not have are kept under `skeleton_poses`.

    Raises:
        UsageError: the skeleton has no hips: retarget the motion first.
    """
    skeleton, frames = motion.skeleton, len(motion)
    places = [
        next((skeleton.names.index(name) for name in pair if name in skeleton.names), -1) for pair in _PAIRS
    ]  # fmt: skip
    if places[0] != 0:
        raise UsageError(
            f"SMPL-X needs a skeleton whose first joint is the hips (VRM or SMPL-X names); got {skeleton.names[0]!r}: "
            "retarget the motion to the default skeleton first"
        )
    poses = np.zeros((frames, 55, 3), np.float32)
    rest = _own_rest(skeleton)
    for i, place in enumerate(places):
        if place >= 0:
            poses[:, i] = rot.to_rotation_vector(_with_model_rest(motion.rotations[:, place], i, rest))
    tips = list(skeleton.tips_m)
    table: dict[str, Any] = {
        "poses": poses.reshape(frames, 165),
        "trans": motion.root_m.astype(np.float64) - np.array(_PELVIS_M),
        "betas": np.zeros(300, np.float32),
        "expressions": np.zeros((frames, 100), np.float32),
        "model": np.array("smplx2020"),
        "gender": np.array("neutral"),
        "mocap_frame_rate": np.array(motion.fps, np.int32),
        "pelvis_m": np.array(_PELVIS_M),
        "skeleton_names": np.array(skeleton.names),
        "skeleton_parents": skeleton.parents,
        "skeleton_offsets_m": skeleton.offsets_m,
        "skeleton_tip_names": np.array(tips, dtype=np.str_),
        "skeleton_tips_m": np.array([skeleton.tips_m[name] for name in tips], np.float32).reshape(-1, 3),
    }
    if set(range(len(skeleton))) != set(places) - {-1}:
        table["skeleton_poses"] = rot.to_rotation_vector(motion.rotations).reshape(frames, -1)
    if motion.face is not None:
        table["face_weights"], table["face_names"] = motion.face, np.array(ARKIT_NAMES)
    with Path(path).open("wb") as file:
        np.savez_compressed(file, **table)


def _header(data: bytes, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, Fortran order, dtype of an array and where its numbers begin."""
    file = io.BytesIO(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the parser, about what damaged headers look like
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, fortran, kind = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, fortran, kind = np.lib.format.read_array_header_2_0(file)
        else:
            raise ValueError(f"{name!r} has a header of version {version}")
    return shape, fortran, kind, file.tell()


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays we know, read without any unpickling; every member is looked at, so that objects are refused."""
    out = {}
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > _MOST_UNPACKED:
            raise ValueError(f"more than {_MOST_UNPACKED >> 20} MB unpacked")
        for member in members:
            name = member.filename.removesuffix(".npy")
            wanted = name in _WANTED
            with archive.open(member) as file:
                data = file.read(member.file_size if wanted else 4096)
            shape, fortran, kind, start = _header(data, name)
            if kind.hasobject:
                raise FileFormatError(
                    f"expected arrays of numbers and text in {path}; {name!r} holds Python objects, which could run "
                    "code when read: save it again without objects"
                )
            if not wanted:
                continue
            count = math.prod(shape)
            if any(n < 0 for n in shape) or count * kind.itemsize != len(data) - start:
                raise ValueError(f"{name!r} is cut off")
            values = np.frombuffer(data, kind, count, start)
            out[name] = values.reshape(shape, order="F" if fortran else "C")
    return out


def _floats(arrays: dict[str, NDArray[Any]], name: str, path: Path, *tail: int) -> Array:
    """An array (T, *tail) of finite numbers, float32."""
    values = arrays[name]
    if values.dtype.kind not in "fiu" or values.shape[1:] != tail or values.ndim != len(tail) + 1:
        want = ", ".join(["T", *map(str, tail)])
        raise FileFormatError(f"expected {name!r} of shape ({want}) in {path}; got {values.dtype} {values.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        out = values.astype(np.float32)
    if not np.isfinite(out).all() or (np.abs(out) > 1e6).any():
        raise FileFormatError(f"expected finite numbers in {name!r} of {path}: export it again")
    return out


def _skeleton(arrays: dict[str, NDArray[Any]], path: Path) -> Skeleton:
    """The skeleton stored in the file, that of SMPL-X where there is none."""
    if "skeleton_names" not in arrays:
        return smplx_skeleton()
    names = arrays["skeleton_names"]
    if names.ndim != 1 or names.dtype.kind != "U" or not 1 <= len(names) <= MOST_JOINTS:
        raise FileFormatError(f"expected 1 to {MOST_JOINTS} joint names in {path}; got {names.dtype} {names.shape}")
    offsets = _floats(arrays, "skeleton_offsets_m", path, 3)
    parents = arrays["skeleton_parents"]
    if parents.dtype.kind not in "iu" or parents.shape != names.shape or len(offsets) != len(names):
        raise FileFormatError(f"expected a parent and an offset for each of {len(names)} joints in {path}")
    parents = parents.astype(np.int64)
    if parents[0] != -1 or (parents[1:] < 0).any() or (parents >= np.arange(len(parents))).any():
        raise FileFormatError(f"expected one root and parents before their children in {path}: export it again")
    unique = unique_names([str(name) for name in names])
    tips = {}
    if "skeleton_tip_names" in arrays:
        ends = _floats(arrays, "skeleton_tips_m", path, 3)
        tips = {
            str(name): end
            for name, end in zip(arrays["skeleton_tip_names"].ravel().tolist(), ends, strict=False)
            if str(name) in unique
        }
    return Skeleton(unique, parents, offsets, tips)


def _turns(arrays: dict[str, NDArray[Any]], skeleton: Skeleton, path: Path) -> Array:
    """(K, J, 4) rotations of the skeleton's joints."""
    width = arrays["poses"].shape[-1] if arrays["poses"].ndim == 2 else 0
    if width not in _COLUMNS:
        raise FileFormatError(
            f"expected 'poses' of shape (T, 165) in {path}, or 156, 72, 66 columns; got {arrays['poses'].shape}"
        )
    poses = _floats(arrays, "poses", path, width).reshape(-1, width // 3, 3)
    if len(poses) * len(skeleton) > MOST_JOINT_FRAMES:
        raise FileFormatError(
            f"expected at most {MOST_JOINT_FRAMES // len(skeleton)} frames; {path} has {len(poses)}: cut it into takes"
        )
    if "skeleton_poses" in arrays:
        own = _floats(arrays, "skeleton_poses", path, 3 * len(skeleton))
        if len(own) != len(poses):
            raise FileFormatError(f"expected {len(poses)} frames in 'skeleton_poses' of {path}; got {len(own)}")
        return rot.from_rotation_vector(own.reshape(len(own), -1, 3))
    turned = np.tile(rot.IDENTITY, (len(poses), len(skeleton), 1))
    places = {name: i for i, name in enumerate(skeleton.names)}
    rest = _own_rest(skeleton)
    for column, joint in enumerate(_COLUMNS[width]):
        i = next((places[name] for name in _PAIRS[joint] if name in places), None)
        if i is not None:
            turned[:, i] = _with_model_rest(rot.from_rotation_vector(poses[:, column]), joint, rest, back=True)
    return turned


def _rate(arrays: dict[str, NDArray[Any]]) -> float:
    """Frames a second, 30 where the file does not say, NaN where it says no number."""
    for name in ("mocap_frame_rate", "mocap_framerate"):
        if name in arrays:
            return float(arrays[name].ravel()[0]) if arrays[name].dtype.kind in "fiu" else math.nan
    return 30.0


def _upright(turned: Array, trans: Array) -> tuple[Array, Array]:
    """The same with Y up: AMASS has Z up, told by where the body's own up points on average."""
    up = rot.rotate(turned[:, 0], np.array([0.0, 1.0, 0.0], np.float32)).mean(axis=0) if len(turned) else np.zeros(3)
    if up[2] < 0.7 or up[2] < abs(up[1]):
        return turned, trans
    lie = rot.from_axis_angle([1.0, 0.0, 0.0], -np.pi / 2)
    turned = turned.copy()
    turned[:, 0] = rot.multiply(lie, turned[:, 0])
    return turned, rot.rotate(lie, trans)


def read_npz(path: Path | str) -> Motion:
    """Read SMPL-X parameters, on the skeleton stored with them or one of average proportions, at 30 frames a second.

    Nothing is ever unpickled.

    Raises:
        FileFormatError: not such an archive, damaged, with Python objects, or with numbers that are not finite.
    """
    path = check_size(path)
    try:
        arrays = _arrays(path)
        if "poses" not in arrays:
            raise FileFormatError(f"expected 'poses' (T, 165), SMPL-X's parameters, in {path}: there are none")
        skeleton = _skeleton(arrays, path)
        turned = _turns(arrays, skeleton, path)
        root = _floats(arrays, "trans", path, 3) if "trans" in arrays else np.zeros((len(turned), 3), np.float32)
        face = _floats(arrays, "face_weights", path, 52) if "face_weights" in arrays else None
        for what, values in (("trans", root), ("face_weights", face)):
            if values is not None and len(values) != len(turned):
                raise FileFormatError(f"expected {len(turned)} frames in {what!r} of {path}; got {len(values)}")
        rate = _rate(arrays)
        pelvis = _floats({"pelvis_m": arrays["pelvis_m"][None]}, "pelvis_m", path, 3)[0] if "pelvis_m" in arrays else (
            np.array(_PELVIS_M, np.float32)
        )  # fmt: skip
    except FileFormatError:
        raise
    except _DAMAGE as error:
        about = str(error)[:200]
        raise FileFormatError(f"{path} is not an SMPL-X archive or is damaged ({about}): save it again") from error
    if not 1e-3 <= rate <= 1e4:
        raise FileFormatError(f"expected 'mocap_frame_rate' in frames a second in {path}; got {rate:.3g}")
    if "skeleton_names" not in arrays:
        turned, root = _upright(turned, root)
    times = np.arange(len(turned)) / rate
    return finish(
        skeleton.names, list(skeleton.parents), skeleton.offsets_m, skeleton.tips_m, turned, root + pelvis, times,
        path, face,
    )  # fmt: skip
