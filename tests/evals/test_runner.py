import json
from dataclasses import dataclass, field, replace
from xml.etree import ElementTree

import pytest

import visavis.agent
from visavis.errors import UsageError
from visavis.evals.runner import run_files


@dataclass
class OneTurn:
    """An agent that always answers with the same turn."""

    turn: object
    lines: list = field(default_factory=list)

    def __call__(self, persona, **options):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def session(self):
        return self

    def answer(self, line):
        self.lines.append(line)
        if "fail" in line:
            raise UsageError("expected something else")
        return self.turn

    say = answer


@pytest.fixture
def dialog(tmp_path):
    def write(name, expect, line="What was it?"):
        path = tmp_path / name
        path.write_text(json.dumps({"name": name, "turns": [{"user": line, "expect": expect}]}))
        return path

    return write


@pytest.fixture
def agent(monkeypatch, huge_turn):
    made = OneTurn(replace(huge_turn))
    monkeypatch.setattr(visavis.agent, "Agent", made, raising=False)
    return made


def test_reports_and_status(agent, dialog, tmp_path, capsys):
    good = dialog("good.yaml", {"text": {"contains": "huge"}, "motion": "continuous"})
    bad = dialog("bad.yaml", {"emotion": "anger"})
    assert run_files([good], tmp_path / "a") == 0
    assert run_files([good, bad], tmp_path / "b", repeat=2, as_json=True) == 1
    verdicts = json.loads((tmp_path / "b" / "verdicts.json").read_text())
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == verdicts
    assert verdicts["pass_hat_k"] == 0.5 and verdicts["pass_rate"]["value"] == 0.5 and len(verdicts["runs"]) == 4
    assert [run["passed"] for run in verdicts["runs"]] == [True, True, False, False]
    suites = ElementTree.parse(tmp_path / "b" / "junit.xml").getroot()
    assert [suite.get("failures") for suite in suites] == ["0", "0", "1", "1"]
    page = (tmp_path / "b" / "report.html").read_text()
    assert page.count("<img") == 4 and "class='no'" in page and "<script" not in page
    assert (tmp_path / "b" / "good" / "run1" / "001" / "preview.png").exists()


def test_a_turn_that_cannot_be_made_fails(agent, dialog, tmp_path, capsys):
    assert run_files([dialog("d.yaml", {}, "fail here")], tmp_path / "o") == 1
    assert "expected something else" in capsys.readouterr().out


def test_misuse(tmp_path):
    with pytest.raises(UsageError, match="at least once"):
        run_files([], tmp_path, repeat=0)
    with pytest.raises(UsageError, match="readable dialog"):
        run_files([tmp_path / "none.yaml"], tmp_path)


def test_beside_a_baseline_the_status_says_whether_anything_got_worse(agent, dialog, tmp_path, capsys):
    one = dialog("one.yaml", {"text": {"contains": ["huge", "whale"]}})
    assert run_files([one], tmp_path / "before") == 1  # no whale
    assert run_files([one], tmp_path / "same", baseline=tmp_path / "before") == 0
    told = json.loads((tmp_path / "same" / "verdicts.json").read_text())["baseline"]
    assert told["worse"] == told["better"] == [] and told["checks"] == 2 and told["change"]["value"] == 0
    kept = json.loads((tmp_path / "before" / "verdicts.json").read_text())
    for check in kept["runs"][0]["turns"][0]["checks"]:
        check["passed"] = not check["passed"]
    (tmp_path / "other.json").write_text(json.dumps(kept), encoding="utf-8-sig")
    capsys.readouterr()
    assert run_files([one], tmp_path / "c", baseline=tmp_path / "other.json") == 1
    said = capsys.readouterr().out
    assert "worse: one (run 1), turn 1: text contains 'whale'" in said and "better: " in said and "n = 2" in said
    assert "worse: one" in (tmp_path / "c" / "report.html").read_text()


@pytest.mark.parametrize("content", [None, "no json", "[]", '{"runs": [{}]}'])
def test_a_baseline_that_is_none_is_refused_before_anything_runs(content, agent, dialog, tmp_path):
    if content is not None:
        (tmp_path / "b.json").write_text(content)
    with pytest.raises(UsageError, match="verdicts.json of an earlier run"):
        run_files([dialog("one.yaml", {})], tmp_path / "out", baseline=tmp_path / "b.json")
    assert agent.lines == []


def test_who_stood_in_is_told(agent, dialog, tmp_path, capsys):
    record = agent.turn.record.model_copy(update={"degraded": ["planner: lost; the native planner answers"]})
    agent.turn = replace(agent.turn, record=record)
    assert run_files([dialog("one.yaml", {})], tmp_path) == 0
    assert "degraded: 1 of 1 turns, the first by: planner: lost" in capsys.readouterr().out
    assert (tmp_path / "report.html").read_text().count("planner: lost") == 2


def test_what_was_done_before_an_interruption_is_reported(agent, dialog, tmp_path, capsys, monkeypatch):
    def answer(line):
        if "second" in line:
            raise KeyboardInterrupt
        return agent.turn

    monkeypatch.setattr(agent, "answer", answer, raising=False)
    files = [dialog("one.yaml", {}), dialog("two.yaml", {}, line="the second")]
    assert run_files(files, tmp_path) == 130
    verdicts = json.loads((tmp_path / "verdicts.json").read_text())
    assert verdicts["interrupted"] and not verdicts["passed"] and len(verdicts["runs"]) == 1
    assert "interrupted" in capsys.readouterr().out
