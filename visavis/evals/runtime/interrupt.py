"""Random interruptions of live turns by clients that report, stall or keep silent.

What is said is given (held-out sentences, four at a time), so that there is something to interrupt; gestures, voice and
body are the real ones.

How long until nothing more comes; whether what is remembered is what the client had played, to the word; and how the
body goes on: the step at each interruption beside the steps of the motion around it.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visavis.agent import Agent
from visavis.agent.session import Session
from visavis.evals.first_light.table import Table, data_file, median, progress, share
from visavis.evals.runtime.client import KINDS, Client, Stop
from visavis.metrics.bootstrap import bootstrap
from visavis.motion.kinematics import positions
from visavis.motion.motion import Motion

__all__ = ["measure", "wrist_steps"]

LIMIT_MS = 80.0


def wrist_steps(motion: Motion) -> NDArray[np.float32]:
    """(T - 1,) metres that the faster wrist moves in a frame."""
    places = positions(motion)[:, [motion.skeleton.index(name) for name in ("leftHand", "rightHand")]]
    return np.linalg.norm(np.diff(places, axis=0), axis=-1).max(axis=-1).astype(np.float32)


def measure(count: int = 100, seed: int = 0, **options: Any) -> Table:
    """Interrupt `count` turns, a third with each kind of client, at random moments from the question to the end."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    borders: list[float] = []
    before: list[float] = []
    inside: list[NDArray[np.float32]] = []
    sentences = data_file("timing_sentences.txt").read_text("utf-8").splitlines()
    for part, kind in enumerate(KINDS):
        wanted = len(range(part, count, len(KINDS)))
        with Agent(**options) as agent:
            agent.say(sentences[0])  # warm
            session = agent.session()
            client = Client(session, kind, seed + part)
            try:
                for _ in progress(range(wanted), kind):
                    said = " ".join(rng.choice(sentences, 4, replace=False))
                    rows.append(_one(session, client, said, rng, kind))
                    time.sleep(float(rng.uniform(0.1, 0.8)))
                motion = client.motion()
            finally:
                client.close()
            steps = wrist_steps(motion)
            at = np.array([stop.border - 1 for stop in client.stops if 2 <= stop.border <= len(steps)])
            borders += [float(step) for step in steps[at]]
            before += [float(step) for step in steps[at - 1]]
            inside.append(np.delete(steps, at))
    return _table(rows, np.array(borders), np.array(before), np.concatenate(inside))


def _one(session: Session, client: Client, said: str, rng: np.random.Generator, kind: str) -> dict[str, Any]:
    """Begin to speak, wait for a while, interrupt."""
    asked = time.monotonic()
    before = len(session.history)
    session.submit(say=said)
    early = rng.random() < 0.15  # while it thinks
    if not early:
        client.wait_for("response.speech.delta", 30.0, asked)
        client.wait_for("response.done", float(rng.uniform(0.0, 3.5)), asked)
    else:
        time.sleep(float(rng.uniform(0.0, 0.4)))
    stop: Stop = client.interrupt()
    time.sleep(0.05)
    kept = [text for speaker, text in session.history[before:] if speaker == "agent"]
    whole = not stop.told  # it had been played to its end already
    return {
        "kind": kind, "heard": stop.heard, "remembered": " ".join(kept), "whole": whole,
        "stop_ms": 1000 * max(stop.last_speech - stop.called, 0.0),
        "told_ms": 1000 * (stop.told - stop.called) if stop.told else float("nan"),
        "equal": stop.heard == " ".join(kept),
    }  # fmt: skip


def _table(
    rows: list[dict[str, Any]], borders: NDArray[np.float64], before: NDArray[np.float64], inside: NDArray[np.float32]
) -> Table:
    table = Table("Interruptions of live turns")
    told = [row["told_ms"] for row in rows if not row["whole"]]
    table.add("speech stops after, median", median([row["stop_ms"] for row in rows]), "ms")
    table.add("speech stops after, longest", bootstrap([row["stop_ms"] for row in rows], np.max), "ms")
    table.add("the client is told after, median", median(told), "ms")
    table.add("stops within 80 ms", share([row["stop_ms"] <= LIMIT_MS for row in rows]), "%", 100)
    table.add("remembered is what was played", share([row["equal"] for row in rows]), "%", 100)
    for kind in KINDS:
        mine = [row["equal"] for row in rows if row["kind"] == kind]
        table.add(f"remembered is what was played: {kind}", share(mine), "%", 100)
    moving = inside[inside > 1e-3] if np.any(inside > 1e-3) else inside
    table.add("border steps above the 99th percentile inside", share(borders > np.quantile(moving, 0.99)), "%", 100)
    table.add("border step, median", median(borders), "mm", 1000)
    # an interruption falls into speech, where arms move: the step just before it is what the body was doing
    ratio = bootstrap(borders / np.maximum(before, 1e-6), lambda x: float(np.median(x)))
    table.add("border step over the one before, median", ratio)
    table.add("step inside, median of all frames", median(inside[:: max(len(inside) // 5000, 1)]), "mm", 1000)
    table.add("largest border step over largest inside", bootstrap([float(borders.max() / inside.max())]))
    table.details = {"rows": rows}
    return table
