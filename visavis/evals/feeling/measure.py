"""How often the emotion of a given text is the right one, beside majority, prototypes and a linear probe.

comments   GoEmotions' held-out comments with one label (half of its development part: this copy has no test part)
turns      200 authored cases whose second line is felt by what the first says (`data/feeling_turns.yaml`)
plain      sentences in which nothing is felt, and the project's utterances that nothing has learnt from
speed      what the heads cost beside the sentence vectors
trust      how much the heads should count beside the model, on the other half of the development comments
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import yaml
from numpy.typing import NDArray

from visavis.agent.native import FEELING_TRUST, NativePlanner
from visavis.emotion import EMOTIONS
from visavis.evals.feeling.asking import decided, logits
from visavis.evals.first_light.table import Table, data_file, median, share
from visavis.finetune.acts.comments import Comments, read_comments
from visavis.finetune.acts.train_feeling import fit_said, own, vectors
from visavis.metrics.bootstrap import Estimate, bootstrap
from visavis.retrieval.embedder import Embedder, shared_meanings
from visavis.retrieval.feeling import Feeling

__all__ = [
    "TRUSTS",
    "Places",
    "Setting",
    "Turn",
    "comments",
    "macro_f1",
    "plain",
    "speed",
    "trust",
    "turns",
    "two_turns",
]

Places = NDArray[np.int64]

TRUSTS: Final = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)  # float32 ends soon after


@dataclass(frozen=True, eq=False)
class Setting:
    """The planner that is measured, and where comments and kept vectors lie."""

    planner: NativePlanner
    data: Path
    kept: Path
    limit: int | None = None

    @property
    def alone(self) -> NativePlanner:
        """The model without the heads."""
        return NativePlanner(self.planner.engine, self.planner.library, feeling_trust=0.0)

    def ask(self, texts: Sequence[str], befores: Sequence[str] = (), alone: bool = False) -> Places:
        """(N,) what is decided."""
        return decided(self.alone if alone else self.planner, self.planner.library, texts, befores)

    def some(self, found: Comments) -> Comments:
        """Those with one label, as many as are wanted."""
        found = found.single
        return Comments(found.texts[: self.limit], found.shares[: self.limit])


def macro_f1(truth: Places, found: Places) -> float:
    """The mean of F1 over the emotions, in [0, 1], higher is better; one that is never true nor found counts 0."""
    scores = []
    for place in range(len(EMOTIONS)):
        met = np.sum((truth == place) & (found == place))
        scores.append(2 * met / max(np.sum(truth == place) + np.sum(found == place), 1))
    return float(np.mean(scores))


def _f1(truth: Places, found: Places, than: Places | None = None) -> Estimate:
    """Macro-F1, or by how much it is over that of `than`, the comments resampled together."""
    columns = np.stack([truth, found, found if than is None else than], axis=1).astype(np.float64)

    def statistic(rows: NDArray[np.float64]) -> float:
        one = rows.astype(np.int64)
        under = 0.0 if than is None else macro_f1(one[:, 0], one[:, 2])
        return macro_f1(one[:, 0], one[:, 1]) - under

    return bootstrap(columns, statistic)


def _probe(setting: Setting) -> tuple[Feeling, Comments, NDArray[np.float32]]:
    """The linear probe on MiniLM that is compared with, what it has learnt from and the vectors of that."""
    train = read_comments(setting.data, "train")
    x = vectors(train.texts, setting.kept)
    said, bias = fit_said(x, train.shares)
    return replace(Feeling.default(), said=said.numpy(), said_bias=bias.numpy()), train, x


def comments(setting: Setting, table: Table) -> None:
    """Add accuracy and macro-F1 on the held-out comments."""
    held = setting.some(read_comments(setting.data, "held"))
    truth, vector = held.labels, Embedder().encode(held.texts)
    probe, train, x = _probe(setting)
    once = train.shares.max(1) == 1
    middles = np.stack([x[once & (train.shares.argmax(1) == place)].mean(0) for place in range(len(EMOTIONS))])
    middles /= np.linalg.norm(middles, axis=1, keepdims=True)
    found: dict[str, Places] = {
        "majority": np.full(len(truth), train.shares[once].sum(0).argmax()),
        "MiniLM prototypes": (vector @ middles.T).argmax(1),
        "linear probe on MiniLM": probe.weigh(vector).argmax(1),
        "the heads alone": setting.planner.feeling.weigh(vector).argmax(1),
        "the model alone": setting.ask(held.texts, alone=True),
        "the model with the heads": setting.ask(held.texts),
    }
    for name, places in found.items():
        table.add(f"comments, {name}: accuracy", share(places == truth), "%", 100)
        table.add(f"comments, {name}: macro-F1", _f1(truth, places), "%", 100)
    ours, theirs = found["the model with the heads"], found["linear probe on MiniLM"]
    gain = (ours == truth).astype(float) - (theirs == truth)
    table.add("comments, the model with the heads minus the probe: accuracy", bootstrap(gain), "points", 100)
    table.add("comments, the model with the heads minus the probe: macro-F1", _f1(truth, ours, theirs), "points", 100)


@dataclass(frozen=True)
class Turn:
    """Two lines, and what the second may be felt as."""

    before: str
    text: str
    accept: tuple[str, ...]


def two_turns() -> list[Turn]:
    """The authored cases."""
    entries = yaml.safe_load(data_file("feeling_turns.yaml").read_text("utf-8"))
    return [Turn(case["before"], entry["say"], tuple(case["accept"])) for entry in entries for case in entry["after"]]


def turns(setting: Setting, table: Table) -> None:
    """Add the share of two-turn cases whose emotion is one of those accepted."""
    cases = two_turns()
    texts, befores = [case.text for case in cases], [case.before for case in cases]
    embedder = Embedder()
    text, before = embedder.encode(texts), embedder.encode(befores)
    heads = setting.planner.feeling
    stray = np.random.default_rng(0).permutation(len(cases))
    found: dict[str, Places] = {
        "linear probe on MiniLM, the text alone": _probe(setting)[0].weigh(text).argmax(1),
        "the heads, the text alone": heads.weigh(text).argmax(1),
        "the heads with the line before": heads.weigh(text, before).argmax(1),
        "the heads with the line of another case": heads.weigh(text, before[stray]).argmax(1),
        "the model alone": setting.ask(texts, alone=True),
        "the model with the heads, the text alone": setting.ask(texts),
        "the model with the heads and the line before": setting.ask(texts, befores),
    }
    hits = {
        name: np.array([EMOTIONS[place] in case.accept for place, case in zip(places, cases, strict=True)], float)
        for name, places in found.items()
    }
    constant = max(EMOTIONS, key=lambda name: sum(name in case.accept for case in cases))
    table.add(f"turns, always {constant}", share(constant in case.accept for case in cases), "%", 100)
    for name, some in hits.items():
        table.add(f"turns, {name}", bootstrap(some), "%", 100)
    gain = hits["the model with the heads and the line before"] - hits["linear probe on MiniLM, the text alone"]
    table.add("turns, the model with all of it minus the probe", bootstrap(gain), "points", 100)
    last = found["the model with the heads and the line before"]
    table.details["turns missed"] = [
        {"before": case.before, "text": case.text, "accept": case.accept, "found": EMOTIONS[place]}
        for case, place in zip(cases, last, strict=True)
        if EMOTIONS[place] not in case.accept
    ]


def plain(setting: Setting, table: Table) -> None:
    """Add how many plain sentences stay neutral, and the product's own kind of sentences."""
    lines = [line.strip() for line in data_file("library_neutral.txt").read_text("utf-8").split("\n") if line.strip()]
    mine = setting.some(own(dev=True))
    probe = _probe(setting)[0]
    for name, texts in (("sentences", lines), ("utterances", list(mine.texts))):
        x = Embedder().encode(texts)
        found: dict[str, Places] = {
            "linear probe on MiniLM": probe.weigh(x).argmax(1),
            "the heads alone": setting.planner.feeling.weigh(x).argmax(1),
            "the model alone": setting.ask(texts, alone=True),
            "the model with the heads": setting.ask(texts),
        }
        for who, places in found.items():
            if name == "sentences":
                table.add(f"plain sentences, {who}: neutral", share(places == EMOTIONS.index("neutral")), "%", 100)
            else:
                table.add(f"utterances left out, {who}: accuracy", share(places == mine.labels), "%", 100)
                table.add(f"utterances left out, {who}: macro-F1", _f1(mine.labels, places), "%", 100)


def speed(setting: Setting, table: Table) -> None:
    """Add what the heads cost once the vectors are there, and a whole decision with and without them."""
    cases, meanings, heads = two_turns(), shared_meanings(), setting.planner.feeling
    setting.ask([cases[0].text], [cases[0].before])
    costs: dict[str, list[float]] = {"vectors": [], "heads": [], "with the heads": [], "alone": []}
    for case in cases:

        def timed(name: str, planner: NativePlanner | None = None, case: Turn = case) -> None:
            began = time.perf_counter()
            if name == "vectors":
                Embedder(capacity=2).encode([case.text, case.before])
            elif planner is None:
                heads.log_chances(case.text, case.before, meanings)
            else:
                decided(planner, planner.library, [case.text], [case.before])
            costs[name].append(time.perf_counter() - began)

        timed("vectors")
        meanings.encode([case.text, case.before])
        timed("heads")
        timed("with the heads", setting.planner)
        timed("alone", setting.alone)
    table.add("speed, the vectors of text and line, median", median(costs["vectors"]), "ms", 1000)
    table.add("speed, the heads beside them, median", median(costs["heads"]), "ms", 1000)
    table.add("speed, an emotion with the heads, vectors at hand, median", median(costs["with the heads"]), "ms", 1000)
    table.add("speed, an emotion by the model alone, median", median(costs["alone"]), "ms", 1000)


def trust(setting: Setting, table: Table) -> None:
    """Add accuracy and macro-F1 for each trust, on the comments that are there to choose on."""
    some = setting.some(read_comments(setting.data, "choose"))
    truth, heads = some.labels, setting.planner.feeling.weigh(Embedder().encode(some.texts))
    own_ = logits(setting.planner.engine, setting.planner.library, some.texts)
    for value in TRUSTS:
        found = (own_ + value * heads).argmax(1)
        table.add(f"trust {value:g}: accuracy", share(found == truth), "%", 100)
        table.add(f"trust {value:g}: macro-F1", _f1(truth, found), "%", 100)
    table.add("the heads alone: accuracy", share(heads.argmax(1) == truth), "%", 100)
    table.add("the heads alone: macro-F1", _f1(truth, heads.argmax(1)), "%", 100)
    table.details["trust in use"] = FEELING_TRUST
