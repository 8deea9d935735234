"""Watching a live session from the client's side, for the tests of sessions."""

import time
from dataclasses import dataclass

from visavis.agent.events import MotionDelta, SessionState

LONG = "There is always something more to tell. " * 8


def until(reader, kind, timeout_s=40.0):
    """All events up to the first of a type."""
    seen, end = [], time.monotonic() + timeout_s
    while time.monotonic() < end:
        event = reader.get(0.2)
        if event is not None:
            seen.append(event)
            if event.type == kind:
                return seen
    raise AssertionError(f"no {kind}; got {[e.type for e in seen]}")


def states(events):
    return [e.state for e in events if isinstance(e, SessionState)]


def gapless(events):
    """The motion has no gap on the session's clock, whatever was replaced."""
    end = None
    for event in events:
        if isinstance(event, MotionDelta):
            assert end is None or event.clock_s <= end + 1e-6
            end = event.clock_s + len(event.rotations) / 30


@dataclass
class Trouble:
    """Wraps a part: one of its methods fails in some way."""

    part: object
    method: str
    way: object

    def __getattr__(self, name):
        if name != self.method:
            return getattr(self.part, name)
        return self.way


def raises(error):
    def way(*args, **options):
        raise error

    return way
