"""The README is true: its example runs and prints what it says, its paths exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_prints_what_the_readme_says(tmp_path, monkeypatch, capsys):
    pytest.importorskip("espeakng_loader", reason="the example's voice needs the extra `speech`")
    code, said = re.search(r"```python\n(.*?)```\s*```\n(.*?)```", README, re.S).groups()
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out == said
    assert {p.name for p in (tmp_path / "out").iterdir()} >= {"turn.json", "speech.wav", "motion.bvh", "motion.glb"}


def test_every_path_named_exists():
    for path in re.findall(r"\]\(([^):]+)\)|`(visavis/[\w/]+)`", README):
        named = path[0] or path[1]
        assert (ROOT / named).exists(), named
    for name in re.findall(r"^(visavis/\w+|tests|docs) {2,}", README, re.M):
        assert (ROOT / name).is_dir(), name
