"""Starting vLLM with the flags that the engine needs: `visavis serve-model DIR`.

vLLM lives in an environment of its own (`make setup-vllm`), because it pins torch. Found in this order:
`$VISAVIS_VLLM_PYTHON`, this interpreter, `.venv-vllm` in the working directory. The server listens on this machine
alone unless told otherwise, asks for a key where `$VISAVIS_API_KEY` is set, and reports to nobody.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from visavis.agent.served import Connection
from visavis.errors import FileFormatError, ServiceError, UsageError

__all__ = ["ModelServer", "context_of", "find_python", "running", "serve_model", "server_command"]

READY_WITHIN_S: Final = 900.0  # on busy cores it compiles for minutes
KEY_NAME: Final = "VISAVIS_API_KEY"
_PRIVATE: Final = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def find_python() -> Path | None:
    """The interpreter that can import vLLM, or None."""
    named = os.environ.get("VISAVIS_VLLM_PYTHON")
    if named:
        return Path(named)
    if importlib.util.find_spec("vllm") is not None:
        return Path(sys.executable)
    beside = Path(".venv-vllm/bin/python").absolute()
    return beside if beside.exists() else None


def server_command(
    python: Path, folder: Path, host: str, port: int, *, gpu: bool, model: str | None = None, more: Sequence[str] = ()
) -> list[str]:
    """What starts the server; `more` flags are passed on, and win.

    The backend `guidance` reads grammars of ids; `--generation-config vllm` keeps a model's own sampling defaults out;
    on a CPU small models run in float32, as here, which costs little and keeps their choices equal.
    """
    command = [
        str(python), "-m", "vllm.entrypoints.openai.api_server",
        "--host", host, "--port", str(port),
        "--model", str(folder), "--served-model-name", model or folder.resolve().name,
        "--max-model-len", str(context_of(folder)),
        "--structured-outputs-config.backend", "guidance",
        "--generation-config", "vllm",
        "--disable-uvicorn-access-log",
    ]  # fmt: skip
    # The CPU's default blocks of 128 ids would hold hardly any of our prompts' common beginnings. A prompt with a seed
    # that is read in two parts ends the whole engine there: it turns dice back, which the CPU's cannot ("does not use
    # offset", vLLM 0.32). So prompts are read whole.
    here = [] if gpu else ["--dtype", "float32", "--block-size", "32", "--no-enable-chunked-prefill"]
    return [*command, *here, *more]


def context_of(folder: Path) -> int:
    """What the model of a folder reads at most."""
    try:
        return int(json.loads((folder / "config.json").read_text(encoding="utf-8"))["max_position_embeddings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileFormatError(f"expected a model in the layout of transformers in {folder}, got {error!r}") from error


def _environment(gpu: bool) -> dict[str, str]:
    """Of the server's process: the key goes this way because a command line can be read by everybody."""
    environment = {**os.environ, **_PRIVATE}
    environment.pop("PYTHONPATH", None)  # of this environment, not of its
    if key := os.environ.get(KEY_NAME):
        environment["VLLM_API_KEY"] = key
    if not gpu:
        environment.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB; a small model's cache needs no more
    return environment


def _has_gpu(python: Path) -> bool:
    probe = subprocess.run(
        [str(python), "-c", "import torch; print(torch.cuda.is_available())"], capture_output=True, text=True
    )
    if probe.returncode:
        raise UsageError(f"expected {python} to import torch; it says: {probe.stderr.strip()[-200:]}")
    return probe.stdout.strip() == "True"


@dataclass
class ModelServer:
    """A vLLM server in a process of its own."""

    process: subprocess.Popen[bytes]
    base_url: str
    log: Path

    @classmethod
    def start(
        cls, folder: str | Path, *, host: str = "127.0.0.1", port: int = 8000, model: str | None = None,
        more: Sequence[str] = (), log: Path | None = None,
    ) -> ModelServer:  # fmt: skip
        """Start a server on a folder; it is not ready yet.

        Args:
            folder: with a causal model in the layout of transformers, our vocabulary merged in (`visavis export vllm`).
            host: 127.0.0.1 is this machine only.
            port: where it listens.
            model: its name for clients; by default the folder's.
            more: flags of vLLM that are passed on, such as `--tensor-parallel-size 2`.
            log: what the server writes; None shares our output.

        Raises:
            UsageError: vLLM is not installed, or there is no model.
        """
        python = find_python()
        if python is None:
            raise UsageError(
                "vLLM is not installed: `make setup-vllm` makes .venv-vllm with its CPU build, on a GPU "
                "pip install 'visavis[vllm]'; or name its interpreter in $VISAVIS_VLLM_PYTHON"
            )
        gpu = _has_gpu(python)
        command = server_command(python, Path(folder), host, port, gpu=gpu, model=model, more=more)
        with nullcontext() if log is None else log.open("wb") as output:
            process = subprocess.Popen(
                command, env=_environment(gpu), stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        shown = "127.0.0.1" if host in ("0.0.0.0", "") else f"[{host}]" if ":" in host else host
        return cls(process, f"http://{shown}:{port}/v1", log or Path(os.devnull))

    def wait(self, within_s: float = READY_WITHIN_S, tell: Callable[[float], None] = lambda waited_s: None) -> None:
        """Return when it answers. Raises ServiceError where it ends before, or takes too long."""
        began = time.monotonic()
        connection = Connection(self.base_url)
        try:
            while not connection.well():
                waited_s = time.monotonic() - began
                if self.process.poll() is not None:
                    raise ServiceError(f"vLLM ended with status {self.process.returncode}: {self._last_words()}")
                if waited_s > within_s:
                    raise ServiceError(f"vLLM was not ready within {within_s:.0f} s: {self._last_words()}")
                tell(waited_s)
                time.sleep(0.5)
        finally:
            connection.close()

    def kill(self) -> None:
        """End it and its workers at once, as a crash would."""
        self._signal(signal.SIGKILL)

    def stop(self, within_s: float = 20.0) -> None:
        """Ask it to end; make it, if it does not."""
        self._signal(signal.SIGTERM)
        try:
            self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            pass
        self._signal(signal.SIGKILL)  # workers that outlived it

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.process.pid, number)  # it leads a process group of its own
        except ProcessLookupError:
            pass
        if number == signal.SIGKILL:
            self.process.wait()

    def _last_words(self) -> str:
        if self.log == Path(os.devnull):
            return "its output says why"
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        wrong = [line for line in lines if "Error" in line]
        return f"{(wrong or lines or ['nothing'])[-1].strip()[:300]} (all of it: {self.log})"


@contextmanager
def running(folder: str | Path, port: int, **options: Any) -> Iterator[ModelServer]:
    """A server that is ready, for as long as the block runs. Options as of `ModelServer.start`."""
    with tempfile.TemporaryDirectory() as place:
        server = ModelServer.start(folder, port=port, log=Path(place) / "vllm.log", **options)
        try:
            server.wait()
            yield server
        finally:
            server.stop()


def serve_model(
    folder: str | Path, *, host: str, port: int, model: str | None = None, more: Sequence[str] = (), quiet: bool = False
) -> int:
    """Serve until interrupted; what the command `serve-model` does.

    Raises:
        ServiceError: the server ended by itself.
    """
    with _asked_to_stop() as stop:
        server = ModelServer.start(folder, host=host, port=port, model=model, more=more)
        try:
            stop()
            server.wait()
            if not quiet:
                print(f"ready: visavis chat --engine vllm --base-url {server.base_url} --model {folder}", flush=True)
            status = server.process.wait()
            raise ServiceError(f"vLLM ended with status {status}: its output says why")
        finally:
            server.stop()


@contextmanager
def _asked_to_stop() -> Iterator[Callable[[], None]]:
    """Whoever stops this process stops the server, too: it has a session of its own and would live on.

    A signal leaves the block by `SystemExit` or `KeyboardInterrupt` from the call of what is given on; one that came
    before waits for that call, because a server that is just being started has nobody yet to stop it.
    """
    early: list[int] = []

    def leave(number: int, frame: object = None) -> None:
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)

    def obey() -> None:
        for number in before:
            signal.signal(number, leave)
        if early:
            leave(early[0])

    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        for number in before:
            signal.signal(number, lambda number, frame: early.append(number))
        yield obey
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
