"""Figures of turn taking, defined as in Full-Duplex-Bench (Lin et al. 2025, arXiv:2503.04721, 2507.23159).

There a system *takes over* when it speaks for a second or more, or more than three words; here it takes over when
hearing says that the turn is over, since a reply follows at once. So:

- take-over rate of ends: share of turns that are noticed to be over, [0, 1], higher is better
- latency: from the true end of the user's sound to the decision, seconds, over turns taken over. The benchmark's own
  figure is the mean, in which a cut-in counts as 0; it is told beside the median and the 90th percentile, which leave
  turns that were cut in on out
- take-over rate in pauses (false cut-ins): share of turns with at least one decision before the true end, lower is
  better; beside it the share of single pauses, by what they follow
- backchannels and noises: share during which the agent would stop (or answer), lower is better
- interruptions: share noticed; stop latency from the user's first sound to the decision to stop; response latency from
  the end of what the user says to the end of turn

Shares have Wilson's intervals, the rest bootstrap ones. The reply's own time (words, voice) comes on top and is not in
these figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from visavis.agent.turn_taking import EndOfTurn, Interruption, UserBackchannel
from visavis.evals.first_light.table import Table, median
from visavis.evals.turn_taking.play import Heard
from visavis.evals.turn_taking.scenes import Scene
from visavis.metrics.bootstrap import Estimate, bootstrap, proportion

__all__ = ["Played", "add_overlaps", "add_turns", "fixed_silence", "percentile"]

_EARLY_S = 0.03  # the true end is known to about this
_LATE_S = 0.1  # after a pause, a decision still belongs to it: the new speech is not yet noticed
_SORTS = {"comma": "at commas", "hesitation": "inside a clause"}


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


def _pauses_cut(items: Sequence[Played], sort: str) -> list[bool]:
    """Every pause of a sort, whether a decision fell into it."""
    return [
        any(a <= at <= b + _LATE_S for at in item.heard.ends)
        for item in items
        for a, b, what in item.scene.pauses
        if what == sort
    ]


def add_turns(table: Table, label: str, items: Sequence[Played]) -> None:
    """Rows for turns with and without pauses."""
    plain, paused, two = ([item for item in items if item.scene.kind == kind] for kind in ("turn", "pause", "two"))
    single = plain + paused
    late = [value for item in single if (value := _latency(item)) is not None]
    noticed = [any(at >= item.scene.end_s - _EARLY_S for at in item.heard.ends) for item in single]
    benchmark = [0.0] * sum(map(_cut, single)) + late
    table.add(f"{label}: end of turn, median latency", median(late), "ms", 1000)
    table.add(f"{label}: … 90th percentile", percentile(late, 90), "ms", 1000)
    table.add(f"{label}: … mean, cut-ins counted as 0", bootstrap(benchmark), "ms", 1000)
    table.add(f"{label}: take-over rate of ends", proportion(noticed), "%", 100)
    table.add(f"{label}: false cut-ins, turns with pauses", proportion([_cut(i) for i in paused]), "%", 100)
    for sort, where in _SORTS.items():
        table.add(f"{label}: … single pauses {where}", proportion(_pauses_cut(paused, sort)), "%", 100)
    table.add(f"{label}: false cut-ins, turns without", proportion([_cut(i) for i in plain]), "%", 100)
    if two:
        table.add(f"{label}: cut-ins between two whole sentences", proportion([_cut(i) for i in two]), "%", 100)


def percentile(values: Sequence[float], which: float) -> Estimate:
    """A percentile with its interval."""
    return bootstrap(values, lambda x: float(np.percentile(x, which)))


def add_overlaps(table: Table, items: Sequence[Played], with_words: Sequence[Played] = ()) -> None:
    """Rows for what happens while the agent speaks, and for noises alone.

    Args:
        table: gets the rows.
        items: heard by sound alone.
        with_words: backchannels and interruptions once more, with their words.
    """

    def of(kind: str, test: Callable[[Scene], bool] = lambda scene: True) -> list[Played]:
        return [item for item in items if item.scene.kind == kind and test(item.scene)]

    def stops(found: Sequence[Played]) -> list[bool]:
        return [bool(item.heard.interruptions) for item in found]

    said = of("interruption")
    rightly = [item for item in said if item.heard.interruptions]
    _add_stops(table, "interruptions noticed (take-over rate)", said)
    answers = [
        max(0.0, ends[0]) for item in rightly
        if (ends := [t - item.scene.end_s for t in item.heard.ends if t >= item.scene.end_s - _EARLY_S])
    ]  # fmt: skip
    table.add("… response latency after them, median", median(answers), "ms", 1000)
    short = of("backchannel")
    table.add("backchannels that stop us", proportion(stops(short)), "%", 100)
    told = [bool(item.heard.times(UserBackchannel)) for item in short]
    table.add("backchannels told as such", proportion(told), "%", 100)
    under, alone = of("noise", lambda s: bool(len(s.played))), of("noise", lambda s: not len(s.played))
    table.add("noises under our speech that stop us", proportion(stops(under)), "%", 100)
    table.add("noises alone that count as a turn", proportion([bool(i.heard.ends) for i in alone]), "%", 100)
    for what in sorted({item.scene.what.split(",")[0] for item in under + alone}):
        wrong = stops([i for i in under if i.scene.what.startswith(what)])
        wrong += [bool(i.heard.ends) for i in alone if i.scene.what.startswith(what)]
        table.add(f"… of them {what}", proportion(wrong), "%", 100)
    table.add("our own echo stops us, share of scenes", proportion(stops(of("echo"))), "%", 100)
    if with_words:
        _add_stops(
            table, "with words: interruptions noticed", [i for i in with_words if i.scene.kind == "interruption"]
        )
        known = stops([i for i in with_words if i.scene.kind == "backchannel"])
        table.add("with words: backchannels that stop us", proportion(known), "%", 100)


def _add_stops(table: Table, label: str, said: Sequence[Played]) -> None:
    """Whether and how soon interruptions are noticed; a decision before them is a false alarm."""
    first = [item.heard.interruptions[0] - item.scene.start_s for item in said if item.heard.interruptions]
    meant = [value for value in first if value >= 0]
    table.add(label, proportion([k < len(meant) for k in range(len(said))]), "%", 100)
    table.add("… stop latency, median", median(meant), "ms", 1000)
    table.add("… stop latency, 90th percentile", percentile(meant, 90), "ms", 1000)


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
