"""When a listener nods: the causal listener against the teacher's oracle, beside random nods at the same rate.

The oracle knows the partner's words and pauses before they come (`visavis.finetune.teacher.body.listener_tracks`); it
is rules, not people, so what is measured is how much of it can be had from sound that was already heard. A nod is right
when one of the oracle's begins within half a second of it (the window of Ward and Tsukahara 2000), each counting once.
Partners say three to five sentences of the test split, in its voices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from visavis.agent.listening import Listener, ListenerStyle
from visavis.agent.turn_taking import Hearing
from visavis.emotion import Emotion
from visavis.evals.first_light.table import Table, progress
from visavis.evals.turn_taking.sentences import VOICES, Split, sentences
from visavis.evals.turn_taking.sounds import RATE_HZ, colored_noise
from visavis.finetune.teacher.body import listener_tracks
from visavis.metrics.bootstrap import bootstrap, paired_difference
from visavis.motion.motion import FPS
from visavis.speech.espeak import EspeakVoice
from visavis.speech.streamed import Resampler
from visavis.speech.words import is_spoken

__all__ = ["WINDOW_S", "matches", "measure_listener"]

WINDOW_S = 0.5
_RANDOM = 20  # draws of random nods for each partner


def matches(ours: Sequence[float], theirs: Sequence[float], window_s: float = WINDOW_S) -> int:
    """How many of our times have one of theirs within the window, each of theirs used once, in order of time."""
    left, count = sorted(theirs), 0
    for at in sorted(ours):
        near = next((t for t in left if abs(t - at) <= window_s), None)
        if near is not None:
            left.remove(near)
            count += 1
    return count


def _f1(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """2 matches / (ours + theirs), in [0, 1]; NaN where nobody nods."""
    total = len(ours) + len(theirs)
    return 2 * matches(ours, theirs) / total if total else float("nan")


@dataclass(frozen=True)
class _Nods:
    """Times of the nods for one partner."""

    ours: list[float]
    pauses_only: list[float]
    oracle: list[float]
    length_s: float


def _nods(sound: np.ndarray, style: ListenerStyle, seed: int) -> list[float]:
    hearing, listener = Hearing(), Listener(style, seed)
    found = []
    for k in range(0, len(sound), 1_600):
        piece = sound[k : k + 1_600]
        found += [s.at_s for s in listener.feed(piece, RATE_HZ, hearing.feed(piece, RATE_HZ)) if s.kind == "nod"]
    return found


def _random(count: int, length_s: float, apart_s: float, rng: np.random.Generator) -> list[float]:
    """As many nods anywhere, no two closer than the listener's own."""
    for _ in range(200):
        times = np.sort(rng.uniform(0.3, length_s, count))
        if count < 2 or np.diff(times).min() >= apart_s:
            return times.tolist()
    return times.tolist()


def measure_listener(split: Split = "test", partners: int = 40, seed: int = 0) -> Table:
    """F1 of the listener's nods, of its pauses' alone and of random ones, over partners."""
    rng = np.random.default_rng(seed)
    style = ListenerStyle()
    found: list[_Nods] = []
    voices = {name: EspeakVoice(name) for name in VOICES[split]}
    try:
        for number in progress(range(partners), "partners"):
            texts = rng.choice(sentences(split), int(rng.integers(3, 6)), replace=False)
            speech = voices[str(rng.choice(VOICES[split]))].speak(" ".join(map(str, texts)), Emotion())
            words = [word for word in speech.words if is_spoken(word.text)]
            frames = int(np.ceil(speech.duration_s * FPS))
            _, _, oracle = listener_tracks(
                words, frames, Emotion(), np.random.default_rng([seed, number]), liveliness=1
            )
            clean = Resampler(speech.sample_rate_hz).feed(speech.samples.astype(np.float32) / np.float32(32768))
            level = float(np.sqrt((clean**2).mean())) * 10 ** (-20 / 20)
            sound = clean + level * colored_noise(len(clean), rng, 0.5)
            sound = np.concatenate([sound, level * colored_noise(RATE_HZ, rng, 0.5)])
            only = ListenerStyle(low_pitch=0.0)
            found.append(
                _Nods(_nods(sound, style, number), _nods(sound, only, number), oracle, speech.duration_s + 0.6)
            )
    finally:
        for voice in voices.values():
            voice.close()
    return _table(found, style, rng)


def _table(found: Sequence[_Nods], style: ListenerStyle, rng: np.random.Generator) -> Table:
    table = Table(f"nods of the causal listener against the oracle, {len(found)} partners")
    ours = [_f1(n.ours, n.oracle) for n in found]
    chance = [
        float(np.mean([
            _f1(_random(len(n.ours), n.length_s, style.apart_s, rng), n.oracle) for _ in range(_RANDOM)
        ]))
        for n in found
    ]  # fmt: skip
    table.add("F1 within 0.5 s", bootstrap(ours))
    table.add("F1 of random nods at the same rate", bootstrap(chance))
    table.add("difference", paired_difference(ours, chance))
    table.add("F1 of nods in pauses alone", bootstrap([_f1(n.pauses_only, n.oracle) for n in found]))
    table.add("precision", bootstrap([matches(n.ours, n.oracle) / len(n.ours) for n in found if n.ours]))
    table.add("recall", bootstrap([matches(n.ours, n.oracle) / len(n.oracle) for n in found if n.oracle]))
    table.add("nods a minute", bootstrap([60 * len(n.ours) / n.length_s for n in found]))
    table.add("… of the oracle", bootstrap([60 * len(n.oracle) / n.length_s for n in found]))
    return table
