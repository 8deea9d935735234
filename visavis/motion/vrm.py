"""Avatars as VRM files: read 0.x and 1.0 (and plain glTF bodies), write ours as 1.0, put a motion onto somebody's own.

Sources: VRMC_vrm-1.0 (VRM Consortium), VRM 0.x as UniVRM writes it. Materials, springs and constraints of a file are
not interpreted; `bake` leaves them, the mesh and the textures byte for byte as they are.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pygltflib as gltf
from numpy.typing import NDArray

from visavis.errors import UsageError
from visavis.motion import rotations as rot
from visavis.motion.avatar import Avatar
from visavis.motion.expressions import PRESETS, preset_shapes, to_presets
from visavis.motion.face import ARKIT_NAMES
from visavis.motion.glb import body_mesh, bone_nodes, materials, skin_of
from visavis.motion.gltf_file import GltfFile
from visavis.motion.gltf_reader import arkit_index, morph_names, read_channels
from visavis.motion.gltf_rig import Rig, build_rig, skin_joints
from visavis.motion.gltf_store import Store
from visavis.motion.motion import Motion
from visavis.motion.skeleton import Skeleton
from visavis.motion.vrm_humanoid import Humanoid, read_humanoid

__all__ = ["Expression", "LookAt", "Vrm", "bake", "read_vrm", "write_vrm"]

Array = NDArray[np.float32]
_PRESETS_0X = {
    "joy": "happy", "angry": "angry", "sorrow": "sad", "fun": "relaxed", "a": "aa", "i": "ih", "u": "ou", "e": "ee",
    "o": "oh", "blink": "blink", "blink_l": "blinkLeft", "blink_r": "blinkRight", "lookup": "lookUp",
    "lookdown": "lookDown", "lookleft": "lookLeft", "lookright": "lookRight", "neutral": "neutral",
}  # fmt: skip
# So many of the 52 must be there before a face is driven by them alone.
_ENOUGH_ARKIT = 20


@dataclass(frozen=True)
class Expression:
    """One expression of an avatar.

    Attributes:
        name: a VRM 1.0 preset (`happy`, `aa`, `blink` …) or the file's own name.
        preset: whether it is a preset.
        binary: fully on above 0.5, else off.
        morphs: (node, morph target, weight at full expression).
        overrides: for `blink`, `lookAt` and `mouth`, `none`, `block` or `blend`.
    """

    name: str
    preset: bool
    binary: bool
    morphs: tuple[tuple[int, int, float], ...]
    overrides: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class LookAt:
    """How an avatar's gaze moves.

    Attributes:
        kind: `bone` (eyes turn) or `expression` (lookUp, lookLeft and so on).
        offset_m: (3,) from the head bone to between the eyes.
        ranges: `horizontal_inner`, `horizontal_outer`, `vertical_down`, `vertical_up` → (gaze in degrees at which the
            most is reached, the most: degrees or weight).
    """

    kind: str
    offset_m: tuple[float, float, float]
    ranges: dict[str, tuple[float, float]]


@dataclass(frozen=True, eq=False)
class Vrm:
    """Somebody's avatar: what is needed to move it. The mesh stays in the file.

    Attributes:
        file: the file's content.
        version: `1.0`, `0.x`, or "" for a plain glTF body.
        title: the avatar's name, as its maker wrote it.
        rig: the skeleton and its nodes; humanoid bones carry VRM 1.0 names.
        humanoid: VRM 1.0 bone → node; empty for a plain glTF body.
        expressions: by name.
        look_at: how its gaze moves, or None.
    """

    file: GltfFile
    version: str
    title: str
    rig: Rig
    humanoid: dict[str, int]
    expressions: dict[str, Expression]
    look_at: LookAt | None

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton to `retarget` to: rest frames aligned to the world, metres, facing +Z."""
        return self.rig.skeleton

    @cached_property
    def face_shapes(self) -> dict[str, list[tuple[int, int, float]]]:
        """What moves the face: an ARKit name or a preset → (node, morph target, weight).

        Expressions with ARKit names if the avatar has them, else morph targets with such names, else presets.
        """
        for found in (self._arkit_expressions(), self._arkit_morphs()):
            if len(found) >= _ENOUGH_ARKIT:
                return found
        return {e.name: list(e.morphs) for e in self.expressions.values() if e.preset and e.morphs}

    def _arkit_expressions(self) -> dict[str, list[tuple[int, int, float]]]:
        named = ((arkit_index(e.name), e) for e in self.expressions.values() if not e.preset and e.morphs)
        return {ARKIT_NAMES[i]: list(e.morphs) for i, e in named if i is not None}

    def _arkit_morphs(self) -> dict[str, list[tuple[int, int, float]]]:
        found: dict[str, list[tuple[int, int, float]]] = {}
        for node, row in enumerate(self.file.rows(self.file.json, "nodes")):
            for target, name in enumerate(morph_names(self.file, row["mesh"]) if "mesh" in row else []):
                index = arkit_index(name)
                if index is not None:
                    found.setdefault(ARKIT_NAMES[index], []).append((node, target, 1.0))
        return found

    def morph_weights(self, face: NDArray[np.floating]) -> dict[int, Array]:
        """What a face track does to the avatar's morph targets.

        Args:
            face: (T, 52) ARKit weights.

        Returns:
            node → (T, morph targets) weights, the file's own weights at rest included; empty without any face shape.
        """
        shapes = self.face_shapes
        if not any(name in ARKIT_NAMES for name in shapes):
            given = to_presets(face)
            for side in ("Left", "Right"):
                if f"blink{side}" not in shapes and "blink" in shapes:
                    given.setdefault("blink", np.zeros(len(face), np.float32))
                    given["blink"] = np.maximum(given["blink"], given[f"blink{side}"])
        else:
            given = {name: np.asarray(face[:, i], np.float32) for i, name in enumerate(ARKIT_NAMES)}
        out: dict[int, Array] = {}
        for name, morphs in shapes.items():
            values = given.get(name)
            if values is None or (name not in ARKIT_NAMES and self._silent(name, shapes)):
                continue
            expression = self.expressions.get(name)
            if expression is not None and expression.binary:
                values = (values > 0.5).astype(np.float32)
            for node, target, weight in morphs:
                if node not in out:
                    out[node] = np.tile(self._rest_weights(node), (len(face), 1))
                out[node][:, target] += weight * values
        return {node: np.clip(weights, 0, 1) for node, weights in out.items()}

    @staticmethod
    def _silent(name: str, shapes: dict[str, Any]) -> bool:
        """A blink of both eyes gives way to its two sides."""
        return name == "blink" and "blinkLeft" in shapes and "blinkRight" in shapes

    def _rest_weights(self, node: int) -> Array:
        row = self.file.rows(self.file.json, "nodes")[node]
        mesh = self.file.rows(self.file.json, "meshes")[row["mesh"]]
        count = _morph_count(self.file, mesh)
        weights = row.get("weights", mesh.get("weights", [0] * count))
        return self.file.numbers(weights, count, "morph weights").astype(np.float32)


# -- reading ----------------------------------------------------------------------------------------------------


def _morph_count(file: GltfFile, mesh: dict[str, Any]) -> int:
    primitives = file.rows(mesh, "primitives")
    return len(file.rows(primitives[0], "targets")) if primitives else 0


def _targets(file: GltfFile, node: int, target: object) -> int:
    meshes, row = file.rows(file.json, "meshes"), file.rows(file.json, "nodes")[node]
    mesh = meshes[file.index(row.get("mesh"), len(meshes), "the mesh of an expression")]
    return file.index(target, _morph_count(file, mesh), "a morph target")


def _expressions_10(file: GltfFile, vrm: dict[str, Any]) -> dict[str, Expression]:
    out: dict[str, Expression] = {}
    holder = file.table(vrm, "expressions")
    count = len(file.nodes.names)
    for group in ("preset", "custom"):
        rows = file.table(holder, group)
        for name in rows:
            row = file.table(rows, name)
            morphs = []
            for bind in file.rows(row, "morphTargetBinds"):
                node = file.index(bind.get("node"), count, "a node")
                weight = file.number(bind.get("weight", 1.0), "a weight")
                morphs.append((node, _targets(file, node, bind.get("index")), weight))
            overrides = tuple(
                (k, str(row.get(f"override{k[0].upper()}{k[1:]}", "none"))) for k in ("blink", "lookAt", "mouth")
            )
            out[name] = Expression(
                name, group == "preset" and name in PRESETS, row.get("isBinary") is True, tuple(morphs), overrides
            )
    return out


def _expressions_0x(file: GltfFile, vrm: dict[str, Any]) -> dict[str, Expression]:
    out: dict[str, Expression] = {}
    bearers: dict[int, list[int]] = {}
    for node, row in enumerate(file.rows(file.json, "nodes")):
        if isinstance(row.get("mesh"), int):
            bearers.setdefault(row["mesh"], []).append(node)
    for row in file.rows(file.table(vrm, "blendShapeMaster"), "blendShapeGroups"):
        preset = _PRESETS_0X.get(str(row.get("presetName", "")).lower())
        name = preset or str(row.get("name", ""))
        morphs = []
        for bind in file.rows(row, "binds"):
            weight = file.number(bind.get("weight", 100.0), "a weight") / 100
            mesh = bind.get("mesh", -1)
            if bind.get("index") == -1:  # UniVRM's word for a bind that is not set
                continue
            for node in bearers.get(mesh, []) if isinstance(mesh, int) else []:
                morphs.append((node, _targets(file, node, bind.get("index")), weight))
        out.setdefault(name, Expression(name, preset is not None, row.get("isBinary") is True, tuple(morphs)))
    return out


def _look_at(file: GltfFile, vrm: dict[str, Any], version: str) -> LookAt | None:
    if version == "1.0":
        row = file.table(vrm, "lookAt")
        keys = ("rangeMapHorizontalInner", "rangeMapHorizontalOuter", "rangeMapVerticalDown", "rangeMapVerticalUp")
        kind, most, reached, offset = (
            row.get("type"),
            "inputMaxValue",
            "outputScale",
            row.get("offsetFromHeadBone", [0, 0.06, 0]),
        )
        expression = kind == "expression"
    else:
        row = file.table(vrm, "firstPerson")
        keys = ("lookAtHorizontalInner", "lookAtHorizontalOuter", "lookAtVerticalDown", "lookAtVerticalUp")
        kind, most, reached = row.get("lookAtTypeName"), "xRange", "yRange"
        at = file.table(row, "firstPersonBoneOffset")
        offset = [at.get("x", 0), at.get("y", 0.06), -file.number(at.get("z", 0), "an offset")]
        expression = kind == "BlendShape"
    if not row:
        return None
    names = ("horizontal_inner", "horizontal_outer", "vertical_down", "vertical_up")
    ranges = {}
    for name, key in zip(names, keys, strict=True):
        entry = file.table(row, key)
        ranges[name] = (
            file.number(entry.get(most, 90.0), "a range"),
            file.number(entry.get(reached, 1.0 if expression else 10.0), "a range"),
        )
    x, y, z = (float(v) for v in file.numbers(offset, 3, "an offset"))
    return LookAt("expression" if expression else "bone", (x, y, z), ranges)


def read_vrm(path: str | Path) -> Vrm:
    """Read an avatar: a VRM 0.x or 1.0, or any glTF body with a skin.

    Raises:
        FileFormatError: it is no glTF, is damaged, or has no skeleton.
    """
    file = GltfFile.read(path)
    humanoid: Humanoid | None = read_humanoid(file)
    if humanoid is None:
        skins = skin_joints(file)
        if not skins:
            file.fail("a body with a skin", "none", "export the avatar with its armature")
        moved = read_channels(file).nodes("translation") if file.rows(file.json, "animations") else frozenset()
        return Vrm(file, "", file.path.stem, build_rig(file, skins[0], moved=moved), {}, {}, None)
    extension = file.extension("VRMC_vrm" if humanoid.version == "1.0" else "VRM")
    meta = file.table(extension, "meta")
    title = str(meta.get("name") or meta.get("title") or file.path.stem)
    expressions = (_expressions_10 if humanoid.version == "1.0" else _expressions_0x)(file, extension)
    look_at = _look_at(file, extension, humanoid.version)
    return Vrm(file, humanoid.version, title, humanoid.rig(file), humanoid.bones, expressions, look_at)


# -- writing our own --------------------------------------------------------------------------------------------

_META = {
    "version": "1",
    "authors": ["The visavis developers"],
    "licenseUrl": "https://vrm.dev/licenses/1.0/",
    "otherLicenseUrl": "https://www.apache.org/licenses/LICENSE-2.0",
    "avatarPermission": "everyone",
    "commercialUsage": "corporation",
    "creditNotation": "unnecessary",
    "allowRedistribution": True,
    "modification": "allowModificationRedistribution",
}
# The eyes turn as far as the gaze, up to this many degrees.
_EYES = {"inputMaxValue": 30.0, "outputScale": 30.0}
_BLOCKS = (("mouth", "Mouth"), ("jaw", "Mouth"), ("tongue", "Mouth"), ("eyeBlink", "Blink"), ("eyeLook", "LookAt"))


def _expression_rows(avatar: Avatar, face_node: int) -> dict[str, Any]:
    """Presets as sums of morphs, and the 52 ARKit shapes as expressions of their own.

    A file that drives the ARKit shapes may drive presets and the gaze too, for avatars without them: an ARKit shape of
    the mouth, of a lid or of the look that is on therefore blocks the presets of mouth or blink, or the gaze.
    """
    place = {name: i for i, name in enumerate(avatar.morph_names)}

    def row(shapes: dict[str, float], **more: str) -> dict[str, Any]:
        binds = [{"node": face_node, "index": place[n], "weight": w} for n, w in shapes.items() if n in place]
        return {"morphTargetBinds": binds, "isBinary": False, **more}

    custom = {}
    for name in avatar.morph_names:
        blocked = next((what for start, what in _BLOCKS if name.startswith(start)), None)
        custom[name] = row({name: 1.0}, **({f"override{blocked}": "block"} if blocked else {}))
    return {"preset": {name: row(dict(shapes)) for name, shapes in preset_shapes().items()}, "custom": custom}


def write_vrm(avatar: Avatar, path: str | Path, name: str = "visavis") -> None:
    """Write our avatar as VRM 1.0: humanoid, presets and 52 ARKit expressions, gaze by bones, first person view.

    Args:
        avatar: whose body.
        path: the `.vrm` file.
        name: its title in the file.
    """
    store, skeleton = Store(), avatar.skeleton
    shared = body_mesh(store, avatar)
    nodes = bone_nodes(skeleton, 0)
    face_node = len(nodes)
    nodes += [gltf.Node(name=mesh.name, mesh=i, skin=0) for i, mesh in enumerate(shared.meshes)]
    eyes = (skeleton.offsets_m[skeleton.index("leftEye")] + skeleton.offsets_m[skeleton.index("rightEye")]) / 2
    extension = {
        "specVersion": "1.0",
        "meta": {"name": name, **_META},
        "humanoid": {"humanBones": {bone: {"node": i} for i, bone in enumerate(skeleton.names)}},
        "firstPerson": {
            "meshAnnotations": [
                {"node": face_node, "type": "thirdPersonOnly"},
                *({"node": node, "type": "both"} for node in range(face_node + 1, len(nodes))),
            ]
        },
        "lookAt": {
            "type": "bone",
            "offsetFromHeadBone": [round(float(v), 5) for v in eyes],
            **{
                f"rangeMap{way}": dict(_EYES)
                for way in ("HorizontalInner", "HorizontalOuter", "VerticalDown", "VerticalUp")
            },
        },
        "expressions": _expression_rows(avatar, face_node),
    }
    document = gltf.GLTF2(
        asset=gltf.Asset(version="2.0", generator="visavis"),
        scene=0,
        scenes=[gltf.Scene(nodes=[0, *range(face_node, len(nodes))])],
        nodes=nodes,
        meshes=shared.meshes,
        skins=[skin_of(skeleton, shared.inverse_bind, 0)],
        materials=materials(avatar),
        accessors=store.accessors,
        bufferViews=store.views,
        buffers=[gltf.Buffer(byteLength=len(store.blob))],
        extensionsUsed=["VRMC_vrm"],
        extensions={"VRMC_vrm": extension},
    )
    document.set_binary_blob(bytes(store.blob))
    document.save_binary(str(path))


# -- a motion on somebody's avatar ------------------------------------------------------------------------------


def bake(motion: Motion, vrm: Vrm, path: str | Path, name: str = "motion") -> None:
    """Write the user's own avatar with a motion inside, as its first animation.

    The file keeps everything it had: the old binary chunk comes first, unchanged, and the animation behind it. The face
    track drives the avatar's ARKit shapes, or its presets where it has none; other expressions stay as they are.

    Args:
        motion: on the avatar's own skeleton: `retarget(motion, vrm.skeleton)`.
        vrm: the avatar.
        path: the `.glb` or `.vrm` file.
        name: the animation's name.

    Raises:
        UsageError: the motion is on another skeleton, or empty.
    """
    rig, ours = vrm.rig, motion.skeleton
    if not len(motion):
        raise UsageError("a glTF animation needs at least one frame: got an empty motion")
    if ours.names != rig.skeleton.names or not np.allclose(ours.offsets_m, rig.skeleton.offsets_m, atol=1e-3):
        raise UsageError(
            f"expected a motion on the skeleton of {vrm.file.path.name} ({len(rig.skeleton)} joints), "
            f"got one of {len(ours)} joints: use retarget(motion, vrm.skeleton) first"
        )
    document = copy.deepcopy(vrm.file.json)
    blob = bytearray(vrm.file.blob or b"")
    blob += b"\0" * (-len(blob) % 4)
    store = Store()
    clock = store.accessor((np.arange(len(motion)) / motion.fps).astype(np.float32), bounds=True)
    samplers: list[dict[str, Any]] = []
    channels: list[dict[str, Any]] = []

    def channel(values: Array, node: int, target: str) -> None:
        samplers.append({"input": clock, "output": store.accessor(values), "interpolation": "LINEAR"})
        channels.append({"sampler": len(samplers) - 1, "target": {"node": node, "path": target}})

    turned = rot.normalize(motion.rotations)
    still = (np.abs(turned[..., :3]) < 1e-7).all(axis=(0, 2))
    for joint in np.flatnonzero(~still):
        channel(rot.continuous(rig.to_local(int(joint), turned[:, joint])), rig.nodes[joint], "rotation")
    channel(rig.root_to_local(motion.root_m), rig.nodes[0], "translation")
    if motion.face is not None:
        for node, weights in vrm.morph_weights(motion.face).items():
            channel(weights.reshape(-1), node, "weights")

    views, accessors = document.setdefault("bufferViews", []), document.setdefault("accessors", [])
    buffers = document.setdefault("buffers", [])
    own = not buffers or "uri" not in buffers[0]
    if not own:  # all buffers are inside the JSON: the container gets a chunk of its own, which must be the first
        for view in views:
            view["buffer"] += 1
        buffers.insert(0, {})
    elif not buffers:
        buffers.append({})
    for view in store.views:
        views.append({"buffer": 0, "byteOffset": len(blob) + view.byteOffset, "byteLength": view.byteLength})
    first_view, first = len(views) - len(store.views), len(accessors)
    for accessor in store.accessors:
        row = {
            "bufferView": first_view + accessor.bufferView, "componentType": accessor.componentType,
            "count": accessor.count, "type": accessor.type,
        }  # fmt: skip
        if accessor.min is not None:
            row |= {"min": accessor.min, "max": accessor.max}
        accessors.append(row)
    for sampler in samplers:
        sampler["input"] += first
        sampler["output"] += first
    blob += store.blob
    buffers[0]["byteLength"] = len(blob)
    animation = {"name": name, "samplers": samplers, "channels": channels}
    document["animations"] = [animation, *document.get("animations", [])]
    GltfFile(path, document, bytes(blob)).save()
