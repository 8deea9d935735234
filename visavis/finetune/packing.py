"""Packing: sequences side by side in blocks of one length, so that nothing is padding and none reads another.

Positions begin again with every sequence; without an attention mask transformers takes that as the border between
sequences. Models whose layers carry a state along (linear attention) do not keep to it: `keeps_apart` tries, and then
every sequence has a block for itself.

Legend: N sequences, T tokens of a block.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from visavis.finetune.answer_loss import IGNORED
from visavis.finetune.token_corpus import TokenCorpus

__all__ = ["Blocks", "keeps_apart", "pack"]

POOL = 4096  # sequences among which the best fit is sought


def pack(lengths: np.ndarray, size: int, seed: int, alone: bool = False) -> list[list[int]]:
    """Which sequences share a block: each goes to the fullest block that still has room (best fit, longest first).

    Args:
        lengths: (N,) each at most `size`.
        size: tokens of a block.
        seed: of which sequences can meet; pools of them are packed for themselves.
        alone: every sequence has a block for itself.
    """
    order = np.random.default_rng(seed).permutation(len(lengths))
    if alone:
        return [[int(index)] for index in order]
    out: list[list[int]] = []
    for start in range(0, len(order), POOL):
        some = order[start : start + POOL]
        rooms: list[tuple[int, int]] = []  # (room left, block), sorted
        for index in some[np.argsort(-lengths[some], kind="stable")]:
            length = int(lengths[index])
            place = bisect.bisect_left(rooms, (length, -1))
            if place == len(rooms):
                out.append([])
                room, block = size, len(out) - 1
            else:
                room, block = rooms.pop(place)
            out[block].append(int(index))
            bisect.insort(rooms, (room - length, block))
    return out


@dataclass(frozen=True)
class Blocks(Dataset[dict[str, Tensor]]):
    """A corpus as blocks: input_ids, position_ids and labels, (T,) int64 each.

    Attributes:
        corpus: the sequences, none longer than `size`.
        blocks: from `pack`.
        size: T.
        pad: the id that fills up.
    """

    corpus: TokenCorpus
    blocks: list[list[int]]
    size: int
    pad: int

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        ids = np.full(self.size, self.pad, np.int64)
        labels = np.full(self.size, IGNORED, np.int64)
        positions = np.zeros(self.size, np.int64)
        start = 0
        for index in self.blocks[number]:
            example = self.corpus.sequence(index)
            end = start + len(example.ids)
            ids[start:end] = example.ids
            labels[start:end] = np.where(example.mask, example.ids, IGNORED)
            labels[start] = IGNORED  # nothing before it belongs to it
            positions[start:end] = np.arange(end - start)
            start = end
        positions[start:] = np.arange(self.size - start)
        arrays = {"input_ids": ids, "position_ids": positions, "labels": labels}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


@torch.no_grad()
def keeps_apart(model: Any, length: int = 6) -> bool:
    """Whether a model reads packed sequences as if each stood alone: another first one must not move the second."""
    training = model.training
    model.eval()
    generator = torch.Generator().manual_seed(0)
    first, other, second = torch.randint(model.config.vocab_size, (3, 1, length), generator=generator)
    positions = torch.arange(length).repeat(2)[None].to(model.device)
    out = []
    for before in (first, other):
        ids = torch.cat([before, second], dim=1).to(model.device)
        out.append(model(input_ids=ids, position_ids=positions, use_cache=False).logits[:, length:].float())
    alone = model(input_ids=second.to(model.device), use_cache=False).logits.float()
    model.train(training)
    scale = float(alone.abs().max()) + 1e-6
    return all(float((logits - alone).abs().max()) < 0.02 * scale for logits in out)
