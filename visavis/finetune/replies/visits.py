"""Visits to personas, drawn and looked up once: what users ask, and which facts are worth reading for it.

The reader of facts and REPLY both learn from them, and each persona belongs to a fold, so that REPLY can be given what
a reader says that never saw the persona (stacking, Wolpert 1992). On disk a part is `partK.jsonl.gz`, one persona a
line, beside `partK.npy` with what meaning says of every fact that is read. Each part comes from its own seed, so that
processes can share the work and a stop loses one part at most.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from visavis.agent.persona import Card, Persona
from visavis.agent.recall import MEANT, READ, Near, choose, look_up
from visavis.errors import FileFormatError
from visavis.finetune.replies.conversation import TURNS_PER_WORLD, Turn, talks_of_split
from visavis.finetune.replies.worlds import Split, fold_of

__all__ = ["Asked", "Visit", "draw", "flat", "read_parts", "readings", "write_parts"]

VISITS_A_PART = 80


@dataclass(frozen=True)
class Asked:
    """A line of the user, as it is read, and the facts that are read for it, nearest first."""

    turn: Turn
    question: str
    near: Near


@dataclass(frozen=True)
class Visit:
    """One persona and short talks with it."""

    setting: str
    persona: Persona
    talks: tuple[tuple[Asked, ...], ...]

    @property
    def by_hand(self) -> bool:
        """Whether the persona is a person written by hand, not a setting."""
        return self.setting.startswith("person ")

    @property
    def fold(self) -> int:
        """0 or 1, the same for all that is drawn from one setting or person."""
        return fold_of(self.setting.removeprefix("person "))

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(topic, fact) of all its cards."""
        return [(card.topic, fact) for card in self.persona.cards for fact in card.facts]

    @property
    def asked(self) -> list[Asked]:
        """All lines, talk after talk."""
        return [asked for talk in self.talks for asked in talk]

    def read(self, asked: Asked) -> list[str]:
        """The facts of a line as they are read, each after its topic."""
        return [f"{topic}: {fact}" for topic, fact in (self.pairs[place] for place in asked.near.places)]


def draw(seed: int, split: Split, only: Collection[str] | None = None) -> Iterator[Visit]:
    """Endless visits to personas of a split; with `only`, to these people alone."""
    for world, talks, vectors in talks_of_split(seed, split, only):
        persona = world.persona.model_copy(update={"cards": world.persona.known})
        looked = []
        for talk in talks:
            history: list[tuple[str, str]] = []
            lines = []
            for turn in talk:
                found = look_up(turn.user, history, persona.cards)
                lines.append(Asked(turn, found.question, choose(found, vectors, READ)))
                history = [("user", turn.user)]
            looked.append(tuple(lines))
        yield Visit(world.setting, persona, tuple(looked))


def write_parts(
    folder: Path, turns: int, split: Split, seed: int = 1, processes: int = 1, only: Collection[str] | None = None
) -> None:
    """Draw about so many turns into `folder`; parts that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    a_part = VISITS_A_PART * TURNS_PER_WORLD
    sizes = [min(a_part, turns - first) for first in range(0, turns, a_part)]
    missing = [(k, -(-size // TURNS_PER_WORLD)) for k, size in enumerate(sizes) if not _part(folder, k).exists()]
    work = partial(_write_part, folder, split, seed, only)
    if processes > 1 and len(missing) > 1:
        with ProcessPoolExecutor(min(processes, len(missing))) as pool:
            list(pool.map(work, *zip(*missing, strict=True)))
    else:
        for number, visits in missing:
            work(number, visits)


def read_parts(folder: Path) -> Iterator[Visit]:
    """The visits of a folder, in the order of its parts; without `partK.npy` what meaning says is zero."""
    paths = sorted(folder.glob("part*.jsonl.gz"))
    if not paths:
        raise FileFormatError(f"expected part*.jsonl.gz in {folder}, found none: make them with `visavis train corpus`")
    for path in paths:
        rows_at = path.with_name(path.name.replace(".jsonl.gz", ".npy"))
        rows = np.load(rows_at, allow_pickle=False).astype(np.float64) if rows_at.exists() else None
        at = 0
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                visit, at = _from_json(json.loads(line), rows, at)
                yield visit


def flat(visits: Iterable[Visit]) -> Iterator[tuple[Visit, Asked]]:
    """Line after line."""
    for visit in visits:
        for asked in visit.asked:
            yield visit, asked


def _part(folder: Path, number: int) -> Path:
    return folder / f"part{number:03d}.jsonl.gz"


def _write_part(
    folder: Path, split: Split, seed: int, only: Collection[str] | None, number: int, visits: int
) -> None:  # fmt: skip
    path = _part(folder, number)
    rows: list[np.ndarray] = []
    temporary = path.with_suffix(".tmp")
    with gzip.open(temporary, "wt", encoding="utf-8") as file:
        for visit in islice(draw(1000 * seed + number, split, only), visits):
            file.write(json.dumps(_to_json(visit), ensure_ascii=False) + "\n")
            rows += [asked.near.rows for asked in visit.asked]
    with path.with_name(path.name.replace(".jsonl.gz", ".npy")).open("wb") as out:
        np.save(out, np.concatenate(rows).astype(np.float16))
    os.replace(temporary, path)


def _to_json(visit: Visit) -> dict[str, object]:
    talks = [
        [asdict(asked.turn) | {"question": asked.question, "read": list(asked.near.places)} for asked in talk]
        for talk in visit.talks
    ]
    persona = visit.persona
    cards = [[card.topic, list(card.facts)] for card in persona.cards]
    return {"setting": visit.setting, "name": persona.name, "role": persona.role, "cards": cards, "talks": talks}


def _from_json(data: dict, rows: np.ndarray | None, at: int) -> tuple[Visit, int]:  # type: ignore[type-arg]
    talks = []
    for talk in data["talks"]:
        lines = []
        for raw in talk:
            places = tuple(raw.pop("read"))
            some = np.zeros((len(places), len(MEANT))) if rows is None else rows[at : at + len(places)]
            at += len(places)
            question = raw.pop("question")
            lines.append(Asked(Turn(**raw | {"answers": tuple(raw["answers"])}), question, Near(places, some)))
        talks.append(tuple(lines))
    cards = tuple(Card.model_construct(topic=topic, facts=tuple(facts)) for topic, facts in data["cards"])
    persona = Persona.model_construct(name=data["name"], role=data["role"], cards=cards)
    return Visit(data["setting"], persona, tuple(talks)), at


def readings(visits: Sequence[Visit], logits: np.ndarray) -> Iterator[list[np.ndarray]]:
    """For each visit what a reader said of each line's facts, from one flat array in the order of the lines."""
    at = 0
    for visit in visits:
        found = []
        for asked in visit.asked:
            found.append(logits[at : at + len(asked.near.places)].astype(np.float64))
            at += len(asked.near.places)
        yield found
    if at != len(logits):
        raise FileFormatError(f"expected {at} readings for these visits, got {len(logits)}: read them again")
