"""A connection to an OpenAI-compatible server: one pool, one way to ask, one kind of error.

A question that failed before anything came back is asked once more, because nothing was emitted; one that broke off
later is not. Keys come from the environment, travel in the header only, and stand in no message and no log.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from visavis.errors import ServiceError, UsageError

__all__ = ["KEY_NAMES", "Connection", "Refused"]

KEY_NAMES = ("VISAVIS_API_KEY", "OPENAI_API_KEY")
AGAIN_AFTER_S = 0.2
_PASSING = frozenset({408, 429, 500, 502, 503, 504})  # states of a server that may be over in a moment


class Refused(ServiceError):
    """The server is there and does not want this request; `status` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Connection:
    """Requests to one server. Usable from several threads; `close` it at the end.

    Args:
        base_url: up to and without `/chat/completions`, as other clients take it: `http://127.0.0.1:8000/v1`.
        key: of the server; by default `$VISAVIS_API_KEY` or `$OPENAI_API_KEY`.
        timeout_s: how long the server may be silent.

    Raises:
        UsageError: the address is none.
    """

    def __init__(self, base_url: str, *, key: str | None = None, timeout_s: float = 20.0) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"expected --base-url as http://HOST:PORT/v1; got {_shown(base_url)!r}")
        if parts.username or parts.password:
            raise UsageError(f"expected an address without a password; give the key in ${KEY_NAMES[0]}")
        base_url = base_url.rstrip("/")
        self.base_url = base_url if urlsplit(base_url).path else f"{base_url}/v1"
        key = key or next((os.environ[name] for name in KEY_NAMES if os.environ.get(name)), None)
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(timeout_s, connect=3.0),
            limits=httpx.Limits(max_connections=128, max_keepalive_connections=64),
            # A proxy of the environment is for what lies outside; the usual server is this machine.
            trust_env=parts.hostname not in ("127.0.0.1", "localhost", "::1"),
        )

    @property
    def root_url(self) -> str:
        """The address without its last part (`/v1`), where servers keep `/health`."""
        return self.base_url.rsplit("/", 1)[0]

    def get(self, path: str) -> dict[str, Any]:
        """The JSON object at `path`, below the base."""
        return self._whole("GET", f"{self.base_url}{path}", None)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON object that answers `body`."""
        return self._whole("POST", f"{self.base_url}{path}", body)

    def well(self) -> bool:
        """Whether the server says within a second that it is."""
        try:
            return self._client.get(f"{self.root_url}/health", timeout=1.0).status_code == 200
        except httpx.HTTPError:
            return False

    def reachable(self) -> bool:
        """Whether anything answers there within a second; for servers that have no `/health`."""
        try:
            self._client.get(f"{self.base_url}/models", timeout=1.0)
        except httpx.HTTPError:
            return False
        return True

    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The JSON object of every server-sent event that answers `body`; closing the iterator cancels there, too.

        Of a server that does not stream it is one object, the whole answer.
        """
        begun, again = False, True
        while True:
            try:
                with self._client.stream("POST", f"{self.base_url}{path}", json=body) as response:
                    if response.status_code != 200:
                        response.read()
                        if again and response.status_code in _PASSING:
                            again = False
                            time.sleep(AGAIN_AFTER_S)
                            continue
                        raise self._refused(response)
                    if response.headers.get("content-type", "").startswith("application/json"):
                        whole = _read(response.read().decode("utf-8", "replace"), self.base_url)
                        if whole.get("error"):
                            raise ServiceError(f"the server at {self.base_url} failed: {_reason(whole)}")
                        yield whole
                        return
                    for line in response.iter_lines():
                        if not line.startswith("data:"):
                            continue
                        data = line[5:].strip()
                        if data == "[DONE]":
                            return
                        event = _read(data, self.base_url)
                        if event.get("error"):
                            raise ServiceError(f"the server at {self.base_url} broke off: {_reason(event)}")
                        begun = True
                        yield event
                raise ServiceError(f"the server at {self.base_url} broke off in the middle of an answer")
            except httpx.HTTPError as error:
                if begun:
                    raise ServiceError(
                        f"the server at {self.base_url} broke off in the middle of an answer ({type(error).__name__})"
                    ) from error
                if not again:
                    raise self._lost(error) from error
                again = False
                time.sleep(AGAIN_AFTER_S)

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def _whole(self, method: str, url: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        for again in (True, False):
            try:
                response = self._client.request(method, url, json=body)
            except httpx.HTTPError as error:
                if not again:
                    raise self._lost(error) from error
            else:
                if response.status_code == 200:
                    return _read(response.text, self.base_url)
                if not again or response.status_code not in _PASSING:
                    raise self._refused(response)
            time.sleep(AGAIN_AFTER_S)
        raise AssertionError("the second attempt returns or raises")

    def _lost(self, error: httpx.HTTPError) -> ServiceError:
        why = "took too long" if isinstance(error, httpx.TimeoutException) else type(error).__name__
        return ServiceError(f"the server at {self.base_url} cannot be reached ({why}): is it running?")

    def _refused(self, response: httpx.Response) -> Refused:
        status = response.status_code
        if status in (401, 403):
            names = " or ".join(f"${name}" for name in KEY_NAMES)
            return Refused(f"the server at {self.base_url} wants another key ({status}): set {names}", status)
        try:
            reason = _reason(json.loads(response.text))
        except ValueError:
            reason = response.text
        return Refused(f"the server at {self.base_url} refused ({status}): {_shown(reason)}", status)


def _read(text: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ServiceError(f"the server at {where} answered something that is no JSON object: {_shown(text)}")
    return found


def _reason(answer: Any) -> str:
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    return _shown(str(error.get("message", error)) if isinstance(error, dict) else str(error))


def _shown(text: str) -> str:
    """A server's words, short and on one line."""
    return " ".join(text.split())[:300]
