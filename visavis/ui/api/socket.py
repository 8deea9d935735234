"""A session's events over a WebSocket, both ways: `/v1/sessions/ID/events`.

What a session tells goes to every socket that reads it; a client's mistakes are told to that client alone. A client
that sends faster than it may is read more slowly; one that does not take what it is sent is cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final

from visavis.agent.events import ErrorEvent, Event
from visavis.agent.wire import WireError, pack, unpack
from visavis.errors import VisavisError
from visavis.ui.api.limits import Bucket, Limits
from visavis.ui.api.sessions import Hosted

if TYPE_CHECKING:
    from fastapi import WebSocket

__all__ = ["FROM_CLIENT", "serve_socket"]

log = logging.getLogger(__name__)

FROM_CLIENT: Final = frozenset({
    "input.text", "input.audio.append", "input.motion.append", "input.scene", "input.event", "input.playback",
    "response.cancel", "session.update",
})  # fmt: skip
SEND_S: Final = 20.0  # in which a client must have taken a frame
TOO_SLOW: Final = 4408
SESSION_OVER: Final = 4410
MISTAKES: Final = 100  # of one client, after which it is cut off
TOO_WRONG: Final = 4400
BURST_S: Final = 20.0


async def serve_socket(websocket: WebSocket, hosted: Hosted, limits: Limits) -> None:
    """Carry events until either side ends; the socket is accepted already."""
    reader = hosted.session.events()
    hosted.readers += 1
    own: asyncio.Queue[Event] = asyncio.Queue(MISTAKES)
    jobs = [
        asyncio.create_task(_tell(websocket, reader)),
        asyncio.create_task(_tell_own(websocket, own)),
        asyncio.create_task(_hear(websocket, hosted, limits, own)),
    ]
    try:
        await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
    finally:
        hosted.readers -= 1
        hosted.touch()
        reader.close()
        for job in jobs:
            job.cancel()
        ended = await asyncio.gather(*jobs, return_exceptions=True)
        codes = [one for one in ended if isinstance(one, int)]
        for error in ended:
            if isinstance(error, Exception) and not _gone(error):
                log.error("the socket failed", exc_info=error)
        with contextlib.suppress(Exception):  # closed by the other side already
            await websocket.close(codes[0] if codes else 1000)


def _gone(error: BaseException) -> bool:
    from starlette.websockets import WebSocketDisconnect

    # Starlette raises a plain RuntimeError when a frame is sent after the other side has gone.
    return isinstance(error, WebSocketDisconnect | RuntimeError)


async def _tell(websocket: WebSocket, reader: Any) -> int:
    """Send what the session tells; the code with which to close."""
    async for event in reader:
        if not await _send(websocket, event):
            return TOO_SLOW
    return SESSION_OVER


async def _tell_own(websocket: WebSocket, own: asyncio.Queue[Event]) -> int:
    while True:
        if not await _send(websocket, await own.get()):
            return TOO_SLOW


async def _send(websocket: WebSocket, event: Event) -> bool:
    try:
        frame = pack(event)
    except WireError:
        log.exception("an event could not be sent")
        return True
    try:
        async with asyncio.timeout(SEND_S):
            await (websocket.send_text(frame) if isinstance(frame, str) else websocket.send_bytes(frame))
    except TimeoutError:
        return False
    return True


async def _hear(websocket: WebSocket, hosted: Hosted, limits: Limits, own: asyncio.Queue[Event]) -> int:
    """Take what the client sends; the code with which to close."""
    events = Bucket(limits.events_per_s, limits.events_per_s * BURST_S)
    bytes_ = Bucket(limits.bytes_per_s, limits.bytes_per_s * BURST_S)
    mistakes = 0
    while (message := await websocket.receive())["type"] != "websocket.disconnect":
        frame = message["text"] if message.get("text") is not None else message.get("bytes") or b""
        for bucket, count in ((events, 1.0), (bytes_, float(len(frame)))):
            # A frame larger than the bucket could never be paid for; the server's own bound has let it in.
            while wait_s := bucket.take(min(count, bucket.size)):
                await asyncio.sleep(min(wait_s, 1.0))
        hosted.touch()
        try:
            event = unpack(frame)
            if event.type not in FROM_CLIENT:
                may = ", ".join(sorted(FROM_CLIENT))
                raise WireError(f"{event.type} is not for clients to send; these are: {may}")
            # In a thread, because hearing takes its time; in order, because audio is a stream.
            await asyncio.to_thread(hosted.session.receive, event)
        except VisavisError as error:
            mistakes += 1
            if mistakes > MISTAKES:
                return TOO_WRONG
            with contextlib.suppress(asyncio.QueueFull):
                own.put_nowait(ErrorEvent(session_id=hosted.id, message=str(error)))
        except Exception:
            log.exception("an event of a client could not be taken")
            with contextlib.suppress(asyncio.QueueFull):
                own.put_nowait(
                    ErrorEvent(
                        session_id=hosted.id, message="this event failed inside visavis: the log has the details"
                    )
                )
    return 1000
