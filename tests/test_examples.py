"""The ladder of `examples/`: every step runs and prints what its reader is promised."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples"
SAYS = {
    "01_say": "",
    "02_answer": r"> Hello!\n.+\n> How big is the blue whale\?\nThe blue whale is about thirty metres long\.",
    "03_your_persona": r"We open at six in the morning",
    "04_your_gestures": r"huge size: wrists (0\.9|1\.0)\d m apart; then point away",
    "05_your_audio": r"\d\.\d s, 4 words",
    "06_stream": r"response\.created[\s\S]*response\.speech\.delta[\s\S]*response\.done",
    "07_live": r"state: speaking\nheard: 'This is [\s\S]*remembered: \[\('agent', 'This is ",
    "08_memory": r"monday: \[\('user', 'My name is Anna[\s\S]*Biscuit[\s\S]*known: \['Your name is Anna\.'\]",
    "09_your_function": r"There are \d places left on today's boat tour\.",
    "10_behaviour": r"It is \d\d:\d\d now\.",
}


def test_every_example_is_here():
    assert sorted(SAYS) == sorted(path.stem for path in FOLDER.glob("*.py"))
    for path in FOLDER.glob("*.py"):
        assert len(path.read_text().splitlines()) <= 40


def test_one_of_them_runs_in_this_process(tmp_path, monkeypatch, capfd):
    """Here without the start of another; 10_behaviour is run by tests/agent/test_behaviours.py."""
    pytest.importorskip("espeakng_loader", reason="the examples' voices need the extra `speech`")
    monkeypatch.setenv("VISAVIS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(FOLDER / "03_your_persona.py"), run_name="__main__")
    out, err = capfd.readouterr()
    assert re.search(SAYS["03_your_persona"], out) and not err.strip(), err


@pytest.mark.slow
@pytest.mark.parametrize("name", SAYS)
def test_it_runs(name, tmp_path):
    pytest.importorskip("espeakng_loader", reason="the examples' voices need the extra `speech`")
    environment = os.environ | {"VISAVIS_HOME": str(tmp_path / "home")}
    command = [sys.executable, str(FOLDER / f"{name}.py")]
    if name == "05_your_audio":
        first = [sys.executable, str(FOLDER / "01_say.py")]
        subprocess.run(first, cwd=tmp_path, env=environment, check=True, timeout=100)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert not done.stderr.strip(), done.stderr
    assert re.search(SAYS[name], done.stdout), done.stdout
    assert name != "01_say" or (tmp_path / "out" / "motion.bvh").exists()
