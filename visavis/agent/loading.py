"""Loading what an agent is made of, from names to objects, with one clear error where something is missing."""

from __future__ import annotations

import logging
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from visavis.agent.batching import BatchingEngine
from visavis.agent.brain import Brain
from visavis.agent.native import NativeMover
from visavis.agent.persona import Persona
from visavis.agent.work import Tools
from visavis.errors import MissingExtraError, UsageError
from visavis.refiner.either import AnyRefiner, load_refiner
from visavis.retrieval.clips import ClipStore
from visavis.retrieval.index import GestureIndex
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.library import Library, library_folder
from visavis.retrieval.posing import Performer
from visavis.speech import open_voice
from visavis.speech.types import Voice
from visavis.tokenizers.codec import MotionCodec
from visavis.tokenizers.fingerprint import check_models

__all__ = ["load_body", "load_tools", "models_folder"]

log = logging.getLogger(__name__)


def models_folder() -> Path:
    """Where the shipped weights are."""
    return Path(str(files("visavis.models")))


@lru_cache(maxsize=2)
def _engine(folder: Path, batches: int = 1) -> BatchingEngine:
    return BatchingEngine.load(folder, batches=batches)


@lru_cache(maxsize=1)
def _codec() -> MotionCodec:
    return MotionCodec.load(models_folder() / "codec")


@lru_cache(maxsize=1)
def _refiner() -> AnyRefiner:
    return load_refiner(models_folder() / "refiner")


def load_body(refine: bool) -> tuple[MotionCodec, AnyRefiner | None]:
    """The shipped codec, and the refiner if it is wanted."""
    return _codec(), _refiner() if refine else None


def load_tools(
    persona: Persona,
    voice: Voice | str | None,
    model: str | Path | None,
    gestures: bool,
    library: Path | None = None,
    brain: Brain | None = None,
) -> Tools:
    """Everything that a turn is made with; `brain` chooses planner and engine, `model` is the native planner's folder.

    Raises:
        MissingExtraError: a voice was named and its extra is not installed.
        FingerprintError: the planner was not trained with the shipped codec.
        ServiceError: a model server that was asked for cannot be used.
    """
    brain = brain or Brain()
    folder = Path(model) if model else models_folder() / "planner"
    fingerprint = check_models(models_folder(), folder)
    persona = brain.informed(persona)
    shelf = Library(load_lexicon(), GestureIndex.default(), ClipStore(library or library_folder()))
    try:
        engine = brain.open_engine(folder, _engine)
        planner = brain.open_planner(engine, shelf, persona)
        spoken, degraded = _open_voice(voice, persona)
    except BaseException:
        brain.close()
        raise
    return Tools(
        persona=persona, planner=planner, mover=NativeMover(engine), voice=spoken,
        library=shelf, performer=Performer.neutral(), engine=brain.engine,
        fingerprint=fingerprint, gestures=gestures, degraded=degraded,
        beats=engine.vocabulary.beats, close=brain.close,
    )  # fmt: skip


def _open_voice(voice: Voice | str | None, persona: Persona) -> tuple[Voice, tuple[str, ...]]:
    """The voice that was asked for, or the persona's; and what stands in for it, if something does."""
    if voice is not None:
        spoken = open_voice(voice) if isinstance(voice, str) else voice
        if not callable(getattr(spoken, "speak", None)):
            raise UsageError(f"expected a voice's name, a speech server's URL or an object with `speak`; got {voice!r}")
        return spoken, ()
    try:
        return open_voice(persona.voice), ()
    except MissingExtraError as error:
        degraded = f"voice: {error}; the voice `silent` stands in"
        log.warning(degraded)
        return open_voice("silent"), (degraded,)
