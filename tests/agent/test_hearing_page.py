"""`docs/hearing.md` is true: its examples run, in order."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "hearing.md").read_text(encoding="utf-8")


@pytest.mark.skipif(find_spec("silero_vad") is None, reason="the extra 'speech' is not installed")
def test_the_examples_run():
    names: dict[str, object] = {}
    examples = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    assert len(examples) == 2
    for code in examples:
        exec(compile(code, "docs/hearing.md", "exec"), names)
    assert len(names["motion"]) == 30


def test_every_event_is_on_the_page():
    from visavis.agent import turn_taking

    for name in turn_taking.__all__:
        thing = getattr(turn_taking, name)
        if isinstance(thing, type) and issubclass(thing, turn_taking.HearingEvent) and thing.kind:
            assert f"`{name}`" in PAGE
