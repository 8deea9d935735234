"""Many sessions of one server at once: `visavis serve` in a process of its own, a client for each session.

Every client types a line, hears the answer in real time, thinks a moment and types the next. Reported are failures, how
long each session waits for its first sound (and how unequal that is), whether every body was continuous, and that one
session more is refused with the right status. Then the server is killed and started again: every session must be taken
up with what was said in it.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visavis.agent.events import (
    ErrorEvent,
    Event,
    InputText,
    MotionDelta,
    ResponseDone,
    ResponseInterrupted,
    SpeechDelta,
)
from visavis.client import Client, RemoteSession
from visavis.errors import ServiceError, VisavisError
from visavis.evals.first_light.facts import heldout
from visavis.evals.first_light.table import Table, median, share
from visavis.motion.kinematics import positions
from visavis.motion.motion import FPS, Motion
from visavis.motion.skeleton import default_skeleton

__all__ = ["measure"]

START_S: Final = 120.0
TURN_S: Final = 90.0  # in which an answer must be whole
THINK_S: Final = (1.0, 4.0)


@dataclass
class Server:
    """A server process and where it is."""

    process: subprocess.Popen[str]
    url: str

    @classmethod
    def start(cls, sessions: int, store: Path, token: str, voice: str | None) -> Server:
        """Start it and wait until it listens."""
        command = [sys.executable, "-m", "visavis", "serve", "--port", "0", "--sessions", str(sessions)]
        command += ["--store", str(store), *([] if voice is None else ["--voice", voice])]
        environment = os.environ | {"VISAVIS_TOKEN": token}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None, "it is a pipe"
        line = process.stdout.readline()
        found = re.search(r"http://[\d.]+:\d+", line)
        if found is None:
            process.kill()
            raise ServiceError(f"expected the server to say where it listens; got {line[:200]!r}")
        return cls(process, found.group())

    def kill(self) -> None:
        """As a crash would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@dataclass
class Seen:
    """What one client saw.

    waits: seconds from each line to its first sound; said: line and answer of each turn that was made, by the turn's
    id, of an interrupted one what was heard; pieces: first frame and rotations (n, J, 4) of all motion, in the order
    in which it came.
    """

    name: str = ""
    waits: list[float] = field(default_factory=list)
    said: dict[str, tuple[str, str]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    pieces: list[tuple[int, NDArray[np.float16]]] = field(default_factory=list)
    degraded: int = 0

    def take(self, event: Event) -> None:
        """Note what concerns every turn."""
        if isinstance(event, MotionDelta):
            self.pieces.append((round(event.clock_s * FPS), event.rotations.astype(np.float16)))
        elif isinstance(event, ResponseInterrupted) and event.turn_id in self.said:
            # The next line came before the last word was played: that is remembered as it was heard.
            self.said[event.turn_id] = (self.said[event.turn_id][0], event.heard)

    def steps_m(self) -> tuple[NDArray[np.float64], int]:
        """Metres that the faster wrist moves from each frame to the next, and how many frames are missing."""
        frames: dict[int, NDArray[np.float16]] = {}
        for first, rotations in self.pieces:
            frames |= {first + k: one for k, one in enumerate(rotations)}
        if not frames:
            return np.zeros(0), 0
        order = sorted(frames)
        skeleton = default_skeleton()
        turned = np.stack([frames[k] for k in order]).astype(np.float32)
        turned /= np.linalg.norm(turned, axis=-1, keepdims=True)
        motion = Motion(turned, np.zeros((len(order), 3), np.float32))
        wrists = positions(motion)[:, [skeleton.index("leftHand"), skeleton.index("rightHand")]]
        step = np.linalg.norm(np.diff(wrists, axis=0), axis=-1).max(axis=1).astype(np.float64)
        return step[np.diff(order) == 1], order[-1] - order[0] + 1 - len(order)


async def _talk(session: RemoteSession, seen: Seen, lines: list[str], until: float, rng: np.random.Generator) -> None:
    """One client, until the time is up."""
    await asyncio.sleep(float(rng.uniform(0, THINK_S[1])))
    async with session.events() as events:
        stream = aiter(events)
        number = 0
        while time.monotonic() < until:
            line = lines[number % len(lines)]
            number += 1
            asked = time.monotonic()
            await events.send(InputText(text=line))
            heard_at: float | None = None
            async with asyncio.timeout(TURN_S):
                while True:
                    event = await anext(stream)
                    seen.take(event)
                    if isinstance(event, SpeechDelta) and heard_at is None:
                        heard_at = time.monotonic()
                        seen.waits.append(heard_at - asked)
                    elif isinstance(event, ErrorEvent):
                        seen.failures.append(event.message)
                        break
                    elif isinstance(event, ResponseDone):
                        seen.said[event.turn_id] = (line, str(event.turn["text"]))
                        seen.degraded += bool(event.turn["degraded"])
                        break
            length_s = float(event.turn["duration_s"]) if isinstance(event, ResponseDone) else 0.0
            rest_s = (heard_at or asked) + length_s + float(rng.uniform(*THINK_S)) - time.monotonic()
            await _listen(stream, seen, rest_s)


async def _listen(stream: Any, seen: Seen, seconds: float) -> None:
    """Take what comes while the answer plays and the next line is thought of."""
    try:
        async with asyncio.timeout(max(seconds, 0.0)):
            async for event in stream:
                seen.take(event)
    except TimeoutError:
        pass


async def _one(client: Client, seen: Seen, lines: list[str], until: float, rng: np.random.Generator) -> None:
    try:
        session = await client.open("guide")
        seen.name = session.id
        await _talk(session, seen, lines, until, rng)
    except (VisavisError, TimeoutError, StopAsyncIteration) as error:
        seen.failures.append(f"{type(error).__name__}: {error}")


async def _crowd(server: Server, token: str, count: int, minutes: float, seed: int) -> tuple[list[Seen], bool]:
    """All clients at once; what each saw, and whether one more was refused properly."""
    lines = [ask for _, questions, _ in heldout() for ask, _ in questions]
    rng = np.random.default_rng(seed)
    rng.shuffle(lines)
    seen = [Seen() for _ in range(count)]
    async with Client(server.url, token) as client:
        until = time.monotonic() + 60 * minutes
        jobs = [
            asyncio.create_task(_one(client, one, lines[k::count], until, np.random.default_rng([seed, k])))
            for k, one in enumerate(seen)
        ]
        while not all(one.name or one.failures for one in seen):
            await asyncio.sleep(0.2)
        refused = False
        try:
            await client.open("guide")
        except ServiceError as error:
            refused = "taken" in str(error)
        await asyncio.gather(*jobs)
    return seen, refused


async def _resumed(server: Server, token: str, seen: list[Seen]) -> list[bool]:
    """Whether each session is taken up with every turn that was whole, in order."""
    out = []
    async with Client(server.url, token) as client:
        for one in seen:
            session = await client.open("guide", one.name)
            history = await session.history()
            pairs = [
                (a[1], b[1]) for a, b in zip(history, history[1:], strict=False) if (a[0], b[0]) == ("user", "agent")
            ]
            whole = list(one.said.values())[:-1]  # the last answer may not have been played to its end
            out.append(pairs[: len(whole)] == whole)
            await asyncio.sleep(0.06)  # the server takes twenty requests a second from one address
    return out


def measure(count: int = 50, minutes: float = 2.0, seed: int = 0, voice: str | None = None) -> Table:
    """Run the crowd, then the crash.

    Args:
        count: sessions.
        minutes: how long they talk.
        seed: of lines and pauses.
        voice: as of the command line.
    """
    token = secrets.token_urlsafe(24)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "conversations.sqlite"
        server = Server.start(count, store, token, voice)
        try:
            seen, refused = asyncio.run(_crowd(server, token, count, minutes, seed))
            server.kill()
            server = Server.start(count, store, token, voice)
            resumed = asyncio.run(_resumed(server, token, [one for one in seen if one.name]))
        finally:
            server.kill()
    table = Table(f"{count} sessions at once for {minutes:g} minutes on {os.cpu_count()} cores")
    own = [float(np.median(one.waits)) for one in seen if one.waits]
    table.add("first sound, median of each session", median(own), "s")
    table.add("slowest session over fastest", median([max(own) / max(min(own), 1e-3)] if own else []))
    table.add("turns", median([float(sum(len(one.said) for one in seen))]))
    table.add("sessions with a failure", share([bool(one.failures) for one in seen]), "%", 100)
    table.add("turns that were degraded", share([one.degraded > 0 for one in seen]), "%", 100)
    table.add("one more is refused with 503", share([refused]), "%", 100)
    moved = [one.steps_m() for one in seen]
    table.add(
        "largest step of a wrist in a frame", median([float(step.max()) for step, _ in moved if len(step)]), "cm", 100
    )
    table.add("bodies without a missing frame", share([gaps == 0 for _, gaps in moved]), "%", 100)
    table.add("taken up after kill -9", share(resumed), "%", 100)
    table.details = {
        "waits_s": {one.name[:8]: [round(w, 3) for w in one.waits] for one in seen},
        "failures": [failure for one in seen for failure in one.failures],
        "largest_step_cm": [round(100 * float(step.max()), 1) if len(step) else None for step, _ in moved],
    }
    return table
