"""Bone maps: which joint of a foreign skeleton is which bone of the VRM humanoid.

Known skeletons are data (`data/bone_maps/*.yaml`, names compared without case, separators and namespaces). Others are
guessed from the words in their names (`data/bone_words.yaml`) and from their shape in the rest pose; every guess says
what it rests on (`BoneMap.report`). Knows nothing of motion.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visavis import safe_yaml
from visavis.errors import FileFormatError
from visavis.motion.bone_shape import Anchors, anchors_by_shape, split_limb
from visavis.motion.skeleton import FINGERS, Skeleton

__all__ = ["REQUIRED", "BoneMap", "guess_bones", "known_maps"]

SIDES: Final = ("left", "right")
# Without these there is nothing to move.
REQUIRED: Final = ("hips", *(f"{side}{bone}" for side in SIDES for bone in ("UpperArm", "LowerArm", "Hand")))


@dataclass(frozen=True)
class BoneMap:
    """Joints of one skeleton by VRM bone.

    Attributes:
        name: of the known map, or "guessed".
        bones: VRM bone name → joint name, all but spine and neck.
        spine: joints from above the hips to the one that carries the arms, bottom up; any number.
        neck: joints between it and the head, bottom up; any number.
        how: VRM bone name → what the choice rests on ("known", "name", "shape").
        axes: VRM bone → our X, Y and Z in the joint's own axes in the T-pose, such as ("-y", "+x", "+z"); for
            skeletons whose pose of all zeros is no pose of a body.
        pitch: VRM bone without its side → degrees by which the joint looks down from these axes.
        tpose: the rest pose is a T-pose by definition: nothing to correct.
        notes: what a reader of the report should know.
    """

    name: str
    bones: dict[str, str]
    spine: tuple[str, ...] = ()
    neck: tuple[str, ...] = ()
    how: dict[str, str] = field(default_factory=dict)
    axes: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    pitch: dict[str, float] = field(default_factory=dict)
    tpose: bool = False
    notes: tuple[str, ...] = ()

    def missing(self) -> tuple[str, ...]:
        """Required bones that no joint was found for."""
        return tuple(bone for bone in REQUIRED if bone not in self.bones)

    def report(self) -> str:
        """What was taken for what, for people to read."""
        counts: dict[str, int] = {}
        for reason in self.how.values():
            counts[reason] = counts.get(reason, 0) + 1
        total = len(self.bones) + len(self.spine) + len(self.neck)
        rests = ", ".join(f"{n} by {reason}" for reason, n in sorted(counts.items())) or "all given"
        lines = [f"Skeleton: {self.name} ({total} joints used; {rests})"]
        for label, chain in (("spine", self.spine), ("neck", self.neck)):
            lines.append(f"  {label:24s} ← {' > '.join(chain) if chain else '(none)'}")
        lines += [f"  {bone:24s} ← {joint}  [{self.how.get(bone, 'given')}]" for bone, joint in self.bones.items()]
        absent = [f"{side}{bone}" for side in SIDES for bone in ("UpperLeg", "LowerLeg", "Foot")]
        absent = [bone for bone in (*REQUIRED, "head", *absent) if bone not in self.bones]
        if absent:
            lines.append(f"  not found: {', '.join(absent)}")
        if not any("Index" in bone for bone in self.bones):
            lines.append("  no fingers: they stay relaxed")
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])


@dataclass(frozen=True)
class _Known:
    """One data file, names ready to be looked up."""

    name: str
    bones: dict[str, str]
    spine: tuple[str, ...]
    neck: tuple[str, ...]
    axes: dict[str, tuple[str, str, str]]
    pitch: dict[str, float]
    tpose: bool


def _plain(name: str) -> str:
    """A joint's name without namespace, case and separators."""
    name = re.sub(r"[^a-z0-9]", "", name.rsplit(":", 1)[-1].rsplit("|", 1)[-1].lower())
    return re.sub(r"^mixamorig\d*", "", name) or name


def _expand(data: dict[str, Any]) -> _Known:
    bones = dict(data["middle"])
    for ours, theirs in zip(SIDES, data["sides"], strict=True):
        for bone, pattern in data["paired"].items():
            bones[ours + bone] = pattern.format(side=theirs)
        for finger, word in zip(FINGERS, data.get("finger_names", ()), strict=False):
            # The thumb's three bones begin at the metacarpal; a map that has its own name for that says so above.
            parts: tuple[str, ...] = ("Proximal", "Intermediate", "Distal")
            words: tuple[str, ...] = tuple(data["joint_names"])
            if finger == "Thumb":
                own = "ThumbMetacarpal" in data["paired"]
                parts = ("Proximal", "Distal") if own else ("Metacarpal", "Proximal", "Distal")
                words = (words[0], words[2]) if own else words
            for part, joint in zip(parts, words, strict=True):
                bones[f"{ours}{finger}{part}"] = data["fingers"].format(side=theirs, finger=word, joint=joint)
    axes = {bone: tuple(three) for bone, three in data.get("axes", {}).items()}
    return _Known(
        data["name"], bones, tuple(data["spine"]), tuple(data["neck"]), axes,
        data.get("pitch", {}), data.get("tpose", False),
    )  # fmt: skip


@lru_cache(maxsize=1)
def known_maps() -> tuple[_Known, ...]:
    """All maps of `data/bone_maps`."""
    folder = files("visavis.motion") / "data" / "bone_maps"
    paths = sorted((path for path in folder.iterdir() if path.name.endswith(".yaml")), key=lambda path: path.name)
    return tuple(_expand(safe_yaml.load(path.read_text(encoding="utf-8"))) for path in paths)


def _by_name(skeleton: Skeleton) -> BoneMap | None:
    """The known map that explains most joints, or None."""
    joints: dict[str, str] = {}
    for name in skeleton.names:
        joints.setdefault(_plain(name), name)
    best: BoneMap | None = None
    for known in known_maps():
        found = {bone: joints[_plain(name)] for bone, name in known.bones.items() if _plain(name) in joints}
        spine, neck = (
            tuple(joints[_plain(name)] for name in chain if _plain(name) in joints)
            for chain in (known.spine, known.neck)
        )
        if any(bone not in found for bone in REQUIRED):
            continue
        if best is None or len(found) + len(spine) + len(neck) > len(best.bones) + len(best.spine) + len(best.neck):
            how = dict.fromkeys(found, "known map")
            best = BoneMap(known.name, found, spine, neck, how, known.axes, known.pitch, known.tpose)
    return best


@lru_cache(maxsize=1)
def _words() -> dict[str, Any]:
    return safe_yaml.load((files("visavis.motion") / "data" / "bone_words.yaml").read_text(encoding="utf-8"))


def _read_name(name: str) -> tuple[str, str, list[int]]:
    """Side ("left", "right" or ""), the other words joined, and the numbers in a joint's name."""
    table = _words()
    name = name.rsplit(":", 1)[-1].rsplit("|", 1)[-1]
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    words = [word for word in re.split(r"[^A-Za-z0-9]+", name.lower()) if word]
    side, kept, numbers = "", [], []
    for word in words:
        found = next((s for s in SIDES if word in table["sides"][s]), "")
        if found and not side:
            side = found
        elif word not in table["ignore"]:
            digits = re.fullmatch(r"([a-z]*)(\d+)", word)
            if digits:
                numbers.append(int(digits[2]))
                word = digits[1]
            if word and word not in table["ignore"]:
                kept.append(word)
    return side, "".join(kept), numbers


def _named_anchors(skeleton: Skeleton) -> dict[str, int]:
    """Hips, head, hands and feet by the words in their names; the first in the hierarchy where several fit."""
    table = _words()
    found: dict[str, int] = {}
    for i, name in enumerate(skeleton.names):
        side, word, _ = _read_name(name)
        if not side:
            for bone in ("hips", "head"):
                if word in table["middle"][bone]:
                    found.setdefault(bone, i)
        else:
            for bone in ("Hand", "Foot", "Toes", "Eye", "LowerArm", "LowerLeg"):
                if word in table["words"][bone]:
                    found.setdefault(side + bone, i)
    return found


def _chain(skeleton: Skeleton, bottom: int, top: set[int] | int) -> list[int]:
    """Joints from below `top` (not in it) down to `bottom`, empty if `top` is no ancestor of it."""
    stop = {top} if isinstance(top, int) else top
    out, at = [], bottom
    while at >= 0 and at not in stop:
        out.append(at)
        at = int(skeleton.parents[at])
    return out[::-1] if at >= 0 else []


def _fingers(skeleton: Skeleton, hand: int, side: str) -> tuple[dict[str, int], str]:
    """Finger bones below a hand: by names, else by the order of five (or four) chains from thumb to little finger."""
    table = _words()
    below = [i for i in range(len(skeleton)) if hand in _ancestors(skeleton, i)]
    named: dict[str, list[int]] = {}
    for i in below:
        _, word, _ = _read_name(skeleton.names[i])
        for finger, words in table["fingers"].items():
            if any(word == w or word.startswith(w) for w in words):
                named.setdefault(finger, []).append(i)
                break
    out: dict[str, int] = {}
    how = "name"
    if not named:
        how = "shape"
        roots = [i for i in below if skeleton.parents[i] == hand]
        chains = [[r] + [i for i in below if r in _ancestors(skeleton, i)] for r in roots]
        chains = [c for c in chains if len(c) >= 2]
        if len(chains) in (4, 5):
            place = skeleton.rest_positions_m
            # The thumb's first joint is nearest to the wrist; the others follow by their distance from it.
            chains.sort(key=lambda c: float(np.linalg.norm(place[c[0]] - place[hand])))
            thumb = chains[0] if len(chains) == 5 else None
            rest = chains[1:] if thumb else chains
            start = place[thumb[0]] if thumb else place[hand]
            rest.sort(key=lambda c: float(np.linalg.norm(place[c[0]] - start)))
            named = dict(zip(FINGERS[1:], rest, strict=False))
            if thumb:
                named["Thumb"] = thumb
    for finger, joints in named.items():
        parts = ("Metacarpal", "Proximal", "Distal") if finger == "Thumb" else ("Proximal", "Intermediate", "Distal")
        # Four joints before the tip: the first is a metacarpal bone inside the palm (the thumb has no more than three).
        first = skeleton.parents[joints[0]] == hand and finger != "Thumb"
        inside = first and len(joints) >= 4 and _is_palm(skeleton, hand, joints)
        for part, i in zip(parts, joints[1:] if inside else joints, strict=False):
            out[f"{side}{finger}{part}"] = i
    return out, how


def _is_palm(skeleton: Skeleton, hand: int, joints: list[int]) -> bool:
    """Whether the first joint of a finger lies in the palm: its bone is longer than the way to it."""
    place = skeleton.rest_positions_m
    return float(np.linalg.norm(place[joints[1]] - place[joints[0]])) > float(
        np.linalg.norm(place[joints[0]] - place[hand])
    )


def _ancestors(skeleton: Skeleton, joint: int) -> list[int]:
    out, at = [], int(skeleton.parents[joint])
    while at >= 0:
        out.append(at)
        at = int(skeleton.parents[at])
    return out


def _guess(skeleton: Skeleton) -> BoneMap:
    """Names give the ends, the shape of the chains between them gives the rest."""
    named = _named_anchors(skeleton)
    shape: Anchors = anchors_by_shape(skeleton)
    how: dict[str, str] = {}
    bones: dict[str, int] = {}

    def take(bone: str, joint: int | None, reason: str) -> None:
        if joint is not None and bone not in bones:
            bones[bone], how[bone] = joint, reason

    paired = all(f"{side}Hand" in named for side in SIDES)
    for side in SIDES:
        if paired:
            take(f"{side}Hand", named[f"{side}Hand"], "name")
        else:
            take(f"{side}Hand", shape.hands.get(side), "shape")
        if all(f"{s}Foot" in named for s in SIDES):
            take(f"{side}Foot", named[f"{side}Foot"], "name")
        else:
            take(f"{side}Foot", shape.feet.get(side), "shape")
    take("head", named.get("head", shape.head), "name" if "head" in named else "shape")
    if "head" not in bones or "leftHand" not in bones or "rightHand" not in bones:
        return BoneMap("guessed", {b: skeleton.names[i] for b, i in bones.items()}, how=how)
    trunk = set(_ancestors(skeleton, bones["head"])) | {bones["head"]}
    # The hips are the joint where the legs leave the trunk, or the one that is called so.
    hips = named.get("hips")
    legs = [_chain(skeleton, bones[f"{side}Foot"], trunk) for side in SIDES if f"{side}Foot" in bones]
    if hips is None or hips not in trunk:
        roots = [int(skeleton.parents[leg[0]]) for leg in legs if leg]
        hips, reason = (roots[0], "shape") if roots else (min(trunk), "shape")
    else:
        reason = "name"
    take("hips", hips, reason)
    column = _chain(skeleton, bones["head"], hips)[:-1]
    arms = {side: _chain(skeleton, bones[f"{side}Hand"], trunk) for side in SIDES}
    carrier = {int(skeleton.parents[arm[0]]) for arm in arms.values() if arm}
    chest = max(carrier & set(column), key=column.index) if carrier & set(column) else None
    cut = column.index(chest) + 1 if chest is not None else len(column)
    for side in SIDES:
        _take_limb(skeleton, take, named, side, ("Shoulder", "UpperArm", "LowerArm", "Hand"), arms[side])
        if f"{side}Foot" in bones:
            above = trunk | {hips}
            leg = _chain(skeleton, bones[f"{side}Foot"], above)
            _take_limb(skeleton, take, named, side, ("", "UpperLeg", "LowerLeg", "Foot"), leg)
            toes = named.get(f"{side}Toes")
            below = [i for i in range(len(skeleton)) if skeleton.parents[i] == bones[f"{side}Foot"]]
            ball = toes if toes is not None else next(iter(below), None)
            take(f"{side}Toes", ball, "name" if toes is not None else "shape")
        take(f"{side}Eye", named.get(f"{side}Eye"), "name")
        fingers, reason = _fingers(skeleton, bones[f"{side}Hand"], side)
        for bone, joint in fingers.items():
            take(bone, joint, reason)
    names = {bone: skeleton.names[i] for bone, i in bones.items()}
    spine, neck = (tuple(skeleton.names[i] for i in part) for part in (column[:cut], column[cut:]))
    how |= dict.fromkeys((f"column: {joint}" for joint in (*spine, *neck)), "shape")
    return BoneMap("guessed", names, spine, neck, how, notes=shape.notes)


def _take_limb(
    skeleton: Skeleton, take: Any, named: dict[str, int], side: str, parts: tuple[str, ...], chain: list[int]
) -> None:
    """Name the joints of a chain that ends in a hand or foot."""
    if len(chain) < 3:
        return
    middle = named.get(side + parts[2])
    sure = middle in chain[1:-1]
    upper, lower = split_limb(skeleton, chain, chain.index(middle) if sure and middle is not None else None)
    take(side + parts[1], chain[upper], "shape")
    take(side + parts[2], chain[lower], "name" if sure else "shape")
    if parts[0] and upper > 0:
        take(side + parts[0], chain[0], "shape")


def guess_bones(skeleton: Skeleton) -> BoneMap:
    """Find out which joint is which bone: by a known map, else by names and shape. Print `.report()` to see why.

    Raises:
        FileFormatError: hips or an arm cannot be found: the file holds no body, or one that needs a map of its own.
    """
    found = _by_name(skeleton) or _guess(skeleton)
    if missing := found.missing():
        raise FileFormatError(
            f"expected a body with hips, a head and two arms; found no joint for {', '.join(missing)} among "
            f"{len(skeleton)} joints ({', '.join(skeleton.names[:6])}, …): give a BoneMap that names them"
        )
    return found


def axes_rotation(axes: tuple[str, str, str], pitch_deg: float = 0.0) -> NDArray[np.float64]:
    """(3, 3) matrix whose columns are our X, Y and Z in a joint's own axes; `pitch_deg` looks down about our X."""
    columns = []
    for axis in axes:
        column = np.zeros(3)
        column["xyz".index(axis[1])] = 1.0 if axis[0] == "+" else -1.0
        columns.append(column)
    angle = -np.radians(pitch_deg)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    return np.stack(columns, axis=1) @ turn
