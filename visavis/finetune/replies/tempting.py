"""Which facts tempt a reader, whatever is asked of people: what the finder that ships finds likeliest, kept in a file.

Recall has the larger reader choose among the facts that the finder put first. Where it learns, it should meet the same
choice, above all where none of them answers: a near miss beside facts it does not come near teaches little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from visavis.agent.finder import default_finder
from visavis.agent.persona import NATURE
from visavis.errors import FileFormatError
from visavis.finetune.replies.people import Person

__all__ = ["Tempting", "questions_of", "tempting"]

KEPT: Final = 12  # facts to a question
NONE: Final = 255  # the place of no fact
Tempting = Mapping[str, tuple[str, ...]]  # of a question to one person, facts after their topics, the likeliest first


def facts_of(person: Person) -> list[str]:
    """All that a person may know, each fact after its topic."""
    own = [f"{fact.topic}: {fact.says}" for fact in person.facts]
    return [*own, *(f"{NATURE.topic}: {fact}" for fact in NATURE.facts)]


def questions_of(person: Person) -> list[str]:
    """All that is asked of a person, each once."""
    asked = [ask for fact in person.facts for ask in (*fact.asks, *fact.near)]
    return list(dict.fromkeys((*asked, *person.unknown)))


def _rank(person: Person) -> NDArray[np.uint8]:
    """(Q, KEPT) places of facts, the likeliest first; where there are fewer, `NONE`."""
    torch.set_num_threads(1)
    finder, facts, asked = default_finder(), facts_of(person), questions_of(person)
    with torch.autocast("cpu", torch.bfloat16):
        finder.meanings.encode([*facts, *asked])  # in batches, and remembered
    order = np.stack([np.argsort(-finder.find(ask, facts), kind="stable")[:KEPT] for ask in asked])
    return np.pad(order.astype(np.uint8), ((0, 0), (0, KEPT - order.shape[1])), constant_values=NONE)


def tempting(file: Path, persons: Sequence[Person], processes: int = 2) -> dict[str, Tempting]:
    """Of every person's questions, by the person's name; what is not in `file` is found, which takes minutes.

    Raises:
        FileFormatError: the file holds something else.
    """
    try:
        known = load_file(file) if file.exists() else {}
        missing = [person for person in persons if person.name not in known]
        if missing:
            with ProcessPoolExecutor(processes) as pool:
                rows = list(pool.map(_rank, missing, chunksize=8))
            known |= {person.name: row for person, row in zip(missing, rows, strict=True)}
            file.parent.mkdir(parents=True, exist_ok=True)
            save_file(known, file)
        out: dict[str, Tempting] = {}
        for person in persons:
            facts, asked = facts_of(person), questions_of(person)
            out[person.name] = {
                ask: tuple(facts[place] for place in row if place != NONE)
                for ask, row in zip(asked, known[person.name].tolist(), strict=True)
            }
    except (OSError, ValueError, IndexError, SafetensorError) as error:
        raise FileFormatError(
            f"expected the likeliest facts for what {len(persons)} people are asked in {file} ({error}): delete it, it "
            "is made again"
        ) from error
    return out
