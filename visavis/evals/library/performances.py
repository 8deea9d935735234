"""Performances of the library's gestures that the library does not contain, to see whether they are understood.

Each gloss has one more variant, named `another`, in `evals/data/heldout_performances_*.yaml`: `gloss: {variant: ...}`,
where the inner mapping is what stands as an entry of `variants` in a gesture's file. What a gesture of it looks like is
the lexicon's and the posing engine's business; nothing here knows how gestures are recognised.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from typing import Any, Final

import yaml
from pydantic import ValidationError

from visavis import safe_yaml
from visavis.errors import LexiconError
from visavis.retrieval.lexicon import Gesture, Lexicon, Variant, load_lexicon

__all__ = ["ANOTHER", "load_performances", "read_performances"]

ANOTHER: Final = "another"
_FILES: Final = ("heldout_performances_1.yaml", "heldout_performances_2.yaml")


def load_performances() -> dict[str, Gesture]:
    """The gestures as performed in the held-out way: gloss → gesture whose only variant is `another`.

    Perform one with `perform(gesture, variant=ANOTHER)`.

    Raises:
        LexiconError: a file cannot be read as performances of glosses of the lexicon, each once.
    """
    data = files("visavis.evals") / "data"
    there = (data / name for name in _FILES)
    return read_performances((file.name, file.read_text("utf-8")) for file in there if file.is_file())


def read_performances(texts: Iterable[tuple[str, str]], lexicon: Lexicon | None = None) -> dict[str, Gesture]:
    """Read YAML documents, each after its name in errors, against a lexicon (ours if None); see `load_performances`."""
    lexicon = lexicon or load_lexicon()
    out: dict[str, Gesture] = {}
    for name, text in texts:
        try:
            data = safe_yaml.load(text)
        except yaml.YAMLError as error:
            line = str(error).replace("\n", " ")
            raise LexiconError(f"{name}: expected YAML, but {line}: correct it and load again") from None
        if not isinstance(data, dict):
            raise LexiconError(f"{name}: expected a mapping of glosses to variants; got {type(data).__name__}")
        for gloss, entry in data.items():
            if gloss not in lexicon:
                raise LexiconError(f"{name}: expected a gloss of the lexicon; got {gloss!r}: correct its spelling")
            if gloss in out:
                raise LexiconError(f"{name}: expected one performance of {gloss!r}; got another: remove one")
            out[gloss] = _merged(lexicon[gloss], entry, name)
    return out


def _merged(gesture: Gesture, entry: Any, name: str) -> Gesture:
    """The gesture with the performance as its only variant, checked as the lexicon checks its own."""
    if not isinstance(entry, dict) or set(entry) != {"variant"}:
        got = sorted(map(str, entry)) if isinstance(entry, dict) else type(entry).__name__
        raise LexiconError(f"{name}: {gesture.gloss}: expected a mapping with 'variant'; got {got}: correct it")
    try:
        variant = Variant.model_validate(entry["variant"])
        if variant.name != ANOTHER:
            raise LexiconError(
                f"{name}: {gesture.gloss}: expected the name {ANOTHER!r}; got {variant.name!r}: correct it"
            )
        return Gesture.model_validate({**dict(gesture), "variants": (variant,)})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the variant"
        message = f"{name}: {gesture.gloss}: {where}: {first['msg']}: correct it and load again"
        raise LexiconError(message) from None
