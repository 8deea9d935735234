"""The mesh of somebody's avatar as an `Avatar`, to draw it: contact sheets and previews with the user's own body.

Colours are sampled from the textures at the vertices, which is enough for small pictures. Nothing is ever written from
this mesh: `bake` keeps the file's own.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visavis.motion import rotations as rot
from visavis.motion.avatar import Avatar, Material
from visavis.motion.expressions import to_presets
from visavis.motion.face import ARKIT_NAMES
from visavis.motion.vrm import Vrm

__all__ = ["vrm_mesh"]

Array = NDArray[np.float32]
MOST_VERTICES = 2_000_000
_MOST_PIXELS = 64 * 2**20
_TRIANGLES = 4


def vrm_mesh(vrm: Vrm) -> Avatar:
    """The avatar's mesh in its rest pose, bound to its own skeleton, with 52 face morphs as near as it has them.

    Raises:
        FileFormatError: the mesh is damaged, compressed, or there is none.
    """
    return _Builder(vrm).build()


class _Builder:
    """Collects the primitives of all meshes."""

    def __init__(self, vrm: Vrm) -> None:
        self.vrm, self.file = vrm, vrm.file
        self.turning = np.eye(4)
        self.turning[:3, :3] = rot.to_matrix(vrm.rig.turn)
        self.joint_of = _joints(vrm)
        self.positions: list[Array] = []
        self.shade: list[Array] = []
        self.faces: list[NDArray[np.int64]] = []
        self.face_material: list[NDArray[np.int64]] = []
        self.joints: list[NDArray[np.int64]] = []
        self.weights: list[Array] = []
        self.targets: dict[tuple[int, int], list[tuple[int, Array]]] = {}  # (node, target) → (first vertex, moves)
        self.wanted = {(node, target) for morphs in vrm.face_shapes.values() for node, target, _ in morphs}
        self.images: dict[int, Array | None] = {}
        self.known: dict[str, tuple[int, Array]] = {}  # vertices that several primitives share: (first, colours)
        self.count = 0

    def build(self) -> Avatar:
        file = self.file
        meshes = file.rows(file.json, "meshes")
        for node, row in enumerate(file.rows(file.json, "nodes")):
            if "mesh" in row:
                mesh = meshes[file.index(row["mesh"], len(meshes), "a mesh")]
                for primitive in file.rows(mesh, "primitives"):
                    if primitive.get("mode", _TRIANGLES) == _TRIANGLES:
                        self._primitive(node, row, primitive)
        if not self.count:
            file.fail("a mesh of triangles", "none", "export the avatar with its body")
        faces, material = np.concatenate(self.faces), np.concatenate(self.face_material)
        order = np.argsort(material, kind="stable")
        index, moves = self._morphs()
        return Avatar(
            positions_m=np.concatenate(self.positions),
            shade=np.concatenate(self.shade),
            faces=faces[order].astype(np.int32),
            face_material=material[order].astype(np.uint8),
            materials=self._materials(),
            joints=np.concatenate(self.joints).astype(np.uint8),
            weights=np.concatenate(self.weights),
            morph_names=ARKIT_NAMES,
            morph_index=index,
            morph_delta_m=moves,
            head_vertices=self.count,
            skeleton=self.vrm.skeleton,
        )

    def _materials(self) -> tuple[Material, ...]:
        out = []
        for row in self.file.rows(self.file.json, "materials")[:255] or [{}]:
            factor = self.file.table(row, "pbrMetallicRoughness").get("baseColorFactor", [1, 1, 1, 1])
            r, g, b, _ = np.clip(self.file.numbers(factor, 4, "a colour"), 0, 1) ** (1 / 2.2)
            out.append(Material(str(row.get("name", "")), (float(r), float(g), float(b))))
        return tuple(out)

    def _primitive(self, node: int, row: dict[str, Any], primitive: dict[str, Any]) -> None:
        file = self.file
        if "KHR_draco_mesh_compression" in file.table(primitive, "extensions"):
            file.fail("an uncompressed mesh", "one compressed by Draco", "export it without compression")
        attributes = file.table(primitive, "attributes")
        points = file.accessor(attributes.get("POSITION"), 3).astype(np.float64)
        count = len(points)
        if "indices" in primitive:
            corner = file.accessor(primitive["indices"], 1)[:, 0].astype(np.int64)
        else:
            corner = np.arange(count)
        if len(corner) % 3 or (len(corner) and not 0 <= corner.min() <= corner.max() < count):
            file.fail("triangles of the mesh's own vertices", "others")
        materials = file.rows(file.json, "materials")
        number = file.index(primitive.get("material", 0), max(len(materials), 1), "a material")
        material = materials[number] if materials else {}
        texture = file.table(file.table(material, "pbrMetallicRoughness"), "baseColorTexture")
        key = repr((node, sorted(attributes.items()), texture.get("index"), texture.get("texCoord")))
        if key not in self.known:
            self.known[key] = (self.count, self._colour(attributes, texture, count))
            self._vertices(node, row, primitive, points, self.known[key][1])
        first, colour = self.known[key]
        faces = corner.reshape(-1, 3)
        if material.get("alphaMode", "OPAQUE") != "OPAQUE":
            faces = faces[colour[faces, 3].mean(axis=1) > 0.5]
        self.faces.append(faces + first)
        self.face_material.append(np.full(len(faces), min(number, 254)))

    def _vertices(
        self, node: int, row: dict[str, Any], primitive: dict[str, Any], points: NDArray[np.float64], colour: Array
    ) -> None:
        """Place, skin and morphs of a primitive's vertices."""
        file, count = self.file, len(points)
        if self.count + count > MOST_VERTICES:
            file.fail(f"at most {MOST_VERTICES} vertices", "more", "simplify the mesh")
        joints, weights, affine = self._skin(node, row, file.table(primitive, "attributes"), count)
        place = np.einsum("vab,vb->va", affine[:, :3, :3], points) + affine[:, :3, 3]
        if not (np.abs(place) < 1e6).all():
            file.fail("a mesh within reach", "vertices beyond all bounds")
        for target, moved in enumerate(file.rows(primitive, "targets")):
            if (node, target) in self.wanted and "POSITION" in moved:
                step = file.accessor(moved["POSITION"], 3)
                if len(step) != count:
                    file.fail(f"a morph of {count} vertices", str(len(step)))
                step = np.einsum("vab,vb->va", affine[:, :3, :3], step).astype(np.float32)
                self.targets.setdefault((node, target), []).append((self.count, step))
        self.positions.append(place.astype(np.float32))
        self.shade.append(colour[:, :3])
        self.joints.append(joints)
        self.weights.append(weights)
        self.count += count

    def _skin(
        self, node: int, row: dict[str, Any], attributes: dict[str, Any], count: int
    ) -> tuple[NDArray[np.int64], Array, NDArray[np.float64]]:
        """Joints (V, 4) and weights (V, 4) of our rig, and what takes each vertex to its place at rest (V, 4, 4)."""
        file, world = self.file, self.file.nodes.world
        if "skin" not in row or "JOINTS_0" not in attributes:
            joints = np.zeros((count, 4), np.int64)
            joints[:, 0] = self.joint_of[node]
            weights = np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1))
            return joints, weights, np.broadcast_to(self.turning @ world[node], (count, 4, 4))
        skins = file.rows(file.json, "skins")
        skin = skins[file.index(row["skin"], len(skins), "a skin")]
        bones = [file.index(bone, len(world), "a joint") for bone in skin.get("joints", [])]
        bind = np.tile(np.eye(4), (len(bones), 1, 1))
        if "inverseBindMatrices" in skin:
            found = file.accessor(skin["inverseBindMatrices"], 16)
            if len(found) < len(bones):
                file.fail(f"{len(bones)} inverse bind matrices", str(len(found)))
            bind = found[: len(bones)].reshape(-1, 4, 4).transpose(0, 2, 1).astype(np.float64)
        local = file.accessor(attributes["JOINTS_0"], 4).astype(np.int64)
        weights = file.accessor(attributes.get("WEIGHTS_0"), 4)
        if local.shape != (count, 4) or weights.shape != (count, 4) or (count and not local.max() < len(bones)):
            file.fail("joints and weights for every vertex", "others")
        weights = np.maximum(weights, 0)
        weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-6)
        each = self.turning @ world[bones] @ bind
        affine = np.einsum("vk,vkab->vab", weights, each[local])
        return self.joint_of[np.array(bones)][local], weights.astype(np.float32), affine

    # -- colours ------------------------------------------------------------------------------------------------

    def _colour(self, attributes: dict[str, Any], texture: dict[str, Any], count: int) -> Array:
        """(V, 4) sRGB and alpha: the texture at each vertex, white without one."""
        file = self.file
        out = np.ones((count, 4), np.float32)
        which = f"TEXCOORD_{texture.get('texCoord', 0)}"
        if "index" in texture and which in attributes:
            textures = file.rows(file.json, "textures")
            source = textures[file.index(texture["index"], len(textures), "a texture")].get("source")
            image = self._image(source)
            if image is not None:
                uv = file.accessor(attributes[which], 2) % 1.0
                high, wide = image.shape[:2]
                column = np.minimum((uv[:, 0] * wide).astype(int), wide - 1)
                line = np.minimum((uv[:, 1] * high).astype(int), high - 1)
                if len(uv) == count:
                    out = image[line, column]
        if "COLOR_0" in attributes:
            accessors = file.rows(file.json, "accessors")
            accessor = accessors[file.index(attributes["COLOR_0"], len(accessors), "an accessor")]
            given = file.accessor(attributes["COLOR_0"], 4 if accessor.get("type") == "VEC4" else 3)
            if len(given) == count:
                out = out.copy()
                out[:, :3] *= (np.clip(given[:, :3], 0, 1) ** (1 / 2.2)).astype(np.float32)  # vertex colours are linear
        return out

    def _image(self, source: object) -> Array | None:
        """(H, W, 4) in [0, 1]; None where the image cannot be read, which spoils a picture and nothing else."""
        from PIL import Image

        images = self.file.rows(self.file.json, "images")
        if not isinstance(source, int) or not 0 <= source < len(images) or "bufferView" not in images[source]:
            return None
        if source not in self.images:
            self.images[source] = None
            try:
                picture = Image.open(io.BytesIO(self.file.view(images[source]["bufferView"])), formats=("PNG", "JPEG"))
                if picture.width * picture.height <= _MOST_PIXELS:
                    picture.thumbnail((1024, 1024))
                    self.images[source] = np.asarray(picture.convert("RGBA")).astype(np.float32) / np.float32(255)
            except (OSError, ValueError, SyntaxError):  # SyntaxError is how Pillow tells of broken PNG
                pass
        return self.images[source]

    # -- morphs -------------------------------------------------------------------------------------------------

    def _morphs(self) -> tuple[tuple[NDArray[np.int32], ...], tuple[Array, ...]]:
        """What each of the 52 moves: the avatar's own shape, or the presets that come nearest to it."""
        shapes = self.vrm.face_shapes
        if any(name in ARKIT_NAMES for name in shapes):
            mixes = [{name: 1.0} for name in ARKIT_NAMES]
        else:
            given = to_presets(np.eye(len(ARKIT_NAMES)))
            if "blink" in shapes:
                for side in ("Left", "Right"):
                    if f"blink{side}" not in shapes:  # half a wink each
                        given["blink"] = given.get("blink", np.float32(0)) + given[f"blink{side}"] / np.float32(2)
            mixes = [{name: float(values[i]) for name, values in given.items()} for i in range(len(ARKIT_NAMES))]
        index, moves = [], []
        for mix in mixes:
            total = np.zeros((self.count, 3), np.float32)
            for name, share in mix.items():
                for node, target, weight in shapes.get(name, []) if share > 1e-3 else []:
                    for first, step in self.targets.get((node, target), []):
                        total[first : first + len(step)] += np.float32(share * weight) * step
            rows = np.flatnonzero(np.abs(total).max(axis=1) > 1e-6)
            index.append(rows.astype(np.int32))
            moves.append(total[rows])
        return tuple(index), tuple(moves)


def _joints(vrm: Vrm) -> NDArray[np.int64]:
    """(N,) for every node the joint of our rig that it hangs on; of many joints, the humanoid's alone."""
    nodes, place = vrm.file.nodes, {node: i for i, node in enumerate(vrm.rig.nodes)}
    if len(place) > 255:
        human = set(vrm.humanoid.values())
        place = {node: i for node, i in place.items() if node in human} or {vrm.rig.nodes[0]: 0}
    out = np.zeros(len(nodes.names), np.int64)
    for node in nodes.order:
        parent = int(nodes.parents[node])
        out[node] = place.get(node, out[parent] if parent >= 0 else 0)
    return out
