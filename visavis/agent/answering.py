"""What kind of line it is that somebody says, and so what whoever answers it feels, and how strongly.

REPLY's model has read some eighty wordings of every kind of news, worry or insult, too few to know the next one. Here
MiniLM reads the line, with low-rank changes learnt for this (`visavis.finetune.low_rank`), and a linear head over four
of its layers names the kind: a loss, a danger, thanks, a question. Each kind comes with the emotions of its replies and
their intensities. It decides nothing: the planner weighs it with what the model thinks, and the model finds the words,
which follow from both: a weak sadness declines, a strong one consoles.
`python -m visavis.finetune.replies.train_answering` trains it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from visavis.emotion import EMOTIONS
from visavis.retrieval.embedder import ADAPTED, Encoder, changed
from visavis.retrieval.heads import Shapes, load_heads, save_heads
from visavis.retrieval.layers import WIDTH, read

__all__ = ["ASKING", "DEFAULT_ANSWERING", "KINDS", "RANK", "STRENGTHS", "Answering"]

DEFAULT_ANSWERING: Final = Path(__file__).parent / "data" / "answering.safetensors"
# Of lines; those of `visavis/finetune/replies/acts.yaml`, and `remark`, a statement that is answered neutrally.
KINDS: Final = (
    "agreement", "anger", "apology", "bad_news", "compliment", "crisis", "disgust", "emergency", "farewell",
    "good_news", "greeting", "how_are_you", "insult", "joke", "other_language", "remark", "robot", "small_talk",
    "statement", "surprise", "surprise_me", "thanks", "unclear", "unknown", "what_can_you_do", "who_are_you", "worry",
)  # fmt: skip
# Those whose speaker may want to hear what is on a card; with the others something is told, or done to the agent.
ASKING: Final = ("robot", "surprise_me", "unclear", "unknown", "what_can_you_do", "who_are_you")
STRENGTHS: Final = 11  # intensities 0, 0.1, ..., 1
RANK: Final = 16  # of the changes

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Answering:
    """Who says it; K = 27 kinds in the order of `KINDS`, E = 7 emotions in the order of `EMOTIONS`, all float32.

    weight: (K, WIDTH) and bias (K,) of the head.
    felt: (K, E, STRENGTHS) the chances of emotion and intensity in the replies to a kind; each kind's sum to 1.
    changes: `LAYER.down` (RANK, in) and `LAYER.up` (out, RANK) of every adapted matrix of MiniLM.
    """

    weight: Array
    bias: Array
    felt: Array
    changes: Mapping[str, Array]

    @staticmethod
    @functools.cache
    def default() -> Answering:
        """The one that ships."""
        return Answering.load(DEFAULT_ANSWERING)

    @functools.cached_property
    def encoder(self) -> Encoder:
        """MiniLM with the changes in it."""
        return changed(self.changes)

    def kinds(self, line: str) -> Array:
        """(K,) chances that `line` is of a kind; they sum to 1."""
        logits = self.weight @ read([line], self.encoder)[0].features + self.bias
        mass = np.exp(logits - logits.max())
        return np.asarray(mass / mass.sum(), np.float32)

    def chances(self, kinds: Array) -> Array:
        """(E, STRENGTHS) chances of what whoever answers feels, and how strongly, from those of kinds (K,)."""
        return np.asarray(np.tensordot(kinds, self.felt, 1), np.float32)

    def save(self, path: Path) -> None:
        """Write it, as float16."""
        save_heads(path, {"weight": self.weight, "bias": self.bias, "felt": self.felt, **self.changes})

    @classmethod
    def load(cls, path: Path) -> Answering:
        """Read what `save` wrote.

        Raises:
            FileFormatError: the file is missing or holds something else.
        """
        count = len(KINDS)
        shapes: dict[str, tuple[int, ...]] = {
            "weight": (count, WIDTH), "bias": (count,), "felt": (count, len(EMOTIONS), STRENGTHS),
        }  # fmt: skip
        changes = _changes()
        remedy = "run `python -m visavis.finetune.replies.train_answering`"
        read = load_heads(path, {**shapes, **changes}, what="the head of answering", remedy=remedy)
        return cls(read["weight"], read["bias"], read["felt"], {name: read[name] for name in changes})


def _changes() -> Shapes:
    """The changes and their shapes."""
    wide = {"intermediate.dense": (1, 4), "output.dense": (4, 1)}  # in and out, in widths of a layer
    out: dict[str, tuple[int, ...]] = {}
    for layer in range(6):
        for part in ADAPTED:
            into, outof = wide.get(part, (1, 1))
            name = f"encoder.layer.{layer}.{part}"
            out[f"{name}.down"] = (RANK, 384 * into)
            out[f"{name}.up"] = (384 * outof, RANK)
    return out
