"""What keeping our constraints over HTTP costs: questions in a turn by kind, and how long each kind takes.

Only the journey and the server are timed, one conversation at a time. A decision's time is what it would save to
have the constraint at the server.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from visavis.agent.served import Connection
from visavis.agent.vllm_engine import VllmEngine
from visavis.evals.first_light.table import Table, median, progress
from visavis.evals.serving.calls import Call, replay
from visavis.metrics.bootstrap import bootstrap
from visavis.retrieval.library import Library

__all__ = ["measure"]


class _Timed:
    """A connection that notes how long the server takes: whole answers, first ids, and each id after."""

    def __init__(self, inner: Connection) -> None:
        self._inner, self.base_url = inner, inner.base_url
        self.took: dict[str, list[float]] = defaultdict(list)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        began = time.perf_counter()
        answer = self._inner.post(path, body)
        kind = "the places of a clause, at once" if len(body["prompt"]) > 1 else "a decision"
        self.took[kind].append(time.perf_counter() - began)
        return answer

    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[Any]:
        kind = "a chunk" if "structured_outputs" in body else "a stretch"
        began = time.perf_counter()
        first, start, ids = 0.0, 0, 0
        for event in self._inner.stream(path, body):
            ids += sum(len(choice.get("token_ids") or ()) for choice in event.get("choices", ()))
            if not first:
                first, start = time.perf_counter() - began, ids
            yield event
        self.took[f"{kind}, until its first id"].append(first)
        if ids > start:
            self.took[f"{kind}, each id after"].append((time.perf_counter() - began - first) / (ids - start))


def measure(engine: VllmEngine, turns: Sequence[Sequence[Call]], library: Library) -> Table:
    """Time the questions of turns, after one turn to warm up."""
    timed = _Timed(engine.connection)
    watched = VllmEngine(timed, engine.model, engine.vocabulary, engine.context)  # type: ignore[arg-type]
    replay(turns[0], watched, library)
    timed.took.clear()
    counts: dict[str, list[float]] = {kind: [] for kind in ("chunk", "stretch", "choices", "decision", "ids")}
    for turn in progress(turns, "turns"):
        watched.asked.clear()
        replay(turn, watched, library)
        for kind, found in counts.items():
            found.append(float(watched.asked[kind]))
    table = Table("Questions of a turn to the server, and how long they take")
    for kind, found in counts.items():
        table.add(f"{kind} in a turn", bootstrap(found))
    for name, took in sorted(timed.took.items()):
        table.add(name, median(took), "ms", 1000)
    return table
