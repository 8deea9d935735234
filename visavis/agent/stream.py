"""One ordered stream of events for several readers, published from any thread, read from any event loop or thread.

A reader that is slow costs the others nothing: its queue is bounded, and once it is over a bound it is cut off with
one `error` event. The bounds: `MAX_EVENTS` and `MAX_BYTES` that wait, and `STALL_S` that the oldest has waited.
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Final

from visavis.agent.events import ErrorEvent, Event

__all__ = ["MAX_BYTES", "MAX_EVENTS", "STALL_S", "Reader", "Stream"]

MAX_EVENTS: Final = 2000
MAX_BYTES: Final = 32 * 1024 * 1024
STALL_S: Final = 30.0


class Reader:
    """One reader's place in the stream: an async iterator, and `get` for threads. Made by `Stream.reader`."""

    def __init__(self, stream: Stream, wants: Callable[[Event], bool] | None, room: int | None) -> None:
        self._stream, self._wants, self._room = stream, wants, room
        self._items: deque[tuple[float, int, Event]] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._waiter: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None
        self.ended = False

    def __aiter__(self) -> Reader:
        return self

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __anext__(self) -> Event:
        while True:
            with self._changed:
                if self._items:
                    return self._take()
                if self.ended:
                    raise StopAsyncIteration
                loop = asyncio.get_running_loop()
                future = loop.create_future()
                self._waiter = (loop, future)
            await future

    def get(self, timeout_s: float | None = None) -> Event | None:
        """The next event, for a reader in a thread; None at the end of the stream or when the time is up."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self.ended, timeout_s)
            return self._take() if self._items else None

    def close(self) -> None:
        """Stop reading; what waits is dropped."""
        self._stream.discard(self)
        with self._changed:
            self._items.clear()
        self.end()

    def end(self) -> None:
        """No more will come; what waits can still be read."""
        with self._changed:
            self.ended = True
            self._wake()

    def full(self) -> bool:
        """Whether the writer should wait, because as many events wait as this reader has room for."""
        with self._changed:
            return self._room is not None and len(self._items) >= self._room and not self.ended

    def wait_for_room(self, timeout_s: float) -> None:
        """Wait until the reader has taken something, or the time is up."""
        with self._changed:
            if self._room is not None and len(self._items) >= self._room and not self.ended:
                self._changed.wait(timeout_s)

    def put(self, event: Event, now: float) -> bool:
        """Add an event; False when the reader is over a bound and was cut off."""
        if self._wants is not None and not self._wants(event):
            return True
        size = sum(array.nbytes for array in event.arrays().values())
        with self._changed:
            if self.ended:
                return False
            over = len(self._items) >= MAX_EVENTS or self._bytes + size > MAX_BYTES
            if over or (self._items and now - self._items[0][0] > STALL_S):
                message = f"this reader fell behind ({len(self._items)} events waited) and was cut off: read faster"
                self._items.clear()
                self._items.append((now, 0, ErrorEvent(session_id=event.session_id, message=message)))
                self.ended = True
                self._wake()
                return False
            self._items.append((now, size, event))
            self._bytes += size
            self._wake()
            return True

    def _take(self) -> Event:
        _, size, event = self._items.popleft()
        self._bytes = max(self._bytes - size, 0)
        self._changed.notify_all()
        return event

    def _wake(self) -> None:
        self._changed.notify_all()
        if self._waiter is None:
            return
        loop, future = self._waiter
        self._waiter = None
        try:
            loop.call_soon_threadsafe(_done, future)
        except RuntimeError:  # the reader's loop is closed: nobody reads any more
            self.ended = True


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Stream:
    """Publishes events, in one order, to every reader there is."""

    def __init__(self) -> None:
        self._readers: list[weakref.ref[Reader]] = []  # one that nobody holds any more needs no events
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:
            return len(self._alive())

    def _alive(self) -> list[Reader]:
        return [reader for ref in self._readers if (reader := ref()) is not None]

    def reader(
        self, first: Event | None = None, wants: Callable[[Event], bool] | None = None, room: int | None = None
    ) -> Reader:
        """A reader of everything from now on.

        Args:
            first: what it is told before everything else.
            wants: which events it gets; all by default.
            room: a writer that asks `full` waits while so many events wait.
        """
        reader = Reader(self, wants, room)
        with self._lock:
            if first is not None:
                reader.put(first, time.monotonic())
            self._readers.append(weakref.ref(reader))
        return reader

    def publish(self, event: Event) -> None:
        """Tell every reader; never waits."""
        now = time.monotonic()
        with self._lock:
            self._readers = [weakref.ref(reader) for reader in self._alive() if reader.put(event, now)]

    def discard(self, reader: Reader) -> None:
        """Forget a reader."""
        with self._lock:
            self._readers = [weakref.ref(other) for other in self._alive() if other is not reader]

    def end(self) -> None:
        """Nothing more will be published."""
        with self._lock:
            for reader in self._alive():
                reader.end()
            self._readers = []
