"""Live sessions that hear, or are typed to: what the body does meanwhile, and who has the floor."""

import asyncio
import time
from types import SimpleNamespace

import numpy as np
import pytest
from watching import gapless, until

from visavis.agent.ears import Ears
from visavis.agent.events import (
    FaceDelta,
    InputEvent,
    InputMotion,
    MotionDelta,
)
from visavis.errors import UsageError
from visavis.motion.face import face_index
from visavis.motion.skeleton import default_skeleton


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
