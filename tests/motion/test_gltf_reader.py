"""Reading what other programs write: other rates, interpolations, roots, accessors."""

import base64
import json

import numpy as np
import pytest

from visavis.errors import FileFormatError
from visavis.motion import rotations as rot
from visavis.motion.gltf_file import GltfFile
from visavis.motion.gltf_reader import arkit_index, read_glb
from visavis.motion.kinematics import positions


class Scene:
    """A small glTF, written by hand."""

    def __init__(self, nodes, skin=None):
        self.blob = bytearray()
        self.document = {
            "asset": {"version": "2.0"}, "nodes": nodes, "bufferViews": [], "accessors": [],
            "animations": [{"samplers": [], "channels": []}],
        }  # fmt: skip
        if skin is not None:
            self.document["skins"] = [{"joints": skin}]

    def put(self, data, stride=0, **more):
        data = np.ascontiguousarray(data)
        kind = {1: "SCALAR", 3: "VEC3", 4: "VEC4", 16: "MAT4"}[data.shape[1]]
        component = {"float32": 5126, "int16": 5122, "uint8": 5121, "int8": 5120, "uint16": 5123}[data.dtype.name]
        raw = data.tobytes()
        view = {"buffer": 0}
        if stride:
            rows = [data[i].tobytes().ljust(stride, b"\xaa") for i in range(len(data))]
            raw = b"".join(rows)
            view["byteStride"] = stride
        self.blob += b"\0" * (-len(self.blob) % 4)
        view |= {"byteOffset": len(self.blob), "byteLength": len(raw)}
        self.blob += raw
        self.document["bufferViews"].append(view)
        self.document["accessors"].append(
            {"bufferView": len(self.document["bufferViews"]) - 1, "componentType": component, "count": len(data),
             "type": kind, **more}
        )  # fmt: skip
        return len(self.document["accessors"]) - 1

    def move(self, node, path, times, values, interpolation=None, **more):
        animation = self.document["animations"][0]
        sampler = {"input": self.put(np.asarray(times, np.float32)[:, None]), "output": self.put(values, **more)}
        if interpolation:
            sampler["interpolation"] = interpolation
        animation["samplers"].append(sampler)
        animation["channels"].append(
            {"sampler": len(animation["samplers"]) - 1, "target": {"node": node, "path": path}}
        )

    def read(self, folder, as_text=False):
        self.document["buffers"] = [{"byteLength": len(self.blob)}]
        path = folder / "scene.bin"
        if as_text:
            data = base64.b64encode(bytes(self.blob)).decode()
            self.document["buffers"][0]["uri"] = f"data:application/octet-stream;base64,{data}"
            path.write_text(json.dumps(self.document))
        else:
            GltfFile(path, self.document, bytes(self.blob)).save()
        return read_glb(path)


def chain(*more):
    """Hips with a hand 0.5 m to the left."""
    return [
        {"name": "hips", "translation": [0, 1, 0], "children": [1]},
        {"name": "hand", "translation": [0.5, 0, 0]},
        *more,
    ]


def about_z(degrees):
    return np.array([rot.from_axis_angle([0, 0, 1], np.radians(d)) for d in degrees], np.float32)


def angles(motion, joint):
    q = motion.rotations[:, joint]
    return np.degrees(2 * np.arctan2(q[:, 2], q[:, 3]))


@pytest.mark.parametrize("as_text", [False, True])
def test_other_rates_become_thirty(tmp_path, as_text):
    scene = Scene(chain(), [0, 1])
    times = np.arange(25) / 24
    scene.move(0, "rotation", times, about_z(times * 90))
    motion = scene.read(tmp_path, as_text)
    assert (len(motion), motion.fps, motion.skeleton.names) == (31, 30, ("hips", "hand"))
    np.testing.assert_allclose(angles(motion, 0), np.arange(31) * 3, atol=0.01)
    np.testing.assert_allclose(positions(motion)[-1, 1], [0, 1.5, 0], atol=1e-5)


def test_steps_jump_and_times_before_the_first_key_hold(tmp_path):
    scene = Scene(chain(), [0, 1])
    scene.move(0, "rotation", [0.5, 1.0], about_z([10, 20]), "STEP")
    motion = scene.read(tmp_path)
    np.testing.assert_allclose(angles(motion, 0)[[0, 14, 15, 29, 30]], [10, 10, 10, 10, 20], atol=0.01)


def test_cubic_splines_are_hermite(tmp_path):
    scene = Scene(chain(), [0, 1])
    # in-tangent, value, out-tangent for two keys: x goes from 0 to 1 with slopes 0 and 3
    keys = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0], [3, 0, 0], [1, 1, 0], [0, 0, 0]], np.float32)
    scene.move(0, "translation", [0, 2], keys, "CUBICSPLINE")
    motion = scene.read(tmp_path)
    t = np.arange(61) / 60
    expected = 3 * t**2 - 2 * t**3 + 2 * (t**3 - t**2) * 3
    np.testing.assert_allclose(motion.root_m[:, 0], expected, atol=1e-5)


@pytest.mark.parametrize(("dtype", "most"), [(np.int16, 32767), (np.int8, 127)])
def test_normalised_integers_are_rotations(tmp_path, dtype, most):
    scene = Scene(chain(), [0, 1])
    scene.move(0, "rotation", [0, 1], np.round(about_z([0, 90]) * most).astype(dtype), normalized=True)
    assert angles(scene.read(tmp_path), 0)[-1] == pytest.approx(90, abs=0.6)


def test_strided_and_sparse_accessors(tmp_path):
    scene = Scene(chain(), [0, 1])
    scene.move(0, "rotation", [0, 1], about_z([0, 40]), stride=24)
    scene.move(0, "translation", [0, 0.5, 1], np.zeros((3, 3), np.float32))
    places, values = scene.put(np.array([[2]], np.uint16)), scene.put(np.array([[1, 2, 3]], np.float32))
    rows = scene.document["accessors"]
    sampler = scene.document["animations"][0]["samplers"][1]
    del rows[sampler["output"]]["bufferView"]  # all zero but for the last
    rows[sampler["output"]]["sparse"] = {
        "count": 1,
        "indices": {"bufferView": rows[places]["bufferView"], "componentType": 5123},
        "values": {"bufferView": rows[values]["bufferView"]},
    }
    motion = scene.read(tmp_path)
    assert angles(motion, 0)[-1] == pytest.approx(40, abs=0.01)
    np.testing.assert_allclose(motion.root_m[[0, 15, 30]], [[0, 0, 0], [0, 0, 0], [1, 2, 3]], atol=1e-6)


def test_what_the_root_hangs_from_moves_it(tmp_path):
    """An armature that turns, walks and has another unit."""
    scene = Scene(
        [{"name": "hips", "translation": [0, 100, 0], "children": [1]}, {"name": "hand", "translation": [50, 0, 0]},
         {"name": "Armature", "scale": [0.01] * 3, "children": [0]}], [0, 1],
    )  # fmt: skip
    scene.move(2, "rotation", [0, 1], rot.from_axis_angle([0, 1, 0], np.array([0, np.pi / 2])))
    scene.move(2, "translation", [0, 1], np.array([[0, 0, 0], [2, 0, 0]], np.float32))
    motion = scene.read(tmp_path)
    assert motion.skeleton.names == ("hips", "hand")
    np.testing.assert_allclose(motion.skeleton.offsets_m, [[0, 1, 0], [0.5, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(positions(motion)[-1], [[2, 1, 0], [2, 1, -0.5]], atol=1e-5)


def test_a_reference_above_the_moving_hips_is_no_joint(tmp_path):
    nodes = [{"name": "reference", "children": [1]}, {"name": "pelvis", "translation": [0, 1, 0], "children": [2, 3]},
             {"name": "leg", "translation": [0.1, 0, 0]}, {"name": "spine", "translation": [0, 0.2, 0]}]  # fmt: skip
    scene = Scene(nodes, [0, 1, 2, 3])
    scene.move(1, "translation", [0, 1], np.array([[0, 1, 0], [0, 1, 2]], np.float32))
    motion = scene.read(tmp_path)
    assert motion.skeleton.names == ("pelvis", "leg", "spine")
    np.testing.assert_allclose(motion.root_m[-1], [0, 1, 2], atol=1e-6)


def test_matrices_place_nodes_too(tmp_path):
    turn = np.eye(4)
    turn[:3, :3] = rot.to_matrix(rot.from_axis_angle([0, 0, 1], 0.5)) * 2
    turn[:3, 3] = [0, 1, 0]
    nodes = chain()
    nodes[0] = {"name": "hips", "matrix": turn.T.ravel().tolist(), "children": [1]}
    scene = Scene(nodes, [0, 1])
    scene.move(1, "rotation", [0, 1], about_z([0, 30]))
    motion = scene.read(tmp_path)
    np.testing.assert_allclose(
        motion.skeleton.offsets_m[1], np.array([np.cos(0.5), np.sin(0.5), 0]), atol=1e-6
    )  # half a metre, doubled
    assert angles(motion, 1)[-1] == pytest.approx(30, abs=0.01)
    assert rot.angle_between(motion.rotations[0, 0], rot.IDENTITY) < 1e-3


def test_joints_of_equal_names_can_be_told_apart(tmp_path):
    scene = Scene([{"name": "b", "children": [1, 2]}, {"name": "b"}, {}], [0, 1, 2])
    scene.move(0, "rotation", [0, 1], about_z([0, 1]))
    assert scene.read(tmp_path).skeleton.names == ("b", "b.2", "node2")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda d: d["accessors"][0].update(count=2**31), "count"),
        (lambda d: d["accessors"][0].update(count=3), "elements"),
        (lambda d: d["accessors"][1].update(type="VEC3"), "4 numbers"),
        (lambda d: d["accessors"][1].update(componentType=5126.5), "component type"),
        (lambda d: d["bufferViews"][0].update(byteOffset=-4), "byte offset"),
        (lambda d: d["bufferViews"][0].update(byteLength=10**9), "byte length"),
        (lambda d: d["animations"][0]["samplers"][0].update(interpolation="SINC"), "interpolation"),
        (lambda d: d["animations"][0]["samplers"][0].update(input=1), "1 numbers"),
        (lambda d: d["animations"][0]["channels"][0]["target"].update(node=7), "animated node"),
        (lambda d: d.update(animations=[]), "an animation"),
        (lambda d: d.update(animations=7), "animations"),
        (lambda d: d["nodes"][1].update(rotation=[0, 0, 0, 0]), "length 1"),
        (lambda d: d["nodes"][1].update(children=[0]), "circle"),
        (lambda d: d["skins"][0].update(joints=[True]), "a joint"),
    ],
)
def test_damage_is_named(tmp_path, change, match):
    scene = Scene(chain(), [0, 1])
    scene.move(0, "rotation", [0, 1], about_z([0, 10]))
    change(scene.document)
    with pytest.raises(FileFormatError, match=match):
        scene.read(tmp_path)


def test_buffers_outside_the_file_are_never_opened(tmp_path):
    (tmp_path / "other.bin").write_bytes(b"\0" * 4096)
    scene = Scene(chain(), [0, 1])
    scene.move(0, "rotation", [0, 1], about_z([0, 10]))
    scene.document["buffers"] = [{"byteLength": len(scene.blob), "uri": "other.bin"}]
    (tmp_path / "scene.gltf").write_text(json.dumps(scene.document))
    with pytest.raises(FileFormatError, match="inside the file"):
        read_glb(tmp_path / "scene.gltf")


def test_time_without_end_is_refused(tmp_path):
    scene = Scene(chain(), [0, 1])
    scene.move(0, "rotation", [0, 1e9], about_z([0, 10]))
    with pytest.raises(FileFormatError, match="day"):
        scene.read(tmp_path)


def test_shapes_are_known_however_they_are_written():
    for name in ("jawOpen", "JawOpen", "jaw_open", "blendShape1.jawOpen"):
        assert arkit_index(name) == arkit_index("jawOpen") is not None
    assert arkit_index("eyeBlink_L") == arkit_index("eyeBlinkLeft") == 0
    assert arkit_index("Smile") is None
