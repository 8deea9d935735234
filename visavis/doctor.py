"""What is installed, which device and engine would be used and why, what is missing and the command that brings it."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path

__all__ = ["examine"]

_EXTRAS = {
    "speech": (
        ["espeakng_loader", "pocketsphinx"],
        "the voice espeak-ng, which is GPL-3.0 and runs in a process of its own; without it use --voice silent",
    ),
    "ui": (["gradio"], "the web page"),
    "serve": (["fastapi", "uvicorn"], "the socket server"),
    "train": (["peft", "skimage", "fast_simplification"], "training and the avatar's builder"),
    "eval": (["matplotlib"], "reports"),
}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def examine(planner: str = "native", engine: str = "embedded", base_url: str | None = None) -> list[dict[str, str]]:
    """Rows of status (ok, missing), what, and detail; nothing is loaded but torch. A named server is asked once."""
    rows = [{"status": "ok", "what": "python", "detail": platform.python_version()}]
    for name in ("torch", "transformers", "langgraph", "numpy"):
        found = _version(name)
        rows.append({"status": "missing" if found == "not installed" else "ok", "what": name, "detail": found})
    for extra, (modules, what) in _EXTRAS.items():
        absent = [m for m in modules if importlib.util.find_spec(m) is None]
        detail = what if not absent else f"{what}: pip install 'visavis[{extra}]'"
        rows.append({"status": "missing" if absent else "ok", "what": f"extra {extra}", "detail": detail})
    rows.append({"status": "ok", "what": "device", "detail": _device()})
    rows += _serving(planner, engine, base_url)
    models = Path(str(files("visavis.models")))
    for name in ("planner", "codec", "refiner"):
        weights = sorted((models / name).glob("*.safetensors"))
        size = sum(path.stat().st_size for path in weights) / 1e6
        detail = f"{size:.1f} MB, shipped" if weights else f"no weights: visavis train {name}"
        rows.append({"status": "ok" if weights else "missing", "what": f"model {name}", "detail": detail})
    rows.append(_larger_reader(models / "base_reader"))
    fingerprint = models / "fingerprint.json"
    if fingerprint.exists():
        rows.append(
            {"status": "ok", "what": "fingerprint", "detail": json.loads(fingerprint.read_text())["fingerprint"]}
        )
    return rows


def _larger_reader(folder: Path) -> dict[str, str]:
    """Whether facts that the finder is not sure of are read a second time, and lines after the one before."""
    from visavis.agent.matrices import has_bf16_units, has_byte_units
    from visavis.agent.smollm import INSTALL, find_smollm

    base, weights = find_smollm(), folder / "base_reader.safetensors"
    if base is None:
        without = "fewer facts are found, fewer questions declined, and lines heard alone"
        detail = f"optional; without it {without}: {INSTALL} (98 MB)"
    elif not weights.is_file():
        detail = "no weights: python -m visavis.finetune.replies.train_base_reader"
    else:
        run = "in bytes" if has_byte_units() else "in bf16" if has_bf16_units() else "in float32, which is slow"
        detail = f"{base.name} with {weights.stat().st_size / 1e6:.1f} MB of changes, shipped; read {run}"
    return {"status": "ok" if base and weights.is_file() else "missing", "what": "larger reader", "detail": detail}


def _serving(planner: str, engine: str, base_url: str | None) -> list[dict[str, str]]:
    """What would think, and whether its server answers."""
    from visavis.agent.brain import Brain
    from visavis.agent.served import KEY_NAMES, Connection
    from visavis.agent.vllm_server import find_python

    Brain(planner, engine, base_url)  # refuses what does not go together
    why = "the default" if (planner, engine) == ("native", "embedded") else "as asked"
    rows = [{"status": "ok", "what": "thinking", "detail": f"planner {planner}, engine {engine}: {why}"}]
    python = find_python()
    detail = (
        f"vLLM runs in {python}" if python else "no vLLM: `make setup-vllm`, or pip install 'visavis[vllm]' on a GPU"
    )
    rows.append({"status": "ok" if python else "missing", "what": "serve-model", "detail": detail})
    if base_url is not None:
        connection = Connection(base_url, timeout_s=3.0)
        there = connection.reachable()
        connection.close()
        key = next((name for name in KEY_NAMES if os.environ.get(name)), None)
        said = f"{connection.base_url} {'answers' if there else 'does not answer: visavis serve-model DIR'}"
        said += f"; key from ${key}" if key else "; no key"
        rows.append({"status": "ok" if there else "missing", "what": "server", "detail": said})
    return rows


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return f"cuda: {torch.cuda.get_device_name(0)}; the default engine stays on the CPU, vLLM would use it"
    return f"cpu: no CUDA device; engine embedded on {torch.get_num_threads()} threads"
