"""How much one server takes on, and a bucket that counts it.

Past a limit a request is refused with a status that says when to come again; nothing is queued without a bound.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

__all__ = ["Bucket", "Buckets", "Limits"]

REMEMBERED: Final = 4096  # clients whose rates are known


@dataclass(frozen=True)
class Limits:
    """What a server takes on.

    Attributes:
        sessions: at once.
        idle_s: a session that nobody reads, asks or answers for so long is closed; what is kept of it stays.
        requests_per_s, burst: of one client address, REST and connections.
        events_per_s: that one socket may send, twenty seconds' worth in one go.
        bytes_per_s: that one socket may send; 16 kHz speech has 32,000.
        body_bytes: of one request.
    """

    sessions: int = 64
    idle_s: float = 900.0
    requests_per_s: float = 20.0
    burst: int = 60
    events_per_s: float = 100.0
    bytes_per_s: float = 1_000_000.0
    body_bytes: int = 256 * 1024


class Bucket:
    """A token bucket: `rate` a second, at most `size` at once."""

    def __init__(self, rate: float, size: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.size, self._clock = rate, size, clock
        self._left, self._at = size, clock()

    def take(self, count: float = 1.0) -> float:
        """Take so much; 0 if there was enough, else the seconds until there will be, and nothing is taken."""
        now = self._clock()
        self._left = min(self.size, self._left + (now - self._at) * self.rate)
        self._at = now
        if count > self._left:
            return (count - self._left) / self.rate
        self._left -= count
        return 0.0


class Buckets:
    """One bucket for each client; the ones that were quiet longest are forgotten first."""

    def __init__(self, rate: float, size: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._size, self._clock = rate, size, clock
        self._known: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, client: str) -> float:
        """As `Bucket.take` of this client."""
        bucket = self._known.pop(client, None) or Bucket(self._rate, self._size, self._clock)
        self._known[client] = bucket
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return bucket.take()
