"""Train the reader of facts: `python -m visavis.finetune.replies.train_reader OUT [--minutes M]`.

For every line of the user one choice among the facts that RECALL would read and "none of them" (a listwise softmax),
so that the logits are probabilities as `visavis.agent.recall` uses them. Settings and people of the reader's lesson
only; measured on dev settings and dev people, which nothing learns from. Low-rank changes of MiniLM, AdamW, bf16
products, a falling rate; a checkpoint every minute, continued by itself.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from visavis.agent.reader import KINDS, MIX_PARTS, FactReader, Mix, pair_encoder
from visavis.agent.recall import FEATURES, READ, Near, as_read, choose, look_up, weigh
from visavis.finetune.checkpoints import Checkpointer
from visavis.finetune.low_rank import Adapted, new_changes
from visavis.finetune.replies.conversation import talks_of_split
from visavis.finetune.replies.worlds import Lesson, Split
from visavis.retrieval.embedder import DIMENSIONS, Encoder

__all__ = ["Line", "fit", "lines", "measure", "new_weights"]

log = logging.getLogger(__name__)

RANK = 12
HIDDEN = 64
MIXED = 12  # hidden units of the mix
RATE = 8e-4
DECAY = 0.01
PAIRS_AT_ONCE = 192
LEARNT = 6  # facts of a line that are learnt from: what is right, the nearest, and a far one
ASKING = ("known", "greet_known", "follow_up")
DECLINED = ("near", "far", "unknown", "greet_unknown")


@dataclass(frozen=True)
class Line:
    """A line of the user, the facts that are read for it, and which of them answer."""

    act: str
    person: bool  # a person written by hand, not a setting
    question: str
    facts: tuple[str, ...]
    right: tuple[bool, ...]
    near: Near
    answerable: bool  # some fact answers, read or not


def lines(seed: int, split: Split, lesson: Lesson | None = None) -> Iterator[Line]:
    """Endless lines to personas of a split; in training those whose answer is not read are left out."""
    for world, talks, vectors in talks_of_split(seed, split, lesson):
        for talk in talks:
            history: list[tuple[str, str]] = []
            for turn in talk:
                found = look_up(turn.user, history, world.persona.cards)
                history = [("user", turn.user)]
                near = choose(found, vectors, READ)
                right = tuple(found.facts[place] in turn.answers for place in near.places)
                if not near.places or (split == "train" and turn.answers and not any(right)):
                    continue
                read = tuple(as_read(found, place) for place in near.places)
                hand = world.setting.startswith("person ")
                yield Line(turn.act, hand, found.question, read, right, near, bool(turn.answers))


def new_weights(seed: int, encoder: Encoder) -> dict[str, Tensor]:
    """Changes that change nothing yet, and a head."""
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

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.encoder, self.weights = Adapted(weights), weights
        self.encoder.weights = dict(self.encoder.weights) | {KINDS: weights["kinds"]}
        self.head = {name: weights[name] for name in ("hidden", "hidden_bias", "out", "bias")}
        self.mix = first_mix()


def _loss(learner: FactReader, batch: Sequence[Line]) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        flat = learner.logits([(line.question, fact) for line in batch for fact in line.facts]).float()
    total, at = torch.zeros(()), 0
    for line in batch:
        z = torch.cat([flat[at : at + len(line.facts)], torch.zeros(1)])
        at += len(line.facts)
        hit = torch.tensor([*line.right, not any(line.right)])
        total = total + torch.logsumexp(z, 0) - torch.logsumexp(z[hit], 0)
    return total / len(batch)


def _fewer(line: Line, rng: np.random.Generator) -> Line:
    """The line with fewer facts, the most instructive ones."""
    if len(line.facts) <= LEARNT:
        return line
    kept = [i for i, right in enumerate(line.right) if right]
    rest = [i for i in range(len(line.facts)) if i not in kept]
    near = rest[: max(LEARNT - 1 - len(kept), 1)]
    kept += [*near, int(rng.choice(rest[len(near) :]))]
    return replace(line, facts=tuple(line.facts[i] for i in kept), right=tuple(line.right[i] for i in kept))


def _batches(source: Iterator[Line], pool: int = 40) -> Iterator[list[Line]]:
    """Lines of like length together, so that little is padding."""
    rng = np.random.default_rng(0)
    per_batch = PAIRS_AT_ONCE // LEARNT
    while True:
        some = [_fewer(line, rng) for line in islice(source, pool * per_batch)]
        some.sort(key=lambda line: len(line.question))
        for place in rng.permutation(pool):
            yield some[place * per_batch : (place + 1) * per_batch]


def fit(
    out: Path,
    minutes: float,
    seed: int = 1,
    lesson: Lesson | None = "reader",
    mix_lines: int = 3000,
    start: Path | None = None,
) -> None:
    """Train for a time, fit the mix on `mix_lines` lines, and write weights, curve and settings in `out`.

    With `start`, the folder of an earlier reader, its weights are where training begins, at half the rate.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    weights = new_weights(seed, pair_encoder())
    peak = RATE if start is None else RATE / 2
    if start is not None:
        with torch.no_grad():
            for name, value in load_file(start / "reader.safetensors").items():
                weights[name].copy_(value)
    learner = _Learner(weights)
    learnt = [value for name, value in weights.items() if not name.startswith("mix.")]  # these are fitted at the end
    optimizer = torch.optim.AdamW(learnt, lr=RATE, weight_decay=DECAY)
    checkpointer = Checkpointer(out / "checkpoint.pt")
    step, before = 0, 0.0
    if state := checkpointer.load():
        with torch.no_grad():
            for name, value in weights.items():
                if not name.startswith("mix."):
                    value.copy_(state["weights"][name])
        optimizer.load_state_dict(state["optimizer"])
        step, before = state["step"], state["elapsed_s"]
    began = time.monotonic()
    losses: list[float] = []

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

    with open(out / "curve.csv", "a", newline="") as file:
        curve = csv.writer(file)
        for batch in _batches(lines(seed + step, "train", lesson)):
            along = elapsed() / (60 * minutes)
            if along >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = peak * min(1.0, (step + 1) / 50) * (1 - 0.95 * along)
            loss = _loss(learner, batch)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(learnt, 1.0)
            optimizer.step()
            losses.append(float(loss.detach()))
            step += 1
            if step % 25 == 0:
                curve.writerow([step, f"{np.mean(losses):.4f}", f"{elapsed():.0f}"])
                file.flush()
                log.info("step %d loss %.3f (%.0f s)", step, np.mean(losses), elapsed())
                losses = []
            if checkpointer.due():
                save()
    save()
    learner.mix = fit_mix(learner, seed, mix_lines)
    with torch.no_grad():
        for part in MIX_PARTS:
            weights[f"mix.{part}"].copy_(torch.as_tensor(getattr(learner.mix, part)))
    arrays = {name: value.detach().half().contiguous() for name, value in weights.items()}
    save_file(arrays, out / "reader.safetensors")
    (out / "reader.json").write_text(
        json.dumps({"rank": RANK, "seed": seed, "steps": step, "minutes": round(elapsed() / 60, 1)}, indent=1) + "\n"
    )


def first_mix() -> Mix:
    """What only listens to the reader."""
    one, wide = np.ones(len(FEATURES)), np.zeros((len(FEATURES), MIXED))
    wide[0, 0] = 0.1
    return Mix(0 * one, one, wide, np.zeros(MIXED), np.eye(MIXED)[0] * 10.0, np.zeros(()))


def fit_mix(reader: FactReader, seed: int, count: int = 3000) -> Mix:
    """How much the reader and meaning count, on lines of REPLY's lesson, which the reader never saw."""
    every: list[NDArray[np.float64]] = []
    right: list[NDArray[np.bool_]] = []
    for line in islice(lines(seed + 500, "train", "reply"), count):
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            read = reader.logits([(line.question, fact) for fact in line.facts]).double().numpy()
        every.append(weigh(line.near, read))
        right.append(np.array(line.right))
    flat = np.concatenate(every)
    mean, scale = flat.mean(0), flat.std(0) + 1e-6
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
    optimizer = torch.optim.AdamW([*hidden.parameters(), *out.parameters()], lr=5e-3, weight_decay=1e-2)
    epochs = 40
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = 5e-3 * (1 - epoch / epochs)
        for batch in torch.randperm(len(rows)).split(64):
            z = out(torch.tanh(hidden(rows[batch])))[..., 0]
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
    some = list(islice(lines(seed, split), count))
    for name, mine in (("settings", [x for x in some if not x.person]), ("people", [x for x in some if x.person])):
        known, unknown, near, first, probability, truth = [], [], [], [], [], []
        for line in mine:
            z = np.append(reader.mix(weigh(line.near, reader.read(line.question, line.facts))), 0.0)
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
    parser.add_argument("out", type=Path, help="folder for the weights, the curve and the checkpoint")
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=Path, help="go on from the reader in this folder")
    parser.add_argument("--measure", action="store_true", help="measure what is there instead of training")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if not options.measure:
        fit(options.out, options.minutes, options.seed, start=options.start)
    print(json.dumps(measure(FactReader.load(options.out)), indent=1))


if __name__ == "__main__":
    main()
