"""What was answered to lines like this one: authored exchanges, found by the meaning of both line and answer.

A partner who listens names what was said: "A night shift, no wonder you're tired." Some 42,000 lines with an
answer each were written for this (`visavis/finetune/replies/exchanges.tsv`). A line finds those whose answers fit it:
MiniLM with low-rank changes, learnt so that an answer lies near the lines it may follow and far from others (a dual
encoder, Henderson et al. 2017), beside likeness of the lines. Whether one suits is another's judgement
(`visavis.agent.suiting`); where one does, REPLY's model is given those that do (`visavis.agent.manners`), and chooses.
`python -m visavis.finetune.replies.train_exchanges` trains it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from visavis.agent.answering import KINDS
from visavis.emotion import EMOTIONS
from visavis.retrieval.embedder import DIMENSIONS, Encoder, changed, mean_of
from visavis.retrieval.table_files import readable

__all__ = ["DEFAULT_EXCHANGES", "Exchange", "Exchanges", "unit", "vectors_of"]

DEFAULT_EXCHANGES: Final = Path(__file__).parent / "data" / "exchanges.safetensors"
STEPS: Final = 7  # of a component of either sign, in the file: half a byte
MOST_PIECES: Final = 48
# What decides which are looked at more closely, in nats: how the answer fits the line, likeness of the lines, and the
# chance of the kind.
FITS, LIKE, KIND = 10.0, 20.0, 1.0
SHOWN: Final = 16

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Exchange:
    """An answer that may do: its words and its feeling.

    emotion, level: of `EMOTIONS`, and tenths of intensity; fits, like: cosines of the answer with what the line asks
    for, and of its own line with this one; kind: the chance that this line is of the same kind.
    """

    reply: str
    emotion: str
    level: int
    fits: float = 0.0
    like: float = 0.0
    kind: float = 1.0


@dataclass(frozen=True, eq=False)
class Exchanges:
    """N exchanges. D dimensions.

    replies: N of them; kinds, emotions, levels: (N,) places in `KINDS` and `EMOTIONS`, and tenths of intensity.
    matrix: (D, 384), the directions that are kept; lines, answers: (N, D) of unit length.
    changes: of MiniLM.
    """

    replies: tuple[str, ...]
    kinds: NDArray[np.int64]
    emotions: NDArray[np.int64]
    levels: NDArray[np.int64]
    matrix: Array
    lines: Array
    answers: Array
    changes: Mapping[str, Array]

    @staticmethod
    @functools.cache
    def default() -> Exchanges:
        """Those that ship, loaded once."""
        return Exchanges.load(DEFAULT_EXCHANGES)

    @functools.cached_property
    def encoder(self) -> Encoder:
        """MiniLM with the changes in it."""
        return changed(self.changes, light=True)

    def near(self, line: str, kinds: Array, most: int = SHOWN) -> list[Exchange]:
        """The likeliest answers, best first, no words twice.

        Args:
            line: what was said.
            kinds: (K,) chances that it is of a kind.
            most: how many.
        """
        vector = unit(vectors_of(self.encoder, [line]) @ self.matrix.T)[0]
        fits, like, kind = self.answers @ vector, self.lines @ vector, kinds[self.kinds]
        scores = FITS * fits + LIKE * like + KIND * np.log(np.maximum(kind, 1e-4))
        out: dict[str, int] = {}
        for place in np.argsort(-scores)[: 4 * most]:
            out.setdefault(self.replies[place], int(place))
            if len(out) == most:
                break
        return [
            Exchange(
                reply, EMOTIONS[self.emotions[i]], int(self.levels[i]), float(fits[i]), float(like[i]), float(kind[i])
            )
            for reply, i in out.items()
        ]

    def kinds_of(self, reply: str) -> frozenset[str]:
        """The kinds of lines that were answered so, word for word."""
        return self._kinds_by_reply.get(reply, frozenset())

    @functools.cached_property
    def answered(self) -> tuple[str, ...]:
        """The kinds of lines that have answers."""
        return tuple(KINDS[kind] for kind in np.unique(self.kinds))

    @functools.cached_property
    def _kinds_by_reply(self) -> dict[str, frozenset[str]]:
        out: dict[str, frozenset[str]] = {}
        for reply, kind in zip(self.replies, self.kinds, strict=True):
            out[reply] = out.get(reply, frozenset()) | {KINDS[kind]}
        return out

    def save(self, path: Path) -> None:
        """Write it: half a byte a component, changes in half precision."""
        arrays: dict[str, NDArray[Any]] = {
            "replies": np.frombuffer("\n".join(self.replies).encode(), np.uint8).copy(),
            "kinds": self.kinds.astype(np.uint8), "emotions": self.emotions.astype(np.uint8),
            "levels": self.levels.astype(np.uint8), "matrix": self.matrix.astype(np.float16),
            "lines": _halved(self.lines), "answers": _halved(self.answers),
            "names": np.frombuffer(json.dumps([KINDS, EMOTIONS]).encode(), np.uint8).copy(),
            **{f"changes.{name}": value.astype(np.float16) for name, value in self.changes.items()},
        }  # fmt: skip
        save_file(arrays, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            FileFormatError: the file is missing or holds something else.
        """
        with readable(path, "the exchanges", "visavis.finetune.replies.train_exchanges"):
            arrays = load_file(path)
            named, felt = json.loads(arrays["names"].tobytes())
            if felt != [*EMOTIONS] or not {*named} <= {*KINDS}:
                raise ValueError("made for other kinds or emotions")
            replies = tuple(arrays["replies"].tobytes().decode().split("\n"))
            kinds, emotions, levels = (arrays[name].astype(np.int64) for name in ("kinds", "emotions", "levels"))
            matrix = arrays["matrix"].astype(np.float32)
            lines, answers = (_whole(arrays[name]) for name in ("lines", "answers"))
            shape = (len(replies), len(matrix))
            if matrix.shape[1:] != (DIMENSIONS,):
                raise ValueError(f"directions {matrix.shape}")
            if (
                not len(kinds) == len(emotions) == len(levels) == len(replies)
                or not lines.shape == answers.shape == shape
            ):
                raise ValueError(
                    f"{len(replies)} replies, {lines.shape} lines and {answers.shape} answers do not belong together"
                )
            if kinds.max() >= len(named) or emotions.max() >= len(EMOTIONS) or levels.max() > 10:
                raise ValueError("a kind, emotion or level is outside")
            kinds = np.array([KINDS.index(name) for name in named])[kinds]  # others may have come since
            changes = {
                name.removeprefix("changes."): value.astype(np.float32)
                for name, value in arrays.items() if name.startswith("changes.")
            }  # fmt: skip
            found = cls(replies, kinds, emotions, levels, matrix, unit(lines), unit(answers), changes)
            _ = found.encoder  # changes of other shapes are found here
        return found


def _halved(vectors: Array) -> NDArray[np.uint8]:
    """(N, D) → (N, D / 2): two components a byte, in steps of a vector's greatest, whose length is lost."""
    greatest = np.maximum(np.abs(vectors).max(1, keepdims=True), 1e-6)
    steps = (np.round(vectors / greatest * STEPS) + STEPS + 1).astype(np.uint8)
    return np.ascontiguousarray(steps[:, ::2] << 4 | steps[:, 1::2])


def _whole(halves: NDArray[np.uint8]) -> Array:
    """(N, D / 2) → (N, D), of any length."""
    steps = np.stack([halves >> 4, halves & 15], -1).reshape(len(halves), -1)
    return steps.astype(np.float32) - (STEPS + 1)


@torch.inference_mode()
def vectors_of(encoder: Encoder, texts: Sequence[str]) -> Array:
    """(N, 384) of unit length, on one thread."""
    out = np.zeros((len(texts), DIMENSIONS), np.float32)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for start in range(0, len(order), 64):
            some = order[start : start + 64]
            encoded = encoder.tokenizer.encode_batch([texts[i] for i in some])
            width = min(MOST_PIECES, max(sum(one.attention_mask) for one in encoded))
            ids = torch.tensor([one.ids[:width] for one in encoded])
            mask = torch.tensor([one.attention_mask[:width] for one in encoded])
            with torch.autocast("cpu", torch.bfloat16):
                states = encoder.states(ids, mask).float()
            out[some] = torch.nn.functional.normalize(mean_of(states, mask), dim=-1).numpy()
    finally:
        torch.set_num_threads(threads)
    return out


def unit(vectors: Array) -> Array:
    """The same vectors, (..., D), of unit length."""
    return (vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)).astype(np.float32)
