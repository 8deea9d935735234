"""How a given text is felt: by the model, by meaning, and by the line before."""

from dataclasses import replace

import pytest

from visavis.agent.chat_planner import ChatPlanner
from visavis.agent.native import NativePlanner
from visavis.agent.planner import Cancel
from visavis.emotion import EMOTIONS, Emotion
from visavis.retrieval.feeling import Feeling
from visavis.testing import ScriptedPlanner, scripted
from visavis.tokenizers.turn_language import ActPrompt


class Asked(ScriptedPlanner):
    """Keeps what it is asked."""

    def __init__(self):
        super().__init__(["Yes."])
        self.asked = []

    def feel(self, prompt, *, cancel):
        self.asked.append((prompt.text, prompt.before))
        return Emotion()


@pytest.fixture
def planner():
    return Asked()


@pytest.fixture
def talker(planner):
    with scripted("Yes.") as agent:
        agent.tools = replace(agent.tools, planner=planner)
        yield agent


def test_the_line_before_reaches_the_planner(talker, planner):
    turn = talker.say("Really?", after="They are closing the baths.")
    assert planner.asked == [("Really?", "They are closing the baths.")]
    assert turn.record.user == "They are closing the baths." and turn.text == "Really?"


def test_without_a_line_before_there_is_none(talker, planner):
    session = talker.session()
    session.say("Really?")
    session.answer("They are closing the baths.")
    session.say("Oh.")  # after the agent's own words
    assert planner.asked == [("Really?", ""), ("Oh.", "")]


def test_the_line_is_remembered_as_the_partners(talker):
    session = talker.session()
    session.say("Really?", after="They are closing the baths.")
    assert session.history == [("user", "They are closing the baths."), ("agent", "Really?")]


def test_meaning_counts_as_far_as_it_is_trusted(agent):
    native = agent.tools.planner
    assert isinstance(native, NativePlanner)
    texts = ["I am so happy!", "The bus leaves at six.", "They all died.", "What a disgusting smell."]
    heads = Feeling.default()
    for text in texts:
        prompt = ActPrompt(text, None, agent.tools.library.candidates(text))
        alone = NativePlanner(native.engine, native.library, feeling_trust=0.0).feel(prompt, cancel=Cancel())
        again = replace(heads, said=heads.said * 0, said_bias=heads.said_bias * 0)  # no opinion
        neither = NativePlanner(native.engine, native.library, feeling=again).feel(prompt, cancel=Cancel())
        assert alone == neither
        sure = NativePlanner(native.engine, native.library, feeling_trust=1e4).feel(prompt, cancel=Cancel())
        assert sure.name == EMOTIONS[int(heads.log_chances(text).argmax())]
        assert (sure.name == "neutral") == (sure.intensity == 0.0)
        open_ = native.act(prompt, params={}, seed=0, cancel=Cancel())
        assert open_.emotion == native.feel(prompt, cancel=Cancel())


def test_a_chat_model_is_shown_the_line_before(monkeypatch, agent):
    shown = []

    def ask(self, messages, *rest):
        shown.append(messages[-1]["content"])
        return "{}"

    monkeypatch.setattr(ChatPlanner, "_ask", ask)
    chat = ChatPlanner(None, "model", agent.tools.library)  # type: ignore[arg-type]
    chat.feel(ActPrompt("Really?", None, [], "They are closing the baths."), cancel=Cancel())
    assert "Really?" in shown[0] and "They are closing the baths." in shown[0]
