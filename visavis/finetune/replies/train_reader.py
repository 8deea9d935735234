"""Train the reader of facts: `python -m visavis.finetune.replies.train_reader RUNS`, after its visits were drawn.

For every line of the user one choice among the facts that RECALL would read and "none of them" (a listwise softmax),
so that the logits are probabilities as `visavis.agent.recall` uses them. Three readers: one for each fold of settings
and people, whose readings of the other fold are what REPLY learns from and the mix is fitted on, and the one that
ships, which learns from both. Measured on dev settings and dev people, which nothing learns from. Low-rank changes of
MiniLM, AdamW, bf16 products, a falling rate, on a GPU where there is one; a checkpoint every minute, continued by
itself.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from visavis.agent.reader import KINDS, MIX_PARTS, FactReader, Mix, pair_encoder
from visavis.agent.recall import FEATURES, READ, Near, weigh
from visavis.errors import UsageError
from visavis.finetune.checkpoints import Checkpointer
from visavis.finetune.low_rank import Adapted, new_changes
from visavis.finetune.replies.visits import Visit, draw, flat, read_parts
from visavis.finetune.replies.worlds import Split
from visavis.retrieval.embedder import DIMENSIONS, Encoder

__all__ = ["Line", "ReaderTraining", "cross_fit", "finish", "fit", "fit_mix", "lines", "measure", "new_weights", "read"]

log = logging.getLogger(__name__)

RANK = 24
HIDDEN = 64
MIXED = 32  # hidden units of the mix
MIX_DROPOUT = 0.1
MIX_LINES = 32_000
DECAY = 0.01
LEARNT = 6  # facts of a line that are learnt from: what is right, the nearest, and a far one
ASKING = ("known", "greet_known", "follow_up")
DECLINED = ("near", "far", "unknown", "greet_unknown")


@dataclass(frozen=True)
class ReaderTraining:
    """Settings of a run: it ends after its passes over the lines or its time, whichever is first.

    Attributes:
        passes: over the lines.
        minutes: of the clock, over all resumptions.
        rate: the highest; pairs: (question, fact) pairs a step; dropout: of what the changes read.
        seed: of order and new weights.
    """

    passes: float = 2.0
    minutes: float = 80.0
    rate: float = 8e-4
    pairs: int = 192
    dropout: float = 0.1
    seed: int = 1


@dataclass(frozen=True)
class Line:
    """A line of the user, the facts that are read for it, and which of them answer."""

    act: str
    person: bool  # a person written by hand, not a setting
    fold: int
    question: str
    facts: tuple[str, ...]
    right: tuple[bool, ...]
    near: Near
    answerable: bool  # some fact answers, read or not

    @property
    def teaches(self) -> bool:
        """Whether there is a right choice: what answers is among what is read, or nothing answers."""
        return bool(self.facts) and (any(self.right) or not self.answerable)


def lines(visits: Iterable[Visit]) -> Iterator[Line]:
    """The lines of visits, in their order."""
    for visit, asked in flat(visits):
        facts = visit.persona.facts
        turn = asked.turn
        right = tuple(facts[place] in turn.answers for place in asked.near.places)
        yield Line(
            turn.act, visit.by_hand, visit.fold, asked.question, tuple(visit.read(asked)), right, asked.near,
            bool(turn.answers),
        )  # fmt: skip


def new_weights(seed: int, encoder: Encoder | None = None) -> dict[str, Tensor]:
    """Changes that change nothing yet, and a head."""
    encoder = encoder or pair_encoder()
    generator = torch.Generator().manual_seed(seed)
    out = new_changes(encoder, RANK, generator)
    out["kinds"] = encoder.weights["embeddings.token_type_embeddings.weight"].clone()
    out["hidden"] = torch.randn(HIDDEN, DIMENSIONS, generator=generator) / math.sqrt(DIMENSIONS)
    out["hidden_bias"] = torch.zeros(HIDDEN)
    out["out"] = torch.randn(HIDDEN, generator=generator) / math.sqrt(HIDDEN)
    out["bias"] = torch.tensor(-1.0)
    mix = first_mix()
    out |= {f"mix.{part}": torch.as_tensor(getattr(mix, part), dtype=torch.float32) for part in MIX_PARTS}
    return {name: value.requires_grad_() for name, value in out.items()}


class _Learner(FactReader):
    """A reader whose changes are still learnt."""

    def __init__(self, weights: dict[str, Tensor], dropout: float) -> None:
        self.encoder, self.weights = Adapted(weights, dropout), weights
        device = weights["kinds"].device
        own = {name: value.to(device) for name, value in self.encoder.weights.items()}
        self.encoder.weights = own | {KINDS: weights["kinds"]}
        self.head = {name: weights[name] for name in ("hidden", "hidden_bias", "out", "bias")}
        self.mix = first_mix()
        self.pieces = {}


def _loss(learner: FactReader, batch: Sequence[Line]) -> Tensor:
    pairs = [(line.question, fact) for line in batch for fact in line.facts]
    device = learner.head["bias"].device
    with torch.autocast(device.type, torch.bfloat16):
        logits = learner.logits(pairs).float()
    most = max(len(line.facts) for line in batch)
    there, hit = np.zeros((2, len(batch), most + 1), bool)
    there[:, -1] = True
    for row, line in enumerate(batch):
        there[row, : len(line.facts)] = True
        hit[row, : len(line.right)] = line.right
        hit[row, -1] = not any(line.right)
    z = torch.full(there.shape, -1e9, device=device)
    mask = torch.from_numpy(there[:, :-1]).to(device)
    z[:, :-1] = z[:, :-1].masked_scatter(mask, logits)
    z[:, -1] = 0.0
    good = z.masked_fill(~torch.from_numpy(hit).to(device), -1e9)
    return (torch.logsumexp(z, 1) - torch.logsumexp(good, 1)).mean()


def _fewer(line: Line, rng: np.random.Generator) -> Line:
    """The line with fewer facts, the most instructive ones."""
    if len(line.facts) <= LEARNT:
        return line
    kept = [i for i, right in enumerate(line.right) if right]
    rest = [i for i in range(len(line.facts)) if i not in kept]
    near = rest[: max(LEARNT - 1 - len(kept), 1)]
    kept += [*near, int(rng.choice(rest[len(near) :]))]
    return replace(line, facts=tuple(line.facts[i] for i in kept), right=tuple(line.right[i] for i in kept))


def _batches(some: Sequence[Line], pairs: int, rng: np.random.Generator, pool: int = 40) -> Iterator[list[Line]]:
    """One pass in random order; lines of like length together, so that little is padding."""
    per_batch = max(1, pairs // LEARNT)
    order = rng.permutation(len(some))
    for first in range(0, len(order), pool * per_batch):
        chosen = [_fewer(some[i], rng) for i in order[first : first + pool * per_batch]]
        chosen.sort(key=lambda line: len(line.question) + max(len(fact) for fact in line.facts))
        starts = list(range(0, len(chosen), per_batch))
        for place in rng.permutation(len(starts)):
            yield chosen[starts[place] : starts[place] + per_batch]


def fit(out: Path, some: Iterable[Line], settings: ReaderTraining | None = None) -> FactReader:
    """Train on lines and write weights (with a mix that only listens to the reader), curve and settings in `out`."""
    settings = settings or ReaderTraining()
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    taught = [line for line in some if line.teaches]
    weights = {name: value.detach().to(device).requires_grad_() for name, value in new_weights(settings.seed).items()}
    learner = _Learner(weights, settings.dropout)
    learnt = [value for name, value in weights.items() if not name.startswith("mix.")]  # these are fitted at the end
    optimizer = torch.optim.AdamW(learnt, lr=settings.rate, weight_decay=DECAY)
    checkpointer = Checkpointer(out / "checkpoint.pt")
    step, before = 0, 0.0
    if state := checkpointer.load():
        with torch.no_grad():
            for name, value in weights.items():
                value.copy_(state["weights"][name])
        optimizer.load_state_dict(state["optimizer"])
        step, before = state["step"], state["elapsed_s"]
    began = time.monotonic()
    per_pass = max(1, -(-len(taught) // max(1, settings.pairs // LEARNT)))
    total = max(1, round(per_pass * settings.passes))

    def elapsed() -> float:
        return before + time.monotonic() - began

    def save() -> None:
        checkpointer.save(
            {
                "weights": {name: value.detach() for name, value in weights.items()},
                "optimizer": optimizer.state_dict(),
                "step": step,
                "elapsed_s": elapsed(),
            }
        )

    def endless() -> Iterator[list[Line]]:
        number = step // per_pass
        while True:
            yield from _batches(taught, settings.pairs, np.random.default_rng((settings.seed, number)))
            number += 1

    losses = torch.zeros(2, device=device)
    with open(out / "curve.csv", "a", newline="") as file:
        curve = csv.writer(file)
        for batch in endless():
            along = max(step / total, elapsed() / (60 * settings.minutes))
            if along >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = settings.rate * min(1.0, (step + 1) / 50) * (1 - 0.95 * along)
            loss = _loss(learner, batch)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(learnt, 1.0)
            optimizer.step()
            losses += torch.stack([loss.detach(), torch.ones_like(loss)])
            step += 1
            if step % 25 == 0:
                mean = float(losses[0] / losses[1])
                curve.writerow([step, f"{mean:.4f}", f"{elapsed():.0f}"])
                file.flush()
                log.info("step %d of %d, loss %.3f (%.0f s)", step, total, mean, elapsed())
                losses.zero_()
            if checkpointer.due():
                save()
    save()
    _write(out, weights)
    facts: dict[str, int | float | str] = {"rank": RANK, "seed": settings.seed, "steps": step, "lines": len(taught)}
    facts |= {"minutes": round(elapsed() / 60, 1), "device": device.type}
    (out / "reader.json").write_text(json.dumps(facts, indent=1) + "\n")
    return FactReader.load(out)


def _write(out: Path, weights: dict[str, Tensor]) -> None:
    save_file(
        {n: v.detach().to("cpu", torch.float16).contiguous() for n, v in weights.items()}, out / "reader.safetensors"
    )


@torch.inference_mode()
def read(reader: FactReader, some: Sequence[Line], at_once: int = 1024) -> NDArray[np.float32]:
    """What a reader says of every fact of every line, one after the other; bf16 is enough to learn from."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    reader = reader.to(device)
    pairs = [(line.question, fact) for line in some for fact in line.facts]
    order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]) + len(pairs[i][1]))
    out = torch.zeros(len(pairs), device=device)
    for first in range(0, len(order), at_once):
        places = order[first : first + at_once]
        with torch.autocast(device.type, torch.bfloat16):
            out[torch.tensor(places, device=device)] = reader.logits([pairs[i] for i in places]).float()
    return out.cpu().numpy()


def cross_fit(runs: Path, settings: ReaderTraining | None = None) -> None:
    """Train the readers of the folds and the one that ships, from RUNS/corpora/visits_*, and keep what they read.

    Writes RUNS/folds/0 and 1, RUNS/reader, and RUNS/corpora/read_train.npy (of the fold that did not learn from it)
    and read_dev.npy: logits in the order of the lines.
    """
    settings = settings or ReaderTraining()
    corpora = runs / "corpora"
    train = list(lines(read_parts(corpora / "visits_train")))
    if len({line.fold for line in train}) < 2:
        raise UsageError("expected visits to personas of both folds, got one only: draw more (`visavis train corpus`)")
    counts = np.array([len(line.facts) for line in train])
    ends = np.cumsum(counts)
    out = np.zeros(int(ends[-1]), np.float32)
    for fold in (0, 1):
        reader = fit(runs / "folds" / str(fold), [line for line in train if line.fold == fold], settings)
        others = [i for i, line in enumerate(train) if line.fold != fold]
        said = read(reader, [train[i] for i in others])
        at = np.concatenate([np.arange(ends[i] - counts[i], ends[i]) for i in others])
        out[at] = said
    np.save(corpora / "read_train.npy", out)
    reader = fit(runs / "reader", train, settings)
    np.save(corpora / "read_dev.npy", read(reader, list(lines(read_parts(corpora / "visits_dev")))))


def finish(runs: Path, mix_lines: int = MIX_LINES) -> FactReader:
    """Fit the mix on readings of personas that the reader never saw, and write it into RUNS/reader."""
    train = list(lines(read_parts(runs / "corpora" / "visits_train")))
    said = np.load(runs / "corpora" / "read_train.npy", allow_pickle=False)
    mix = fit_mix(train, said, mix_lines)
    weights = load_file(runs / "reader" / "reader.safetensors")
    for part in MIX_PARTS:
        weights[f"mix.{part}"] = torch.as_tensor(getattr(mix, part))
    _write(runs / "reader", weights)
    return FactReader.load(runs / "reader")


def first_mix() -> Mix:
    """What only listens to the reader."""
    one, wide = np.ones(len(FEATURES)), np.zeros((len(FEATURES), MIXED))
    wide[0, 0] = 0.1
    return Mix(0 * one, one, wide, np.zeros(MIXED), np.eye(MIXED)[0] * 10.0, np.zeros(()))


def fit_mix(some: Sequence[Line], said: NDArray[np.float32], count: int = MIX_LINES, seed: int = 1) -> Mix:
    """How much the reader and meaning count, on at most `count` lines; `said` are the logits of all lines."""
    ends = np.cumsum([len(line.facts) for line in some])
    if len(said) != ends[-1]:
        raise UsageError(
            f"expected {ends[-1]} readings of these lines, got {len(said)}: train the reader on them again"
        )
    chosen = [i for i in np.random.default_rng(seed).permutation(len(some)) if some[i].teaches][:count]
    every: list[NDArray[np.float64]] = []
    right: list[NDArray[np.bool_]] = []
    for i in chosen:
        line = some[i]
        read = said[ends[i] - len(line.facts) : ends[i]].astype(np.float64)
        every.append(weigh(line.near, read, line.question, line.facts))
        right.append(np.array(line.right))
    whole = np.concatenate(every)
    mean, scale = whole.mean(0), whole.std(0) + 1e-2  # what is hardly ever there must not shout
    rows = torch.zeros(len(every), READ, len(FEATURES))
    hits, there = (
        torch.zeros(len(every), READ + 1, dtype=torch.bool),
        torch.zeros(len(every), READ + 1, dtype=torch.bool),
    )
    for i, (x, hit) in enumerate(zip(every, right, strict=True)):
        rows[i, : len(x)] = torch.from_numpy((x - mean) / scale)
        hits[i, : len(x)] = torch.from_numpy(hit)
        there[i, : len(x)] = True
        hits[i, -1], there[i, -1] = not hit.any(), True
    torch.manual_seed(seed)
    hidden, out = torch.nn.Linear(len(FEATURES), MIXED), torch.nn.Linear(MIXED, 1)
    optimizer = torch.optim.AdamW([*hidden.parameters(), *out.parameters()], lr=5e-3, weight_decay=3e-2)
    epochs = 25
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = 5e-3 * (1 - epoch / epochs)
        for batch in torch.randperm(len(rows)).split(256):
            z = out(torch.nn.functional.dropout(torch.tanh(hidden(rows[batch])), MIX_DROPOUT))[..., 0]
            z = torch.nn.functional.pad(z, (0, 1)).masked_fill(~there[batch], -1e9)
            good = z.masked_fill(~hits[batch], -1e9)
            loss = (torch.logsumexp(z, 1) - torch.logsumexp(good, 1)).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    learnt = [x.detach().double().numpy() for x in (hidden.weight.T, hidden.bias, out.weight[0], out.bias[0])]
    return Mix(mean, scale, *learnt)


def _auc(high: Sequence[float], low: Sequence[float]) -> float:
    """Probability that a value of `high` exceeds one of `low`; NaN if either is empty."""
    if not high or not low:
        return math.nan
    ordered = np.sort(low)
    places = np.searchsorted(ordered, high, "left") + np.searchsorted(ordered, high, "right")
    return float(places.mean() / 2 / len(low))


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits) if hits else math.nan


@torch.inference_mode()
def measure(reader: FactReader, count: int = 1500, seed: int = 1001, split: Split = "dev") -> dict[str, float]:
    """On unseen settings and people: how often the right fact is first, and known told from unknown."""
    figures: dict[str, float] = {}
    some = list(islice((line for line in lines(draw(seed, split)) if line.facts), count))
    for name, mine in (("settings", [x for x in some if not x.person]), ("people", [x for x in some if x.person])):
        known, unknown, near, first, probability, truth = [], [], [], [], [], []
        for line in mine:
            read = reader.read(line.question, line.facts)
            z = np.append(reader.mix(weigh(line.near, read, line.question, line.facts)), 0.0)
            p = np.exp(z - z.max())
            p /= p.sum()
            best = int(p[:-1].argmax())
            if line.act in ASKING:
                first.append(line.right[best])
                known.append(float(p[best]))
            elif line.act in DECLINED:
                unknown.append(float(p[best]))
                if line.act == "near":
                    near.append(float(p[best]))
            if line.act in (*ASKING, *DECLINED):
                probability.append(float(p[best]))
                truth.append(float(line.right[best]))
        high, hit = np.array(probability), np.array(truth)
        bins = np.minimum((high * 10).astype(int), 9)
        error = sum(
            abs(high[bins == b].mean() - hit[bins == b].mean()) * (bins == b).mean() for b in set(bins.tolist())
        )
        figures |= {
            f"{name}: questions": len(known),
            f"{name}: first": _share(first),
            f"{name}: first and over half": _share([a and p > 0.5 for a, p in zip(first, known, strict=True)]),
            f"{name}: unknown under half": _share([p < 0.5 for p in unknown]),
            f"{name}: near under half": _share([p < 0.5 for p in near]),
            f"{name}: AUC known, unknown": _auc(known, unknown),
            f"{name}: AUC known, near": _auc(known, near),
            f"{name}: calibration error": float(error) if len(high) else math.nan,
        }
    return {key: round(value, 3) for key, value in figures.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m visavis.finetune.replies.train_reader", description=__doc__)
    parser.add_argument("runs", type=Path, help="folder of a run: its corpora, and where the readers go")
    parser.add_argument("--passes", type=float, default=2.0)
    parser.add_argument("--minutes", type=float, default=80.0, help="of each of the three readers at most")
    parser.add_argument("--pairs", type=int, default=192, help="pairs a step (a GPU likes 1500)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--finish", action="store_true", help="only fit the mix again, into RUNS/reader")
    parser.add_argument("--measure", action="store_true", help="measure RUNS/reader instead of training")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if options.measure:
        print(json.dumps(measure(FactReader.load(options.runs / "reader")), indent=1))
        return
    if options.finish:
        finish(options.runs)
        return
    settings = ReaderTraining(options.passes, options.minutes, pairs=options.pairs, seed=options.seed)
    cross_fit(options.runs, settings)


if __name__ == "__main__":
    main()
