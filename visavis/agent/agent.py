"""`Agent`: an embodied partner with a persona, a voice, a mind and a body.

with Agent.from_preset("guide") as agent:
    turn = agent.say("It was this big!")
    turn.save("out")
"""

from __future__ import annotations

import logging
import secrets
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from visavis.agent.beat import Beat
from visavis.agent.behaviours import (
    Behaviour,
    Retriever,
    TurnView,
    open_behaviours,
    open_retrievers,
)
from visavis.agent.hearing import Hearing
from visavis.agent.journal import Journal
from visavis.agent.keeping import Keeping
from visavis.agent.knowledge import Sources
from visavis.agent.memory import PartnerMemory, Shelf
from visavis.agent.persona import Persona, load_persona
from visavis.agent.planner import Planner
from visavis.agent.session import Session
from visavis.agent.store import Store, checked_id, open_store
from visavis.agent.turn import Turn
from visavis.agent.voices import Voices
from visavis.agent.work import GestureRequest, Tools
from visavis.errors import UsageError
from visavis.retrieval.scene import Scene, read_scene
from visavis.speech.types import Voice, close_voice

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
        engine: what runs the native model: `embedded`, `transformers`, or `vllm` at `base_url`. `embedded:2` decodes a
            crowd on two cores (`docs/embedded_engine.md`).
        base_url: of the server of `planner="chat"` or `engine="vllm"`, such as `http://127.0.0.1:8000/v1`.
        tools: plain Python functions that the chat model may call.
        knowledge: own documents to answer from: folders, files or texts.
        store: where conversations and memories are kept: a file, a Postgres URL, a `Store`, or True for
            `conversations.sqlite` in the folder of `visavis.home`. By default nothing is written.
        behaviours: your own functions in the turn (`visavis.agent.behaviours`), or names of installed ones.
        retrievers: functions that know more than the persona, or names of installed ones.

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
        store: Store | str | Path | bool | None = None,
        behaviours: Sequence[Behaviour | Callable[[TurnView], object] | str] = (),
        retrievers: Sequence[Retriever | str] = (),
    ) -> None:
        from visavis.agent.brain import Brain
        from visavis.agent.graph import build_graph
        from visavis.agent.loading import load_body, load_tools

        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise UsageError(f"expected a seed that is a whole number, 0 or more; got {seed!r}")
        self.persona = persona if isinstance(persona, Persona) else load_persona(persona)
        self.seed = seed
        around = scene if isinstance(scene, Scene) or scene is None else read_scene(scene)
        brain = Brain(planner, engine, base_url, None if model is None else str(model), tuple(tools), knowledge)
        self._retrievers = open_retrievers(retrievers)
        self._graph = build_graph(open_behaviours(behaviours))
        self._codec, self._refiner = load_body(refine)
        kept = store if isinstance(store, Store) else open_store(store)
        try:
            loaded = load_tools(self.persona, voice, brain.folder, gestures, _shelf(library), brain)
        except BaseException:
            if kept is not None and kept is not store:
                kept.close()
            raise
        self.persona = loaded.persona
        self._voices = Voices()
        self.tools: Tools = replace(loaded, scene=around, voices=self._voices)
        self._sessions = 0
        self._opening = threading.Lock()  # two threads that ask for one name get one session
        self._closed = False
        self._beat = Beat()
        self._journal = None if kept is None else Journal(kept)
        self._opened: weakref.WeakSet[Session] = weakref.WeakSet()
        self._shelves: weakref.WeakValueDictionary[str, Shelf] = weakref.WeakValueDictionary()
        self._shelving = threading.Lock()

    @classmethod
    def from_preset(cls, name: str, **options: Any) -> Agent:
        """An agent with one of the shipped personas: guide, receptionist, tutor, shop, friend."""
        return cls(name, **options)

    def session(
        self, session_id: str | None = None, *, user: str | None = None, hearing: Hearing | None = None
    ) -> Session:
        """A conversation with its own history and its own body.

        Args:
            session_id: its name: that of one that is open gives that one, and one that was kept is taken up again with
                all that was heard. A new one by default.
            user: whose memories it has, across sessions; without, it has those of this session alone.
            hearing: ears for audio (`visavis.agent.hearing`); the session closes them.
        Raises:
            UsageError: no name that a session or user may have; the agent was closed.
            StoreError: the store cannot be read.
        """
        with self._opening:
            return self._session(session_id, user, hearing)

    def _session(self, session_id: str | None, user: str | None, hearing: Hearing | None) -> Session:
        from visavis.agent.body import Body

        if self._closed:
            raise UsageError("expected an open agent; this one was closed: make another")
        self._sessions += 1
        unique = f"session-{self._sessions}" if self._journal is None else f"session-{secrets.token_hex(8)}"
        id_ = unique if session_id is None else checked_id(session_id)
        if (known := next((s for s in list(self._opened) if s.id == id_ and not s.closed), None)) is not None:
            return known
        owner = f"session:{id_}" if user is None else f"user:{checked_id(user, 'a user')}"
        body = Body(self._codec, self._refiner, self.seed)
        session = Session(
            self.tools, body, id_, self.seed, beat=self._beat, hearing=hearing, graph=self._graph,
            retrievers=self._retrievers,
            memory=PartnerMemory(owner, id_, self._shelf(owner)),
            keeping=None if self._journal is None else Keeping(id_, owner, self._journal),
        )  # fmt: skip
        self._opened.add(session)
        return session

    def _shelf(self, owner: str) -> Shelf:
        """The memories of an owner: the same for all their sessions that are open."""
        with self._shelving:
            shelf = self._shelves.get(owner)
            if shelf is None:
                shelf = self._shelves[owner] = Shelf(owner, self._journal)
            return shelf

    def say(
        self,
        text: str | None = None,
        *,
        audio: str | Path | None = None,
        gestures: Sequence[GestureRequest] | None = None,
        after: str | None = None,
    ) -> Turn:
        """Say a text as given: the model adds emotion and gestures, the voice speaks, the body moves.

        Works inside a running event loop too; it blocks until the turn is whole.

        Args:
            text: what is said; with `audio` its transcript, or None: then nothing is known but the rhythm, which
                moves the body and, by loudness and colour of the sound, the mouth; there are no semantic gestures.
            audio: a wav file that is played instead of the voice. The turn begins with its first sample.
            gestures: exactly these, instead of those that the model would choose; one that has no time is left out.
            after: the partner's line that is answered: "Really?" is felt by what it is said to.

        Raises:
            TextError: the text or the line is empty, too long, not English, or holds control characters.
            FileFormatError: the recording cannot be used.
            LexiconError: a gesture that the library does not have, or parameters that it does not take.
        """
        return self.session().say(text, audio=audio, gestures=gestures, after=after)

    def close(self) -> None:
        """End sessions and the voice's process, leave the servers; nothing is left running or used afterwards."""
        with self._opening:
            self._closed = True
            opened = list(self._opened)
        for session in opened:
            session.close()
        self._beat.close()
        if self._journal is not None:
            self._journal.close()
        close_voice(self.tools.voice)
        self._voices.close()
        self.tools.close()

    def __enter__(self) -> Agent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _shelf(library: str | Path | None) -> Path | None:
    """The folder of added clips that was named; one that is not there yet is empty."""
    if library is not None and Path(library).exists() and not Path(library).is_dir():
        raise UsageError(f"expected a folder of added clips; {library} is a file: name the folder that it lies in")
    return None if library is None else Path(library)
