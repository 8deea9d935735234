"""The door: every request and connection passes here before anything else looks at it.

Without the token nothing but health is answered; a page of an unknown origin is refused; whoever asks too often or
sends too much is told so. Pure ASGI, so that it holds for HTTP and WebSockets alike.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from visavis.ui.api.access import Access
from visavis.ui.api.limits import Buckets, Limits

__all__ = ["HEALTH", "Guard", "problem"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

HEALTH: Final = "/v1/health"


def problem(code: str, message: str) -> bytes:
    """The body of a refusal."""
    return json.dumps({"error": {"code": code, "message": message}}).encode()


class Guard:
    """ASGI middleware.

    Args:
        app: what is guarded.
        access: who may come in.
        limits: how often and how much.
    """

    def __init__(self, app: App, access: Access, limits: Limits) -> None:
        self.app, self.access, self.limits = app, access, limits
        self._rates = Buckets(limits.requests_per_s, limits.burst)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Let a request in or refuse it."""
        if scope["type"] not in ("http", "websocket") or scope["path"] == HEALTH:
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        client = scope.get("client")
        wait_s = self._rates.take(client[0] if client else "")
        if wait_s:
            await _refuse(scope, send, 429, "too_many_requests", "asked too often: wait a moment", wait_s)
        elif not self.access.trusts(headers):
            await _refuse(scope, send, 403, "foreign_origin", "this server does not talk to pages of that origin")
        elif not self.access.admits(headers):
            await _refuse(scope, send, 401, "no_token", "expected the server's token: Authorization: Bearer TOKEN")
        elif scope["type"] == "http":
            await self._bounded(scope, receive, send, headers)
        else:
            await self.app(scope, receive, send)

    async def _bounded(self, scope: Message, receive: Receive, send: Send, headers: dict[str, str]) -> None:
        """Pass an HTTP request on, its body up to the bound; a length that is only claimed is not believed."""
        most = self.limits.body_bytes
        claimed = headers.get("content-length", "0")
        body, more = bytearray(), True
        too_long = not claimed.isdigit() or int(claimed) > most
        while more and not too_long:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            too_long = len(body) > most
        if too_long:
            await _refuse(scope, send, 413, "too_large", f"a request may have {most:,} bytes")
            return
        given = False

        async def again() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        await self.app(scope, again, send)


async def _refuse(
    scope: Message, send: Send, status: int, code: str, message: str, again_s: float | None = None
) -> None:
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if again_s is not None:
        headers.append((b"retry-after", str(max(1, round(again_s + 0.5))).encode()))
    if scope["type"] == "http":
        kind = "http.response"
    elif "websocket.http.response" in scope.get("extensions", {}):
        kind = "websocket.http.response"
    else:
        await send({"type": "websocket.close", "code": 4000 + status, "reason": message})
        return
    await send({"type": f"{kind}.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.body", "body": problem(code, message)})
