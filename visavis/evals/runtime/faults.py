"""Faults, made on purpose: what the client is told, and whether the session lives on and forgets nothing.

Each is a real failure of a real part (a process that is killed, a disk that is full, a database that is locked), or a
planner that raises, hangs, is slow or answers garbage.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from visavis.agent import Agent, graph
from visavis.agent.events import MotionDelta
from visavis.agent.session import Session
from visavis.agent.store import open_store
from visavis.agent.store.sqlite import SqliteStore
from visavis.errors import ServiceError
from visavis.evals.first_light.table import Table, share
from visavis.testing import ScriptedPlanner, scripted

__all__ = ["SCENES", "measure"]

LINE = "Tell me about it."
LINES = 6
LATE_S = 0.5  # what was heard so shortly before a process is killed may not be written yet
SAID = "This is the first sentence of my answer. This is the second one, which is longer. And this is the last."


class _Broken(ScriptedPlanner):
    """A planner whose `reply` is something else."""

    def __init__(self, way: Callable[[], Any]) -> None:
        super().__init__((SAID,))
        self._way = way

    def reply(self, prompt: Any, **options: Any) -> Any:
        """What the scene wants."""
        made = self._way()
        return super().reply(prompt, **options) if made is True else made


def _end(session: Session, timeout_s: float = 40.0) -> list[Any]:
    """Ask live, and collect until the turn has ended: done, interrupted, or an error."""
    with session.events(body=False) as events:
        session.submit(LINE)
        seen: list[Any] = []
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            event = events.get(0.2)
            if event is not None:
                seen.append(event)
                if event.type in ("response.done", "response.interrupted", "error"):
                    break
    return seen


def _lives(session: Session) -> bool:
    """After the fault a turn comes, and the line before is remembered."""
    session._maker.tools = replace(session._maker.tools, planner=ScriptedPlanner(("Back again.",)))
    turn = session.answer("And now?")
    return turn.text == "Back again." and ("user", LINE) in session.history


@contextlib.contextmanager
def _with(planner: Any = None, **options: Any) -> Iterator[tuple[Agent, Session]]:
    with scripted(SAID, **options) as agent:
        if planner is not None:
            agent.tools = replace(agent.tools, planner=planner)
        yield agent, agent.session("scene")


def _one_error(planner: Any) -> bool:
    with _with(planner) as (_, session):
        seen = _end(session)
        return [e.type for e in seen].count("error") == 1 and seen[-1].type == "error" and _lives(session)


def _killed() -> bool:
    def way() -> Any:
        raise ConnectionResetError("the engine is gone")

    return _one_error(_Broken(way))


def _garbage() -> bool:
    return _one_error(_Broken(lambda: {"text": 7}))


def _hung() -> bool:
    let_go, before = threading.Event(), graph.REPLY_S
    graph.REPLY_S = 1.0
    try:
        return _one_error(_Broken(lambda: let_go.wait(60)))
    finally:
        graph.REPLY_S = before
        let_go.set()


def _slow() -> bool:
    def way() -> bool:
        time.sleep(10)
        return True

    with _with(_Broken(way)) as (_, session), session.events() as events:
        began = time.monotonic()
        session.submit(LINE)
        moves, first = [], 0.0
        while time.monotonic() - began < 60:
            event = events.get(0.2)
            if isinstance(event, MotionDelta):
                moves.append(event.clock_s + len(event.rotations) / 30 - (time.monotonic() - began))
            if event is not None and event.type == "response.speech.delta":
                first = time.monotonic() - began
                break
        return 10 <= first and len(moves) >= 10 and min(moves) > -1.5  # the body has not stood still


def _engine_of_movement() -> bool:
    class Mover:
        def move(self, *args: Any, **options: Any) -> Any:
            raise ServiceError("the engine is gone: start it again")

    with _with() as (agent, _):
        agent.tools = replace(agent.tools, mover=Mover())
        session = agent.session("other")
        seen = _end(session)
        return seen[-1].type == "response.done" and any(e.type == "degraded" for e in seen) and _lives(session)


def _voice_worker() -> bool:
    """The voice's process is killed while it speaks: it is started again, unheard by anybody."""
    with scripted(SAID, voice="en-us") as agent:
        voice: Any = agent.tools.voice
        worker = getattr(getattr(voice, "voice", voice), "_worker", None)
        if worker is None:
            raise ServiceError("the voice has no process to be killed")
        session = agent.session("scene")
        with tempfile.TemporaryDirectory():
            voice.cache._memory.clear()
            voice.cache.folder = None
            os.kill(worker.process.pid, signal.SIGKILL)
            seen = _end(session)
        return seen[-1].type == "response.done" and _lives(session)


def _store_fails(breaks: Callable[[SqliteStore, Path], Callable[[], None]]) -> bool:
    """A store that stops working in mid-conversation: told once, nothing lost once it works again."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.sqlite"
        store = open_store(path)
        assert isinstance(store, SqliteStore), "a file is SQLite"
        with scripted("Yes.", store=store) as agent:
            session = agent.session("scene")
            mend = breaks(store, path)
            told = ""
            with session.events(body=False) as events:
                for _ in range(LINES):
                    session.answer("My dog is called Rex. " + "This is a long line to fill a page with. " * 40)
                    while (event := events.get(0.05)) is not None:
                        told = told or getattr(event, "what", "")
                until = time.monotonic() + 20  # who writes waits for the store first; lines may be answered quicker
                while not told and time.monotonic() < until:
                    told = getattr(events.get(0.5), "what", "")
            mend()
            session.close()
            return told.startswith("store: ") and len(store.turns("scene")) == LINES


def _disk_full() -> bool:
    def breaks(store: SqliteStore, path: Path) -> Callable[[], None]:
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages + 2}")  # SQLite's own "disk is full"

        def mend() -> None:
            store._connection.execute("PRAGMA max_page_count = 1000000")

        return mend

    return _store_fails(breaks)


def _locked() -> bool:
    def breaks(store: SqliteStore, path: Path) -> Callable[[], None]:
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")

        def mend() -> None:
            other.execute("ROLLBACK")
            other.close()

        return mend

    return _store_fails(breaks)


def _client_gone() -> bool:
    """The client leaves in mid-turn: the turn ends, what was heard of it is remembered, nothing is left running."""
    with _with() as (_, session):
        events = session.events()
        session.submit(LINE)
        while (event := events.get(30)) is not None and event.type != "response.speech.delta":
            pass
        time.sleep(1.0)
        events.close()
        until = time.monotonic() + 20
        while (session._maker.threads or session._stage.open or session._stage.playing) and time.monotonic() < until:
            time.sleep(0.05)
        heard = dict((speaker, text) for speaker, text in session.history).get("agent", "")
        return not session._maker.threads and not session._stage.open and SAID.startswith(heard) and heard != SAID


_KILLED = """
import os, signal, sys, time
from visavis.testing import scripted
agent = scripted({said!r}, store=sys.argv[1])
session = agent.session("scene", user="me")
session.answer("My name is Anna.")
with session.events() as events:
    session.submit({line!r})
    words, zero, sounds = [], None, None
    while sounds is None or time.monotonic() - zero < sounds + 2.5:
        event = events.get(0.05)
        if event is not None and zero is None and event.type == "response.motion.delta":
            zero = time.monotonic() - event.clock_s
        if event is not None and event.type == "response.speech.delta":
            sounds = event.clock_s if sounds is None else sounds
            words += [(w["text"], w["end_s"] - event.start_s + event.clock_s) for w in event.words]
    played = time.monotonic() - zero
print(" ".join(text for text, end in words if end <= played - {late}), "|", " ".join(t for t, e in words), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def _process_killed() -> bool:
    """Kill -9 in mid-turn: the session is taken up with all that was heard, to the last beat, and with nothing more."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "x.sqlite")
        code = _KILLED.format(said=SAID, line=LINE, late=LATE_S)
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=120)
        surely, perhaps = (part.strip() for part in done.stdout.strip().split("|"))
        with _with(store=path) as (agent, session):
            kept = agent.session("scene", user="me")
            history = kept.history
        lines = [text for speaker, text in history if speaker == "user"]
        heard = history[-1][1] if history[-1][0] == "agent" else ""
        whole = done.returncode == -9 and lines == ["My name is Anna.", LINE]
        return whole and heard.startswith(surely) and perhaps.startswith(heard)


SCENES: dict[str, Callable[[], bool]] = {
    "engine killed": _killed,
    "engine hung": _hung,
    "engine slow, 10 s": _slow,
    "engine answers garbage": _garbage,
    "engine of movement killed": _engine_of_movement,
    "voice's process killed": _voice_worker,
    "disk full": _disk_full,
    "database locked": _locked,
    "client gone in mid-turn": _client_gone,
    "kill -9 in mid-turn": _process_killed,
}


def measure(only: str | None = None) -> Table:
    """Play every scene, or those whose name has `only` in it."""
    table = Table("Faults: continues degraded or ends with one clear error, and nothing heard is lost")
    for name, scene in SCENES.items():
        if only is None or only in name:
            table.add(name, share([scene()]), "%", 100)
    return table
