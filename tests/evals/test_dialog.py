import json
import re
from pathlib import Path

import pytest

from visavis.errors import FileFormatError, PersonaError
from visavis.evals.dialog import load_dialog
from visavis.evals.runner import shipped_dialogs


def test_the_five_that_ship_are_read():
    dialogs = [load_dialog(path) for path in shipped_dialogs()]
    assert {persona.name for _, persona in dialogs} == {"Maya", "Elena", "Theo", "Sam", "Robin"}
    expects = [turn.expect for dialog, _ in dialogs for turn in dialog.turns]
    assert any(e.text for e in expects) and any(e.emotion for e in expects) and any(e.gestures for e in expects)
    assert any(e.timing for e in expects) and any(e.motion for e in expects) and any(e.within_ms for e in expects)


def test_the_facts_they_expect_are_on_the_cards():
    for path in shipped_dialogs():
        dialog, persona = load_dialog(path)
        known = " ".join(persona.facts).lower()
        for turn in dialog.turns:
            if turn.user is not None and turn.expect.text is not None:
                assert all(part.lower() in known for part in turn.expect.text.contains), turn.user


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name: a\nturns: []\n", "turns: Tuple should have at least 1 item"),
        ("name: a\nturns: [{user: hi, say: ho}]\n", "a turn has either `user`"),
        ("name: a\nturns: [{user: hi, expects: {}}]\n", "turns.0.expects: unknown field: did you mean 'expect'?"),
        ("name: a\nturns: [{user: hi, expect: {emotion: glee}}]\n", "expected emotions of neutral"),
        ("name: a\nturns: [{user: hi, expect: {text: whale}}]\n", "turns.0.expect.text: Input should be"),
        ("name: [\n", "expected YAML"),
        ("- a\n", "expected a mapping"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, content, message):
    path = tmp_path / "d.yaml"
    path.write_text(content)
    with pytest.raises(FileFormatError) as error:
        load_dialog(path)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_no_file_and_no_persona(tmp_path):
    with pytest.raises(FileFormatError, match="readable dialog"):
        load_dialog(tmp_path / "none.yaml")
    path = tmp_path / "d.yaml"
    path.write_text(json.dumps({"name": "a", "persona": "nobody.yaml", "turns": [{"user": "hi"}]}))
    with pytest.raises(PersonaError):
        load_dialog(path)


def test_the_example_of_the_page_is_a_dialog_also_with_a_mark_and_other_line_ends(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "evals.md").read_text(encoding="utf-8")
    example = re.search(r"```yaml\n(.*?)```", page, re.S)[1]
    (tmp_path / "visitor.yaml").write_bytes(b"\xef\xbb\xbf" + example.replace("\n", "\r\n").encode())
    dialog, persona = load_dialog(tmp_path / "visitor.yaml")
    assert len(dialog.turns) == 2 and persona.name == "Maya" and dialog.turns[0].expect.gestures[0].near[0] == "whale"
