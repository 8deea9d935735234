"""Gestures that the caller wants: exactly these, aimed, and true in the exported motion."""

import numpy as np
import pytest

from visavis import Agent, GestureRequest
from visavis.errors import LexiconError
from visavis.evals.library.exact import exported, palm_distance_m, pointing_error_deg, shown_fingers
from visavis.retrieval.scene import Scene


@pytest.fixture(scope="module")
def agent():
    with Agent(voice="silent", scene=Scene(objects={"door": (1.5, 1.0, 2.0)})) as made:
        yield made


def test_the_callers_gestures_are_made_and_no_others(agent):
    variant = agent.tools.library.variants("thumbs up")[1]
    wanted = [GestureRequest("greeting wave", 0), GestureRequest("thumbs up", 7, variant=variant)]
    turn = agent.say("Hello there my dear friend, this is great news for all of us!", gestures=wanted)
    assert [(g.gloss, g.source) for g in turn.gestures] == [("greeting wave", "caller"), ("thumbs up", "caller")]
    assert turn.gestures[1].clip == f"thumbs up/{variant}"
    assert not agent.say("I caught a fish, and it was huge!", gestures=[]).gestures


def test_they_are_exact_in_the_file(agent, tmp_path):
    target = (-1.2, 0.7, 1.9)
    turn, motion = exported(agent, GestureRequest("point away", 6, {"target": target}), tmp_path)
    (gesture,) = turn.gestures
    frame = round(0.5 * (gesture.stroke_s + gesture.stroke_end_s) * 30)
    assert pointing_error_deg(motion, frame, gesture.hand, np.array(target)) < 5
    assert gesture.params["target"] == list(target)
    turn, motion = exported(agent, GestureRequest("huge size", 6, {"size_m": 0.8}), tmp_path)
    gesture = turn.gestures[0]
    frame = round(0.5 * (gesture.stroke_s + gesture.stroke_end_s) * 30)
    assert palm_distance_m(motion, frame) == pytest.approx(0.8, abs=0.01)
    turn, motion = exported(agent, GestureRequest("counting", 6, {"count": 3}), tmp_path)
    gesture = turn.gestures[0]
    assert shown_fingers(motion, round((gesture.stroke_end_s - 0.07) * 30), gesture.hand) == 3


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (GestureRequest("somersault", 0), "no gesture 'somersault'"),
        (GestureRequest("stop", 99), "a word from 0 to"),
        (GestureRequest("stop", 0, {"size_m": 1}), "has the parameters"),
        (GestureRequest("stop", 0, variant="sideways"), "is performed plain"),
        (GestureRequest("point away", 0, {"target": (1, 2)}), "three numbers"),
    ],
)
def test_what_cannot_be_made_is_refused_before_a_word_is_spoken(agent, request_, message):
    with pytest.raises(LexiconError, match=message):
        agent.say("This is never said.", gestures=[request_])


def test_the_scene_aims_what_the_model_makes(agent):
    turn = agent.say("Look, it is over there by the door!")
    aimed = [g for g in turn.gestures if "target" in g.params]
    assert aimed and all(g.params["target"] == [1.5, 1.0, 2.0] for g in aimed)


def test_a_gesture_does_not_follow_itself(agent):
    turn = agent.say("That was huge. It was really enormous. It was gigantic, a giant of a fish!")
    made = [g.gloss for g in turn.gestures]
    assert len(made) >= 2 and all(a != b for a, b in zip(made, made[1:], strict=False))
