"""Settings as data, and personas drawn from them with what they know and what they do not.

A setting (`settings/*.yaml`) has roles, word lists and topics; a topic has attributes, each with templates of facts
(`says`) and of questions (`asks`); `like: FAMILY` brings the attributes of a family (`families.yaml`) and `things` the
names of which one or more are drawn. What is left out of a persona is what it cannot answer: an attribute of a thing
that it knows is a near miss, another thing of the family a far one.
Split before anything is drawn: settings, persona names and question templates belong to train or to dev.
"""

from __future__ import annotations

import functools
import random
import zlib
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal

from visavis import safe_yaml
from visavis.agent.persona import Card, Persona
from visavis.finetune.replies.fillers import fill, words

__all__ = ["Known", "Setting", "Split", "World", "draw_world", "fold_of", "of_split", "settings"]

Split = Literal["train", "dev"]
DEV_SHARE = 8  # one in eight


def of_split(text: str, split: Split, kind: str = "") -> bool:
    """Whether a template, name or setting belongs to a split; fixed by its words alone."""
    return (zlib.crc32(f"{kind}:{text}".encode()) % DEV_SHARE == 0) == (split == "dev")


def fold_of(name: str) -> int:
    """0 or 1 for a setting or person: REPLY is given what a reader says that learnt from the other fold."""
    return zlib.crc32(f"lesson:{name}".encode()) % 2


@dataclass(frozen=True)
class Attribute:
    """One thing that can be asked about a topic; `shared` if it comes from a family."""

    says: tuple[str, ...]
    asks: tuple[str, ...]
    shared: bool

    def questions(self, split: Split) -> list[str]:
        """Its question templates in a split; a dev setting's own questions are all unseen."""
        mine = [ask for ask in self.asks if of_split(ask, split, "ask")]
        return mine or ([] if self.shared or split == "train" else list(self.asks))


@dataclass(frozen=True)
class Topic:
    """A topic template with its attributes; `things` are the names it may take, `times` how many are drawn."""

    name: str
    attributes: tuple[Attribute, ...]
    things: tuple[str, ...] = ()
    times: int = 1
    general: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """A place with roles and topics."""

    name: str
    roles: tuple[str, ...]
    topics: tuple[Topic, ...]
    slots: dict[str, list[str]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Known:
    """A fact with the questions that it answers (already filled) and those on its topic as a whole."""

    topic: str
    fact: str
    questions: tuple[str, ...]
    general: tuple[str, ...]
    follow_ups: tuple[str, ...] = ()


@dataclass(frozen=True)
class World:
    """A persona, its facts with their questions, and questions that it cannot answer."""

    setting: str
    persona: Persona
    known: tuple[Known, ...]
    near: tuple[tuple[str, str], ...]  # (topic, question) on a topic it knows
    far: tuple[str, ...]  # on things it does not know


def _read(name: str) -> dict[str, Any]:
    return safe_yaml.load((resources.files("visavis.finetune.replies") / name).read_text("utf-8"))


def _attribute(data: dict[str, Any], shared: bool) -> Attribute:
    return Attribute(tuple(data["says"]), tuple(data["asks"]), shared)


@functools.cache
def settings() -> dict[str, Setting]:
    """Every setting by name."""
    families = _read("families.yaml")
    found: dict[str, Setting] = {}
    folder = resources.files("visavis.finetune.replies") / "settings"
    for file in sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".yaml")):
        for name, data in _read(f"settings/{file}").items():
            topics = []
            for topic in data["topics"]:
                if isinstance(topic, str):  # a service of the house, such as "toilets"
                    topic = {"topic": topic, "like": topic}
                own = [_attribute(a, shared=False) for a in topic.get("about", ())]
                family = families[topic["like"]] if "like" in topic else {"about": ()}
                own += [_attribute(a, shared=True) for a in family["about"]]
                general = tuple(topic.get("general", ())) + tuple(family.get("general", ()))
                topics.append(
                    Topic(topic["topic"], tuple(own), tuple(topic.get("things", ())), topic.get("times", 1), general)
                )
            found[name] = Setting(name, tuple(data["roles"]), tuple(topics), data.get("slots", {}))
    return found


def draw_world(setting: Setting, split: Split, rng: random.Random) -> World:
    """A random persona of a setting."""
    name = rng.choice([first for first in words()["first"] if of_split(first, split, "name")])
    role = rng.choice(setting.roles)
    if rng.random() < 0.7:
        article = rng.choice(["a", "a", "the", "your"])
        role = f"{'an' if article == 'a' and role[0] in 'aeiou' else article} {role}"
    cards: list[Card] = []
    known: list[Known] = []
    near: list[tuple[str, str]] = []
    far: list[str] = []
    house = {"house": setting.name, "staff": role}
    for topic in rng.sample(setting.topics, k=rng.randint(min(7, len(setting.topics)), min(13, len(setting.topics)))):
        things = rng.sample(topic.things, k=min(len(topic.things), topic.times)) if topic.things else [""]
        unknown = [thing for thing in topic.things if thing not in things]
        for thing in things:
            card, facts, missing = _draw_topic(setting, topic, thing, house, split, rng)
            if card is None or any(other.topic == card.topic for other in cards):
                continue
            cards.append(card)
            known += facts
            near += [(card.topic, question) for question in missing]
        for thing in rng.sample(unknown, k=min(2, len(unknown))):
            _, facts, missing = _draw_topic(setting, topic, thing, house, split, rng)
            far += [question for fact in facts for question in fact.questions] + missing
    chosen = {topic.name for topic in setting.topics} - {card.topic for card in cards}
    for topic in setting.topics:
        if topic.name in chosen and not topic.things:
            _, facts, _ = _draw_topic(setting, topic, "", house, split, rng)
            far += [question for fact in facts for question in fact.questions]
    rng.shuffle(cards)
    persona = Persona(name=name, role=role, cards=tuple(cards))
    facts_known = set(persona.facts)
    return World(
        setting.name, persona, tuple(k for k in known if k.fact in facts_known), tuple(near), tuple(far)
    )  # fmt: skip


def _draw_topic(
    setting: Setting, topic: Topic, thing: str, house: dict[str, str], split: Split, rng: random.Random
) -> tuple[Card | None, list[Known], list[str]]:
    """One topic filled: its card, its facts, and the questions on attributes that were left out."""
    values = dict(house) | ({"thing": thing} if thing else {})
    attributes = list(topic.attributes)
    rng.shuffle(attributes)
    most = 3 if len(attributes) > 2 else 2
    keep = rng.randint(1, min(most, max(1, len(attributes) - 1))) if len(attributes) > 1 else 1
    facts: list[Known] = []
    missing: list[str] = []
    title = fill(topic.name, values, setting.slots, rng)
    general = tuple(fill(ask, values, setting.slots, rng) for ask in topic.general if of_split(ask, split, "ask"))
    lines: list[str] = []
    for place, attribute in enumerate(attributes):
        fact = fill(rng.choice(attribute.says), values, setting.slots, rng)
        fact = fact[0].upper() + fact[1:]
        asks = attribute.questions(split)
        questions = tuple(fill(ask, values, setting.slots, rng) for ask in asks)
        if place < keep:
            lines.append(fact)
            leaning = tuple(_lean(question, thing, rng) for question in questions) if thing else ()
            facts.append(Known(title, fact, questions, general, tuple(text for text in leaning if text)))
        else:
            missing += questions
    if not lines:
        return None, [], missing
    return Card(topic=title.strip()[:80], facts=tuple(lines)), [f for f in facts if f.questions], missing


def _lean(question: str, thing: str, rng: random.Random) -> str:
    """The question with a pronoun for its thing ("and how long is it?"), or "" if it does not name the thing."""
    for article in ("the ", "your ", "a ", "an ", ""):
        if f"{article}{thing}" in question:
            text = question.replace(f"{article}{thing}", "they" if thing.endswith("s") else "it", 1)
            if thing.endswith("s"):
                text = text.replace("of they", "of them")
            if rng.random() < 0.5:
                text = f"{rng.choice(['And', 'and', 'And', 'Okay, and', 'And'])} {text[0].lower()}{text[1:]}"
            return text
    return ""
