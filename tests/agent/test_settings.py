"""Settings that change while a session goes on."""

import numpy as np
import pytest

from visavis.agent.events import ResponseEmotion, SessionUpdate
from visavis.agent.settings import checked_settings
from visavis.errors import UsageError
from visavis.motion.motion import FPS
from visavis.speech.silent import SilentVoice
from visavis.speech.voices import has_pace, open_voice
from visavis.testing import scripted

SAID = "It is {huge size} huge, it stands {point away} there by the red door."


@pytest.fixture(scope="module")
def agent():
    with scripted(SAID, seed=5) as agent:
        yield agent


@pytest.fixture
def session(agent):
    with agent.session() as session:
        yield session


def test_how_fast_it_speaks(session):
    def spoken_s():
        return sum(word.end_s - word.start_s for word in session.answer("Hi").speech.words)

    usual_s = spoken_s()
    session.update(rate=2)
    assert spoken_s() == pytest.approx(usual_s / 2, rel=0.1)
    session.update(rate=1.0)
    assert spoken_s() == pytest.approx(usual_s, abs=0.01)


def test_how_it_feels_by_name_by_intensity_and_as_the_model_says_again(session):
    angry = {"name": "anger", "intensity": 1}
    for wish, felt in (("joy", ("joy", 0.6)), (angry, ("anger", 1.0)), (None, ("neutral", 0.0))):
        session.update(emotion=wish)
        for turn in (session.answer("Hi"), session.say("This is said.")):
            told = {(e.emotion, e.intensity) for e in turn.events if isinstance(e, ResponseEmotion)}
            assert told == {felt}


def test_gestures_can_be_left_out(session, agent):
    native = agent.tools.planner
    session.update(gestures=False)
    assert session._maker.tools.gestures is False and agent.tools.gestures is True  # this session's alone
    assert session._maker.tools.planner is native
    session.update(gestures=True, listening=False)
    assert session._maker.tools.gestures is True


def test_the_scene_is_replaced_and_can_be_added_to(session):
    session.update(scene={"objects": {"red door": [2.0, 1.2, 1.5]}})
    np.testing.assert_allclose(session.answer("Where?").gestures[-1].params["target"], [2.0, 1.2, 1.5])
    session.see({"window": [0.0, 1.5, 2.0]})
    assert set(session._maker.tools.scene.objects) == {"red door", "window"}
    session.update(scene={"partner_head_m": [0.0, 1.6, 1.5]})
    assert session._maker.tools.scene.objects == {} and session._maker.tools.scene.partner_head == (0.0, 1.6, 1.5)
    session.update(scene=None)
    assert session._maker.tools.scene is None


def test_another_voice_and_back(session, agent):
    other = SilentVoice()
    session.update(voice="silent")
    assert session._maker.tools.voice is not agent.tools.voice and session.answer("Hi").text
    session.update(voice=None)
    assert session._maker.tools.voice is agent.tools.voice
    assert has_pace(other) and has_pace(open_voice("silent"))


class OnePace:
    """A voice of somebody's that knows no pace."""

    name = "slow"

    def speak(self, text, emotion):
        return SilentVoice().speak(text, emotion)

    def close(self):
        pass


def test_a_voice_without_a_pace_is_not_asked_for_one():
    with scripted("Yes.", voice=OnePace()) as agent, agent.session() as session:
        with pytest.raises(UsageError, match="expected a voice that has a pace; 'slow' does not: set rate to 1"):
            session.update(rate=1.5)
        assert session.answer("Hi").text == "Yes."
        session.update(voice="silent", rate=1.5)
        with pytest.raises(UsageError, match="'slow' does not"):
            session.update(voice=None)
        session.update(voice=None, rate=1)


WRONG = [
    ({"loudness": 3}, "expected settings of voice, rate, emotion, gestures, refine, scene, listening; got 'loudness'"),
    ({"persona": "guide"}, "a persona belongs to a session: open another session for it"),
    ({"self": 1}, "got 'self'"),
    ({"rate": 9}, "rate: Input should be less than or equal to 2; got '9'"),
    ({"rate": "fast"}, "rate: Input should be a valid number; got 'fast'"),
    ({"rate": float("nan")}, "rate: "),
    ({"emotion": "bored"}, "expected one of neutral, joy"),
    ({"emotion": {"name": "joy", "intensity": 2}}, "emotion: Input should be less than or equal to 1"),
    ({"emotion": 3}, "emotion: "),
    ({"gestures": "no"}, "gestures: Input should be a valid boolean; got 'no'"),
    ({"scene": {"objects": {"d00r": [1, 1, 1]}}}, "expected places as name"),
    ({"scene": {"things": {}}}, "scene: Extra inputs are not permitted"),
    ({"voice": "http://10.0.0.1/v1"}, "expected the name of a voice"),
    ({"voice": "no such voice"}, "expected a voice such as"),
    ({"voice": 7}, "voice: Input should be a valid string; got '7'"),
    ({"refine": True}, "opened with refine=False"),
]


@pytest.mark.parametrize("wrong", WRONG, ids=[str(w) for w, _ in WRONG])
def test_what_cannot_be_is_one_clear_error_and_nothing_changes(session, wrong):
    settings, message = wrong
    before = session._maker.tools
    for change in (settings, {"listening": False, "rate": 1.5, **settings}):
        with pytest.raises(UsageError) as caught:
            session.receive(SessionUpdate(settings=change))
        assert message in str(caught.value) and "\n" not in str(caught.value)
    assert session._maker.tools is before and session._partner._listens


def test_an_empty_change_changes_nothing(session):
    before = session._maker.tools
    session.receive(SessionUpdate())
    assert session._maker.tools == before
    assert checked_settings({}).model_fields_set == set()


def test_voices_are_few_and_are_closed_with_the_agent(monkeypatch):
    monkeypatch.setattr("visavis.agent.voices.MOST", 1)
    closed = []
    monkeypatch.setattr("visavis.agent.voices.open_voice", lambda name: OnePaceClosed(closed))
    with scripted("Yes.") as agent, agent.session() as session:
        session.update(voice="en-us")
        with pytest.raises(UsageError, match="at most 1 voices in one agent; use one of en-us"):
            session.update(voice="en-us+f3")
    assert closed == ["closed"]


class OnePaceClosed(OnePace):
    def __init__(self, closed):
        self._closed = closed

    def close(self):
        self._closed.append("closed")


def told(agent, listening: bool) -> set[str]:
    """What a session tells while the partner types twenty clauses, and 2 s of motion after them."""
    with agent.session() as session, session.events() as events:
        session.update(listening=listening)
        kinds, moved_s, typed = set(), 0.0, False
        while moved_s < 2.0:
            event = events.get(10)
            assert event is not None, "the body stands still"
            kinds.add(event.type)
            if event.type == "response.motion.delta" and not typed:
                typed = True
                for k in range(20):
                    session.listen(text="and so on, " * (k + 1), final=False)
                    session._partner._attending._nodded = -1e9  # as if time had passed
            elif event.type == "response.motion.delta":
                moved_s += len(event.rotations) / FPS
        return kinds


def test_the_body_that_does_not_listen_idles(agent):
    assert "backchannel" in told(agent, True)
    assert "backchannel" not in told(agent, False)
