"""What `Hearing` tells: typed events on the clock of the sound fed so far, in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from visavis.speech.recogniser import Hypothesis

__all__ = [
    "EndOfTurn", "HearingEvent", "Interruption", "RecognitionFailed", "SpeechStart", "SpeechStop", "TranscriptHeard",
    "UserBackchannel",
]  # fmt: skip


@dataclass(frozen=True)
class HearingEvent:
    """Something noticed at `at_s`, seconds of the sound fed so far."""

    kind: ClassVar[str] = ""
    at_s: float


@dataclass(frozen=True)
class SpeechStart(HearingEvent):
    """The user speaks since `start_s`; `overlap`: while the agent does; `resumes`: after an end of turn that was none.

    With `resumes`, what the agent prepares but has not begun to play should be dropped: the user goes on.
    """

    kind = "speech_started"
    start_s: float
    overlap: bool = False
    resumes: bool = False


@dataclass(frozen=True)
class SpeechStop(HearingEvent):
    """The user has been silent since `end_s`; `probability` that the turn is over, as far as it sounds."""

    kind = "speech_stopped"
    end_s: float
    probability: float


@dataclass(frozen=True)
class TranscriptHeard(HearingEvent):
    """What a recogniser understood; word times are seconds of the sound fed, as `at_s` is."""

    kind = "transcript"
    hypothesis: Hypothesis

    @property
    def final(self) -> bool:
        """No more of this utterance will come."""
        return self.hypothesis.final


@dataclass(frozen=True)
class EndOfTurn(HearingEvent):
    """The user has finished at `end_s`, with this probability when it was decided; `text` is "" without recogniser."""

    kind = "end_of_turn"
    start_s: float
    end_s: float
    probability: float
    text: str = ""


@dataclass(frozen=True)
class UserBackchannel(HearingEvent):
    """The user made a short sound while the agent spoke: nothing needs to stop."""

    kind = "backchannel"
    start_s: float
    end_s: float
    text: str = ""


@dataclass(frozen=True)
class Interruption(HearingEvent):
    """The user wants the floor, and has spoken since `start_s`: stop. The turn that begins so ends with `EndOfTurn`."""

    kind = "interruption"
    start_s: float


@dataclass(frozen=True)
class RecognitionFailed(HearingEvent):
    """The recogniser failed; hearing goes on without the words of this utterance."""

    kind = "degraded"
    message: str
