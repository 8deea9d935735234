"""Figures of turn taking, defined as in Full-Duplex-Bench (Lin et al. 2025, arXiv:2503.04721, 2507.23159).

There a system *takes over* when it speaks for a second or more, or more than three words; here it takes over when
hearing says that the turn is over, since a reply follows at once. So:

- take-over rate of ends: share of turns that are noticed to be over, [0, 1], higher is better
- latency: from the true end of the user's sound to the decision, seconds, over turns taken over and not cut in on;
  negative ones would count as 0
- take-over rate in pauses (false cut-ins): share of turns with at least one decision before the true end, lower is
  better
- backchannels and noises: share during which the agent would stop (or answer), lower is better
- interruptions: share noticed; stop latency from the user's first sound to the decision to stop; response latency from
  the end of what the user says to the end of turn

The reply's own time (words, voice) comes on top and is not in these figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from visavis.agent.turn_taking import EndOfTurn, Interruption, UserBackchannel
from visavis.evals.first_light.table import Table, median, share
from visavis.evals.turn_taking.play import Heard
from visavis.evals.turn_taking.scenes import Scene
from visavis.metrics.bootstrap import Estimate, bootstrap

__all__ = ["Played", "add_overlaps", "add_turns", "fixed_silence", "percentile"]

_EARLY_S = 0.03  # the true end is known to about this


@dataclass(frozen=True)
class Played:
    """A scene and what was noticed in it."""

    scene: Scene
    heard: Heard


def _cut(item: Played) -> bool:
    return any(at < item.scene.end_s - _EARLY_S for at in item.heard.ends)


def _latency(item: Played) -> float | None:
    late = [at - item.scene.end_s for at in item.heard.ends if at >= item.scene.end_s - _EARLY_S]
    return max(late[0], 0.0) if late and not _cut(item) else None


def add_turns(table: Table, label: str, items: Sequence[Played]) -> None:
    """Rows for turns with and without pauses."""
    plain, paused, two = ([item for item in items if item.scene.kind == kind] for kind in ("turn", "pause", "two"))
    single = plain + paused
    late = [value for item in single if (value := _latency(item)) is not None]
    noticed = [any(at >= item.scene.end_s - _EARLY_S for at in item.heard.ends) for item in single]
    table.add(f"{label}: end of turn, median latency", median(late), "ms", 1000)
    table.add(f"{label}: … 90th percentile", percentile(late, 90), "ms", 1000)
    table.add(f"{label}: take-over rate of ends", share(noticed), "%", 100)
    table.add(f"{label}: false cut-ins, turns with pauses", share(map(_cut, paused)), "%", 100)
    table.add(f"{label}: false cut-ins, turns without", share(map(_cut, plain)), "%", 100)
    if two:
        table.add(f"{label}: cut-ins between two whole sentences", share(map(_cut, two)), "%", 100)


def percentile(values: Sequence[float], which: float) -> Estimate:
    """A percentile with its interval."""
    return bootstrap(values, lambda x: float(np.percentile(x, which)))


def add_overlaps(table: Table, items: Sequence[Played]) -> None:
    """Rows for what happens while the agent speaks, and for noises alone."""

    def of(kind: str, test: Callable[[Scene], bool] = lambda scene: True) -> list[Played]:
        return [item for item in items if item.scene.kind == kind and test(item.scene)]

    def stops(found: Sequence[Played]) -> list[bool]:
        return [bool(item.heard.interruptions) for item in found]

    said = of("interruption")
    rightly = [item for item in said if item.heard.interruptions]
    first = [item.heard.interruptions[0] - item.scene.start_s for item in rightly]
    meant = [value for value in first if value >= 0]  # earlier ones are false alarms
    table.add("interruptions noticed (take-over rate)", share(k < len(meant) for k in range(len(said))), "%", 100)
    table.add("… stop latency, median", median(meant), "ms", 1000)
    table.add("… stop latency, 90th percentile", percentile(meant, 90), "ms", 1000)
    answers = [
        max(0.0, ends[0]) for item in rightly
        if (ends := [t - item.scene.end_s for t in item.heard.ends if t >= item.scene.end_s - _EARLY_S])
    ]  # fmt: skip
    table.add("… response latency after them, median", median(answers), "ms", 1000)
    short = of("backchannel")
    table.add("backchannels that stop us", share(stops(short)), "%", 100)
    table.add("backchannels told as such", share(bool(i.heard.times(UserBackchannel)) for i in short), "%", 100)
    table.add(
        "noises under our speech that stop us", share(stops(of("noise", lambda s: bool(len(s.played))))), "%", 100
    )
    alone = of("noise", lambda s: not len(s.played))
    table.add("noises alone that count as a turn", share(bool(i.heard.ends) for i in alone), "%", 100)
    table.add("our own echo stops us, share of scenes", share(stops(of("echo"))), "%", 100)


def fixed_silence(silence_s: float, chunks: Sequence[tuple[float, bool]]) -> Heard:
    """What a fixed silence after voice activity would notice: `chunks` are (end, speech) every 32 ms."""
    events: list[EndOfTurn | Interruption] = []
    began, last = None, 0.0
    for at_s, speech in chunks:
        if speech:
            began, last = (at_s if began is None else began), at_s
        elif began is not None and at_s - last >= silence_s - 1e-6:
            events.append(EndOfTurn(at_s, began, last, 1.0))
            began = None
    return Heard(tuple(events))
