"""Turns sampled hot: whatever the dice say, is everything inside the turn language, and does motion run in no loop?

Every question of a recorded turn is asked again at a temperature at which a model writes what it hardly believes. Exact
counts and forced ids hold by construction, over any engine; so one miss is a bug. Loops do not.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from visavis.agent.engine import CancelToken, Constraint, Engine, Floats, Sampling
from visavis.agent.grid import STEP_S
from visavis.errors import FileFormatError
from visavis.evals.first_light.table import Table, share
from visavis.evals.serving.calls import Call, replay
from visavis.metrics.bootstrap import bootstrap
from visavis.retrieval.library import Library

__all__ = ["Hot", "Kept", "longest_repeat_s", "measure"]

LONGEST_PERIOD: Final = 8  # steps; a loop of more than a second would be a gesture that is made twice
LOOP_S: Final = 3.0
KINDS: Final = (
    "words in the reply", "the words of the clause kept", "only glosses that were shown",
    "steps and forced codes exact", "no loop beyond 3 s",
)  # fmt: skip
SHOWN: Final = 20  # failures of a kind that the details list


class Hot:
    """An engine that samples everything at one temperature, each question with dice of its own."""

    def __init__(self, inner: Engine, temperature: float, seed: int) -> None:
        self._inner, self.vocabulary, self.context = inner, inner.vocabulary, inner.context
        self._samplings = (Sampling(temperature, 0, number) for number in itertools.count(seed * 1000))

    def generate(
        self,
        prompt: Sequence[int],
        constraint: Constraint | None = None,
        *,
        sampling: Sampling | None = None,
        stop: Collection[int] = (),
        limit: int = 256,
        cancel: CancelToken | None = None,
    ) -> Iterator[int]:
        """As the engine's, at this temperature whatever `sampling` says."""
        return self._inner.generate(
            prompt, constraint, sampling=next(self._samplings), stop=stop, limit=limit, cancel=cancel
        )

    def score(self, prompt: Sequence[int], continuation: Sequence[int]) -> Floats:
        """As the engine's."""
        return self._inner.score(prompt, continuation)


def longest_repeat_s(codes: NDArray[np.int64], free: NDArray[np.bool_]) -> float:
    """Seconds of the longest stretch of (S, P) codes that repeats itself with a period of up to `LONGEST_PERIOD` steps.

    Only steps count whose codes are all the model's own, `free` (S,): a clip may hold still.
    """
    longest = 0
    for period in range(1, LONGEST_PERIOD + 1):
        same = (codes[period:] == codes[:-period]).all(1) & free[period:] & free[:-period]
        run = max((sum(1 for _ in group) for value, group in itertools.groupby(same) if value), default=0)
        longest = max(longest, run + period if run >= period else 0)
    return longest * STEP_S


class Kept:
    """Turns that were judged, in a file of one JSON object a line, so that a run that breaks off is taken up again.

    Args:
        path: of the file, which need not be there; None keeps nothing.
        settings: what the turns were sampled with; a file of others is refused.

    Raises:
        FileFormatError: the file was not written by this, or with other settings.
    """

    def __init__(self, path: Path | None, settings: dict[str, Any]) -> None:
        self.done: dict[tuple[str, int], dict[str, list[float]]] = {}
        self._path, self._lock = path, threading.Lock()
        if path is None:
            return
        if path.exists():
            self._read(path, settings)
        else:
            path.write_text(json.dumps(settings) + "\n", "utf-8")

    def _read(self, path: Path, settings: dict[str, Any]) -> None:
        try:
            first, *rest = path.read_text("utf-8").splitlines(keepends=True)
            found = json.loads(first)
            whole = [row for row in rest if row.endswith("\n")]  # the last one may have been cut off
            for row in whole:
                each = json.loads(row)
                self.done[each["engine"], each["turn"]] = each["found"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FileFormatError(
                f"expected judged turns, one JSON object a line; got {path}: {error}: name another file"
            ) from None
        if found != settings:
            raise FileFormatError(f"expected turns sampled with {settings}, got {found} in {path}: name another file")
        path.write_text("".join([first, *whole]), "utf-8")

    def keep(self, engine: str, turn: int, found: dict[str, list[float]]) -> None:
        """Add a turn; from any thread."""
        with self._lock:
            self.done[engine, turn] = found
            if self._path is None:
                return
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"engine": engine, "turn": turn, "found": found}) + "\n")


def measure(
    engines: Mapping[str, Engine],
    turns: Sequence[Sequence[Call]],
    library: Library,
    count: int,
    *,
    temperature: float = 1.2,
    at_once: int = 8,
    minutes: float | None = None,
    kept: Path | None = None,
) -> Table:
    """Sample `count` turns over each engine, some at once; the details list the first failures of every kind.

    Args:
        engines: by name.
        turns: whose questions are asked, again and again with other dice.
        library: of the calls.
        count: turns of each engine.
        temperature: of every choice.
        at_once: turns in threads side by side.
        minutes: no turn of an engine begins later; None for all `count` whatever they take.
        kept: where judged turns are kept: another run with this file does only those that are missing.
    """
    before = Kept(kept, {"temperature": temperature, "recorded": len(turns)})
    table = Table(f"Turns sampled at temperature {temperature}")
    for name, engine in engines.items():
        until = time.monotonic() + 60 * minutes if minutes is not None else float("inf")

        def one(
            number: int, name: str = name, engine: Engine = engine, until: float = until
        ) -> dict[str, list[float]] | None:
            if (name, number) in before.done:
                return before.done[name, number]
            if time.monotonic() > until:
                return None
            calls = turns[number % len(turns)]
            found = _judge(calls, replay(calls, Hot(engine, temperature, number), library))
            before.keep(name, number, found)
            return found

        found: dict[str, list[float]] = {}
        failed: dict[str, list[int]] = {}
        sampled = 0
        with ThreadPoolExecutor(at_once) as threads:
            made = tqdm(threads.map(one, range(count)), name, count, disable=not sys.stderr.isatty())
            for number, each in enumerate(made):
                if each is None:
                    continue
                sampled += 1
                for what, values in each.items():
                    found.setdefault(what, []).extend(values)
                    if what in KINDS and not all(values):
                        failed.setdefault(what, []).append(number)
        for what in KINDS:
            table.add(f"{name}: {what}", share(found.get(what, [])), "%", 100)
        table.add(f"{name}: longest repeat", bootstrap(found.get("repeat", []), lambda x: float(x.max())), "s")
        table.details[name] = {
            "turns": sampled,
            "turns_that_failed": {what: len(numbers) for what, numbers in failed.items()},
            "first": {what: numbers[:SHOWN] for what, numbers in failed.items()},
        }
    return table


def _judge(calls: Sequence[Call], made: Sequence[object]) -> dict[str, list[float]]:
    """What holds of each call of a turn, kind by kind."""
    out: dict[str, list[float]] = {}

    def note(what: str, value: float) -> None:
        out.setdefault(what, []).append(value)

    for call, came in zip(calls, made, strict=True):
        if call.stage == "reply":
            note("words in the reply", any(c.isalnum() for c in came.text))  # type: ignore[attr-defined]
        elif call.stage == "act":
            shown = {candidate.text for candidate in call.args[0].candidates}
            note("the words of the clause kept", came.text == call.args[0].text)  # type: ignore[attr-defined]
            note("only glosses that were shown", {tag.gloss for tag in came.tags} <= shown)  # type: ignore[attr-defined]
        elif call.stage == "move":
            _, _, cues, clip, forced = call.args
            assert isinstance(came, np.ndarray)
            exact = came.shape == clip.shape and bool((came[forced] == clip[forced]).all() and (came >= 0).all())
            note("steps and forced codes exact", exact)
            repeat = longest_repeat_s(came, ~forced.any(1))
            note("repeat", repeat)
            note("no loop beyond 3 s", repeat <= LOOP_S)
    return out
