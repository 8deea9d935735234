"""Live sessions: real bodies, scripted words; the client is played by the test."""

import asyncio
import threading
import time
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

from visavis.agent import session as session_module
from visavis.agent.ears import Ears
from visavis.agent.events import (
    FaceDelta,
    InputEvent,
    InputMotion,
    InputPlayback,
    InputScene,
    InputText,
    MotionDelta,
    ResponseCancel,
    SessionState,
    SpeechDelta,
)
from visavis.agent.session import Session
from visavis.agent.store import open_store
from visavis.errors import ServiceError, TextError, UsageError, VoiceError
from visavis.motion.face import face_index
from visavis.motion.skeleton import default_skeleton
from visavis.testing import ScriptedPlanner, scripted

LONG = "There is always something more to tell. " * 8


@pytest.fixture(scope="module")
def talker():
    with scripted(LONG, seed=7) as agent:
        yield agent


@pytest.fixture
def say(talker):
    """Opens a session whose next replies are given; it is closed in the end."""
    opened: list[Session] = []

    def make(*replies, **tools):
        before = talker.tools
        talker.tools = replace(before, **{"planner": ScriptedPlanner(replies or (LONG,)), **tools})
        opened.append(talker.session())
        talker.tools = before
        return opened[-1]

    yield make
    for session in opened:
        session.close()


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


# --- faults --------------------------------------------------------------------------------------------------------


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


# --- hearing -------------------------------------------------------------------------------------------------------


class Script:
    """A hearing that notices what the test wants."""

    now_s = 0.0

    def __init__(self):
        self.next, self.told, self.closed = [], [], False

    def feed(self, pcm, rate):
        self.now_s += len(pcm) / rate
        found, self.next = self.next, []
        return found

    def playing(self, pcm, at_s, rate=22_050):
        self.told.append(("playing", at_s))

    def stopped(self, at_s=None):
        self.told.append(("stopped", at_s))

    def close(self):
        self.closed = True


def noticed(kind, **more):
    return SimpleNamespace(kind=kind, at_s=0.0, **more)


def test_hearing_interrupts_answers_and_nods(talker, say):
    ears = Script()
    session = say("This is my answer.")
    session._stage.ears = Ears(ears)

    def hear(*events):
        ears.next = list(events)
        session.listen(audio=np.zeros(1600, np.int16))

    with session.events() as events:
        until(events, "response.motion.delta")
        hear(noticed("speech_started"))
        hear(noticed("transcript", hypothesis=SimpleNamespace(text="Who are", final=False)), noticed("speech_stopped"))
        hear(noticed("end_of_turn", text="Who are you?"))
        seen = until(events, "response.speech.delta")
        kinds = [e.type for e in seen if not e.turn_id and "delta" not in e.type]
        assert kinds == ["input.speech_started", "session.state", "input.transcript", "input.speech_stopped",
                         "input.transcript"]  # fmt: skip
        hear(noticed("speech_started", overlap=True), noticed("backchannel", text="mm-hm"))
        seen = until(events, "backchannel")
        assert session.state == "speaking" and not [e for e in seen if e.type == "response.interrupted"]
        assert ears.told[0][0] == "playing" and ears.told[0][1] >= 0
        hear(noticed("interruption"))
        until(events, "response.interrupted")
        assert session.state == "listening"
        hear(noticed("end_of_turn", text=""))
        assert session.state == "idle" and ("stopped", None) in ears.told
        hear(noticed("end_of_turn", text="Что это такое?"))
        assert "Cyrillic" in until(events, "error")[-1].message
    for wrong in (np.zeros(10, np.float32), np.zeros((2, 5), np.int16)):
        with pytest.raises(UsageError, match=r"audio as \(N,\) int16"):
            session.listen(audio=wrong)
    session.close()
    assert ears.closed


def shown_until(events, done, timeout_s=20.0):
    """Everything up to when `done` says so of an event."""
    seen, end = [], time.monotonic() + timeout_s
    while time.monotonic() < end:
        if (event := events.get(0.2)) is not None:
            seen.append(event)
            if done(event):
                return seen
    raise AssertionError(f"never; got {[e.type for e in seen]}")


def smiles(event):
    return isinstance(event, FaceDelta) and event.weights[:, face_index("mouthSmileLeft")].max() > 0.2


def nodded(events, told):
    """The motion that shows a backchannel was sent with it: a head that goes down from its `clock_s` on."""
    event = next(e for e in events[events.index(told) :] if isinstance(e, MotionDelta))
    assert event.clock_s == pytest.approx(told.clock_s, abs=1e-6)
    head = 2 * event.rotations[:, default_skeleton().index("head"), 0]
    return (head - head[0]).max() > np.radians(1)


def test_while_the_partner_speaks_the_body_attends_and_nods(say):
    ears = Script()
    session = say()
    session._stage.ears = Ears(ears)
    with session.events() as events:
        until(events, "response.motion.delta")
        ears.next = [noticed("speech_started")]
        seen = []
        for _ in range(40):  # a pause may be nodded to, one after the other will be
            session.listen(audio=np.zeros(8000, np.int16))
            ears.next = [noticed("speech_stopped", probability=0.0)]
            time.sleep(0.05)
            while (event := events.get(0.01)) is not None:
                seen.append(event)
        told = [e for e in seen if e.type == "backchannel"]
        assert told and {(e.kind, e.by) for e in told} == {("nod", "agent")}
        assert nodded(seen, told[0]) and any(smiles(e) for e in seen)
        gapless(seen)
        assert session.state == "listening" and session.underruns == 0


def test_typing_and_motion_are_attended_to(say):
    session = say("I see.")
    with session.events() as events:
        until(events, "response.motion.delta")
        session.receive(InputEvent(name="typing_started"))
        seen = shown_until(events, smiles)
        text = ""
        for k in range(30):
            text += f"and another thing, number {k},"
            session.listen(text=text, final=False)
            session._partner._attending._nodded = -1e9  # as if time had passed
        seen += until(events, "backchannel")
        told = seen[-1]
        seen += until(events, "response.motion.delta")
        assert (told.kind, told.by) == ("nod", "agent") and nodded(seen, told)
        assert session.state == "listening"
        session.receive(InputEvent(name="typing_stopped"))
        assert session.state == "idle"
        session.listen(text="And that is all.")
        done = until(events, "response.done")
        gapless(seen + done)
    session = say()
    with session.events() as events:
        until(events, "response.motion.delta")
        for _ in range(3):
            session.receive(InputMotion(rotations=np.tile([0, 0, 0, 1], (5, 55, 1)).astype(np.float32)))
        shown_until(events, smiles)


def test_answering_a_recording(say):
    ears = Script()
    session = say("I heard you.")
    session._stage.ears = Ears(ears)
    ears.next = [noticed("end_of_turn", text="Can you hear me?")]

    async def main():
        return [event async for event in session.respond(audio=np.zeros(16_000, np.int16))]

    assert [e.turn["text"] for e in asyncio.run(main()) if e.type == "response.done"] == ["I heard you."]
    assert session.history[0] == ("user", "Can you hear me?")


# --- what is kept --------------------------------------------------------------------------------------------------


def test_a_session_is_taken_up_again_with_what_was_heard(store_address):
    with scripted("Hello.", LONG, store=store_address) as agent:
        session = agent.session("anna", user="anna")
        assert agent.session("anna") is session
        session.answer("My name is Anna.")
        with session.events() as events:
            session.submit("Tell me everything.")
            until(events, "response.speech.delta")
            time.sleep(1.5)
            session.interrupt()
            heard = until(events, "response.interrupted")[-1].heard
        history = session.history
    assert history[-1] == ("agent", heard) and heard
    with scripted("Hello again.", store=store_address) as agent:
        session = agent.session("anna", user="anna")
        assert session.history == history
        turn = session.answer("Hi")
        assert turn.events[0].turn_id == "anna-turn-3"
        assert agent.session("other", user="anna").memory.all()[0].text == "Your name is Anna."
        assert agent.session("third", user="bob").memory.all() == []
        assert session.answer("Please forget everything.").text == "I have forgotten everything that you told me."
    with scripted("Hello again.", store=store_address) as agent:
        kept = agent.session("anna", user="anna")
        assert kept.memory.all() == [] and ("user", "My name is Anna.") not in kept.history
        reader = open_store(store_address)
        assert "Anna" not in str(reader.turns("anna"))
        reader.close()


def test_open_conversations_of_one_partner_know_and_forget_together(store_address):
    with scripted("Hello.", store=store_address) as agent:
        home, work = agent.session("home", user="anna"), agent.session("work", user="anna")
        other = agent.session("other", user="bob")
        other.answer("I have a horse.")
        home.answer("My name is Annabel. I have a parrot called Zorro.")
        assert [m.text for m in work.memory.all()][-1] == "You have a parrot called Zorro."
        work.answer("I have a canoe.")
        assert work.answer("Please forget my parrot.").text == "I have forgotten it."
        assert [m.text for m in home.memory.all()] == ["Your name is Annabel.", "You have a canoe."]
        assert home.history == []  # both were told in one line
        home.answer("How are you?")
        assert work.forget() > 0
        assert home.history == [] and home.memory.all() == [] and len(other.memory.all()) == 1
        home.answer("What do you know?")
    reader = open_store(store_address)
    kept = str([reader.turns(name) for name in ("home", "work")]) + str(reader.memories("user:anna"))
    assert not any(word in kept for word in ("Annabel", "Zorro", "canoe", "How are you")) and "What do you" in kept
    reader.close()


def test_by_default_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("VISAVIS_HOME", str(tmp_path / "home"))
    with scripted("Hello.") as agent:
        session = agent.session("x")
        session.answer("My name is Anna.")
        assert session.memory.all()  # while it lasts
    assert not (tmp_path / "home").exists()


def test_a_store_that_fails_is_told_and_the_conversation_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("visavis.agent.journal.AGAIN_S", 0.05)
    store = open_store(tmp_path / "x.sqlite")
    keep = store.put_turn
    with scripted("Hello.", store=store) as agent:
        session = agent.session("x")
        monkeypatch.setattr(store, "put_turn", raises(ServiceError("disk full")))
        with session.events(body=False) as events:
            session.submit("Hi")
            told = until(events, "degraded")[-1]
            until(events, "response.done")
        assert "disk full" in told.what and "memory" in told.stand_in
        monkeypatch.setattr(store, "put_turn", keep)
        session.close()
        assert [t.user for t in store.turns("x")] == ["Hi"]


@pytest.mark.parametrize("bad", ["../x", "a/b", "", "x" * 65])
def test_ids_of_sessions_and_users_are_checked(talker, bad):
    with pytest.raises(UsageError, match="expected a session's id"):
        talker.session(bad)
    with pytest.raises(UsageError, match="expected a user"):
        talker.session("fine", user=bad)


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
        for _ in range(3):
            async for _event in session.respond("Hi"):
                pass
        first, second = (run.playout for run in session._stage.playing[-2:])
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
