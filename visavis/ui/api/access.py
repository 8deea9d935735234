"""Who may use the server: everybody who has its token; and of web pages only those of origins that were named.

The token travels as `Authorization: Bearer TOKEN`, or, because browsers cannot set headers of a WebSocket, as the
subprotocol `token.TOKEN` beside `visavis.v1`. Never in a URL, which is logged. It is compared in constant time, and no
message contains it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import urlsplit

from visavis.errors import UsageError

__all__ = ["PROTOCOL", "Access", "new_token"]

PROTOCOL: Final = "visavis.v1"
ENVIRONMENT: Final = "VISAVIS_TOKEN"
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~-]{16,200}")  # what a subprotocol may hold


def new_token() -> str:
    """A token that cannot be guessed."""
    return secrets.token_urlsafe(24)


class Access:
    """Decides about requests.

    Args:
        token: what clients must know; None takes `$VISAVIS_TOKEN`, or makes one.
        origins: of pages that may talk to the server beside its own, as `https://example.org`.

    Raises:
        UsageError: a token that is short or cannot be sent, or something that is no origin.
    """

    def __init__(self, token: str | None = None, origins: Collection[str] = ()) -> None:
        given = token if token is not None else os.environ.get(ENVIRONMENT) or None
        self.made = given is None
        self.token = given if given is not None else new_token()
        if not _TOKEN.fullmatch(self.token):
            raise UsageError(
                f"expected a token of 16 to 200 letters, digits, '.', '_', '~' or '-' in ${ENVIRONMENT}; "
                f"got one of {len(self.token)} characters: make one with `python -c 'import secrets; "
                "print(secrets.token_urlsafe())'`"
            )
        self.origins = frozenset(_origin(one) for one in origins)
        self._digest = _digest(self.token)

    def admits(self, headers: Mapping[str, str]) -> bool:
        """Whether a request brings the token; `headers` have lower-case names."""
        scheme, _, sent = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._same(sent.strip())
        offered = [one.strip() for one in headers.get("sec-websocket-protocol", "").split(",")]
        return any(self._same(one.removeprefix("token.")) for one in offered if one.startswith("token."))

    def trusts(self, headers: Mapping[str, str]) -> bool:
        """Whether a request comes from a program, from this server's own page, or from a page of a named origin."""
        origin = headers.get("origin")
        if origin is None:
            return True
        try:
            own = urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
            return own or _origin(origin) in self.origins
        except (UsageError, ValueError):
            return False

    def _same(self, sent: str) -> bool:
        return hmac.compare_digest(_digest(sent), self._digest)


def _digest(token: str) -> bytes:
    """So that comparing takes as long for tokens of any length."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise UsageError(f"expected an origin as https://example.org or http://localhost:3000; got {text[:200]!r}")
    return f"{parts.scheme}://{parts.netloc.lower()}"
