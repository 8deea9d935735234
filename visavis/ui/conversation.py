"""A conversation as the web sees it: one agent session, and everybody who watches it.

The page asks for words and the viewer for motion, over different connections, and both must see one stream of events.
Knows nothing of HTTP or Gradio. All methods are called on the server's event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final, Protocol

from visavis.agent.events import (
    ErrorEvent,
    Event,
    InputText,
    ResponseCancel,
    ResponseDone,
    ResponseInterrupted,
    SessionState,
)
from visavis.errors import UsageError, VisavisError
from visavis.motion.motion import Motion
from visavis.ui.wire import IdleDelta, IdleRequest

__all__ = ["MAX_IDLE_FRAMES", "ChatSession", "Conversation", "Conversations"]

log = logging.getLogger(__name__)

MAX_IDLE_FRAMES: Final = 300
MAX_LINE_CHARACTERS: Final = 2000
MAX_QUEUE: Final = 2000  # events; a watcher that falls further behind is cut off
CANCEL_WAIT_S: Final = 2.0
FORGET_S: Final = 600.0  # a conversation that nobody watches for so long is closed


class ChatSession(Protocol):
    """What the page needs of an agent's session (`visavis.agent.Agent.session()`)."""

    def respond(self, text: str) -> AsyncIterator[Event]:
        """Answer a line; the stream ends with `response.done` or `response.interrupted`."""
        ...

    def idle(self, start_s: float, frames: int) -> Motion:
        """Idle motion from `start_s` of an axis that never ends; neighbouring pieces join."""
        ...

    def receive(self, event: Event) -> None:
        """Take an event of the client: playback, typing, scene, cancel, settings. Returns at once."""
        ...


class Conversation:
    """One session with its watchers."""

    def __init__(self, session: ChatSession) -> None:
        self.id = secrets.token_urlsafe(18)
        self.session = session
        self.messages: list[dict[str, str]] = []
        self.unwatched_since = time.monotonic()
        self._watchers: set[asyncio.Queue[Event | None]] = set()
        self._turn: asyncio.Task[None] | None = None
        self._state = "idle"

    @property
    def busy(self) -> bool:
        """A turn is being made."""
        return self._turn is not None and not self._turn.done()

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

    @property
    def watched(self) -> bool:
        """Somebody is looking."""
        return bool(self._watchers)

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
        self._turn = asyncio.create_task(self._respond(text))

    async def cancel(self) -> None:
        """Stop the turn under way; returns when it has ended."""
        self.session.receive(ResponseCancel())
        turn = self._turn
        if turn is None or turn.done():
            return
        done, _ = await asyncio.wait({turn}, timeout=CANCEL_WAIT_S)
        if not done:
            log.warning("the turn did not end within %.0f s of its cancellation", CANCEL_WAIT_S)
            turn.cancel()
            await asyncio.wait({turn}, timeout=CANCEL_WAIT_S)

    async def receive(self, event: Event) -> None:
        """Take any event of a client."""
        if isinstance(event, InputText):
            await self.say(event.text)
        elif isinstance(event, ResponseCancel):
            await self.cancel()
        else:
            self.session.receive(event)

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

    async def _respond(self, text: str) -> None:
        ended = False
        try:
            async for event in self.session.respond(text):
                ended = ended or isinstance(event, ResponseDone | ResponseInterrupted)
                self._publish(event)
        except VisavisError as error:
            self._publish(ErrorEvent(message=str(error)))
        except Exception:
            log.exception("the turn failed")
            self._publish(ErrorEvent(message="the answer failed inside visavis: the server's log has the details"))
        finally:
            if not ended:
                self._publish(ResponseInterrupted(heard="", heard_s=0.0))
            self._publish(SessionState(state="idle"))

    def _publish(self, event: Event) -> None:
        if isinstance(event, SessionState):
            self._state = event.state
        for queue in list(self._watchers):
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                self._end(queue)

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
            closing = getattr(conversation.session, "close", None)
            if closing is not None and not inspect.iscoroutinefunction(closing):
                closing()
