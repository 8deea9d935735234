"""`visavis train`: corpora and every shipped model, each by one command, each resumable.

    visavis train corpus    text and motion corpora in OUT/corpora; once OUT/codec is there, as tokens, too
    visavis train codec     OUT/codec, from a corpus of its own, which it makes first
    visavis train refiner   OUT/refiner, from the motion corpus and the codec
    visavis train refiner --modes    OUT/refiner_modes: the one that also fills in, edits and makes motion from sound
    visavis train planner   OUT/planner, from all corpora and the codec; OUT/reader comes with the corpora
    visavis train planner --base NAME    OUT/planner-NAME, from the same corpora: `train_base`

Nothing that the planner's training reads is then left to make: a machine lent for minutes only trains. `--careful`, of
corpus and planner, lets MOVE learn from codes chosen by what is decoded instead of the nearest ones.

`--smoke` does the same on tiny data in about a minute. `python -m visavis.finetune.ship OUT` moves finished models into
the package and writes their fingerprint.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from visavis.errors import UsageError

if TYPE_CHECKING:
    from visavis.finetune.motion_corpus import MotionCorpus
    from visavis.finetune.token_corpus import TokenCorpus
    from visavis.tokenizers.turn_language import Example
    from visavis.tokenizers.vocabulary import JointVocabulary

__all__ = ["Sizes", "train", "train_on_base"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    motion_turns: int = 16_000
    motion_heard: int = 6_000  # more, as what is answered hangs on single words
    motion_dev: int = 200
    replies: int = 120_000
    acts: int = 80_000
    drills: int = 15_000
    text_dev: int = 1_000
    codec_turns: int = 700
    codec_gestures: int = 1400
    codec_reaches: int = 500
    codec_takes: int | None = None
    codec_steps: int = 2600
    refiner_turns: int = 6_500
    refiner_steps: int = 2500
    planner_tokens: int = 400_000_000
    planner_seconds: float = 5400.0
    processes: int = 2
    judge_epochs: float = 4.0
    modes_steps: int = 4_320
    finder_minutes: float = 50.0  # on a processor; a GPU needs a tenth


# What a token of a task counts in the loss. ACT is learnt soon and then by heart; at low weights MOVE loses its words.
TASK_WEIGHTS = {"act": 0.3, "speak": 0.6, "listen": 0.6, "drill": 0.6, "repeat": 0.3}
SMOKE = Sizes(16, 4, 8, 200, 200, 60, 40, 4, 12, 4, 4, 30, 16, 20, 60_000, 20.0, 1, 0.004, 12, 0.02)
JITTER = 0.5  # of the scores of the second reading of every visit
PLANNER = {"layers": 7, "width": 320, "heads": 5, "hidden": 864}  # 10.9 million parameters with the vocabulary's


def train(what: str, out: Path, smoke: bool = False, modes: bool = False, seed: int = 0, careful: bool = False) -> None:
    """Run one of corpus, codec, planner, refiner.

    Args:
        what: which.
        out: folder of everything.
        smoke: on tiny data.
        modes: the refiner of all modes.
        seed: of codec and refiners.
        careful: of corpus and planner: MOVE learns from codes chosen by what is decoded.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    sizes = SMOKE if smoke else Sizes()
    if what in ("codec", "refiner"):
        {"codec": _codec, "refiner": _refiner_of_modes if modes else _refiner}[what](out, sizes, seed)
    else:
        {"corpus": _corpus, "planner": _planner}[what](out, sizes, careful)


def train_on_base(
    base: str, out: Path, smoke: bool = False, dry_run: bool = False, rank: int | None = None, tokens: int | None = None
) -> None:
    """Train a planner on a base, or with `dry_run` say what that would take."""
    from dataclasses import replace

    from visavis.finetune.lora import LoraTraining
    from visavis.finetune.train_base import SMOKE as SMOKE_BASE
    from visavis.finetune.train_base import train_base

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    given = {key: value for key, value in (("rank", rank), ("tokens", tokens)) if value is not None}
    train_base(base, out, replace(SMOKE_BASE if smoke else LoraTraining(), **given), dry_run=dry_run)


def _needs(path: Path, command: str) -> Path:
    if not path.exists():
        raise UsageError(f"expected {path}, which is not there: run `visavis train {command}` first")
    return path


def _corpus(out: Path, sizes: Sizes, careful: bool) -> None:
    from visavis.finetune import acts, motion_corpus
    from visavis.finetune.replies import train_finder, visits
    from visavis.finetune.replies.corpus import replies
    from visavis.finetune.text_corpus import corpus_texts, write_examples
    from visavis.finetune.text_vocabulary import train_text_vocabulary
    from visavis.tokenizers.turn_language import ReplyPlan, ReplyPrompt

    folder = out / "corpora"
    minutes = sizes.finder_minutes / (10 if torch.cuda.is_available() else 1)
    train_finder.train(out, train_finder.FinderTraining(minutes, threads=sizes.processes), folds=True)
    for split, turns in (("train", sizes.replies), ("dev", sizes.text_dev)):
        visits.write_parts(folder / f"visits_{split}", turns, split, processes=sizes.processes, finders=out)  # type: ignore[arg-type]
    known = acts.material(out / "judges", sizes.judge_epochs)
    for split, n_act in (("train", sizes.acts), ("dev", sizes.text_dev)):
        some = list(visits.read_parts(folder / f"visits_{split}"))

        def both(_: int, v=some, s=split) -> Iterator[tuple[ReplyPrompt, ReplyPlan]]:  # type: ignore
            yield from replies(v, 1, s)
            if s == "train":  # every visit again, in other words and with scores a little off
                yield from replies(v, 2, s, JITTER)

        write_examples(folder / f"reply_{split}.jsonl", 2 * sizes.replies, both)
        write_examples(folder / f"act_{split}.jsonl", n_act, lambda n, s=split: acts.generate(n, known, 1, s))  # type: ignore
    if not (out / "vocabulary").exists():
        train_text_vocabulary(corpus_texts(folder), out / "vocabulary")
    motion_corpus.build(
        folder / "act_train.jsonl", folder / "motion", "train", sizes.motion_turns, heard=sizes.motion_heard
    )
    motion_corpus.build(folder / "act_dev.jsonl", folder / "motion", "dev", sizes.motion_dev)
    if (out / "codec" / "codec.safetensors").exists():
        _lessons(out, sizes, careful)
    else:
        log.info("no codec in %s yet: run this again after `visavis train codec` to write everything as tokens", out)


def _codec(out: Path, sizes: Sizes, seed: int) -> None:
    from visavis.finetune.codec import SHIPPED, CodecTraining, fit
    from visavis.finetune.codec_corpus import CodecCorpus, build
    from visavis.finetune.recordings import FOLDER

    torch.set_num_threads(1)
    folder = out / "corpora" / "codec"
    build(folder, FOLDER, sizes.codec_turns, sizes.codec_gestures, sizes.codec_reaches, sizes.codec_takes)
    corpus = CodecCorpus(folder)
    (out / "codec").mkdir(parents=True, exist_ok=True)
    (out / "codec" / "data.md").write_text(corpus.summary)
    fit(corpus.sample, out / "codec", SHIPPED, CodecTraining(steps=sizes.codec_steps, seed=seed), corpus.at)


def _pairs(out: Path, turns: int) -> tuple[MotionCorpus, NDArray[np.float16], NDArray[np.float16]]:
    """The motion corpus, its motion in the rhythm of the speech, and what the codec makes of it without."""
    from visavis.finetune.motion_codes import beating_features, decoded_features
    from visavis.finetune.motion_corpus import MotionCorpus
    from visavis.tokenizers.codec import MotionCodec

    torch.set_num_threads(1)
    codec = MotionCodec.load(_needs(out / "codec" / "codec.safetensors", "codec").parent)
    corpus = MotionCorpus(_needs(out / "corpora" / "motion", "corpus"), "train", turns)
    beating = beating_features(corpus, out / "corpora" / "beating_train.npy")
    return corpus, beating, decoded_features(corpus, codec, out / "corpora" / "decoded_train.npy")


def _refiner_of_modes(out: Path, sizes: Sizes, seed: int) -> None:
    from visavis.finetune.flow_refiner import FlowTraining, Windows, fit
    from visavis.refiner.flow import FlowConfig
    from visavis.refiner.model import Refiner

    config = FlowConfig()
    windows = Windows(*_pairs(out, sizes.refiner_turns), config.performers)
    before = Refiner.load(_needs(out / "refiner" / "refiner.safetensors", "refiner").parent)
    fit(windows.sample, out / "refiner_modes", config, FlowTraining(steps=sizes.modes_steps, seed=seed), before)


def _refiner(out: Path, sizes: Sizes, seed: int) -> None:
    from visavis.finetune.refiner import RefinerBatch, RefinerTraining, fit

    corpus, clean, decoded = _pairs(out, sizes.refiner_turns)

    def sample(batch: int, frames: int, rng: np.random.Generator) -> RefinerBatch:
        rows, turns = corpus.windows(batch, frames, rng)
        return RefinerBatch(
            torch.from_numpy(clean[rows].astype(np.float32)),
            torch.from_numpy(decoded[rows].astype(np.float32)),
            torch.from_numpy(corpus.prosody[rows].astype(np.float32)),
            torch.tensor([turn.felt.vector for turn in turns]),
        )

    fit(sample, out / "refiner", settings=RefinerTraining(steps=sizes.refiner_steps, seed=seed))


@dataclass(frozen=True)
class _Lessons:
    """What the planner learns from, as tokens, and what its loss is held out on; new models begin with `rows`."""

    vocabulary: JointVocabulary
    drill: TokenCorpus
    move: TokenCorpus
    talk: TokenCorpus
    dev: TokenCorpus
    rows: Path


def _lessons(out: Path, sizes: Sizes, careful: bool) -> _Lessons:
    """All of it, from files where they are there."""
    from visavis.agent.llama import LlamaConfig
    from visavis.finetune.language_model import new_model
    from visavis.finetune.motion_codes import check_marks, move_token_examples
    from visavis.finetune.text_corpus import act_examples, corpus_texts, recall_drill, reply_examples
    from visavis.finetune.token_corpus import TokenCorpus
    from visavis.tokenizers.codec import MotionCodec
    from visavis.tokenizers.vocabulary import JointVocabulary

    folder = _needs(out / "corpora", "corpus")
    text = JointVocabulary.load(_needs(out / "vocabulary", "corpus")).text_model
    manifest = MotionCodec.load(_needs(out / "codec" / "codec.safetensors", "codec").parent).config
    vocabulary = JointVocabulary(text, manifest.parts, manifest.codebook_size)
    rows = folder / "first_rows.safetensors"
    if not rows.exists():
        new_model(vocabulary, LlamaConfig(vocabulary.size, **PLANNER), rows=rows)

    def corpus(name: str, examples: Callable[[], Iterable[tuple[str, Example]]]) -> TokenCorpus:
        path = folder / f"{name}.npz"
        if not path.exists():
            TokenCorpus.build(examples()).save(path)
            log.info("%s is written", path)
        found = TokenCorpus.load(path)
        check_marks(found, vocabulary, path)
        return found

    def moves(split: str) -> Iterator[tuple[str, Example]]:
        return move_token_examples(folder / "motion", out / "codec", split, vocabulary, careful)

    def talk(split: str) -> Iterator[tuple[str, Example]]:
        yield from reply_examples(folder / f"reply_{split}.jsonl", vocabulary)
        yield from act_examples(folder / f"act_{split}.jsonl", vocabulary)

    @functools.cache
    def texts() -> list[str]:
        return sorted(set(islice(corpus_texts(folder), 40_000)))

    def drills() -> Iterator[tuple[str, Example]]:
        """Looking back first: sequences said again, then one card, then several."""
        yield from recall_drill(sizes.drills, vocabulary, texts(), repeats=0.8, most_cards=1)
        yield from recall_drill(2 * sizes.drills, vocabulary, texts(), seed=8)

    def held() -> Iterator[tuple[str, Example]]:
        yield from talk("dev")
        yield from moves("dev")

    kind = "_careful" if careful else ""
    return _Lessons(
        vocabulary,
        corpus("tokens_drill", drills),
        corpus(f"tokens_move{kind}", lambda: moves("train")),
        corpus("tokens_talk", lambda: talk("train")),
        corpus(f"tokens_dev{kind}", held),
        rows,
    )


def _planner(out: Path, sizes: Sizes, careful: bool) -> None:
    from visavis.agent.llama import LlamaConfig
    from visavis.finetune.language_model import PlannerTraining, Stage, new_model, train
    from visavis.finetune.token_corpus import TokenCorpus

    lessons = _lessons(out, sizes, careful)
    full = TokenCorpus.join([lessons.talk, lessons.move, lessons.drill])
    share = sizes.planner_tokens // 20
    # Attention to what was said before comes in minutes; more of it would be time lost for talk.
    train(
        [
            Stage("drill", lessons.drill, share),
            Stage("move", lessons.move, share),
            Stage("all", full, sizes.planner_tokens),
        ],
        lessons.vocabulary,
        out / "planner",
        PlannerTraining(seconds=sizes.planner_seconds, weights=TASK_WEIGHTS),
        new_model(lessons.vocabulary, LlamaConfig(lessons.vocabulary.size, **PLANNER), rows=lessons.rows),
        heldout=lessons.dev,
    )
