"""Live sessions in which a part fails."""

import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from watching import Trouble, raises, states, until

from visavis.errors import ServiceError, VoiceError
from visavis.testing import ScriptedPlanner

GARBAGE = [None, 7, "text", SimpleNamespace(text=None, emotion=None), SimpleNamespace(text="a", emotion="b")]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_of_a_planner_is_one_clear_error(say, talker, garbage):
    planner = Trouble(ScriptedPlanner(), "reply", lambda *args, **options: garbage)
    session = say(planner=planner)
    with session.events() as events:
        session.submit("Hi")
        seen = until(events, "error")
        seen += until(events, "session.state")
    assert [e.message.startswith("the planner failed") for e in seen if e.type == "error"] == [True]
    assert states(seen)[1:] == ["thinking", "idle"]
    assert session.history == [("user", "Hi")]


def test_a_planner_that_fails_or_hangs_ends_with_one_error_and_the_session_lives_on(say, monkeypatch):
    monkeypatch.setattr("visavis.agent.graph.REPLY_S", 0.5)
    let_go = threading.Event()
    for way, message in (
        (raises(ServiceError("the server is gone: start it")), "the server is gone: start it"),
        (raises(ConnectionResetError("by peer")), "the planner failed (ConnectionResetError: by peer)"),
        (lambda *args, **options: let_go.wait(60), "the planner has not answered within"),
    ):
        session = say(planner=Trouble(ScriptedPlanner(), "reply", way))
        with session.events() as events:
            session.submit("Hi")
            error = until(events, "error")[-1]
            assert message in error.message and until(events, "session.state")[-1].state == "idle"
        session._maker.tools = replace(session._maker.tools, planner=ScriptedPlanner(("Back again.",)))
        assert session.answer("And now?").text == "Back again."
    let_go.set()


def test_an_interruption_does_not_wait_for_who_hangs(say):
    let_go = threading.Event()
    session = say(planner=Trouble(ScriptedPlanner(), "reply", lambda *args, **options: let_go.wait(60)))
    with session.events() as events:
        session.submit("Hi")
        until(events, "response.created")
        asked = time.monotonic()
        session.interrupt()
        until(events, "response.interrupted")
        assert time.monotonic() - asked < 0.5
        session._maker.tools = replace(session._maker.tools, planner=ScriptedPlanner(("Back again.",)))
        session.submit("And now?")
        assert until(events, "response.done")[-1].turn["text"] == "Back again."
    let_go.set()


def test_without_gestures_or_movement_the_turn_is_degraded_and_goes_on(say, talker):
    for tools, what in (
        ({"planner": Trouble(ScriptedPlanner(("I know it.",)), "act", raises(ValueError("x")))}, "gestures"),
        ({"mover": Trouble(talker.tools.mover, "move", raises(OSError("killed")))}, "movement"),
        ({"mover": Trouble(talker.tools.mover, "move", lambda *a, **o: np.full((3, 3), 10**6))}, "movement"),
    ):
        session = say("I know it.", **tools)
        turn = session.answer("Hi")
        assert turn.text == "I know it." and any(what in line for line in turn.record.degraded)
        assert any(e.type == "degraded" and what in e.what for e in turn.events)


def test_a_voice_that_fails_in_mid_turn_leaves_what_was_heard(say, talker):
    calls = []

    def speak(text, emotion):
        calls.append(text)
        if len(calls) > 3:
            raise VoiceError("the voice is gone: start it again")
        return talker.tools.voice.speak(text, emotion)

    session = say("This is the first one. " * 6, voice=Trouble(talker.tools.voice, "speak", speak))
    with session.events() as events:
        session.submit("Hi")
        seen = until(events, "error")
        assert seen[-1].message == "the voice is gone: start it again"
    heard = session.history[1:]
    assert heard == [] or "This is the first one. This is the first one.".startswith(heard[0][1])
