"""Train what finds exchanges (`visavis.agent.exchanges`): `python -m visavis.finetune.replies.train_exchanges`.

`exchanges.tsv` holds kind, line, emotion and answer. Lines and answers are read by one MiniLM with low-rank changes; of
a batch, every line must find its own answer and every answer its own line (softmax over the batch; Henderson et al.
2017). Batches hold lines of like kinds, so that it is not the kind alone that tells. Answers that more than one line of
a batch has are right for both. One in twenty lines (by hash) is never learnt from; `--check` judges on those. `--place`
trains nothing: it reads all exchanges with what was learnt before, which is enough where some were added.
"""

from __future__ import annotations

import argparse
import functools
import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from visavis.agent.answering import KINDS
from visavis.agent.exchanges import DEFAULT_EXCHANGES, Exchanges, unit, vectors_of
from visavis.emotion import EMOTIONS
from visavis.finetune.acts.train_encoder import padded
from visavis.finetune.low_rank import Adapted, new_changes
from visavis.metrics.bootstrap import bootstrap
from visavis.retrieval.embedder import changed, mean_of

__all__ = ["Row", "fit", "held", "rows"]

RANK: Final = 16
DIMENSIONS_KEPT: Final = 96
EPOCHS: Final = 2.0
BATCH: Final = 128
RATE: Final = 1e-3
DECAY: Final = 0.01
SHARPNESS: Final = 18.0  # of cosines in the softmax
LEFT_OUT: Final = 0.1  # of the pieces of lines
SAME_KIND: Final = 0.5  # of a batch
HELD: Final = 20
MASK: Final = 103
MOST_PIECES: Final = 40


@dataclass(frozen=True)
class Row:
    """A line, its kind, and what is answered, felt how."""

    kind: str
    line: str
    emotion: str
    level: int
    reply: str


@functools.cache
def rows() -> tuple[Row, ...]:
    """All exchanges, as written."""
    out = []
    text = (resources.files("visavis.finetune.replies") / "exchanges.tsv").read_text("utf-8")
    for row in text.splitlines():
        kind, line, felt, reply = row.split("\t")
        emotion, level = felt.split()
        out.append(Row(kind, line, emotion, int(level), reply))
    return tuple(out)


def held(row: Row) -> bool:
    """Whether nothing learns from a row."""
    return zlib.crc32(row.line.lower().encode()) % HELD == 0


def _batches(some: Sequence[Row], rng: random.Random) -> list[list[Row]]:
    """Of like kinds: half of each batch is of one, the rest of any."""
    by_kind: dict[str, list[Row]] = {}
    rest: list[Row] = []
    for row in rng.sample([*some], len(some)):
        (by_kind.setdefault(row.kind, []) if rng.random() < SAME_KIND else rest).append(row)
    size = round(BATCH * SAME_KIND)
    halves = [part[start : start + size] for part in by_kind.values() for start in range(0, len(part), size)]
    rng.shuffle(halves)
    share = max(1, len(rest) // max(1, len(halves)))
    return [half + rest[k * share : (k + 1) * share] for k, half in enumerate(halves)]


def fit(some: Sequence[Row], every: Sequence[Row], epochs: float = EPOCHS, seed: int = 0) -> Exchanges:
    """What these rows teach, with `every` row in the table; about two minutes an epoch on one thread."""
    torch.manual_seed(seed)
    rng, order = random.Random(seed), np.random.default_rng(seed)
    first = new_changes(Adapted({}), RANK, torch.Generator().manual_seed(seed))
    changes = {name: value.requires_grad_() for name, value in first.items()}
    encoder = Adapted(changes)
    optimizer = torch.optim.AdamW([*changes.values()], lr=RATE, weight_decay=DECAY)
    steps = max(1, round(epochs * len(some) / BATCH))
    batches: list[list[Row]] = []
    mean = 0.0
    bar = tqdm(range(steps), "exchanges", mininterval=10)
    for step in bar:
        if not batches:
            batches = _batches(some, rng)
        batch = batches.pop()
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 40) * (1 - 0.98 * step / steps)
        with torch.autocast("cpu", torch.bfloat16):
            lines = _vectors(encoder, [row.line for row in batch], order)
            answers = _vectors(encoder, [row.reply for row in batch], None)
        scores = SHARPNESS * lines.float() @ answers.float().T
        same = torch.tensor([[a.reply == b.reply for b in batch] for a in batch])
        loss = _missed(scores, same) + _missed(scores.T, same.T)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([*changes.values()], 1.0)
        optimizer.step()
        mean = float(loss.detach()) if not step else 0.97 * mean + 0.03 * float(loss.detach())
        if step % 20 == 0:
            bar.set_postfix_str(f"loss {mean:.3f}")
    arrays = {name: value.detach().numpy().astype(np.float16).astype(np.float32) for name, value in changes.items()}
    return place(arrays, every)


def place(changes: dict[str, np.ndarray], every: Sequence[Row]) -> Exchanges:
    """The table of all rows, read with these changes."""
    encoder = changed(changes, light=True)
    lines = vectors_of(encoder, [row.line for row in every])
    answers = vectors_of(encoder, [row.reply for row in every])
    matrix = np.linalg.svd(np.concatenate([lines, answers]), full_matrices=False)[2][:DIMENSIONS_KEPT]
    matrix = matrix.astype(np.float16).astype(np.float32)

    return Exchanges(
        tuple(row.reply for row in every),
        np.array([KINDS.index(row.kind) for row in every]),
        np.array([EMOTIONS.index(row.emotion) for row in every]),
        np.array([row.level for row in every]),
        matrix, unit(lines @ matrix.T), unit(answers @ matrix.T), changes,
    )  # fmt: skip


def _missed(scores: Tensor, same: Tensor) -> Tensor:
    """Mean of the nats by which the right ones are missed."""
    right = scores.masked_fill(~same, float("-inf"))
    return (torch.logsumexp(scores, 1) - torch.logsumexp(right, 1)).mean()


def _vectors(encoder: Adapted, texts: Sequence[str], order: np.random.Generator | None) -> Tensor:
    ids = [one.ids[:MOST_PIECES] for one in encoder.tokenizer.encode_batch([*texts])]
    if order is not None:
        ids = [
            [MASK if 0 < i < len(row) - 1 and order.random() < LEFT_OUT else x for i, x in enumerate(row)]
            for row in ids
        ]
    pieces, mask = padded(ids)
    return F.normalize(mean_of(encoder.states(pieces, mask), mask), dim=-1)


def check(table: Exchanges, most: int = 100) -> None:
    """Print how often a line that nothing learnt from finds its own answer among a hundred others of its kind."""
    left = [row for row in rows() if held(row)]
    rng = random.Random(0)
    vectors = vectors_of(table.encoder, [row.line for row in left]) @ table.matrix.T
    at = {(row.line, row.reply): i for i, row in enumerate(rows())}
    hits = []
    for row, vector in zip(left, vectors, strict=True):
        others = [i for i, one in enumerate(rows()) if one.kind == row.kind and one.reply != row.reply]
        chosen = [at[row.line, row.reply], *rng.sample(others, min(most, len(others)))]
        hits.append(float((table.answers[chosen] @ vector).argmax() == 0))
    got = bootstrap(hits)
    print(
        f"own answer first among {most} others of its kind: {100 * got.value:.1f} % "
        f"[{100 * got.low:.1f}, {100 * got.high:.1f}] (n = {len(hits)})"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m visavis.finetune.replies.train_exchanges", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only judge what is there")
    parser.add_argument("--place", action="store_true", help="only read all exchanges anew, with what was learnt")
    parser.add_argument("--epochs", type=float, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=DEFAULT_EXCHANGES, metavar="FILE", help="where to write it")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.place:
        place({**Exchanges.load(options.out).changes}, rows()).save(options.out)
    elif not options.check:
        fit([row for row in rows() if not held(row)], rows(), options.epochs, options.seed).save(options.out)
        print(f"wrote {options.out}")
    check(Exchanges.load(options.out))


if __name__ == "__main__":
    main()
