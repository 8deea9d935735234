"""Train the judge of `visavis.agent.suiting`: `python -m visavis.finetune.replies.train_suiting [--check]`.

`suiting.tsv` holds grade, line, answer and, for lines of talks, the line before: 2 fits, 1 is passable, 0 is odd, as
large language models judged answers that had been found for lines other than those they were written for. Beside them
stand the authored exchanges: an answer fits its own line, and hardly ever another one of its kind. Two logistic losses:
passable or better, and fitting. One in ten of the judged lines (by hash) is not learnt from; `--check` judges on those,
and `join` is fitted on them.
"""

from __future__ import annotations

import argparse
import functools
import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from visavis.agent.answering import Answering
from visavis.agent.exchanges import Exchange, Exchanges, unit, vectors_of
from visavis.agent.pairs import pair_batch
from visavis.agent.suiting import DEFAULT_SUITING, GRADES, Suiting, logits_of
from visavis.errors import FileFormatError
from visavis.finetune.acts.recall_head import auc
from visavis.finetune.low_rank import Adapted, new_changes
from visavis.finetune.replies.train_exchanges import Row, rows
from visavis.metrics.bootstrap import bootstrap
from visavis.retrieval.embedder import DIMENSIONS

__all__ = ["Graded", "features", "fit", "graded", "held", "logistic"]

RANK: Final = 16
EPOCHS: Final = 2.0
BATCH: Final = 64
RATE: Final = 8e-4
DECAY: Final = 0.01
HELD: Final = 10
AUTHORED: Final = 0.6  # exchanges for every judged pair: half with their own answer, half with another's
DROPPED: Final = 0.1


class Graded(NamedTuple):
    """How an answer was judged after a line, and the line before that; empty where nothing is known of it."""

    grade: int
    line: str
    answer: str
    before: str = ""


KindsOf = Callable[[str, str], np.ndarray]


@functools.cache
def graded() -> tuple[Graded, ...]:
    """All judgements.

    Raises:
        FileFormatError: a row is something else.
    """
    text = (resources.files("visavis.finetune.replies") / "suiting.tsv").read_text("utf-8")
    out = []
    for number, row in enumerate(text.splitlines(), 1):
        grade, *rest = row.split("\t")
        if grade not in ("0", "1", "2") or not 2 <= len(rest) <= 3 or not all(rest[:2]):
            raise FileFormatError(
                f"suiting.tsv, row {number}: expected grade, line, answer and the line before; got {row!r}"
            )
        out.append(Graded(int(grade), *rest))
    return tuple(out)


def held(line: str) -> bool:
    """Whether nothing learns from a line."""
    return zlib.crc32(line.lower().encode()) % HELD == 0


def fit(some: Sequence[Graded], authored: Sequence[Row], epochs: float = EPOCHS, seed: int = 0) -> Suiting:
    """What these judgements and exchanges teach; about ten minutes an epoch on one thread."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    base = Adapted({})
    changes = {n: v.requires_grad_() for n, v in new_changes(base, RANK, torch.Generator().manual_seed(seed)).items()}
    encoder = Adapted(changes)
    weight, bias = torch.zeros(GRADES, 2 * DIMENSIONS, requires_grad=True), torch.zeros(GRADES, requires_grad=True)
    parameters = [*changes.values(), weight, bias]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=DECAY)
    by_kind: dict[str, list[Row]] = {}
    for row in authored:
        by_kind.setdefault(row.kind, []).append(row)
    steps = max(1, round(epochs * len(some) * (1 + AUTHORED) / BATCH))
    pool: list[Graded] = []
    mean = 0.0
    bar = tqdm(range(steps), "suiting", mininterval=10)
    for step in bar:
        if len(pool) < BATCH:
            pool = [*some]
            for number, row in enumerate(rng.sample([*authored], min(len(authored), round(AUTHORED * len(some))))):
                other = rng.choice(by_kind[row.kind])
                odd = number % 2 and other != row
                pool.append(Graded(0, row.line, other.reply) if odd else Graded(2, row.line, row.reply))
            pool.sort(key=lambda one: len(one.line) + len(one.answer) + 20 * rng.random())
            parts = [pool[start : start + BATCH] for start in range(0, len(pool), BATCH)]
            rng.shuffle(parts)
            pool = [one for part in parts for one in part]
        batch = [pool.pop() for _ in range(BATCH)]
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 40) * (1 - 0.98 * step / steps)
        parts_ = pair_batch(encoder, [(one.line, one.answer) for one in batch])
        with torch.autocast("cpu", torch.bfloat16):
            logits = logits_of(encoder, *parts_, F.dropout(weight, DROPPED), bias)
        wanted = torch.tensor([[float(grade >= 1), float(grade >= 2)] for grade, *_ in batch])
        loss = F.binary_cross_entropy_with_logits(logits.float(), wanted)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        mean = float(loss.detach()) if not step else 0.97 * mean + 0.03 * float(loss.detach())
        if step % 20 == 0:
            bar.set_postfix_str(f"loss {mean:.3f}")
    values = {name: _array(value) for name, value in changes.items()}
    return Suiting(_array(weight), _array(bias), values, np.array([1.0, 0, 0, 0, 0, 0], np.float32))


def joined(judge: Suiting, table: Exchanges, some: Sequence[Graded]) -> Suiting:
    """The same judge, whose `join` is a logistic regression on judgements that it has not learnt from."""
    x, y, _ = features(judge, table, some)
    return replace(judge, join=logistic(x, y).astype(np.float16).astype(np.float32))


def features(
    judge: Suiting, table: Exchanges, some: Sequence[Graded], kinds_of: KindsOf | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, 6) what `join` weighs, (N,) whether an answer is passable, and (N,) the number of its line.

    Answers that the table does not hold are left out. `kinds_of` gives the chances of the kinds of a line after
    another; MiniLM's of the line alone if None.
    """
    place = {reply: i for i, reply in enumerate(table.replies)}
    by_line: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for one in some:
        if one.answer in place:
            by_line.setdefault((one.line, one.before if kinds_of else ""), []).append((one.grade, one.answer))
    vectors = unit(vectors_of(table.encoder, [line for line, _ in by_line]) @ table.matrix.T)
    rows_, right, of = [np.zeros((0, GRADES + 4), np.float32)], [], []
    for number, ((line, before), graded_) in enumerate(by_line.items()):
        vector = vectors[number]
        kinds = kinds_of(line, before) if kinds_of else Answering.default().kinds(line)
        at = [place[answer] for _, answer in graded_]
        found = [
            Exchange(table.replies[i], "neutral", 3, float(table.answers[i] @ vector), float(table.lines[i] @ vector),
                     float(kinds[table.kinds[i]]))
            for i in at
        ]  # fmt: skip
        rows_.append(judge.features(line, found))
        right += [float(grade >= 1) for grade, _ in graded_]
        of += [number] * len(at)
    return np.concatenate(rows_), np.array(right), np.array(of)


def logistic(x: np.ndarray, y: np.ndarray, pull: float = 0.01, steps: int = 30) -> np.ndarray:
    """Weights of a logistic regression, hardly drawn towards 0 (Newton's method)."""
    weights = np.zeros(x.shape[1])
    for _ in range(steps):
        chances = 1 / (1 + np.exp(-x @ weights))
        slope = x.T @ (chances - y) + pull * weights
        curve = (x * (chances * (1 - chances))[:, None]).T @ x + pull * np.eye(x.shape[1])
        weights = weights - np.linalg.solve(curve, slope)
    return weights


def _array(value: torch.Tensor) -> np.ndarray:
    return value.detach().numpy().astype(np.float16).astype(np.float32)


def check(judge: Suiting, table: Exchanges) -> None:
    """Print how well it tells grades apart on lines that nothing learnt from; joined, by five-fold regressions."""
    x, y, of = features(judge, table, [one for one in graded() if held(one.line)])
    every = np.zeros(len(y))
    for fold in range(5):
        every[of % 5 == fold] = x[of % 5 == fold] @ logistic(x[of % 5 != fold], y[of % 5 != fold])
    print(f"{len(set(of))} lines, {len(y)} answers; area under the curve, passable against odd:")
    for title, scores in (("by the words", x[:, 0]), ("by likeness of the lines", x[:, 3]), ("joined", every)):
        print(f"  {title}: {auc(scores, y > 0):.3f}")
    sure = every > 0
    for title, hits in (("passable", y), (f"… of the {int(sure.sum())} that are likelier so than not", y[sure])):
        got = bootstrap(hits)
        print(f"{title}: {100 * got.value:.1f} % [{100 * got.low:.1f}, {100 * got.high:.1f}]")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m visavis.finetune.replies.train_suiting", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only judge what is there")
    parser.add_argument("--epochs", type=float, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=DEFAULT_SUITING, metavar="FILE", help="where to write it")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    table = Exchanges.default()
    if not options.check:
        some = [one for one in graded() if not held(one.line)]
        made = fit(some, [row for row in rows() if not held(row.line)], options.epochs, options.seed)
        joined(made, table, [one for one in graded() if held(one.line)]).save(options.out)
        print(f"wrote {options.out}")
    check(Suiting.load(options.out), table)


if __name__ == "__main__":
    main()
