"""A real server with a real agent, in a thread of its own."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from visavis.agent.persona import load_persona, presets
from visavis.retrieval.index import GestureIndex
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.library import Library
from visavis.ui.api.access import Access
from visavis.ui.api.app import build_api
from visavis.ui.api.limits import Limits
from visavis.ui.api.pool import AgentPool
from visavis.ui.api.rest import Facts
from visavis.ui.server import listen, uvicorn_server

TOKEN = "a-token-that-only-tests-know"


@dataclass
class Served:
    """Where a server is, and its application."""

    url: str
    app: Any
    stop: Callable[[], None]


class Lent:
    """The suite's agent, which a pool does not close."""

    def __init__(self, agent: Any) -> None:
        self.session = agent.session

    def close(self) -> None:
        """It is not ours."""


@contextlib.contextmanager
def served(open_session: Callable[[str, str], Any], limits: Limits | None = None, **access: Any) -> Iterator[Served]:
    """Serve as long as the block lasts."""
    facts = Facts(
        "test", {name: load_persona(name) for name in presets()}, Library(load_lexicon(), GestureIndex.default())
    )
    app = build_api(open_session, facts, Access(TOKEN, **access), limits, drain_s=3.0)
    listener = listen("127.0.0.1", 0)
    server = uvicorn_server(app, drain=lambda: app.state.sessions.drain(3.0))
    ready = threading.Event()

    async def main() -> None:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not task.done():
            await asyncio.sleep(0.01)
        ready.set()
        await task

    thread = threading.Thread(target=lambda: asyncio.run(main()), name="test-server")
    thread.start()
    assert ready.wait(30)

    def stop() -> None:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()

    try:
        yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", app, stop)
    finally:
        stop()
        listener.close()


@pytest.fixture(scope="module")
def serving() -> Callable[..., Any]:
    """`served`, for tests that need a server of their own."""
    return served


@pytest.fixture(scope="module")
def server(agent: Any) -> Iterator[Served]:
    """One server for the tests of a module."""
    pool = AgentPool(lambda persona: Lent(agent), {name: load_persona(name) for name in presets()})
    with served(pool.open, Limits(sessions=6, burst=10_000)) as one:
        yield one
