"""Who was asked and has not come back: waited for when a session closes, but not for ever."""

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
