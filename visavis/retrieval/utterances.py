"""What people say while making each gesture, authored: one YAML file per gloss, and one for sentences with no gesture.

An utterance stands on a line of its own under the emotion it is said with ("joy 6": name and level of 0 to 10), with
stars around the word its stroke belongs to: "I caught a fish, and it was *huge*!". This module only reads them; the
index is trained on them (`visavis.finetune.acts.train_encoder`) and the corpus of ACT is made from them.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from visavis import safe_yaml
from visavis.emotion import Emotion
from visavis.errors import LexiconError

__all__ = ["NONE", "Utterance", "cue_words", "load_more", "load_utterances", "parse_stars"]

NONE: Final = "none"
FOLDER: Final = Path(__file__).parent / "data" / "utterances"
MORE: Final = Path(__file__).parent / "data" / "utterances_more"


@dataclass(frozen=True)
class Utterance:
    """A sentence, the gesture it calls for (or `NONE`), how it is felt, and the words the gesture belongs to.

    anchors: indices into `text.split()`, in order; empty for `NONE`.
    """

    gloss: str
    text: str
    anchors: tuple[int, ...]
    emotion: Emotion


def parse_stars(line: str) -> tuple[str, tuple[int, ...]]:
    """The text without its stars, and the indices of its starred words.

    Raises:
        LexiconError: a star is never closed.
    """
    if line.count("*") % 2:
        raise LexiconError(f"expected stars in pairs around the anchor word, got {line!r}: close the star")
    text = line.replace("*", "")
    starts, removed, inside = [], 0, False
    for place, character in enumerate(line):
        if character == "*":
            if not inside:
                starts.append(place - removed)
            inside, removed = not inside, removed + 1
    words = [(match.start(), match.end()) for match in re.finditer(r"\S+", text)]
    anchors = tuple(index for index, (start, end) in enumerate(words) if any(start <= place < end for place in starts))
    return text, anchors


@functools.cache
def _documents() -> dict[str, dict]:
    documents = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        document = safe_yaml.load(path.read_text(encoding="utf-8"))
        documents[document["gloss"]] = document
    return documents


@functools.cache
def load_utterances() -> tuple[Utterance, ...]:
    """All authored utterances, ordered by gloss and as written."""
    found = []
    for gloss, document in sorted(_documents().items()):
        for felt, block in document["utterances"].items():
            name, level = felt.split()
            emotion = Emotion(name, int(level) / 10)
            for line in block.splitlines():
                text, anchors = parse_stars(line)
                if bool(anchors) == (gloss == NONE):
                    raise LexiconError(f"expected {'no ' if gloss == NONE else ''}stars in {line!r} of {gloss!r}")
                found.append(Utterance(gloss, text, anchors, emotion))
    return tuple(found)


@functools.cache
def load_more() -> tuple[Utterance, ...]:
    """More of them, without how they are felt, for the index alone: a text file a gloss, one sentence a line."""
    found = []
    for path in sorted(MORE.glob("*.txt")):
        gloss = path.stem.replace("_", " ")
        for line in path.read_text(encoding="utf-8").splitlines():
            text, anchors = parse_stars(line)
            if text.strip():
                if bool(anchors) == (gloss == NONE):
                    raise LexiconError(f"expected {'no ' if gloss == NONE else ''}stars in {line!r} of {gloss!r}")
                found.append(Utterance(gloss, text, anchors, Emotion()))
    return tuple(found)


def cue_words() -> dict[str, tuple[str, ...]]:
    """Words and short phrases typical of each gloss, lower case, the most typical first."""
    return {
        gloss: tuple(cue.strip().lower() for cue in document["cues"].split(","))
        for gloss, document in sorted(_documents().items())
        if gloss != NONE
    }
