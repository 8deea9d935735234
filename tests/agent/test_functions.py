import json
from typing import Literal

import pytest

from visavis.agent.functions import FunctionTool, function_tools
from visavis.errors import UsageError


def opening_hours(day: str, rooms: list[int] | None = None, kind: Literal["full", "short"] = "full") -> str:
    """When the museum is open.

    Args:
        day: of the week,
            in English.
        rooms: which ones.

    Returns:
        a sentence.
    """
    if day == "never":
        raise RuntimeError("no such day")
    return f"{day}: nine to five ({kind}, {rooms})"


def test_the_schema_is_the_signature_and_the_docstring():
    function = FunctionTool(opening_hours).schema["function"]
    assert function["name"] == "opening_hours" and function["description"] == "When the museum is open."
    properties = function["parameters"]["properties"]
    assert properties["day"]["type"] == "string" and properties["day"]["description"] == "of the week, in English."
    assert properties["kind"]["enum"] == ["full", "short"] and properties["kind"]["default"] == "full"
    assert function["parameters"]["required"] == ["day"]


def test_a_call_is_checked_before_it_is_made():
    tool = FunctionTool(opening_hours)
    assert tool('{"day": "Monday", "rooms": [1, 2]}') == "Monday: nine to five (full, [1, 2])"
    for arguments in ("", "{}", "[1]", "{not json", '{"day": "x", "colour": 1}', '{"day": "x", "kind": "odd"}'):
        assert tool(arguments).startswith("error: "), arguments
    assert tool('{"day": "never"}') == "error: RuntimeError: no such day"


def test_results_are_json_and_short():
    def table() -> dict:
        """A table."""
        return {"rows": ["ä"] * 5_000}

    assert FunctionTool(table)("").startswith('{"rows": ["ä"') and len(FunctionTool(table)("")) == 4_000
    assert json.loads(FunctionTool(lambda_free)("")) == 3


def lambda_free() -> int:
    """Three."""
    return 3


def bare(x):
    """No types."""


def silent(x: int) -> int:
    return x


def loose(*args: int) -> None:
    """Any number."""


async def later() -> None:
    """Not now."""


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (bare, "a type of the parameter x of bare"), (silent, "a docstring of the tool silent"),
        (loose, "given by name; got"), (later, "later is async"), (lambda: 1, "named function"), (3, "named function"),
    ],
)  # fmt: skip
def test_what_is_no_tool_is_refused(function, said):
    with pytest.raises(UsageError, match=said):
        function_tools([function])


def test_names_differ():
    with pytest.raises(UsageError, match="two are called opening_hours"):
        function_tools([opening_hours, FunctionTool(opening_hours)])
