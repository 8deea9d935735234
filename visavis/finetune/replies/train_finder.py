"""Train the finder of facts (`visavis.agent.finder`): `python -m visavis.finetune.replies.train_finder RUNS`.

A batch is some personas with what they know and many lines said to each: questions that a fact answers, near and far
ones that none does, and lines of short talks, read as RECALL reads them. Each persona's facts are read once for all its
lines, which makes a line cost a tenth of what a cross-encoder reads for it. Loss: of every line the choice among its
persona's facts and "none" (a listwise softmax), and, by meaning alone, among the facts of all personas of the batch
(Henderson et al. 2017). Low-rank changes of MiniLM, AdamW, bf16 products, a falling rate; pieces of lines and facts are
masked at random.

`--folds` also trains two finders of half of the personas each (RUNS/finders/0 and 1), of which the one that never saw a
persona finds its facts where REPLY learns. A checkpoint every minute, continued by itself.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from visavis.agent.finder import JOIN, NONE, Finder
from visavis.agent.persona import NATURE
from visavis.agent.recall import look_up, rank_cards
from visavis.finetune.checkpoints import Checkpointer
from visavis.finetune.low_rank import Adapted, new_changes
from visavis.finetune.replies.conversation import conversations, roughened, talks_of_split
from visavis.finetune.replies.people import Person, draw_person, people
from visavis.finetune.replies.worlds import Setting, World, draw_world, fold_of, of_split, settings
from visavis.retrieval.embedder import DIMENSIONS, mean_of

__all__ = ["ASKING", "DECLINED", "Asking", "FinderTraining", "askings", "auc", "fit", "measure", "train"]

log = logging.getLogger(__name__)

RANK: Final = 32
DECAY: Final = 0.01
SHARPNESS: Final = 20.0  # of cosines in the softmax over all personas
ACROSS: Final = 0.5  # what that weighs
MASKED: Final = (0.1, 0.05)  # of the pieces of lines, of facts
MASK: Final = 103
MOST_PIECES: Final = 64  # of a line; its end, where the asking is
MOST_FACTS: Final = 24  # of a persona in a batch
A_READING: Final = 80  # texts of like length that are read together
# What is said to a persona: questions that a fact answers, near and far ones, and lines of talks.
KNOWN, NEAR, FAR, TALK = 20, 8, 5, 10
BY_SETTING: Final = 0.2  # of the personas
# Acts of lines that a fact answers, and of questions that none does.
ASKING: Final = ("known", "greet_known", "follow_up")
DECLINED: Final = ("near", "far", "unknown", "greet_unknown")


@dataclass(frozen=True)
class FinderTraining:
    """Settings of a run.

    Attributes:
        minutes: of the clock, over all resumptions.
        rate: the highest.
        personas: of a batch.
        seed: of order and new weights.
        threads: of torch.
    """

    minutes: float = 50.0
    rate: float = 1e-3
    personas: int = 8
    seed: int = 0
    threads: int = 2


@dataclass(frozen=True)
class Asking:
    """A persona's facts, each after its topic, and (line, places of the facts that answer it).

    person: the name of one who was written by hand.
    """

    facts: tuple[str, ...]
    lines: tuple[tuple[str, tuple[int, ...]], ...]
    person: str = ""


def asked_of(world: World, rng: random.Random) -> Asking:
    """What may be said to a persona."""
    told = [(card.topic, fact) for card in world.persona.cards for fact in card.facts][: MOST_FACTS - 1]
    pairs = [*told, *((NATURE.topic, fact) for fact in NATURE.facts)]
    at = {fact: place for place, (_, fact) in enumerate(pairs)}
    known = [(ask, (at[one.fact],)) for one in world.known if one.fact in at for ask in one.questions]
    near = [(ask, ()) for _, ask in world.near]
    far = [(ask, ()) for ask in world.far]
    some: list[tuple[str, tuple[int, ...]]] = []
    for group, count in ((known, KNOWN), (near, NEAR), (far, FAR)):
        some += [(roughened(ask, rng), right) for ask, right in rng.sample(group, min(len(group), count))]
    for talk in conversations(world, "train", rng, TALK):
        history: list[tuple[str, str]] = []
        for turn in talk:
            if all(fact in at for fact in turn.answers):  # not what was cut
                question = look_up(turn.user, history, world.persona.known).questions[0]
                some.append((question, tuple(at[fact] for fact in turn.answers)))
            history = [("user", turn.user)]
    person = world.persona.name if world.setting.startswith("person ") else ""
    return Asking(tuple(f"{topic}: {fact}" for topic, fact in pairs), tuple(some), person)


def askings(persons: Sequence[Person], places: Sequence[Setting], rng: random.Random) -> Iterator[Asking]:
    """Endless personas with what is said to them: all persons in a new order before any comes again."""
    deck: list[Person] = []
    while True:
        if places and (not persons or rng.random() < BY_SETTING):
            yield asked_of(draw_world(rng.choice(places), "train", rng), rng)
            continue
        deck = deck or rng.sample(persons, len(persons))
        yield asked_of(draw_person(deck.pop(), rng), rng)


@dataclass(frozen=True)
class _Read:
    """Of N texts: vectors and the T pieces of each, of unit length, and which of these tell something."""

    vectors: Tensor  # (N, D)
    pieces: Tensor  # (N, T, D)
    telling: Tensor  # (N, T) bool


class _Learner:
    """A finder whose weights are still learnt."""

    def __init__(self, seed: int, device: torch.device) -> None:
        torch.manual_seed(seed)
        changes = new_changes(Adapted({}), RANK, torch.Generator().manual_seed(seed))
        self.changes = {name: value.to(device).requires_grad_() for name, value in changes.items()}
        self.encoder = Adapted(self.changes)
        self.encoder.weights = {name: value.to(device) for name, value in self.encoder.weights.items()}
        self.join = torch.tensor([10.0, 8.0, 4.0, -10.0], device=device, requires_grad=True)
        self.none = torch.zeros(DIMENSIONS + 1, device=device, requires_grad=True)
        self.device = device
        self._known: dict[str, list[int]] = {}

    @property
    def weights(self) -> dict[str, Tensor]:
        """All that is learnt."""
        return {**self.changes, JOIN: self.join, NONE: self.none}

    def _ids(self, text: str) -> list[int]:
        if text not in self._known:
            first, *inner, last = self.encoder.tokenizer.encode(text).ids
            self._known[text] = [first, *inner[2 - MOST_PIECES :], last]
        return self._known[text]

    def read(self, texts: Sequence[str], rng: np.random.Generator, masked: float) -> _Read:
        """Texts of like length together, so that little is padding."""
        whole = [self._ids(text) for text in texts]
        order = sorted(range(len(whole)), key=lambda i: len(whole[i]))
        longest = len(whole[order[-1]])
        ids = torch.zeros(len(whole), longest, dtype=torch.int64)
        there = torch.zeros(len(whole), longest, dtype=torch.int64)
        telling = torch.zeros(len(whole), longest, dtype=torch.bool)
        for i, row in enumerate(whole):
            tells = [piece not in self.encoder.plain for piece in row]
            telling[i, : len(row)] = torch.tensor(tells if any(tells) else [True] * len(row))
            hidden = rng.random(len(row)) < masked
            hidden[[0, -1]] = False
            ids[i, : len(row)] = torch.from_numpy(np.where(hidden, MASK, row))
            there[i, : len(row)] = 1
        vectors, pieces = [], []
        for start in range(0, len(order), A_READING):
            rows = order[start : start + A_READING]
            width = len(whole[rows[-1]])
            mask = there[rows, :width].to(self.device)
            with torch.autocast(self.device.type, torch.bfloat16):
                states = self.encoder.states(ids[rows, :width].to(self.device), mask)
            vectors.append(F.normalize(mean_of(states.float(), mask), dim=-1))
            pieces.append(F.pad(F.normalize(states.float(), dim=-1), (0, 0, 0, longest - width)))
        back = torch.from_numpy(np.argsort(np.array(order))).to(self.device)
        return _Read(torch.cat(vectors)[back], torch.cat(pieces)[back], telling.to(self.device))

    def loss(self, batch: Sequence[Asking], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Mean nats of the choice among a persona's facts and none, and of that among the facts of all."""
        facts = self.read([fact for one in batch for fact in one.facts], rng, MASKED[1])
        said = self.read([line for one in batch for line, _ in one.lines], rng, MASKED[0])
        missed, across, f, q = [], [], 0, 0
        for one in batch:
            fs, qs = slice(f, f + len(one.facts)), slice(q, q + len(one.lines))
            scores = self._join(said, qs, facts, fs)
            none = said.vectors[qs] @ self.none[:-1] + self.none[-1]
            scores = torch.cat([scores, none[:, None]], 1)  # (Q, F + 1)
            hit = torch.zeros(scores.shape, dtype=torch.bool)
            for row, (_, right) in enumerate(one.lines):
                hit[row, list(right) or -1] = True
            good = scores.masked_fill(~hit.to(self.device), float("-inf"))
            missed.append(torch.logsumexp(scores, 1) - torch.logsumexp(good, 1))
            across += [(q + row, f + right[0]) for row, (_, right) in enumerate(one.lines) if len(right) == 1]
            f, q = fs.stop, qs.stop
        rows, places = torch.tensor(across, device=self.device).T
        meant = SHARPNESS * said.vectors[rows] @ facts.vectors.T
        return torch.cat(missed).mean(), F.cross_entropy(meant, places)

    def _join(self, said: _Read, qs: slice, facts: _Read, fs: slice) -> Tensor:
        """(Q, F) what `Finder.find` says, before the logit of none."""
        cosines = torch.einsum("qtd,fsd->qfts", said.pieces[qs].bfloat16(), facts.pieces[fs].bfloat16()).float()
        asked, known = said.telling[qs], facts.telling[fs]
        covered = cosines.masked_fill(~known[None, :, None, :], -1.0).amax(3) * asked[:, None]  # (Q, F, T)
        covers = cosines.masked_fill(~asked[:, None, :, None], -1.0).amax(2) * known[None]  # (Q, F, S)
        covered, covers = covered.sum(2) / asked.sum(1)[:, None], covers.sum(2) / known.sum(1)[None]
        cosine = said.vectors[qs] @ facts.vectors[fs].T
        return self.join[0] * cosine + self.join[1] * covered + self.join[2] * covers + self.join[3]


def fit(out: Path, persons: Sequence[Person], places: Sequence[Setting], training: FinderTraining) -> Finder:
    """Train on people and settings, and write weights, curve and settings in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(training.threads)
    learner = _Learner(training.seed, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    weights = learner.weights
    groups = [
        {"params": [*learner.changes.values()], "faster": 1.0}, {"params": [learner.join, learner.none], "faster": 3.0},
    ]  # fmt: skip
    optimizer = torch.optim.AdamW(groups, lr=training.rate, weight_decay=DECAY)
    checkpointer = Checkpointer(out / "checkpoint.pt")
    step, seen, before = 0, 0, 0.0
    if state := checkpointer.load():
        with torch.no_grad():
            for name, value in weights.items():
                value.copy_(state["weights"][name])
        optimizer.load_state_dict(state["optimizer"])
        step, seen, before = state["step"], state["seen"], state["elapsed_s"]
    source = askings(persons, places, random.Random(f"{training.seed}:{step}"))
    masks = np.random.default_rng([training.seed, step])
    began = time.monotonic()

    def elapsed() -> float:
        return before + time.monotonic() - began

    def save() -> None:
        checkpointer.save({
            "weights": {name: value.detach() for name, value in weights.items()},
            "optimizer": optimizer.state_dict(), "step": step, "seen": seen, "elapsed_s": elapsed(),
        })  # fmt: skip

    sums: list[tuple[float, float]] = []
    with open(out / "curve.csv", "a", newline="") as file:
        curve = csv.writer(file)
        while (along := elapsed() / (60 * training.minutes)) < 1:
            for group in optimizer.param_groups:
                group["lr"] = training.rate * group["faster"] * min(1.0, (step + 1) / 40) * (1 - 0.98 * along)
            batch = [next(source) for _ in range(training.personas)]
            own, across = learner.loss(batch, masks)
            optimizer.zero_grad(set_to_none=True)
            (own + ACROSS * across).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_([*learner.changes.values()], 1.0)
            optimizer.step()
            step, seen = step + 1, seen + sum(len(one.lines) for one in batch)
            sums.append((float(own.detach()), float(across.detach())))
            if step % 25 == 0:
                means = np.mean(sums, 0)
                sums = []
                curve.writerow([step, f"{means[0]:.4f}", f"{means[1]:.4f}", f"{elapsed():.0f}"])
                file.flush()
                log.info("step %d, %d lines, loss %.3f, across %.3f (%.0f s)", step, seen, *means, elapsed())
            if checkpointer.due():
                save()
                _write(out, weights)
    save()
    _write(out, weights)
    facts: dict[str, int | float | str] = {"rank": RANK, "seed": training.seed, "steps": step, "lines": seen}
    facts |= {"people": len(persons), "minutes": round(elapsed() / 60, 1), "device": learner.device.type}
    (out / "finder.json").write_text(json.dumps(facts, indent=1) + "\n")
    return Finder.load(out)


def _write(out: Path, weights: dict[str, Tensor]) -> None:
    halves = {name: value.detach().to("cpu", torch.float16).contiguous() for name, value in weights.items()}
    save_file(halves, out / "finder.safetensors")


def train(out: Path, training: FinderTraining, folds: bool = False) -> Finder:
    """The finder of all that trains, in OUT/finder, and with `folds` those of either half in OUT/finders/0 and 1."""
    persons = people("train")
    places = [place for name, place in settings().items() if of_split(name, "train", "setting")]
    for fold in (0, 1) if folds else ():
        mine = [person for person in persons if fold_of(person.name) == fold]
        fit(out / "finders" / str(fold), mine, [place for place in places if fold_of(place.name) == fold], training)
    return fit(out / "finder", persons, places, training)


@torch.inference_mode()
def measure(finder: Finder, count: int = 3000, seed: int = 1001) -> dict[str, float]:
    """On development settings and people: how often the right fact is first, and known told from unknown."""
    rng = random.Random(f"{seed}:measure")
    rows: dict[str, list[tuple[str, float, bool]]] = {"settings": [], "people": []}
    for world, talks in talks_of_split(seed, "dev"):
        side = rows["people" if world.setting.startswith("person ") else "settings"]
        persona = world.persona
        for talk in rng.sample(talks, min(4, len(talks))):  # of many personas a little
            history: list[tuple[str, str]] = []
            for turn in talk:
                cards = rank_cards(turn.user, persona, history, limit=1, finder=finder)
                history = [("user", turn.user)]
                if cards and turn.act in (*ASKING, *DECLINED):
                    side.append((turn.act, cards[0].score, cards[0].text in turn.answers))
        if sum(map(len, rows.values())) >= count:
            break
    figures: dict[str, float] = {}
    for name, some in rows.items():
        known = [(score, right) for act, score, right in some if act in ASKING]
        unknown = [score for act, score, _ in some if act in DECLINED]
        near = [score for act, score, _ in some if act == "near"]
        chance, truth = np.array([score for _, score, _ in some]), np.array([right for *_, right in some], dtype=float)
        bins = np.minimum((chance * 10).astype(int), 9)
        off = [abs(chance[bins == b].mean() - truth[bins == b].mean()) * (bins == b).mean() for b in set(bins.tolist())]
        scores = [score for score, _ in known]
        figures |= {
            f"{name}: questions that a fact answers": len(known),
            f"{name}: questions that none does": len(unknown),
            f"{name}: first": _share([right for _, right in known]),
            f"{name}: first and over half": _share([right and score > 0.5 for score, right in known]),
            f"{name}: unknown under half": _share([score < 0.5 for score in unknown]),
            f"{name}: near under half": _share([score < 0.5 for score in near]),
            f"{name}: AUC known, unknown": auc(scores, unknown),
            f"{name}: AUC known, near": auc(scores, near),
            f"{name}: calibration error": float(sum(off)),
        }
    return {key: round(value, 3) for key, value in figures.items()}


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits) if hits else math.nan


def auc(high: Sequence[float], low: Sequence[float]) -> float:
    """Probability that a value of `high` exceeds one of `low`; NaN if either is empty."""
    if not high or not low:
        return math.nan
    ordered = np.sort(low)
    places = np.searchsorted(ordered, high, "left") + np.searchsorted(ordered, high, "right")
    return float(places.mean() / 2 / len(low))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m visavis.finetune.replies.train_finder", description=__doc__)
    parser.add_argument("runs", type=Path, help="folder of a run: RUNS/finder, RUNS/finders")
    parser.add_argument("--minutes", type=float, default=FinderTraining.minutes, help="of each finder")
    parser.add_argument("--threads", type=int, default=FinderTraining.threads)
    parser.add_argument("--seed", type=int, default=FinderTraining.seed)
    parser.add_argument("--measure", action="store_true", help="measure RUNS/finder instead of training")
    parser.add_argument("--folds", action="store_true", help="also those of either half of the personas")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if options.measure:
        print(json.dumps(measure(Finder.load(options.runs / "finder")), indent=1))
        return
    training = FinderTraining(options.minutes, seed=options.seed, threads=options.threads)
    train(options.runs, training, options.folds)


if __name__ == "__main__":
    main()
