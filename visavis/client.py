"""A client of `visavis serve`.

    async with Client("http://127.0.0.1:7860", token) as client:
        session = await client.open("guide")
        async with session.events() as events:
            await session.ask("How big is the blue whale?")
            async for event in events:
                if event.type == "response.done":
                    break

Events are those of `visavis.agent.events`, with arrays as numpy. Needs the extra `serve`.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, Final

import httpx

from visavis.agent.events import Event
from visavis.agent.wire import MAX_FRAME_BYTES, pack, unpack
from visavis.errors import MissingExtraError, ServiceError, UsageError

__all__ = ["Client", "Events", "RemoteSession"]

WAIT_S: Final = 30.0
ENDED: Final = frozenset({1000, 1001, 1012, 4410})  # closed, going away, restarting, the session is over


class Client:
    """Talks to one server.

    Args:
        url: where it is, `http://host:port`.
        token: the server's; `$VISAVIS_TOKEN` by default.
    Raises:
        UsageError: there is no token, or the address is none.
    """

    def __init__(self, url: str = "http://127.0.0.1:7860", token: str | None = None) -> None:
        token = token or os.environ.get("VISAVIS_TOKEN")
        if not token:
            raise UsageError("expected the server's token: give it, or set VISAVIS_TOKEN")
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"expected an address as http://127.0.0.1:7860; got {url[:200]!r}")
        self._url, self._token = url.rstrip("/"), token
        self._http = httpx.AsyncClient(base_url=self._url, headers={"Authorization": f"Bearer {token}"}, timeout=WAIT_S)

    async def open(self, persona: str | None = None, session_id: str | None = None) -> RemoteSession:
        """Open a session; with an id, take up what the server has kept of it."""
        told = await self.request("POST", "/v1/sessions", {"persona": persona, "id": session_id})
        return RemoteSession(self, told["id"])

    async def personas(self) -> list[dict[str, Any]]:
        """Whom one can talk to."""
        return list(await self.request("GET", "/v1/personas"))

    async def library(self, text: str | None = None, k: int = 5) -> list[dict[str, Any]]:
        """Every gesture, or the `k` that fit a text."""
        query = {} if text is None else {"text": text, "k": k}
        return list(await self.request("GET", "/v1/library", query=query))

    async def health(self) -> dict[str, Any]:
        """Whether the server works."""
        return dict(await self.request("GET", "/v1/health"))

    async def request(
        self, method: str, path: str, body: dict[str, Any] | None = None, query: dict[str, Any] | None = None
    ) -> Any:
        """One request; the JSON of its answer.

        Raises:
            UsageError: the server says that the request is wrong.
            ServiceError: it cannot be reached, or takes no more on.
        """
        try:
            answer = await self._http.request(method, path, json=body, params=query)
        except httpx.HTTPError as error:
            raise ServiceError(f"expected a visavis server at {self._url}; {error or type(error).__name__}") from error
        if answer.status_code < 400:
            return answer.json() if answer.content else None
        try:
            message = str(answer.json()["error"]["message"])
        except (ValueError, KeyError, TypeError):
            message = f"the server answered {answer.status_code}"
        kind = ServiceError if answer.status_code in (429, 502, 503) or answer.status_code >= 500 else UsageError
        raise kind(message)

    def socket(self, path: str) -> Any:
        """The WebSocket of a path, as an async context manager."""
        try:
            from websockets.asyncio.client import connect
        except ImportError as error:
            raise MissingExtraError("the client", "serve") from error
        return connect(
            "ws" + self._url.removeprefix("http") + path, max_size=MAX_FRAME_BYTES,
            additional_headers={"Authorization": f"Bearer {self._token}"}, proxy=None,
        )  # fmt: skip

    async def close(self) -> None:
        """Let connections go; sessions stay open until they are closed or nobody needs them."""
        await self._http.aclose()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class RemoteSession:
    """A session on the server. Made by `Client.open`."""

    def __init__(self, client: Client, session_id: str) -> None:
        self.client, self.id = client, session_id
        self._path = f"/v1/sessions/{session_id}"

    async def ask(self, text: str) -> str:
        """Have the partner's line answered; the turn's id. The turn comes by `events`."""
        return str((await self.client.request("POST", f"{self._path}/turns", {"text": text}))["turn_id"])

    async def say(self, text: str) -> str:
        """Have a text said as it is; the turn's id."""
        return str((await self.client.request("POST", f"{self._path}/turns", {"say": text}))["turn_id"])

    async def interrupt(self) -> bool:
        """End what is being said; whether anything was."""
        return bool((await self.client.request("POST", f"{self._path}/interrupt"))["interrupted"])

    async def happened(self, name: str) -> str | None:
        """Somebody approaches or leaves ("approach", "leave"), keeps silent ("silence") or types ("typing_started").

        Returns:
            the id of the turn that says something about it, if one does.
        """
        told = await self.client.request("POST", f"{self._path}/happenings", {"name": name})
        return None if told["turn_id"] is None else str(told["turn_id"])

    async def update(self, /, **settings: Any) -> None:
        """Change settings from the next turn on: voice, rate, emotion, gestures, refine, scene, listening.

        Raises:
            UsageError: a setting that there is not, or a value that cannot be; nothing was changed.
        """
        await self.client.request("PATCH", self._path, settings)

    async def history(self) -> list[tuple[str, str]]:
        """("user" or "agent", text) of what was said and heard."""
        return [(one["speaker"], one["text"]) for one in await self.client.request("GET", f"{self._path}/history")]

    async def close(self) -> None:
        """End the session; what the server keeps of it stays."""
        await self.client.request("DELETE", self._path)

    def events(self) -> Events:
        """Its events from now on, as an async context manager that is iterated; `send` goes the other way."""
        return Events(self.client.socket(f"{self._path}/events"))


class Events:
    """A connection to a session. Made by `RemoteSession.events`."""

    def __init__(self, connecting: Any) -> None:
        self._connecting = connecting
        self._socket: Any = None

    async def __aenter__(self) -> Events:
        try:
            self._socket = await self._connecting.__aenter__()
        except Exception as error:
            raise ServiceError(f"the session's events cannot be read: {error}") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connecting.__aexit__(kind, error, trace)

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> Event:
        """The next event; the iteration ends with the session or the server. A wait may be cancelled.

        Raises:
            ServiceError: the connection was lost or ended by the server because of this client.
        """
        from websockets.exceptions import ConnectionClosed

        try:
            return unpack(await self._socket.recv())
        except ConnectionClosed as error:
            code = error.rcvd.code if error.rcvd is not None else 1006
            if code not in ENDED:
                raise ServiceError(f"the session's events ended: {error}") from error
            raise StopAsyncIteration from None

    async def send(self, event: Event) -> None:
        """Send an `input.*` event, as audio (`InputAudio`) or what was played (`InputPlayback`)."""
        await self._socket.send(pack(event))
