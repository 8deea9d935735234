import asyncio
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from visavis.agent import Agent
from visavis.agent import native as native_module
from visavis.agent.events import Event, MotionDelta, SpeechDelta, TextDelta
from visavis.agent.planner import Cancelled
from visavis.emotion import Emotion
from visavis.errors import TextError, UsageError, VoiceError
from visavis.tokenizers.turn_language import ReplyPlan, Segment


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    """Replies of a few words: what they say is another test's business."""
    monkeypatch.setattr(native_module, "LONGEST_REPLY", 12)


def listen(session, text: str, stop_at: str = "") -> list[Event]:
    """All events of an answer; `interrupt` is called at the first event of the type `stop_at`."""

    async def collect() -> list[Event]:
        events = []
        async for event in session.respond(text):
            events.append(event)
            if event.type == stop_at:
                session.interrupt()
        return events

    return asyncio.run(collect())


def types(events) -> list[str]:
    return [event.type for event in events]


def test_events_come_in_order(agent):
    session = agent.session()
    events = listen(session, "How big is the blue whale?")
    names = types(events)
    assert names[:2] == ["session.state", "response.created"] and names[-2:] == ["response.done", "session.state"]
    assert [e.state for e in events if e.type == "session.state"] == ["thinking", "speaking", "idle"]
    first = {name: names.index(name) for name in set(names)}
    assert (
        first["response.emotion"] < first["response.text.delta"]
        < first["response.speech.delta"] < first["response.face.delta"] < first["response.motion.delta"]
    )  # fmt: skip
    assert len({event.event_id for event in events}) == len(events)
    assert {event.session_id for event in events} == {session.id} and len({e.turn_id for e in events}) == 1
    times = [event.time_s for event in events]
    assert times == sorted(times)
    done = events[-2].turn
    assert " ".join(e.text for e in events if isinstance(e, TextDelta)).split() == done["text"].split()
    moved = [e for e in events if isinstance(e, MotionDelta)]
    assert sum(len(e.rotations) for e in moved) == round(done["duration_s"] * 30)
    for a, b in zip(moved, moved[1:], strict=False):
        assert b.start_s == pytest.approx(a.start_s + len(a.rotations) / 30)
    assert len(moved) >= len([e for e in events if isinstance(e, SpeechDelta)]) == len(done["clauses"])


def test_history_and_seed(agent):
    session = agent.session()
    one = session.answer("Hello there!")
    two = session.answer("And who are you?")
    assert session.history == [
        ("user", "Hello there!"), ("agent", one.text), ("user", "And who are you?"), ("agent", two.text),
    ]  # fmt: skip
    assert (one.record.seed, two.record.seed) == (7, 8)
    assert one.record.user == "Hello there!" and one.events[-1].type == "session.state"
    said = agent.session()
    said.say("I am here to help.")
    assert said.history == [("agent", "I am here to help.")]


def test_the_same_seed_gives_the_same_turn(agent):
    text = "Stop right there, please! It is thirty metres long."
    a, b = agent.say(text), agent.say(text)
    np.testing.assert_array_equal(a.motion.rotations, b.motion.rotations)
    np.testing.assert_array_equal(a.motion.face, b.motion.face)
    np.testing.assert_array_equal(a.speech.samples, b.speech.samples)
    assert a.record.clauses == b.record.clauses and a.record.constraints == b.record.constraints


def test_say_keeps_the_words_as_given(turn):
    assert turn.text == "Hello, my friend! I caught a fish yesterday, and it was huge!"
    spoken = [word.text for clause in turn.record.clauses for word in clause.words]
    assert spoken == turn.text.split()
    assert turn.record.duration_s == pytest.approx(len(turn.motion) / 30)
    assert len(turn.speech.samples) == pytest.approx(turn.record.duration_s * turn.speech.sample_rate_hz, abs=1)
    assert turn.motion.face is not None and turn.motion.face.shape == (len(turn.motion), 52)
    for clause in turn.record.clauses:
        counts = {len(clause.tokens[part]) for part in turn.record.parts}
        assert len(counts) == 1
        for part in turn.record.parts:  # every step of every part has one source
            spans = [(p.from_step, p.to_step) for p in clause.provenance if p.part == part]
            assert spans[0][0] == clause.first_step and spans[-1][1] == clause.first_step + counts.copy().pop()
            assert all(a[1] == b[0] for a, b in zip(spans, spans[1:], strict=False))
    firsts = [clause.first_step for clause in turn.record.clauses]
    assert firsts == sorted(firsts) and firsts[0] == 0


class Talker:
    """A mind that tells everything at length, so that there is time to interrupt it; else the shipped one."""

    def __init__(self, planner):
        self.planner = planner

    def __getattr__(self, name):
        return getattr(self.planner, name)

    def reply(self, prompt, *, seed, cancel):
        sentences = 20 if "everything" in prompt.user else 1
        return ReplyPlan(Emotion(), (Segment(" ".join(["There is always something more to tell."] * sentences)),))


@pytest.mark.parametrize("stop_at", ["response.created", "response.emotion", "response.speech.delta"])
def test_an_interruption_is_told_and_the_next_turn_works(agent, stop_at, monkeypatch):
    monkeypatch.setattr(agent, "tools", replace(agent.tools, planner=Talker(agent.tools.planner)))
    session = agent.session()
    names = types(events := listen(session, "Tell me everything. Now, please!", stop_at))
    assert names[-2:] == ["response.interrupted", "session.state"] and "response.done" not in names
    assert events[-1].state == "listening"
    # What was sent just now cannot have been heard: the first word takes longer than that.
    assert events[-2].heard == "" and events[-2].heard_s < 0.25
    assert session.history == [("user", "Tell me everything. Now, please!")]
    assert types(listen(session, "And now?"))[-2:] == ["response.done", "session.state"]
    assert len(session.idle(0.0, 15)) == 15


def test_a_turn_that_waits_can_be_interrupted_too(agent):
    session = agent.session()
    out: dict[str, list[Event]] = {}

    async def collect(name: str) -> None:
        out[name] = [event async for event in session.respond("Hello, who is there?")]

    async def both() -> None:
        with session._maker.lock:  # somebody else's turn
            jobs = [asyncio.create_task(collect(name)) for name in ("a", "b")]
            await asyncio.sleep(0.05)
            session.interrupt()
        await asyncio.gather(*jobs)

    asyncio.run(both())
    assert all(types(events)[-2] == "response.interrupted" for events in out.values())
    assert not session._stage.open


def test_leaving_the_stream_ends_the_turn(agent):
    session = agent.session()

    async def look_once() -> None:
        async for _ in session.respond("Hello, who is there?"):
            break

    asyncio.run(look_once())
    for thread in threading.enumerate():
        if thread.name == f"visavis-{session.id}":
            thread.join(20)
    assert not session._stage.open
    assert session.answer("Again, please.").text


def test_turns_of_one_session_follow_each_other(agent):
    session = agent.session()
    turns = []
    threads = [threading.Thread(target=lambda: turns.append(session.say("One after the other."))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(turn.record.seed for turn in turns) == [7, 8]


def test_say_works_inside_a_running_event_loop(agent):
    async def inside():
        return agent.say("Hello there!")

    assert asyncio.run(inside()).text == "Hello there!"


def test_a_failing_voice_is_told_and_the_session_lives_on(agent, monkeypatch):
    session = agent.session()
    speak = agent.tools.voice.speak

    def fail(text, emotion):
        raise VoiceError("the voice is gone: start it again")

    monkeypatch.setattr(agent.tools.voice, "speak", fail)
    with pytest.raises(VoiceError, match="the voice is gone"):
        listen(session, "Hello there!")
    monkeypatch.setattr(agent.tools.voice, "speak", speak)
    assert session.say("Back again.").text == "Back again."


def test_other_languages_get_one_clear_sentence(agent):
    session = agent.session()
    with pytest.raises(TextError, match="expected English input; this looks like German, which no shipped model"):
        session.answer("Wie gross ist der blaue Wal und was frisst er?")
    with pytest.raises(TextError, match="Cyrillic"):
        listen(session, "Привет, как дела?")
    assert session.history == []


@pytest.mark.parametrize("seed", [-1, 1.5, "3", True])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(UsageError, match="expected a seed that is a whole number, 0 or more; got"):
        Agent(seed=seed)


def test_a_cancelled_say_leaves_nothing_open(agent):
    session = agent.session()
    with session._maker.lock:
        failed = []

        def speak() -> None:
            try:
                session.say("This will not be said.")
            except Cancelled:
                failed.append(True)

        thread = threading.Thread(target=speak)
        thread.start()
        while not session._stage.open:
            time.sleep(0.001)
        session.interrupt()
    thread.join(20)
    assert failed == [True] and not session._stage.open


@pytest.mark.parametrize("said", ["", "...!", ",", "\N{GRINNING FACE}", "Können Sie mir helfen?"])
def test_whatever_a_planner_writes_becomes_a_turn(agent, monkeypatch, said):
    plan = ReplyPlan(Emotion("joy", 0.5), (Segment(said),))
    monkeypatch.setattr(type(agent.tools.planner), "reply", lambda self, prompt, **options: plan)
    turn = agent.session().answer("Hello?")
    assert turn.text == (said or "Hm.") and len(turn.motion)


def test_words_that_are_hardly_words_are_said_all_the_same(agent):
    text = "x" * 99 + " " + "\N{GRINNING FACE}" * 99 + " ha"
    assert agent.say(text).text == text
