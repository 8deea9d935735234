"""Conversations for REPLY: what the user says, what was really recalled, and what the agent should answer.

A persona is drawn, then short conversations with it; every turn is one example whose history is what came before it.
The dialogue acts and their wordings lie in `acts.yaml`; questions and facts in the settings. Cards and scores are those
of `visavis.agent.recall`; an answer that was not recalled is declined, because the model only knows what it reads.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from visavis import safe_yaml
from visavis.agent.manners import replies_by_kind
from visavis.agent.persona import NATURE, Persona
from visavis.emotion import Emotion
from visavis.finetune.replies.fillers import fill
from visavis.finetune.replies.people import draw_person, people
from visavis.finetune.replies.worlds import Known, Split, World, draw_world, of_split, settings
from visavis.tokenizers.turn_language import Candidate, ReplyPlan, Segment

__all__ = ["Turn", "conversations", "plan_reply", "roughened", "talks_of_split"]

TURNS_PER_WORLD = 30
BY_HAND = 0.65  # the share of personas that were written by hand

# How often each act is drawn; facts and declining carry the weight, because they are hardest to learn.
ACT_WEIGHTS = {
    "known": 36, "greet_known": 7, "follow_up": 8, "general": 4, "near": 9, "far": 9, "unknown": 6, "greet_unknown": 2,
    "greeting": 3, "farewell": 2, "thanks": 2, "how_are_you": 2, "small_talk": 2, "compliment": 1.5, "who_are_you": 2,
    "robot": 2, "correction": 1.5, "what_can_you_do": 1.5, "surprise_me": 1, "good_news": 2.5, "bad_news": 2.5,
    "worry": 1.2, "anger": 1.2, "surprise": 1.2, "disgust": 0.8, "insult": 1.2, "crisis": 0.8, "other_language": 1.2,
    "unclear": 1.5, "statement": 1.5, "agreement": 1, "apology": 0.6, "joke": 0.6,
}  # fmt: skip


@dataclass(frozen=True)
class Turn:
    """What a user says and why: the act, the facts that answer (any of them), and the greeting it begins with."""

    act: str
    user: str
    answers: tuple[str, ...] = ()
    greeting: str = ""


@functools.cache
def acts() -> dict[str, Any]:
    """The wordings: users' lines, of this folder, and the agent's replies, which it ships with, by act."""
    found = safe_yaml.load((resources.files("visavis.finetune.replies") / "acts.yaml").read_text("utf-8"))
    for kind, replies in replies_by_kind().items():
        found[kind]["reply"] = replies
    return found


def _pick(lines: Sequence[str], split: Split, rng: random.Random) -> str:
    mine = [line for line in lines if of_split(line, split, "line")]
    return rng.choice(mine or list(lines))


def roughened(text: str, rng: random.Random) -> str:
    """As people type: small letters, no question mark, a slip of the finger."""
    if rng.random() < 0.25:
        text = text.lower()
    if rng.random() < 0.2:
        text = text.rstrip("?.!")
    if rng.random() < 0.1:
        parts = text.split()
        long = [i for i, word in enumerate(parts) if len(word) > 3 and word.isalpha()]
        if long:
            i = rng.choice(long)
            word = parts[i]
            k = rng.randrange(1, len(word) - 1)
            slip = rng.randrange(3)
            swapped = word[:k] + word[k + 1] + word[k] + word[k + 2 :]
            parts[i] = (
                swapped if slip == 0 else word[:k] + word[k + 1 :] if slip == 1 else word[:k] + word[k] + word[k:]
            )
            text = " ".join(parts)
    return text


def _ask(known: Known, rng: random.Random) -> str:
    return rng.choice(known.questions)


def _turn(
    world: World, before: list[tuple[Turn, Known | None]], split: Split, rng: random.Random
) -> tuple[Turn, Known | None]:
    """Draw the next thing that the user says."""
    lines = acts()
    act = rng.choices(list(ACT_WEIGHTS), list(ACT_WEIGHTS.values()))[0]
    if before and act in ("greeting", "greet_known", "greet_unknown"):
        act = rng.choice(["known", "follow_up"])
    hello = _pick(lines["greeting"]["user"], split, rng).replace("{name}", world.persona.name)
    last = before[-1][1] if before else None
    if act == "follow_up":
        same = [k for k in world.known if last and k.topic == last.topic and k is not last and k.follow_ups]
        near = [question for topic, question in world.near if last and topic == last.topic]
        if same and rng.random() < 0.8:
            known = rng.choice(same)
            return Turn("follow_up", roughened(rng.choice(known.follow_ups), rng), (known.fact,)), known
        act = "known" if not near or rng.random() < 0.7 else "near"
        if act == "near":
            return Turn("near", roughened(rng.choice(near), rng)), last
    if act in ("known", "greet_known") and world.known:
        known = rng.choice(world.known)
        question = _ask(known, rng)
        if act == "known":
            if rng.random() < 0.12:
                question = f"{_pick(lines['preface'], split, rng)} {question[0].lower()}{question[1:]}"
            return Turn(act, roughened(question, rng), (known.fact,)), known
        return Turn(act, roughened(f"{hello} {question}", rng), (known.fact,), hello), known
    if act == "correction" and last and len(world.known) > 1:
        known = rng.choice([k for k in world.known if k is not last])
        question = _ask(known, rng)
        question = f"{_pick(lines['correction']['user'], split, rng)} {question[0].lower()}{question[1:]}"
        return Turn("known", roughened(question, rng), (known.fact,)), known
    if act == "general":
        options = [known for known in world.known if known.general]
        if options:
            known = rng.choice(options)
            facts = tuple(k.fact for k in world.known if k.topic == known.topic)
            return Turn(act, roughened(rng.choice(known.general), rng), facts), known
        act = "far"
    if act == "near" and world.near:
        return Turn(act, roughened(rng.choice(world.near)[1], rng)), None
    if act in ("near", "far") and world.far:
        return Turn("far", roughened(rng.choice(world.far), rng)), None
    if act in ("near", "far", "unknown", "known", "greet_unknown", "greet_known", "correction"):
        question = fill(_pick(lines["unknown"]["user"], split, rng), {"name": world.persona.name}, {}, rng)
        if act == "greet_unknown":
            return Turn(act, roughened(f"{hello} {question}", rng), greeting=hello), None
        return Turn("unknown", roughened(question, rng)), None
    if act == "greeting":
        return Turn(act, roughened(hello, rng), greeting=hello), None
    line = fill(_pick(lines[act]["user"], split, rng), {"name": world.persona.name}, {}, rng)
    answers = NATURE.facts if act == "robot" else ()
    return Turn(act, line if act in ("other_language", "crisis", "unclear") else roughened(line, rng), answers), None


def conversations(world: World, split: Split, rng: random.Random, turns: int = TURNS_PER_WORLD) -> list[list[Turn]]:
    """Short talks with one persona, `turns` lines of the user in all."""
    talks: list[list[Turn]] = []
    while turns > 0:
        talk: list[tuple[Turn, Known | None]] = []
        for _ in range(min(turns, rng.choice([1, 1, 2, 3, 4]))):
            talk.append(_turn(world, talk, split, rng))
        talks.append([turn for turn, _ in talk])
        turns -= len(talk)
    return talks


def _feel(spec: str, rng: random.Random) -> Emotion:
    """An emotion from "joy 0.4 0.7", in steps of a tenth."""
    name, low, high = spec.split()
    return Emotion(name, round(rng.uniform(float(low), float(high)), 1))


def plan_reply(turn: Turn, persona: Persona, cards: Sequence[Candidate], split: Split, rng: random.Random) -> ReplyPlan:
    """What the agent should say to a turn, given what was recalled."""
    lines = acts()
    right = next((card.text for card in cards if card.text in turn.answers), None)
    values = {"name": persona.name, "role": persona.role}

    def say(reply: dict[str, Any]) -> str:
        return fill(rng.choice(reply["say"]), dict(values), {}, rng)

    if right is not None:
        reply = rng.choices(lines["known"]["reply"], [r["weight"] for r in lines["known"]["reply"]])[0]
        before = _back(turn.greeting, rng) if turn.greeting else ""
        if reply["say"]:
            before = f"{before} {say(reply)}".strip()
        segments = [Segment(before)] if before else []
        segments.append(Segment(right, quoted=True))
        if rng.random() < 0.12:
            segments.append(Segment(rng.choice(lines["known"]["after"])))
        return ReplyPlan(_feel(reply["feel"], rng), tuple(segments))
    if turn.act in ("known", "greet_known", "follow_up", "general", "near", "far", "unknown", "greet_unknown"):
        reply = rng.choice(lines["unknown"]["reply"])
        text = say(reply)
        if turn.greeting:
            text = f"{_back(turn.greeting, rng)} {text}"
        if rng.random() < 0.45:
            text = f"{text} {fill(rng.choice(lines['unknown']['offer']), dict(values), {}, rng)}"
        return ReplyPlan(_feel(reply["feel"], rng), (Segment(text),))
    reply = rng.choice(lines[turn.act]["reply"])
    if turn.act == "greeting":
        text = f"{_back(turn.greeting, rng)} {say(reply)}".strip()
        return ReplyPlan(_feel(reply["feel"], rng), (Segment(text),))
    if reply.get("quote") and cards:
        return ReplyPlan(_feel(reply["feel"], rng), (Segment(say(reply)), Segment(cards[0].text, quoted=True)))
    return ReplyPlan(_feel(reply["feel"], rng), (Segment(say(reply)),))


def _back(greeting: str, rng: random.Random) -> str:
    """The greeting returned: in kind."""
    low = greeting.lower()
    for part in ("morning", "afternoon", "evening"):
        if part in low:
            return f"Good {part}!"
    if "hey" in low or "hi" in low.split(" ")[0]:
        return rng.choice(["Hi!", "Hi there!", "Hello!"])
    return rng.choice(["Hello!", "Hello!", "Hello there!", "Welcome!"])


def talks_of_split(seed: int, split: Split) -> Iterator[tuple[World, list[list[Turn]]]]:
    """Endless personas of a split with their conversations."""
    rng = random.Random(f"{seed}:{split}:replies")
    mine = [setting for name, setting in settings().items() if of_split(name, split, "setting")]
    persons = people(split)
    while True:
        by_hand = persons and rng.random() < BY_HAND
        world = draw_person(rng.choice(persons), rng) if by_hand else draw_world(rng.choice(mine), split, rng)
        yield world, conversations(world, split, rng)
