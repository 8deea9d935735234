"""What ACT makes of 100 turns of Topical-Chat, which nobody here wrote: how dense, and does it fit?

Whether a gesture fits is judged by a person, or a reader of this rubric. A gesture is accepted if all of these hold:

1. it shows something that the sentence says or does: a thing, an action, a size, a direction, an attitude, a greeting;
2. in the sense that is meant there: not a word's other sense, not what is denied, not what only its sound suggests;
3. on the word that it shows, or on one of the same phrase;
4. a speaker could make it there without seeming to mock or to act.

The words of the conversations are not kept here (CDLA-Sharing-1.0, and no data of others is in this project). Verdicts
are keyed by a hash of text, gesture and word: after the planner has changed, those of gestures it still makes remain,
and the table says how many wait for theirs.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from visavis.agent.planner import Planner
from visavis.errors import FileFormatError, UsageError
from visavis.evals.acts.items import Item, Made
from visavis.evals.acts.measure import over, ratio_of
from visavis.evals.acts.systems import Product, recalled, sentences
from visavis.evals.first_light.table import Table, progress, share
from visavis.retrieval.library import Library

__all__ = ["VERDICTS", "key_of", "measure", "turns", "verdicts"]

CONVERSATIONS: Final = Path(".cache/real/topical_chat/conversations/valid_rare.json")
VERDICTS: Final = Path(__file__).parent / "topical_verdicts.yaml"
WORDS_A_MINUTE: Final = 150.0  # of conversational speech, to turn words into time
SHORTEST, LONGEST = 4, 40  # words of a turn


def turns(path: Path = CONVERSATIONS, count: int = 100) -> list[str]:
    """The turns whose hash is lowest, so that they stay the same whatever is read first.

    Raises:
        UsageError: the conversations are not there.
        FileFormatError: they are not those of Topical-Chat.
    """
    try:
        talks = json.loads(path.read_text("utf-8"))
        said = {" ".join(turn["message"].split()) for talk in talks.values() for turn in talk["content"]}
    except OSError as error:
        raise UsageError(
            f"expected Topical-Chat's conversations in {path}: fetch valid_rare.json from github.com/alexa/Topical-Chat"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(
            f"expected conversations of Topical-Chat in {path}, could not read them: {error}"
        ) from error
    fit = [text for text in said if SHORTEST <= len(text.split()) <= LONGEST]
    return sorted(fit, key=_hash)[:count]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def key_of(text: str, made: Made) -> str:
    """What a verdict is filed under."""
    return _hash(f"{text}\n{made.gloss}\n{made.word}")[:12]


def verdicts(path: Path = VERDICTS) -> dict[str, tuple[bool, str]]:
    """By key, whether the gesture is accepted, and why.

    Raises:
        FileFormatError: a verdict is not `KEY: [yes or no, "reason"]`.
    """
    try:
        read: dict[str, Any] = (yaml.safe_load(path.read_text("utf-8")) if path.is_file() else None) or {}
    except yaml.YAMLError as error:
        raise FileFormatError(f"expected verdicts in {path.name}, could not read them: {error}") from error
    for key, verdict in read.items():
        if not (isinstance(verdict, list) and len(verdict) == 2 and isinstance(verdict[0], bool) and verdict[1]):
            raise FileFormatError(f'expected `"{key}": [true or false, "one reason"]` in {path.name}, got {verdict!r}')
    return {str(key): (verdict[0], str(verdict[1])) for key, verdict in read.items()}


def measure(planner: Planner, library: Library, limit: int | None = None) -> tuple[Table, list[str]]:
    """The table, and a line for each gesture that waits for a verdict: its key, what it is, and the turn around it."""
    some = [Item(text, "neutral") for text in turns(count=limit or 100)]
    product, known = Product(planner, library), verdicts()
    found, waiting, density = [], [], []
    for item in progress(some, "turns"):
        words, made = item.text.split(), product(item)
        alone = [gesture for gesture in recalled(library, item) if gesture.score >= 0.5]
        count = sum(1 for _ in sentences(library, item))
        density.append([len(made), count, len(words) / WORDS_A_MINUTE, bool(made), len(alone)])
        for gesture in made:
            key = key_of(item.text, gesture)
            if key in known:
                found.append(known[key][0])
            else:
                marked = [*words[: gesture.word], f"*{words[gesture.word]}*", *words[gesture.word + 1 :]]
                waiting.append(f'"{key}": [, ]  # {gesture.gloss} ({gesture.score:.2f}): {" ".join(marked)}')
    rows = np.array(density, np.float64)
    table = Table(f"ACT on {len(some)} turns of Topical-Chat")
    table.add("gestures a sentence", over(rows, lambda x: ratio_of(x[:, 0], x[:, 1])))
    table.add(
        f"gestures a minute, at {WORDS_A_MINUTE:.0f} words a minute", over(rows, lambda x: ratio_of(x[:, 0], x[:, 2]))
    )
    table.add("turns with a gesture", share(list(rows[:, 3])), "%", 100)
    table.add("recall over a half: gestures a sentence", over(rows, lambda x: ratio_of(x[:, 4], x[:, 1])))
    table.add("accepted by the rubric, of those judged", share(found), "%", 100)
    table.details = {"judged": len(found), "waiting": len(waiting)}
    return table, waiting
