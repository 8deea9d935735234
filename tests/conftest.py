"""Guards for the whole suite: no network but this machine, no telemetry."""

import os
import socket
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
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the shipped weights; where none are shipped yet, untrained ones that fit each other."""
    from visavis.agent import loading

    shipped = loading.models_folder()
    if (shipped / "fingerprint.json").exists():
        yield shipped
        return
    import torch

    from visavis.agent.llama import LlamaConfig
    from visavis.finetune.language_model import new_model
    from visavis.motion.idle import idle
    from visavis.refiner.model import Refiner
    from visavis.tokenizers.codec import MotionCodec, part_features
    from visavis.tokenizers.fingerprint import record
    from visavis.tokenizers.vocabulary import JointVocabulary

    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    codec, calm = MotionCodec(), idle(30, seed=0)
    for name in ("core", "left"):  # about the idle body, so that what is decoded is a body
        features = torch.from_numpy(part_features(calm.rotations, name, calm.skeleton))
        codec.network(name).mean.copy_(features.mean(0))
        codec.network(name).scale.fill_(0.1)
    codec.save(folder / "codec")
    Refiner().save(folder / "refiner")
    vocabulary = JointVocabulary.default()
    model = new_model(vocabulary, LlamaConfig(vocabulary.size, layers=2, width=64, heads=2, hidden=128), minilm=False)
    model.save(folder / "planner", *(vocabulary.control(name) for name in ("bos", "end", "pad")))
    vocabulary.save(folder / "planner")
    record(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "models_folder", lambda: folder)
        yield folder


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
