"""Spans of turns and their stages, for whoever traces them; off until a tracer is given.

A tracer is anything with OpenTelemetry's `start_as_current_span(name, attributes=…)`. Spans hold ids, numbers and names
of stages, never what was said. `visavis serve --trace` gives one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["span", "trace_with"]

_tracer: Any = None


def trace_with(tracer: Any) -> None:
    """Trace every turn of this process from now on; None ends it."""
    global _tracer
    _tracer = tracer


@contextmanager
def span(name: str, **attributes: str | int | float) -> Iterator[None]:
    """A span around what happens inside, within the span that is open in this context."""
    if _tracer is None:
        yield
        return
    with _tracer.start_as_current_span(f"visavis.{name}", attributes=attributes):
        yield
