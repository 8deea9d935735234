"""Events: everything that happens in a session, in one ordered stream of typed dataclasses.

From the client come `input.*`, `response.cancel` and `session.update`; to the client go the rest. On the wire an event
is JSON with `type`, `event_id`, `session_id`, `turn_id` and `time_s`; arrays (speech, face, motion) travel as binary
frames beside it (`visavis.agent.wire`). Names follow OpenAI's Realtime API where it has one. Times are seconds from the
start of the turn, on the audio clock.

Speech, face and motion also carry `clock_s`: when their first sample or frame is due on the session's own clock, which
runs through all turns and the time between them (where `turn_id` is empty and `start_s` equals `clock_s`). What comes
later replaces, from its `clock_s` on, what came before: so a player needs one rule for turns, idling and interruptions.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "EVENTS",
    "Backchannel",
    "Degraded",
    "ErrorEvent",
    "Event",
    "FaceDelta",
    "GestureAdded",
    "InputAudio",
    "InputEvent",
    "InputMotion",
    "InputPlayback",
    "InputScene",
    "InputText",
    "InputTranscript",
    "MotionDelta",
    "ResponseCancel",
    "ResponseCreated",
    "ResponseDone",
    "ResponseEmotion",
    "ResponseInterrupted",
    "SessionState",
    "SessionUpdate",
    "SpeechDelta",
    "SpeechStarted",
    "SpeechStopped",
    "TextDelta",
]

_ids = itertools.count(1)


@dataclass(kw_only=True)
class Event:
    """Base of all events. A subclass names its `type`; fields that are arrays are sent as binary payload."""

    type: ClassVar[str] = ""
    event_id: str = field(default_factory=lambda: f"ev_{next(_ids)}")
    session_id: str = ""
    turn_id: str = ""
    time_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """All fields but arrays, for one line of JSON; arrays appear as their dtype and shape."""
        out: dict[str, Any] = {"type": self.type}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, np.ndarray):
                value = {"dtype": str(value.dtype), "shape": list(value.shape)}
            out[item.name] = value
        return out

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The fields that are arrays, by name."""
        return {f.name: v for f in fields(self) if isinstance(v := getattr(self, f.name), np.ndarray)}


# --- from the client ---------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class InputText(Event):
    """The user typed a line."""

    type = "input.text"
    text: str


@dataclass(kw_only=True)
class InputAudio(Event):
    """The user's voice: pcm (N,) int16 mono."""

    type = "input.audio.append"
    pcm: NDArray[np.int16]
    sample_rate_hz: int = 16000


@dataclass(kw_only=True)
class InputMotion(Event):
    """The partner's motion: rotations (n, J, 4) float32 of the named bones."""

    type = "input.motion.append"
    rotations: NDArray[np.float32]
    bones: list[str] = field(default_factory=list)
    fps: int = 30


@dataclass(kw_only=True)
class InputScene(Event):
    """Objects by name and the partner's head, positions in the world in metres."""

    type = "input.scene"
    objects: dict[str, list[float]] = field(default_factory=dict)
    partner_head_m: list[float] | None = None


@dataclass(kw_only=True)
class InputEvent(Event):
    """Something that is not speech: approach, leave, silence, typing_started, typing_stopped (`Session.happened`)."""

    type = "input.event"
    name: str


@dataclass(kw_only=True)
class InputPlayback(Event):
    """How much of a turn the client has played: what was heard is derived from this."""

    type = "input.playback"
    played_s: float


@dataclass(kw_only=True)
class ResponseCancel(Event):
    """Stop the response at once (barge-in): what is not yet heard is dropped.

    played_s: how much of the turn was played, if the client knows; else it is estimated.
    """

    type = "response.cancel"
    played_s: float | None = None


@dataclass(kw_only=True)
class SessionUpdate(Event):
    """Change settings of the session: voice, rate, emotion, gestures, refine, scene, listening (`Session.update`)."""

    type = "session.update"
    settings: dict[str, Any] = field(default_factory=dict)


# --- to the client -----------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class SessionState(Event):
    """initializing, idle, listening, thinking or speaking."""

    type = "session.state"
    state: str


@dataclass(kw_only=True)
class SpeechStarted(Event):
    """The user began to speak."""

    type = "input.speech_started"


@dataclass(kw_only=True)
class SpeechStopped(Event):
    """The user stopped speaking."""

    type = "input.speech_stopped"


@dataclass(kw_only=True)
class InputTranscript(Event):
    """What was understood of the user's speech; `final` is false while it may still change."""

    type = "input.transcript"
    text: str
    final: bool = True


@dataclass(kw_only=True)
class ResponseCreated(Event):
    """A turn begins."""

    type = "response.created"


@dataclass(kw_only=True)
class TextDelta(Event):
    """The words of the next clause."""

    type = "response.text.delta"
    text: str
    clause: int = 0


@dataclass(kw_only=True)
class ResponseEmotion(Event):
    """The emotion of the clauses that follow; intensity in [0, 1]."""

    type = "response.emotion"
    emotion: str
    intensity: float


@dataclass(kw_only=True)
class GestureAdded(Event):
    """A gesture with its sync points, as in `turn.json`."""

    type = "response.gesture.added"
    gesture: dict[str, Any]


@dataclass(kw_only=True)
class SpeechDelta(Event):
    """A piece of the voice: pcm (N,) int16 mono from `start_s`, with the words and visemes that begin in it."""

    type = "response.speech.delta"
    pcm: NDArray[np.int16]
    sample_rate_hz: int
    start_s: float
    words: list[dict[str, Any]] = field(default_factory=list)
    visemes: list[dict[str, Any]] = field(default_factory=list)
    clock_s: float = 0.0


@dataclass(kw_only=True)
class FaceDelta(Event):
    """Face weights (n, 52) float32 in [0, 1], ARKit order, from `start_s`."""

    type = "response.face.delta"
    weights: NDArray[np.float32]
    start_s: float
    fps: int = 30
    clock_s: float = 0.0


@dataclass(kw_only=True)
class MotionDelta(Event):
    """Body motion: rotations (n, 55, 4) float32 xyzw, parent-relative; root_m (n, 3); from `start_s`."""

    type = "response.motion.delta"
    rotations: NDArray[np.float32]
    root_m: NDArray[np.float32]
    start_s: float
    fps: int = 30
    clock_s: float = 0.0


@dataclass(kw_only=True)
class ResponseInterrupted(Event):
    """The turn was cut; `heard` is the text that the client played."""

    type = "response.interrupted"
    heard: str
    heard_s: float


@dataclass(kw_only=True)
class ResponseDone(Event):
    """The turn is complete; `turn` is the content of `turn.json`."""

    type = "response.done"
    turn: dict[str, Any]


@dataclass(kw_only=True)
class Backchannel(Event):
    """A listener's signal: ours, which the motion shows from `clock_s` on, or the partner's.

    kind: of ours nod, tilt, brows, surprise, concern, smile or wince.
    by: "agent" or "partner", whose kind is what was heard ("mm-hm").
    """

    type = "backchannel"
    kind: str
    by: str = "agent"
    clock_s: float = 0.0


@dataclass(kw_only=True)
class Degraded(Event):
    """Something failed and something lesser stands in for it."""

    type = "degraded"
    what: str
    stand_in: str


@dataclass(kw_only=True)
class ErrorEvent(Event):
    """The request could not be served; one clear sentence."""

    type = "error"
    message: str


EVENTS: dict[str, type[Event]] = {cls.type: cls for cls in Event.__subclasses__()}
