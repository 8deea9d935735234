"""Live sessions: real bodies, scripted words; the client is played by the test."""

import asyncio
import threading
import time

import numpy as np
import pytest
from watching import LONG, gapless, states, until

from visavis.agent import session as session_module
from visavis.agent.events import (
    InputPlayback,
    InputScene,
    InputText,
    MotionDelta,
    ResponseCancel,
    SessionState,
    SpeechDelta,
)
from visavis.errors import TextError, UsageError
from visavis.testing import scripted


def test_a_live_turn_from_idle_to_idle(say):
    session = say("It is about so long.")
    with session.events() as events:
        first = until(events, "response.motion.delta")
        assert first[0].state == "idle" and first[-1].turn_id == ""
        session.submit("How long is it?")
        seen = until(events, "response.done")
        done = seen[-1]
        seen += until(events, "session.state")
    assert states(seen) == ["thinking", "speaking", "idle"]
    gapless(first + seen)
    spoken = [e for e in seen if isinstance(e, SpeechDelta)]
    assert len(spoken) >= 3 and all(len(e.pcm) <= 0.21 * e.sample_rate_hz for e in spoken)
    assert " ".join(w["text"] for e in spoken for w in e.words) == "It is about so long."
    ends = max(e.clock_s + len(e.rotations) / 30 for e in seen if isinstance(e, MotionDelta) and e.turn_id)
    begins = min(e.clock_s for e in seen if isinstance(e, MotionDelta) and e.turn_id)
    assert ends - begins == pytest.approx(done.turn["duration_s"], abs=0.04)
    assert session.history == [("user", "How long is it?"), ("agent", "It is about so long.")]


def test_two_readers_see_the_same(say):
    session = say("Hello there, my friend.")
    with session.events() as one, session.events() as two, session.events(body=False) as words:
        session.submit("Hi")
        first, second = until(one, "response.done"), until(two, "response.done")
        third = until(words, "response.done")
    ids = [e.event_id for e in first if e.turn_id]
    assert ids == [e.event_id for e in second if e.turn_id]
    assert [e.event_id for e in third if e.turn_id] == ids and not any(
        isinstance(e, MotionDelta) and not e.turn_id for e in third
    )


@pytest.mark.parametrize("client", ["reports", "stalls", "silent"])
def test_an_interruption_stops_at_once_and_only_what_was_heard_is_remembered(say, client):
    session = say(LONG)
    with session.events() as events:
        session.submit("Tell me everything.")
        seen = until(events, "response.speech.delta")
        arrived = time.monotonic()
        played = 0.0
        end = arrived + 1.6
        while time.monotonic() < end:
            if (event := events.get(0.02)) is not None:
                seen.append(event)
            played = min(time.monotonic() - arrived, 0.9 if client == "stalls" else 9.0)
            if client != "silent":
                session.playback(seen[-1].turn_id or session.id + "-turn-1", played)
        asked = time.monotonic()
        session.interrupt(None if client == "silent" else played)
        took = time.monotonic() - asked
        rest = until(events, "response.interrupted")
        after = until(events, "session.state") + until(events, "response.motion.delta")
    assert took < 0.5  # 80 ms on a machine of one's own; this one may be busy
    assert states(after) == ["listening"] and rest[-1].turn_id
    told = rest[-1]
    words = [w for e in seen + rest if isinstance(e, SpeechDelta) for w in e.words]
    heard = [w["text"] for w in words if w["end_s"] <= told.heard_s + 1e-6]
    assert told.heard.split() == heard and 0 < len(heard) < len(LONG.split())
    if client != "silent":
        assert told.heard_s == pytest.approx(played, abs=0.01)
    assert session.history == [("user", "Tell me everything."), ("agent", told.heard)]
    gapless(seen + rest + after)
    assert not [e for e in after if isinstance(e, SpeechDelta)]


@pytest.mark.parametrize("lie", [1e9, 60.0, -5.0])
def test_a_client_that_lies_is_believed_as_far_as_it_is_possible(say, lie):
    session = say(LONG)
    with session.events() as events:
        turn = session.submit("Tell me everything.")
        seen = until(events, "response.speech.delta")
        arrived = time.monotonic()
        time.sleep(1.0)
        session.playback(turn, lie)
        session.playback("another-turn", 3.0)
        session.interrupt(lie)
        most = time.monotonic() - arrived + 0.5  # what time allows, and 0.3 s
        told = until(events, "response.interrupted")[-1]
        seen += until(events, "session.state")
        session.playback(turn, 1e6)  # and afterwards
    assert 0 <= told.heard_s <= max(most, 0)
    said = dict(session.history).get("agent", "")
    assert LONG.startswith(said) and len(said) < len(LONG) / 2
    with pytest.raises(UsageError, match="expected played_s as seconds"):
        session.playback(turn, float("nan"))


def test_a_slow_reader_of_a_response_slows_its_making_down(say, monkeypatch):
    monkeypatch.setattr(session_module, "ROOM", 6)
    session = say(LONG)

    async def main():
        seen, waiting = [], []
        async for event in session.respond("Tell me everything."):
            seen.append(event)
            if len(seen) == 3:
                await asyncio.sleep(4.0)  # far longer than all of it takes
                run = session._stage.open[0]
                waiting = [len(run.events), len(run.work.clauses)]
        return seen, waiting

    seen, (sent, clauses) = asyncio.run(main())
    assert sent <= 3 + 6 + 1 and clauses < 8  # of eight sentences
    assert seen[-2].type == "response.done" and len([e for e in seen if e.type == "response.text.delta"]) >= 8


def test_a_late_report_corrects_what_is_remembered(say):
    session = say(LONG)
    with session.events() as events:
        turn = session.submit("Tell me everything.")
        seen = until(events, "response.speech.delta")
        first = min(w["end_s"] for w in seen[-1].words) if seen[-1].words else 1.0
        time.sleep(1.2)
        session.receive(ResponseCancel())
        until(events, "response.interrupted")
        session.receive(InputPlayback(turn_id=turn, played_s=max(first - 0.05, 0.0)))
        assert session.history == [("user", "Tell me everything.")]
        session.receive(InputPlayback(turn_id="somebody-else-1", played_s=1.0))


def test_a_new_line_is_a_barge_in_and_turns_queue_without_one(say):
    session = say("One is said here.", LONG, "Three is said here.")
    with session.events() as events:
        session.submit("a")
        second = session.submit("b")
        assert until(events, "response.done")[-1].turn["text"] == "One is said here."
        while until(events, "response.speech.delta")[-1].turn_id != second:
            pass
        assert ("agent", "One is said here.") in session.history  # it was played to its end before the second began
        session.receive(InputText(text="c"))
        seen = until(events, "response.done")
    assert [e.turn_id for e in seen if e.type == "response.interrupted"] == [second]
    assert seen[-1].turn["text"] == "Three is said here."
    assert session.history[:2] == [("user", "a"), ("agent", "One is said here.")]
    assert [text for speaker, text in session.history if speaker == "user"] == ["a", "b", "c"]


def test_saying_by_itself_and_bad_requests(say):
    session = say()
    with session.events(body=False) as events:
        session.submit(say="I am here.")
        assert until(events, "response.done")[-1].turn["text"] == "I am here."
    for wrong in ({}, {"text": "a", "say": "b"}):
        with pytest.raises(UsageError, match="one of the two"):
            session.submit(**wrong)
    with pytest.raises(TextError):
        session.submit("Wie gross ist der blaue Wal und was frisst er?")
    with pytest.raises(UsageError, match="expected an event of a client"):
        session.receive(SessionState(state="idle"))
    with pytest.raises(UsageError, match="with hearing"):
        session.listen(audio=np.zeros(100, np.int16))


def test_too_many_waiting_turns_are_refused(say, monkeypatch):
    monkeypatch.setattr(session_module, "MAX_WAITING", 2)
    session = say()
    with session._maker.lock:
        session.submit("a")
        session.submit("b")
        with pytest.raises(UsageError, match="at most 2 turns"):
            session.submit("c")
        assert session.interrupt() and not session.interrupt()


def test_when_nobody_looks_any_more_the_turn_ends_and_nothing_is_left(say):
    session = say(LONG, "Yes.")
    events = session.events()
    session.submit("Tell me everything.")
    until(events, "response.speech.delta")
    events.close()
    end = time.monotonic() + 20
    while (session._maker.threads or session._stage.open or session._stage.live) and time.monotonic() < end:
        time.sleep(0.05)
    assert not session._maker.threads and not session._stage.open and session._stage.live is None
    assert session.answer("Are you there?").text


def test_leaving_everything_open_close_ends_it():
    agent = scripted(LONG)
    before = set(threading.enumerate())
    session, other = agent.session(), agent.session()
    events = session.events()
    session.submit("Tell me everything.")
    until(events, "response.speech.delta")
    other.submit("Tell me everything.")
    agent.close()
    left = [t.name for t in set(threading.enumerate()) - before if t.name.startswith("visavis")]
    assert left == []
    with pytest.raises(UsageError, match="open session"):
        session.submit("again")

    async def rest():
        return [event async for event in events]

    assert asyncio.run(rest())[-1].type in ("session.state", "response.motion.delta")


def test_who_looks_in_late_sees_a_body_on_one_clock(say):
    session = say("This was asked before anybody looked. " * 3)
    with session.events(body=False) as words:
        session.submit("Hi")
        until(words, "response.created")
        with session.events() as events:
            seen = until(events, "response.done")
    moved = [e for e in seen if isinstance(e, MotionDelta)]
    assert any(e.turn_id for e in moved) and session.underruns <= 1
    gapless(seen)


def test_a_turn_made_offline_does_not_disturb_the_live_body(say):
    session = say("Aside.")
    with session.events() as events:
        until(events, "response.motion.delta")
        turn = session.say("This is for a file.")
        seen = until(events, "response.done")
    assert any(e.type == "response.speech.delta" for e in turn.events)
    assert not [e for e in seen if e.turn_id and e.type in ("response.speech.delta", "response.motion.delta")]


def test_answers_that_nobody_plays_are_not_kept_forever(say):
    session = say("Yes.")

    async def main():
        runs = {}
        for _ in range(3):
            async for _event in session.respond("Hi"):
                runs |= {run.turn_id: run for run in (*session._stage.open, *session._stage.playing)}
        one, two, three = (run.playout for run in runs.values())
        for first, second in ((one, two), (two, three)):
            assert second.began_at >= first.began_at + first.sent_s - 1e-6  # one after the other
        for run in session._stage.playing:
            run.playout.began_at -= 60
        async for _event in session.respond("Hi"):
            pass
        assert len(session._stage.playing) <= 1

    asyncio.run(main())
    assert [text for speaker, text in session.history if speaker == "agent"] == ["Yes."] * 4


def test_what_a_client_sees_can_be_pointed_at(say):
    session = say("It stands {point away} there by the red door.")
    session.receive(InputScene(objects={"Red door": [2.0, 1.2, 1.5]}))
    session.receive(InputScene(partner_head_m=[0.0, 1.6, 1.5]))  # what was seen before is still there
    turn = session.answer("Where is it?")
    assert [g.gloss for g in turn.gestures] == ["point away"]
    np.testing.assert_allclose(turn.gestures[0].params["target"], [2.0, 1.2, 1.5])
    for wrong in (
        {"objects": {"d00r": [1, 1, 1]}},
        {"objects": {"door": [1, 1]}},
        {"partner_head_m": [0, 0, float("nan")]},
    ):
        with pytest.raises(UsageError, match="expected places as name"):
            session.receive(InputScene(**wrong))
    with pytest.raises(UsageError, match="at most 200"):
        session.receive(
            InputScene(
                objects={f"thing {'x' * k}": [1, 1, 1] for k in range(1, 30)}
                | {f"{a}{b} thing": [1, 1, 1] for a in "abcdefghijklmn" for b in "abcdefghijklmn"}
            )
        )
