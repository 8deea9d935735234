"""What comes from the partner in a session, and what is done about it: sound, words as they come, motion.

Speech interrupts us, the end of a turn is answered, what was understood is told, and the live body listens. What
hearing notices (`visavis.agent.hearing.KINDS`) is decided there; here it is acted on.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visavis.agent.attending import Attending, Attention
from visavis.agent.ears import Ears
from visavis.agent.events import Backchannel, ErrorEvent, InputTranscript, SpeechStarted, SpeechStopped
from visavis.agent.stage import Stage
from visavis.agent.text_input import checked_line
from visavis.errors import UsageError
from visavis.motion.motion import FPS

__all__ = ["Partner"]

PARTNER_S: Final = 10.0  # of the partner's motion are kept


class Partner:
    """See the head of the module.

    Args:
        stage: of the session; has the ears.
        answer: takes the partner's whole line: it is our turn.
        seed: of what the listening body leaves to chance.
    """

    def __init__(self, stage: Stage, answer: Callable[[str], object], seed: int) -> None:
        self._stage, self._answer = stage, answer
        self._listens = True
        self._attending = Attending(seed)
        self._hears = threading.Lock()  # sound is heard in its order
        self._motion: deque[NDArray[np.float32]] = deque(maxlen=round(PARTNER_S * FPS))

    def moved(self, motion: NDArray[np.float32]) -> None:
        """Take (n, J, 4) of the partner's motion."""
        with self._stage.gate:
            self._motion.extend(np.asarray(motion, np.float32))
            self._attend(self._attending.moved())

    def wrote(self, text: str, final: bool) -> None:
        """Take what the partner has said or typed so far of this turn; `final` is the whole of it, and is answered."""
        line = checked_line(text)
        if final:
            self._take_turn(line)
            return
        self._understand(line, False)
        with self._stage.gate:
            self._attend(self._attending.typed(line, time.monotonic()))

    def types(self, on: bool) -> None:
        """The partner types, or has stopped typing."""
        now = time.monotonic()
        with self._stage.gate:
            self._attend(self._attending.typing(now) if on else self._attending.paused(now))
            if not on and self._stage.state == "listening" and not self._stage.open:
                self._stage.set_state("idle")

    def comes(self) -> None:
        """Somebody comes."""
        with self._stage.gate:
            self._attend(self._attending.came())

    def leaves(self) -> None:
        """Nobody is there any more."""
        with self._stage.gate:
            self._attend(self._attending.left())
            if self._stage.state == "listening":
                self._stage.set_state("idle")

    def listen(self, on: bool) -> None:
        """Whether the body listens from now on; without, it idles all the same."""
        with self._stage.gate:
            if not on:
                self._attend(self._attending.left())
            self._listens = on

    def sounded(self, pcm: NDArray[np.int16], sample_rate_hz: int) -> None:
        """Take (N,) more of the partner's sound.

        Raises:
            UsageError: the session has no hearing, or it is no sound.
        """
        ears = self._ears()
        with self._hears:
            found = ears.hear(pcm, sample_rate_hz)
            attention = self._attending.sound(pcm, sample_rate_hz, found)
        for noticed in found:
            self._notice(noticed)
        with self._stage.gate:
            self._attend(attention)

    def understood(self, pcm: NDArray[np.int16], sample_rate_hz: int) -> str:
        """The words of a whole recording."""
        silence = np.zeros(2 * sample_rate_hz, np.int16)  # so that the end of the turn is heard
        found = [*self._ears().hear(pcm, sample_rate_hz), *self._ears().hear(silence, sample_rate_hz)]
        return " ".join(noticed.text for noticed in found if noticed.kind == "end_of_turn").strip()

    def _attend(self, attention: Attention) -> None:
        """Show it, where somebody looks."""
        if self._listens and self._stage.live is not None:
            self._stage.live.listen(attention, time.monotonic())

    def _ears(self) -> Ears:
        if self._stage.ears is None:
            raise UsageError("expected a session with hearing for audio: open it with `hearing=`, or send text")
        return self._stage.ears

    def _notice(self, noticed: Any) -> None:
        """Act on something that the hearing noticed."""
        kind, stage = noticed.kind, self._stage
        if kind == "speech_started":
            if not getattr(noticed, "overlap", False):
                stage.cut_all()
            stage.tell(SpeechStarted(), None)
            if stage.state == "idle":
                stage.set_state("listening")
        elif kind == "interruption":
            stage.cut_all()
            stage.set_state("listening")
        elif kind == "speech_stopped":
            stage.tell(SpeechStopped(), None)
        elif kind == "backchannel":
            stage.tell(Backchannel(kind=noticed.text or "mm-hm", by="partner"), None)
        elif kind == "transcript":
            self._understand(noticed.hypothesis.text, noticed.hypothesis.final)
            with stage.gate:
                self._attend(self._attending.understood(noticed.hypothesis.text, time.monotonic()))
        elif kind == "end_of_turn" and noticed.text.strip():
            try:
                self._take_turn(checked_line(noticed.text))
            except UsageError as error:  # nothing that can be answered was understood
                stage.tell(ErrorEvent(message=str(error)), None)
        elif kind == "end_of_turn" and stage.state == "listening":
            stage.set_state("idle")

    def _understand(self, text: str, final: bool) -> None:
        """Words of the partner, who is in the middle of a turn."""
        if text:
            self._stage.tell(InputTranscript(text=text, final=final), None)
            if self._stage.state == "idle":
                self._stage.set_state("listening")

    def _take_turn(self, line: str) -> None:
        """The partner has finished: it is our turn."""
        self._stage.tell(InputTranscript(text=line), None)
        with self._stage.gate:
            self._attend(self._attending.told(line, time.monotonic()))
        self._answer(line)
