"""Nothing leaves the machine: commands and page run where every outward connection is noted and refused."""

import os
import subprocess
import sys
from pathlib import Path

GUARD = '''
"""Notes every attempt to leave the machine, in this process and its children."""
import os, socket

def note(what, host):
    if isinstance(host, bytes):
        host = host.decode()
    if host not in (None, "", "127.0.0.1", "localhost", "::1", "0.0.0.0", "::"):
        with open(os.environ["OUTWARD_LOG"], "a") as file:
            file.write(f"{what} {host}\\n")
        raise OSError(f"{what} {host} is refused")

def wrap(owner, name, place):
    inner = getattr(owner, name)
    def guarded(*args, **kwargs):
        target = args[place] if len(args) > place else None
        if isinstance(target, tuple) and target:
            note(name, target[0])
        elif name == "getaddrinfo":
            note(name, target)
        return inner(*args, **kwargs)
    setattr(owner, name, guarded)

wrap(socket.socket, "connect", 1)
wrap(socket.socket, "connect_ex", 1)
wrap(socket.socket, "sendto", -1)
wrap(socket, "getaddrinfo", 0)
'''

WORK = """
import sys
from pathlib import Path
from visavis.agent import loading
loading.models_folder = lambda: Path(sys.argv[1])
from visavis.cli import main
assert main(["say", "Hello there!", "--out", sys.argv[2]]) == 0
assert main(["library", "search", "hello"]) == 0
assert main(["doctor"]) == 0
from fastapi.testclient import TestClient
from visavis.agent import Agent
from visavis.ui.page import build_page
with Agent(voice="silent") as agent:
    app = build_page(agent)
    client = TestClient(app)
    assert "visavis" in client.get("/").text.lower()
    assert client.get("/config").status_code == 200
print("done")
"""

OUTWARD = """
import socket, urllib.request
for attempt in (
    lambda: urllib.request.urlopen("http://203.0.113.1/", timeout=1),
    lambda: socket.create_connection(("example.org", 80), timeout=1),
):
    try:
        attempt()
    except OSError:
        pass
"""


def guarded(code: str, folder: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run Python code under the guard; what came of it, and what tried to leave the machine."""
    (folder / "sitecustomize.py").write_text(GUARD)
    log = folder / "outward.log"
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("GRADIO", "HF_", "LANG", "DO_NOT", "VLLM"))}
    paths = [str(folder), str(Path(__file__).parent.parent)]
    env = {**clean, "PYTHONPATH": os.pathsep.join(paths), "OUTWARD_LOG": str(log)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=env, cwd=folder, timeout=110
    )
    return done, log.read_text().splitlines() if log.exists() else []


def test_saying_searching_and_the_page_stay_on_the_machine(models, tmp_path):
    done, outward = guarded(WORK, tmp_path, str(models), str(tmp_path / "out"))
    assert done.returncode == 0 and done.stdout.endswith("done\n"), done.stderr[-2000:]
    assert outward == []
    assert (tmp_path / "out" / "turn.json").exists()


def test_the_guard_would_notice(tmp_path):
    _, outward = guarded(OUTWARD, tmp_path)
    assert any("203.0.113.1" in line for line in outward) and any("example.org" in line for line in outward)
