"""Who was asked and has not come back: waited for when a session closes, not for ever, and by no others in a crowd."""

import threading
import time
from dataclasses import dataclass, replace
from typing import Any

import pytest

from visavis.testing import scripted


@dataclass
class Lingering:
    """A mover that takes its time whatever happens."""

    mover: Any
    free: threading.Event
    lingers_s: float
    asked: threading.Event

    def move(self, *args, **options):
        self.asked.set()
        self.free.wait(self.lingers_s)
        return self.mover.move(*args, **options)


@pytest.mark.parametrize(("lingers_s", "left"), [(0.5, []), (60.0, ["visavis-mover"])])
def test_closing_waits_for_who_was_asked_but_not_for_ever(lingers_s, left):
    agent = scripted("There is always something more to tell.")
    slow = Lingering(agent.tools.mover, threading.Event(), lingers_s, threading.Event())
    agent.tools = replace(agent.tools, mover=slow)
    before = set(threading.enumerate())
    session = agent.session()
    session.submit("Tell me everything.")
    assert slow.asked.wait(30)
    began = time.monotonic()
    agent.close()
    assert time.monotonic() - began < 5
    alive = [thread for thread in set(threading.enumerate()) - before if thread.name == "visavis-mover"]
    assert [thread.name for thread in alive] == left
    slow.free.set()
    for thread in alive:
        thread.join(30)


def test_where_too_many_move_at_once_the_next_one_idles_and_speaks():
    agent = scripted("There is always something more to tell.", seed=3)
    agent.tools = replace(agent.tools, moving=threading.BoundedSemaphore(1))
    slow = Lingering(agent.tools.mover, threading.Event(), 60.0, threading.Event())
    agent.tools = replace(agent.tools, mover=slow)
    first, second = agent.session(), agent.session()
    events = second.events()
    try:
        first.submit("Tell me everything.")
        assert slow.asked.wait(30)
        second.submit("Tell me everything.")
        seen = []
        while not seen or seen[-1].type != "response.done":
            event = events.get(30)
            assert event is not None, "the second turn waits for the first"
            seen.append(event)
        degraded = [event for event in seen if event.type == "degraded"]
        assert degraded and all("more turns at once" in event.what for event in degraded)
        frames = sum(len(e.rotations) for e in seen if e.type == "response.motion.delta" and e.turn_id)
        assert frames >= seen[-1].turn["duration_s"] * 30 - 4
        slow.free.set()
        assert agent.say("Nobody watches this being made.").record.degraded == []
    finally:
        slow.free.set()
        agent.close()
    assert agent.tools.moving.acquire(blocking=False)
