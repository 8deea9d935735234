"""The wheel holds what is needed and nothing else, and runs from another directory."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> str:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=110, env=clean)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy of the tree, in which somebody has installed the viewer's Node packages."""
    pytest.importorskip("build", reason="needs build: pip install build")
    pytest.importorskip("setuptools", reason="needs setuptools: pip install setuptools")
    tree = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    shutil.copytree(ROOT / "visavis", tree / "visavis", ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    package = tree / "visavis" / "viewer" / "node_modules" / "three"
    package.mkdir(parents=True)
    (package / "package.json").write_text("{}")
    (package / "three.js").write_text("export default 1")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tree / "dist", tree, cwd=tree)
    (path,) = (tree / "dist").glob("*.whl")
    return path


def test_the_wheel_holds_every_file_that_is_tracked_and_nothing_else(wheel):
    assert wheel.stat().st_size < 100e6
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert not [name for name in names if "node_modules" in name or name.startswith("tests") or "__pycache__" in name]
    held = {path.relative_to(ROOT).as_posix() for path in (ROOT / "visavis").rglob("*") if path.is_file()}
    viewer = ("visavis/viewer/node_modules/", "visavis/viewer/src/", "visavis/viewer/test/")
    wanted = {
        name for name in held
        if not name.startswith(viewer) and "__pycache__" not in name and not name.endswith("package-lock.json")
    }  # fmt: skip
    assert not wanted - names
    for name in (
        "visavis/py.typed", "visavis/viewer/dist/viewer.js", "visavis/motion/data/avatar.safetensors",
        "visavis/models/planner/text.model", "visavis/ui/assets/page.css",
    ):  # fmt: skip
        assert name in names
    assert any("LICENSE" in name for name in names)


def test_shipped_models_have_their_cards_and_stay_small(wheel):
    with zipfile.ZipFile(wheel) as archive:
        parts = [info for info in archive.infolist() if info.filename.startswith("visavis/models/")]
    names = {info.filename for info in parts}
    for part in ("codec", "refiner", "planner"):
        assert f"visavis/models/{part}/README.md" in names
        assert any(name.startswith(f"visavis/models/{part}/") and name.endswith(".safetensors") for name in names)
    assert "visavis/models/fingerprint.json" in names
    assert sum(info.file_size for info in parts) <= 60e6  # the first ones were to be 20 MB at most


def test_the_installed_wheel_speaks_from_another_directory(wheel, tmp_path):
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", site, wheel, cwd=tmp_path)
    # The other packages come from here; ours does not, because the folder of the wheel stands before it on the path.
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = run(python, "-c", "import visavis; print(visavis.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(site)
    out = tmp_path / "out"
    printed = run(python, "-m", "visavis", "say", "Hello there!", "--voice", "silent", "--out", out, cwd=tmp_path)
    assert printed.splitlines()[0] == "Hello there!"
    assert json.loads((out / "turn.json").read_text())["text"] == "Hello there!"
    assert (site / "bin" / "visavis").exists() or (tmp_path / "env" / "bin" / "visavis").exists()
    page = (
        "from visavis.agent import Agent\nfrom visavis.ui.page import build_page\n"
        "with Agent(voice='silent') as agent:\n    build_page(agent)\n    print('built')\n"
    )
    assert run(python, "-c", page, cwd=tmp_path).endswith("built\n")
