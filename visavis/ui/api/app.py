"""The server as one application: `visavis serve`.

Everything but `/v1/health` needs the token. On shutdown new sessions are refused, what is being said is finished, and
then sockets and sessions end. Annotations are evaluated here, because FastAPI reads them.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from visavis.errors import MissingExtraError
from visavis.ui.api.access import PROTOCOL, Access
from visavis.ui.api.figures import Figures, TurnWatch
from visavis.ui.api.guard import Guard, problem
from visavis.ui.api.limits import Limits
from visavis.ui.api.rest import Facts, add_errors, router
from visavis.ui.api.sessions import Agents, Full, Hosted, HostedSessions
from visavis.ui.api.socket import serve_socket

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["build_api"]

DRAIN_S: Final = 15.0


def build_api(
    open_session: Agents,
    facts: Facts,
    access: Access,
    limits: Limits | None = None,
    drain_s: float = DRAIN_S,
) -> "FastAPI":
    """The application; `app.state.sessions` holds its sessions.

    Args:
        open_session: opens the session of a persona and an id; called in threads.
        facts: personas and library.
        access: who may come in.
        limits: how much is taken on.
        drain_s: how long a shutdown waits for what is being said.
    Raises:
        MissingExtraError: the extra `serve` is not installed.
    """
    try:
        from fastapi import FastAPI, Request, Response, WebSocket
        from starlette.middleware.cors import CORSMiddleware
    except ImportError as error:
        raise MissingExtraError("the server", "serve") from error
    limits = limits or Limits()
    figures = Figures()
    watches: set[asyncio.Task[None]] = set()
    sessions = _Watched(open_session, limits.sessions, limits.idle_s, figures, watches)

    @contextlib.asynccontextmanager
    async def life(app: "FastAPI") -> AsyncIterator[None]:
        sweeping = asyncio.create_task(sessions.sweep())
        try:
            yield
        finally:
            sweeping.cancel()
            await sessions.drain(drain_s)
            for task in (sweeping, *watches):
                task.cancel()
            await asyncio.gather(sweeping, *watches, return_exceptions=True)

    app = FastAPI(
        title="visavis", version=facts.version, lifespan=life, docs_url=None, redoc_url=None,
        openapi_url="/v1/openapi.json", redirect_slashes=False,
        description="An embodied partner for two-person conversation.",
    )  # fmt: skip
    app.state.sessions, app.state.figures = sessions, figures
    add_errors(app)
    app.include_router(router(sessions, facts))

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(figures.text(), media_type="text/plain; version=0.0.4")

    @app.middleware("http")
    async def count(request: Request, call_next):  # type: ignore[no-untyped-def]
        response = await call_next(request)
        route = getattr(request.scope.get("route"), "path", "none")
        figures.requests.labels(request.method, route, str(response.status_code)).inc()
        return response

    @app.websocket("/v1/sessions/{session_id}/events")
    async def events(websocket: WebSocket, session_id: str) -> None:
        hosted = sessions.get(session_id)
        if hosted is None:
            with contextlib.suppress(RuntimeError):  # where the server cannot answer, 403 tells it
                await websocket.send_denial_response(
                    Response(
                        problem("not_found", "expected the id of an open session: open one first"),
                        404,
                        media_type="application/json",
                    )
                )
                return
            await websocket.close(4404)
            return
        offered = [one.strip() for one in websocket.headers.get("sec-websocket-protocol", "").split(",")]
        await websocket.accept(PROTOCOL if PROTOCOL in offered else None)
        figures.sockets.inc()
        try:
            await serve_socket(websocket, hosted, limits)
        finally:
            figures.sockets.dec()

    app.add_middleware(Guard, access=access, limits=limits)  # type: ignore[arg-type]
    if access.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=sorted(access.origins), allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["authorization", "content-type"],
        )  # fmt: skip
    return app


class _Watched(HostedSessions):
    """Sessions whose turns are counted."""

    def __init__(
        self, open_session: Agents, most: int, idle_s: float, figures: Figures, watches: set[asyncio.Task[None]]
    ) -> None:
        super().__init__(open_session, most, idle_s)
        self._figures, self._watches = figures, watches

    async def open(self, persona: str, session_id: str | None = None) -> Hosted:
        try:
            hosted = await super().open(persona, session_id)
        except Full:
            self._figures.refused.inc()
            raise
        self._figures.sessions.set(len(self))
        task = asyncio.create_task(self._watch(hosted))
        self._watches.add(task)
        task.add_done_callback(self._watches.discard)
        return hosted

    async def close(self, session_id: str) -> bool:
        try:
            return await super().close(session_id)
        finally:
            self._figures.sessions.set(len(self))

    async def _watch(self, hosted: Hosted) -> None:
        watch = TurnWatch(self._figures)
        reader = hosted.session.events(body=False)
        try:
            async for event in reader:
                watch.see(event)
        finally:
            reader.close()
