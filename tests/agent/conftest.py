"""A Postgres of the tests' own: Debian's server, in a temporary folder, on a local socket; and sessions to watch."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from watching import LONG

from visavis.agent import Agent
from visavis.agent.session import Session
from visavis.testing import ScriptedPlanner, scripted


def _server() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """`VISAVIS_TEST_POSTGRES`, or a server that is started here; without either the test is skipped."""
    if named := os.environ.get("VISAVIS_TEST_POSTGRES"):
        yield named
        return
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'psycopg[binary]'")
    programs = _server()
    if programs is None:
        pytest.skip("needs a Postgres server: apt-get install postgresql, or set VISAVIS_TEST_POSTGRES to a URL")
    folder = Path(tempfile.mkdtemp(prefix="visavis-pg-"))
    user: list[str] = []
    if os.geteuid() == 0:  # Postgres refuses to run as root
        shutil.chown(folder, "postgres")
        user = ["runuser", "-u", "postgres", "--"]

    def run(*command: str) -> None:
        subprocess.run([*user, *command], check=True, capture_output=True, timeout=60, cwd="/")

    data = str(folder / "data")
    try:
        run(str(programs / "initdb"), "-D", data, "-U", "visavis", "-A", "trust", "--no-sync")
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        run(str(programs / "pg_ctl"), "-D", data, "-w", "-o", options, "-l", str(folder / "log"), "start")
        try:
            yield f"postgresql://visavis@/postgres?host={folder}"
        finally:
            run(str(programs / "pg_ctl"), "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgres"])
def store_address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where to keep things: every test of persistence runs on both."""
    if request.param == "sqlite":
        return str(tmp_path / "deep" / "conversations.sqlite")
    url: str = request.getfixturevalue("postgres_url")
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        for table in ("version", "turns", "memories"):
            connection.execute(f"DROP TABLE IF EXISTS visavis_{table}")  # type: ignore[arg-type,call-overload]
    return url


@pytest.fixture(scope="module")
def talker() -> Iterator[Agent]:
    with scripted(LONG, seed=7) as agent:
        yield agent


@pytest.fixture
def say(talker: Agent) -> Iterator[Callable[..., Session]]:
    """Opens a session whose next replies are given; it is closed in the end."""
    opened: list[Session] = []

    def make(*replies: str, **tools: object) -> Session:
        before = talker.tools
        talker.tools = replace(before, **{"planner": ScriptedPlanner(replies or (LONG,)), **tools})
        opened.append(talker.session())
        talker.tools = before
        return opened[-1]

    yield make
    for session in opened:
        session.close()
