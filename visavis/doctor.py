"""What is installed, which device and engine would be used and why, what is missing and the command that brings it."""

from __future__ import annotations

import importlib.util
import json
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
    "vllm": (["vllm"], "serving on a GPU"),
}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def examine() -> list[dict[str, str]]:
    """Rows of status (ok, missing), what, and detail; nothing is loaded but torch."""
    rows = [{"status": "ok", "what": "python", "detail": platform.python_version()}]
    for name in ("torch", "transformers", "langgraph", "numpy"):
        found = _version(name)
        rows.append({"status": "missing" if found == "not installed" else "ok", "what": name, "detail": found})
    for extra, (modules, what) in _EXTRAS.items():
        absent = [m for m in modules if importlib.util.find_spec(m) is None]
        detail = what if not absent else f"{what}: pip install 'visavis[{extra}]'"
        rows.append({"status": "missing" if absent else "ok", "what": f"extra {extra}", "detail": detail})
    rows.append({"status": "ok", "what": "device", "detail": _device()})
    models = Path(str(files("visavis.models")))
    for name in ("planner", "codec", "refiner"):
        weights = sorted((models / name).glob("*.safetensors"))
        size = sum(path.stat().st_size for path in weights) / 1e6
        detail = f"{size:.1f} MB, shipped" if weights else f"no weights: visavis train {name}"
        rows.append({"status": "ok" if weights else "missing", "what": f"model {name}", "detail": detail})
    fingerprint = models / "fingerprint.json"
    if fingerprint.exists():
        rows.append(
            {"status": "ok", "what": "fingerprint", "detail": json.loads(fingerprint.read_text())["fingerprint"]}
        )
    return rows


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return f"cuda: {torch.cuda.get_device_name(0)}; the default engine stays on the CPU, vLLM would use it"
    return f"cpu: no CUDA device; engine embedded on {torch.get_num_threads()} threads"
