"""What others make of our files: the Khronos validator, Blender and an independent BVH reader."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from foreign_body import as_vrm0, turned, without_vrm

from visavis.motion import rotations
from visavis.motion.avatar import avatar_names, load_avatar
from visavis.motion.bvh import write_bvh
from visavis.motion.face import ARKIT_NAMES
from visavis.motion.glb import write_glb
from visavis.motion.idle import idle
from visavis.motion.kinematics import positions
from visavis.motion.motion import Motion
from visavis.motion.vrm import bake, read_vrm, write_vrm
from visavis.motion.vrma import write_vrma

SCRIPT = """
const validator = require('gltf-validator');
const bytes = new Uint8Array(require('fs').readFileSync(process.argv[2]));
validator.validateBytes(bytes).then((report) => console.log(JSON.stringify(report.issues)));
"""


@pytest.fixture(scope="module")
def motion():
    body = idle(90, seed=3)
    rng = np.random.default_rng(0)
    turned = body.rotations.copy()
    arm = body.skeleton.indices(["leftUpperArm", "rightUpperArm", "head"])
    sway = 0.6 * np.sin(np.arange(90)[:, None, None] / 12 + rng.uniform(0, 6, (1, 3, 3)))
    turned[:, arm] = rotations.multiply(turned[:, arm], rotations.from_rotation_vector(sway))
    face = rng.uniform(0, 1, (90, len(ARKIT_NAMES))).astype(np.float32)
    return type(body)(turned, body.root_m, face, body.skeleton)


@pytest.fixture(scope="module")
def validate(tmp_path_factory):
    """The Khronos validator; VISAVIS_NODE_MODULES names a folder that has it already."""
    folder = tmp_path_factory.mktemp("validator")
    modules = os.environ.get("VISAVIS_NODE_MODULES")
    if modules is None:
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("no npm: the Khronos validator cannot be installed")
        done = subprocess.run(
            [npm, "install", "--no-fund", "--no-audit", "--prefix", str(folder), "gltf-validator@2.0.0-dev.3.10"],
            capture_output=True, text=True, timeout=240,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"the Khronos validator cannot be installed: {done.stderr.strip()[-200:]}")
        modules = str(folder / "node_modules")
    (folder / "validate.js").write_text(SCRIPT)

    def run(path):
        said = subprocess.run(
            ["node", str(folder / "validate.js"), str(path)],
            env={**os.environ, "NODE_PATH": modules}, capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        return json.loads(said.stdout)

    return run


def on_body(motion, vrm):
    """The same rotations on a body whose joints have the same order."""
    return Motion(motion.rotations, motion.root_m, motion.face, vrm.skeleton)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_khronos_validator_finds_no_error(motion, validate, tmp_path):
    for name in avatar_names():
        write_vrm(load_avatar(name), tmp_path / f"{name}.vrm")
    write_glb(motion, tmp_path / "motion.glb")
    write_vrma(motion, tmp_path / "motion.vrma")
    bake(on_body(motion, read_vrm(tmp_path / "robin.vrm")), read_vrm(tmp_path / "robin.vrm"), tmp_path / "baked.vrm")
    files = sorted(tmp_path.iterdir())
    assert len(files) == 3 + len(avatar_names())
    for path in files:
        issues = validate(path)
        assert issues["numErrors"] == 0, (path.name, issues["messages"][:3])
        assert issues["numWarnings"] == 0, (path.name, issues["messages"][:3])


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["glb", "bvh", "baked", "baked_vrm0"])
def test_blender_sees_the_wrists_where_we_do(motion, tmp_path, kind):
    blender = shutil.which("blender")
    if blender is None:
        pytest.skip("no blender on the PATH: it was NOT asked where the wrists are")
    path, facing = tmp_path / f"{kind}.{'bvh' if kind == 'bvh' else 'glb'}", 1.0
    if kind == "bvh":
        write_bvh(motion, path)
    elif kind == "glb":
        write_glb(motion, path)
    else:
        if kind == "baked":
            without_vrm(turned(tmp_path, 5, 0.01), {}).save()
            body = read_vrm(tmp_path / "body.glb")
        else:
            as_vrm0(turned(tmp_path, 6, front=-1.0)).save()
            body, facing = read_vrm(tmp_path / "zero.vrm"), -1.0
        bake(on_body(motion, body), body, path)
    frames, bones = [0, 13, 44, 89], ["leftHand", "rightHand", "head", "leftIndexDistal", "rightFoot"]
    script = Path(__file__).parent / "blender_wrists.py"
    done = subprocess.run(
        [blender, "-b", "--factory-startup", "--python-exit-code", "3", "--python", str(script), "--",
         str(path), str(tmp_path / "out.json"), json.dumps(frames), json.dumps(bones)],
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    if "No module named 'numpy'" in done.stderr + done.stdout:
        pytest.skip("blender has no numpy: install python3-numpy, its glTF reader needs it")
    assert done.returncode == 0, done.stdout[-800:] + done.stderr[-800:]
    seen = np.array(json.loads((tmp_path / "out.json").read_text())) * [facing, 1, facing]
    truth = positions(motion)[frames][:, motion.skeleton.indices(bones)]
    assert np.linalg.norm(seen - truth, axis=-1).max() < 0.002


def test_an_independent_reader_sees_the_same_body(motion, tmp_path):
    bvh = pytest.importorskip("bvh", reason="the independent reader `bvh` is not installed")
    write_bvh(motion, tmp_path / "motion.bvh")
    read = bvh.Bvh((tmp_path / "motion.bvh").read_text())
    assert read.nframes == len(motion)
    assert read.frame_time == pytest.approx(1 / 30, abs=1e-5)
    from scipy.spatial.transform import Rotation

    truth = positions(motion)
    for frame in (0, 44, 89):
        places: dict[str, np.ndarray] = {}
        turns: dict[str, Rotation] = {}
        for name in read.get_joints_names():
            offset = np.array(read.joint_offset(name)) / 100
            channels = read.joint_channels(name)
            values = dict(zip(channels, [read.frame_joint_channel(frame, name, c) for c in channels], strict=True))
            order = "".join(c[0] for c in channels if c.endswith("rotation"))
            local = Rotation.from_euler(order, [values[f"{axis}rotation"] for axis in order], degrees=True)
            parent = read.joint_parent(name)
            if parent is None:
                shift = np.array([values.get(f"{axis}position", 0.0) for axis in "XYZ"]) / 100
                places[name] = shift if np.any(shift) else offset
                turns[name] = local
            else:
                places[name] = places[parent.name] + turns[parent.name].apply(offset)
                turns[name] = turns[parent.name] * local
        for name in ("leftHand", "rightHand", "head", "leftFoot"):
            assert np.linalg.norm(places[name] - truth[frame, motion.skeleton.index(name)]) < 0.001, name
