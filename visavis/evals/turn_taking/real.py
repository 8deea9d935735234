"""Real voices: recordings of single speakers, which the project does not ship and learns nothing from.

- `human_speech/*.wav`: each is taken as one turn, ending with its last audible stretch. Read aloud, no conversation.
- `beat2_scott/*` with given words: one man's monologues. Their pauses of 0.2 s and more are inside a sentence or at the
  end of one (`monologue_ends.yaml`). Played whole: cut-ins at the pauses inside, and whether the end of a sentence was
  noticed before he went on. Played sentence by sentence, each followed by quiet: how late its end is noticed. Played up
  to each pause inside, followed by quiet: how long he might have paused there.

"With words" the given words are told as a recogniser without errors would, 0.15 s after each was said. It is one man:
nothing here is a result about people.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from visavis.errors import UsageError
from visavis.evals.any_body.audio import Given, read_given, recordings
from visavis.evals.first_light.table import Table, median, progress
from visavis.evals.turn_taking.measure import FIXED_S, WORD_LAG_S, voice_chunks
from visavis.evals.turn_taking.play import play
from visavis.evals.turn_taking.scenes import Said, Scene
from visavis.evals.turn_taking.score import fixed_silence
from visavis.evals.turn_taking.sounds import RATE_HZ
from visavis.metrics.bootstrap import proportion
from visavis.speech.heard import audible
from visavis.speech.wav import read_wav

__all__ = ["measure_real"]

_AFTER_S = 2.0  # of the recording's own quiet is put behind a turn
_PAUSE_S = 0.2
_ALLOWED_S = (0.5, 0.7, 1.0)  # lengths a pause might have had
_NEAR_S = 0.1  # of a given end a word's end is that end; after a pause a decision still belongs to it

Samples = NDArray[np.float32]
_NOTHING = np.zeros(0, np.float32)


def _sound(path: Path) -> Samples:
    samples, _ = read_wav(path, RATE_HZ)
    return samples.astype(np.float32) / np.float32(32768)


def _floor(sound: Samples) -> float:
    """The level of the quietest tenth of a second."""
    hop = RATE_HZ // 10
    rows = sound[: len(sound) // hop * hop].reshape(-1, hop)
    return max(float(np.sqrt((rows**2).mean(axis=1)).min()), 1e-5)


def _scene(sound: Samples, floor: float, words: tuple[Said, ...] = ()) -> Scene:
    """A recording and quiet as loud as its floor behind it, as a scene."""
    quiet = np.random.default_rng(0).normal(0, floor, round(_AFTER_S * RATE_HZ)).astype(np.float32)
    near = np.concatenate([sound, quiet])
    return Scene("turn", "", near, np.zeros_like(near), _NOTHING, 0.0, 0.0, len(sound) / RATE_HZ, 0.0, (), words)


def _decisions(scene: Scene) -> dict[str, list[float]]:
    """When the turn is taken to be over, by hearing and by fixed silences."""
    found = {"sound alone": play(scene).ends}
    if scene.words:
        found["with words"] = play(scene, WORD_LAG_S).ends
    chunks = voice_chunks(scene)
    for silence_s in FIXED_S:
        found[f"fixed {1000 * silence_s:.0f} ms"] = fixed_silence(silence_s, chunks).ends
    return found


@dataclass(frozen=True)
class _Monologue:
    """A recording, its words, and its pauses as (start, end, whether a sentence ends there)."""

    sound: Samples
    words: tuple[Said, ...]
    pauses: tuple[tuple[float, float, bool], ...]

    def part(self, begin_s: float, end_s: float) -> Scene:
        """What is said from `begin_s` to `end_s`, and then quiet."""
        inside = [w for w in self.words if w.start_s >= begin_s - 0.01 and w.end_s <= end_s + 0.01]
        moved = tuple(Said(w.text, w.start_s - begin_s, w.end_s - begin_s) for w in inside)
        return _scene(self.sound[round(begin_s * RATE_HZ) : round(end_s * RATE_HZ)], _floor(self.sound), moved)


def _monologue(path: Path, ends: list[float]) -> _Monologue:
    given: Given = read_given(path)
    gaps = zip(given.end_s[:-1], given.start_s[1:], strict=True)
    pauses = [(float(a), float(b)) for a, b in gaps if b - a >= _PAUSE_S - 0.005]
    known = [any(abs(a - end) < _NEAR_S for end in ends) for a, _ in pauses]
    if sum(known) != len(ends):
        raise UsageError(f"expected the words of {path.name} as they were when its ends were judged: unpack it anew")
    said = [Said(word, float(a), float(b)) for word, a, b in zip(given.words, given.start_s, given.end_s, strict=True)]
    return _Monologue(_sound(path), tuple(said), tuple((a, b, end) for (a, b), end in zip(pauses, known, strict=True)))


def measure_real(folder: Path) -> Table:
    """Both kinds of recordings in one table."""
    if not folder.is_dir():
        raise UsageError(f"expected recordings in {folder}: they are not part of the project, give --real DIR")
    table = Table("real voices")
    _read_turns(table, folder / "human_speech")
    ends = yaml.safe_load((Path(__file__).parent / "monologue_ends.yaml").read_text("utf8"))
    paths = [path for path in recordings(folder / "beat2_scott") if path.stem in ends]
    _monologues(table, [_monologue(path, ends[path.stem]) for path in paths])
    return table


def _read_turns(table: Table, folder: Path) -> None:
    late: dict[str, list[float]] = defaultdict(list)
    early: dict[str, list[bool]] = defaultdict(list)
    for path in progress(sorted(folder.glob("*.wav")), "turns"):
        sound, end_s = _sound(path), audible(*read_wav(path))[-1][1]
        for name, at in _decisions(_scene(sound, _floor(sound))).items():
            early[name].append(any(t < end_s - 0.05 for t in at))
            late[name] += [max(t - end_s, 0.0) for t in at if t >= end_s - 0.05][:1]
    for name, values in late.items():
        table.add(f"{name}: end of a read turn, median latency", median(values), "ms", 1000)
        table.add(f"{name}: … turns cut in on", proportion(early[name]), "%", 100)


def _monologues(table: Table, found: list[_Monologue]) -> None:
    cut: dict[str, list[bool]] = defaultdict(list)
    taken: dict[str, list[bool]] = defaultdict(list)
    late: dict[str, list[float]] = defaultdict(list)
    whole: dict[str, list[bool]] = defaultdict(list)
    waited: dict[str, list[float]] = defaultdict(list)
    for each in progress(found, "monologues"):
        all_of_it = _scene(each.sound, _floor(each.sound), each.words)
        for name, at in _decisions(all_of_it).items():
            for a, b, end in each.pauses:
                (taken if end else cut)[name].append(any(a < t <= b + _NEAR_S for t in at))
        begin_s = each.words[0].start_s
        for a, b, end in (*each.pauses, (each.words[-1].end_s, each.words[-1].end_s + 1, True)):
            scene = each.part(max(0.0, begin_s - 0.3), a)
            for name, at in _decisions(scene).items():
                after = [t - scene.end_s for t in at if t >= scene.end_s]
                if not end:
                    waited[name].append(after[0] if after else _AFTER_S)
                    continue
                whole[name].append(bool(after))
                late[name] += after[:1]
            begin_s = b if end else begin_s
    for name in late:
        table.add(f"{name}: end of a sentence and then quiet, median latency", median(late[name]), "ms", 1000)
        table.add(f"{name}: … noticed", proportion(whole[name]), "%", 100)
        table.add(f"{name}: … noticed before he went on, in the monologue", proportion(taken[name]), "%", 100)
        table.add(f"{name}: cut-ins at pauses inside sentences", proportion(cut[name]), "%", 100)
        for most_s in _ALLOWED_S:
            short = [wait < most_s for wait in waited[name]]
            table.add(f"{name}: … had they lasted {1000 * most_s:.0f} ms", proportion(short), "%", 100)
