"""Learn the projection of meanings: `python -m visavis.finetune.acts.train_meaning [--check]`.

Utterances and meaning lines of the lexicon go through one matrix; what is said with a gesture is brought near its
meaning line and away from those of other gestures (InfoNCE, van den Oord et al. 2018). The matrix begins as the
principal directions of MiniLM on these texts, so that what is never trained on keeps its place. With `--check`, one in
eight glosses is left out and searched for among all.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from visavis.retrieval.embedder import Embedder
from visavis.retrieval.lexicon import load_lexicon
from visavis.retrieval.meaning import DEFAULT_MEANING, Meaning
from visavis.retrieval.utterances import NONE, cue_words, load_utterances

__all__ = ["Pairs", "fit", "pairs"]

DIMENSIONS: Final = 128
STEPS: Final = 200
BATCH: Final = 256
RATE: Final = 3e-3
TEMPERATURE: Final = 0.07
KEEP: Final = 300.0  # what a matrix far from where it began costs; less of it, and unseen glosses are found worse


@dataclass(frozen=True, eq=False)
class Pairs:
    """Texts as MiniLM has them: said (N, 384), of the gloss at `label` (N,), -1 for none; meant (G, 384)."""

    said: NDArray[np.float32]
    label: NDArray[np.int64]
    meant: NDArray[np.float32]


def pairs() -> Pairs:
    """Everything authored."""
    lexicon, embedder = load_lexicon(), Embedder(capacity=20_000)
    glosses = list(lexicon)
    said, label = [], []
    for utterance in load_utterances():
        if utterance.gloss in lexicon or utterance.gloss == NONE:
            said.append(utterance.text)
            label.append(-1 if utterance.gloss == NONE else glosses.index(utterance.gloss))
    for gloss, cues in cue_words().items():
        if gloss in lexicon:
            said += cues
            label += [glosses.index(gloss)] * len(cues)
    meant = embedder.encode([lexicon[gloss].meaning for gloss in glosses])
    return Pairs(embedder.encode(said).astype(np.float32), np.array(label), meant.astype(np.float32))


def fit(data: Pairs, seed: int = 0) -> Meaning:
    """The projection from all pairs, and the curve over its cosines."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    spoken = data.label >= 0
    _, _, directions = np.linalg.svd(np.concatenate([data.said, data.meant]), full_matrices=False)
    start = torch.from_numpy(np.ascontiguousarray(directions[:DIMENSIONS])).float()
    matrix = start.clone().requires_grad_()
    optimizer = torch.optim.AdamW([matrix], lr=RATE, weight_decay=0.0)
    said, label = torch.from_numpy(data.said[spoken]), torch.from_numpy(data.label[spoken])
    meant = torch.from_numpy(data.meant)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
        some = torch.from_numpy(rng.choice(len(said), min(BATCH, len(said)), replace=False))
        x = torch.nn.functional.normalize(said[some] @ matrix.T, dim=1)
        y = torch.nn.functional.normalize(meant @ matrix.T, dim=1)
        loss = torch.nn.functional.cross_entropy(x @ y.T / TEMPERATURE, label[some])
        loss = loss + KEEP * (matrix - start).square().mean() * DIMENSIONS
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    made = Meaning(matrix.detach().numpy().astype(np.float16).astype(np.float32), 1.0, 0.0)
    return Meaning(made.matrix, *_curve(made, data, rng))


def _curve(made: Meaning, data: Pairs, rng: np.random.Generator) -> tuple[float, float]:
    """Slope and middle of the logistic curve: of all pairs of a sentence and a meaning, which belong together?"""
    some = rng.choice(len(data.said), min(2000, len(data.said)), replace=False)
    x, y = made.project(data.said[some]), made.project(data.meant)
    cosines = torch.from_numpy((x @ y.T).ravel()).double()
    truth = torch.from_numpy((data.label[some][:, None] == np.arange(len(y))).ravel()).double()
    slope, middle = torch.tensor(10.0, dtype=torch.double), torch.tensor(0.5, dtype=torch.double)
    slope.requires_grad_(), middle.requires_grad_()
    optimizer = torch.optim.LBFGS([slope, middle], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.binary_cross_entropy_with_logits(slope * (cosines - middle), truth)
        value.backward()
        return value

    optimizer.step(loss)  # type: ignore[arg-type]
    return float(slope.detach()), float(middle.detach())


def check(data: Pairs, folds: int = 8) -> str:
    """Recall among all glosses of those that were left out, beside MiniLM as it is."""
    fold = np.random.default_rng(0).permutation(len(data.meant)) % folds
    hits: dict[str, list[bool]] = {"learned @1": [], "learned @5": [], "MiniLM @1": [], "MiniLM @5": []}
    for number in range(folds):
        inside = (data.label >= 0) & (fold[data.label] == number)
        seen = Pairs(data.said[~inside], data.label[~inside], data.meant)
        kept = seen.label >= 0
        seen = Pairs(seen.said[kept], seen.label[kept], seen.meant)
        made = fit(seen)
        for name, x, y in (
            ("learned", made.project(data.said[inside]), made.project(data.meant)),
            ("MiniLM", data.said[inside], data.meant),
        ):
            order = np.argsort(-(x @ y.T), axis=1)
            label = data.label[inside]
            hits[f"{name} @1"] += list(order[:, 0] == label)
            hits[f"{name} @5"] += list((order[:, :5] == label[:, None]).any(1))
    return ", ".join(f"{name} {np.mean(hit):.3f}" for name, hit in hits.items()) + f" (n = {len(hits['MiniLM @1'])})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Learn from everything and write the projection."""
    parser = argparse.ArgumentParser(description="Learn the projection of meanings.")
    parser.add_argument("--check", action="store_true", help="print figures of glosses left out")
    parser.add_argument("--out", default=str(DEFAULT_MEANING), help="where to write it")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    data = pairs()
    if options.check:
        print(check(data))
    made = fit(data)
    made.save(Path(options.out))
    print(f"wrote {options.out}: {made.dimensions} dimensions, slope {made.slope:.1f}, middle {made.middle:.2f}")


if __name__ == "__main__":
    main()
