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
