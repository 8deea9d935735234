"""A session that replays a recorded turn (`record_turn.py`): the page's own work is tested without a model."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np

from visavis.agent.events import (
    Event,
    FaceDelta,
    GestureAdded,
    InputEvent,
    MotionDelta,
    ResponseCreated,
    ResponseDone,
    ResponseEmotion,
    ResponseInterrupted,
    SessionState,
    SpeechDelta,
    TextDelta,
)
from visavis.agent.persona import Persona, load_persona
from visavis.motion.idle import idle
from visavis.motion.motion import Motion
from visavis.ui.page import build_page
from visavis.ui.server import listen

RECORDED = Path(__file__).parent / "data" / "turn.npz"
POINTS = ("start_s", "ready_s", "stroke_start_s", "stroke_s", "stroke_end_s", "relax_s", "end_s")


class ReplaySession:
    """Answers every line with the recorded turn, clause by clause, as fast as it is told to."""

    def __init__(self, pause_s: float = 0.0) -> None:
        self.pause_s = pause_s
        self.received: list[Event] = []
        self.told_heard: list[tuple[str, str, float]] = []
        self._stop = False
        self._turns = 0
        self._idle_s = 0.0

    def interrupt(self) -> None:
        self._stop = True

    def receive(self, event: Event) -> None:
        self.received.append(event)

    def heard(self, turn_id: str, text: str, played_s: float) -> None:
        self.told_heard.append((turn_id, text, played_s))

    def idle(self, start_s: float, frames: int) -> Motion:
        motion = idle(frames, 0, self._idle_s)
        self._idle_s += frames / 30
        return motion.with_face(np.zeros((frames, 52), np.float32))

    async def respond(self, text: str) -> AsyncIterator[Event]:
        self._stop = False
        self._turns += 1
        turn = {"turn_id": f"turn-{self._turns}"}
        data = np.load(RECORDED)
        yield SessionState(state="thinking", **turn)
        yield ResponseCreated(**turn)
        yield ResponseEmotion(emotion="joy", intensity=0.7, **turn)
        said: list[str] = []
        for i in range(2):
            await asyncio.sleep(self.pause_s)
            if self._stop:
                yield ResponseInterrupted(heard=" ".join(said), heard_s=float(data[f"start_s_{i}"]), **turn)
                yield SessionState(state="listening", **turn)
                return
            start_s = float(data[f"start_s_{i}"])
            said.append(str(data[f"text_{i}"]))
            yield TextDelta(text=said[-1], clause=i, **turn)
            times = dict(zip(POINTS, data[f"gesture_s_{i}"].tolist(), strict=True))
            yield GestureAdded(gesture={"gloss": str(data[f"gloss_{i}"]), **times}, **turn)
            words = [
                {"text": str(word), "start_s": float(a), "end_s": float(b), "stress": 0.0}
                for word, (a, b) in zip(data[f"words_{i}"], data[f"word_s_{i}"], strict=True)
            ]
            rate = int(data["rate_hz"])
            yield SpeechDelta(pcm=data[f"pcm_{i}"], sample_rate_hz=rate, start_s=start_s, words=words, **turn)
            yield FaceDelta(weights=data[f"face_{i}"].astype(np.float32) / 255, start_s=start_s, **turn)
            body = {name: data[f"{name}_{i}"].astype(np.float32) for name in ("rotations", "root_m")}
            yield MotionDelta(start_s=start_s, **body, **turn)
        yield ResponseDone(turn={"duration_s": float(data["duration_s"])}, **turn)
        yield SessionState(state="idle", **turn)


class ReplayAgent:
    """An agent whose sessions replay."""

    def __init__(self, name: str = "guide", pause_s: float = 0.0) -> None:
        self.persona: Persona = load_persona(name)
        self.pause_s = pause_s
        self.sessions: list[ReplaySession] = []

    def session(self) -> ReplaySession:
        self.sessions.append(ReplaySession(self.pause_s))
        return self.sessions[-1]

    @property
    def typing(self) -> list[str]:
        """Names of the events that all sessions got."""
        return [e.name for s in self.sessions for e in s.received if isinstance(e, InputEvent)]


@contextlib.contextmanager
def serving(agent: ReplayAgent) -> Iterator[str]:
    """The page's address, while it is served from a thread."""
    import uvicorn

    listener = listen("127.0.0.1", 0)
    app = build_page(agent, lambda name: ReplayAgent(name))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="websockets-sansio", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        for _ in range(600):
            if server.started:
                break
            time.sleep(0.05)
        assert server.started, "the page did not start within 30 s"
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
