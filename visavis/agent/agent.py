"""`Agent`: an embodied partner with a persona, a voice, a mind and a body.

with Agent.from_preset("guide") as agent:
    turn = agent.say("It was this big!")
    turn.save("out")
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from visavis.agent.knowledge import Sources
from visavis.agent.persona import Persona, load_persona
from visavis.agent.planner import Planner
from visavis.agent.session import Session
from visavis.agent.turn import Turn
from visavis.agent.work import GestureRequest, Tools
from visavis.errors import UsageError
from visavis.retrieval.scene import Scene, read_scene
from visavis.speech.types import Voice

__all__ = ["Agent"]

log = logging.getLogger(__name__)


class Agent:
    """An embodied partner.

    Args:
        persona: a `Persona`, the name of a preset, or a YAML file.
        voice: an espeak voice, `silent`, a speech server's URL, or a `Voice`; by default the persona's own, or `silent`
            where the extra `speech` is not installed (said in `Turn.record.degraded`).
        model: folder of a planner, the shipped one by default; with the planner `chat`, the chat model's name.
        seed: the same seed gives the same turn on the same machine.
        refine: whether the diffusion refiner runs.
        gestures: whether semantic gestures are made.
        scene: named places around, or a YAML file of them, that gestures can point at.
        library: folder of added clips (default: `$VISAVIS_LIBRARY` or the user's own).
        planner: `native`; `chat`, any OpenAI-compatible chat model at `base_url`; or a `Planner`.
        engine: what runs the native model: `embedded`, `transformers`, or `vllm` at `base_url`.
        base_url: of the server of `planner="chat"` or `engine="vllm"`, such as `http://127.0.0.1:8000/v1`.
        tools: plain Python functions that the chat model may call.
        knowledge: own documents to answer from: folders, files or texts.

    Raises:
        PersonaError, MissingExtraError, FingerprintError, UsageError, ServiceError: see the message; nothing is left
            running.
    """

    def __init__(
        self,
        persona: Persona | str | Path = "guide",
        *,
        voice: Voice | str | None = None,
        model: str | Path | None = None,
        seed: int = 0,
        refine: bool = True,
        gestures: bool = True,
        scene: Scene | str | Path | None = None,
        library: str | Path | None = None,
        planner: Planner | str = "native",
        engine: str = "embedded",
        base_url: str | None = None,
        tools: Sequence[Callable[..., Any]] = (),
        knowledge: Sources = (),
    ) -> None:
        from visavis.agent.brain import Brain
        from visavis.agent.loading import load_body, load_tools

        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise UsageError(f"expected a seed that is a whole number, 0 or more; got {seed!r}")
        self.persona = persona if isinstance(persona, Persona) else load_persona(persona)
        self.seed = seed
        around = scene if isinstance(scene, Scene) or scene is None else read_scene(scene)
        brain = Brain(planner, engine, base_url, None if model is None else str(model), tuple(tools), knowledge)
        shelf = None if library is None else Path(library)
        loaded = load_tools(self.persona, voice, brain.folder, gestures, shelf, brain)
        self.persona = loaded.persona
        self.tools: Tools = replace(loaded, scene=around)
        self._codec, self._refiner = load_body(refine)
        self._sessions = 0

    @classmethod
    def from_preset(cls, name: str, **options: Any) -> Agent:
        """An agent with one of the shipped personas: guide, receptionist, tutor, shop, friend."""
        return cls(name, **options)

    def session(self, session_id: str | None = None) -> Session:
        """A conversation with its own history and its own body."""
        from visavis.agent.body import Body

        self._sessions += 1
        body = Body(self._codec, self._refiner, self.seed)
        return Session(self.tools, body, session_id or f"session-{self._sessions}", self.seed)

    def say(
        self,
        text: str | None = None,
        *,
        audio: str | Path | None = None,
        gestures: Sequence[GestureRequest] | None = None,
    ) -> Turn:
        """Say a text as given: the model adds emotion and gestures, the voice speaks, the body moves.

        Works inside a running event loop too; it blocks until the turn is whole.

        Args:
            text: what is said; with `audio` its transcript, or None: then nothing is known but the rhythm, which
                moves the body and, by loudness and colour of the sound, the mouth; there are no semantic gestures.
            audio: a wav file that is played instead of the voice. The turn begins with its first sample.
            gestures: exactly these, instead of those that the model would choose; one that has no time is left out.

        Raises:
            TextError: the text is empty, too long, not English, or holds control characters.
            FileFormatError: the recording cannot be used.
            LexiconError: a gesture that the library does not have, or parameters that it does not take.
        """
        return self.session().say(text, audio=audio, gestures=gestures)

    def close(self) -> None:
        """Stop the voice's process and leave the servers; the agent is not used afterwards."""
        self.tools.voice.close()
        self.tools.close()

    def __enter__(self) -> Agent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
