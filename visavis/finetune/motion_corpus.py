"""The motion corpus: taught turns on disk, as features for codec and refiner and as steps for MOVE.

A folder of shards, each a `.npz` of plain arrays (features (frames, 264) float16, prosody (frames, 5) float16) beside a
`.jsonl` with one line a turn. Every shard is made from its own seed, so a run can stop, go on, or be spread over
processes and gives the same corpus. Splits are by sentence, by performer and by voice.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visavis.agent.choreography import Choice, parts_of
from visavis.agent.clauses import split_clauses
from visavis.agent.grid import STEP_S, cues, forced_steps, move_steps, step_count, words_by_step, words_heard
from visavis.emotion import EMOTIONS, Emotion
from visavis.finetune.codec_corpus import DEV_PERFORMERS, TRAIN_PERFORMERS, performer_of, train_variants
from visavis.finetune.teacher import Taught, listening, speaking
from visavis.finetune.teacher.answers import drilled, feeling_of
from visavis.finetune.text_corpus import read_acts
from visavis.motion.phases import Phases
from visavis.refiner.sampler import motion_features
from visavis.retrieval.lexicon import Lexicon, load_lexicon
from visavis.retrieval.library import Library
from visavis.retrieval.posing import Performer
from visavis.speech import open_voice
from visavis.speech.prosody import prosody
from visavis.speech.types import Word
from visavis.tokenizers.codec import PARTS, limb_of
from visavis.tokenizers.turn_language import CUES, MAX_CONTEXT_STEPS, MovePlan, MovePrompt

__all__ = ["MotionCorpus", "TaughtTurn", "build", "clause_spans", "move_examples"]

log = logging.getLogger(__name__)

VOICES = {
    "train": ("en-us", "en-us+f3", "en-us+m3", "en-us+f2", "en-us+m1", "en-us+f4"),
    "dev": ("en-gb-x-rp+f5", "en-gb-scotland+m4", "en-us+m7", "en-029+f1", "en-us+Annie", "en-us+m6"),
}
SHARD = 100


@dataclass(frozen=True)
class TaughtTurn:
    """One turn of the corpus.

    start, frames: where its rows are in the shard; gestures: (gloss, phases as seven times, parts); beats_s: the
    stresses that a hand beats.
    """

    split: str
    mode: str
    text: str
    emotion: str
    intensity: float
    performer: int
    speech_end_s: float
    start: int
    frames: int
    words: list[tuple[str, float, float, float, float]]
    gestures: list[tuple[str, list[float], list[str]]]
    beats_s: list[float]

    @property
    def felt(self) -> Emotion:
        """The emotion as one value."""
        return Emotion(self.emotion, self.intensity)

    @property
    def spoken(self) -> list[Word]:
        """The words with their times."""
        return [Word(text, a, b, stress, at, 0, 0) for text, a, b, stress, at in self.words]

    @property
    def phases(self) -> list[Phases]:
        """Sync points of the gestures."""
        return [Phases(*times) for _, times, _ in self.gestures]


def _performer(split: str, rng: np.random.Generator) -> tuple[int, Performer]:
    """A performer of the split: the same number is always the same performer."""
    low, count = (0, TRAIN_PERFORMERS) if split == "train" else (TRAIN_PERFORMERS, DEV_PERFORMERS)
    number = low + int(rng.integers(count))
    return number, performer_of(number)


def build(
    acts: Path,
    folder: Path,
    split: str,
    turns: int,
    seed: int = 0,
    listeners: float = 0.2,
    copies: int = 2,
    heard: int = 0,
    drill: bool = False,
) -> None:
    """Make the shards of a split that are not there yet.

    Args:
        acts: the corpus of ACT of this split, whose texts are spoken.
        folder: of the corpus.
        split: train or dev.
        turns: how many.
        seed: of sentences, performers and voices.
        listeners: share of the turns that somebody hears instead of says.
        copies: of every text in `acts`, of which one is used; ACT has two, its emotion given and to be found.
        heard: so many turns more, all of them heard.
        drill: lines are full of what calls for an answer, and listeners answer all of it (`teacher.answers.drilled`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    lexicon = load_lexicon()
    library = Library(lexicon)
    voices = {name: open_voice(name) for name in VOICES[split]}
    pairs = list(islice(read_acts(acts), 0, copies * (turns + heard), copies))
    try:
        for number, first in enumerate(range(0, len(pairs), SHARD)):
            name = f"{split}_{number:04d}"
            if (folder / f"{name}.jsonl").exists():
                continue
            features, sounds, lines, at = [], [], [], 0
            for i, (prompt, plan) in enumerate(pairs[first : first + SHARD]):
                rng = np.random.default_rng([seed, first + i, 0 if split == "train" else 1])
                performer_id, performer = _performer(split, rng)
                emotion = plan.emotion or prompt.emotion or Emotion()
                if rng.random() < 0.35:  # so that every emotion is seen often
                    emotion = _some_emotion(rng)
                text = drilled(plan.text, rng) if drill else plan.text
                speech = list(voices.values())[int(rng.integers(len(voices)))].speak(text, emotion)
                mode = "listen" if rng.random() < listeners or first + i >= turns else "speak"
                taught: Taught
                if mode == "listen":
                    feel = None if drill else feeling_of
                    taught = listening(speech.words, speech.duration_s, emotion, performer, rng, feel, drill)
                else:
                    choices = [
                        Choice(t.gloss, t.word, params=dict(t.params), variant=_variant(lexicon, t.gloss, split, rng))
                        for t in plan.tags
                    ]
                    taught = speaking(speech.words, speech.duration_s, emotion, choices, library, performer, rng)
                frames = len(taught.motion)
                sound = np.zeros((frames, 5), np.float16)
                if mode == "speak":
                    rhythm = prosody(speech)[:frames]
                    sound[: len(rhythm)] = rhythm
                features.append(motion_features(taught.motion).astype(np.float16))
                sounds.append(sound)
                lines.append(TaughtTurn(
                    split, mode, text, emotion.name, emotion.intensity, performer_id,
                    taught.speech_end_s, at, frames,
                    [(w.text, w.start_s, w.end_s, w.stress, w.stress_s) for w in speech.words],
                    [(p.choice.gloss, list(p.phases.times), list(parts_of(p.performance))) for p in taught.placed],
                    list(taught.beats_s),
                ))  # fmt: skip
                at += frames
            with open(folder / f"{name}.tmp", "wb") as file:
                np.savez(file, features=np.concatenate(features), prosody=np.concatenate(sounds))
            os.replace(folder / f"{name}.tmp", folder / f"{name}.npz")
            text = "".join(json.dumps(asdict(line)) + "\n" for line in lines)
            (folder / f"{name}.jsonl.tmp").write_text(text)
            os.replace(folder / f"{name}.jsonl.tmp", folder / f"{name}.jsonl")
            log.info("%s: %d turns, %.1f minutes", name, len(lines), at / 1800)
    finally:
        for voice in voices.values():
            voice.close()


def _variant(lexicon: Lexicon, gloss: str, split: str, rng: np.random.Generator) -> str:
    return str(rng.choice(train_variants(lexicon, gloss) if split == "train" else lexicon[gloss].variant_names))


def _some_emotion(rng: np.random.Generator) -> Emotion:
    if rng.random() < 0.3:
        return Emotion()
    return Emotion(str(rng.choice(EMOTIONS[1:])), float(rng.integers(3, 11)) / 10)


class MotionCorpus:
    """The turns of one split, or the first `limit` of them, in memory (float16)."""

    def __init__(self, folder: Path, split: str, limit: int | None = None) -> None:
        turns: list[TaughtTurn] = []
        features, sounds, base = [], [], 0
        for path in sorted(folder.glob(f"{split}_*.jsonl")):
            if limit is not None and len(turns) >= limit:
                break
            with np.load(path.with_suffix(".npz"), allow_pickle=False) as data:
                features.append(data["features"])
                sounds.append(data["prosody"])
            for line in path.read_text().splitlines():
                raw = json.loads(line)
                raw["start"] += base
                turns.append(TaughtTurn(**raw))
            base += len(features[-1])
        if not turns:
            raise FileNotFoundError(f"no shards of split {split!r} in {folder}: make them with `visavis train corpus`")
        self.turns = turns[:limit]
        last = self.turns[-1].start + self.turns[-1].frames
        self.features: NDArray[np.float16] = np.concatenate(features)[:last]
        self.prosody: NDArray[np.float16] = np.concatenate(sounds)[:last]

    @property
    def seconds(self) -> float:
        """Length of all turns together."""
        return len(self.features) / 30

    def windows(self, batch: int, frames: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], list[TaughtTurn]]:
        """Random windows inside single turns: rows (batch, frames) and the turns they are of."""
        lengths = np.array([max(turn.frames - frames + 1, 0) for turn in self.turns], dtype=np.float64)
        picks = rng.choice(len(self.turns), size=batch, p=lengths / lengths.sum())
        rows = np.stack([
            self.turns[i].start + rng.integers(0, int(lengths[i])) + np.arange(frames) for i in picks
        ])  # fmt: skip
        return rows, [self.turns[i] for i in picks]


def clause_spans(
    text: str, words: Sequence[Word], speech_end_s: float, end_step: int
) -> list[tuple[int, int, int, int]]:
    """Clauses of a turn as (first word, last word + 1, first step, last step + 1); the last one holds the tail.

    A step belongs to the clause that contains its centre; the pause after a clause belongs to it.
    """
    spans, word, step = [], 0, 0
    clauses = split_clauses(text)
    for i, clause in enumerate(clauses):
        last = min(word + len(clause.split()), len(words))
        if i + 1 < len(clauses) and last < len(words):
            until = min(step_count(words[last].start_s - STEP_S / 2), end_step)
        else:
            until = end_step
        if until > step:
            spans.append((word, last, step, until))
        word, step = last, max(step, until)
    return spans


def move_examples(
    turn: TaughtTurn, codes: NDArray[np.integer], parts: Sequence[str] = PARTS
) -> Iterator[tuple[MovePrompt, MovePlan]]:
    """The MOVE examples of a turn, one a clause, each with the steps before it as context.

    A listener does not know where the clauses end: its turn is one example, and its words stand where they were heard.

    Args:
        turn: whose.
        codes: (S, P) its motion tokens.
        parts: names of the P parts.
    """
    words, phases = turn.spoken, turn.phases
    total = len(codes)
    forced = np.zeros(codes.shape, bool)
    for (_, _, limbs), p in zip(turn.gestures, phases, strict=True):
        for step in forced_steps(p, 0, total):
            forced[step] |= [limb_of(part) in limbs for part in parts]
    if turn.mode == "listen":
        partner = {"speech": 7, "stress": 7, "boundary": 8, "silence": 8, "tail": 8}
        marks = [partner[CUES[mark]] for mark in cues(words, (), 0, total, turn.speech_end_s)]
        steps = move_steps(words_heard(words, 0, total), marks, codes, forced)
        yield MovePrompt("listen", turn.felt), MovePlan(tuple(steps))
        return
    steps = []
    for first_word, last_word, first, last in clause_spans(turn.text, words, turn.speech_end_s, total):
        texts = words_by_step(words[first_word:last_word], first, last)
        marks = cues(words, phases, first, last, turn.speech_end_s, turn.beats_s)
        clause = move_steps(texts, marks, codes[first:last], forced[first:last])
        yield MovePrompt("speak", turn.felt, tuple(steps[-MAX_CONTEXT_STEPS:])), MovePlan(tuple(clause))
        steps += clause
