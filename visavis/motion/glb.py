"""Write motions as glTF 2.0 binaries: the skinned avatar, one animation of bones, hips and face shapes.

Bones are nodes with VRM names and identity rest rotations; the morph targets carry ARKit names in `extras.targetNames`
and are stored sparse. Colours are linear in glTF and sRGB here. Source: glTF 2.0 specification (Khronos).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pygltflib as gltf
from numpy.typing import ArrayLike, NDArray

from visavis.motion import rotations
from visavis.motion.avatar import Avatar, load_avatar, vertex_normals
from visavis.motion.motion import Motion

__all__ = ["Placed", "write_glb", "write_scene_glb"]

Array = NDArray[np.float32]

_KINDS = {1: gltf.SCALAR, 3: gltf.VEC3, 4: gltf.VEC4, 16: gltf.MAT4}
_TYPES = {
    "float32": gltf.FLOAT,
    "uint8": gltf.UNSIGNED_BYTE,
    "uint16": gltf.UNSIGNED_SHORT,
    "uint32": gltf.UNSIGNED_INT,
}


@dataclass(frozen=True)
class Placed:
    """A motion and where its body stands: position of the floor point (metres) and turn about Y (radians, left)."""

    motion: Motion
    name: str = "avatar"
    position_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    turn: float = 0.0


@dataclass
class _Store:
    """The binary chunk with its views and accessors."""

    blob: bytearray = field(default_factory=bytearray)
    views: list[gltf.BufferView] = field(default_factory=list)
    accessors: list[gltf.Accessor] = field(default_factory=list)

    def view(self, data: NDArray[Any], target: int | None = None) -> int:
        """Append bytes, aligned to four."""
        self.blob += b"\0" * (-len(self.blob) % 4)
        raw = np.ascontiguousarray(data).tobytes()
        self.views.append(gltf.BufferView(buffer=0, byteOffset=len(self.blob), byteLength=len(raw), target=target))
        self.blob += raw
        return len(self.views) - 1

    def accessor(
        self, data: NDArray[Any], target: int | None = None, bounds: bool = False, normalized: bool = False
    ) -> int:
        """Append an array (N,) or (N, C)."""
        flat = data.reshape(len(data), -1)
        self.accessors.append(
            gltf.Accessor(
                bufferView=self.view(data, target),
                componentType=_TYPES[data.dtype.name],
                count=len(data),
                type=_KINDS[flat.shape[1]],
                normalized=normalized,
                min=flat.min(axis=0).tolist() if bounds else None,
                max=flat.max(axis=0).tolist() if bounds else None,
            )
        )
        return len(self.accessors) - 1

    def sparse(self, index: NDArray[np.integer], values: Array, count: int) -> int:
        """An accessor (count, 3) that is zero but at `index` (K,), where it has `values` (K, 3)."""
        low, high = np.minimum(values.min(axis=0), 0), np.maximum(values.max(axis=0), 0)
        self.accessors.append(
            gltf.Accessor(
                byteOffset=None,  # only allowed together with a bufferView
                componentType=gltf.FLOAT,
                count=count,
                type=gltf.VEC3,
                min=low.tolist(),
                max=high.tolist(),
                sparse=gltf.Sparse(
                    count=len(index),
                    indices=gltf.AccessorSparseIndices(
                        bufferView=self.view(index.astype(np.uint32)), componentType=gltf.UNSIGNED_INT
                    ),
                    values=gltf.AccessorSparseValues(bufferView=self.view(values.astype(np.float32))),
                ),
            )
        )
        return len(self.accessors) - 1


@lru_cache(maxsize=2)
def _normal_morphs(avatar: Avatar) -> tuple[tuple[NDArray[np.int64], Array], ...]:
    """Per morph the vertices whose normal it turns, and by how much at weight 1."""
    rest = vertex_normals(avatar.positions_m, avatar.faces)
    out = []
    for i in range(len(avatar.morph_names)):
        weights = np.zeros(len(avatar.morph_names), np.float32)
        weights[i] = 1
        change = vertex_normals(avatar.morphed(weights), avatar.faces) - rest
        rows = np.flatnonzero(np.linalg.norm(change, axis=1) > 0.02)
        rows = rows if len(rows) else np.zeros(1, np.int64)
        out.append((rows, change[rows]))
    return tuple(out)


def _mesh(store: _Store, avatar: Avatar, name: str, start: int, stop: int, morphs: bool) -> gltf.Mesh:
    """The vertices start..stop with one primitive per material, all on the same attributes."""
    linear = np.column_stack([avatar.shade[start:stop] ** 2.2, np.ones(stop - start)])
    normals = avatar.normals[start:stop]
    attributes = gltf.Attributes(
        POSITION=store.accessor(avatar.positions_m[start:stop], gltf.ARRAY_BUFFER, bounds=True),
        NORMAL=store.accessor(normals, gltf.ARRAY_BUFFER),
        COLOR_0=store.accessor(np.round(linear * 255).astype(np.uint8), gltf.ARRAY_BUFFER, normalized=True),
        JOINTS_0=store.accessor(avatar.joints[start:stop], gltf.ARRAY_BUFFER),
        WEIGHTS_0=store.accessor(avatar.weights[start:stop], gltf.ARRAY_BUFFER),
    )
    targets = []
    if morphs:
        turned = _normal_morphs(avatar)
        for index, delta, (rows, change) in zip(avatar.morph_index, avatar.morph_delta_m, turned, strict=True):
            position = store.sparse(index, delta, stop - start)
            targets.append({"POSITION": position, "NORMAL": store.sparse(rows, change, stop - start)})
    own = (avatar.faces >= start).all(axis=1) & (avatar.faces < stop).all(axis=1)
    primitives = []
    for material in range(len(avatar.materials)):
        faces = avatar.faces[own & (avatar.face_material == material)] - start
        if len(faces):
            indices = store.accessor(faces.reshape(-1).astype(np.uint16), gltf.ELEMENT_ARRAY_BUFFER)
            primitives.append(
                gltf.Primitive(attributes=attributes, indices=indices, material=material, targets=targets or None)
            )
    extras = {"targetNames": list(avatar.morph_names)} if morphs else {}
    weights = [0.0] * len(avatar.morph_names) if morphs else None
    return gltf.Mesh(name=name, primitives=primitives, weights=weights, extras=extras)


def _materials(avatar: Avatar) -> list[gltf.Material]:
    return [
        gltf.Material(
            name=material.name,
            pbrMetallicRoughness=gltf.PbrMetallicRoughness(
                baseColorFactor=[*(round(float(c) ** 2.2, 5) for c in material.color), 1.0],
                metallicFactor=0.0,
                roughnessFactor=material.roughness,
            ),
            doubleSided=material.name == "brow",
        )
        for material in avatar.materials
    ]


def _animate(
    store: _Store, animation: gltf.Animation, motion: Motion, first_bone: int, face_node: int, clock: dict[int, int]
) -> None:
    """Add the channels of one body."""
    frames = len(motion)
    if frames not in clock:
        clock[frames] = store.accessor((np.arange(frames) / motion.fps).astype(np.float32), bounds=True)

    def channel(values: Array, node: int, path: str) -> None:
        animation.samplers.append(gltf.AnimationSampler(input=clock[frames], output=store.accessor(values)))
        target = gltf.AnimationChannelTarget(node=node, path=path)
        animation.channels.append(gltf.AnimationChannel(sampler=len(animation.samplers) - 1, target=target))

    turned = rotations.continuous(rotations.normalize(motion.rotations))
    still = (np.abs(turned[..., :3]) < 1e-7).all(axis=(0, 2))
    for bone in np.flatnonzero(~still):
        channel(turned[:, bone], first_bone + int(bone), "rotation")
    channel(motion.root_m, first_bone, "translation")
    if motion.face is not None:
        channel(motion.face.reshape(-1), face_node, "weights")


def write_scene_glb(bodies: Sequence[Placed], path: str | Path, avatar: Avatar | None = None) -> None:
    """Write several bodies in one scene; they share one mesh.

    Args:
        bodies: whose motions to write, on the default skeleton, each at least one frame long.
        path: the `.glb` file.
        avatar: their looks; the default avatar if None.
    """
    avatar = avatar or load_avatar()
    if not bodies or any(len(body.motion) == 0 for body in bodies):
        raise ValueError("a glTF animation needs at least one body and one frame: got an empty motion")
    store, skeleton = _Store(), avatar.skeleton
    head = avatar.head_vertices
    meshes = [
        _mesh(store, avatar, "Face", 0, head, morphs=True),
        _mesh(store, avatar, "Body", head, len(avatar.positions_m), morphs=False),
    ]
    bind = np.tile(np.eye(4, dtype=np.float32), (len(skeleton), 1, 1))
    bind[:, 3, :3] = -skeleton.rest_positions_m  # column-major: the translation is the last row in memory
    inverse_bind = store.accessor(bind.reshape(-1, 16))
    nodes: list[gltf.Node] = []
    skins: list[gltf.Skin] = []
    roots: list[int] = []
    animation = gltf.Animation(name="motion", samplers=[], channels=[])
    clock: dict[int, int] = {}
    for body in bodies:
        top = len(nodes)
        turn: ArrayLike = rotations.from_axis_angle([0, 1, 0], body.turn)
        nodes.append(
            gltf.Node(
                name=body.name,
                children=[top + 1],
                translation=[float(v) for v in body.position_m],
                rotation=[float(v) for v in np.asarray(turn)],
            )
        )
        for bone, name in enumerate(skeleton.names):
            children = [top + 1 + int(c) for c in np.flatnonzero(skeleton.parents == bone)]
            offset = [float(v) for v in skeleton.offsets_m[bone]]
            nodes.append(gltf.Node(name=name, translation=offset, children=children))
        skins.append(
            gltf.Skin(
                inverseBindMatrices=inverse_bind, skeleton=top + 1, joints=[top + 1 + i for i in range(len(skeleton))]
            )
        )
        face_node = len(nodes)
        nodes += [gltf.Node(name=mesh.name, mesh=i, skin=len(skins) - 1) for i, mesh in enumerate(meshes)]
        roots += [top, face_node, face_node + 1]
        _animate(store, animation, body.motion, top + 1, face_node, clock)
    document = gltf.GLTF2(
        asset=gltf.Asset(version="2.0", generator="visavis"),
        scene=0,
        scenes=[gltf.Scene(nodes=roots)],
        nodes=nodes,
        meshes=meshes,
        skins=skins,
        materials=_materials(avatar),
        animations=[animation],
        accessors=store.accessors,
        bufferViews=store.views,
        buffers=[gltf.Buffer(byteLength=len(store.blob))],
    )
    document.set_binary_blob(bytes(store.blob))
    document.save_binary(str(path))


def write_glb(motion: Motion, path: str | Path, avatar: Avatar | None = None) -> None:
    """Write one motion on the avatar (the default one if None) as a `.glb` file."""
    write_scene_glb([Placed(motion)], path, avatar)
