"""What kind of line it is, in the light of the line before, and whether an answer suits it: read by SmolLM2.

MiniLM hears a line alone (`visavis.agent.answering`) and an answer beside it (`visavis.agent.suiting`). "He'd have been
a hundred and ten this spring" is a remark to it, and what follows news of a death is no news. Here the larger reader
(`visavis.agent.base_reader`), where it is installed, reads the line before, the line, and then answers one after the
other, each ended by a line break, with low-rank changes of its own beside its matrices: a linear head names the kind
where the line ends, and another says at the end of every answer how likely a judge would find it passable, and fitting.
Both are joined with what MiniLM says. `python -m visavis.finetune.replies.train_line_reader` trains it; the weights are
in `visavis/models/line_reader`.

Legend: B lines, T ids, N answers, D width.
"""

from __future__ import annotations

import functools
import json
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
from safetensors.torch import load_file
from torch import Tensor

from visavis.agent import smollm
from visavis.agent.answering import KINDS
from visavis.agent.base_reader import BREAK, BaseReader, default_base_reader
from visavis.agent.exchanges import Exchange
from visavis.agent.smollm import WIDTH, SmolLM
from visavis.agent.smollm_layers import Layers, checked_changes
from visavis.agent.suiting import GRADES
from visavis.errors import FileFormatError

__all__ = [
    "CHANGED", "HEADS", "JUDGED", "LAYERS", "LEAST", "WEIGHTS", "LineReader", "Reading", "default_line_reader",
    "joined", "kinds_of", "made_for", "suits_of",
]  # fmt: skip

LAYERS: Final = 20  # what a line is about is told best in the middle of the decoder
CHANGED: Final = range(10, LAYERS)
MAX_BEFORE, MAX_LINE, MAX_ANSWER = 32, 64, 40  # ids that are read; the ends of lines, the beginnings of answers
JUDGED: Final = 5  # of the answers, those that MiniLM likes best; as many as were judged of a line
REMEMBERED: Final = 64
LEAST: Final = 1e-6  # of a chance
WEIGHTS: Final = "line_reader.safetensors"
HEADS: Final = {
    "kinds.weight": (len(KINDS), 2 * WIDTH), "kinds.bias": (len(KINDS),), "kinds.join": (2,),
    "suits.weight": (GRADES, WIDTH), "suits.bias": (GRADES,), "suits.join": (2 * GRADES + 4,),
}  # fmt: skip
_LOADING: Final = threading.Lock()

Array = NDArray[np.float32]


class Reading:
    """The ids of a line after the one before, and of answers to it; `pieces` makes ids of a text.

    Attributes:
        ids: all of them.
        start: where the line begins; stop: where its line break stands.
        ends: (N,) where the breaks of the answers stand.
    """

    def __init__(self, pieces: Any, line: str, before: str = "", answers: Sequence[str] = ()) -> None:
        stop = pieces(BREAK)
        self.ids: list[int] = [*pieces(before)[-MAX_BEFORE:], *stop] if before else []
        self.start = len(self.ids)
        self.ids += [*pieces(line)[-MAX_LINE:], *stop]
        self.stop = len(self.ids) - 1
        self.ends: list[int] = []
        for answer in answers:
            self.ids += [*pieces(answer)[:MAX_ANSWER], *stop]
            self.ends.append(len(self.ids) - 1)


class LineReader:
    """What has been learnt, beside the layers of the larger reader.

    Args:
        base: the decoder's file.
        layers: of the larger reader, at least `LAYERS` of them.
        weights: `layers.N.PART.down` and `.up` of the changes; `kinds.weight` (K, 2 D) and `kinds.bias` (K,) over the
            state where the line ends and the mean over it; `suits.weight` (GRADES, D) and `suits.bias` (GRADES,) over
            the state where an answer ends; `kinds.join` (2,) what the log-chances of kinds count, MiniLM's and these;
            `suits.join` (2 GRADES + 4,) what the log-odds count, and the features of `Suiting`.

    Raises:
        ValueError: some weights are missing, have other shapes or hold what is no number.
    """

    def __init__(self, base: SmolLM, layers: Layers, weights: Mapping[str, Tensor]) -> None:
        for name, shape in HEADS.items():
            value = weights.get(name)
            if value is None or tuple(value.shape) != shape or not value.isfinite().all():
                raise ValueError(
                    f"{name} must be {shape} numbers; got {'none' if value is None else tuple(value.shape)}"
                )
        self.base, self.weights = base, {name: weights[name].float() for name in HEADS}
        self.layers = layers.beside(checked_changes(weights, CHANGED))
        self._remembered = functools.lru_cache(REMEMBERED)(self._kinds)

    @classmethod
    def load(cls, folder: Path, reader: BaseReader) -> LineReader:
        """Read `line_reader.safetensors`, which was learnt beside the changes of `reader`.

        Raises:
            FileFormatError: it is missing, another file, or was learnt for other kinds or beside another reader.
        """
        try:
            weights = load_file(folder / WEIGHTS)
            said = json.loads(weights.pop("made_for").numpy().tobytes())
            if said != {"kinds": [*KINDS], "beside": reader.digest}:
                raise ValueError("it was learnt for other kinds, or beside another larger reader")
            return cls(reader.base, reader.layers, weights)
        except (OSError, ValueError, KeyError, IndexError, RuntimeError, SafetensorError) as error:
            why = " ".join(str(error).split())[:200]
            raise FileFormatError(
                f"expected {WEIGHTS} in {folder}; {why}: train it with "
                "`python -m visavis.finetune.replies.train_line_reader RUNS`"
            ) from error

    def kinds(self, line: str, before: str, heard: Array) -> Array:
        """(K,) chances that `line` is of a kind, after `before` (empty: nothing is), where MiniLM alone says `heard`
        (K,); they sum to 1.
        """
        return joined(heard[None], self.kinds_alone(line, before)[None], self.weights["kinds.join"].tolist())[0]

    def kinds_alone(self, line: str, before: str = "") -> Array:
        """(K,) the same, by this reader alone."""
        return self._remembered(line, before).copy()

    def suits(self, line: str, before: str, found: Sequence[Exchange], features: Array) -> Array:
        """(N,) how likely each answer is at least passable; `features` (N, 6) as of `Suiting.features`, in the light
        of the same kinds.
        """
        both = np.concatenate([self.grades(line, before, [one.reply for one in found]), features], 1)
        return np.asarray(1 / (1 + np.exp(-(both @ self.weights["suits.join"].numpy()))), np.float32)

    @torch.inference_mode()
    def grades(self, line: str, before: str, answers: Sequence[str]) -> Array:
        """(N, GRADES) log-odds that each answer is passable, and fitting, by the words alone, read in this order."""
        if not answers:
            return np.zeros((0, GRADES), np.float32)
        reading = Reading(self.base.pieces, line, before, answers)
        states = self.layers.run(self.base.rows(reading.ids)[None], range(LAYERS), torch.tensor([reading.ends]))
        return np.asarray(suits_of(states, self.weights)[0].numpy(), np.float32)

    @torch.inference_mode()
    def _kinds(self, line: str, before: str) -> Array:
        reading = Reading(self.base.pieces, line, before)
        places = torch.arange(reading.start, reading.stop + 1)[None]
        states = self.layers.run(self.base.rows(reading.ids)[None], range(LAYERS), places)
        logits = kinds_of(states, torch.ones(places.shape), self.weights)
        return np.asarray(logits[0].softmax(0).numpy(), np.float32)


def joined(heard: Array, alone: Array, join: Sequence[float]) -> Array:
    """(N, K) chances of kinds from MiniLM's (N, K) and the reader's (N, K); `join`: what the log-chances of each
    count.
    """
    logs = join[0] * np.log(heard + LEAST) + join[1] * np.log(alone + LEAST)
    mass = np.exp(logs - logs.max(1, keepdims=True))
    return np.asarray(mass / mass.sum(1, keepdims=True), np.float32)


def kinds_of(states: Tensor, mask: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """(B, T, D) states of lines, of which `mask` (B, T) is 1 where there are any → (B, K) logits."""
    states = _even(states)
    last = states[torch.arange(len(states)), mask.sum(1).long() - 1]
    mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    return F.linear(torch.cat([last, mean], 1), weights["kinds.weight"], weights["kinds.bias"])


def suits_of(states: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """(B, N, D) states where answers end → (B, N, GRADES) log-odds."""
    return F.linear(_even(states), weights["suits.weight"], weights["suits.bias"])


def _even(states: Tensor) -> Tensor:
    return F.rms_norm(states.float(), (WIDTH,), eps=smollm.EPSILON)


def made_for(digest: str) -> Tensor:
    """What a file of weights says of itself: for which kinds, and beside which changes they were learnt."""
    return torch.tensor([*json.dumps({"kinds": [*KINDS], "beside": digest}).encode()], dtype=torch.uint8)


def default_line_reader() -> LineReader | None:
    """The one that ships, loaded once; None where SmolLM2 is not installed."""
    reader = default_base_reader()
    with _LOADING:  # who asks while another thread loads it waits for that
        return None if reader is None else _default(reader)


@functools.cache
def _default(reader: BaseReader) -> LineReader | None:
    folder = Path(str(resources.files("visavis.models"))) / "line_reader"
    return LineReader.load(folder, reader) if (folder / WEIGHTS).is_file() else None
