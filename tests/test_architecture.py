"""The arrows between the rooms run one way, and the light parts stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import visavis

ROOT = Path(visavis.__file__).parent
ALLOWED = {
    "motion": set(),
    "speech": {"motion"},
    "metrics": {"motion", "speech"},
    "tokenizers": {"motion"},
    "retrieval": {"motion", "tokenizers"},
    "refiner": {"motion", "speech", "tokenizers"},
    "agent": {"motion", "speech", "tokenizers", "retrieval", "refiner"},
    "finetune": {"motion", "speech", "metrics", "tokenizers", "retrieval", "refiner", "agent"},
    "viewer": set(),
    "evals": {"motion", "speech", "metrics", "tokenizers", "retrieval", "refiner", "agent", "finetune"},
    "ui": {"motion", "speech", "metrics", "tokenizers", "retrieval", "refiner", "agent", "viewer", "evals"},
    "models": set(),
}


def imported_rooms(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: import by full name, not relatively"
            names = [node.module]
        found |= {name.split(".")[1] for name in names if name.startswith("visavis.") and name.count(".")}
    return found


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_arrows_run_one_way(room):
    for path in (ROOT / room).rglob("*.py"):
        wrong = (imported_rooms(path) & set(ALLOWED)) - ALLOWED[room] - {room}
        assert not wrong, f"{path.relative_to(ROOT)} must not import {', '.join(sorted(wrong))}"


def test_every_room_is_known():
    rooms = {path.name for path in ROOT.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert rooms == set(ALLOWED)


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from visavis.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'gradio', 'numpy', 'langgraph', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_public_names():
    assert visavis.__all__ == ["Agent", "Emotion", "GestureRequest", "Motion", "Turn"]
    for name in visavis.__all__:
        assert getattr(visavis, name).__name__ == name
    with pytest.raises(AttributeError):
        visavis.Nonsense  # noqa: B018
