"""Waiting for somebody who may never answer: for as long as it is sensible, and not after an interruption.

A thread cannot be killed. So who is asked runs in a thread of its own, which is left behind when it is too late; it
ends when the call comes back, and what it brings then is dropped.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

from visavis.agent.planner import Cancel, Cancelled
from visavis.errors import ServiceError, VisavisError

__all__ = ["call_within"]

T = TypeVar("T")


def call_within(who: str, within_s: float, cancel: Cancel, ask: Callable[[], T]) -> T:
    """Ask, and wait for the answer.

    Args:
        who: for messages.
        within_s: how long to wait.
        cancel: ends the waiting.
        ask: the question; runs in another thread, in this one's context.
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
    threading.Thread(target=run, name=f"visavis-{who}", daemon=True).start()
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
