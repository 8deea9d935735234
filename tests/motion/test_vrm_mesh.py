import io
import json

import numpy as np
import pytest
from foreign_body import as_vrm0, plain, turned
from PIL import Image

from visavis.errors import FileFormatError
from visavis.motion.avatar import load_avatar
from visavis.motion.face import ARKIT_NAMES, face_index
from visavis.motion.gltf_file import GltfFile
from visavis.motion.gltf_reader import read_glb
from visavis.motion.vrm import read_vrm
from visavis.motion.vrm_mesh import vrm_mesh


def pose(seed=0):
    rng = np.random.default_rng(seed)
    turn = rng.normal(size=(55, 4)) * 0.15 + [0, 0, 0, 1]
    return turn / np.linalg.norm(turn, axis=1, keepdims=True), np.array([0.1, 0.9, 0.2]), rng.uniform(0, 1, 52)


@pytest.mark.parametrize("kind", ["plain", "turned", "vrm0"])
def test_somebodys_mesh_moves_as_ours(tmp_path, kind):
    file = plain(tmp_path) if kind == "plain" else turned(tmp_path, 1, 0.01 if kind == "turned" else 1.0)
    if kind == "vrm0":
        file = as_vrm0(turned(tmp_path, 2, front=-1.0))
    file.save()
    theirs, ours = vrm_mesh(read_vrm(file.path)), load_avatar()
    np.testing.assert_allclose(theirs.pose(*pose()), ours.pose(*pose()), atol=1e-5)
    assert sorted(map(tuple, theirs.faces.tolist())) == sorted(map(tuple, ours.faces.tolist()))
    np.testing.assert_allclose(theirs.face_colors.mean(axis=0), ours.face_colors.mean(axis=0), atol=0.01)


def test_presets_stand_in_for_the_shapes_of_a_face(tmp_path):
    file = plain(tmp_path)
    file.json["extensions"]["VRMC_vrm"]["expressions"]["custom"] = {}
    for mesh in file.json["meshes"]:
        mesh["extras"] = {}
    file.save()
    theirs, ours = vrm_mesh(read_vrm(file.path)), load_avatar()
    for name in ("jawOpen", "eyeBlinkLeft"):
        face = np.zeros(52)
        face[face_index(name)] = 1
        shown = theirs.morphed(face) - theirs.positions_m
        wanted = ours.morphed(face) - ours.positions_m
        assert np.sum(shown * wanted) > 0.5 * np.linalg.norm(shown) * np.linalg.norm(wanted), name
    assert theirs.morph_names == ARKIT_NAMES


def textured(folder, image, alpha="OPAQUE"):
    """Two triangles hung on a bone, with a picture."""
    blob = bytearray()
    views, accessors = [], []

    def put(data, kind=None, component=5126):
        raw = data if isinstance(data, bytes) else data.tobytes()
        blob.extend(b"\0" * (-len(blob) % 4))
        views.append({"buffer": 0, "byteOffset": len(blob), "byteLength": len(raw)})
        blob.extend(raw)
        if kind:
            accessors.append(
                {"bufferView": len(views) - 1, "componentType": component, "count": len(data), "type": kind}
            )
        return (len(accessors) if kind else len(views)) - 1

    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], np.float32)
    position = put(corners, "VEC3")
    uv = put(np.array([[0.1, 0.9], [0.9, 0.9], [0.1, 0.1], [0.9, 0.1]], np.float32), "VEC2")
    index = put(np.array([0, 1, 2, 2, 1, 3], np.uint16)[:, None], "SCALAR", 5123)
    document = {
        "asset": {"version": "2.0"},
        "nodes": [{"name": "hips", "translation": [0, 1, 0], "children": [1, 2]}, {"name": "head"}, {"mesh": 0}],
        "meshes": [
            {"primitives": [{"attributes": {"POSITION": position, "TEXCOORD_0": uv}, "indices": index, "material": 0}]}
        ],
        "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}, "alphaMode": alpha}],
        "textures": [{"source": 0}],
        "images": [{"bufferView": put(image), "mimeType": "image/png"}],
        "bufferViews": views,
        "accessors": accessors,
        "buffers": [{"byteLength": len(blob)}],
        "extensionsUsed": ["VRMC_vrm"],
        "extensions": {
            "VRMC_vrm": {"specVersion": "1.0", "humanoid": {"humanBones": {"hips": {"node": 0}, "head": {"node": 1}}}}
        },
    }
    GltfFile(folder / "quad.vrm", document, bytes(blob)).save()
    return folder / "quad.vrm"


def png(alpha=255):
    picture = Image.new("RGBA", (8, 8), (0, 0, 255, 255))
    picture.paste((255, 0, 0, alpha), (0, 0, 4, 8))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def test_colours_come_from_the_texture(tmp_path):
    mesh = vrm_mesh(read_vrm(textured(tmp_path, png())))
    np.testing.assert_allclose(mesh.shade, [[1, 0, 0], [0, 0, 1], [1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(mesh.positions_m[3], [1, 2, 0])
    assert mesh.joints[:, 0].tolist() == [0, 0, 0, 0]


def test_see_through_triangles_are_left_out(tmp_path):
    assert len(vrm_mesh(read_vrm(textured(tmp_path, png(alpha=0)))).faces) == 2
    assert len(vrm_mesh(read_vrm(textured(tmp_path, png(alpha=0), "MASK"))).faces) == 1


def test_a_broken_picture_spoils_only_the_picture(tmp_path):
    for data in (b"\x89PNG\r\n\x1a\n" + b"x" * 30, b"GIF89a", png()[:40], b""):
        assert np.all(vrm_mesh(read_vrm(textured(tmp_path, data))).shade == 1)


def test_damaged_meshes_are_refused(tmp_path):
    file = GltfFile.read(textured(tmp_path, png()))
    good = json.dumps(file.json)
    for change in (
        lambda d: d["accessors"][2].update(count=5),
        lambda d: d["accessors"][0].update(count=3),
        lambda d: d["meshes"][0]["primitives"][0].update(material=3),
        lambda d: d["meshes"][0]["primitives"][0].update(extensions={"KHR_draco_mesh_compression": {}}),
        lambda d: d["nodes"][2].pop("mesh"),
    ):
        file.json = json.loads(good)
        change(file.json)
        file.save()
        with pytest.raises(FileFormatError):
            vrm_mesh(read_vrm(file.path))
    file.json = json.loads(good)
    file.save()
    with pytest.raises(FileFormatError, match="animation"):
        read_glb(file.path)
