"""Is what is answered in small talk something that a sensible person could say? `python -m visavis.evals.small_talk`.

A hundred and ten talks of ten lines (`data/small_talk.yaml`; twenty to develop by, twenty held out, and thirty `fresh`
ones by two more authors, frozen while what they first judged was in training, and looked at after it;
`data/small_talk_late.yaml`: forty `late` ones, likewise by another), written as visitors of all sorts would type them
to the presets, by authors who saw none of the training lines. Each line has the kinds whose replies would do
(`visavis.agent.answering.KINDS`), the best first. Recall and memory work as in a turn, without voice and body, and each
talk is one conversation.

    kind      the kind that the line is taken for is one that would do
    reply     what is said first is a wording of such a kind, or was written for a line of it; replies in the model's
              own words fit none and are counted apart, and so are those that begin with a fact
    heard     the reply was written for lines like this one, instead of for all of its kind
    feeling   joy at what is sad, alarming, revolting or unjust, and any of these feelings at the others, are counted

Beside it: the replies to another line of the same talk (shuffled), which is what a partner reaches who does not listen.
Lines that ask for what is on a card are said, but not judged.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from visavis import safe_yaml
from visavis.agent.answering import KINDS
from visavis.agent.exchanges import Exchanges
from visavis.agent.manners import HELLOS, PLAIN_OF, replies_by_kind
from visavis.agent.memory import PartnerMemory
from visavis.agent.native import NativePlanner
from visavis.agent.persona import Persona, load_persona
from visavis.agent.planner import Cancel
from visavis.agent.recall import rank_cards
from visavis.agent.text_input import checked_line
from visavis.emotion import Emotion
from visavis.errors import TextError
from visavis.evals.first_light.table import Table, data_file, progress, report, share
from visavis.evals.quiet import planner_of
from visavis.tokenizers.turn_language import ReplyPlan, ReplyPrompt

__all__ = ["FACT", "Said", "Talk", "converse", "kinds_of", "main", "measure", "talks"]

FACT: Final = "fact"  # the kind of a reply that begins with a card
HARD: Final = frozenset({"anger", "bad_news", "crisis", "disgust", "emergency", "worry"})  # nobody is glad at these
GRAVE: Final = frozenset({"sadness", "fear", "anger", "disgust"})


@dataclass(frozen=True)
class Talk:
    """What one visitor says to a preset: (line, kinds that would do, whether it asks for a card), in order."""

    persona: str
    visitor: str
    lines: tuple[tuple[str, tuple[str, ...], bool], ...]


@dataclass(frozen=True)
class Said:
    """A line, what it was taken for, and the reply; `spoken`: the kinds that the reply's first words belong to."""

    talk: int
    line: str
    kinds: tuple[str, ...]
    taken: str
    plan: ReplyPlan
    spoken: frozenset[str]


def talks(split: str) -> list[Talk]:
    """The talks of `dev`, `held`, `fresh` or `late`."""
    files = ("small_talk.yaml", "small_talk_late.yaml")
    raw = [talk for name in files for talk in safe_yaml.load(data_file(name).read_text("utf-8"))["talks"]]
    return [
        Talk(
            entry["persona"], entry["visitor"],
            tuple((line["say"], tuple(line["kinds"]), bool(line.get("card"))) for line in entry["lines"]),
        )
        for entry in raw
        if entry["split"] == split
    ]  # fmt: skip


def kinds_of(plan: ReplyPlan, persona: Persona) -> frozenset[str]:
    """The kinds of which the reply begins with a wording, or of whose lines an answer is; `FACT` alone if it begins
    with a card; none for own words.
    """
    if plan.segments and plan.segments[0].quoted:
        return frozenset({FACT})
    if answered := Exchanges.default().kinds_of(plan.text):
        return frozenset(PLAIN_OF.get(kind, kind) for kind in answered)
    said = _plain(plan.text)
    hello = next((h for h in map(_plain, sorted(HELLOS, key=len, reverse=True)) if f"{said} ".startswith(f"{h} ")), "")
    found = {"greeting"} if hello else set()
    said = said.removeprefix(hello).strip()
    for kind, groups in replies_by_kind().items():
        for group in groups:
            wordings = (w.format(name=persona.name, role=persona.role) for w in group["say"])
            if any(f"{said} ".startswith(f"{_plain(wording)} ") for wording in wordings):
                found.add(kind)
    return frozenset(found)


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[\w']+", text.lower().replace("’", "'")))


def converse(planner: NativePlanner, talk: Talk, number: int = 0, seed: int = 0) -> list[Said]:
    """The judged lines of a talk and their replies. A line that the check of input refuses is not said."""
    persona = load_persona(talk.persona)
    memory = PartnerMemory("visitor", "small talk")
    history: list[tuple[str, str]] = []
    out = []
    for place, (raw, kinds, card) in enumerate(talk.lines):
        try:
            line = checked_line(raw)
        except TextError:
            if not card:
                out.append(Said(number, raw, kinds, "refused", ReplyPlan(Emotion(), ()), frozenset()))
            continue
        taken = KINDS[int(planner.kinds(line, history).argmax())]
        cards = rank_cards(line, [*persona.known, *memory.cards(line)], history)
        memory.hear(line, place)
        prompt = ReplyPrompt(persona.name, persona.role, cards, history, line)
        plan = planner.reply(prompt, seed=seed + place, cancel=Cancel())
        history += [("user", line), ("agent", plan.text)]
        if not card:
            out.append(Said(number, line, kinds, taken, plan, kinds_of(plan, persona)))
    return out


def measure(planner: NativePlanner, split: str = "fresh", seed: int = 0) -> Table:
    """All talks of a split; the details hold every reply."""
    said = [
        one for number, talk in enumerate(progress(talks(split), "talks")) for one in converse(planner, talk, number)
    ]
    other = _shuffled(said, seed)
    table = Table(f"Small talk with the presets, {split}")
    table.add("taken for a kind that would do", share(one.taken in one.kinds for one in said), "%", 100)
    table.add("… another line of the talk", share(two.taken in one.kinds for one, two in other), "%", 100)
    table.add("reply of a kind that would do", share(_fits(one, one.spoken) for one in said), "%", 100)
    table.add("… another line's reply", share(_fits(one, two.spoken) for one, two in other), "%", 100)
    table.add("reply written for lines like this one", share(_heard(one) for one in said), "%", 100)
    table.add("reply in the model's own words", share(not one.spoken for one in said), "%", 100)
    table.add("a fact given that nobody asked for", share(FACT in one.spoken for one in said), "%", 100)
    hard = [one for one in said if one.kinds[0] in HARD]
    easy = [one for one in said if not HARD & {*one.kinds}]
    table.add("hard lines met with joy", share(one.plan.emotion.name == "joy" for one in hard), "%", 100)
    table.add("other lines met with sadness, fear, anger or disgust", share(_grave(one) for one in easy), "%", 100)
    table.add("a reply heard before in the talk", share(_again(said)), "%", 100)
    table.details["replies"] = [_row(one) for one in said]
    return table


def _fits(one: Said, spoken: frozenset[str]) -> bool:
    return bool(spoken & {PLAIN_OF.get(kind, kind) for kind in one.kinds})


def _heard(one: Said) -> bool:
    return bool(Exchanges.default().kinds_of(one.plan.text))


def _grave(one: Said) -> bool:
    """Whether the agent feels badly about a line that is nothing of the kind; regret at declining is weaker."""
    return one.plan.emotion.name in GRAVE and one.plan.emotion.intensity > 0.35


def _shuffled(said: Sequence[Said], seed: int) -> list[tuple[Said, Said]]:
    """Every line with another one of its talk."""
    rng = random.Random(seed)
    return [(one, rng.choice([two for two in said if two.talk == one.talk and two is not one])) for one in said]


def _again(said: Sequence[Said]) -> list[bool]:
    seen: set[tuple[int, str]] = set()
    out = []
    for one in said:
        out.append((one.talk, one.plan.text) in seen)
        seen.add((one.talk, one.plan.text))
    return out


def _row(one: Said) -> dict[str, Any]:
    return {
        "talk": one.talk, "line": one.line, "would_do": [*one.kinds], "taken_for": one.taken, "reply": one.plan.text,
        "emotion": one.plan.emotion.name, "reply_kinds": sorted(one.spoken), "fits": _fits(one, one.spoken),
    }  # fmt: skip


def _misses(table: Table) -> None:
    for row in table.details["replies"]:
        if not row["fits"]:
            print(f"  {row['line']!r} ({row['taken_for']}; {', '.join(row['would_do'])}) → {row['reply']!r}")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the shipped planner, or another; exit status as of the command line."""
    parser = argparse.ArgumentParser(prog="python -m visavis.evals.small_talk", description=__doc__)
    parser.add_argument("--model", default=None, metavar="DIR", help="planner weights (default: the shipped ones)")
    parser.add_argument("--split", choices=("dev", "held", "fresh", "late"), default="fresh")
    parser.add_argument("--out", metavar="FILE", help="write the table and every reply as JSON")
    args = parser.parse_args(argv)

    def run() -> Table:
        with planner_of(args.model) as planner:
            return measure(planner, args.split)

    return report(run, args.out, _misses)


if __name__ == "__main__":
    sys.exit(main())
