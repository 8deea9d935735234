"""Train the gesture index: `python -m visavis.finetune.acts.train_encoder [--epochs E]`.

Low-rank changes of MiniLM and the linear head over four of its layers are learnt together on all authored sentences
(`utterances`, `utterances_more`, cue words and meaning lines), so that a sentence is told by its situation and not by
its words alone: pieces are left out at random, because what people really say shares few of them. Probabilities are
then calibrated by a temperature and a rise of none on the development half of the evaluation sentences, which nothing
else learns from.
The anchor part is fitted last, as in `recall_head`.
"""

from __future__ import annotations

import argparse
import csv
import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from visavis.finetune.acts.recall_head import fit_anchor
from visavis.finetune.low_rank import Adapted, new_changes
from visavis.retrieval import layers
from visavis.retrieval.embedder import Encoder
from visavis.retrieval.index import DEFAULT_HEAD, RecallHead
from visavis.retrieval.layers import DEFAULT_ENCODER, WIDTH, hidden_states, read
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.utterances import NONE, Utterance, cue_words, load_more, load_utterances

__all__ = ["Sentences", "calibrate", "development", "features_of", "fit", "sentences", "tempered"]

log = logging.getLogger(__name__)

RANK: Final = 16
BATCH: Final = 64
RATE: Final = 6e-4
HEAD_RATE: Final = 6e-3
DECAY: Final = 0.01
LEFT_OUT: Final = 0.15  # of the pieces
DROPPED: Final = 0.15  # of the features
SMOOTHED: Final = 0.05
HINT_WEIGHT: Final = 0.4
SCALE: Final = 12.0  # features have unit length per layer: logits would begin too flat


@dataclass(frozen=True, eq=False)
class Sentences:
    """Texts with the place of their gloss in `glosses` (the last place is none) and what each counts."""

    texts: tuple[str, ...]
    labels: NDArray[np.int64]
    weights: NDArray[np.float32]
    glosses: tuple[str, ...]


def sentences(without: Collection[str] = ()) -> Sentences:
    """Everything authored, but nothing of an evaluation and none of the texts in `without`."""
    lexicon = load_lexicon()
    glosses = lexicon.glosses
    place = {gloss: i for i, gloss in enumerate(glosses)} | {NONE: len(glosses)}
    rows = [(one.text, one.gloss, 1.0) for one in (*load_utterances(), *load_more()) if one.gloss in place]
    rows = [row for row in rows if row[0] not in without]
    rows += [(cue, gloss, HINT_WEIGHT) for gloss, cues in cue_words().items() if gloss in place for cue in cues]
    rows += [(lexicon[gloss].meaning, gloss, HINT_WEIGHT) for gloss in glosses]
    texts, names, weights = zip(*rows, strict=True)
    return Sentences(texts, np.array([place[name] for name in names]), np.array(weights, np.float32), glosses)


def features_of(encoder: Encoder, ids: Tensor, mask: Tensor) -> Tensor:
    """(N, WIDTH) as `layers.read` has them, differentiable."""
    share = mask[..., None].float() / mask.sum(1)[:, None, None]
    return torch.cat(
        [torch.nn.functional.normalize((x.float() * share).sum(1), dim=1) for x in hidden_states(encoder, ids, mask)], 1
    )


def padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    longest = max(len(row) for row in rows)
    ids, mask = torch.zeros(len(rows), longest, dtype=torch.int64), torch.zeros(len(rows), longest, dtype=torch.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    return ids, mask


def fit(
    data: Sentences, out: Path, epochs: float = 5.0, seed: int = 0, heldout: float = 0.0
) -> tuple[dict[str, Tensor], RecallHead]:
    """Learn changes and head; the curve is written beside `out`.

    Args:
        data: sentences.
        out: folder of the curve.
        epochs: how often each sentence is seen.
        seed: of order and omissions.
        heldout: a share of the sentences that is only judged.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    base = Encoder()
    changes = {k: v.requires_grad_() for k, v in new_changes(base, RANK, torch.Generator().manual_seed(seed)).items()}
    encoder = Adapted(changes)
    classes = len(data.glosses) + 1
    weights = torch.zeros(classes, WIDTH, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    pieces = [one.ids[:64] for one in encoder.tokenizer.encode_batch(list(data.texts))]
    judged = rng.random(len(pieces)) < heldout
    learnt, held = np.flatnonzero(~judged), np.flatnonzero(judged)
    optimizer = torch.optim.AdamW(
        [{"params": [*changes.values()], "peak": RATE}, {"params": [weights, bias], "peak": HEAD_RATE}],
        lr=RATE, weight_decay=DECAY,
    )  # fmt: skip
    steps = max(1, int(epochs * len(learnt) / BATCH))
    began, losses = time.monotonic(), []
    order: list[NDArray[np.int64]] = []
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "recall_curve.csv", "w", newline="") as file:
        curve = csv.writer(file)
        for step in range(steps):
            if not order:
                order = _batches(rng.permutation(learnt), pieces)
            some = order.pop()
            ids, mask = padded([thinned(pieces[i], rng) for i in some])
            share = step / steps
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * min(1.0, (step + 1) / 100) * (1 - 0.98 * share)
            with torch.autocast("cpu", torch.bfloat16):
                x = features_of(encoder, ids, mask)
            x = torch.nn.functional.dropout(x.float(), DROPPED)
            each = torch.nn.functional.cross_entropy(
                SCALE * x @ weights.T + bias, torch.from_numpy(data.labels[some]), reduction="none",
                label_smoothing=SMOOTHED,
            )  # fmt: skip
            weight = torch.from_numpy(data.weights[some])
            loss = (each * weight).sum() / weight.sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_([*changes.values(), weights, bias], 1.0)
            optimizer.step()
            losses.append(float(loss.detach()))
            if (step + 1) % 50 == 0:
                curve.writerow([step + 1, f"{np.mean(losses):.4f}", f"{time.monotonic() - began:.0f}"])
                file.flush()
                log.info("step %d of %d, loss %.3f", step + 1, steps, np.mean(losses))
                losses = []
    finished = {name: value.detach() for name, value in changes.items()}
    head = RecallHead(
        data.glosses, (SCALE * weights.detach()).numpy().astype(np.float16).astype(np.float32),
        bias.detach().numpy().astype(np.float32), np.zeros(WIDTH, np.float32), 0.0,
    )  # fmt: skip
    if len(held):
        seen = np.concatenate([_features(encoder, [pieces[i] for i in part]) for part in np.array_split(held, 20)])
        p, labels = head.probabilities(seen), data.labels[held]
        called = labels < len(data.glosses)
        best = np.argsort(-p[called, :-1], axis=1)
        hits = best == labels[called][:, None]
        log.info("held out: @1 %.3f @5 %.3f (n %d)", hits[:, 0].mean(), hits[:, :5].any(1).mean(), called.sum())
    return finished, head


@torch.inference_mode()
def _features(encoder: Encoder, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    return features_of(encoder, *padded(rows)).numpy()


def _batches(order: NDArray[np.int64], pieces: Sequence[Sequence[int]], pool: int = 32) -> list[NDArray[np.int64]]:
    """Sentences of like length together, in an order that is still random."""
    out = []
    for start in range(0, len(order), pool * BATCH):
        some = sorted(order[start : start + pool * BATCH], key=lambda i: len(pieces[i]))
        out += [np.array(some[i : i + BATCH]) for i in range(0, len(some), BATCH)]
    return [out[i] for i in np.random.default_rng(len(order) + int(order[0])).permutation(len(out))]


def thinned(row: Sequence[int], rng: np.random.Generator) -> list[int]:
    """The pieces without some of them; marks of beginning and end stay, and so do very short texts."""
    inner = list(row[1:-1])
    if len(inner) > 3 and rng.random() < 0.8:
        inner = [piece for piece in inner if rng.random() >= LEFT_OUT] or inner
    return [row[0], *inner, row[-1]]


def tempered(head: RecallHead, temperature: float, quiet: float = 0.0) -> RecallHead:
    """The head with its logits divided, and that of none raised by `quiet`."""
    bias = head.bias / temperature
    bias[-1] += quiet
    return RecallHead(head.glosses, head.weights / temperature, bias, head.anchor, head.anchor_mix)


def calibrate(
    head: RecallHead, texts: Sequence[str], accepted: Sequence[Sequence[str]], encoder: Encoder | None = None
) -> tuple[float, float]:
    """Temperature and the rise of none at which what is acceptable is likeliest; nothing accepted means none.

    None is rarer among the authored sentences than in speech.
    """
    x = np.stack([one.features for one in read(texts, encoder)])
    hit = np.zeros((len(texts), len(head.glosses) + 1), bool)
    for row, names in enumerate(accepted):
        hit[row, [head.glosses.index(name) for name in names] or [-1]] = True

    def loss(values: tuple[float, float]) -> float:
        p = tempered(head, *values).probabilities(x)
        return float(-np.log(np.maximum((p * hit).sum(1), 1e-9)).mean())

    grid = [(float(t), float(q)) for t in np.geomspace(0.6, 2.5, 24) for q in np.linspace(-1.0, 5.0, 25)]
    return min(grid, key=loss)


def development() -> tuple[list[str], list[list[str]]]:
    """Sentences of the development half with the glosses that are accepted for each, none for neutral ones."""
    folder = Path(__file__).parent / "data"
    rows = yaml.safe_load((folder / "library_tune.yaml").read_text("utf-8"))
    neutral = (folder / "library_neutral.txt").read_text("utf-8").split("\n")
    neutral = [line for line in neutral if line.strip()]
    return [row["text"] for row in rows] + neutral, [row["accept"] for row in rows] + [[] for _ in neutral]


def anchored(head: RecallHead) -> RecallHead:
    """The head with its anchor part, fitted on the starred words."""
    some: list[Utterance] = [one for one in load_utterances() if one.gloss in head.glosses]
    common, mix = fit_anchor(some, read([one.text for one in some]), head)
    return RecallHead(head.glosses, head.weights, head.bias, common, mix)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Train the gesture index.")
    parser.add_argument("--epochs", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--heldout", type=float, default=0.0, help="share of the sentences that is only judged")
    parser.add_argument("--out", type=Path, default=DEFAULT_HEAD.parent, help="folder of the two files")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(1)
    changes, head = fit(sentences(), options.out, options.epochs, options.seed, options.heldout)
    save_file({name: value.half().contiguous() for name, value in changes.items()}, options.out / DEFAULT_ENCODER.name)
    if options.out.resolve() == DEFAULT_ENCODER.parent.resolve():
        layers._encoder.cache_clear()
        temperature, quiet = calibrate(head, *development())
        head = anchored(tempered(head, temperature, quiet))
        print(f"temperature {temperature:.2f}, none raised by {quiet:.2f}")
    head.save(options.out / DEFAULT_HEAD.name)
    print(f"wrote {options.out}: {len(head.glosses)} glosses")


if __name__ == "__main__":
    main()
