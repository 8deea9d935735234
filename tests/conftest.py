"""Guards for the whole suite: no network but this machine, no telemetry."""

import os
import socket

import pytest

for _name, _value in {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}.items():
    os.environ.setdefault(_name, _value)

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
