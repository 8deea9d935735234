import re
import shutil

import pytest

from visavis.errors import ServiceError
from visavis.viewer import bundle_path, check


def test_the_bundle_stands_alone():
    text = bundle_path().read_text("utf-8")
    assert len(text) < 1_200_000
    assert not re.search(r"""\bimport\s*(\(|["'{*])""", text), "the bundle must not load anything"
    assert re.search(r"export\s*\{[^}]*as mount\s*\}", text)
    # Names of standards may appear as text; nothing may be fetched from them.
    assert not re.search(r"""(fetch|open|importScripts)\(\s*["'`]https?://""", text)


def test_without_node_the_check_is_skipped_loudly(monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert check.main([]) == 0
    assert "NOT checked" in capsys.readouterr().err


def test_a_stale_bundle_is_told(monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(check, "build", lambda: b"newer")
    assert check.main([]) == 1
    assert "check --write" in capsys.readouterr().err


def test_a_failing_build_is_told(monkeypatch, capsys):
    def fail():
        raise ServiceError("building the viewer failed at `npm ci`")

    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(check, "build", fail)
    assert check.main([]) == 1
    assert "npm ci" in capsys.readouterr().err


@pytest.mark.slow
def test_the_bundle_is_what_the_source_gives():
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("needs Node.js and npm")
    assert check.main([]) == 0
