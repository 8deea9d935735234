"""`Avatar`: a body as arrays (mesh, skin, face morphs, its own skeleton) and how it follows a pose.

Two are shipped, of clearly different proportions; their data files are made by `python -m visavis.motion.avatar_build`
and hold only arrays and JSON. Skinning is linear blend skinning of the morphed rest mesh, as glTF defines it, so what
we draw is what a glTF viewer draws.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visavis.errors import FileFormatError
from visavis.motion import rotations as quaternion
from visavis.motion.kinematics import forward
from visavis.motion.skeleton import Skeleton, default_skeleton

__all__ = [
    "DEFAULT_AVATAR",
    "Avatar",
    "Material",
    "avatar_names",
    "avatar_path",
    "default_avatar_path",
    "load_avatar",
    "save_avatar",
    "vertex_normals",
]

Array = NDArray[np.float32]

DEFAULT_AVATAR: Final = "robin"
# The shipped avatars and their files under `data`.
_SHIPPED: Final = {"robin": "avatar.safetensors", "juno": "avatar_juno.safetensors"}


@dataclass(frozen=True)
class Material:
    """A flat colour.

    Attributes:
        name: what it is, such as `skin` or `shirt`.
        color: sRGB red, green, blue in [0, 1].
        roughness: 0 mirror-like .. 1 matt, as in glTF.
    """

    name: str
    color: tuple[float, float, float]
    roughness: float = 0.8


def vertex_normals(positions: NDArray[np.floating], faces: NDArray[np.integer]) -> Array:
    """(V, 3) unit normals, area-weighted over the triangles of each vertex; zero where a vertex has none."""
    corner = positions[faces]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    index = faces.ravel()
    total = np.stack(
        [np.bincount(index, np.repeat(normal[:, axis], 3), minlength=len(positions)) for axis in range(3)], axis=1
    )
    return quaternion.normalize(total)


@dataclass(frozen=True, eq=False)
class Avatar:
    """A skinned mesh with face morphs, in the T-pose of its skeleton.

    Legend: V vertices, F triangles, J bones, K vertices that a morph moves.

    Attributes:
        positions_m: (V, 3) float32, metres, Y up, facing +Z.
        shade: (V, 3) float32 in [0, 1], sRGB: multiplies the material's colour (occlusion, blush).
        faces: (F, 3) int32, counter-clockwise seen from outside, sorted by material.
        face_material: (F,) uint8 index into `materials`.
        materials: the palette.
        joints: (V, 4) uint8 bones of each vertex; unused ones are 0 with weight 0.
        weights: (V, 4) float32, not negative, sum 1, largest first.
        morph_names: the 52 ARKit names, in the order of `Motion.face`.
        morph_index: per morph (K,) int32 vertices it moves.
        morph_delta_m: per morph (K, 3) float32 their displacement at weight 1.
        head_vertices: vertices 0..head_vertices are the head's, the only ones that morphs move.
        skeleton: what the skin is bound to; the default skeleton unless the avatar brings its own.
    """

    positions_m: Array
    shade: Array
    faces: NDArray[np.int32]
    face_material: NDArray[np.uint8]
    materials: tuple[Material, ...]
    joints: NDArray[np.uint8]
    weights: Array
    morph_names: tuple[str, ...]
    morph_index: tuple[NDArray[np.int32], ...]
    morph_delta_m: tuple[Array, ...]
    head_vertices: int
    skeleton: Skeleton = field(default_factory=default_skeleton)

    @cached_property
    def normals(self) -> Array:
        """(V, 3) unit normals of the rest mesh; straight up for a vertex whose triangles have no area."""
        normals = vertex_normals(self.positions_m, self.faces)
        normals[np.linalg.norm(normals, axis=1) < 0.5] = (0, 1, 0)
        return normals

    @cached_property
    def face_colors(self) -> Array:
        """(F, 3) sRGB colour of every triangle."""
        palette = np.array([material.color for material in self.materials], np.float32)
        return palette[self.face_material]

    def morphed(self, face: NDArray[np.floating] | None) -> Array:
        """(V, 3) rest positions with the face weights (52,) applied."""
        out = self.positions_m.copy()
        if face is not None:
            for i in np.flatnonzero(np.abs(face) > 1e-4):
                out[self.morph_index[i]] += np.float32(face[i]) * self.morph_delta_m[i]
        return out

    def pose(
        self, rotations: NDArray[np.floating], root_m: NDArray[np.floating], face: NDArray[np.floating] | None = None
    ) -> Array:
        """Positions of all vertices in one pose.

        Args:
            rotations: (J, 4) unit quaternions, parent-relative, as a frame of `Motion.rotations`.
            root_m: (3,) position of the hips in the world.
            face: (52,) ARKit weights or None.
        Returns:
            (V, 3) float32 positions in the world, metres.
        """
        skeleton = self.skeleton
        places, turns = forward(np.asarray(rotations)[None], np.asarray(root_m)[None], skeleton)
        place, turned = places[0], quaternion.to_matrix(turns[0])
        # Inverse bind: the rest pose has no rotation, so it is only a translation.
        shift = place - np.einsum("jab,jb->ja", turned, skeleton.rest_positions_m)
        affine = np.concatenate([turned, shift[:, :, None]], axis=2)  # (J, 3, 4)
        blended = np.einsum("vk,vkab->vab", self.weights, affine[self.joints])
        moved = self.morphed(face)
        return np.einsum("vab,vb->va", blended[:, :, :3], moved) + blended[:, :, 3]


def avatar_names() -> tuple[str, ...]:
    """The shipped avatars, the default one first: `robin` (1.68 m, slim) and `juno` (1.47 m, broad, short limbs)."""
    return tuple(_SHIPPED)


def avatar_path(name: str) -> Path:
    """Where a shipped avatar lies; ValueError if there is none of that name."""
    if name not in _SHIPPED:
        raise ValueError(f"expected one of the avatars {', '.join(_SHIPPED)}; got {name!r}")
    return Path(str(files("visavis.motion") / "data" / _SHIPPED[name]))


def default_avatar_path() -> Path:
    """Where the default avatar lies."""
    return avatar_path(DEFAULT_AVATAR)


def save_avatar(avatar: Avatar, path: str | Path) -> None:
    """Write an avatar as safetensors; displacements are kept in float16 (steps of 0.01 mm at 20 mm)."""
    from safetensors.numpy import save_file

    counts = np.array([len(index) for index in avatar.morph_index], np.int32)
    tensors: dict[str, NDArray[Any]] = {
        "positions_m": avatar.positions_m.astype(np.float32),
        "shade": np.round(avatar.shade * 255).astype(np.uint8),
        "faces": avatar.faces.astype(np.uint16 if len(avatar.positions_m) < 65536 else np.int32),
        "face_material": avatar.face_material,
        "joints": avatar.joints,
        "weights": avatar.weights.astype(np.float32),
        "morph_counts": counts,
        "morph_index": np.concatenate(avatar.morph_index).astype(np.int32),
        "morph_delta_m": np.concatenate(avatar.morph_delta_m).astype(np.float16),
    }
    skeleton = avatar.skeleton
    if skeleton is not default_skeleton():
        tensors["parents"] = skeleton.parents.astype(np.int16)
        tensors["offsets_m"] = skeleton.offsets_m.astype(np.float32)
        tensors["tips_m"] = np.array(list(skeleton.tips_m.values()), np.float32).reshape(-1, 3)
    about = {
        "materials": json.dumps([[m.name, m.color, m.roughness] for m in avatar.materials]),
        "morph_names": json.dumps(avatar.morph_names),
        "head_vertices": str(avatar.head_vertices),
        "bones": json.dumps(skeleton.names),
        "tips": json.dumps(list(skeleton.tips_m)),
        "girth": json.dumps({bone: np.asarray(size).tolist() for bone, size in skeleton.girth.items()}),
    }
    save_file({name: np.ascontiguousarray(t) for name, t in tensors.items()}, str(path), metadata=about)


def _skeleton(about: dict[str, str], data: dict[str, NDArray[Any]]) -> Skeleton:
    """The skeleton that an avatar's file describes; the default one where it names no offsets."""
    names = tuple(json.loads(about["bones"]))
    if "offsets_m" not in data:
        if names != default_skeleton().names:
            raise ValueError("it is bound to another skeleton")
        return default_skeleton()
    parents, tips = data["parents"].astype(np.int64), json.loads(about["tips"])
    if data["offsets_m"].shape != (len(names), 3) or parents.shape != (len(names),):
        raise ValueError(f"its skeleton has {len(names)} names, {len(parents)} parents")
    if (parents >= np.arange(len(names))).any() or (parents[1:] < 0).any() or len(tips) != len(data["tips_m"]):
        raise ValueError("its skeleton is no tree in order")
    girth = {bone: np.array(size, np.float32).reshape(3) for bone, size in json.loads(about.get("girth", "{}")).items()}
    return Skeleton(names, parents, data["offsets_m"], dict(zip(tips, data["tips_m"], strict=True)), girth)


def load_avatar(avatar: str | Path | None = None) -> Avatar:
    """The default avatar, a shipped one by name (see `avatar_names`), or one that `save_avatar` wrote.

    The same name or path gives the same object.

    Raises:
        FileFormatError: it is neither a name nor the file of an avatar.
    """
    if avatar is None or str(avatar) in _SHIPPED:
        return _read(avatar_path(str(avatar or DEFAULT_AVATAR)))
    return _read(Path(avatar))


@lru_cache(maxsize=4)
def _read(path: Path) -> Avatar:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as store:
            about = store.metadata() or {}
            data = {name: store.get_tensor(name) for name in store.keys()}  # noqa: SIM118 (not a dict)
        materials = tuple(Material(n, tuple(c), r) for n, c, r in json.loads(about["materials"]))
        cuts = np.cumsum(data["morph_counts"])[:-1]
        return Avatar(
            positions_m=data["positions_m"],
            shade=data["shade"].astype(np.float32) / 255,
            faces=data["faces"].astype(np.int32),
            face_material=data["face_material"],
            materials=materials,
            joints=data["joints"],
            weights=data["weights"],
            morph_names=tuple(json.loads(about["morph_names"])),
            morph_index=tuple(np.split(data["morph_index"], cuts)),
            morph_delta_m=tuple(np.split(data["morph_delta_m"].astype(np.float32), cuts)),
            head_vertices=int(about["head_vertices"]),
            skeleton=_skeleton(about, data),
        )
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise FileFormatError(
            f"expected an avatar written by visavis at {path} (or one of {', '.join(_SHIPPED)}), got {error}: "
            "rebuild the shipped ones with `python -m visavis.motion.avatar_build`"
        ) from error
