"""The motion corpus seen through the codec: motion tokens, what is decoded of them, and MOVE examples.

What the tokens do not carry, the rhythm of the speech, is laid over it here for the refiner to learn.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from visavis.finetune.codec_corpus import performer_of
from visavis.finetune.motion_corpus import MotionCorpus, TaughtTurn, move_examples
from visavis.finetune.teacher import beating
from visavis.motion.motion import Motion
from visavis.refiner.sampler import motion_features, with_features
from visavis.tokenizers.codec import MotionCodec, PartCodec
from visavis.tokenizers.turn_language import Example, move_example
from visavis.tokenizers.vocabulary import JointVocabulary

__all__ = ["beating_features", "beating_motion", "decoded_features", "move_token_examples", "turn_codes"]


def turn_codes(corpus: MotionCorpus, turn: TaughtTurn, codec: MotionCodec) -> NDArray[np.int64]:
    """(S, P) motion tokens of a turn."""
    return codec.encode(_motion(corpus, turn))


def _motion(corpus: MotionCorpus, turn: TaughtTurn) -> Motion:
    features = corpus.features[turn.start : turn.start + turn.frames].astype(np.float32)
    return with_features(Motion.rest(turn.frames), features)


@torch.inference_mode()
def decoded_features(
    corpus: MotionCorpus, codec: MotionCodec, path: Path, substitute: float = 0.04
) -> NDArray[np.float16]:
    """What the codec makes of the corpus, (frames, 264) float16 in the file `path`, made where it is missing.

    A share `substitute` of the tokens is replaced by near ones, as a language model would get them wrong.
    """
    if path.exists():
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    temporary = path.with_suffix(".tmp.npy")
    out = open_memmap(temporary, mode="w+", dtype=np.float16, shape=corpus.features.shape)
    rng = np.random.default_rng(0)
    for turn in corpus.turns:
        codes = turn_codes(corpus, turn, codec)
        for column, part in enumerate(codec.config.parts):
            codes[:, column] = _mistaken(codec.network(part), codes[:, column], substitute, rng)
        made = codec.decode(codes).slice(0, turn.frames)
        out[turn.start : turn.start + turn.frames] = motion_features(made).astype(np.float16)
    out.flush()
    temporary.rename(path)
    return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]


def beating_features(corpus: MotionCorpus, path: Path) -> NDArray[np.float16]:
    """The corpus in the rhythm of its speech, (frames, 264) float16 in the file `path`, made where it is missing."""
    if path.exists():
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    temporary = path.with_suffix(".tmp.npy")
    out = open_memmap(temporary, mode="w+", dtype=np.float16, shape=corpus.features.shape)
    for turn in corpus.turns:
        rows = slice(turn.start, turn.start + turn.frames)
        out[rows] = motion_features(beating_motion(turn, _motion(corpus, turn)))
    out.flush()
    temporary.rename(path)
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


def move_token_examples(out: Path, split: str, vocabulary: JointVocabulary) -> Iterator[tuple[str, Example]]:
    """MOVE examples of a split as token sequences, named `speak` and `listen`."""
    codec = MotionCodec.load(out / "codec")
    corpus = MotionCorpus(out / "corpora" / "motion", split)
    for turn in corpus.turns:
        for prompt, plan in move_examples(turn, turn_codes(corpus, turn, codec), codec.config.parts):
            yield prompt.mode, move_example(prompt, plan, vocabulary)
