"""The frozen questions: read them, or draw others (`python -m visavis.evals.personas draw --out FILE.jsonl --seed N`).

Drawn once, with seed 0, and never changed since. People and settings are those of the split `dev`
(`visavis.finetune.replies`): `of_split` gives a setting, a person, a persona's name and a question template to one
split by its words alone, and both the readers and REPLY learn from the split `train` only. A drawn person lacks some of
its facts, so the questions for those become near misses in natural words. Left out are questions that two facts of the
persona answer, and lines that stand in the training split by chance. Readers were compared on people of this split
before it was frozen here (LOG.md), so it has served to choose; nothing learnt from it.
"""

from __future__ import annotations

import functools
import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visavis import safe_yaml
from visavis.agent.persona import Card, Persona
from visavis.emotion import EMOTIONS
from visavis.errors import FileFormatError
from visavis.evals.first_light.table import data_file
from visavis.finetune.replies.people import draw_person, people
from visavis.finetune.replies.worlds import World, draw_world, of_split, settings

__all__ = ["FEELINGS", "HELD", "Ask", "Feeling", "Held", "draw", "feelings", "held", "write"]

HELD = "personas_held.jsonl"
FEELINGS = "personas_emotion.yaml"
PERSON_DRAWS, SETTING_DRAWS = 2, 20  # personas drawn of each person and of each setting
# Questions of people and of settings.
KNOWN, NEAR, FAR, FOLLOWING = (700, 300), (140, 60), (70, 30), (150, 150)
REPEATS = (1, 3)  # how often the same words may be asked: a setting's templates are few, its facts always others
_MISSHAPEN = re.compile(r"\b(does|is|was|has|to|for|than|from|about|of) they\b")  # "they" for Mars or Naples


@dataclass(frozen=True)
class Ask:
    """One question. `fact` answers it, None where nothing does.

    kind: `known`, `near` (a near miss: on a topic that is known), `far` or `follow_up`; before: of a follow-up the
    question before it and the fact that answered that one.
    """

    kind: str
    text: str
    fact: str | None = None
    before: tuple[str, str] | None = None


@dataclass(frozen=True)
class Held:
    """A persona and what it is asked; `setting` is "" for a person written by hand."""

    setting: str
    persona: Persona
    asks: tuple[Ask, ...]


@dataclass(frozen=True)
class Feeling:
    """A line of the user and the emotions that suit the reply, the intended one first."""

    kind: str
    text: str
    accept: tuple[str, ...]


def held(path: Path | None = None) -> tuple[Held, ...]:
    """The frozen personas with their questions, or those of a file.

    Raises:
        FileFormatError: not a file that `draw` wrote.
    """
    path = path or data_file(HELD)
    try:
        return tuple(_read(json.loads(line)) for line in path.read_text("utf-8").splitlines())
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise FileFormatError(
            f"expected personas with questions, one JSON object a line; got {path}: {error}: "
            "draw them with `python -m visavis.evals.personas draw`"
        ) from None


def _read(raw: dict[str, Any]) -> Held:
    persona = Persona(name=raw["name"], role=raw["role"], cards=tuple(Card(**card) for card in raw["cards"]))
    facts = persona.facts
    asks = [Ask("known", text, facts[at]) for text, at in raw["known"]]
    asks += [Ask(kind, text) for kind in ("near", "far") for text in raw[kind]]
    asks += [Ask("follow_up", text, facts[at], (first, facts[of])) for first, of, text, at in raw["follow_ups"]]
    return Held(raw["setting"], persona, tuple(asks))


def feelings() -> tuple[Feeling, ...]:
    """The frozen lines with an intended emotion."""
    groups = safe_yaml.load(data_file(FEELINGS).read_text("utf-8"))
    found = tuple(Feeling(group["kind"], line, tuple(group["accept"])) for group in groups for line in group["lines"])
    assert all(name in EMOTIONS for feeling in found for name in feeling.accept), "emotions of EMOTIONS"
    return found


def write(path: Path, drawn: Sequence[Held]) -> None:
    """Write what `held` reads."""
    with path.open("w", encoding="utf-8") as file:
        for one in drawn:
            at = {fact: place for place, fact in enumerate(one.persona.facts)}
            row: dict[str, Any] = {
                "setting": one.setting, "name": one.persona.name, "role": one.persona.role,
                "cards": [{"topic": card.topic, "facts": list(card.facts)} for card in one.persona.cards],
                "known": [], "near": [], "far": [], "follow_ups": [],
            }  # fmt: skip
            for ask in one.asks:
                if ask.fact is None:
                    row[ask.kind].append(ask.text)
                elif ask.before is None:
                    row["known"].append([ask.text, at[ask.fact]])
                else:
                    row["follow_ups"].append([ask.before[0], at[ask.before[1]], ask.text, at[ask.fact]])
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def draw(seed: int = 0) -> list[Held]:
    """Personas of the split `dev` with questions: the same seed and the same corpora give the same ones."""
    rng = random.Random(f"{seed}:personas")
    mine = [setting for name, setting in settings().items() if of_split(name, "dev", "setting")]
    worlds = (
        [draw_person(person, rng) for person in people("dev") for _ in range(PERSON_DRAWS)],
        [draw_world(setting, "dev", rng) for setting in mine for _ in range(SETTING_DRAWS)],
    )
    trained = _trained()
    drawn = []
    for side, some in enumerate(worlds):
        taken: Counter[str] = Counter()
        asks: list[list[Ask]] = [[] for _ in some]
        pools = [_pools(world, trained, rng) for world in some]
        for kind, count in (("known", KNOWN), ("near", NEAR), ("far", FAR), ("follow_up", FOLLOWING)):
            for place, ask in _deal([pool[kind] for pool in pools], count[side], taken, REPEATS[side]):
                asks[place].append(ask)
        for world, its in zip(some, asks, strict=True):
            drawn.append(Held("" if side == 0 else world.setting, world.persona, tuple(its)))
    return drawn


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[\w']+", text.lower()))


@functools.cache
def _trained() -> frozenset[str]:
    """What people of the split `train` are asked."""
    facts = [fact for person in people("train") for fact in person.facts]
    lines = [line for fact in facts for line in (*fact.asks, *fact.near)]
    return frozenset(_plain(line) for line in [*lines, *(line for p in people("train") for line in p.unknown)])


def _pools(world: World, trained: frozenset[str], rng: random.Random) -> dict[str, list[Ask]]:
    """All that a persona can be asked, in random order; of the facts, one question each before a second of any."""
    answering: dict[str, set[str]] = {}
    for known in world.known:
        for text in known.questions:
            answering.setdefault(_plain(text), set()).add(known.fact)

    def fits(text: str, facts: int) -> bool:
        return _plain(text) not in trained and len(answering.get(_plain(text), ())) == facts

    rounds: list[tuple[int, float, Ask]] = []
    following = []
    for known in world.known:
        texts = [text for text in known.questions if fits(text, 1)]
        rng.shuffle(texts)
        rounds += [(turn, rng.random(), Ask("known", text, known.fact)) for turn, text in enumerate(texts)]
        before = [k for k in world.known if k.topic == known.topic and k.fact != known.fact]
        for text in known.follow_ups if before else ():
            first = rng.choice(before)
            if _plain(text) not in trained and not _MISSHAPEN.search(text):
                history = rng.choice(first.questions), first.fact
                following.append(Ask("follow_up", text, known.fact, history))
    near = [Ask("near", text) for _, text in world.near if fits(text, 0)]
    far = [Ask("far", text) for text in dict.fromkeys(world.far) if fits(text, 0)]
    for pool in (following, near, far):
        rng.shuffle(pool)
    known_asks = [ask for *_, ask in sorted(rounds, key=lambda row: row[:2])]
    return {"known": known_asks, "near": near, "far": far, "follow_up": following}


def _deal(
    pools: Sequence[Sequence[Ask]], count: int, taken: Counter[str], most: int
) -> Iterator[tuple[int, Ask]]:  # fmt: skip
    """Questions from the pools in turn, (pool, question), `count` in all, the same words at most so often.

    Raises:
        ValueError: there are not so many.
    """
    left = [iter(pool) for pool in pools]
    dealt = 0
    while dealt < count:
        before = dealt
        for place, pool in enumerate(left):
            ask = next((ask for ask in pool if taken[_words(ask)] < most), None)
            if ask is not None and dealt < count:
                taken[_words(ask)] += 1
                dealt += 1
                yield place, ask
        if dealt == before:
            raise ValueError(f"expected {count} questions to draw; there are {dealt}: draw more personas")


def _words(ask: Ask) -> str:
    """What is asked; the same follow-up is another one after another line."""
    return _plain(ask.text if ask.before is None else f"{ask.before[0]} {ask.text}")
