"""Write motions as glTF 2.0 binaries: the skinned avatar, one animation of bones, hips and face shapes.

Bones are nodes with VRM names and identity rest rotations; the morph targets carry ARKit names in `extras.targetNames`
and are stored sparse. Colours are linear in glTF and sRGB here. Source: glTF 2.0 specification (Khronos).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pygltflib as gltf
from numpy.typing import ArrayLike, NDArray

from visavis.motion import rotations
from visavis.motion.avatar import Avatar, load_avatar, vertex_normals
from visavis.motion.fitting import fitted
from visavis.motion.gltf_store import Store
from visavis.motion.motion import Motion
from visavis.motion.skeleton import Skeleton

__all__ = ["BodyMesh", "Placed", "body_mesh", "bone_nodes", "materials", "skin_of", "write_glb", "write_scene_glb"]

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Placed:
    """A motion and where its body stands: position of the floor point (metres) and turn about Y (radians, left)."""

    motion: Motion
    name: str = "avatar"
    position_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    turn: float = 0.0


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


def _mesh(store: Store, avatar: Avatar, name: str, start: int, stop: int, morphs: bool) -> gltf.Mesh:
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


def materials(avatar: Avatar) -> list[gltf.Material]:
    """The avatar's palette, linear."""
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
    store: Store, animation: gltf.Animation, motion: Motion, first_bone: int, face_node: int, clock: dict[int, int]
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


@dataclass(frozen=True)
class BodyMesh:
    """The avatar's meshes in a store: the face (with morphs) first, then the body; and its inverse bind matrices."""

    meshes: list[gltf.Mesh]
    inverse_bind: int


def body_mesh(store: Store, avatar: Avatar) -> BodyMesh:
    """Put the avatar's meshes into a store."""
    skeleton, head = avatar.skeleton, avatar.head_vertices
    meshes = [
        _mesh(store, avatar, "Face", 0, head, morphs=True),
        _mesh(store, avatar, "Body", head, len(avatar.positions_m), morphs=False),
    ]
    bind = np.tile(np.eye(4, dtype=np.float32), (len(skeleton), 1, 1))
    bind[:, 3, :3] = -skeleton.rest_positions_m  # column-major: the translation is the last row in memory
    return BodyMesh(meshes, store.accessor(bind.reshape(-1, 16)))


def bone_nodes(skeleton: Skeleton, first: int) -> list[gltf.Node]:
    """One node per bone, the first at place `first`; ends of bones go along as extras."""
    return [
        gltf.Node(
            name=name,
            translation=[float(v) for v in skeleton.offsets_m[bone]],
            children=[first + int(child) for child in np.flatnonzero(skeleton.parents == bone)],
            extras={"tip_m": [float(v) for v in skeleton.tips_m[name]]} if name in skeleton.tips_m else {},
        )
        for bone, name in enumerate(skeleton.names)
    ]


def skin_of(skeleton: Skeleton, inverse_bind: int, first: int) -> gltf.Skin:
    """The skin of a body whose bones start at node `first`."""
    return gltf.Skin(inverseBindMatrices=inverse_bind, skeleton=first, joints=[first + i for i in range(len(skeleton))])


def write_scene_glb(bodies: Sequence[Placed], path: str | Path, avatar: Avatar | None = None) -> None:
    """Write several bodies in one scene; they share one mesh.

    Args:
        bodies: whose motions to write, each at least one frame long; retargeted where they are another skeleton's.
        path: the `.glb` file.
        avatar: their looks; the default avatar if None.
    """
    avatar = avatar or load_avatar()
    if not bodies or any(len(body.motion) == 0 for body in bodies):
        raise ValueError("a glTF animation needs at least one body and one frame: got an empty motion")
    store = Store()
    nodes: list[gltf.Node] = []
    shared = body_mesh(store, avatar)
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
        nodes += bone_nodes(avatar.skeleton, top + 1)
        skins.append(skin_of(avatar.skeleton, shared.inverse_bind, top + 1))
        face_node = len(nodes)
        nodes += [gltf.Node(name=m.name, mesh=i, skin=len(skins) - 1) for i, m in enumerate(shared.meshes)]
        roots += [top, *range(face_node, len(nodes))]
        _animate(store, animation, fitted(body.motion, avatar), top + 1, face_node, clock)
    document = gltf.GLTF2(
        asset=gltf.Asset(version="2.0", generator="visavis"),
        scene=0,
        scenes=[gltf.Scene(nodes=roots)],
        nodes=nodes,
        meshes=shared.meshes,
        skins=skins,
        materials=materials(avatar),
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
