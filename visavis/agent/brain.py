"""What thinks in an agent: which planner, run by which engine, here or at a server, and what stands behind it.

planner native, engine embedded       everything in this process (the default); embedded:N decodes a crowd in N of them
planner native, engine transformers   any causal model with our vocabulary, in this process
planner native, engine vllm           the model at a vLLM server; an engine in this process stands behind it
planner chat                          REPLY and ACT by a chat model at a server; MOVE, and what stands behind it, native
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from visavis.agent.engine import Engine
from visavis.agent.joining import Joining
from visavis.agent.knowledge import Knowledge, Passage, Sources, read_passages, with_facts
from visavis.agent.native import NativePlanner
from visavis.agent.persona import Persona
from visavis.agent.planner import Planner
from visavis.agent.standby import StandbyEngine, StandbyPlanner
from visavis.errors import FileFormatError, UsageError
from visavis.retrieval.library import Library

__all__ = ["ENGINES", "PLANNERS", "Brain"]

ENGINES: Final = ("embedded", "transformers", "vllm")
PLANNERS: Final = ("native", "chat")


@dataclass(frozen=True)
class Brain:
    """The choices of whoever makes an agent; see `Agent`. What is opened for them is listed in `closers`.

    Raises:
        UsageError: choices that do not go together, or knowledge that cannot be read.
    """

    planner: Planner | str = "native"
    engine: str = "embedded"
    base_url: str | None = None
    model: str | None = None
    tools: Sequence[Callable[..., Any]] = ()
    knowledge: Sources = ()
    batches: int = field(init=False, default=1)  # of the embedded engine
    passages: tuple[Passage, ...] = field(init=False)
    closers: list[Callable[[], None]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        if isinstance(self.planner, str) and self.planner not in PLANNERS:
            raise UsageError(f"expected a planner, one of {', '.join(PLANNERS)}; got {self.planner!r}")
        if found := re.fullmatch(r"embedded:([1-9]\d?)", self.engine):
            object.__setattr__(self, "batches", int(found[1]))
            object.__setattr__(self, "engine", "embedded")
        if self.engine not in ENGINES:
            raise UsageError(
                f"expected an engine, one of {', '.join(ENGINES)} (or embedded:N, N batches); got {self.engine!r}"
            )
        if self.planner == "chat" and self.engine == "vllm":
            raise UsageError("one --base-url serves the planner chat or the engine vllm: choose one of them")
        served = [f"--planner {self.planner}"] if self.planner == "chat" else []
        served += [f"--engine {self.engine}"] if self.engine == "vllm" else []
        if served and not self.base_url:
            raise UsageError(
                f"{served[0]} needs --base-url, such as http://127.0.0.1:8000/v1 (visavis serve-model DIR)"
            )
        if self.base_url and not served:
            raise UsageError("--base-url is for --planner chat or --engine vllm; got neither")
        if self.tools and self.planner != "chat":
            raise UsageError("tools are called by chat models: use planner='chat' with a base_url")
        object.__setattr__(self, "passages", read_passages(self.knowledge))

    @property
    def folder(self) -> Path | None:
        """Where the native model's weights are, if the caller named them; a chat model has a name at its server."""
        return Path(self.model) if self.model and self.planner != "chat" else None

    def close(self) -> None:
        """Leave the servers."""
        for close in self.closers:
            close()

    def informed(self, persona: Persona) -> Persona:
        """The persona with what the native planner can quote of the knowledge."""
        return with_facts(persona, self.passages) if self.passages and self.planner == "native" else persona

    def open_engine(self, folder: Path, embedded: Callable[[Path, int], Engine]) -> Engine:
        """What runs the native model of a folder; `embedded` loads the default with so many batches.

        Raises:
            ServiceError: the server cannot be used.
        """
        if self.engine == "embedded":
            return embedded(folder, self.batches)
        if self.engine == "transformers":
            return _reference(folder)
        from visavis.agent.vllm_engine import VllmEngine

        assert self.base_url is not None, "checked at the beginning"
        served = VllmEngine.connect(self.base_url, folder)
        self.closers.append(served.connection.close)
        return StandbyEngine(served, lambda: _here(folder, lambda path: embedded(path, 1)), served.connection.well)

    def open_planner(self, engine: Engine, library: Library, persona: Persona) -> Planner:
        """What plans REPLY and ACT.

        Raises:
            ServiceError: the server cannot be used.
        """
        if not isinstance(self.planner, str):
            return self.planner
        native = NativePlanner(engine, library, joining=Joining.load(self.folder))
        if self.planner == "native":
            return native
        from visavis.agent.chat_planner import ChatPlanner, find_chat_model
        from visavis.agent.served import Connection

        assert self.base_url is not None, "checked at the beginning"
        connection = Connection(self.base_url, timeout_s=60.0)
        self.closers.append(connection.close)
        model = find_chat_model(connection, self.model)
        knowledge = Knowledge(self.passages) if self.passages else None
        chat = ChatPlanner(
            connection, model, library, manner=persona.manner, tools=self.tools, knowledge=knowledge
        )  # fmt: skip
        return StandbyPlanner(chat, native, connection.reachable)


@lru_cache(maxsize=1)
def _reference(folder: Path) -> Engine:
    from visavis.agent.transformers_engine import TransformersEngine

    return TransformersEngine.load(folder)


def _here(folder: Path, embedded: Callable[[Path], Engine]) -> Engine:
    """An engine in this process for a model that a server holds."""
    try:
        return embedded(folder)
    except FileFormatError:  # an architecture that the embedded engine does not compute
        return _reference(folder)
