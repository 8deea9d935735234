"""The server of the page: `/ws` carries a conversation, `/visavis/viewer.js` and `/visavis/avatar.vrm` feed the viewer.

It binds to this machine unless told otherwise, and a page of another site cannot talk to it (its Origin differs).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import socket
from collections.abc import Awaitable, Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from visavis.agent.events import ErrorEvent, Event
from visavis.agent.wire import MAX_FRAME_BYTES, IdleRequest, WireError, pack, unpack
from visavis.errors import MissingExtraError, UsageError, VisavisError
from visavis.ui.avatar import avatar_vrm
from visavis.ui.conversation import ChatSession, Conversation, Conversations
from visavis.viewer import bundle_path

if TYPE_CHECKING:
    from fastapi import FastAPI, WebSocket

__all__ = ["build_app", "listen", "run", "uvicorn_server", "viewer_version"]

log = logging.getLogger(__name__)

UNKNOWN_SESSION: Final = 4404
REFUSED: Final = 4403
FROM_CLIENT: Final = frozenset({
    "input.text", "input.audio.append", "input.motion.append", "input.scene", "input.event", "input.playback",
    "response.cancel", "session.update", IdleRequest.type,
})  # fmt: skip


def build_app(open_session: Callable[[], ChatSession], avatar: str | Path | None = None) -> FastAPI:
    """The application; `app.state.conversations` holds its conversations.

    `avatar` is whom the viewer shows: a shipped avatar's name or a `.vrm` file, see `avatar_vrm`.

    `/ws?session=ID` joins a conversation that the page opened; `/ws` alone opens one for as long as it is connected.
    """
    try:
        from fastapi import FastAPI, Response
        from fastapi.responses import FileResponse
        from starlette.routing import WebSocketRoute
    except ImportError as error:
        raise MissingExtraError("the socket server", "serve") from error

    avatar_vrm(avatar)  # a wrong file is told now, not in the browser
    app = FastAPI(title="visavis", docs_url=None, redoc_url=None, openapi_url=None)
    conversations = Conversations(open_session)
    app.state.conversations = conversations

    @app.get("/visavis/viewer.js")
    async def viewer() -> Response:
        return FileResponse(bundle_path(), media_type="text/javascript", headers={"Cache-Control": "no-cache"})

    @app.get("/visavis/avatar.vrm")
    async def body() -> Response:
        content = await asyncio.to_thread(avatar_vrm, avatar)
        return Response(content, media_type="model/gltf-binary", headers={"Cache-Control": "no-cache"})

    @app.get("/visavis/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    async def endpoint(websocket: WebSocket) -> None:
        await _serve_socket(websocket, conversations)

    app.router.routes.append(WebSocketRoute("/ws", endpoint))
    return app


async def _serve_socket(websocket: WebSocket, conversations: Conversations) -> None:
    from starlette.websockets import WebSocketDisconnect

    await websocket.accept()
    if not _same_site(websocket.headers.get("origin"), websocket.headers.get("host", "")):
        await websocket.close(REFUSED, "this server talks to its own pages only")
        return
    wanted = websocket.query_params.get("session", "")
    conversation = conversations.get(wanted) if wanted else conversations.open()
    if conversation is None:
        await websocket.close(UNKNOWN_SESSION, "unknown session: reload the page")
        return
    try:
        with conversation.watch() as queue:
            jobs = [
                asyncio.create_task(_send_all(websocket, queue)),
                asyncio.create_task(_receive_all(websocket, conversation, queue)),
            ]
            try:
                await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for job in jobs:
                    job.cancel()
            await asyncio.wait(jobs)
            for job in jobs:
                error = None if job.cancelled() else job.exception()
                if isinstance(error, Exception) and not _is_disconnect(error):
                    log.error("the socket failed", exc_info=error)
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # closed by the other side already
            await websocket.close()
    finally:
        if not wanted:
            conversations.close(conversation.id)


def _is_disconnect(error: Exception) -> bool:
    from starlette.websockets import WebSocketDisconnect

    # Starlette raises a plain RuntimeError when a frame is sent after the other side has gone.
    return isinstance(error, WebSocketDisconnect | RuntimeError)


async def _send_all(websocket: WebSocket, queue: asyncio.Queue[Event | None]) -> None:
    while (event := await queue.get()) is not None:
        try:
            frame = pack(event)
        except WireError:
            log.exception("an event could not be sent")
            continue
        await (websocket.send_text(frame) if isinstance(frame, str) else websocket.send_bytes(frame))


async def _receive_all(websocket: WebSocket, conversation: Conversation, queue: asyncio.Queue[Event | None]) -> None:
    """Answers that concern this client alone (idle motion, its mistakes) go through its own queue."""
    idling: asyncio.Task[None] | None = None
    try:
        while (message := await websocket.receive())["type"] != "websocket.disconnect":
            try:
                event = unpack(message["text"] if message.get("text") is not None else message["bytes"])
                if event.type not in FROM_CLIENT:
                    may = ", ".join(sorted(FROM_CLIENT))
                    raise WireError(f"{event.type} is not for clients to send; these are: {may}")
                if not isinstance(event, IdleRequest):
                    await conversation.receive(event)
                elif idling is None or idling.done():  # one at a time; a client that gets none asks again
                    idling = asyncio.create_task(_idle(conversation, event, queue))
            except VisavisError as error:
                await queue.put(ErrorEvent(message=str(error)))
    finally:
        if idling is not None:
            idling.cancel()


async def _idle(conversation: Conversation, request: IdleRequest, queue: asyncio.Queue[Event | None]) -> None:
    try:
        await queue.put(await conversation.idle(request))
    except VisavisError as error:
        await queue.put(ErrorEvent(message=str(error)))
    except Exception:
        log.exception("idle motion failed")


def _same_site(origin: str | None, host: str) -> bool:
    """Browsers send the Origin of the page; programs send none."""
    return origin is None or urlsplit(origin).netloc.lower() == host.lower()


@lru_cache(maxsize=1)
def viewer_version() -> str:
    """Changes with the viewer's bundle, so that browsers do not keep an old one."""
    return hashlib.sha256(bundle_path().read_bytes()).hexdigest()[:12]


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        UsageError: the address cannot be used; one line.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named TCP, or asyncio leaves Nagle's algorithm on and small answers wait 40 ms for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        raise UsageError(
            f"expected a free address to listen on; {host}:{port} cannot be used ({error}): "
            "stop the other program or choose another port with --port"
        ) from error
    return listener


def uvicorn_server(
    app: FastAPI,
    ready: Callable[[], None] | None = None,
    drain: Callable[[], Awaitable[None]] | None = None,
) -> Any:
    """A uvicorn server; `ready` is called when connections are accepted, `drain` before they are ended."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if ready is not None and self.started:
                ready()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            if drain is not None and not self.force_exit:
                await drain()
            await super().shutdown(sockets)

    return Server(
        uvicorn.Config(
            app, log_level="warning", ws="websockets-sansio", ws_max_size=MAX_FRAME_BYTES, timeout_graceful_shutdown=2
        )
    )


def run(
    app: FastAPI,
    listener: socket.socket,
    ready: Callable[[], None] | None = None,
    drain: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Serve until interrupted; see `uvicorn_server`."""
    uvicorn_server(app, ready, drain).run(sockets=[listener])
