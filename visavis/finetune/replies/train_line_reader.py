"""Train the reader of lines, `visavis.agent.line_reader`: `python -m visavis.finetune.replies.train_line_reader RUNS`.

Kinds are learnt from talks of visitors (`visavis.finetune.replies.visitors`), each line after the one before it, and
from the lines that MiniLM learns from (`visavis.finetune.replies.train_answering`), alone or after any plain line;
whether an answer suits, from judgements (`suiting.tsv`) of lines of no development talk, all answers to a line in one
sequence. The larger reader as it ships stands still, its changes merged; further ones of layers 10 to 19 learn beside
them, in an hour of two cores. What the lower layers make of a sequence is remembered. AdamW, bf16 products, a falling
rate; a checkpoint every minute, continued by itself. Then how it is joined with MiniLM is fitted on development lines
and on judgements that nothing has learnt from (`--fit` does that alone), and it is judged on them (`--check` does that
alone, of what ships).
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from visavis.agent.answering import KINDS, Answering
from visavis.agent.base_reader import WEIGHTS as BASE_WEIGHTS
from visavis.agent.base_reader import BaseReader, default_base_reader
from visavis.agent.exchanges import Exchanges
from visavis.agent.line_reader import (
    CHANGED,
    JUDGED,
    LEAST,
    WEIGHTS,
    LineReader,
    Reading,
    joined,
    kinds_of,
    made_for,
    suits_of,
)
from visavis.agent.native import DANGERS, danger_of
from visavis.agent.smollm import INSTALL, WIDTH, SmolLM, find_smollm
from visavis.agent.suiting import GRADES, Suiting
from visavis.errors import UsageError
from visavis.finetune.acts.recall_head import auc
from visavis.finetune.checkpoints import Checkpointer
from visavis.finetune.replies.smollm_learner import Learner, new_changes
from visavis.finetune.replies.train_answering import WEIGHTS as COUNTS
from visavis.finetune.replies.train_answering import felt_by_kind, joiner, lines
from visavis.finetune.replies.train_suiting import Graded, features, graded, held, logistic
from visavis.finetune.replies.visitors import shares_of, visited
from visavis.metrics.bootstrap import bootstrap

__all__ = [
    "Answered", "Case", "LineReaderTraining", "Said", "answered", "cases", "check", "fit", "join_kinds", "judged",
    "new_weights", "said",
]  # fmt: skip

log = logging.getLogger(__name__)

RANK: Final = 8
DECAY: Final = 0.01
FIRST_STEPS: Final = 60
SMOOTHED: Final = 0.05
DROPPED: Final = 0.1  # of the features of kinds
AFTER_PLAIN: Final = 0.25  # of the lines that nothing stands before, after a plain one
FORGOTTEN: Final = 0.15  # of the lines of talks, without what stands before
ASKED: Final = 0.7  # how much a question of a talk counts
HEAD_RATE: Final = 5.0  # times the rate of the changes
REMEMBERED: Final = 2_000_000  # ids, of what the lower layers make of them
TOGETHER: Final = 2048
MODELS: Final = Path(str(resources.files("visavis.models")))

Array = NDArray[np.float32]


@dataclass(frozen=True)
class LineReaderTraining:
    """Settings of a run.

    Attributes:
        minutes: of the clock, over all resumptions.
        rate: the highest; lines: a step; answered: lines whose answers are judged, a step; judging: the share of such
            steps; seed: of order and new weights; threads: of torch.
    """

    minutes: float = 50.0
    rate: float = 1e-3
    lines: int = 64
    answered: int = 24
    judging: float = 0.3
    seed: int = 0
    threads: int = 2


@dataclass(frozen=True, eq=False)
class Said:
    """A line after another; `wanted` (K,) shares of its kinds, and how much it counts."""

    line: str
    before: str
    wanted: NDArray[np.float32]
    count: float


@dataclass(frozen=True)
class Answered:
    """A line after another, with answers and the grade of each: 2 fits, 1 passable, 0 odd."""

    line: str
    before: str
    answers: tuple[str, ...]
    grades: tuple[int, ...]


def said(rng: random.Random) -> Iterator[Said]:
    """A pass over all lines to learn kinds from, in random order, as they are said this time."""
    some, talked = [*lines("train")], visited("train")
    join, plain = joiner(some, rng), [line.text for line in some if line.kind in ("remark", "small_talk", "statement")]
    out = [
        Said(join(line), rng.choice(plain) if rng.random() < AFTER_PLAIN else "", shares_of(line.kinds),
             COUNTS.get(line.source, 1.0))
        for line in some if line.source != "talks"
    ]  # fmt: skip
    out += [
        Said(one.line, "" if rng.random() < FORGOTTEN else one.before, shares_of(one.kinds),
             ASKED if one.kinds[0] == "unknown" else 1.0)
        for one in talked
    ]  # fmt: skip
    yield from rng.sample(out, len(out))


def answered(some: Sequence[Graded]) -> list[Answered]:
    """Judgements, by line."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for one in some:
        found.setdefault((one.before, one.line), {})[one.answer] = one.grade
    out = []
    for (before, line), grades in found.items():
        every = [*grades.items()]
        random.Random(line).shuffle(every)
        for first in range(0, len(every), JUDGED):
            part = every[first : first + JUDGED]
            out.append(Answered(line, before, tuple(a for a, _ in part), tuple(g for _, g in part)))
    return out


class _Learner(Learner):
    """The reader as it learns."""

    def __init__(self, base: SmolLM, weights: dict[str, Tensor], under: Mapping[str, Tensor]) -> None:
        super().__init__(base, weights, CHANGED, torch.device("cpu"), under)
        self._lower: dict[tuple[int, ...], Tensor] = {}
        self._held = 0  # ids of these

    def states(self, readings: Sequence[Reading]) -> Tensor:
        """(B, T, D), padded at the ends."""
        if self._held > REMEMBERED:
            self._lower, self._held = {}, 0
        fresh = sorted({tuple(one.ids) for one in readings} - self._lower.keys(), key=len)
        if fresh:
            ids = torch.zeros(len(fresh), len(fresh[-1]), dtype=torch.long)
            for row, some in enumerate(fresh):
                ids[row, : len(some)] = torch.tensor(some)
            with torch.no_grad():
                x = self.run(self.rows[ids].float(), range(CHANGED[0])).bfloat16()
            for row, some in enumerate(fresh):
                self._lower[some] = x[row, : len(some)].clone()
                self._held += len(some)
        lower = [self._lower[tuple(one.ids)] for one in readings]
        return self.run(torch.nn.utils.rnn.pad_sequence(lower, batch_first=True).float(), CHANGED)

    def read(self, one: Said | Answered) -> Reading:
        """Its ids."""
        return Reading(self.pieces, one.line, one.before, one.answers if isinstance(one, Answered) else ())

    def length(self, one: Said | Answered) -> int:
        """How many."""
        return len(self.read(one).ids)

    def loss_of_kinds(self, batch: Sequence[Said]) -> Tensor:
        """Mean nats of the kinds of lines."""
        readings = [self.read(one) for one in batch]
        states = self.states(readings)
        parts = [states[row, one.start : one.stop + 1].float() for row, one in enumerate(readings)]
        rows = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)
        mask = (torch.arange(rows.shape[1]) < torch.tensor([len(part) for part in parts])[:, None]).float()
        dropped = {**self.weights, "kinds.weight": F.dropout(self.weights["kinds.weight"], DROPPED)}
        logs = kinds_of(rows, mask, dropped).log_softmax(-1)
        wanted = torch.from_numpy(np.stack([one.wanted for one in batch]))
        wanted = (1 - SMOOTHED) * wanted + SMOOTHED / len(KINDS)
        counts = torch.tensor([one.count for one in batch])
        return -((wanted * logs).sum(1) * counts).sum() / counts.sum()

    def loss_of_answers(self, batch: Sequence[Answered]) -> Tensor:
        """Mean nats of whether answers are passable, and fit."""
        readings = [self.read(one) for one in batch]
        states = self.states(readings)
        ends = [states[row, one.ends] for row, one in enumerate(readings)]
        odds = suits_of(torch.cat(ends)[None], self.weights)[0]
        grades = torch.tensor([grade for one in batch for grade in one.grades])
        wanted = torch.stack([(grades >= least + 1).float() for least in range(GRADES)], 1)
        return F.binary_cross_entropy_with_logits(odds, wanted)


def _endless_lines(learner: _Learner, count: int, rng: random.Random) -> Iterator[list[Said]]:
    while True:
        every = [*said(rng)]
        for first in range(0, len(every), TOGETHER):
            some = sorted(every[first : first + TOGETHER], key=learner.length)
            batches = [some[at : at + count] for at in range(0, len(some), count)]
            yield from rng.sample(batches, len(batches))


def _endless_answers(
    learner: _Learner, some: Sequence[Answered], count: int, rng: random.Random
) -> Iterator[list[Answered]]:
    length = {one: learner.length(one) for one in some}
    while True:
        every = sorted(some, key=lambda one: length[one] + 15 * rng.random())
        batches = [every[at : at + count] for at in range(0, len(every), count)]
        yield from rng.sample(batches, len(batches))


def new_weights(seed: int) -> dict[str, Tensor]:
    """Changes that change nothing yet, heads that know nothing, and joins that leave MiniLM's word as it is."""
    join = torch.zeros(2 * GRADES + 4)
    join[GRADES:] = torch.from_numpy(Suiting.default().join)
    return new_changes(CHANGED, RANK, torch.Generator().manual_seed(seed)) | {
        "kinds.weight": torch.zeros(len(KINDS), 2 * WIDTH), "kinds.bias": torch.zeros(len(KINDS)),
        "kinds.join": torch.tensor([1.0, 0.0]),
        "suits.weight": torch.zeros(GRADES, WIDTH), "suits.bias": torch.zeros(GRADES), "suits.join": join,
    }  # fmt: skip


def fit(out: Path, training: LineReaderTraining | None = None) -> Path:
    """Train beside the larger reader that ships; writes weights, curve and settings.

    Raises:
        UsageError: SmolLM2 is not installed, or the larger reader's weights are missing.
        FileFormatError: the larger reader's weights are another file.
    """
    training = training or LineReaderTraining()
    beside = _larger_reader()
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(training.threads)
    torch.manual_seed(training.seed)
    weights = new_weights(training.seed)
    learnt = {name: value.requires_grad_() for name, value in weights.items() if not name.endswith(".join")}
    groups = [
        {"params": [v for n, v in learnt.items() if n.startswith("layers.")], "times": 1.0},
        {"params": [v for n, v in learnt.items() if not n.startswith("layers.")], "times": HEAD_RATE},
    ]
    optimizer = torch.optim.AdamW(groups, lr=training.rate, weight_decay=DECAY)
    learner = _Learner(beside.base, weights, load_file(MODELS / "base_reader" / BASE_WEIGHTS))
    checkpointer = Checkpointer(out / "checkpoint.pt", every_s=60.0)
    step, before = 0, 0.0
    if state := checkpointer.load():
        with torch.no_grad():
            for name, value in weights.items():
                value.copy_(state["weights"][name])
        optimizer.load_state_dict(state["optimizer"])
        step, before = state["step"], state["elapsed_s"]
    rng = random.Random(f"{training.seed}:{step}")
    batches = _endless_lines(learner, training.lines, rng)
    talked = {one.line for one in visited("dev")}
    some = answered([one for one in graded() if not held(one.line) and one.line not in talked])
    judged_ = _endless_answers(learner, some, training.answered, rng)
    began = time.monotonic()

    def elapsed() -> float:
        return before + time.monotonic() - began

    def save() -> None:
        now = {name: value.detach() for name, value in weights.items()}
        checkpointer.save({"weights": now, "optimizer": optimizer.state_dict(), "step": step, "elapsed_s": elapsed()})
        write(out, weights, beside.digest)

    losses: tuple[list[float], list[float]] = ([], [])
    with open(out / "curve.csv", "a", newline="") as file:
        curve = csv.writer(file)
        while (along := elapsed() / (60 * training.minutes)) < 1:
            for group in optimizer.param_groups:
                group["lr"] = group["times"] * training.rate * min(1.0, (step + 1) / FIRST_STEPS) * (1 - 0.99 * along)
            judging = rng.random() < training.judging
            loss = learner.loss_of_answers(next(judged_)) if judging else learner.loss_of_kinds(next(batches))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_([*learnt.values()], 1.0)
            optimizer.step()
            losses[judging].append(float(loss.detach()))
            step += 1
            if step % 50 == 0:
                means = [sum(some) / max(1, len(some)) for some in losses]
                curve.writerow([step, *(f"{mean:.4f}" for mean in means), f"{elapsed():.0f}"])
                file.flush()
                log.info("step %d, loss of kinds %.3f, of answers %.3f (%.0f s)", step, *means, elapsed())
                losses = ([], [])
            if checkpointer.due():
                save()
    save()
    facts = {"steps": step, "minutes": round(elapsed() / 60, 1), "rank": RANK, "seed": training.seed}
    (out / "line_reader.json").write_text(json.dumps(facts, indent=1) + "\n")
    return out


def write(out: Path, weights: Mapping[str, Tensor], digest: str) -> None:
    """Half precision, and which larger reader's changes they were learnt beside."""
    values = {name: value.detach().to(torch.float16).contiguous() for name, value in weights.items()}
    save_file(values | {"made_for": made_for(digest)}, out / WEIGHTS)


def _larger_reader() -> BaseReader:
    reader = default_base_reader()
    if reader is None:
        missing = f"SmolLM2-135M: {INSTALL}" if find_smollm() is None else f"{BASE_WEIGHTS} in {MODELS / 'base_reader'}"
        raise UsageError(f"expected the larger reader, which is not there: {missing}")
    return reader


@dataclass(frozen=True)
class Case:
    """A development line after another, and the kinds whose replies would do; `source` as of `train_answering.Line`."""

    line: str
    before: str
    kinds: tuple[str, ...]
    source: str


def cases() -> list[Case]:
    """Those of talks, each after the line before it, and those that MiniLM is judged by."""
    alone = [Case(line.text, "", line.kinds, line.source) for line in lines("dev") if line.source != "talks"]
    return [Case(one.line, one.before, one.kinds, "talks") for one in visited("dev")] + alone


def join_kinds(some: Sequence[Case], heard: Array, alone: Array) -> list[float]:
    """What the log-chances of both count, with the fewest nats of the kinds wanted."""
    wanted = torch.from_numpy(np.stack([shares_of(case.kinds) for case in some]))
    logs = torch.stack([torch.from_numpy(np.log(part + LEAST)) for part in (heard, alone)])
    join = torch.tensor([0.5, 0.5], requires_grad=True)
    optimizer = torch.optim.LBFGS([join], max_iter=50)

    def nats() -> Tensor:
        optimizer.zero_grad()
        found = -(wanted * (join[:, None, None] * logs).sum(0).log_softmax(-1)).sum(1).mean()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimizer.step(nats)  # type: ignore[arg-type]
    return [float(value) for value in join.detach()]


def judged(reader: LineReader) -> tuple[Array, NDArray[np.float64], NDArray[np.int64]]:
    """(N, 2 GRADES + 4) of answers to lines of which no judgement was learnt: log-odds of the reader, each line's
    answers in MiniLM's order, and the features of `Suiting`; (N,) whether each is passable; (N,) whose they are.
    """
    table, judge = Exchanges.default(), Suiting.default()
    there = {*table.replies}

    def kinds_after(line: str, before: str) -> Array:
        return reader.kinds(line, before, Answering.default().kinds(line))

    rows, right, of = [], [], []
    for number, one in enumerate(answered([one for one in graded() if held(one.line) and one.answer in there])):
        some = [Graded(g, one.line, a, one.before) for a, g in zip(one.answers, one.grades, strict=True)]
        x, y, _ = features(judge, table, some, kinds_after)
        order = np.argsort(-(x @ judge.join))
        odds = reader.grades(one.line, one.before, [one.answers[i] for i in order])
        rows.append(np.concatenate([odds, x[order]], 1))
        right += [*y[order]]
        of += [number] * len(y)
    return np.concatenate(rows), np.array(right), np.array(of)


def check(folder: Path, fitting: bool = False) -> None:
    """Print how well kinds are told and answers judged by MiniLM, by the reader and by both: kinds on development
    lines, answers on lines of which no judgement was learnt; with `fitting`, first fit how both are joined, on these,
    and write it.

    Raises:
        UsageError: SmolLM2 is not installed, or the larger reader's weights are missing.
        FileFormatError: the weights are missing or another file.
    """
    torch.set_num_threads(1)
    larger = _larger_reader()
    reader, some = LineReader.load(folder, larger), cases()
    heard = np.stack([Answering.default().kinds(case.line) for case in some])
    alone = np.stack([reader.kinds_alone(case.line, case.before) for case in some])
    if fitting:
        reader = _joined_anew(folder, larger, "kinds.join", join_kinds(some, heard, alone))
    x, y, of = judged(reader)
    if fitting:
        reader = _joined_anew(folder, larger, "suits.join", [*map(float, logistic(x, y))])
    both, felt = joined(heard, alone, reader.weights["kinds.join"].tolist()), felt_by_kind()
    for title, chances in (("MiniLM alone", heard), ("the reader alone", alone), ("both", both)):
        print(f"{title}:")
        hits: dict[str, list[float]] = {}
        for case, row in zip(some, chances, strict=True):
            for name, hit in _hits(case, row, felt, chances is both).items():
                hits.setdefault(name, []).append(hit)
        for name in sorted(hits):
            print(f"  {name}: {_percent(hits[name])}")
    plain, every = (np.zeros(len(y)) for _ in range(2))
    for fold in range(5):
        here = of % 5 == fold
        every[here] = x[here] @ logistic(x[~here], y[~here])
        plain[here] = x[here, GRADES:] @ logistic(x[~here, GRADES:], y[~here])
    print(f"{len(set(of))} lines, {len(y)} answers; area under the curve, passable against odd (joined by five-fold):")
    for title, scores in (("MiniLM", plain), ("the reader", x[:, 0]), ("both", every)):
        best = [here[scores[here].argmax()] for here in (np.flatnonzero(of == number) for number in np.unique(of))]
        surest = sorted(best, key=lambda i: -scores[i])[: len(best) // 4]
        print(f"  {title}: {auc(scores, y > 0):.3f}; the best for the surest quarter of lines: {_percent(y[surest])}")


def _joined_anew(folder: Path, larger: BaseReader, name: str, join: Sequence[float]) -> LineReader:
    """The reader of a folder with another join, which is written."""
    log.info("%s %s", name, [round(value, 3) for value in join])
    kept = {other: value for other, value in load_file(folder / WEIGHTS).items() if other != "made_for"}
    write(folder, kept | {name: torch.tensor(join)}, larger.digest)
    return LineReader.load(folder, larger)


def _hits(case: Case, chances: Array, felt: Array, reread: bool) -> dict[str, float]:
    """What was right about a line, by name; `felt` (K, E, STRENGTHS) of kinds; `reread` as of `danger_of`."""
    out = {f"{case.source}, a kind that would do": float(KINDS[int(chances.argmax())] in case.kinds)}
    if case.source in ("acts", "lines"):
        likeliest = int(np.tensordot(chances, felt, 1).sum(1).argmax())
        right = float(felt[KINDS.index(case.kinds[0])].sum(1)[likeliest] > 0)
        out[f"{case.source}, a feeling of the kind's replies"] = right
    if not {*DANGERS} & {*case.kinds} or case.kinds[0] == "emergency":
        known = "emergencies known" if case.kinds[0] == "emergency" else "others taken for danger"
        out[known] = float(bool(danger_of(chances, reread)))
    return out


def _percent(hits: Sequence[float] | NDArray[np.float64]) -> str:
    got = bootstrap(hits)
    return f"{100 * got.value:.1f} % [{100 * got.low:.1f}, {100 * got.high:.1f}] (n = {len(hits)})"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m visavis.finetune.replies.train_line_reader", description=__doc__)
    parser.add_argument(
        "runs", type=Path, nargs="?", help="folder of a run: RUNS/line_reader (--check: else what ships)"
    )
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--check", action="store_true", help="only judge")
    only.add_argument("--fit", action="store_true", help="only fit how it is joined with MiniLM, and judge")
    usual = LineReaderTraining()
    parser.add_argument("--minutes", type=float, default=usual.minutes)
    parser.add_argument("--rate", type=float, default=usual.rate, help="the highest")
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--threads", type=int, default=usual.threads)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    training = LineReaderTraining(options.minutes, options.rate, seed=options.seed, threads=options.threads)
    if options.runs is None and not options.check:
        parser.error("expected RUNS, the folder of runs")
    folder = (options.runs or MODELS) / "line_reader"
    if not options.check and not options.fit:
        print(fit(folder, training))
    check(folder, fitting=not options.check)


if __name__ == "__main__":
    main()
