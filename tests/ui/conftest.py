"""What the tests of the page share."""

import shutil

import pytest
from replay import ReplayAgent, ReplaySession


@pytest.fixture
def replay() -> type[ReplaySession]:
    return ReplaySession


@pytest.fixture
def replay_agent() -> type[ReplayAgent]:
    return ReplayAgent


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium, or the test is skipped."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs Chromium: no chromium, chromium-browser or google-chrome on the PATH")
    pytest.importorskip("playwright", reason="needs playwright: pip install playwright")
    return path
