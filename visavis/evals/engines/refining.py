"""Would refining several sessions' chunks in one pass pay? Time of a chunk alone and in company of its length."""

from __future__ import annotations

import time

import torch

from visavis.agent.loading import load_body
from visavis.errors import UsageError
from visavis.evals.first_light.table import Table, median, progress
from visavis.refiner.model import Refiner
from visavis.refiner.sampler import STEPS

__all__ = ["measure"]

FRAMES = (64, 128, 256)
TOGETHER = (1, 2, 4, 8)


@torch.inference_mode()
def measure(rounds: int = 20) -> Table:
    """Processor time a chunk, all Euler steps, at several lengths and several at once (interleaved)."""
    _, refiner = load_body(True)
    if not isinstance(refiner, Refiner):
        raise UsageError("expected the shipped refiner without modes; got another")
    config = refiner.config
    table = Table("The refiner, a chunk, by the processor, when so many are refined in one pass (median of rounds)")
    spent: dict[tuple[int, int], list[float]] = {(frames, count): [] for frames in FRAMES for count in TOGETHER}
    for _ in progress(range(rounds), "rounds"):
        for (frames, count), times in spent.items():
            motion = torch.randn(count, frames, config.features)
            rest = (torch.randn(count, frames, config.prosody), torch.zeros(count, frames))
            felt, when = torch.zeros(count, config.emotions), torch.zeros(count)
            began = time.process_time()
            for _ in range(STEPS):
                refiner(motion, motion, *rest, felt, when)
            times.append((time.process_time() - began) / count)
    for (frames, count), times in spent.items():
        table.add(f"{frames} frames, {count} at once", median(times), "ms", 1000)
    return table
