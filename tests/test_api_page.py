"""`make docs` has every page, and every name of the API page is there and documented."""

import importlib
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


def test_every_page_is_in_the_navigation():
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    listed = sorted(page for entry in nav for page in entry.values())
    assert listed == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def test_every_name_of_the_api_page_is_there():
    names = re.findall(r"^::: (\S+)$", (ROOT / "docs" / "api.md").read_text(), re.M)
    assert len(names) > 10
    for name in names:
        module, _, member = name.rpartition(".")
        found = importlib.import_module(name) if member.islower() else getattr(importlib.import_module(module), member)
        assert found.__doc__, name
