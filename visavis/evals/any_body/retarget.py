"""Real recordings on our avatars, and our gestures on bodies with other limbs and back.

Recordings: Bandai-Namco BVH, SmartBody clips and BEAT2's SMPL-X. The wrists of a source are its own joints' places by
forward kinematics of the file; the chest frame is its chest joint's. Correlations need movement: an axis along which a
wrist moves less than a centimetre (standard deviation) on the source is left out of the shares, and counted. A hand
that touches goes to the same place on the new body, wherever that is: such frames are judged by the place (`_limbs`),
and paths are given twice, over whole clips and over the frames in which the hand is not on its way to a touch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visavis.errors import VisavisError
from visavis.evals.any_body._limbs import measure_limbs
from visavis.evals.first_light.table import Table, median, progress, share
from visavis.metrics.bootstrap import bootstrap
from visavis.motion import limits
from visavis.motion import rotations as rot
from visavis.motion.avatar import avatar_names, load_avatar
from visavis.motion.bvh import read_bvh
from visavis.motion.canonical import rebased
from visavis.motion.contacts import guided, touching
from visavis.motion.kinematics import forward, to_chest
from visavis.motion.motion import Motion
from visavis.motion.retarget import normalized, retarget
from visavis.motion.skeleton import default_skeleton
from visavis.motion.smartbody import read_skm
from visavis.motion.smplx import read_npz

__all__ = ["DATA", "RECORDINGS", "measure", "source_wrist"]

DATA = ".cache/real"
RECORDINGS: Final[dict[str, tuple[str, Callable[[Path], Motion]]]] = {
    "Bandai-Namco": ("bandai_namco/*/data/*.bvh", read_bvh),
    "SmartBody": ("smartbody_gestures/*/motions/*.skm", read_skm),
    "BEAT2": ("beat2_scott/*.npz", read_npz),
}
_STILL_M: Final = 0.01
_ALIKE: Final = 0.95
_SIDES: Final = ("left", "right")
_FEWEST_FRAMES: Final = 15


def source_wrist(motion: Motion, side: str) -> NDArray[np.float32]:
    """(T, 3) a wrist of the file's own skeleton in its chest joint's frame, metres, our axes."""
    _, read = normalized(motion)
    # A skeleton without a rest pose was given one: the same places, other rotations.
    own = motion if read.skeleton is motion.skeleton else None
    if own is None:
        own = rebased(motion, read.bones)
    places, turned = forward(own.rotations, own.root_m, own.skeleton)
    chest = own.skeleton.index(read.bones.spine[-1])
    frame = rot.multiply(turned[:, chest], read.frames[chest])
    wrist = own.skeleton.index(read.bones.bones[f"{side}Hand"])
    return rot.rotate(rot.conjugate(frame), places[:, wrist] - places[:, chest])


def _left_is_left(motion: Motion, names: dict[str, str]) -> bool:
    """Whether the left arm starts on the left of where the toes point, in most frames."""
    places, _ = forward(motion.rotations, motion.root_m, motion.skeleton)

    def at(bone: str) -> NDArray[np.float32]:
        return places[:, motion.skeleton.index(names[bone])]

    front = sum((at(f"{side}Toes") - at(f"{side}Foot") for side in _SIDES), np.zeros(3, np.float32))
    left = np.cross(np.array([0, 1, 0], np.float32), front)
    across = at("leftUpperArm") - at("rightUpperArm")
    return bool(np.mean(np.sum(left * across, axis=-1) > 0) > 0.95)


def _alike(a: NDArray[np.float32], b: NDArray[np.float32], side: str) -> list[tuple[str, float]]:
    """Correlations of two wrists' ways (T, 3), by axis; those along which the first hardly moves are left out."""
    if len(a) < _FEWEST_FRAMES:
        return []
    moving = np.flatnonzero(a.std(axis=0) >= _STILL_M)
    return [(f"{side}.{'xyz'[i]}", float(np.corrcoef(a[:, i], b[:, i])[0, 1])) for i in moving]


def _clip(path: Path, read: Callable[[Path], Motion], skeletons: dict[str, Any]) -> dict[str, Any]:
    motion = read(path)
    source, rig = normalized(motion)
    raw = float(np.mean(limits.excess(source.rotations).max(axis=1) > 1e-3)) if len(source) else 0.0
    wrists = {side: source_wrist(motion, side) for side in _SIDES}
    result: dict[str, Any] = {"path": path.name, "frames": len(motion), "raw_excess": raw, "avatars": {}}
    contact = bool(touching(source).any())
    busy = guided(source)
    names = {name: name for name in default_skeleton().names}
    result["source_left"] = _left_is_left(motion, rig.bones.bones)
    for avatar, skeleton in skeletons.items():
        out = retarget(motion, skeleton)
        over = limits.excess(out.rotations).max(axis=1) > 1e-3
        places = forward(out.rotations, out.root_m, skeleton)[0]
        alike: list[tuple[str, float]] = []
        free: list[tuple[str, float]] = []
        quiet = 0
        for side in _SIDES:
            ours = to_chest(out, places[:, skeleton.index(f"{side}Hand")])
            whole, part = (_alike(wrists[side][at], ours[at], side) for at in (slice(None), ~busy[side]))
            alike, free, quiet = alike + whole, free + part, quiet + 3 - len(whole)
        result["avatars"][avatar] = {
            "contact": contact,
            "excess": float(over.mean()),
            "left": _left_is_left(out, names),
            "correlation": alike,
            "free": free,
            "quiet": quiet,
        }
    return result


def measure(data: Path, limit: int | None = None, seed: int = 0) -> Table:
    """All recordings to all avatars, then our own gestures to other limbs and back."""
    table = Table("Retargeting: real recordings to our avatars; our gestures to other limbs and back")
    skeletons = {name: load_avatar(name).skeleton for name in avatar_names()}
    for corpus, (pattern, read) in RECORDINGS.items():
        paths = sorted(data.glob(pattern))
        chosen = paths[:: max(1, len(paths) // limit)] if limit else paths
        clips, failed = clips_of(progress(chosen, corpus), read, skeletons)
        add_rows(table, corpus, clips, failed)
    measure_limbs(table, limit, seed)
    return table


def clips_of(
    paths: Iterable[Path], read: Callable[[Path], Motion], skeletons: dict[str, Any]
) -> tuple[list[dict[str, Any]], list[str]]:
    """What came of every clip, and the failures in words."""
    clips, failed = [], []
    for path in paths:
        try:
            clips.append(_clip(path, read, skeletons))
        except (VisavisError, ValueError, KeyError, IndexError) as error:
            failed.append(f"{path.name}: {type(error).__name__}: {error}")
    return clips, failed


def _keeps(result: dict[str, Any]) -> bool:
    return all(r >= _ALIKE for _, r in result["free"])


def add_rows(table: Table, corpus: str, clips: list[dict[str, Any]], failed: list[str]) -> None:
    """The rows of one corpus."""
    table.add(f"{corpus}: loaded and retargeted", share([True] * len(clips) + [False] * len(failed)), "%", 100)
    frames = sum(clip["frames"] for clip in clips)
    raw = sum(clip["frames"] * clip["raw_excess"] for clip in clips)
    table.details[f"{corpus}: share of frames whose source is outside the limits"] = raw / max(frames, 1)
    for avatar in clips[0]["avatars"] if clips else ():
        mine, name = [clip["avatars"][avatar] for clip in clips], f"{corpus} → {avatar}"
        table.add(f"{name}: frames outside the limits", bootstrap([one["excess"] for one in mine]), "%", 100)
        table.add(f"{name}: left is left", share(one["left"] for one in mine), "%", 100)
        alike = [r for one in mine for _, r in one["correlation"]]
        table.add(f"{name}: wrist axes ≥ 0.95", share(r >= _ALIKE for r in alike), "%", 100)
        free = [r for one in mine for _, r in one["free"]]
        table.add(f"{name}: wrist axes ≥ 0.95, hand not on a touch", share(r >= _ALIKE for r in free), "%", 100)
        table.add(f"{name}: clips with all such axes ≥ 0.95", share(_keeps(one) for one in mine), "%", 100)
        table.add(f"{name}: median correlation", median(alike))
        for key, label in (("correlation", "below 0.95"), ("free", "below 0.95, hand not on a touch")):
            low = [(round(r, 4), clip["path"], axis) for clip in clips for axis, r in clip["avatars"][avatar][key]]
            table.details[f"{name}: {label}"] = sorted(row for row in low if row[0] < _ALIKE)
        table.details[f"{name}: axes too quiet"] = sum(one["quiet"] for one in mine)
    table.details[f"{corpus}: failed"] = failed
    table.details[f"{corpus}: sources whose left is left"] = sum(clip["source_left"] for clip in clips)
