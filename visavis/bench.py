"""`visavis bench`: how long the parts of a turn take on this machine, warm, one after the other.

    codec     64 frames of motion to tokens and back
    refiner   128 frames refined, from the sound of the speech to joint rotations, everything included
    turn      a persona's answers to held-out questions, stage by stage, nothing of the voice cached

Times are by the clock, so that they are what a user waits; `processor_ms` beside them is what of it was spent here and
not by others on a shared machine. What is measured is what ships, called as a turn calls it.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from visavis.errors import UsageError
from visavis.metrics.bootstrap import bootstrap

__all__ = ["NAMES", "Times", "bench", "machine", "table"]

NAMES: Final = ("codec", "refiner", "turn")
CODEC_FRAMES: Final = 64
REFINER_FRAMES: Final = 128
_WARM_UP: Final = 10
_STAGES: Final = (
    "recall", "reply", "reply_first_clause", "act", "speak", "aim", "move", "decode", "refine", "solve",
    "first_motion", "total",
)  # fmt: skip
_LINE: Final = (
    "Hello! I walked along the river yesterday, and it was wonderful, because the sun came out again at last."
)


@dataclass
class Times:
    """What one thing took, again and again.

    Attributes:
        name: `bench.thing`, stable.
        ms: by the clock, one a run.
        processor_ms: of the processor, one a run; empty where only the clock was read.
        more: what else is worth knowing, by name.
    """

    name: str
    ms: list[float] = field(default_factory=list)
    processor_ms: list[float] = field(default_factory=list)
    more: dict[str, float] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """The row of contracts.md: median with its 95 % bootstrap interval, 95th percentile, how many runs."""
        middle = bootstrap(self.ms, lambda x: float(np.median(x)))
        row = {
            "name": self.name, "median_ms": middle.value, "low_ms": middle.low, "high_ms": middle.high,
            "p95_ms": float(np.percentile(self.ms, 95)), "n": middle.n, "unit": "ms",
        }  # fmt: skip
        if self.processor_ms:
            row["processor_ms"] = float(np.median(self.processor_ms))
        return {key: round(value, 3) if isinstance(value, float) else value for key, value in (row | self.more).items()}


def bench(
    names: Iterable[str] = NAMES, count: int = 200, threads: int = 1, refiner: Path | None = None
) -> dict[str, Any]:
    """Measure.

    Args:
        names: of `NAMES`, in the order in which they run.
        count: runs that each median is of, after some to warm up.
        threads: of torch.
        refiner: folder of another refiner than the shipped one, for the bench of that name.
    Returns:
        {"machine": in words, "rows": one a measured thing}, as contracts.md says for `visavis bench --json`.
    Raises:
        UsageError: an unknown name, or no run or thread at all.
    """
    import torch

    names = list(names)
    if unknown := [name for name in names if name not in NAMES]:
        raise UsageError(f"expected benches of {', '.join(NAMES)}; got {', '.join(unknown)}")
    if count < 1 or threads < 1:
        raise UsageError(f"expected one run and one thread or more; got {count} and {threads}")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        measures: dict[str, Callable[[int], list[Times]]] = {
            "codec": _codec, "refiner": lambda count: _refiner(count, refiner), "turn": _turn,
        }  # fmt: skip
        rows = [times.row() for name in names for times in measures[name](count)]
        return {"machine": machine(), "rows": rows}
    finally:
        torch.set_num_threads(before)


def machine() -> dict[str, Any]:
    """The machine in words that say how fast it is, and nothing that says whose it is."""
    import torch

    return {
        "processor": _processor(), "cores": _cores(), "torch_threads": torch.get_num_threads(),
        "memory_gb": _memory_gb(), "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(), "torch": torch.__version__,
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    }  # fmt: skip


def _processor() -> str:
    """The processor's name as the system tells it, else its architecture."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    except OSError:  # another system
        pass
    return platform.processor() or platform.machine()


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _runs(count: int, label: str) -> Iterator[int]:
    """0..count, with a bar on a terminal."""
    from tqdm import tqdm

    yield from tqdm(range(count), desc=label, leave=False, disable=not sys.stderr.isatty())


def _time(name: str, work: Callable[[], object], count: int) -> Times:
    """Run `work` warm, `count` times."""
    times = Times(name)
    for _ in range(min(_WARM_UP, count)):
        work()
    for _ in _runs(count, name):
        began, busy = time.perf_counter(), time.process_time()
        work()
        times.ms.append(1000 * (time.perf_counter() - began))
        times.processor_ms.append(1000 * (time.process_time() - busy))
    return times


def _codec(count: int) -> list[Times]:
    from visavis.agent.loading import load_body
    from visavis.motion.idle import idle

    codec, _ = load_body(refine=False)
    motion = idle(CODEC_FRAMES, seed=3)
    codes = codec.encode(motion)
    label = f"{CODEC_FRAMES}_frames"
    return [
        _time(f"codec.{label}", lambda: codec.decode(codec.encode(motion), motion), count),
        _time(f"codec.careful_{label}", lambda: codec.decode(codec.encode(motion, careful=True), motion), count),
        _time(f"codec.encode_{label}", lambda: codec.encode(motion), count),
        _time(f"codec.decode_{label}", lambda: codec.decode(codes, motion), count),
    ]


def _refiner(count: int, folder: Path | None = None) -> list[Times]:
    from visavis.agent.body import KNOWN_FRAMES
    from visavis.agent.loading import models_folder
    from visavis.emotion import Emotion
    from visavis.motion.idle import idle
    from visavis.refiner.either import load_refiner, refine_next
    from visavis.speech.prosody import prosody

    refiner = load_refiner(folder or models_folder() / "refiner")
    decoded, known = idle(REFINER_FRAMES, seed=3, start_s=KNOWN_FRAMES / 30), idle(KNOWN_FRAMES, seed=3)
    speech, felt = _speech(), Emotion("joy", 0.6)
    sound = prosody(speech, REFINER_FRAMES)
    label = f"{REFINER_FRAMES}_frames"
    return [
        _time(
            f"refiner.{label}",
            lambda: refine_next(refiner, decoded, prosody(speech, REFINER_FRAMES), felt, known=known),
            count,
        ),
        _time(f"refiner.prosody_{label}", lambda: prosody(speech, REFINER_FRAMES), count),
        _time(f"refiner.model_{label}", lambda: refine_next(refiner, decoded, sound, felt, known=known), count),
    ]


def _speech() -> Any:
    """As much speech as there are frames: words with their times over noise, which costs what a voice costs."""
    from dataclasses import replace

    from visavis.speech.silent import SilentVoice

    speech = SilentVoice().speak(_LINE)
    seconds = REFINER_FRAMES / 30
    noise = np.random.default_rng(0).normal(0, 3000, round(seconds * speech.sample_rate_hz)).astype(np.int16)
    words = tuple(word for word in speech.words if word.end_s < seconds)
    return replace(speech, samples=noise, words=words)


def _turn(count: int) -> list[Times]:
    from dataclasses import replace

    from visavis.agent import Agent
    from visavis.evals.first_light.facts import heldout
    from visavis.speech.cache import CachedVoice

    people = heldout()
    each = -(-count // len(people))
    stages = {stage: Times(f"turn.{stage}") for stage in _STAGES}
    shares: list[float] = []
    done = _runs(count, "turn")
    for persona, questions, _ in people:
        left = min(each, count - len(shares))
        if not left:
            break
        with Agent(persona, store=False) as agent:
            voice = agent.tools.voice
            if isinstance(voice, CachedVoice):  # a sentence that was said before would cost nothing
                agent.tools = replace(agent.tools, voice=voice.voice)
            session = agent.session()
            session.answer("Hello there!")
            for number in range(left):
                busy = time.process_time()
                turn = session.answer(questions[number % len(questions)][0])
                stages["total"].processor_ms.append(1000 * (time.process_time() - busy))
                spent = turn.record.timings_ms
                for stage, times in stages.items():
                    times.ms.append(spent.get(stage, 0.0))
                shares.append(spent["total"] / 1000 / max(turn.record.duration_s, 1e-3))
                next(done, None)
    next(done, None)  # the bar goes
    stages["total"].more["of_its_length"] = float(np.median(shares))
    return list(stages.values())


def table(result: dict[str, Any]) -> str:
    """The result for people: the machine in one line, then the rows."""
    told = result["machine"]
    threads = f"{told['torch_threads']} torch thread" + ("" if told["torch_threads"] == 1 else "s")
    load = "" if told["load"] is None else f", load {told['load']}"
    lines = [
        f"{told['processor']}, {told['cores']} cores, {threads}{load}; Python {told['python']}, torch {told['torch']}"
    ]
    width = max(len(row["name"]) for row in result["rows"])
    lines.append(f"{'warm, ms':{width}}  {'median':>9}  {'95 % interval':>21}  {'p95':>9}  {'processor':>9}  {'n':>5}")
    for row in result["rows"]:
        busy = f"{row['processor_ms']:9.2f}" if "processor_ms" in row else " " * 9
        more = f"  {row['of_its_length']:.3f} of its length" if "of_its_length" in row else ""
        lines.append(
            f"{row['name']:{width}}  {row['median_ms']:9.2f}  [{row['low_ms']:9.2f}, {row['high_ms']:8.2f}]  "
            f"{row['p95_ms']:9.2f}  {busy}  {row['n']:5d}{more}"
        )
    return "\n".join(lines)
