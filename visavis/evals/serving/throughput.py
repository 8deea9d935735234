"""How many turns an engine carries at once: everything that turns ask of the language model, in threads.

One thread is one conversation. Engines take turns within every round, so that what else the machine does falls on all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from visavis.agent.engine import Engine
from visavis.evals.first_light.table import Table, median
from visavis.evals.serving.calls import Call, replay
from visavis.metrics.bootstrap import bootstrap
from visavis.retrieval.library import Library

__all__ = ["measure"]


@dataclass
class _Times:
    """Of one engine at one number of conversations: seconds of each turn, and turns a second of each round."""

    turn_s: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)


def measure(
    engines: dict[str, Callable[[], Engine]],
    turns: Sequence[Sequence[Call]],
    library: Library,
    concurrent: Sequence[int] = (1, 8, 32),
    rounds: int = 3,
) -> Table:
    """Time turns of each engine at each number of conversations.

    Args:
        engines: by name; called once for every conversation at once, so that an engine that is not for two threads
            gives each its own.
        turns: what is asked; as many at least as conversations, each asked once a round.
        library: of the calls.
        concurrent: numbers of conversations.
        rounds: repetitions.
    """
    table = Table("Turns (REPLY, ACT and MOVE; no voice, no body) at once")
    for many in concurrent:
        times = {name: _Times() for name in engines}
        pools = {name: [make() for _ in range(many)] for name, make in engines.items()}
        for pool in pools.values():
            replay(turns[0], pool[0], library)  # warm
        # As many turns a round as conversations, and at least four, so that no round is over at once.
        asked = [turns[number % len(turns)] for number in range(max(many, 4))]
        for _ in range(rounds):
            for name, pool in pools.items():
                _round(pool, asked, library, times[name])
        for name, found in times.items():
            table.add(f"{many:2d} at once, {name}: turns a second", bootstrap(found.rate), "1/s")
            table.add(f"{many:2d} at once, {name}: a turn, median", median(found.turn_s), "ms", 1000)
        first, *others = engines
        for name in others:
            ratios = np.divide(times[first].rate, times[name].rate)
            table.add(f"{many:2d} at once: {first} over {name}", median(ratios), "times")
    return table


def _round(pool: Sequence[Engine], turns: Sequence[Sequence[Call]], library: Library, times: _Times) -> None:
    """Ask all turns, as many at once as there are engines in the pool."""

    def converse(place: int) -> list[float]:
        took = []
        for turn in turns[place :: len(pool)]:
            began = time.perf_counter()
            replay(turn, pool[place], library)
            took.append(time.perf_counter() - began)
        return took

    began = time.perf_counter()
    with ThreadPoolExecutor(len(pool)) as threads:
        for took in threads.map(converse, range(len(pool))):
            times.turn_s += took
    times.rate.append(len(turns) / (time.perf_counter() - began))
