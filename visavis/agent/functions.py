"""Plain Python functions as tools of a chat model: `Agent(planner="chat", tools=[opening_hours])`.

Name, types and docstring are all that a function needs: the schema that the model sees is made of them, and what it
sends is checked against them before the function is called. What goes wrong inside is told to the model, not raised:
it can try again or do without.
"""

from __future__ import annotations

import inspect
import json
import logging
import re
import typing
from collections.abc import Callable, Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from visavis.errors import UsageError

__all__ = ["FunctionTool", "function_tools"]

log = logging.getLogger(__name__)

LONGEST_RESULT: Final = 4_000  # characters of a result that a model reads


class FunctionTool:
    """One function that a model may call.

    Args:
        function: with a docstring and an annotation on every parameter; `Args:` in the docstring describes them.

    Raises:
        UsageError: what is missing.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        name = getattr(function, "__name__", "")
        if not callable(function) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name):
            raise UsageError(f"expected a tool as a named function; got {function!r}")
        if inspect.iscoroutinefunction(function):
            raise UsageError(f"expected a tool that returns its result; {name} is async: wrap it")
        self.name, self._function = name, function
        self.description, told = _docstring(function)
        if not self.description:
            raise UsageError(f"expected a docstring of the tool {name}: by it the model knows when to call it")
        self._arguments = _model(function, name, told)

    @property
    def schema(self) -> dict[str, Any]:
        """The entry in `tools` of a chat request."""
        parameters = self._arguments.model_json_schema()
        parameters.pop("title", None)
        return {
            "type": "function",
            "function": {"name": self.name, "description": self.description, "parameters": parameters},
        }

    def __call__(self, arguments: str) -> str:
        """Call the function with a model's JSON; what the model reads of the result, or of what went wrong."""
        try:
            checked = self._arguments.model_validate_json(arguments or "{}")
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            return f"error: {'.'.join(map(str, first['loc'])) or 'arguments'}: {first['msg']}"
        try:
            result = self._function(**{name: getattr(checked, name) for name in type(checked).model_fields})
        except Exception as error:  # somebody else's code: the model is told, the turn goes on
            log.warning("tool %s failed: %s", self.name, type(error).__name__)
            return f"error: {type(error).__name__}: {error}"[:LONGEST_RESULT]
        text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str)
        return text[:LONGEST_RESULT]


def function_tools(functions: Sequence[Callable[..., Any] | FunctionTool]) -> dict[str, FunctionTool]:
    """Tools by name. Raises UsageError where one is none, or two have one name."""
    tools: dict[str, FunctionTool] = {}
    for function in functions:
        tool = function if isinstance(function, FunctionTool) else FunctionTool(function)
        if tool.name in tools:
            raise UsageError(f"expected tools of different names; two are called {tool.name}")
        tools[tool.name] = tool
    return tools


def _model(function: Callable[..., Any], name: str, told: dict[str, str]) -> type[BaseModel]:
    """The arguments of a function as something that checks them."""
    hints = typing.get_type_hints(function)
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise UsageError(f"expected parameters of {name} that can be given by name; got {parameter}")
        if parameter.name not in hints:
            raise UsageError(f"expected a type of the parameter {parameter.name} of {name}, such as str; got none")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints[parameter.name], Field(default, description=told.get(parameter.name)))
    return create_model(name, __config__=ConfigDict(extra="forbid"), **fields)


def _docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """What a docstring says before its sections, and of each parameter under `Args:`."""
    text = inspect.getdoc(function) or ""
    head, _, rest = text.partition("Args:")
    section = re.split(r"^\w+:\s*$", rest, maxsplit=1, flags=re.M)[0]
    told = {
        match[1]: " ".join(match[2].split())
        for match in re.finditer(r"^\s+(\w+)(?:\s*\([^)]*\))?:\s*(.+(?:\n\s{8,}\S.*)*)", section, re.M)
    }
    head = re.split(r"^(?:Returns|Raises):\s*$", head, maxsplit=1, flags=re.M)[0]
    return " ".join(head.split()), told
