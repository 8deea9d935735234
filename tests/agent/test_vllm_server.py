"""How vLLM is started; a real one is in test_vllm_real.py."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from visavis import cli
from visavis.agent import vllm_server
from visavis.agent.vllm_server import ModelServer, find_python, serve_model, server_command
from visavis.errors import FileFormatError, ServiceError, UsageError

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")


@pytest.fixture
def stub(tmp_path, monkeypatch):
    """An interpreter without vLLM stands where one with it should."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexport VISAVIS_TEST=1\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("VISAVIS_VLLM_PYTHON", str(python))
    return python


def test_the_flags(models):
    command = server_command(Path("python"), models / "planner", "127.0.0.1", 8001, gpu=False, more=["--seed", "1"])
    said = " ".join(command)
    for part in (
        "--host 127.0.0.1", "--port 8001", "--served-model-name planner", "--max-model-len 640", "--dtype float32",
        "--structured-outputs-config.backend guidance", "--generation-config vllm", "--seed 1",
    ):  # fmt: skip
        assert part in said
    assert "--dtype" not in server_command(Path("python"), models / "planner", "127.0.0.1", 8001, gpu=True)
    with pytest.raises(FileFormatError, match="layout of transformers"):
        server_command(Path("python"), Path("/nowhere"), "127.0.0.1", 8001, gpu=True)


def test_the_key_is_not_on_the_command_line_and_nothing_is_reported(monkeypatch, models):
    monkeypatch.setenv("VISAVIS_API_KEY", "sk-secret")
    environment = vllm_server._environment(gpu=False)
    assert environment["VLLM_API_KEY"] == "sk-secret" and environment["VLLM_NO_USAGE_STATS"] == "1"
    assert environment["DO_NOT_TRACK"] == environment["HF_HUB_OFFLINE"] == "1"
    assert "sk-secret" not in " ".join(server_command(Path("p"), models / "planner", "h", 1, gpu=False))


def test_a_server_that_ends_says_why(stub, models, tmp_path, monkeypatch):
    assert find_python() == stub
    monkeypatch.setattr(vllm_server, "_has_gpu", lambda python: False)  # spares the seconds of importing torch
    server = ModelServer.start(models / "planner", port=9, log=tmp_path / "log")
    with pytest.raises(ServiceError, match=r"vLLM ended with status 1: .*No module named 'vllm"):
        server.wait()
    server.stop()


def test_whoever_stops_the_command_stops_the_server(tmp_path, models):
    """The stand-in for vLLM writes its process id and waits."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\n[ "$1" = -c ] && echo False && exit\necho $$ > {tmp_path}/pid\nexec sleep 60\n')
    python.chmod(0o755)
    environment = {**os.environ, "VISAVIS_VLLM_PYTHON": str(python)}
    arguments = [sys.executable, "-m", "visavis", "serve-model", str(models / "planner"), "--port", "9"]
    with subprocess.Popen(arguments, env=environment) as command:
        until = time.monotonic() + 60
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
            assert time.monotonic() < until and command.poll() is None
            time.sleep(0.05)
        command.terminate()
        command.wait(60)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize(("number", "leaves"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
@pytest.mark.parametrize("when", ["while it starts", "while it is waited for"])
def test_no_signal_leaves_a_server_behind(monkeypatch, tmp_path, number, leaves, when):
    before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
    done = []

    class Started:
        def wait(self):
            done.append("waited")
            os.kill(os.getpid(), number)
            time.sleep(30)

        def stop(self):
            done.append("stopped")

    def start(folder, **options):
        if when == "while it starts":
            os.kill(os.getpid(), number)
        return Started()

    monkeypatch.setattr(ModelServer, "start", start)
    with pytest.raises(leaves):
        serve_model(tmp_path, host="127.0.0.1", port=9)
    assert done == (["stopped"] if when == "while it starts" else ["waited", "stopped"])
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)] == before


def test_without_vllm_one_line_says_what_to_do(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("VISAVIS_VLLM_PYTHON", raising=False)
    monkeypatch.chdir(tmp_path)
    if find_python() is not None:
        pytest.skip("vLLM is installed beside visavis")
    with pytest.raises(UsageError, match="make setup-vllm"):
        ModelServer.start(tmp_path)
    assert cli.main(["serve-model", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_commands_of_the_page_are_commands():
    shown = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.strip().splitlines()]
    shown += re.findall(r"`(visavis [^`]+ -- [^`]+)`", PAGE)
    assert len(shown) >= 5
    for line in shown:
        program, *arguments = shlex.split(line)
        assert program == "visavis"
        cli._parser().parse_args(cli._passed_on(arguments))


def test_what_stands_after_the_dashes_is_passed_on():
    said = ["serve-model", "DIR", "--port", "9", "--", "--hf-overrides", '{"a": 1}', "--port", "7"]
    args = cli._parser().parse_args(cli._passed_on(said))
    assert args.port == 9 and shlex.split(args.flags) == ["--hf-overrides", '{"a": 1}', "--port", "7"]
    assert cli._passed_on(["say", "--", "--hello"]) == ["say", "--", "--hello"]
