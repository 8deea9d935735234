"""`visavis convert`: every format to every other, on bodies that were asked for."""

import json
from pathlib import Path

import numpy as np
import pytest

from visavis.cli import main
from visavis.convert import convert
from visavis.errors import FileFormatError, UsageError
from visavis.motion import rotations as rot
from visavis.motion.avatar import load_avatar
from visavis.motion.bvh import write_bvh
from visavis.motion.face import ARKIT_NAMES
from visavis.motion.files import find_format, read_motion, write_motion
from visavis.motion.idle import idle
from visavis.motion.kinematics import forward
from visavis.motion.motion import Motion
from visavis.motion.skeleton import Skeleton
from visavis.motion.vrm import write_vrm

KINDS = ("bvh", "glb", "vrma", "vrm", "npz", "skm", "csv")


@pytest.fixture(scope="module")
def waving() -> Motion:
    """A second of an idle body with a raised arm and a face."""
    motion = idle(30, 3)
    arm = motion.skeleton.index("rightUpperArm")
    motion.rotations[:, arm] = rot.from_axis_angle([0, 0, 1], np.linspace(0.9, -0.6, 30).astype(np.float32))
    face = np.random.default_rng(0).random((30, len(ARKIT_NAMES))).astype(np.float32) * 0.5
    return motion.with_face(face)


@pytest.fixture(scope="module")
def sources(waving, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sources")
    for kind in KINDS:
        write_motion(waving, folder / f"a.{kind}")
    return {kind: folder / f"a.{kind}" for kind in KINDS}


def foreign_bvh(path: Path) -> None:
    """Write a BVH with other names and other limbs than ours, as a capture program would write."""
    ours = load_avatar().skeleton
    names = {
        "hips": "Hips", "spine": "Spine", "chest": "Spine1", "upperChest": "Spine2", "neck": "Neck", "head": "Head",
        **{
            f"{side}{bone}": f"{side.capitalize()}{theirs}"
            for side in ("left", "right")
            for bone, theirs in (
                ("Shoulder", "Shoulder"), ("UpperArm", "Arm"), ("LowerArm", "ForeArm"), ("Hand", "Hand"),
                ("UpperLeg", "UpLeg"), ("LowerLeg", "Leg"), ("Foot", "Foot"), ("Toes", "ToeBase"),
            )
        },
    }  # fmt: skip
    keep = [i for i, name in enumerate(ours.names) if name in names]
    place = {old: new for new, old in enumerate(keep)}
    parents = np.array([place.get(int(ours.parents[i]), -1) for i in keep])
    skeleton = Skeleton(
        tuple(f"mixamorig:{names[ours.names[i]]}" for i in keep), parents, ours.offsets_m[keep] * 1.1, {}
    )
    motion = idle(30, 3)
    write_bvh(Motion(motion.rotations[:, keep], motion.root_m * 1.1, None, skeleton), path)


@pytest.fixture(scope="module")
def mixamo(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("mixamo") / "walk.bvh"
    foreign_bvh(path)
    return path


def wrists(motion: Motion) -> np.ndarray:
    places, _ = forward(motion.rotations, motion.root_m, motion.skeleton)
    return places[:, motion.skeleton.indices(["leftHand", "rightHand"])]


@pytest.mark.parametrize(
    ("source", "target"),
    [(a, b) for a in KINDS for b in KINDS if not (b == "csv" and a in ("bvh", "skm"))],  # no face to write
)
def test_every_format_becomes_every_other(source, target, sources, waving, tmp_path):
    done = convert(sources[source], tmp_path / "deep" / f"b.{target}")
    assert (done.source, done.target) == (source, target) and abs(done.seconds - 1) < 0.05
    assert find_format(tmp_path / "deep" / f"b.{target}") == target
    if "csv" in (source, target):  # the face alone
        return
    after = wrists(read_motion(tmp_path / "deep" / f"b.{target}"))[:30]
    assert np.abs(after - wrists(waving)[: len(after)]).max() < 0.002


def test_what_a_format_cannot_hold_is_told(sources, tmp_path):
    assert "holds no face" in convert(sources["glb"], tmp_path / "a.bvh").notes[0]
    assert "body is left out" in convert(sources["glb"], tmp_path / "a.csv").notes[0]
    with pytest.raises(UsageError, match="expected a motion with a face for .csv"):
        convert(sources["bvh"], tmp_path / "b.csv")


def test_a_foreign_skeleton_stays_or_is_brought_to_a_body(mixamo, tmp_path):
    assert convert(mixamo, tmp_path / "same.bvh").bones is None
    assert read_motion(tmp_path / "same.bvh").skeleton.names[0] == "mixamorig:Hips"
    for kind in ("glb", "vrma", "npz", "vrm"):
        done = convert(mixamo, tmp_path / f"ours.{kind}")
        assert done.bones is not None and done.bones.bones["leftHand"].endswith("LeftHand")
        after = read_motion(tmp_path / f"ours.{kind}")
        assert "leftHand" in after.skeleton.names
        assert np.abs(wrists(after)[:30] - wrists(idle(30, 3))).max() < 0.05


def test_a_body_is_asked_for_by_name_or_file(mixamo, tmp_path):
    juno = load_avatar("juno")
    done = convert(mixamo, tmp_path / "juno.glb", avatar="juno")
    after = read_motion(tmp_path / "juno.glb").skeleton
    assert done.joints == len(juno.skeleton)
    tall = {name: float(s.rest_positions_m[:, 1].max()) for name, s in (("glb", after), ("juno", juno.skeleton))}
    assert abs(tall["glb"] - tall["juno"]) < 1e-3
    write_vrm(juno, tmp_path / "me.vrm")
    for kind in ("vrm", "glb"):
        convert(mixamo, tmp_path / f"baked.{kind}", to_avatar=tmp_path / "me.vrm")
        # both keep my mesh, and the VRM's own description of it
        assert find_format(tmp_path / f"baked.{kind}") == "vrm"
        moved = read_motion(tmp_path / f"baked.{kind}")
        assert len(moved) == 30 and np.ptp(wrists(moved), axis=0).max() > 0
    convert(mixamo, tmp_path / "on_me.bvh", to_avatar=tmp_path / "me.vrm")
    on_me = read_motion(tmp_path / "on_me.bvh").skeleton
    assert abs(float(on_me.rest_positions_m[:, 1].max()) - tall["juno"]) < 0.01
    back = convert(tmp_path / "juno.glb", tmp_path / "back.bvh", skeleton=mixamo)
    assert back.bones is not None
    assert read_motion(tmp_path / "back.bvh").skeleton.names == read_motion(mixamo).skeleton.names


def test_a_smartbody_motion_apart_from_its_skeleton(sources, tmp_path):
    (tmp_path / "a.skm").write_bytes(sources["skm"].read_bytes())
    with pytest.raises(FileFormatError, match="skeleton"):
        convert(tmp_path / "a.skm", tmp_path / "a.bvh")
    skeleton = next(sources["skm"].parent.glob("*.sk"))
    assert convert(tmp_path / "a.skm", tmp_path / "a.bvh", skeleton=skeleton).bones is None


def test_nothing_is_overwritten_that_is_read(sources, tmp_path):
    copy = tmp_path / "a.bvh"
    copy.write_bytes(sources["bvh"].read_bytes())
    with pytest.raises(UsageError, match="would overwrite what is read"):
        convert(copy, copy)
    assert copy.read_bytes() == sources["bvh"].read_bytes()


def test_misuse_is_told(sources, tmp_path):
    for arguments, said in (
        ({"target": "a.fbx"}, "expected an output ending in one of"),
        ({"target": "a.glb", "avatar": "nobody"}, "expected one of the avatars"),
        ({"target": "a.glb", "avatar": "juno", "to_avatar": "b.vrm"}, "expected one body"),
        ({"target": "a.glb", "skeleton": "b.bvh"}, "give --to-avatar or --avatar instead"),
    ):
        target = tmp_path / arguments.pop("target")
        with pytest.raises(UsageError, match=said):
            convert(sources["bvh"], target, **arguments)
        assert not target.exists()


def test_the_command_prints_the_bones(mixamo, tmp_path, capsys):
    assert main(["convert", str(mixamo), str(tmp_path / "a.vrma")]) == 0
    out = capsys.readouterr().out
    assert "leftHand" in out and "mixamorig:LeftHand" in out and "(bvh)" in out and "1.0 s" in out
    assert main(["convert", str(mixamo), str(tmp_path / "a.vrma"), "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["convert", str(mixamo), str(tmp_path / "a.vrma"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["from"] == "bvh" and printed["bones"]["rightHand"] == "mixamorig:RightHand"


def test_keypoints_go_into_a_folder(sources, mixamo, tmp_path):
    for name, source in (("ours", sources["glb"]), ("theirs", mixamo)):
        done = convert(source, tmp_path / f"{name}.openpose")
        frames = list((tmp_path / f"{name}.openpose" / "frames").iterdir())
        files = sorted((tmp_path / f"{name}.openpose" / "json").iterdir())
        assert len(frames) == len(files) == round(done.seconds * 30) > 1
        (person,) = json.loads(files[0].read_text())["people"]
        assert len(person["pose_keypoints_2d"]) == 75
        assert (done.bones is not None) == (name == "theirs"), "another body's bones are reported"


def test_vmc_is_played_to_who_listens(sources):
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as inbox:
        inbox.bind(("127.0.0.1", 0))
        inbox.settimeout(5)
        done = convert(sources["vrma"], f"vmc://127.0.0.1:{inbox.getsockname()[1]}", avatar="juno")
        assert done.target == "vmc"
        assert b"/VMC/Ext/OK" in inbox.recv(65536)


@pytest.mark.parametrize("address", ["vmc://127.0.0.1:x", "vmc:a/b", "vmc://127.0.0.1:1/path"])
def test_an_address_that_is_none_is_named(sources, address):
    with pytest.raises(UsageError, match="expected vmc://HOST:PORT, such as vmc://127.0.0.1:39539; got 'vmc:"):
        convert(sources["bvh"], address)
