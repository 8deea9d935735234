"""A real speaker's recordings through `say`, with and without their transcripts.

Given are the times of words (and of phonemes, where there is a TextGrid) that come with the recordings; nothing here
compares a plan with itself: strokes are found in the exported BVH by wrist speed, stresses are the given vowels.
Recordings are NAME.wav with NAME.words.tsv (start, end, word) or NAME.TextGrid (tiers `words`, `phones` with ARPAbet
stress marks), and NAME.npz (SMPL-X as BEAT2 has it) for the jaw.
"""

from __future__ import annotations

import csv
import re
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visavis.agent import Agent, Turn
from visavis.errors import UsageError
from visavis.evals.first_light.table import Table, median, progress, share
from visavis.evals.first_light.timing import RandomWords, read_turn
from visavis.evals.strokes import apexes, beats, nearest
from visavis.metrics.beat_consistency import DECISIVE_SIGMA_S, lift
from visavis.metrics.bootstrap import bootstrap
from visavis.metrics.strokes import WINDOW_S
from visavis.motion.face import face_index
from visavis.motion.motion import Motion
from visavis.speech.heard import audible
from visavis.speech.prosody import stresses
from visavis.speech.types import Speech
from visavis.speech.words import prominence

__all__ = ["DATA", "Given", "measure", "read_given", "recordings"]

DATA = ".cache/real/beat2_scott"
STRESSED = 0.6  # prominence of a word that counts as stressed
PAUSE_S = 0.2
_Figures = dict[str, list[float]]
_JAW = slice(66, 69)  # axis-angle of joint 22 of SMPL-X


@dataclass(frozen=True)
class Given:
    """What is known of a recording: words with onset and end, and per word the onset of its stressed vowel or NaN."""

    words: tuple[str, ...]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    vowel_s: NDArray[np.float64]

    @property
    def transcript(self) -> str:
        """The words, without punctuation."""
        return " ".join(self.words)

    @property
    def stressed_s(self) -> NDArray[np.float64]:
        """Onsets of the stressed vowels of prominent words, (N,) seconds; the word's onset where no vowel is given."""
        values = np.array(prominence(self.words))
        times = np.where(np.isnan(self.vowel_s), self.start_s, self.vowel_s)
        return times[values >= STRESSED]

    @property
    def phrase_s(self) -> NDArray[np.float64]:
        """Onsets of the words that follow a pause."""
        before = np.concatenate([[-1.0], self.end_s[:-1]])
        return self.start_s[self.start_s - before >= PAUSE_S]


def recordings(data: Path) -> list[Path]:
    """The wav files of a folder whose words are given."""
    found = [wav for wav in sorted(data.glob("*.wav")) if _words_file(wav) is not None]
    if not found:
        raise UsageError(f"expected NAME.wav with NAME.words.tsv or NAME.TextGrid in {data}; found none")
    return found


def _words_file(wav: Path) -> Path | None:
    for path in (wav.with_suffix(".words.tsv"), wav.with_suffix(".TextGrid")):
        if path.exists():
            return path
    return None


def _tier(text: str, name: str) -> list[tuple[float, float, str]]:
    """The intervals of one tier of a TextGrid in its long form."""
    parts = re.split(r'name = "(.*?)"', text)
    tiers = dict(zip(parts[1::2], parts[2::2], strict=True))
    rows = re.findall(r'xmin = (\S+)\s+xmax = (\S+)\s+text = "(.*?)"', tiers.get(name, ""))
    return [(float(a), float(b), label) for a, b, label in rows]


def read_given(wav: Path) -> Given:
    """The given words of a recording."""
    path = _words_file(wav)
    assert path is not None, "only recordings with given words are read"
    vowels: list[tuple[float, float, str]] = []
    if path.suffix == ".tsv":
        with open(path, encoding="utf-8") as file:
            rows = [(float(r["start"]), float(r["end"]), r["word"]) for r in csv.DictReader(file, delimiter="\t")]
    else:
        text = path.read_text(encoding="utf-8")
        rows = [row for row in _tier(text, "words") if row[2].strip()]
        vowels = [phone for phone in _tier(text, "phones") if phone[2].endswith("1")]
    at = [next((a for a, _, _ in vowels if start - 0.005 <= a < end), np.nan) for start, end, _ in rows]
    return Given(
        tuple(word for _, _, word in rows),
        np.array([start for start, _, _ in rows]),
        np.array([end for _, end, _ in rows]),
        np.array(at, np.float64),
    )


def _distances(at_s: Sequence[float] | NDArray[np.float64], to_s: NDArray[np.float64]) -> list[float]:
    """Absolute distances from each time to the nearest of others, at most 0.6 s."""
    return [abs(nearest(to_s, float(at), WINDOW_S)) for at in at_s]


def _shifted(at_s: Sequence[float], length_s: float, rng: np.random.Generator) -> list[float]:
    """The same times at ten other places of the recording, as rhythm without relation to it."""
    shifts = rng.uniform(2.0, length_s - 2.0, 10)
    return [float((at + shift) % length_s) for at in at_s for shift in shifts]


def _jaw_correlation(motion: Motion, npz: Path) -> float:
    """How the opening of the jaw goes with the speaker's own, in [-1, 1], over the frames of both."""
    with np.load(npz, allow_pickle=False) as data:
        theirs = np.linalg.norm(data["poses"][:, _JAW], axis=1)
        fps = float(data["mocap_frame_rate"])
    assert motion.face is not None, "a turn has a face"
    ours = motion.face[:, face_index("jawOpen")]
    times = np.arange(min(int(len(theirs) / fps * motion.fps), len(ours))) / motion.fps
    theirs = np.interp(times, np.arange(len(theirs)) / fps, theirs)
    return float(np.corrcoef(theirs, ours[: len(times)])[0, 1])


def _strokes(turn: Turn, motion: Motion, given: Given, out: list[float], random: RandomWords | None = None) -> None:
    """Each gesture's nearest stroke in the exported motion against the given vowel of the word it is meant for."""
    before = 0
    for clause in turn.record.clauses:
        for gesture in clause.gestures:
            if gesture.hand not in ("left", "right", "both"):
                continue
            anchor = random.meant.get((clause.text, gesture.gloss), gesture.anchor) if random else gesture.anchor
            word = before + anchor
            vowel = given.vowel_s[word]
            if not np.isnan(vowel):
                out.append(abs(nearest(apexes(motion, gesture.hand), vowel, WINDOW_S)))
        before += len(clause.words)


def _beat_apexes(turn: Turn, motion: Motion) -> list[float]:
    """Where the hand of each beat really has its apex in the exported motion; beats without one are left out."""
    found = []
    for gesture in turn.gestures:
        away = nearest(apexes(motion, gesture.hand), gesture.stroke_s, WINDOW_S)
        if abs(away) < WINDOW_S:
            found.append(gesture.stroke_s + away)
    return found


def _with_words(agent: Agent, wav: Path, given: Given, folder: Path, seed: int, out: _Figures) -> tuple[Turn, Motion]:
    turn = agent.say(given.transcript, audio=wav)
    motion = read_turn(turn, folder, whole=True)
    away = np.array([word.start_s for word in turn.speech.words]) - given.start_s
    out["onset"] += list(np.abs(away))
    out["signed"] += list(away)
    _strokes(turn, motion, given, out["stroke"])
    tools, chance = agent.tools, RandomWords(agent.tools.planner, seed)
    agent.tools = replace(tools, planner=chance)
    moved = agent.say(given.transcript, audio=wav)
    agent.tools = tools
    _strokes(moved, read_turn(moved, folder, whole=False), given, out["stroke, random"], chance)
    return turn, motion


def _without_words(
    agent: Agent, wav: Path, given: Given, folder: Path, seed: int, out: _Figures
) -> tuple[Turn, Motion]:
    turn = agent.say(audio=wav)
    motion = read_turn(turn, folder, whole=True)
    rng = np.random.default_rng(seed)
    sound = Speech("", turn.speech.samples, turn.speech.sample_rate_hz)
    heard = [(float(at), float(strength)) for at, strength in stresses(sound)]
    vowels = given.vowel_s[~np.isnan(given.vowel_s)]
    rows = {
        "heard": ([at for at, _ in heard], vowels),
        "strong": ([at for at, strength in heard if strength >= STRESSED], given.stressed_s),
        "beat": (_beat_apexes(turn, motion), vowels),
        "beat, stressed": (_beat_apexes(turn, motion), given.stressed_s),
    }
    for name, (times, targets) in rows.items():
        if len(targets):
            out[name] += _distances(times, targets)
            out[f"{name}, shifted"] += _distances(_shifted(times, sound.duration_s, rng), targets)
    begins = [start for start, _ in audible(sound.samples, sound.sample_rate_hz)]
    out["phrase"] += _distances(given.phrase_s, np.array(begins))
    return turn, motion


def measure(data: Path, limit: int | None = None, seed: int = 0) -> Table:
    """Say every recording with and without its transcript.

    Args:
        data: a folder as in the module's head.
        limit: only the first recordings.
        seed: of the agent and of the shuffles.
    """
    out: _Figures = defaultdict(list)
    recorded = []
    with tempfile.TemporaryDirectory() as folder, Agent(voice="silent", seed=seed) as agent:
        for wav in progress(recordings(data)[:limit], "recordings"):
            given = read_given(wav)
            first = len(out["onset"])
            turns = {
                "with": _with_words(agent, wav, given, Path(folder), seed, out),
                "without": _without_words(agent, wav, given, Path(folder), seed, out),
            }
            for label, (turn, motion) in turns.items():
                times = beats(motion)
                out[f"lift, {label}"].append(lift(given.stressed_s, times, motion.duration_s, DECISIVE_SIGMA_S))
                out[f"rate, {label}"].append(len(apexes(motion)) / motion.duration_s)
                if wav.with_suffix(".npz").exists():
                    out[f"jaw, {label}"].append(_jaw_correlation(turn.motion, wav.with_suffix(".npz")))
            recorded.append(
                {
                    "recording": wav.name,
                    "seconds": round(turns["with"][0].speech.duration_s, 1),
                    "words": len(given.words),
                    "median_onset_ms": round(1000 * float(np.median(out["onset"][first:])), 1),
                    "gestures": [gesture.gloss for gesture in turns["with"][0].gestures],
                    "beats": len(turns["without"][0].gestures),
                    "degraded": turns["with"][0].record.degraded,
                }
            )
    table = _table(out, len(recorded))
    table.details = {"recordings": recorded}
    return table


def _table(out: _Figures, count: int) -> Table:
    table = Table(f"{count} recordings of a real speaker")
    table.add("word onsets, median |error|", median(out["onset"]), "ms", 1000)
    table.add("word onsets, median error (signed)", median(out["signed"]), "ms", 1000)
    table.add("word onsets within 50 ms", share(away <= 0.05 for away in out["onset"]), "%", 100)
    for name, label in (("stroke", "gesture's stroke to its word's given vowel"), ("stroke, random", "… random words")):
        table.add(f"{label}, median", median(out[name]), "ms", 1000)
    table.add("no transcript: phrase onsets, median |error|", median(out["phrase"]), "ms", 1000)
    for name, label in (
        ("heard", "stress by ear to a given vowel"),
        ("strong", "strong stress by ear to a prominent word's vowel"),
        ("beat", "beat's apex to a given vowel"),
        ("beat, stressed", "beat's apex to a prominent word's vowel"),
    ):
        table.add(f"no transcript: {label}, median", median(out[name]), "ms", 1000)
        table.add("… the same rhythm elsewhere", median(out[f"{name}, shifted"]), "ms", 1000)
    for label, name in (("with", "transcript"), ("without", "no transcript")):
        table.add(f"{name}: beat lift (0.1 s) on given stresses", bootstrap(out[f"lift, {label}"]))
        table.add(f"{name}: stroke apexes a second, both wrists", bootstrap(out[f"rate, {label}"]))
        table.add(f"{name}: jaw against the speaker's own, correlation", bootstrap(out[f"jaw, {label}"]))
    return table
