"""A decoder as `visavis.agent.smollm.SmolLM` gives it, with two layers of random numbers, for tests."""

import torch

from visavis.agent import base_reader
from visavis.agent.smollm import SHAPES, WIDTH
from visavis.finetune.replies import smollm_learner, train_base_reader


class SmallSmolLM:
    """Random weights; a piece is a character."""

    def __init__(self, path=None):
        generator = torch.Generator().manual_seed(0)
        self.embedding = torch.randn(256, WIDTH, generator=generator) * 0.3
        self.matrices = {
            (layer, part): (torch.randn(shape, generator=generator) / shape[1] ** 0.5).bfloat16()
            for layer in range(2)
            for part, shape in SHAPES.items()
        }

    def pieces(self, text):
        return [ord(char) % 256 for char in text]

    def rows(self, ids):
        return self.embedding[torch.tensor(ids)]

    def matrix(self, layer, part):
        return self.matrices[layer, part]

    def norm(self, layer, name):
        return torch.ones(WIDTH)


def make_small(monkeypatch):
    """Let everything take this decoder for the real one, and its second layer for those that are changed."""
    for module in (base_reader, train_base_reader):
        monkeypatch.setattr(module, "CHANGED", range(1, 2))
        monkeypatch.setattr(module, "SmolLM", SmallSmolLM)
    monkeypatch.setattr(base_reader, "LAYERS", 2)
    monkeypatch.setattr(smollm_learner, "VOCABULARY", 256)
    return SmallSmolLM()
