import json

import numpy as np
import pytest
from foreign_body import as_vrm0, plain, turned, without_vrm

from visavis.errors import FileFormatError, UsageError
from visavis.motion import rotations as rot
from visavis.motion.avatar import load_avatar
from visavis.motion.face import ARKIT_NAMES, face_index
from visavis.motion.glb import write_glb
from visavis.motion.gltf_file import GltfFile
from visavis.motion.gltf_reader import read_channels, read_glb
from visavis.motion.kinematics import positions
from visavis.motion.motion import Motion
from visavis.motion.skeleton import default_skeleton
from visavis.motion.vrm import bake, read_vrm, write_vrm
from visavis.motion.vrma import read_vrma, write_vrma


def dance(skeleton, frames=75, seed=0, face=True):
    """Every joint turns, the root walks, the face works."""
    rng = np.random.default_rng(seed)
    time = np.arange(frames)[:, None, None] / 30
    axis = rng.normal(size=(1, len(skeleton), 3)) * 0.5
    sway = axis * np.sin(2 * time + rng.uniform(0, 6, (1, len(skeleton), 3)))
    root = np.asarray(skeleton.offsets_m[0]) + 0.2 * np.sin(time[:, :, 0] * [1.0, 2.0, 1.5])
    weights = rng.uniform(0, 1, (frames, 52)).astype(np.float32) if face else None
    return Motion(rot.from_rotation_vector(sway), root, weights, skeleton)


def angle_degrees(a, b):
    """The largest angle, from differences: arccos is blind below 0.05 degrees."""
    a, b = rot.normalize(a).astype(np.float64), rot.normalize(b).astype(np.float64)
    near = np.minimum(np.linalg.norm(a - b, axis=-1), np.linalg.norm(a + b, axis=-1))
    return np.degrees(4 * np.arcsin(np.clip(near / 2, 0, 1))).max()


def same(a, b, face=1e-4):
    assert a.skeleton.names == b.skeleton.names
    assert len(a) == len(b)
    assert angle_degrees(a.rotations, b.rotations) < 0.01
    assert np.abs(positions(a) - positions(b)).max() < 1e-4
    if b.face is None:
        assert a.face is None
    else:
        assert np.abs(a.face - b.face).max() < face


def places(path):
    """Where the nodes of a file are at every key of its first animation, by matrices alone: no code of the rig."""
    file = GltfFile.read(path)
    channels, nodes = read_channels(file), file.nodes
    out = np.zeros((channels.frames, len(nodes.names), 4, 4))
    for node in nodes.order:
        local = np.tile(nodes.local[node], (channels.frames, 1, 1))
        size = np.linalg.norm(nodes.local[node][:3, :3], axis=0)
        if (turn := channels.at(node, "rotation")) is not None:
            local[:, :3, :3] = rot.to_matrix(turn) * size
        if (move := channels.at(node, "translation")) is not None:
            local[:, :3, 3] = move
        parent = nodes.parents[node]
        out[:, node] = out[:, parent] @ local if parent >= 0 else local
    return out[..., :3, 3]


# -- round trips ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [write_glb, write_vrma], ids=["glb", "vrma"])
def test_what_is_written_is_read(tmp_path, write):
    motion = dance(default_skeleton())
    write(motion, tmp_path / "m")
    read = read_glb(tmp_path / "m")
    same(read, motion)
    np.testing.assert_allclose(read.skeleton.offsets_m, motion.skeleton.offsets_m, atol=1e-6)
    assert set(read.skeleton.tips_m) == set(motion.skeleton.tips_m)
    for name, tip in motion.skeleton.tips_m.items():
        np.testing.assert_allclose(read.skeleton.tips_m[name], tip, atol=1e-6)


def test_a_motion_without_a_face_has_none_after(tmp_path):
    motion = dance(default_skeleton(), face=False)
    write_vrma(motion, tmp_path / "m.vrma")
    same(read_vrma(tmp_path / "m.vrma"), motion)


def test_our_avatar_as_vrm_is_whole(tmp_path):
    write_vrm(load_avatar(), tmp_path / "a.vrm", name="Kim")
    vrm = read_vrm(tmp_path / "a.vrm")
    assert (vrm.version, vrm.title) == ("1.0", "Kim")
    assert vrm.skeleton.names == default_skeleton().names
    np.testing.assert_allclose(vrm.skeleton.offsets_m, default_skeleton().offsets_m, atol=1e-6)
    assert set(ARKIT_NAMES) <= set(vrm.expressions)
    assert {"happy", "aa", "blink", "blinkLeft", "neutral"} <= {e.name for e in vrm.expressions.values() if e.preset}
    assert vrm.look_at is not None and vrm.look_at.kind == "bone"
    blocks = dict(vrm.expressions["jawOpen"].overrides)
    assert blocks == {"blink": "none", "lookAt": "none", "mouth": "block"}


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_a_turned_body_takes_a_motion_and_gives_it_back(tmp_path, scale):
    turned(tmp_path, 1, scale).save()
    vrm = read_vrm(tmp_path / "turned1.vrm")
    np.testing.assert_allclose(vrm.skeleton.rest_positions_m, default_skeleton().rest_positions_m, atol=1e-5)
    motion = dance(vrm.skeleton)
    bake(motion, vrm, tmp_path / "baked.vrm")
    same(read_glb(tmp_path / "baked.vrm"), motion)
    seen = places(tmp_path / "baked.vrm")[:, list(vrm.rig.nodes)]
    np.testing.assert_allclose(seen, positions(motion), atol=1e-4)


def test_vrm0_faces_us_and_its_thumbs_are_named_anew(tmp_path):
    as_vrm0(turned(tmp_path, 2, front=-1.0)).save()
    vrm = read_vrm(tmp_path / "zero.vrm")
    assert (vrm.version, vrm.title) == ("0.x", "Zero")
    np.testing.assert_allclose(vrm.skeleton.rest_positions_m, default_skeleton().rest_positions_m, atol=1e-5)
    assert vrm.skeleton.names == default_skeleton().names
    assert vrm.look_at.offset_m == (0.0, 0.07, -0.08)
    assert vrm.look_at.ranges["horizontal_inner"] == (90.0, 8.0)
    motion = dance(vrm.skeleton)
    bake(motion, vrm, tmp_path / "baked.vrm")
    same(read_glb(tmp_path / "baked.vrm"), motion)
    seen = places(tmp_path / "baked.vrm")[:, list(vrm.rig.nodes)]  # in the file's own world, which faces away
    np.testing.assert_allclose(seen * [-1, 1, -1], positions(motion), atol=1e-4)


def test_a_plain_body_keeps_its_own_names(tmp_path):
    without_vrm(turned(tmp_path, 3, 0.01), {"hips": "mixamorig:Hips", "leftHand": "mixamorig:LeftHand"}).save()
    body = read_vrm(tmp_path / "body.glb")
    assert body.version == "" and body.humanoid == {}
    assert {"mixamorig:Hips", "mixamorig:LeftHand"} <= set(body.skeleton.names)
    motion = dance(body.skeleton)
    bake(motion, body, tmp_path / "baked.glb")
    same(read_glb(tmp_path / "baked.glb"), motion)  # its morph targets carry ARKit names


def test_baking_keeps_the_users_file(tmp_path):
    file = turned(tmp_path, 4)
    file.json["extras"] = {"mine": [1, "ü"]}
    file.json["animations"] = [{"name": "old", "channels": [], "samplers": []}]
    file.save()
    vrm = read_vrm(file.path)
    bake(dance(vrm.skeleton), vrm, tmp_path / "baked.vrm")
    before, after = GltfFile.read(file.path), GltfFile.read(tmp_path / "baked.vrm")
    assert after.blob.startswith(before.blob)
    for key, value in before.json.items():
        if isinstance(value, list) and key not in ("buffers", "animations"):
            assert after.json[key][: len(value)] == value, key
        elif key not in ("buffers", "animations"):
            assert after.json[key] == value, key
    assert [a["name"] for a in after.json["animations"]] == ["motion", "old"]
    assert before.json == vrm.file.json, "the avatar in memory is left alone"


def test_a_motion_of_another_body_is_refused(tmp_path):
    plain(tmp_path)
    vrm = read_vrm(tmp_path / "plain.vrm")
    offsets = default_skeleton().offsets_m * 1.2
    other = type(vrm.skeleton)(vrm.skeleton.names, vrm.skeleton.parents, offsets, {})
    with pytest.raises(UsageError, match="retarget"):
        bake(dance(other), vrm, tmp_path / "x.vrm")
    with pytest.raises(UsageError, match="retarget"):
        write_vrma(Motion.rest(3, _chain()), tmp_path / "x.vrma")


def _chain():
    from visavis.motion.skeleton import Skeleton

    return Skeleton(("a", "b"), np.array([-1, 0]), np.array([[0, 1, 0], [0, 1, 0]], np.float32), {})


# -- faces ------------------------------------------------------------------------------------------------------


def _presets_only(file):
    file.json["extensions"]["VRMC_vrm"]["expressions"]["custom"] = {}
    for mesh in file.json["meshes"]:
        mesh["extras"] = {"targetNames": [f"shape{i}" for i in range(52)]}
    return file


def test_an_avatar_with_presets_alone_speaks_blinks_and_smiles(tmp_path):
    _presets_only(plain(tmp_path)).save()
    vrm = read_vrm(tmp_path / "plain.vrm")
    assert "jawOpen" not in vrm.face_shapes and "aa" in vrm.face_shapes
    face = np.zeros((4, 52), np.float32)
    face[1, face_index("jawOpen")] = 0.6
    face[2, [face_index("eyeBlinkLeft"), face_index("eyeBlinkRight")]] = 1
    face[3, [face_index("mouthSmileLeft"), face_index("mouthSmileRight")]] = 0.75
    (weights,) = vrm.morph_weights(face).values()
    assert not weights[0].any()
    assert weights[1, face_index("jawOpen")] > 0.25
    assert weights[2, face_index("eyeBlinkLeft")] > 0.95 and weights[2, face_index("eyeBlinkRight")] > 0.95
    assert weights[3, face_index("mouthSmileLeft")] > 0.4 and weights[3, face_index("jawOpen")] < 0.1


def test_presets_of_an_animation_come_back_as_a_face(tmp_path):
    face = np.zeros((30, 52), np.float32)
    face[:, face_index("jawOpen")] = np.linspace(0, 0.6, 30)
    face[:, face_index("eyeBlinkLeft")] = np.linspace(0, 1, 30)
    motion = Motion.rest(30).with_face(face)
    write_vrma(motion, tmp_path / "m.vrma")
    file = GltfFile.read(tmp_path / "m.vrma")
    del file.json["extensions"]["VRMC_vrm_animation"]["expressions"]["custom"]
    file.save()
    read = read_vrma(tmp_path / "m.vrma").face
    assert np.abs(read[:, face_index("eyeBlinkLeft")] - face[:, face_index("eyeBlinkLeft")]).max() < 0.05
    assert read[-1, face_index("jawOpen")] > 0.25
    assert read[:, face_index("browInnerUp")].max() < 0.1


def test_gaze_is_the_look_at_of_the_animation(tmp_path):
    """Eyes to the avatar's left and down turn the gaze to +X and -Y."""
    motion = Motion.rest(3)
    turned_eyes = motion.rotations.copy()
    eyes = motion.skeleton.indices(["leftEye", "rightEye"])
    turned_eyes[:, eyes] = rot.multiply(rot.from_axis_angle([0, 1, 0], 0.3), rot.from_axis_angle([1, 0, 0], 0.2))
    write_vrma(Motion(turned_eyes, motion.root_m), tmp_path / "m.vrma")
    file = GltfFile.read(tmp_path / "m.vrma")
    extension = file.json["extensions"]["VRMC_vrm_animation"]
    assert not {"leftEye", "rightEye"} & set(extension["humanoid"]["humanBones"])
    gaze = read_channels(file).at(extension["lookAt"]["node"], "rotation")
    assert angle_degrees(gaze, turned_eyes[:, eyes[0]]) < 0.1
    ahead = rot.rotate(gaze[0], [0, 0, 1])
    assert ahead[0] > 0.2 and ahead[1] < -0.1
    # A file of others has no eyes: the gaze goes into the face.
    for node in file.json["nodes"]:
        node["name"] = node["name"].replace("Eye", "Bulb")
    file.save()
    face = read_vrma(tmp_path / "m.vrma").face
    assert face[0, face_index("eyeLookOutLeft")] == pytest.approx(np.degrees(0.3) / 32, abs=0.02)
    assert face[0, face_index("eyeLookDownRight")] == pytest.approx(np.degrees(0.2) / 32, abs=0.03)
    assert face[0, face_index("eyeLookInLeft")] == 0


# -- what is refused --------------------------------------------------------------------------------------------


def expression(document, name):
    return document["extensions"]["VRMC_vrm"]["expressions"]["custom"][name]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda d: d["extensions"]["VRMC_vrm"]["humanoid"]["humanBones"].pop("hips"), "hips"),
        (lambda d: d["extensions"]["VRMC_vrm"]["humanoid"]["humanBones"]["head"].update(node=0), "one node"),
        (lambda d: d["extensions"]["VRMC_vrm"]["humanoid"]["humanBones"]["head"].update(node=9999), "head"),
        (lambda d: d["nodes"][0].update(children=[0]), "tree"),
        (lambda d: d["nodes"][3].update(translation=[1, 2]), "translation"),
        (lambda d: d["asset"].update(version="1.0"), "version"),
        (lambda d: expression(d, "jawOpen")["morphTargetBinds"][0].update(index=77), "morph"),
    ],
)  # fmt: skip
def test_damaged_avatars_are_refused_by_name(tmp_path, change, match):
    file = plain(tmp_path)
    change(file.json)
    file.path = tmp_path / "damaged.vrm"
    file.save()
    with pytest.raises(FileFormatError, match=match) as caught:
        read_vrm(file.path)
    assert "damaged.vrm" in str(caught.value)


def test_a_body_without_animation_is_no_motion(tmp_path):
    plain(tmp_path)
    with pytest.raises(FileFormatError, match="avatar"):
        read_glb(tmp_path / "plain.vrm")


def test_other_files_are_refused(tmp_path):
    for name, data in (("a", b""), ("b", b"glTF"), ("c", b"{}"), ("d", b"\xff\xfe"), ("e", b"[" * 100_000)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(FileFormatError):
            read_glb(tmp_path / name)
    (tmp_path / "f").write_text(json.dumps({"asset": {"version": "2.0"}, "buffers": [{"uri": "/etc/passwd"}]}))
    with pytest.raises(FileFormatError, match="animation"):
        read_glb(tmp_path / "f")
