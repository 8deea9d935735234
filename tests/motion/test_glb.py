import json
import struct

import numpy as np
import pygltflib
import pytest

from visavis.motion import rotations
from visavis.motion.avatar import load_avatar
from visavis.motion.face import ARKIT_NAMES
from visavis.motion.glb import Placed, write_glb, write_scene_glb
from visavis.motion.kinematics import forward
from visavis.motion.motion import Motion
from visavis.motion.skeleton import default_skeleton

SIZE = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}
KIND = {5126: np.float32, 5121: np.uint8, 5123: np.uint16, 5125: np.uint32}


def _motion(frames, seed=0):
    rng = np.random.default_rng(seed)
    rest = Motion.rest(frames)
    axis = rng.normal(size=(1, len(rest.skeleton), 3)) * 0.4
    phase = np.sin(np.linspace(0, 3, frames))[:, None, None]
    turned = rotations.from_rotation_vector(axis * phase)
    root = rest.root_m + 0.05 * phase[:, 0]
    return Motion(turned, root, rng.random((frames, 52)))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("glb") / "m.glb"
    motion = _motion(150)
    write_glb(motion, path)
    return path, motion, pygltflib.GLTF2().load(str(path))


def _read(document, number):
    accessor = document.accessors[number]
    blob = document.binary_blob()
    width = SIZE[accessor.type]

    def raw(view, kind, count):
        start = document.bufferViews[view].byteOffset or 0
        return np.frombuffer(blob, kind, count, start)

    if accessor.sparse is None:
        return raw(accessor.bufferView, KIND[accessor.componentType], accessor.count * width).reshape(-1, width)
    out = np.zeros((accessor.count, width), np.float32)
    index = raw(accessor.sparse.indices.bufferView, KIND[accessor.sparse.indices.componentType], accessor.sparse.count)
    out[index] = raw(accessor.sparse.values.bufferView, np.float32, accessor.sparse.count * width).reshape(-1, width)
    return out


def test_five_seconds_are_under_four_megabytes_and_a_whole_chunk(written):
    path, _, _ = written
    data = path.read_bytes()
    assert len(data) < 4e6
    magic, version, length = struct.unpack("<4sII", data[:12])
    assert (magic, version, length) == (b"glTF", 2, len(data))


def test_bones_are_nodes_with_vrm_names_and_no_rest_rotation(written):
    _, _, document = written
    skeleton = default_skeleton()
    joints = [document.nodes[i] for i in document.skins[0].joints]
    assert tuple(node.name for node in joints) == skeleton.names
    assert all(node.rotation is None for node in joints)
    np.testing.assert_allclose([node.translation for node in joints], skeleton.offsets_m, atol=1e-6)


def test_face_carries_the_arkit_names(written):
    _, _, document = written
    face = next(mesh for mesh in document.meshes if mesh.name == "Face")
    assert face.extras["targetNames"] == list(ARKIT_NAMES)
    assert all(len(primitive.targets) == 52 for primitive in face.primitives)


def test_animation_holds_the_motion(written):
    _, motion, document = written
    animation = document.animations[0]
    by_path = {}
    for channel in animation.channels:
        sampler = animation.samplers[channel.sampler]
        by_path[channel.target.node, channel.target.path] = (sampler.input, sampler.output)
    first = document.skins[0].joints[0]
    time = _read(document, by_path[first, "translation"][0]).ravel()
    np.testing.assert_allclose(time, np.arange(150) / 30, atol=1e-6)
    np.testing.assert_allclose(_read(document, by_path[first, "translation"][1]), motion.root_m)
    for j, node in enumerate(document.skins[0].joints):
        turned = _read(document, by_path[node, "rotation"][1])
        assert rotations.angle_between(turned, motion.rotations[:, j]).max() < 2e-3
    face = next(i for i, node in enumerate(document.nodes) if node.name == "Face")
    np.testing.assert_allclose(_read(document, by_path[face, "weights"][1]).reshape(150, 52), motion.face)


def test_a_viewer_would_see_what_our_own_skinning_draws(written):
    """Skin the file's own arrays as glTF defines it and compare with `Avatar.pose`."""
    _, motion, document = written
    avatar, skeleton, frame = load_avatar(), default_skeleton(), 77
    places, turned = forward(motion.rotations, motion.root_m, skeleton)
    joint = np.tile(np.eye(4), (len(skeleton), 1, 1))
    joint[:, :3, :3], joint[:, :3, 3] = rotations.to_matrix(turned[frame]), places[frame]
    bind = _read(document, document.skins[0].inverseBindMatrices).reshape(-1, 4, 4).transpose(0, 2, 1)
    matrices = joint @ bind
    want = avatar.pose(motion.rotations[frame], motion.root_m[frame], motion.face[frame])
    start = 0
    for mesh in document.meshes:
        primitive = mesh.primitives[0]
        points = _read(document, primitive.attributes.POSITION).astype(np.float64)
        for target, weight in zip(primitive.targets or [], motion.face[frame], strict=False):
            points = points + weight * _read(document, target["POSITION"])
        weights, bones = _read(document, primitive.attributes.WEIGHTS_0), _read(document, primitive.attributes.JOINTS_0)
        blended = np.einsum("vk,vkab->vab", weights, matrices[bones])
        seen = np.einsum("vab,vb->va", blended, np.column_stack([points, np.ones(len(points))]))[:, :3]
        np.testing.assert_allclose(seen, want[start : start + len(points)], atol=1e-5)
        start += len(points)
    assert start == len(avatar.positions_m)


def test_every_triangle_is_written_once(written):
    _, _, document = written
    indices = [document.accessors[p.indices].count for mesh in document.meshes for p in mesh.primitives]
    assert sum(indices) == 3 * len(load_avatar().faces)


def test_two_bodies_share_one_mesh(tmp_path):
    one, two = tmp_path / "1.glb", tmp_path / "2.glb"
    write_scene_glb([Placed(_motion(10), "a")], one)
    write_scene_glb([Placed(_motion(10), "a"), Placed(_motion(10, 1), "b", (0, 0, 1.5), np.pi)], two)
    assert two.stat().st_size < one.stat().st_size + 100_000
    document = pygltflib.GLTF2().load(str(two))
    assert len(document.skins) == 2 and len(document.meshes) == 2
    roots = [document.nodes[i].name for i in document.scenes[0].nodes]
    assert roots == ["a", "Face", "Body", "b", "Face", "Body"]


def test_no_face_and_still_bones_write_no_channels(tmp_path):
    write_glb(Motion.rest(2), tmp_path / "r.glb")
    data = (tmp_path / "r.glb").read_bytes()
    length = struct.unpack("<I", data[12:16])[0]
    channels = json.loads(data[20 : 20 + length])["animations"][0]["channels"]
    assert [channel["target"]["path"] for channel in channels] == ["translation"]


def test_an_empty_motion_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one body and one frame"):
        write_glb(Motion.rest(0), tmp_path / "e.glb")
