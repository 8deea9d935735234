"""How long a turn takes, cold (a new process) and warm (in a running one), beside how long it speaks."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from typing import Any

from visavis.agent import Agent
from visavis.evals.first_light.table import Table, data_file, median

__all__ = ["measure"]

LINE = "I caught a fish, and it was huge!"
COLD = 5


def measure(limit: int | None = None, **options: Any) -> Table:
    """Time `visavis say` in new processes, and `Agent.say` on the frozen sentences after one to warm up."""
    table = Table("Time of a turn on this machine, one thread")
    with tempfile.TemporaryDirectory() as folder:
        cold = []
        for _ in range(COLD):
            began = time.perf_counter()
            subprocess.run([sys.executable, "-m", "visavis", "say", LINE, "--out", folder, "--quiet"], check=True)
            cold.append(time.perf_counter() - began)
    table.add("cold: say with all files, new process", median(cold), "s")
    lines = data_file("timing_sentences.txt").read_text("utf-8").splitlines()[:limit]
    with Agent(**options) as agent:
        agent.say(LINE)
        turns = [agent.say(line) for line in lines]
    took = [turn.record.timings_ms["total"] / 1000 for turn in turns]
    spoken = [turn.speech.words[-1].end_s for turn in turns]
    table.add("warm: whole turn", median(took), "s")
    table.add("warm: first motion and voice", median([t.record.timings_ms["first_motion"] / 1000 for t in turns]), "s")
    table.add("warm: turn over its speech", median([t / s for t, s in zip(took, spoken, strict=True)]))
    slowest = max(t / s for t, s in zip(took, spoken, strict=True))
    table.details = {"slowest_over_speech": round(slowest, 3)}
    return table
