"""Guards for the whole suite: no network but this machine, no telemetry."""

import atexit
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

for _name, _value in {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    # Small products: a second thread costs more than it brings, above all where other work shares the cores.
    "OMP_NUM_THREADS": "1",
}.items():
    os.environ.setdefault(_name, _value)
# Never the conversations of whoever runs the tests.
_HOME = tempfile.mkdtemp(prefix="visavis-tests-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
os.environ["VISAVIS_HOME"] = _HOME
os.environ["VISAVIS_LIBRARY"] = "/nonexistent/visavis-library"  # never the clips of whoever runs the tests

# In real time, with clients, servers and browsers: beside tests that compute they would measure these.
_ALONE = (
    "agent/test_session_", "agent/test_settings", "agent/test_visit", "agent/test_vllm_server", "agent/test_waiting",
    "evals/test_runtime", "ui/", "test_bench",
)  # fmt: skip


def _place(path: Path) -> str:
    return path.relative_to(Path(__file__).parent).as_posix()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Spare the import of what none of the tests asked for is in: `-m "… and alone"` or `-m "… and not alone"`."""
    asked = re.search(r"\b(not )?alone\b", config.option.markexpr)
    if asked is None:
        return None
    place = _place(collection_path) + "/" * collection_path.is_dir()
    alone = place.startswith(_ALONE)
    spared = alone if asked[1] else not alone and not any(one.startswith(place) for one in _ALONE)
    return spared or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of real time."""
    for item in items:
        if _place(item.path).startswith(_ALONE):
            item.add_marker("alone")


_LOCAL = {"127.0.0.1", "localhost", "::1", "0.0.0.0", ""}
_connect = socket.socket.connect


def _guarded(self: socket.socket, address: object) -> None:
    host = address[0] if isinstance(address, tuple) else ""
    if isinstance(host, bytes):
        host = host.decode()
    if self.family != socket.AF_UNIX and host not in _LOCAL:
        raise RuntimeError(f"a test tried to reach {host!r}: nothing in visavis may leave this machine by default")
    _connect(self, address)


@pytest.fixture(autouse=True, scope="session")
def _no_network():
    socket.socket.connect = _guarded
    yield
    socket.socket.connect = _connect


@pytest.fixture(scope="session")
def models() -> Path:
    """The folder of the shipped weights: without them the package cannot do what it is for, so their absence fails."""
    from visavis.agent import loading

    shipped = loading.models_folder()
    assert (shipped / "fingerprint.json").exists(), f"no shipped weights in {shipped}"
    return shipped


@pytest.fixture(scope="session")
def agent(models: Path) -> Iterator[Any]:
    """An agent with the silent voice, shared by all tests: open a session of your own."""
    from visavis.agent import Agent

    with Agent(voice="silent", seed=7) as agent:
        yield agent


@pytest.fixture(scope="session")
def turn(agent: Any) -> Any:
    """One turn of two clauses."""
    return agent.say("Hello, my friend! I caught a fish yesterday, and it was huge!")
