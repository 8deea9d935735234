"""Tokens a second: the embedded engine against transformers' `generate`, and several streams against one.

Engines take turns request by request (interleaved), so that a busy machine slows all of them alike; ratios are of
pairs. Beside the wall clock stands the processor's time of this process, which is what an idle machine would take.
Every id counts that is written: forced ones too, which `generate` computes one by one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from visavis.agent.batching import BatchingEngine
from visavis.agent.engine import Engine
from visavis.evals.engines.reference import Reference
from visavis.evals.engines.requests import KINDS, Request
from visavis.evals.first_light.table import Table, median, progress

__all__ = ["busy", "streams", "together", "versus"]

COUNTS = (2, 4, 8, 16)


def _timed(work: Callable[[], Sequence[object]]) -> tuple[int, float, float]:
    """Ids written, seconds by the clock, seconds of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    count = len(work())
    return count, time.perf_counter() - clock, time.process_time() - processor


def versus(engine: Engine, reference: Reference, requests: Sequence[Request]) -> Table:
    """One stream: ids a second of both, kind by kind, and how many times faster the engine is."""
    table = Table("One stream, ids a second, the engine against transformers' generate (median of requests)")
    engine_runs: list[tuple[int, float, float]] = []
    other_runs: list[tuple[int, float, float]] = []
    requests[0].run(engine), reference.run(requests[0])  # warm
    for request in progress(list(requests), "requests"):
        pair = [(engine_runs, partial(request.run, engine)), (other_runs, partial(reference.run, request))]
        for runs, work in pair if len(engine_runs) % 2 else pair[::-1]:
            runs.append(_timed(work))
    ours, theirs = np.array(engine_runs), np.array(other_runs)
    for kind in (*KINDS, "all"):
        at = [i for i, request in enumerate(requests) if kind in ("all", request.kind)]
        rate, other = (x[at, 0][:, None] / x[at, 1:] for x in (ours, theirs))
        for column, name in enumerate(("clock", "processor")):
            table.add(f"{kind}: engine, by the {name}", median(rate[:, column]), "ids/s")
            table.add(f"{kind}: generate, by the {name}", median(other[:, column]), "ids/s")
            table.add(
                f"{kind}: engine over generate, by the {name}", median(rate[:, column] / other[:, column]), "times"
            )
    return table


def together(engine: Engine, requests: Sequence[Request]) -> tuple[list[list[int]], list[float]]:
    """Run all requests at once, a thread each: what each wrote, and the seconds after which it was done."""
    written, seconds = [list[int]() for _ in requests], [0.0] * len(requests)
    failed: list[BaseException] = []
    began = time.perf_counter()

    def one(number: int) -> None:
        try:
            written[number] = requests[number].run(engine)
        except BaseException as error:  # raised again by the caller's thread
            failed.append(error)
        seconds[number] = time.perf_counter() - began

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return written, seconds


def _ids(engine: Engine, groups: Sequence[Sequence[Request]]) -> list[int]:
    """Run groups one after the other; all ids that were written."""
    return [id_ for group in groups for ids in together(engine, group)[0] for id_ in ids]


def streams(
    engine: BatchingEngine, requests: Sequence[Request], rounds: int = 5, counts: Sequence[int] = COUNTS
) -> Table:
    """Several streams of one batch: ids a second of all of them, over those of one stream; kind by kind."""
    table = Table("Streams stepped together: ids a second of all, over one stream (median of rounds)")
    for kind in KINDS:
        mine = [request for request in requests if request.kind == kind]
        rates: dict[int, list[list[float]]] = {count: [] for count in (1, *counts)}
        slowest: list[float] = []
        equal: list[float] = []
        for number in progress(range(rounds), kind):
            for count in rates:
                # One after the other or together, it is the same work.
                some = [mine[(number * max(counts) + i) % len(mine)] for i in range(max(counts))]
                groups = [some[i : i + count] for i in range(0, len(some), count)]
                total, clock, processor = _timed(partial(_ids, engine, groups))
                rates[count].append([total / clock, total / processor])
            # Equal work: no stream ends before the others.
            same = mine[number % len(mine)]
            count, _, processor = _timed(partial(_ids, engine, [[same]] * 2))
            _, seconds = together(engine, [same] * 8)
            slowest.append(max(seconds) / min(seconds))
            many, _, spent = _timed(partial(_ids, engine, [[same] * 8]))
            equal.append((many / spent) / (count / processor))
        one = np.array(rates[1])
        table.add(f"{kind}: 1 stream, by the clock", median(one[:, 0]), "ids/s")
        table.add(f"{kind}: 1 stream, by the processor", median(one[:, 1]), "ids/s")
        for count in counts:
            rate = np.array(rates[count])
            table.add(f"{kind}: {count} streams, by the processor", median(rate[:, 1]), "ids/s")
            table.add(f"{kind}: {count} streams over 1, by the clock", median(rate[:, 0] / one[:, 0]), "times")
            table.add(f"{kind}: {count} streams over 1, by the processor", median(rate[:, 1] / one[:, 1]), "times")
        table.add(f"{kind}: 8 equal streams over 1, by the processor", median(equal), "times")
        table.add(f"{kind}: slowest over fastest of 8 equal streams", median(slowest), "times")
    return table


def _shared(engine: Engine, requests: Sequence[Request], count: int) -> list[int]:
    """Run requests in `count` threads, each taking the next one when it is through; all ids that were written."""
    waiting = deque(requests)
    written = [list[int]() for _ in range(count)]
    failed: list[BaseException] = []

    def work(mine: list[int]) -> None:
        try:
            while True:
                try:
                    request = waiting.popleft()
                except IndexError:  # nothing is left to do
                    return
                mine += request.run(engine)
        except BaseException as error:  # raised again by the caller's thread
            failed.append(error)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in written]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return [id_ for mine in written for id_ in mine]


def busy(
    engine: BatchingEngine, requests: Sequence[Request], rounds: int = 5, counts: Sequence[int] = (8,), turns: int = 3
) -> Table:
    """Streams that go on to the next request when one is written, as conversations do, over one stream. By the clock
    alone: a part of the work is done by other processes.

    Args:
        engine: of all.
        requests: the work, kind by kind, and all of it as it comes.
        rounds: of one stream and then of each count, so that a ratio is of neighbours.
        counts: of streams.
        turns: how often the requests are made in a round of many streams: few end alone.
    """
    table = Table("Streams kept busy: ids a second of all, over one stream (median of rounds)")
    for count in counts:  # other processes have begun by then
        _shared(engine, list(requests) * turns, count)
    for kind in (*KINDS, "all"):
        mine = [request for request in requests if kind in ("all", request.kind)]
        mine[0].run(engine)  # warm
        rates: dict[int, list[float]] = {count: [] for count in (1, *counts)}
        for _ in progress(range(rounds), kind):
            for count, found in rates.items():
                total, clock, _ = _timed(partial(_shared, engine, mine * (turns if count > 1 else 1), count))
                found.append(total / clock)
        one = np.array(rates[1])
        table.add(f"{kind}: 1 stream, by the clock", median(one), "ids/s")
        for count in counts:
            rate = np.array(rates[count])
            table.add(f"{kind}: {count} streams, by the clock", median(rate), "ids/s")
            table.add(f"{kind}: {count} streams over 1, by the clock", median(rate / one), "times")
    return table
