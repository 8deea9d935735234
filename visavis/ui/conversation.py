"""A conversation as the web sees it: one agent session, and everybody who watches it.

The page asks for words and the viewer for motion, over different connections, and both must see one stream of events.
Knows nothing of HTTP or Gradio. All methods are called on the server's event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from visavis.agent.events import (
    ErrorEvent,
    Event,
    InputEvent,
    InputPlayback,
    InputText,
    ResponseCancel,
    ResponseCreated,
    ResponseDone,
    ResponseInterrupted,
    SessionState,
    SpeechDelta,
    TextDelta,
)
from visavis.agent.visit import HAPPENINGS
from visavis.agent.wire import IdleDelta, IdleRequest
from visavis.errors import UsageError, VisavisError
from visavis.motion.motion import Motion

__all__ = ["MAX_IDLE_FRAMES", "ChatSession", "Conversation", "Conversations"]

log = logging.getLogger(__name__)

MAX_IDLE_FRAMES: Final = 300
MAX_LINE_CHARACTERS: Final = 2000
MAX_QUEUE: Final = 2000  # events; a watcher that falls further behind is cut off
CANCEL_WAIT_S: Final = 2.0
FORGET_S: Final = 600.0  # a conversation that nobody watches for so long is closed


class ChatSession(Protocol):
    """What the page needs of an agent's session (`visavis.agent.Session`).

    A session may also have `receive(event)`, for events of the client that concern it (typing, scene, microphone, how
    much was played), `heard(turn_id, text, played_s)`, which is told how far a turn was played that was stopped, and
    `words_for(name)`, what it says when somebody comes, leaves or keeps silent; its `respond` then takes `say`.
    """

    def respond(self, text: str) -> AsyncIterator[Event]:
        """Answer a line; the stream ends with `response.done` or `response.interrupted`."""
        ...

    def interrupt(self) -> None:
        """Stop the turn in the making; returns at once."""
        ...

    def idle(self, start_s: float, frames: int) -> Motion:
        """The next `frames` frames of idle motion, which continue what was last made."""
        ...


@dataclass(eq=False)
class _Playing:
    """The latest turn, as far as the client has it."""

    turn_id: str
    message: dict[str, str]
    words: list[dict[str, Any]] = field(default_factory=list)
    played_s: float | None = None  # None: no client has reported
    duration_s: float | None = None  # None: not yet complete
    over: bool = False

    @property
    def unheard(self) -> bool:
        """All of it was sent, and a client is still playing it."""
        sent = self.duration_s is not None and self.played_s is not None
        return sent and not self.over and self.played_s < self.duration_s - 0.1  # type: ignore[operator]

    @property
    def heard(self) -> str:
        """The words that had ended."""
        played_s = self.played_s or 0.0
        return " ".join(str(word["text"]) for word in self.words if float(word["end_s"]) <= played_s)


class Conversation:
    """One session with its watchers."""

    def __init__(self, session: ChatSession) -> None:
        self.id = secrets.token_urlsafe(18)
        self.session = session
        self.messages: list[dict[str, str]] = []
        self.unwatched_since = time.monotonic()
        self._watchers: set[asyncio.Queue[Event | None]] = set()
        self._turn: asyncio.Task[None] | None = None
        self._playing: _Playing | None = None
        self._state = "idle"

    @property
    def busy(self) -> bool:
        """A turn is being made."""
        return self._turn is not None and not self._turn.done()

    @property
    def watched(self) -> bool:
        """Somebody is looking."""
        return bool(self._watchers)

    @contextlib.contextmanager
    def watch(self) -> Iterator[asyncio.Queue[Event | None]]:
        """A queue that gets every event from now on; None tells that no more will come."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue(MAX_QUEUE)
        queue.put_nowait(SessionState(state=self._state))
        self._watchers.add(queue)
        try:
            yield queue
        finally:
            self._watchers.discard(queue)
            self.unwatched_since = time.monotonic()

    async def begin(self, session: ChatSession, greeting: str | None = None) -> None:
        """Start anew, with another session."""
        await self.cancel()
        if session is not self.session:
            _close(self.session)
        self.session = session
        self.messages = [{"role": "assistant", "content": greeting}] if greeting else []

    async def say(self, text: str) -> None:
        """The user said a line: a turn under way is interrupted, and a new one begins.

        Raises:
            UsageError: nothing to answer, or far too much of it.
        """
        text = text.strip()
        if not text or len(text) > MAX_LINE_CHARACTERS:
            raise UsageError(f"a line must have 1 to {MAX_LINE_CHARACTERS:,} characters; got {len(text):,}")
        await self.cancel()
        self.messages.append({"role": "user", "content": text})
        self._begin_turn(self.session.respond(text))

    def _begin_turn(self, events: AsyncIterator[Event]) -> None:
        message = {"role": "assistant", "content": ""}
        self.messages.append(message)
        self._turn = asyncio.create_task(self._respond(events, message))

    async def cancel(self) -> None:
        """Stop the turn that is made or played; returns when it has ended."""
        turn = self._turn
        if turn is not None and not turn.done():
            self.session.interrupt()
            done, _ = await asyncio.wait({turn}, timeout=CANCEL_WAIT_S)
            if not done:
                log.warning("the turn did not end within %.0f s of its cancellation", CANCEL_WAIT_S)
                turn.cancel()
                await asyncio.wait({turn}, timeout=CANCEL_WAIT_S)
        elif self._playing is not None and self._playing.unheard:
            heard_s = self._playing.played_s or 0.0
            turn_id = self._playing.turn_id
            self._publish(ResponseInterrupted(turn_id=turn_id, heard=self._playing.heard, heard_s=heard_s))
            self._publish(SessionState(turn_id=turn_id, state="listening"))

    async def receive(self, event: Event) -> None:
        """Take any event of a client."""
        if isinstance(event, InputText):
            await self.say(event.text)
        elif isinstance(event, ResponseCancel):
            await self.cancel()
        elif isinstance(event, InputPlayback):
            if self._playing is not None and event.turn_id == self._playing.turn_id:
                self._playing.played_s = max(event.played_s, self._playing.played_s or 0.0)
            if (take := getattr(self.session, "receive", None)) is not None:
                take(event)  # the session keeps account of what was heard, and holds it to bounds
        elif isinstance(event, InputEvent) and event.name in HAPPENINGS and hasattr(self.session, "words_for"):
            if event.name == "leave":
                await self.cancel()
            line = self.session.words_for(event.name)
            if line is not None:
                self._begin_turn(self.session.respond(say=line))  # type: ignore[call-arg]  # it goes with `words_for`
        elif (take := getattr(self.session, "receive", None)) is not None:
            take(event)

    async def idle(self, request: IdleRequest) -> IdleDelta:
        """Idle motion, made beside the event loop.

        Raises:
            UsageError: more frames, or an earlier start, than can be asked for.
        """
        if not 1 <= request.frames <= MAX_IDLE_FRAMES or not 0 <= request.start_s < 1e6:
            raise UsageError(
                f"idle.request: frames must lie in 1..{MAX_IDLE_FRAMES} and start_s in [0, 1e6); "
                f"got {request.frames} and {request.start_s}"
            )
        motion = await asyncio.to_thread(self.session.idle, request.start_s, request.frames)
        return IdleDelta(
            rotations=motion.rotations,
            root_m=motion.root_m,
            weights=motion.face,
            start_s=request.start_s,
            fps=motion.fps,
        )

    def close(self) -> None:
        """End it for everybody."""
        if self._turn is not None:
            self._turn.cancel()
        for queue in list(self._watchers):
            self._end(queue)

    async def _respond(self, events: AsyncIterator[Event], message: dict[str, str]) -> None:
        turn_id = ""
        ended = False
        try:
            async for event in events:
                if isinstance(event, ResponseCreated):
                    turn_id = event.turn_id
                    self._playing = _Playing(turn_id, message)
                ended = ended or isinstance(event, ResponseDone | ResponseInterrupted)
                self._publish(event)
        except VisavisError as error:
            message["content"] = str(error)
            self._publish(ErrorEvent(turn_id=turn_id, message=str(error)))
        except Exception:
            log.exception("the turn failed")
            message["content"] = "The answer failed inside visavis: the server's log has the details."
            self._publish(ErrorEvent(turn_id=turn_id, message=message["content"]))
        finally:
            if not ended:
                self._publish(ResponseInterrupted(turn_id=turn_id, heard="", heard_s=0.0))
                self._publish(SessionState(turn_id=turn_id, state="idle"))

    def _publish(self, event: Event) -> None:
        self._record(event)
        for queue in list(self._watchers):
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                self._end(queue)

    def _record(self, event: Event) -> None:
        """Keep the chat, and what is known of the playing, up to date."""
        playing = self._playing
        if isinstance(event, SessionState):
            self._state = event.state
        if playing is None or event.turn_id != playing.turn_id:
            return
        message = playing.message
        if isinstance(event, TextDelta):
            message["content"] = f"{message['content']} {event.text.strip()}".strip()
        elif isinstance(event, SpeechDelta):
            playing.words.extend(event.words)
        elif isinstance(event, ResponseDone):
            playing.duration_s = float(event.turn.get("duration_s", 0.0))
        elif isinstance(event, ResponseInterrupted) and not playing.over:
            playing.over = True
            if playing.played_s is not None:  # what was heard is what the client played, not what was sent
                event.heard, event.heard_s = playing.heard, playing.played_s
            message["content"] = f"{event.heard} …".strip()
            if (tell := getattr(self.session, "heard", None)) is not None:
                tell(playing.turn_id, event.heard, event.heard_s)

    def _end(self, queue: asyncio.Queue[Event | None]) -> None:
        self._watchers.discard(queue)
        while queue.full():
            queue.get_nowait()
        queue.put_nowait(None)


class Conversations:
    """The conversations of one server, by id."""

    def __init__(self, open_session: Callable[[], ChatSession]) -> None:
        self._open_session = open_session
        self._all: dict[str, Conversation] = {}

    def open(self) -> Conversation:
        """A new conversation; those that nobody watched for long are closed."""
        for old in list(self._all.values()):
            if not old.watched and not old.busy and time.monotonic() - old.unwatched_since > FORGET_S:
                self.close(old.id)
        conversation = Conversation(self._open_session())
        self._all[conversation.id] = conversation
        return conversation

    def get(self, id_: str) -> Conversation | None:
        """The conversation of an id, if there is one."""
        return self._all.get(id_)

    def close(self, id_: str) -> None:
        """End a conversation; unknown ids are none of our concern."""
        if conversation := self._all.pop(id_, None):
            conversation.close()
            _close(conversation.session)


def _close(session: ChatSession) -> None:
    """Sessions that hold something have `close`."""
    if (close := getattr(session, "close", None)) is not None:
        close()
