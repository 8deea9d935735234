"""Waiting for somebody who may never answer: for as long as it is sensible, and not after an interruption.

A thread cannot be killed. So who is asked runs in a thread of its own, which is left behind when it is too late; it
ends when the call comes back, and what it brings then is dropped.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

from visavis.agent.planner import Cancel, Cancelled
from visavis.errors import ServiceError, VisavisError

__all__ = ["Asked", "call_within", "join_all"]

T = TypeVar("T")


class Asked:
    """The threads of those who were asked and have not come back yet."""

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._threads: set[threading.Thread] = set()

    def begin(self, run: Callable[[], None], name: str) -> None:
        """Run in a thread which is known here until it ends."""

        def work() -> None:
            try:
                run()
            finally:
                with self._gate:
                    self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=work, name=name, daemon=True)
        with self._gate:
            self._threads.add(thread)
        thread.start()

    def wait(self, seconds: float) -> None:
        """Wait until all have come back, but no longer."""
        with self._gate:
            threads = list(self._threads)
        join_all(threads, seconds)


def join_all(threads: Iterable[threading.Thread], seconds: float) -> None:
    """Wait until all others than this thread have ended, but no longer."""
    deadline = time.monotonic() + seconds
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join(max(deadline - time.monotonic(), 0.0))


def call_within(who: str, within_s: float, cancel: Cancel, ask: Callable[[], T], asked: Asked | None = None) -> T:
    """Ask, and wait for the answer.

    Args:
        who: for messages.
        within_s: how long to wait.
        cancel: ends the waiting.
        ask: the question; runs in another thread, in this one's context.
        asked: where that thread is known for as long as it runs.
    Raises:
        Cancelled: `cancel` was set.
        VisavisError: what `ask` raised; any other exception of it, or no answer in time, as a `ServiceError`.
    """
    done = threading.Event()
    answer: list[T] = []
    failed: list[BaseException] = []
    context = contextvars.copy_context()

    def run() -> None:
        try:
            answer.append(cast(Any, context.run(ask)))
        except BaseException as error:  # handed to whoever waits
            failed.append(error)
        finally:
            done.set()

    cancel.check()
    cancel.tell(done)
    (Asked() if asked is None else asked).begin(run, f"visavis-{who}")
    came = done.wait(within_s)
    cancel.check()
    if not came:
        raise ServiceError(f"the {who} has not answered within {within_s:.0f} s: is its server or process alive?")
    if not failed:
        return answer[0]
    error = failed[0]
    if isinstance(error, VisavisError | Cancelled) or not isinstance(error, Exception):
        raise error
    raise ServiceError(f"the {who} failed ({type(error).__name__}: {error})"[:300]) from error
