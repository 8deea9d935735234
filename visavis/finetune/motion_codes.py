"""The motion corpus seen through the codec: motion tokens, what is decoded of them, and MOVE examples.

What the tokens do not carry, the rhythm of the speech, is laid over it here for the refiner to learn.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from visavis.errors import UsageError
from visavis.finetune.codec_corpus import performer_of
from visavis.finetune.motion_corpus import MotionCorpus, TaughtTurn, move_examples
from visavis.finetune.teacher import beating
from visavis.finetune.token_corpus import TokenCorpus
from visavis.motion.motion import Motion
from visavis.refiner.sampler import motion_features, with_features
from visavis.tokenizers.codec import MotionCodec, PartCodec
from visavis.tokenizers.turn_language import Example, move_example
from visavis.tokenizers.vocabulary import JointVocabulary

__all__ = ["beating_features", "beating_motion", "check_marks", "decoded_features", "move_token_examples", "turn_codes"]

_KEPT = 200  # turns that a kill costs at most: seconds


def turn_codes(corpus: MotionCorpus, turn: TaughtTurn, codec: MotionCodec, careful: bool = False) -> NDArray[np.int64]:
    """(S, P) motion tokens of a turn, the nearest ones or those chosen by what is decoded (`MotionCodec.encode`)."""
    return codec.encode(_motion(corpus, turn), careful)


def _motion(corpus: MotionCorpus, turn: TaughtTurn) -> Motion:
    features = corpus.features[turn.start : turn.start + turn.frames].astype(np.float32)
    return with_features(Motion.rest(turn.frames), features)


def decoded_features(
    corpus: MotionCorpus, codec: MotionCodec, path: Path, substitute: float = 0.04
) -> NDArray[np.float16]:
    """What the codec makes of the corpus, (frames, 264) float16 in the file `path`, made where it is missing.

    A share `substitute` of the tokens is replaced by near ones, as a language model would get them wrong.
    """

    @torch.inference_mode()
    def decoded(number: int, turn: TaughtTurn) -> Motion:
        rng = np.random.default_rng([0, number])
        codes = turn_codes(corpus, turn, codec)
        for column, part in enumerate(codec.config.parts):
            codes[:, column] = _mistaken(codec.network(part), codes[:, column], substitute, rng)
        return codec.decode(codes).slice(0, turn.frames)

    return _made(corpus, path, decoded)


def beating_features(corpus: MotionCorpus, path: Path) -> NDArray[np.float16]:
    """The corpus in the rhythm of its speech, (frames, 264) float16 in the file `path`, made where it is missing."""
    return _made(corpus, path, lambda _, turn: beating_motion(turn, _motion(corpus, turn)))


def _made(corpus: MotionCorpus, path: Path, make: Callable[[int, TaughtTurn], Motion]) -> NDArray[np.float16]:
    """(frames, 264) of what is made of every turn, on disk; a run that was cut goes on where it was."""
    if path.exists():
        made = np.load(path, mmap_mode="r", allow_pickle=False)
        if made.shape != corpus.features.shape:
            raise UsageError(
                f"expected {len(corpus.features)} frames in {path}, as the corpus has; got {len(made)}: it is of "
                "another corpus, remove it"
            )
        return made  # type: ignore[no-any-return]
    temporary, reached = path.with_suffix(".tmp.npy"), path.with_suffix(".turns")
    first = int(reached.read_text()) if reached.exists() and temporary.exists() else 0
    if first:
        out = open_memmap(temporary, mode="r+")
    if not first or out.shape != corpus.features.shape:
        first, out = 0, open_memmap(temporary, mode="w+", dtype=np.float16, shape=corpus.features.shape)
    for number in range(first, len(corpus.turns)):
        turn = corpus.turns[number]
        out[turn.start : turn.start + turn.frames] = motion_features(make(number, turn))
        if (number + 1) % _KEPT == 0:
            out.flush()
            mark = reached.with_suffix(".turns.tmp")
            mark.write_text(str(number + 1))
            os.replace(mark, reached)
    out.flush()
    temporary.rename(path)
    reached.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]


def beating_motion(turn: TaughtTurn, motion: Motion) -> Motion:
    """A turn's motion in the rhythm of its speech, always the same for the same turn; a listener's as it is."""
    if turn.mode != "speak":
        return motion
    rng = np.random.default_rng([turn.performer, zlib.crc32(turn.text.encode())])
    gestures = [(phases, limbs) for phases, (_, _, limbs) in zip(turn.phases, turn.gestures, strict=True)]
    return beating(motion, turn.spoken, turn.felt, performer_of(turn.performer), gestures, rng)


def _mistaken(net: PartCodec, codes: NDArray[np.int64], share: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """(S,) codes, a share of them replaced by one of the seven nearest to it."""
    ids = torch.from_numpy(codes)
    near = torch.cdist(net.codebook[ids], net.codebook).topk(8, dim=-1, largest=False).indices.numpy()
    pick = near[np.arange(len(codes)), rng.integers(1, 8, len(codes))]
    return np.where(rng.random(len(codes)) < share, pick, codes)


def move_token_examples(
    motion: Path, codec_folder: Path, split: str, vocabulary: JointVocabulary, careful: bool = False
) -> Iterator[tuple[str, Example]]:
    """MOVE examples of a split of the corpus in `motion` as token sequences, named `speak` and `listen`; `careful` as
    in `turn_codes`.
    """
    codec = MotionCodec.load(codec_folder)
    corpus = MotionCorpus(motion, split)
    for turn in corpus.turns:
        codes = turn_codes(corpus, turn, codec, careful)
        for prompt, plan in move_examples(turn, codes, codec.config.parts):
            yield prompt.mode, move_example(prompt, plan, vocabulary)


def check_marks(corpus: TokenCorpus, vocabulary: JointVocabulary, path: Path) -> None:
    """Refuse sequences of MOVE in which anything but motion is to be learnt: marks that drifted away from their ids.

    Raises:
        UsageError: there are such sequences.
    """
    move = [place for place, name in enumerate(corpus.names) if name in ("speak", "listen")]
    learnt = corpus.ids[corpus.mask & np.isin(np.repeat(corpus.tasks, np.diff(corpus.starts)), move)]
    motion = [id_ for part in vocabulary.parts for id_ in vocabulary.motion_range(part)]
    wrong = int((~np.isin(learnt, motion)).sum())
    if wrong:
        raise UsageError(
            f"expected only motion tokens to be learnt in the MOVE of {path}, got {wrong} of {len(learnt)} others: it "
            "was made by an older version or for another vocabulary, remove it and run the command again"
        )
