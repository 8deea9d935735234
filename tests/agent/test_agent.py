"""What whoever makes an agent may give, and what is refused in one clear line."""

import threading

import numpy as np
import pytest

from visavis import Agent, GestureRequest
from visavis.agent.behaviours import open_behaviours, open_retrievers
from visavis.agent.store import open_store
from visavis.errors import PersonaError, UsageError, VoiceError
from visavis.speech.types import Speech, Word
from visavis.testing import scripted


class OnlySpeaks:
    """A voice as somebody's own package may have it: one method, nothing else."""

    def speak(self, text, emotion):
        said = text.split()
        words, at = [], 0
        for i, word in enumerate(said):
            at = text.index(word, at)
            words.append(Word(word, 0.3 * i, 0.3 * i + 0.3, 0.5, 0.3 * i + 0.05, at, at + len(word)))
            at += len(word)
        return Speech(text, np.zeros(round(16_000 * 0.3 * len(said)), np.int16), 16_000, tuple(words))


class Gives:
    def __init__(self, samples):
        self.samples = samples

    def speak(self, text, emotion):
        return self.samples if self.samples is None else Speech(text, self.samples, 16_000)


def test_a_voice_needs_nothing_but_speak():
    with Agent("friend", voice=OnlySpeaks()) as agent:
        turn = agent.say("Hello there, my good old friend.")
        assert len(turn.speech.words) == 6 and turn.record.duration_s > 1.8
        with pytest.raises(UsageError, match="voice that has a pace; 'OnlySpeaks' does not"):
            agent.session().update(rate=1.5)


WRONG = {
    "persona": ({"name": "Ada"}, PersonaError, "name of a preset or a persona file; got dict"),
    "voice": (3, UsageError, "object with `speak`; got 3"),
    "knowledge": ("", UsageError, "got an empty one"),
    "scene": ({"objects": {}}, UsageError, "expected a scene"),
    "library": (__file__, UsageError, "is a file"),
    "store": (5, UsageError, "`Store` to keep conversations in; got 5"),
    "retrievers": (len, UsageError, "a list of retrievers"),
    "behaviours": ("clock", UsageError, "a list of behaviours"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_an_agent_cannot_be_made_of_is_told_in_one_line(name):
    value, kind, message = WRONG[name]
    with pytest.raises(kind, match=message) as caught:
        Agent(**{name: value})
    assert "\n" not in str(caught.value)


def test_what_are_no_functions_and_no_stores_are_refused():
    with pytest.raises(UsageError, match="a function or a name; got int"):
        open_retrievers([3])
    with pytest.raises(UsageError, match="a function or a name; got int"):
        open_behaviours([3])
    with pytest.raises(UsageError, match="got 1"):
        open_store(1)


@pytest.mark.parametrize("wish", ["shrug", ("shrug", 0), GestureRequest("shrug", 0.5)])
def test_gestures_that_are_none_are_refused_before_anything_is_said(wish):
    with scripted("Yes.") as agent:
        with pytest.raises(UsageError, match="GestureRequest\\('shrug', word=0\\)"):
            agent.say("Hello there.", gestures=[wish])
        with pytest.raises(UsageError, match="got one alone"):
            agent.say("Hello there.", gestures=GestureRequest("shrug", 0))


def test_after_its_end_an_agent_says_nothing_more():
    with scripted("Yes.") as agent:
        agent.say("Hello.")
    for late in (agent.say, agent.session):
        with pytest.raises(UsageError, match="expected an open agent"):
            late("again")
    agent.close()


def test_threads_that_ask_for_one_name_get_one_session():
    with scripted("Yes.") as agent:
        found, barrier = [], threading.Barrier(8)

        def ask():
            barrier.wait()
            found.append(agent.session("same"))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({id(session) for session in found}) == 1 and len(found) == 8


def test_knowledge_may_have_more_headings_than_a_persona_has_cards():
    text = "\n\n".join(f"# Shelf {i}\n\nShelf {i} stands in room {2 * i}." for i in range(600))
    with Agent("friend", voice="silent", knowledge=text) as agent:
        assert len(agent.persona.cards) > 600


def test_a_voice_without_times_is_aligned_and_floats_are_sound():
    hum = (0.3 * np.sin(np.arange(32_000) * 0.06)).astype(np.float32)
    with Agent("friend", voice=Gives(hum)) as agent:
        turn = agent.say("I caught a fish, and it was huge!")
    assert [word.text for word in turn.speech.words] == "I caught a fish, and it was huge!".split()
    assert turn.speech.samples.dtype == np.int16 and 9_000 < np.abs(turn.speech.samples).max() < 11_000
    assert [gesture.gloss for gesture in turn.gestures] == ["huge size"]


@pytest.mark.parametrize("given", [None, np.zeros(0, np.int16), np.zeros((2, 900), np.int16), np.zeros(900, np.int64)])
def test_a_voice_that_gives_no_sound_is_told(given):
    with Agent("friend", voice=Gives(given)) as agent, pytest.raises(VoiceError, match="the voice"):
        agent.say("Hello.")
