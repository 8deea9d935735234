"""The measurement of held-out personas: what is drawn, what is judged, and that the commands work."""

import json

import pytest

from visavis.agent.persona import Card, Persona
from visavis.emotion import Emotion
from visavis.errors import FileFormatError
from visavis.evals.personas import held as questions
from visavis.evals.personas.__main__ import main
from visavis.evals.personas.held import Ask, Held, draw, feelings, held
from visavis.evals.personas.measure import ask, macro, measure
from visavis.evals.personas.transcripts import TALKS, play, talks, told
from visavis.finetune.replies.worlds import of_split
from visavis.tokenizers.turn_language import ReplyPlan, Segment

PERSONA = Persona(
    name="Ada",
    role="a miller",
    cards=(
        Card(topic="mill", facts=("The mill has four sails.", "It was built of oak.")),
        Card(topic="flour", facts=("A sack of flour costs nine crowns.",)),
    ),
)
ASKS = (
    Ask("known", "How many sails does the mill have?", "The mill has four sails."),
    Ask("known", "What does a sack of flour cost?", "A sack of flour costs nine crowns."),
    Ask("near", "How heavy is a sack of flour?"),
    Ask("far", "Who is your dentist?"),
    Ask("follow_up", "And what was it built of?", "It was built of oak.", ("sails?", "The mill has four sails.")),
)


class Says:
    """A planner that says what a function of the prompt says."""

    name = "says"

    def __init__(self, say, emotion="joy"):
        self.say, self.emotion, self.prompts = say, emotion, []

    def reply(self, prompt, *, seed, cancel):
        self.prompts.append(prompt)
        text = self.say(prompt)
        return ReplyPlan(Emotion(self.emotion, 0.5), (Segment(text, text in {card.text for card in prompt.cards}),))


def judged(say, **more):
    return measure(Says(say), people=[Held("", PERSONA, ASKS)], at_once=2, limit=7, **more)


def test_who_knows_is_right_and_who_declines_is_not():
    best = judged(lambda prompt: prompt.cards[0].text)
    assert best.value("right with quoting") == 100 == best.value("right with quoting, people")
    assert best.value("RECALL: fact is first") == 100
    assert best.value("unknown declined with quoting") == 0 == best.value("declined though known with quoting")
    shy = judged(lambda _: "I'm afraid I don't know that.")
    assert shy.value("right with quoting") == 0 == shy.value("follow-ups right with quoting")
    assert shy.value("declined though known with quoting") == 100
    for group in ("", ", near misses", ", others"):
        assert shy.value(f"unknown declined with quoting{group}") == 100


def test_two_facts_are_not_the_right_one():
    table = judged(lambda prompt: " ".join(PERSONA.facts))
    assert table.value("right with quoting") == 0 and table.value("another card's fact with quoting") == 100


def test_beside_it_without_quoting():
    table = judged(lambda prompt: prompt.cards[0].text, unquoted=Says(lambda _: "Hm."))
    assert table.value("right with quoting") == 100 and table.value("right without quoting") == 0
    assert table.value("right, gain by quoting") == 100
    assert {name for row in table.details["questions"] for name in row["replies"]} == {
        "with quoting", "without quoting",
    }  # fmt: skip


def test_a_follow_up_comes_after_what_it_leans_on():
    mind = Says(lambda prompt: prompt.cards[0].text)
    ask({"with quoting": mind}, Held("", PERSONA, ASKS), ASKS[-1])
    assert list(mind.prompts[0].history) == [("user", "sails?"), ("agent", "The mill has four sails.")]
    assert {card.text for card in mind.prompts[0].cards} >= set(PERSONA.facts)


def test_emotions_count_as_accepted():
    table = judged(lambda _: "Oh!")
    shown = [row["accept"] for row in table.details["emotions"]]
    assert len(shown) == 7
    hits = ["joy" in accept for accept in shown]
    assert table.value("emotion as intended") == pytest.approx(100 * sum(hits) / 7, abs=1e-4)
    firsts = [accept[0] == "joy" for accept in shown]
    first = table.value("emotion as intended, the first of those accepted")
    assert first == pytest.approx(100 * sum(firsts) / 7, abs=1e-4)


def test_macro_weighs_emotions_alike():
    figure = macro(["joy", "joy", "joy", "fear"], [True, True, True, False])
    assert figure.value == 0.5 and figure.n == 4
    assert macro([], []).n == 0


def test_drawn_again_it_is_the_same(tmp_path, capsys):
    assert main(["draw"]) == 2
    assert "expected --out FILE.jsonl" in capsys.readouterr().err
    file = tmp_path / "drawn.jsonl"
    assert main(["draw", "--out", str(file), "--seed", "1"]) == 0
    drawn = draw(1)
    assert held(file) == tuple(drawn) and draw(2) != drawn
    assert all(of_split(one.setting, "dev", "setting") for one in drawn if one.setting)
    count = {kind: sum(q.kind == kind for one in drawn for q in one.asks) for kind in ("known", "near", "follow_up")}
    assert count == {"known": 1000, "near": 200, "follow_up": 300}


def test_too_few_questions_are_told(monkeypatch):
    monkeypatch.setattr(questions, "KNOWN", (1_000_000, 0))
    with pytest.raises(ValueError, match="expected 1000000 questions to draw; there are .*: draw more personas"):
        draw()


def test_a_file_of_something_else_is_told(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"name": "Ada"}\n')
    with pytest.raises(FileFormatError, match="expected personas with questions, one JSON object a line"):
        held(tmp_path / "x.jsonl")


def test_talks_are_whole():
    frozen = talks()
    assert len(frozen) == 5 and all(len(talk.lines) == len(set(talk.lines)) == 10 for talk in frozen)
    assert sum(talk.shipped for talk in frozen) == 2 and len({talk.persona.name for talk in frozen}) == 5
    assert TALKS.endswith(".yaml")


def test_a_talk_is_played_and_told():
    talk = talks()[0]
    turns = play(talk, 3, limit=2)
    page = told([(talk, turns)], 3)
    assert [turn.record.user for turn in turns] == list(talk.lines[:2])
    assert "--seed 3" in page and turns[0].record.fingerprint in page
    for turn in turns:
        first = turn.record.clauses[0]
        assert f"**You:** {turn.record.user}" in page
        assert f"({first.emotion} {first.intensity:.1f}" in page and f": {turn.record.text}\n" in page


def test_the_command_measures(tmp_path, capsys):
    assert main(["--limit", "2", "--json", str(tmp_path / "p.json")]) == 0
    assert "right with quoting, people" in capsys.readouterr().out
    content = json.loads((tmp_path / "p.json").read_text())
    assert len(content["details"]["questions"]) == 8 and len(content["details"]["emotions"]) == 2


def test_the_command_measures_emotions_alone(tmp_path, capsys):
    assert main(["emotions", "--limit", "2", "--json", str(tmp_path / "e.json")]) == 0
    assert "emotion as intended" in capsys.readouterr().out
    assert json.loads((tmp_path / "e.json").read_text())["details"].keys() == {"emotions"}


def test_the_command_writes_transcripts(tmp_path, capsys):
    out = tmp_path / "transcripts.md"
    assert main(["transcripts", "--limit", "1", "--out", str(out)]) == 0
    assert "5 talks, 5 turns" in capsys.readouterr().out
    assert out.read_text().count("**You:**") == 5
    assert main(["transcripts", "--out", str(tmp_path / "no" / "t.md")]) == 2
    assert "expected a folder to write into" in capsys.readouterr().err


def test_every_line_has_a_kind():
    assert {"greeting", "good news", "thanks", "worry and fear", "surprise", "insult"} <= {f.kind for f in feelings()}
