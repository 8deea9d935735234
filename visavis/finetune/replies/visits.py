"""Visits to personas, drawn and looked up once: what users ask, and which facts are likely to answer.

REPLY learns from them; each persona belongs to a fold, so that REPLY is given what a finder says that never saw the
persona (stacking, Wolpert 1992). On disk a part is `partK.jsonl.gz`, one persona a line. Each part comes from its own
seed, so that processes can share the work and a stop loses one part at most.
"""

from __future__ import annotations

import functools
import gzip
import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from visavis.agent.finder import Finder, default_finder
from visavis.agent.persona import Card, Persona
from visavis.agent.recall import likely, look_up
from visavis.errors import FileFormatError
from visavis.finetune.replies.conversation import TURNS_PER_WORLD, Turn, talks_of_split
from visavis.finetune.replies.worlds import Split, fold_of

__all__ = ["Asked", "Visit", "draw", "read_parts", "write_parts"]

VISITS_A_PART = 80


@dataclass(frozen=True)
class Asked:
    """A line of the user, and the facts that may answer: their places, likeliest first, and their logits."""

    turn: Turn
    places: tuple[int, ...]
    logits: tuple[float, ...]


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
        return fold_of(_name(self.setting))

    @property
    def asked(self) -> list[Asked]:
        """All lines, talk after talk."""
        return [asked for talk in self.talks for asked in talk]


def draw(seed: int, split: Split, finders: Path | None = None) -> Iterator[Visit]:
    """Endless visits to personas of a split.

    Args:
        seed: of everything.
        split: of settings, people and wordings.
        finders: folder of a run (`train_finder --folds`): facts of what trains are found by the finder of the other
            fold, all others by that of both; default: by the one that ships.
    """
    for world, talks in talks_of_split(seed, split):
        if finders is None:
            finder = default_finder()
        elif split == "dev":
            finder = _finder(finders / "finder")
        else:
            finder = _finder(finders / "finders" / str(1 - fold_of(_name(world.setting))))
        persona = world.persona.model_copy(update={"cards": world.persona.known})
        looked = []
        for talk in talks:
            history: list[tuple[str, str]] = []
            lines = []
            for turn in talk:
                places, logits = likely(look_up(turn.user, history, persona.cards), finder)
                lines.append(Asked(turn, tuple(places), tuple(round(float(z), 3) for z in logits)))
                history = [("user", turn.user)]
            looked.append(tuple(lines))
        yield Visit(world.setting, persona, tuple(looked))


@functools.cache
def _finder(folder: Path) -> Finder:
    return Finder.load(folder, capacity=30_000)


def _name(setting: str) -> str:
    return setting.removeprefix("person ")


def write_parts(
    folder: Path, turns: int, split: Split, seed: int = 1, processes: int = 1, finders: Path | None = None
) -> None:
    """Draw about so many turns into `folder`; parts that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    a_part = VISITS_A_PART * TURNS_PER_WORLD
    sizes = [min(a_part, turns - first) for first in range(0, turns, a_part)]
    missing = [(k, -(-size // TURNS_PER_WORLD)) for k, size in enumerate(sizes) if not _part(folder, k).exists()]
    work = partial(_write_part, folder, split, seed, finders)
    if processes > 1 and len(missing) > 1:
        with ProcessPoolExecutor(min(processes, len(missing))) as pool:
            list(pool.map(work, *zip(*missing, strict=True)))
    else:
        for number, visits in missing:
            work(number, visits)


def read_parts(folder: Path) -> Iterator[Visit]:
    """The visits of a folder, in the order of its parts."""
    paths = sorted(folder.glob("part*.jsonl.gz"))
    if not paths:
        raise FileFormatError(f"expected part*.jsonl.gz in {folder}, found none: make them with `visavis train corpus`")
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                yield _from_json(json.loads(line))


def _part(folder: Path, number: int) -> Path:
    return folder / f"part{number:03d}.jsonl.gz"


def _write_part(folder: Path, split: Split, seed: int, finders: Path | None, number: int, visits: int) -> None:
    path = _part(folder, number)
    temporary = path.with_suffix(".tmp")
    with gzip.open(temporary, "wt", encoding="utf-8") as file:
        for visit in islice(draw(1000 * seed + number, split, finders), visits):
            file.write(json.dumps(_to_json(visit), ensure_ascii=False) + "\n")
    os.replace(temporary, path)


def _to_json(visit: Visit) -> dict[str, object]:
    talks = [
        [asdict(asked.turn) | {"places": list(asked.places), "logits": list(asked.logits)} for asked in talk]
        for talk in visit.talks
    ]
    persona = visit.persona
    cards = [[card.topic, list(card.facts)] for card in persona.cards]
    return {"setting": visit.setting, "name": persona.name, "role": persona.role, "cards": cards, "talks": talks}


def _from_json(data: dict) -> Visit:  # type: ignore[type-arg]
    talks = []
    for talk in data["talks"]:
        lines = []
        for raw in talk:
            places, logits = tuple(raw.pop("places")), tuple(raw.pop("logits"))
            lines.append(Asked(Turn(**raw | {"answers": tuple(raw["answers"])}), places, logits))
        talks.append(tuple(lines))
    cards = tuple(Card.model_construct(topic=topic, facts=tuple(facts)) for topic, facts in data["cards"])
    persona = Persona.model_construct(name=data["name"], role=data["role"], cards=cards)
    return Visit(data["setting"], persona, tuple(talks))
