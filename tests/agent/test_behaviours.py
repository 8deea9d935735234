import importlib.metadata
import runpy
from pathlib import Path

import pytest

from visavis import extensions
from visavis.agent.behaviours import TurnView, behaviour, open_behaviours, open_retrievers
from visavis.agent.persona import Card
from visavis.errors import UsageError
from visavis.extensions import extension, names, register
from visavis.speech import open_voice
from visavis.testing import ScriptedPlanner, SilentVoice, scripted

EXAMPLE = Path(__file__).parents[2] / "examples" / "10_behaviour.py"


@behaviour(at="perceive")
def leaving(turn):
    if "goodbye" in turn.line.lower():
        turn.say("See you soon!")
        turn.feel("joy", 0.8)


@behaviour
def weather(turn: TurnView):
    if "weather" in turn.line:
        turn.know("It is twelve degrees in Oslo.")


@behaviour(at="reply")
def louder(turn):
    turn.say(turn.text + " Really!")


@behaviour(name="broken one")
def broken(turn):
    raise KeyError("no such city")


def answer(*lines, replies=("Yes, it is.",), **options):
    with scripted(*replies, **options) as agent:
        session = agent.session()
        return [session.answer(line) for line in lines], agent.tools.planner


def test_behaviours_run_at_their_places():
    (one, two), planner = answer("How is the weather?", "Goodbye!", behaviours=[leaving, weather, louder])
    assert one.text == "Yes, it is. Really!"
    assert planner.prompts[0].cards[0].text == "It is twelve degrees in Oslo." and len(planner.prompts) == 1
    assert two.text == "See you soon!" and two.record.clauses[0].emotion == "joy"


def test_one_that_fails_is_told_and_the_turn_goes_on():
    (turn,), _ = answer("Hi", behaviours=[broken, louder])
    assert turn.text == "Yes, it is. Really!"
    assert "behaviour broken one" not in turn.text and any("no such city" in line for line in turn.record.degraded)


def test_a_plain_function_is_enough_and_retrievers_bring_cards():
    def retrieve(line):
        return [Card(topic="the lift", facts=("The lift is behind the stairs.",))]

    def fails(line):
        raise OSError("index lost")

    (turn,), planner = answer(
        "Where is the lift?", behaviours=[lambda turn: turn.know("It is new.")], retrievers=[retrieve, fails]
    )
    texts = [card.text for card in planner.prompts[0].cards]
    assert texts[0] == "It is new." and "The lift is behind the stairs." in texts
    assert any("index lost" in line for line in turn.record.degraded)


@pytest.mark.parametrize("wrong", [7, "nobody offers this"])
def test_what_is_no_behaviour_is_told(wrong):
    with pytest.raises(UsageError, match="expected a behaviour"):
        open_behaviours([wrong])
    with pytest.raises(UsageError, match="perceive, recall, reply"):
        behaviour(at="nowhere")(print)
    with pytest.raises(UsageError, match="expected a retriever"):
        open_retrievers(["nobody offers this"])
    with pytest.raises(UsageError, match="at least one word"):
        TurnView("Hi").say("  ")


def test_names_of_this_process(monkeypatch):
    monkeypatch.setattr(extensions, "_registered", {})
    register("voice", "mine", SilentVoice)
    register("behaviour", "weather", weather)
    assert names("voice") == ["mine"] and extension("voice", "none") is None
    assert open_behaviours(["weather"]) == (weather,)
    assert open_voice("mine").name == "silent"
    with pytest.raises(UsageError, match="expected one of voice"):
        register("nonsense", "x", SilentVoice)


def test_names_of_installed_packages(monkeypatch):
    def points(group):
        offered = {
            "visavis.voices": [("quiet", "visavis.testing:SilentVoice"), ("gone", "visavis.testing:Nothing")],
            "visavis.planners": [("yes", "visavis.testing:ScriptedPlanner")],
        }
        return [importlib.metadata.EntryPoint(name, value, group) for name, value in offered.get(group, [])]

    monkeypatch.setattr(importlib.metadata, "entry_points", points)
    assert names("voice") == ["gone", "quiet"] and isinstance(extension("voice", "quiet"), SilentVoice)
    assert isinstance(extension("planner", "yes"), ScriptedPlanner)
    with pytest.raises(UsageError, match="cannot be loaded"):
        extension("voice", "gone")


def test_the_example_runs_and_is_short(capsys):
    lines = [line for line in EXAMPLE.read_text().splitlines() if line.strip()]
    assert len(lines) <= 30
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    said = capsys.readouterr().out
    assert said.startswith("It is ") and ":" in said


def test_scripted_planners():
    with scripted("It was {huge size} enormous!") as agent:
        turn = agent.session().answer("Hi")
        assert turn.text == "It was enormous!" and [g.gloss for g in turn.gestures] == ["huge size"]
    by_word = ScriptedPlanner({"name": "I am Maya."})
    assert by_word._next("What is your Name?") == "I am Maya." and by_word._next("Hm?") == "Hm."
    assert ScriptedPlanner(lambda line: line.upper())._next("a") == "A"
