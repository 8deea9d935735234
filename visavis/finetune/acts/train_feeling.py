"""Train the heads of feeling: `python -m visavis.finetune.acts.train_feeling [--check]`.

The probe is a softmax regression on MiniLM's sentence vectors of GoEmotions' training part and of the project's own
utterances, without which it hears feeling in too many plain sentences. It is then held fixed while the head that hears
the line before, and the one that says how far a text leaves it to that line, are learnt from authored turns
(`data/feeling_turns.yaml`: each line is followed by answers of its part), together with sentences under stray lines,
whose feeling must not change. With `--check` a quarter of the lines and of the answers is left out at a time, and what
is learnt from the others is measured on them.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from visavis.emotion import EMOTIONS
from visavis.finetune.acts.comments import GO_EMOTIONS, Comments, read_comments
from visavis.finetune.acts.compose import DEV_FOLD
from visavis.finetune.acts.unseen import folds_of
from visavis.metrics.bootstrap import proportion
from visavis.retrieval.embedder import DIMENSIONS, Embedder
from visavis.retrieval.feeling import DEFAULT_FEELING, Feeling
from visavis.retrieval.utterances import load_utterances

__all__ = [
    "VECTORS", "Cases", "Turns", "cases_of", "check", "fit_heard", "fit_said", "load_turns", "own", "train", "vectors",
]  # fmt: skip

# Chosen by `--check` and on the half of the development comments that is there to choose on.
DECAY: Final = 1e-5  # of the probe
OWN: Final = 0.3  # what an utterance counts beside a comment: more of it, and comments are told worse
HEARD_DECAY: Final = 3e-4
OPEN_DECAY: Final = 1e-4
ANSWERS: Final = 10  # that follow each line
FIRST: Final = 2 / 3  # of two emotions that a line is answered with, the share of the first
CALM: Final = 6000  # sentences under stray lines
FOLDS: Final = 4
ROUNDS: Final = 200
BATCH: Final = 1024
VECTORS: Final = Path("runs/feeling")

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Turns:
    """Authored lines: (text, part, emotions, the first named more), and the answers of each part."""

    lines: tuple[tuple[str, str, tuple[str, ...]], ...]
    answers: dict[str, tuple[str, ...]]


@dataclass(frozen=True, eq=False)
class Cases:
    """N turns as vectors: the text (N, D), the line before (N, D) and how the text is felt (N, E), rows sum to 1."""

    text: Tensor
    before: Tensor
    shares: Tensor


def load_turns() -> Turns:
    """The authored turns."""
    path = Path(str(files("visavis.finetune"))) / "acts" / "data" / "feeling_turns.yaml"
    parts = yaml.safe_load(path.read_text("utf-8"))
    lines = [
        (line, part, tuple(felt.split(", ")))
        for part, document in parts.items()
        for felt, block in document["lines"].items()
        for line in block.splitlines()
    ]
    return Turns(tuple(lines), {part: tuple(document["answers"].splitlines()) for part, document in parts.items()})


def vectors(texts: Sequence[str], folder: Path) -> Array:
    """(N, 384) of N texts, kept in a folder under the hash of the texts: fifty thousand take minutes."""
    path = folder / f"{hashlib.sha256(chr(0).join(texts).encode()).hexdigest()[:16]}.npy"
    if not path.exists():
        embedder = Embedder(capacity=BATCH)  # batches forget each other: the pieces of all would fill the memory
        made = [embedder.encode(texts[start : start + BATCH]) for start in tqdm(range(0, len(texts), BATCH))]
        folder.mkdir(parents=True, exist_ok=True)
        np.save(path, np.concatenate(made))
    found: Array = np.load(path)
    return found


def own(dev: bool) -> Comments:
    """The project's own utterances as they are felt: those of the fold that nothing learns from, or all others."""
    utterances = load_utterances()
    some = [one for one, fold in zip(utterances, folds_of(utterances), strict=True) if (fold == DEV_FOLD) == dev]
    shares = np.eye(len(EMOTIONS), dtype=np.float32)[[EMOTIONS.index(one.emotion.name) for one in some]]
    return Comments(tuple(one.text for one in some), shares)


def cases_of(turns: Turns, lines: Sequence[int], keep: Sequence[int], of: int, each: int, seed: int) -> Cases:
    """Some lines, each followed by `each` of those answers whose place modulo `of` is in `keep`."""
    rng = np.random.default_rng(seed)
    text, before, shares = [], [], []
    for place in lines:
        line, part, felt = turns.lines[place]
        answers = [answer for number, answer in enumerate(turns.answers[part]) if number % of in keep]
        share = np.zeros(len(EMOTIONS), np.float32)
        for emotion, weight in zip(felt, (FIRST, 1 - FIRST) if len(felt) == 2 else (1.0,), strict=True):
            share[EMOTIONS.index(emotion)] = weight
        for number in rng.choice(len(answers), min(each, len(answers)), replace=False):
            text.append(answers[number])
            before.append(line)
            shares.append(share)
    embedder = Embedder(capacity=20_000)
    x, y = (torch.from_numpy(embedder.encode(some)) for some in (text, before))
    return Cases(x, y, torch.from_numpy(np.array(shares)))


def fit_said(x: Array, shares: Array) -> tuple[Tensor, Tensor]:
    """The probe (E, D) and its bias (E,) from vectors (N, D) and how they are felt (N, E); a row sums to its weight."""
    inputs, target = torch.from_numpy(x), torch.from_numpy(shares)
    weights, bias = (torch.zeros(*size, requires_grad=True) for size in ((len(EMOTIONS), DIMENSIONS), (len(EMOTIONS),)))

    def loss() -> Tensor:
        return _cost(inputs @ weights.T + bias, target) + DECAY * weights.square().sum()

    _minimise([weights, bias], loss)
    return weights.detach(), bias.detach()


def fit_heard(said: tuple[Tensor, Tensor], turns: Cases, calm: Cases) -> Feeling:
    """The other heads, beside a probe that stays as it is."""
    count = len(EMOTIONS)
    heard, heard_bias, open_, open_bias = parts = [
        torch.zeros(*size, requires_grad=True) for size in ((count, DIMENSIONS), (count,), (DIMENSIONS,), (1,))
    ]

    def logits(cases: Cases) -> Tensor:
        share = torch.sigmoid(cases.text @ open_ + open_bias)[:, None]  # (N, 1)
        told = cases.text @ said[0].T + said[1]
        return (1 - share) * told + share * (cases.before @ heard.T + heard_bias)

    def loss() -> Tensor:
        decay = HEARD_DECAY * heard.square().sum() + OPEN_DECAY * open_.square().sum()
        return _cost(logits(turns), turns.shares) + _cost(logits(calm), calm.shares) + decay

    _minimise(parts, loss)
    return Feeling(*(part.detach().numpy() for part in (*said, heard, heard_bias, open_, open_bias)))


def _cost(logits: Tensor, shares: Tensor) -> Tensor:
    return -(shares * torch.log_softmax(logits, 1)).sum(1).mean()


def _minimise(parts: list[Tensor], loss: object) -> None:
    optimiser = torch.optim.LBFGS(parts, max_iter=ROUNDS, line_search_fn="strong_wolfe", history_size=20)

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss()  # type: ignore[operator]
        value.backward()
        return value

    optimiser.step(closure)  # type: ignore[arg-type]


def _calm(x: Array, shares: Array, turns: Turns, lines: Sequence[int], seed: int) -> Cases:
    """Sentences, each under some line that has nothing to do with it."""
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(x), min(CALM, len(x)), replace=False)
    known = Embedder(capacity=20_000).encode([text for text, _, _ in turns.lines])
    stray = known[rng.choice(np.asarray(lines), len(rows))]
    return Cases(torch.from_numpy(x[rows]), torch.from_numpy(stray), torch.from_numpy(shares[rows]))


def train(x: Array, shares: Array, turns: Turns, seed: int = 0) -> Feeling:
    """All heads, from vectors of sentences (N, D), how these are felt (N, E), and all turns."""
    everything = range(len(turns.lines))
    cases = cases_of(turns, everything, (0,), 1, ANSWERS, seed)
    return fit_heard(fit_said(x, shares), cases, _calm(x, shares, turns, everything, seed))


def check(x: Array, shares: Array, turns: Turns, seed: int = 0) -> str:
    """Lines and answers left out, all folds together: how often the first choice is among what a line names."""
    said = fit_said(x, shares)
    fold = np.random.default_rng(seed).permutation(len(turns.lines)) % FOLDS
    hits, alone = list[bool](), list[bool]()
    for number in range(FOLDS):
        inside, outside = np.flatnonzero(fold != number).tolist(), np.flatnonzero(fold == number).tolist()
        kept = [other for other in range(FOLDS) if other != number]
        calm = _calm(x, shares, turns, inside, seed)
        made = fit_heard(said, cases_of(turns, inside, kept, FOLDS, ANSWERS, seed), calm)
        cases = cases_of(turns, outside, [number], FOLDS, ANSWERS, seed)
        text, before, right = cases.text.numpy(), cases.before.numpy(), cases.shares.numpy()
        rows = np.arange(len(text))
        hits += (right[rows, made.weigh(text, before).argmax(1)] > 0).tolist()
        alone += (right[rows, made.weigh(text).argmax(1)] > 0).tolist()
    return f"turns left out: {proportion(hits)}; without the line before: {proportion(alone)}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Train on everything and write the heads."""
    parser = argparse.ArgumentParser(description="Train the heads of feeling.")
    parser.add_argument("--data", type=Path, default=GO_EMOTIONS, metavar="DIR", help="GoEmotions, Ekman's labels")
    parser.add_argument("--vectors", type=Path, default=VECTORS, metavar="DIR", help="where sentence vectors are kept")
    parser.add_argument("--check", action="store_true", help="print figures of turns left out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=DEFAULT_FEELING, help="where to write them")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    comments, authored, turns = read_comments(options.data, "train"), own(dev=False), load_turns()
    x = np.concatenate([vectors(some.texts, options.vectors) for some in (comments, authored)])
    shares = np.concatenate([comments.shares, np.float32(OWN) * authored.shares])
    if options.check:
        print(check(x, shares, turns, options.seed))
    made = train(x, shares, turns, options.seed)
    made.save(options.out)
    counts = f"{len(comments.texts)} comments, {len(authored.texts)} utterances, {len(turns.lines)} lines of a partner"
    print(f"wrote {options.out}: learnt from {counts}")


if __name__ == "__main__":
    main()
