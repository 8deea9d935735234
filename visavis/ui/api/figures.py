"""What Prometheus reads at `/metrics`: requests, sessions, turns with their stages, and readers that fell behind.

Each application has a registry of its own. Nothing is labelled with what clients send: ids and texts stay out.
"""

from __future__ import annotations

import time
from typing import Any

from visavis.agent.events import Degraded, ErrorEvent, Event, ResponseCreated, ResponseDone, ResponseInterrupted
from visavis.agent.events import SpeechDelta as Speech
from visavis.errors import MissingExtraError

__all__ = ["Figures", "TurnWatch"]

SECONDS = (0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.2, 2.0, 4.0, 8.0, 16.0)


class Figures:
    """Counters and histograms."""

    def __init__(self) -> None:
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
        except ImportError as error:
            raise MissingExtraError("the figures of the server", "serve") from error
        self.registry = CollectorRegistry()
        at: Any = {"registry": self.registry}
        self.requests = Counter("visavis_requests", "Answered requests.", ["method", "route", "status"], **at)
        self.sessions = Gauge("visavis_sessions", "Open sessions.", **at)
        self.refused = Counter("visavis_sessions_refused", "Sessions that were refused.", **at)
        self.sockets = Gauge("visavis_sockets", "Connected readers of events.", **at)
        self.turns = Counter("visavis_turns", "Turns by how they ended.", ["outcome"], **at)
        self.degraded = Counter("visavis_degraded", "Times that something stood in for something else.", **at)
        self.stage = Histogram("visavis_stage_seconds", "Time of a turn's stages.", ["stage"], buckets=SECONDS, **at)
        self.first = Histogram(
            "visavis_first_speech_seconds", "From the line to the first sound.", buckets=SECONDS, **at
        )

    def text(self) -> bytes:
        """In Prometheus' exposition format."""
        from prometheus_client import generate_latest

        return bytes(generate_latest(self.registry))


class TurnWatch:
    """Counts what the events of one session tell."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._began: dict[str, float] = {}

    def see(self, event: Event) -> None:
        """Take one event, in order."""
        figures = self._figures
        if isinstance(event, ResponseCreated):
            self._began[event.turn_id] = time.monotonic()
        elif isinstance(event, Speech):
            began = self._began.pop(event.turn_id, None)
            if began is not None:
                figures.first.observe(time.monotonic() - began)
        elif isinstance(event, ResponseDone):
            self._end(event.turn_id, "done")
            timings: dict[str, Any] = event.turn.get("timings_ms", {})
            for name, ms in timings.items():
                figures.stage.labels(name).observe(float(ms) / 1000)
        elif isinstance(event, ResponseInterrupted):
            self._end(event.turn_id, "interrupted")
        elif isinstance(event, ErrorEvent) and event.turn_id:
            self._end(event.turn_id, "failed")
        elif isinstance(event, Degraded):
            figures.degraded.inc()

    def _end(self, turn_id: str, outcome: str) -> None:
        self._began.pop(turn_id, None)
        self._figures.turns.labels(outcome).inc()
