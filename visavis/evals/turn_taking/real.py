"""Real voices: recordings of single speakers, which the project does not ship and learns nothing from.

- `human_speech/*.wav`: each is taken as one turn, ending with its last audible stretch. Read aloud, no conversation.
- `beat2_scott/*` with given words: monologues, so every decision that the turn is over is a cut-in; told by the length
  of the pause. Whether a sentence ends there is not given, so some of these pauses would invite a listener.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visavis.agent.turn_taking import EndOfTurn, Hearing, HearingEvent
from visavis.errors import UsageError
from visavis.evals.any_body.audio import read_given, recordings
from visavis.evals.first_light.table import Table, median, progress, share
from visavis.evals.turn_taking.measure import FIXED_S
from visavis.evals.turn_taking.score import fixed_silence
from visavis.evals.turn_taking.sounds import RATE_HZ
from visavis.speech.heard import audible
from visavis.speech.voice_activity import CHUNK, VoiceActivity
from visavis.speech.wav import read_wav

__all__ = ["measure_real"]

_AFTER_S = 2.0  # of the recording's own quiet is put behind it
_LEAST_PAUSE_S = 0.3

Samples = NDArray[np.float32]


def _with_quiet(path: Path) -> Samples:
    """(N,) float32 at 16 kHz: the recording, and then noise as loud as its quietest tenth of a second."""
    samples, _ = read_wav(path, RATE_HZ)
    sound = samples.astype(np.float32) / np.float32(32768)
    hop = RATE_HZ // 10
    rows = sound[: len(sound) // hop * hop].reshape(-1, hop)
    floor = float(np.sqrt((rows**2).mean(axis=1)).min())
    quiet = np.random.default_rng(0).normal(0, max(floor, 1e-5), round(_AFTER_S * RATE_HZ)).astype(np.float32)
    return np.concatenate([sound, quiet])


def _hear(sound: Samples) -> list[HearingEvent]:
    hearing = Hearing()
    return [event for k in range(0, len(sound), 1_600) for event in hearing.feed(sound[k : k + 1_600], RATE_HZ)]


def _chunks(sound: Samples) -> list[tuple[float, bool]]:
    activity = VoiceActivity()
    return [
        ((k + CHUNK) / RATE_HZ, activity.probability(sound[k : k + CHUNK]) >= 0.5)
        for k in range(0, len(sound) - CHUNK + 1, CHUNK)
    ]


def _decisions(sound: Samples) -> dict[str, list[float]]:
    """When the turn is taken to be over, by hearing and by fixed silences."""
    found = {"hearing": [e.at_s for e in _hear(sound) if isinstance(e, EndOfTurn)]}
    chunks = _chunks(sound)
    for silence_s in FIXED_S:
        found[f"fixed {1000 * silence_s:.0f} ms"] = fixed_silence(silence_s, chunks).ends
    return found


def _cut_pauses(pauses: Sequence[tuple[float, float]], at: Sequence[float]) -> list[bool]:
    return [any(a < t < b for t in at) for a, b in pauses]


def measure_real(folder: Path) -> Table:
    """Both kinds of recordings in one table."""
    if not folder.is_dir():
        raise UsageError(f"expected recordings in {folder}: they are not part of the project, give --real DIR")
    table = Table("real voices")
    late: dict[str, list[float]] = {}
    early: dict[str, list[bool]] = {}
    for path in progress(sorted((folder / "human_speech").glob("*.wav")), "turns"):
        sound = _with_quiet(path)
        end_s = audible(*read_wav(path))[-1][1]
        for name, at in _decisions(sound).items():
            early.setdefault(name, []).append(any(t < end_s - 0.05 for t in at))
            after = [t - end_s for t in at if t >= end_s - 0.05]
            if after:
                late.setdefault(name, []).append(max(after[0], 0.0))
    for name, values in late.items():
        table.add(f"{name}: end of a read turn, median latency", median(values), "ms", 1000)
        table.add(f"{name}: … turns cut in on", share(early[name]), "%", 100)
    cut: dict[str, dict[str, list[bool]]] = {}
    for path in progress(recordings(folder / "beat2_scott"), "monologues"):
        given = read_given(path)
        gaps = zip(given.end_s[:-1], given.start_s[1:], strict=True)
        pauses = [(float(a), float(b)) for a, b in gaps if b - a >= _LEAST_PAUSE_S]
        for name, at in _decisions(_with_quiet(path)).items():
            for label, low, high in (("0.3-0.6", 0.3, 0.6), ("0.6-1.2", 0.6, 1.2)):
                some = [p for p in pauses if low <= p[1] - p[0] < high]
                cut.setdefault(name, {}).setdefault(label, []).extend(_cut_pauses(some, at))
    for name, by_length in cut.items():
        for label, hits in by_length.items():
            table.add(f"{name}: cut-ins at a monologue's pauses of {label} s", share(hits), "%", 100)
    return table
