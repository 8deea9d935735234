"""Who comes, leaves or keeps silent: what is said, and what the body does."""

import time

import numpy as np
import pytest

from visavis.agent.events import FaceDelta, InputEvent, MotionDelta, SessionState
from visavis.agent.persona import Persona
from visavis.agent.visit import Visit
from visavis.errors import UsageError
from visavis.motion.face import face_index
from visavis.motion.skeleton import default_skeleton
from visavis.testing import scripted

ADA = Persona(name="Ada", role="a baker", greeting="Good morning!", farewell="Goodbye!", offer="Fresh bread?")


def test_the_greeting_comes_once_in_a_visit_and_not_after_somebody_spoke():
    visit = Visit(ADA)
    assert visit.line("approach", False) == "Good morning!"
    visit.spoke(None, "Good morning!")
    assert visit.line("approach", False) is None
    visit.line("leave", False)
    visit.spoke("Hello", None)
    assert visit.line("approach", True) is None


def test_a_farewell_is_for_who_has_spoken_and_begins_another_visit():
    visit = Visit(ADA)
    visit.spoke(None, "Good morning!")
    assert visit.line("leave", False) is None  # walked past
    visit.spoke("Hello", None)
    assert visit.line("leave", True) == "Goodbye!"
    visit.spoke(None, "Goodbye!")  # said behind whoever left
    assert visit.line("approach", False) == "Good morning!"


def test_the_offer_is_made_once_in_a_visit_and_never_into_speech():
    visit = Visit(ADA)
    assert visit.line("silence", True) is None
    assert visit.line("silence", False) == "Fresh bread?"
    assert visit.line("silence", False) is None
    visit.line("leave", False)
    assert visit.line("silence", False) == "Fresh bread?"


def test_without_lines_nothing_is_said_and_other_names_are_refused():
    visit = Visit(Persona(name="Bo", role="a baker"))
    visit.spoke("Hello", None)
    assert [visit.line(name, False) for name in ("approach", "leave", "silence")] == [None, None, None]
    with pytest.raises(UsageError, match="expected one of approach, leave, silence; got 'dance'"):
        visit.line("dance", False)


@pytest.fixture(scope="module")
def baker():
    with scripted("It is warm.", seed=3, persona=ADA) as agent:
        yield agent


def collected(events, kind, timeout_s=30.0):
    seen, end = [], time.monotonic() + timeout_s
    while time.monotonic() < end:
        if (event := events.get(0.2)) is not None:
            seen.append(event)
            if event.type == kind:
                return seen
    raise AssertionError(f"no {kind}; got {[e.type for e in seen]}")


def test_a_visit_from_coming_to_leaving(baker):
    with baker.session() as session, session.events() as events:
        collected(events, "response.motion.delta")
        session.receive(InputEvent(name="approach"))
        seen = collected(events, "response.motion.delta")
        face = next(e for e in seen if isinstance(e, FaceDelta))
        motion = seen[-1]
        assert isinstance(motion, MotionDelta) and not motion.turn_id
        assert face.weights[:, face_index("browInnerUp")].max() > 0.3  # it looks up
        head = 2 * motion.rotations[:, default_skeleton().index("head"), 0]
        assert (head - head[0]).min() < -np.radians(1.5)
        assert collected(events, "response.done")[-1].turn["text"] == "Good morning!"
        collected(events, "session.state")
        assert session.happened("approach") is None
        session.submit("How is the bread?")
        collected(events, "response.speech.delta")
        turn = session.happened("leave")
        seen = collected(events, "response.done")
        assert [e.type for e in seen].count("response.interrupted") == 1
        assert (seen[-1].turn_id, seen[-1].turn["text"]) == (turn, "Goodbye!")
        collected(events, "session.state")
        assert session.happened("silence") is not None
        assert collected(events, "response.done")[-1].turn["text"] == "Fresh bread?"
        assert session.happened("silence") is None
        with pytest.raises(UsageError, match="expected one of approach, leave, silence"):
            session.receive(InputEvent(name="dance"))


def test_who_leaves_without_a_word_is_let_go(baker):
    with baker.session() as session, session.events() as events:
        collected(events, "response.motion.delta")
        session.listen(text="How is", final=False)
        assert session.state == "listening"
        assert session.happened("leave") is None and session.state == "idle"
        told = [e.state for e in collected(events, "response.motion.delta") if isinstance(e, SessionState)]
        assert told == ["listening"] or told == ["listening", "idle"]
        assert session.history == []
