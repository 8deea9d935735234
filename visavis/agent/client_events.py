"""An event of a client, as the call of the session that it stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from visavis.agent.events import (
    Event,
    InputAudio,
    InputEvent,
    InputMotion,
    InputPlayback,
    InputScene,
    InputText,
    ResponseCancel,
    SessionUpdate,
)
from visavis.agent.text_input import checked_line
from visavis.errors import UsageError

if TYPE_CHECKING:
    from visavis.agent.session import Session

__all__ = ["take"]


def take(session: Session, event: Event) -> None:
    """Do what a client's event asks for.

    Raises:
        UsageError: it cannot be used; one clear sentence.
    """
    if isinstance(event, InputText):
        text = checked_line(event.text)
        session.interrupt()
        session.submit(text)
    elif isinstance(event, InputAudio):
        session.listen(audio=event.pcm, sample_rate_hz=event.sample_rate_hz)
    elif isinstance(event, InputMotion):
        session.listen(motion=event.rotations)
    elif isinstance(event, InputPlayback):
        session.playback(event.turn_id, event.played_s)
    elif isinstance(event, ResponseCancel):
        session.interrupt(event.played_s)
    elif isinstance(event, InputScene):
        session.see(event.objects, event.partner_head_m)
    elif isinstance(event, InputEvent):
        session.happened(event.name)
    elif isinstance(event, SessionUpdate):
        session.update(**event.settings)
    else:
        raise UsageError(f"expected an event of a client (input.*, response.cancel, session.update); got {event.type}")
