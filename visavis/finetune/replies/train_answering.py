"""Train the head of `visavis.agent.answering`: `python -m visavis.finetune.replies.train_answering [--check]`.

Low-rank changes of MiniLM and a linear head over four of its layers are learnt together, as the index of gestures is
(`visavis.finetune.acts.train_encoder`): from the training wordings of every act of REPLY, from the lines of
`felt_lines.yaml`, which tell more of the world, and of `everyday_lines.yaml`, which do in a talk, from those of talks
of visitors (`visavis.finetune.replies.visitors`), and from questions to people of the training split. Lines are joined
at random, because people say more than one sentence: a loss stays one after a remark, and when a question follows.
`--check` judges what ships on the development lines, which nothing has learnt from, and trains nothing.
"""

from __future__ import annotations

import argparse
import functools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from visavis import safe_yaml
from visavis.agent.answering import DEFAULT_ANSWERING, KINDS, RANK, STRENGTHS, Answering
from visavis.agent.native import danger_of
from visavis.emotion import EMOTIONS
from visavis.finetune.acts.train_encoder import features_of, padded, thinned
from visavis.finetune.low_rank import Adapted, new_changes
from visavis.finetune.replies.conversation import acts
from visavis.finetune.replies.fillers import fill, slots_of
from visavis.finetune.replies.people import people
from visavis.finetune.replies.visitors import shares_of, visited
from visavis.finetune.replies.worlds import Split, of_split
from visavis.metrics.bootstrap import bootstrap
from visavis.retrieval.embedder import Encoder
from visavis.retrieval.layers import WIDTH

__all__ = ["Line", "felt_by_kind", "fit", "joiner", "lines"]

QUESTIONS: Final = 3000
FILLINGS: Final = 3  # of a wording with slots
EPOCHS: Final = 5.0
BATCH: Final = 64
MOST_PIECES: Final = 40
RATE: Final = 1e-3
HEAD_RATE: Final = 3e-2
DECAY: Final = 0.01
DROPPED: Final = 0.1  # of the features
SMOOTHED: Final = 0.05
WEIGHTS: Final = {"questions": 0.5, "lines": 2.5}  # of a source in the loss: what is felt must not drown in what is not
JOINED: Final = 0.3  # of the lines that tell of something
LIKELIER: Final = 2 / 3  # of the two emotions that a kind is answered with, the first
ALONE: Final = ("unknown", "crisis", "emergency")  # kinds whose words suit no other: declining, and where help is
NEWS: Final = ("anger", "bad_news", "disgust", "emergency", "good_news", "surprise", "worry")
PLAIN: Final = ("greeting", "remark", "small_talk", "statement")  # what may stand before news or a question
AFTER: Final = (
    "What do I do now?", "What should I do?", "What would you do?", "Can you imagine?", "Do you know what I mean?",
    "What do you say to that?", "How could that happen?", "Did you know that?", "Any advice?",
    "I had to tell somebody.", "That was this morning.", "It only just happened.", "What now?", "Why?",
    "I don't know what to say.",
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """What somebody says and the kinds whose replies would do, the best first; `source` is `acts`, `lines`, `everyday`,
    `talks` or `questions`.
    """

    text: str
    kinds: tuple[str, ...]
    source: str

    @property
    def kind(self) -> str:
        """The best."""
        return self.kinds[0]


@functools.cache
def _felt_lines() -> Mapping[str, Mapping[str, str]]:
    """By split and kind, one line each."""
    found: Mapping[str, Mapping[str, str]] = safe_yaml.load(
        (resources.files("visavis.finetune.replies") / "felt_lines.yaml").read_text("utf-8")
    )
    return found


@functools.cache
def _everyday_lines() -> Mapping[str, str]:
    """By kind, one line each; all to train on."""
    found: Mapping[str, str] = safe_yaml.load(
        (resources.files("visavis.finetune.replies") / "everyday_lines.yaml").read_text("utf-8")
    )
    return found


def _feels(kind: str) -> list[tuple[str, str, str]]:
    """Of the replies to a kind: (emotion, least intensity, greatest)."""
    return [tuple(reply["feel"].split()) for reply in acts()[kind]["reply"]]


def _levels(low: str, high: str) -> range:
    return range(round(10 * float(low)), round(10 * float(high)) + 1)


def felt_by_kind() -> np.ndarray:
    """(K, E, STRENGTHS) chances of what is felt in the replies to a kind, from `acts.yaml`; questions are answered
    neutrally, for whether to regret that nothing is known is the model's own matter. Words follow from
    emotion and intensity: those of `ALONE` are left to them, where there are others.
    """
    out = np.zeros((len(KINDS), len(EMOTIONS), STRENGTHS), np.float32)
    for place, kind in enumerate(KINDS):
        feels = _feels("statement" if kind == "remark" else kind)
        if kind in ("remark", "unknown"):
            feels = [feel for feel in feels if feel[0] == "neutral"][:1]
        for (name, low, high), weight in zip(
            feels, (1.0,) if len(feels) == 1 else (LIKELIER, 1 - LIKELIER), strict=True
        ):
            every = _levels(low, high)
            avoided = {
                level
                for alone in ALONE
                if kind != alone
                for other, least, most in _feels(alone)
                if other == name
                for level in _levels(least, most)
            }
            levels = [level for level in every if level not in avoided] or [*every]
            out[place, EMOTIONS.index(name), levels] += weight / len(levels)
    return out


def lines(split: Split, seed: int = 0) -> Iterator[Line]:
    """The lines of a split."""
    rng = random.Random(seed)
    for kind, act in acts().items():
        if kind not in KINDS:
            continue
        for line in act["user"]:
            if of_split(line, split, "line"):
                fillings = FILLINGS if split == "train" and set(slots_of(line)) - {"name"} else 1
                made = (fill(line, {"name": "Robin"}, {}, rng) for _ in range(fillings))
                yield from (Line(text, (kind,), "acts") for text in dict.fromkeys(made))
    for kind, block in _felt_lines()[split].items():
        yield from (Line(text, (kind,), "lines") for text in block.splitlines())
    if split == "train":
        for kind, block in _everyday_lines().items():
            yield from (Line(text, (kind,), "everyday") for text in block.splitlines())
    said = set() if split == "train" else {one.line for one in visited("train")}  # "Haha" is said in every talk
    yield from (Line(one.line, one.kinds, "talks") for one in visited(split) if one.line not in said)
    asked = _asked(split)
    if split == "dev":  # "How big is it?" is asked everywhere
        trained = {*_asked("train")}
        asked = [ask for ask in asked if ask not in trained]
    for ask in rng.sample(asked, min(len(asked), QUESTIONS if split == "train" else QUESTIONS // 3)):
        yield Line(ask, ("unknown",), "questions")


def _asked(split: Split) -> list[str]:
    return [ask for person in people(split) for fact in person.facts for ask in (*fact.asks, *fact.near)]


def joiner(some: Sequence[Line], rng: random.Random) -> Callable[[Line], str]:
    """What gives the text of a line, sometimes with another of `some` that leaves its kind as it is."""
    by_kind: dict[str, list[str]] = {kind: [] for kind in (*PLAIN, *NEWS)}
    for line in some:
        if line.kind in by_kind and line.source != "talks":
            by_kind[line.kind].append(line.text)
    texts = {kind: found or [""] for kind, found in by_kind.items()}

    def join(line: Line) -> str:
        if line.kind in NEWS and rng.random() < JOINED:
            way = rng.random()
            if way < 0.35:
                return f"{rng.choice(texts[rng.choice(PLAIN)])} {line.text}"
            if way < 0.7:
                return f"{line.text} {rng.choice(texts[line.kind])}"
            return f"{line.text} {rng.choice(AFTER)}"
        if line.kind in ("unknown", "remark") and rng.random() < JOINED / 2:
            return f"{rng.choice(texts[rng.choice(PLAIN[:2] if line.kind == 'unknown' else PLAIN[1:2])])} {line.text}"
        return line.text

    return join


def fit(some: Sequence[Line], epochs: float = EPOCHS, seed: int = 0) -> Answering:
    """What these lines teach; minutes for some thousands on one thread."""
    torch.manual_seed(seed)
    rng, order_rng = random.Random(seed), np.random.default_rng(seed)
    base = Encoder()
    base.tokenizer.no_padding()
    changes = {k: v.requires_grad_() for k, v in new_changes(base, RANK, torch.Generator().manual_seed(seed)).items()}
    encoder = Adapted(changes)
    weight = torch.zeros(len(KINDS), WIDTH, requires_grad=True)
    bias = torch.zeros(len(KINDS), requires_grad=True)
    groups = [{"params": [*changes.values()], "peak": RATE}, {"params": [weight, bias], "peak": HEAD_RATE}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, weight_decay=DECAY)
    join = joiner(some, rng)
    wanted = torch.from_numpy(np.stack([shares_of(line.kinds) for line in some]))
    counts = torch.tensor([WEIGHTS.get(line.source, 1.0) for line in some])
    steps = max(1, round(epochs * len(some) / BATCH))
    batches: list[list[tuple[int, list[int]]]] = []
    for step in tqdm(range(steps), "answering", mininterval=5):
        if not batches:  # a pass over everything, lines of like length together
            texts = [join(line) for line in some]
            rows = [thinned(one.ids[:MOST_PIECES], order_rng) for one in base.tokenizer.encode_batch(texts)]
            order = sorted(range(len(rows)), key=lambda i: len(rows[i]) + 2 * rng.random())
            batches = [[(i, rows[i]) for i in order[start : start + BATCH]] for start in range(0, len(order), BATCH)]
            rng.shuffle(batches)
        batch = batches.pop()
        chosen = [place for place, _ in batch]
        ids, mask = padded([pieces for _, pieces in batch])
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * min(1.0, (step + 1) / 60) * (1 - 0.98 * step / steps)
        with torch.autocast("cpu", torch.bfloat16):
            x = features_of(encoder, ids, mask)
        logits = F.dropout(x.float(), DROPPED) @ weight.T + bias
        each = F.cross_entropy(logits, wanted[chosen], reduction="none", label_smoothing=SMOOTHED)
        loss = (each * counts[chosen]).sum() / counts[chosen].sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([*changes.values(), weight, bias], 1.0)
        optimizer.step()
    return Answering(_array(weight), _array(bias), felt_by_kind(), {name: _array(v) for name, v in changes.items()})


def _array(value: Tensor) -> np.ndarray:
    return value.detach().numpy().astype(np.float16).astype(np.float32)


def check(head: Answering) -> None:
    """Print how often the likeliest emotion is one of the kind's, on the development lines; and of emergencies, how
    many are known, and how many others are taken for danger.
    """
    hits: dict[str, list[float]] = {}
    possible = felt_by_kind().sum(2) > 0  # (K, E)
    for line in lines("dev"):
        place = KINDS.index(line.kind)
        chances = head.kinds(line.text)
        said = int(head.chances(chances).sum(1).argmax())
        first = EMOTIONS[int(felt_by_kind()[place].sum(1).argmax())]
        hit = float(possible[place, said])
        if line.source == "talks":
            hits.setdefault("talks, a kind that would do", []).append(float(KINDS[int(chances.argmax())] in line.kinds))
        if line.kind != "crisis":
            title = "emergencies known" if line.kind == "emergency" else "others taken for danger"
            hits.setdefault(title, []).append(float(bool(danger_of(chances))))
        for title in (line.source, *([f"{line.source}, {first}"] if line.source == "lines" else [])):
            hits.setdefault(title, []).append(hit)
    for title in sorted(hits):
        got = bootstrap(hits[title])
        print(f"{title}: {100 * got.value:.1f} % [{100 * got.low:.1f}, {100 * got.high:.1f}] (n = {len(hits[title])})")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m visavis.finetune.replies.train_answering", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only judge what is there on the development lines")
    parser.add_argument("--epochs", type=float, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=DEFAULT_ANSWERING, metavar="FILE", help="where to write it")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if not options.check:
        fit(list(lines("train", options.seed)), options.epochs, options.seed).save(options.out)
        print(f"wrote {options.out}")
    check(Answering.load(options.out))


if __name__ == "__main__":
    main()
