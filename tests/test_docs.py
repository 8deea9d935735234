"""`docs/bring.md` is true: every example runs, in order, and makes what the page says."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from visavis.cli import main
from visavis.motion.files import find_format, formats, read_motion, write_motion
from visavis.motion.retarget import retarget

PAGE = (Path(__file__).parents[1] / "docs" / "bring.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```(sh|python)\n(.*?)```", PAGE, re.S)
TEXT = "I caught a fish yesterday, and it was huge!"


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """A folder with what the reader is said to have."""
    if importlib.util.find_spec("espeakng_loader") is None:
        pytest.skip("the extra 'speech' is not installed: there is no voice to record")
    from test_convert import foreign_bvh

    from visavis.emotion import Emotion
    from visavis.motion.avatar import load_avatar
    from visavis.motion.face import ARKIT_NAMES
    from visavis.motion.idle import idle
    from visavis.motion.vrm import write_vrm
    from visavis.speech import open_voice, write_wav

    folder = tmp_path_factory.mktemp("desk")
    voice = open_voice("en-us")
    speech = voice.speak(TEXT, Emotion())
    voice.close()
    write_wav(folder / "mine.wav", speech.samples, speech.sample_rate_hz)
    (folder / "mine.txt").write_text(TEXT + "\n")
    write_vrm(load_avatar("juno"), folder / "me.vrm")
    foreign_bvh(folder / "walk.bvh")
    motion = idle(15, 1)
    write_motion(motion, folder / "clip.skm")
    face = np.random.default_rng(0).random((15, len(ARKIT_NAMES))).astype(np.float32)
    write_motion(motion.with_face(face), folder / "face.csv")
    return folder


def served(arguments: list[str]) -> None:
    """Serve the page in a process of its own until it says that it is ready: Gradio leaves event loops open."""
    command = [sys.executable, "-m", "visavis", *arguments, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as page:
        try:
            said = next((line for line in page.stdout if "ready" in line), "")
        finally:
            page.terminate()
    assert "http://127.0.0.1:" in said


@pytest.fixture(scope="module")
def ran(desk, models) -> Path:
    """The folder after every example of the page, in order."""
    import contextlib

    with contextlib.chdir(desk):
        for kind, code in EXAMPLES:
            if kind == "python":
                exec(compile(code, "docs/bring.md", "exec"), {"__name__": "__main__"})
                continue
            for line in code.strip().splitlines():
                command, *arguments = shlex.split(line)
                assert command == "visavis", line
                if arguments[0] == "ui":
                    pytest.importorskip("gradio", reason="the page needs the extra `ui`")
                    served(arguments)
                    continue
                assert main(arguments) == 0, line
    return desk


def test_the_page_has_examples_of_all_three():
    code = "".join(code for _, code in EXAMPLES)
    assert len(EXAMPLES) >= 8
    for part in ("say --audio", "--transcript", "--to-avatar", "ui --avatar", "convert", "write_keypoints", "send_vmc"):
        assert part in code, part


def test_the_examples_make_what_the_page_says(ran):
    assert {path.name for path in (ran / "out").iterdir()} == {
        "avatar.vrm", "motion.vrma", "motion.glb", "motion.bvh", "motion.npz", "face.csv", "speech.wav", "turn.json",
        "events.jsonl", "preview.png",
    }  # fmt: skip
    assert find_format(ran / "out" / "avatar.vrm") == "vrm" and len(read_motion(ran / "out" / "avatar.vrm")) > 30
    for name in ("walk.vrma", "me_walking.vrm", "clip.glb", "me_talking.vrm", "walk_again.bvh", "walk.glb", "juno.vrm"):
        assert find_format(ran / name) == Path(name).suffix[1:], name
    again, first = read_motion(ran / "walk_again.bvh"), read_motion(ran / "walk.bvh")
    assert again.skeleton.names == first.skeleton.names
    ours, theirs = retarget(again), retarget(first)
    assert np.abs(ours.rotations[:, 3] - theirs.rotations[:, 3]).max() < 0.1
    assert len(list((ran / "poses" / "json").iterdir())) == len(list((ran / "poses" / "frames").iterdir())) > 0


def test_my_mesh_is_untouched(ran):
    from visavis.motion.vrm import read_vrm

    mine, moved = read_vrm(ran / "me.vrm"), read_vrm(ran / "out" / "avatar.vrm")
    assert mine.file.json["meshes"] == moved.file.json["meshes"]
    assert moved.file.blob[: len(mine.file.blob)] == mine.file.blob


def test_the_table_of_formats_is_the_codes():
    rows = re.findall(r"^\| `\.(\w+)`.*?\| (yes|no) \| (yes|no) \| (yes|no) \| (yes|no) \|$", PAGE, re.M)
    said = {name: (reads == "yes", writes == "yes", face == "yes") for name, reads, writes, _, face in rows}
    assert said == {each.name: (each.reads, each.writes, each.face) for each in formats()}
