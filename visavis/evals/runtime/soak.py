"""What lasts: a conversation in real time without a gap, and many turns without growth or leaks."""

from __future__ import annotations

import gc
import os
import threading
import time
from pathlib import Path
from typing import Any

from visavis.agent import Agent
from visavis.evals.first_light.facts import heldout
from visavis.evals.first_light.table import Table, progress
from visavis.evals.runtime.client import Client
from visavis.metrics.bootstrap import bootstrap

__all__ = ["measure"]


def _memory_mb() -> float:
    """What the process holds in memory now; NaN where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return float("nan")
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _open_files() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


def measure(minutes: float = 10.0, turns: int = 500, **options: Any) -> Table:
    """Talk for some minutes in real time, then make many turns; count underruns, memory, threads and files."""
    table = Table("What lasts")
    persona, questions, _ = heldout()[0]
    with Agent(persona, **options) as agent:
        session = agent.session()
        session.answer("Hello!")
        client = Client(session, "reports")
        asked = 0
        ends = time.monotonic() + 60 * minutes
        while time.monotonic() < ends:
            since = time.monotonic()
            session.submit(questions[asked % len(questions)][0])
            asked += 1
            client.wait_for("response.done", 60.0, since)
            client.wait_for("session.state", 30.0, time.monotonic())
        underruns = session.underruns
        table.add("minutes in real time", bootstrap([minutes]), "min")
        table.add("turns in real time", bootstrap([float(asked)]))
        table.add("underruns of speech", bootstrap([float(underruns)]))
        table.add("moments without a frame to show", bootstrap([float(client.waited)]))
        client.close()
        session.close()
    threads, files = threading.active_count(), _open_files()
    with Agent(persona, **options) as agent:
        session = agent.session()
        warm = max(turns // 10, 5)
        before = 0.0
        for number in progress(range(turns), "turns"):
            session.answer(questions[number % len(questions)][0])
            if number + 1 == warm:
                gc.collect()
                before = _memory_mb()
        gc.collect()
        grown = _memory_mb() / before - 1 if before else float("nan")
        table.add("memory grown over the turns", bootstrap([grown]), "%", 100)
    gc.collect()
    table.add("threads left", bootstrap([float(threading.active_count() - threads)]))
    table.add("files left open", bootstrap([float(_open_files() - files)]))
    table.details = {"turns": turns, "memory_mb": round(_memory_mb())}
    return table
