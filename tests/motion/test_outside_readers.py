"""What others make of our files: the Khronos validator and an independent BVH reader."""

import json
import shutil
import subprocess

import numpy as np
import pytest

from visavis.motion import rotations
from visavis.motion.bvh import write_bvh
from visavis.motion.face import ARKIT_NAMES
from visavis.motion.glb import write_glb
from visavis.motion.idle import idle
from visavis.motion.kinematics import positions

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


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_khronos_validator_finds_no_error(motion, tmp_path):
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm: the Khronos validator cannot be installed")
    done = subprocess.run(
        [npm, "install", "--no-fund", "--no-audit", "--prefix", str(tmp_path), "gltf-validator@2.0.0-dev.3.10"],
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"the Khronos validator cannot be installed: {done.stderr.strip()[-200:]}")
    write_glb(motion, tmp_path / "motion.glb")
    (tmp_path / "validate.js").write_text(SCRIPT)
    said = subprocess.run(
        ["node", str(tmp_path / "validate.js"), str(tmp_path / "motion.glb")],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    issues = json.loads(said.stdout)
    assert issues["numErrors"] == 0, issues["messages"][:3]
    assert issues["numWarnings"] == 0, issues["messages"][:3]


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
