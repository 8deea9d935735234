"""People written by hand, one by one, with what they know and how visitors really ask for it (`people/*.yaml`).

Beside the settings, whose questions are templates, they bring the variety of natural wording: synonyms, hints, guesses,
slips. Whenever a person is drawn, some of the facts are left out, so that the questions for them become questions that
cannot be answered, in the same natural words.
"""

from __future__ import annotations

import functools
import random
import re
from dataclasses import dataclass
from importlib import resources

from visavis import safe_yaml
from visavis.agent.persona import Card, Persona
from visavis.finetune.replies.worlds import Known, Split, World, of_split

__all__ = ["Person", "draw_person", "people"]


KEPT = (0.55, 1.0)  # the share of the facts that a drawn person has


@dataclass(frozen=True)
class Fact:
    """One fact: its topic, what is said, the questions it answers, and near ones that it does not."""

    topic: str
    says: str
    asks: tuple[str, ...]
    near: tuple[str, ...]


@dataclass(frozen=True)
class Person:
    """Somebody with facts, and questions that none of them answers."""

    name: str
    role: str
    facts: tuple[Fact, ...]
    unknown: tuple[str, ...]


@functools.cache
def people(split: Split) -> tuple[Person, ...]:
    """Everybody of a split, in the order of the files."""
    return tuple(person for person, dev in _everybody() if dev == (split == "dev"))


@functools.cache
def _everybody() -> tuple[tuple[Person, bool], ...]:
    """All people, and whether they are of the development split."""
    folder = resources.files("visavis.finetune.replies") / "people"
    found = []
    for file in sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".yaml")):
        for raw in safe_yaml.load_texts((folder / file).read_text("utf-8")):
            facts = tuple(
                Fact(str(card["topic"]), _sentence(fact["says"]), _lines(fact["asks"]), _lines(fact.get("near", ())))
                for card in raw["cards"]
                for fact in card["facts"]
            )
            person = Person(str(raw["name"]), str(raw["role"]), facts, _lines(raw.get("unknown", ())))
            # Whoever shares a setting with the held-out personas of `visavis.evals` says so: nothing trains on them.
            aside = raw.get("dev", "false") != "false"
            found.append((person, aside or of_split(f"{person.name}, {person.role}", "dev", "person")))
    return tuple(found)


def _sentence(text: object) -> str:
    line = " ".join(str(text).split())
    return line if line.endswith((".", "!", "?")) else f"{line}."


def _lines(texts: object) -> tuple[str, ...]:
    return tuple(" ".join(str(text).split()) for text in texts)  # type: ignore[attr-defined]


def draw_person(person: Person, rng: random.Random) -> World:
    """A person with some of the facts, in a new order."""
    share = rng.uniform(*KEPT)
    kept = [fact for fact in person.facts if rng.random() < share] or list(person.facts[:1])
    topics = {fact.topic for fact in kept}
    lost = [fact for fact in person.facts if fact not in kept]
    cards = [
        Card(topic=topic, facts=tuple(fact.says for fact in kept if fact.topic == topic)) for topic in sorted(topics)
    ]
    rng.shuffle(cards)
    near = [(fact.topic, ask) for fact in kept for ask in fact.near]
    near += [(fact.topic, ask) for fact in lost if fact.topic in topics for ask in fact.asks]
    far = [ask for fact in lost if fact.topic not in topics for ask in (*fact.asks, *fact.near)]
    known = tuple(Known(fact.topic, fact.says, fact.asks, (), _leaning(fact)) for fact in kept)
    return World(
        f"person {person.name}",
        Persona(name=person.name, role=person.role, cards=tuple(cards)),
        known,
        tuple(near),
        (*person.unknown, *person.unknown, *far),
    )


def _leaning(fact: Fact) -> tuple[str, ...]:
    """The questions that can follow another on the same topic: those that say "it" or "they" for it."""
    return tuple(ask for ask in fact.asks if re.search(r"\b(it|its|they|them|their|there|that|those)\b", ask, re.I))
