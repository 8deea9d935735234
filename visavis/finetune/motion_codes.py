"""The motion corpus seen through the codec: motion tokens, what is decoded of them, and MOVE examples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from visavis.finetune.motion_corpus import MotionCorpus, TaughtTurn, move_examples
from visavis.motion.skeleton import ARM_BONES, CORE_BONES
from visavis.tokenizers.codec import PARTS, MotionCodec
from visavis.tokenizers.turn_language import Example, move_example
from visavis.tokenizers.vocabulary import JointVocabulary

__all__ = ["decoded_features", "move_token_examples", "turn_codes"]

_CORE, _ARM = 6 * len(CORE_BONES), 6 * len(ARM_BONES)
_COLUMNS = {
    "core": slice(0, _CORE),
    "left": slice(_CORE, _CORE + _ARM),
    "right": slice(_CORE + _ARM, _CORE + 2 * _ARM),
}


@torch.inference_mode()
def turn_codes(corpus: MotionCorpus, turn: TaughtTurn, codec: MotionCodec) -> NDArray[np.int64]:
    """(S, 3) motion tokens of a turn."""
    x = corpus.features[turn.start : turn.start + turn.frames].astype(np.float32)
    x = np.pad(x, ((0, -len(x) % codec.config.frames_per_step), (0, 0)), mode="edge")
    columns = []
    for part in PARTS:
        net = codec.network(part)
        columns.append(net.quantize(net.embed(torch.from_numpy(x[:, _COLUMNS[part]])[None]))[0].numpy())
    return np.stack(columns, axis=-1)


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
        for column, part in enumerate(PARTS):
            net = codec.network(part)
            ids = torch.from_numpy(codes[:, column])
            near = (net.codebook[ids] @ net.codebook.T).topk(8, dim=-1).indices
            pick = near[torch.arange(len(ids)), torch.from_numpy(rng.integers(1, 8, len(ids)))]
            wrong = torch.from_numpy(rng.random(len(ids)) < substitute)
            ids = torch.where(wrong, pick, ids)
            made = net.render(net.codebook[ids][None])[0, : turn.frames].numpy()
            out[turn.start : turn.start + turn.frames, _COLUMNS[part]] = made.astype(np.float16)
    out.flush()
    temporary.rename(path)
    return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]


def move_token_examples(out: Path, split: str, vocabulary: JointVocabulary) -> Iterator[tuple[str, Example]]:
    """MOVE examples of a split as token sequences, named `speak` and `listen`."""
    codec = MotionCodec.load(out / "codec")
    corpus = MotionCorpus(out / "corpora" / "motion", split)
    for turn in corpus.turns:
        for prompt, plan in move_examples(turn, turn_codes(corpus, turn, codec)):
            yield prompt.mode, move_example(prompt, plan, vocabulary)
