"""What three-vrm and three-vrm-animation make of our avatars and animations, in a real browser."""

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import visavis.viewer
from visavis.motion.avatar import load_avatar
from visavis.motion.expressions import fitted_presets, preset_shapes
from visavis.motion.face import ARKIT_NAMES
from visavis.motion.kinematics import positions
from visavis.motion.skeleton import default_skeleton
from visavis.motion.vrm import bake, read_vrm, write_vrm
from visavis.motion.vrma import write_vrma

MOTION_TESTS = Path(__file__).parents[1] / "motion"
FLAGS = ("--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
FRAMES = (0, 13, 37, 59)
# Shots to look at are written where this variable points.
SHOTS = os.environ.get("VISAVIS_SHOTS")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(480),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # the browser's driver
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """The viewer's Node packages; VISAVIS_NODE_MODULES names a folder that has them already."""
    if ready := os.environ.get("VISAVIS_NODE_MODULES"):
        return Path(ready)
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm: three-vrm cannot be installed")
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(Path(visavis.viewer.__file__).parent / name, folder)
    done = subprocess.run(
        [npm, "ci", "--no-fund", "--no-audit", "--ignore-scripts"],
        cwd=folder, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"three-vrm cannot be installed: {done.stderr.strip()[-200:]}")
    return folder / "node_modules"


@pytest.fixture(scope="module")
def bodies():
    """The helpers of the motion tests: dances, and bodies as others write them."""
    sys.path.insert(0, str(MOTION_TESTS))
    try:
        import foreign_body
        import test_vrm
    finally:
        sys.path.remove(str(MOTION_TESTS))
    return test_vrm.dance, foreign_body


@pytest.fixture(scope="module")
def folder(modules, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    subprocess.run(
        [str(modules / ".bin" / "esbuild"), str(Path(__file__).parent / "play_vrma.js"), "--bundle", "--format=iife",
         f"--outfile={folder / 'page.js'}", "--log-level=error"],
        env={**os.environ, "NODE_PATH": str(modules)}, check=True, timeout=120,
    )  # fmt: skip
    (folder / "index.html").write_text("<!doctype html><body></body><script src=page.js></script>")
    return folder


@pytest.fixture(scope="module")
def page(folder):
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs Chromium: no chromium, chromium-browser or google-chrome on the PATH")
    tool = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *what):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tool.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(FLAGS))
        page = browser.new_page(viewport={"width": 340, "height": 420})
        page.set_default_timeout(240_000)
        page.goto(f"http://127.0.0.1:{server.server_port}/index.html")
        yield page
        browser.close()
    server.shutdown()
    server.server_close()


def play(page, vrm, vrma, bones, expressions=()):
    call = "([vrm, vrma, times, bones, names]) => play(vrm, vrma, times, bones, names)"
    return page.evaluate(call, [vrm, vrma, [f / 30 for f in FRAMES], list(bones), list(expressions)])


def farthest_mm(played, motion):
    truth = positions(motion)
    seen = np.array([frame["bones"] for frame in played["frames"]])
    return 1000 * np.linalg.norm(seen - truth[list(FRAMES)], axis=-1).max()


def test_our_avatar_plays_our_animation(page, folder, bodies):
    dance, _ = bodies
    motion = dance(default_skeleton(), 60)
    write_vrm(load_avatar(), folder / "ours.vrm")
    write_vrma(motion, folder / "ours.vrma")
    played = play(page, "ours.vrm", "ours.vrma", motion.skeleton.names, ARKIT_NAMES)
    assert played["meta"] == "1"
    assert played["duration"] == pytest.approx(59 / 30, abs=1e-3)
    assert farthest_mm(played, motion) < 0.1
    face = np.array([frame["expressions"] for frame in played["frames"]], float)
    assert np.abs(face - motion.face[list(FRAMES)]).max() < 1 / 255
    assert [w for w in played["warnings"] if "LookAtQuaternionProxy" not in w] == []
    page.evaluate("draw('ours.vrm', 'ours.vrma', 0.9)")
    shot = page.screenshot(path=f"{SHOTS}/three_vrm.png" if SHOTS else None)
    assert len(shot) > 5000, "the picture is all but empty"


def test_an_avatar_of_vrm0_plays_our_animation_and_its_own(page, folder, bodies):
    dance, foreign = bodies
    foreign.as_vrm0(foreign.turned(folder, 2, front=-1.0)).save()
    vrm = read_vrm(folder / "zero.vrm")
    motion = dance(vrm.skeleton, 60)
    write_vrma(motion, folder / "zero.vrma")
    played = play(page, "zero.vrm", "zero.vrma", motion.skeleton.names)
    assert played["meta"] == "0"
    assert farthest_mm(played, motion) < 0.1
    bake(motion, vrm, folder / "baked.vrm")
    assert farthest_mm(play(page, "baked.vrm", "", motion.skeleton.names), motion) < 0.1


def pose(page, url, motion):
    skeleton = default_skeleton()
    known = {
        "bones": list(skeleton.names), "morphs": list(ARKIT_NAMES), "hipsHeight": float(skeleton.offsets_m[0, 1]),
        "presets": {name: dict(preset_shapes()[name]) for name in (*fitted_presets(), "blink")},
    }  # fmt: skip
    bodies = [{"rotations": motion.rotations[f].ravel().tolist(), "root": motion.root_m[f].tolist()} for f in FRAMES]
    faces = [motion.face[f].tolist() for f in FRAMES]
    return page.evaluate(
        "([url, known, bodies, faces]) => pose(url, known, bodies, faces)", [url, known, bodies, faces]
    )


@pytest.mark.parametrize("kind", ["ours", "vrm0", "presets", "few_bones"])
def test_the_viewer_poses_any_avatar(page, folder, bodies, kind):
    dance, foreign = bodies
    if kind == "vrm0":
        file = foreign.as_vrm0(foreign.turned(folder, 2, front=-1.0))
    else:
        file = foreign.turned(folder, 3, 0.01)
    vrm = file.json["extensions"].get("VRMC_vrm", {})
    if kind == "presets":
        vrm["expressions"]["custom"] = {}
    dropped = ["upperChest", "neck", "leftShoulder"] if kind == "few_bones" else []
    for bone in dropped:
        del vrm["humanoid"]["humanBones"][bone]
    file.path = folder / f"viewed_{kind}.vrm"
    file.save()
    motion = dance(default_skeleton(), 60)
    seen = pose(page, file.path.name, motion)
    assert seen["missing"] == []
    truth = positions(motion)[list(FRAMES)]
    apart = 1000 * np.linalg.norm(np.array(seen["frames"], float) - truth, axis=-1)
    kept = [i for i, name in enumerate(motion.skeleton.names) if name not in dropped]
    if dropped:  # rotations meet in fewer joints: the hands keep their orientation, not their place
        assert np.median(apart[:, kept]) < 120
    else:
        assert apart.max() < 0.1
    morphs, face = np.array(seen["morphs"]), motion.face[list(FRAMES)]
    if kind == "presets":
        assert seen["faceKind"] == "presets"
        lid = ARKIT_NAMES.index("eyeBlinkLeft")
        assert np.corrcoef(morphs[:, lid], face[:, lid])[0, 1] > 0.95
    else:
        assert seen["faceKind"] == "arkit"
        assert np.abs(morphs - face).max() < 1 / 255
