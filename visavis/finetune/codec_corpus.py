"""What the codec learns from and is judged by: motion without words, made in minutes, each kind in one file.

    taught      turns of the teacher on authored sentences, timed by the silent voice
    gestures    the lexicon's gestures, every way to perform them, random performers and parameters
    reaches     arms that wander through all the space they can reach, hands through random shapes
    recordings  one performer of SmartBody, where the folder exists (LGPL-2.1, told on the codec's card)

Training performers, sentences and ways to perform a gesture are not those of the figures (`held_variant`,
`performer_of`): nothing learns from these. Every clip is a piece of rows of features (frames, 264).
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis.agent.choreography import Choice
from visavis.finetune.recordings import TRAIN_PERFORMER, takes
from visavis.finetune.teacher import listening, speaking
from visavis.motion import rotations as rot
from visavis.motion.motion import Motion
from visavis.motion.skeleton import ARM_BONES, CORE_BONES
from visavis.refiner.sampler import motion_features
from visavis.retrieval.lexicon import PLAIN, Lexicon, load_lexicon
from visavis.retrieval.library import Library
from visavis.retrieval.posing import Performer, perform
from visavis.retrieval.utterances import NONE, load_utterances
from visavis.speech.silent import SilentVoice

__all__ = [
    "DEV_PERFORMERS",
    "TRAIN_PERFORMERS",
    "CodecCorpus",
    "build",
    "held_variant",
    "performer_of",
    "taught",
    "train_variants",
]

log = logging.getLogger(__name__)

TRAIN_PERFORMERS: Final = 200
DEV_PERFORMERS: Final = 20
# Shares of the windows: broad first, so that the networks know every pose; then, when codebooks are settled, nearer to
# what the body will do, so that few codes are kept for poses that nobody takes.
BROAD: Final = {"taught": 0.4, "gestures": 0.2, "reaches": 0.1, "recordings": 0.3}
NARROW: Final = {"taught": 0.5, "gestures": 0.3, "reaches": 0.05, "recordings": 0.15}
NARROW_FROM: Final = 0.45  # of the run
_LISTENERS: Final = 0.1
_VERSIONS: Final = 6  # of a recording: itself, and varied in pace, size and posture


def performer_of(number: int) -> Performer:
    """A performer by number: the same number is always the same one; those from `TRAIN_PERFORMERS` on are held out."""
    return Performer.random(np.random.default_rng(10_000 + number))


def held_variant(gloss: str, variant: str) -> bool:
    """Whether a way to perform a gesture is kept for the figures: nothing learns from one in ten of them."""
    return variant != PLAIN and zlib.crc32(f"{gloss}/{variant}".encode()) % 10 == 0


def train_variants(lexicon: Lexicon, gloss: str) -> list[str]:
    """The ways to perform a gesture that may be learnt from."""
    return [name for name in lexicon[gloss].variant_names if not held_variant(gloss, name)]


def taught(count: int, split: str, seed: int = 0) -> Iterator[Motion]:
    """Turns of the teacher: one in five sentences and `DEV_PERFORMERS` performers belong to the split `dev` alone."""
    lexicon, voice = load_lexicon(), SilentVoice()
    library = Library(lexicon)
    lines = [one for place, one in enumerate(load_utterances()) if (place % 5 == 0) == (split == "dev")]
    low, performers = (0, TRAIN_PERFORMERS) if split == "train" else (TRAIN_PERFORMERS, DEV_PERFORMERS)
    for number in range(count):
        rng = np.random.default_rng([seed, number, int(split == "dev")])
        line = lines[int(rng.integers(len(lines)))]
        performer = performer_of(low + int(rng.integers(performers)))
        speech = voice.speak(line.text, line.emotion)
        if rng.random() < _LISTENERS:
            yield listening(speech.words, speech.duration_s, line.emotion, performer, rng).motion
            continue
        choices = []
        if line.gloss != NONE and line.gloss in lexicon and line.anchors[0] < len(speech.words):
            variant = str(rng.choice(train_variants(lexicon, line.gloss)))
            choices = [Choice(line.gloss, line.anchors[0], variant=variant)]
        yield speaking(speech.words, speech.duration_s, line.emotion, choices, library, performer, rng).motion


def _gestures(count: int, seed: int = 0) -> Iterator[Motion]:
    lexicon = load_lexicon()
    names = [(gloss, variant) for gloss in lexicon for variant in train_variants(lexicon, gloss)]
    rng = np.random.default_rng([seed, 1])
    for place in rng.permutation(np.arange(count) % len(names)):
        gloss, variant = names[place]
        performer = performer_of(int(rng.integers(TRAIN_PERFORMERS)))
        yield perform(lexicon[gloss], performer, hand=str(rng.choice(["left", "right"])), variant=variant).motion


def _wander(rng: np.random.Generator, frames: int, width: int, low: float, high: float) -> NDArray[np.float32]:
    """(frames, width) smooth paths through random values in [-1, 1], one every `low` to `high` seconds."""
    from scipy.interpolate import PchipInterpolator

    times = np.concatenate([[0.0], np.cumsum(rng.uniform(low, high, int(frames / 30 / low) + 3))])
    values = rng.uniform(-1, 1, (len(times), width))
    hold = rng.random(len(times)) < 0.3  # hands rest between two movements
    for i in np.flatnonzero(hold[1:]) + 1:
        values[i] = values[i - 1]
    return PchipInterpolator(times, values)(np.arange(frames) / 30).astype(np.float32)  # type: ignore[no-any-return]


def _reaches(count: int, seed: int = 0) -> Iterator[Motion]:
    """Arms between poses of other clips: what lies between known poses is where unknown people are."""
    poses = np.concatenate([motion.rotations[::7] for motion in _gestures(min(300, 3 * count), seed + 1)])
    rng = np.random.default_rng([seed, 2])
    rest = Motion.rest(1)
    skeleton = rest.skeleton
    for _ in range(count):
        frames = int(rng.integers(90, 240))
        turned = np.repeat(rest.rotations, frames, axis=0)
        for part in ("core", "left", "right"):
            bones = skeleton.part(part)
            stops = max(3, int(frames / 30 / rng.uniform(0.35, 1.0)))
            keys = np.sort(rng.uniform(0, frames - 1, stops))
            keys[0], keys[-1] = 0, frames - 1
            chosen = poses[rng.integers(len(poses), size=stops)][:, bones]
            amount = 0.0 if part == "core" else 0.25
            chosen = rot.multiply(chosen, rot.from_rotation_vector(rng.normal(0, amount, chosen.shape[:-1] + (3,))))
            at = np.clip(np.searchsorted(keys, np.arange(frames), "right") - 1, 0, stops - 2)
            share = (np.arange(frames) - keys[at]) / np.maximum(keys[at + 1] - keys[at], 1e-6)
            share = share**3 * (10 - 15 * share + 6 * share**2)  # minimum jerk
            amounts = np.repeat(share[:, None], len(bones), axis=1).astype(np.float32)
            turned[:, bones] = rot.slerp(chosen[at], chosen[at + 1], amounts)
        yield replace(rest, rotations=turned.astype(np.float32), root_m=np.repeat(rest.root_m, frames, axis=0))


def _varied(motion: Motion, rng: np.random.Generator) -> Motion:
    """The same take at another pace, in another size, by somebody who holds torso and arms a little differently."""
    frames = max(8, int(len(motion) * rng.uniform(0.75, 1.35)))
    at = np.linspace(0, len(motion) - 1, frames)
    low = np.minimum(at.astype(int), len(motion) - 2)
    share = np.repeat((at - low)[:, None], len(motion.skeleton), axis=1).astype(np.float32)
    turned = rot.slerp(motion.rotations[low], motion.rotations[low + 1], share)
    middle = np.repeat(turned[frames // 2 :][:1], frames, axis=0)
    size = np.full(share.shape, rng.uniform(-0.25, 0.15), np.float32)[:frames]
    turned = rot.slerp(turned, middle, -size) if size[0, 0] < 0 else turned
    offset = rng.normal(0, np.radians(5), (len(motion.skeleton), 3)).astype(np.float32)
    return Motion(rot.multiply(turned, rot.from_rotation_vector(offset)), np.zeros((frames, 3), np.float32))


def _recordings(folder: Path, limit: int | None, seed: int = 0) -> Iterator[Motion]:
    rng = np.random.default_rng([seed, 3])
    for motion in takes(folder, TRAIN_PERFORMER, limit).values():
        yield motion
        for _ in range(_VERSIONS - 1):
            yield _varied(motion, rng)


def _write(path: Path, motions: Iterator[Motion]) -> None:
    features, lengths = [], []
    for motion in motions:
        features.append(motion_features(motion).astype(np.float16))
        lengths.append(len(motion))
    if not features:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_suffix(".tmp"), "wb") as file:
        np.savez(file, features=np.concatenate(features), lengths=np.array(lengths))
    os.replace(path.with_suffix(".tmp"), path)
    log.info("%s: %d clips, %.1f minutes", path.stem, len(lengths), sum(lengths) / 1800)


def build(
    folder: Path, recordings: Path, turns: int, gestures: int, reaches: int, most_takes: int | None = None
) -> None:
    """Make the kinds that are not there yet.

    Args:
        folder: of the corpus.
        recordings: SmartBody's folder; nothing is taken from it where it is absent.
        turns: clips of the teacher.
        gestures: of the lexicon.
        reaches: of wandering arms.
        most_takes: of the recordings.
    """
    kinds: dict[str, Callable[[], Iterator[Motion]]] = {
        "recordings": lambda: _recordings(recordings, most_takes),
        "gestures": lambda: _gestures(gestures),
        "reaches": lambda: _reaches(reaches),
        "taught": lambda: taught(turns, "train"),
    }
    for kind, make in kinds.items():
        if not (folder / f"{kind}.npz").exists():
            _write(folder / f"{kind}.npz", make())


@dataclass
class _Kind:
    features: NDArray[np.float16]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]


class CodecCorpus:
    """All kinds in memory, and random windows of them."""

    def __init__(self, folder: Path) -> None:
        self.kinds: dict[str, _Kind] = {}
        self._shares = BROAD
        for path in sorted(folder.glob("*.npz")):
            with np.load(path, allow_pickle=False) as data:
                features, lengths = data["features"], data["lengths"]
            self.kinds[path.stem] = _Kind(features, np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
        if not self.kinds:
            raise FileNotFoundError(f"no clips in {folder}: make them with `visavis train codec`")

    def at(self, share: float) -> None:
        """Deal windows out as it is right after this share of a run."""
        self._shares = NARROW if share >= NARROW_FROM else BROAD

    @property
    def summary(self) -> str:
        """One line a kind, for the card."""
        return "".join(
            f"- {name}: {len(kind.lengths)} clips, {kind.lengths.sum() / 1800:.1f} minutes\n"
            for name, kind in self.kinds.items()
        )

    def windows(self, batch: int, frames: int, rng: np.random.Generator, without: str = "") -> NDArray[np.float32]:
        """(batch, frames, 264) windows inside single clips, of all kinds but one; a short clip then stands still."""
        kinds = list(self.kinds.values())
        shares = np.array([0.0 if kind == without else self._shares.get(kind, 0.1) for kind in self.kinds])
        if not shares.any():
            shares[:] = 1.0
        out = []
        for number, count in enumerate(rng.multinomial(batch, shares / shares.sum())):
            kind = kinds[number]
            chance = np.maximum(kind.lengths - frames, frames // 4).astype(np.float64)
            for clip in rng.choice(len(kind.lengths), size=count, p=chance / chance.sum()):
                first = int(rng.integers(max(int(kind.lengths[clip]) - frames, 0) + 1))
                rows = np.minimum(first + np.arange(frames), kind.lengths[clip] - 1)
                out.append(kind.features[kind.starts[clip] + rows])
        return np.stack(out).astype(np.float32)

    def sample(self, network: str, batch: int, frames: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Windows of a network: `core` (batch, frames, 36); `side` (…, 114), of two arms mostly the livelier one."""
        core, arm = 6 * len(CORE_BONES), 6 * len(ARM_BONES)
        if network == "core":  # reaching arms have no torso that anybody would move so
            return self.windows(batch, frames, rng, without="reaches")[..., :core]
        x = self.windows(batch, frames, rng)
        left, right = x[..., core : core + arm], x[..., core + arm :]
        livelier = (right.var(axis=(1, 2)) > left.var(axis=(1, 2))) ^ (rng.random(batch) < 0.25)
        return np.where(livelier[:, None, None], right, left)
