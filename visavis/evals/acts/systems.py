"""Who decides on gestures: the product, recall alone with a threshold, the most frequent decision, and chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from visavis.agent.clauses import sentences_of, split_clauses
from visavis.agent.native import param_values
from visavis.agent.offers import Offer, aimed, offered, shipped_reader
from visavis.agent.planner import Cancel, Planner
from visavis.agent.recall import Rereads
from visavis.emotion import Emotion
from visavis.evals.acts.items import Item, Made
from visavis.retrieval.library import Library, Wanted
from visavis.retrieval.params import told
from visavis.tokenizers.turn_language import ActPrompt, Tag

__all__ = ["Chance", "Frequent", "Product", "Sentence", "System", "recalled", "sentences"]


@dataclass(frozen=True)
class Sentence:
    """A sentence of a text with what the library offers for it; `before` words of the text come first."""

    text: str
    before: int
    offer: Offer


class System(Protocol):
    """Decides on the gestures of a sentence."""

    def __call__(self, item: Item) -> list[Made]:
        """In order of their words."""


def sentences(
    library: Library, item: Item, felt: Emotion | None = None, reader: Callable[[], Rereads | None] | None = None
) -> Iterator[Sentence]:
    """The sentences of a text as a turn decides on them."""
    before, clauses = 0, split_clauses(item.text)
    for span in sentences_of(clauses):
        text = " ".join(clauses[i] for i in span)
        yield Sentence(text, before, offered(library, text, Wanted(emotion=felt), item.scene, reader=reader))
        before += len(text.split())


def _made(library: Library, item: Item, sentence: Sentence, tag: Tag) -> Made:
    params = aimed(library, sentence.text, tag, item.scene)
    return Made(tag.gloss, sentence.before + tag.word, params, sentence.offer.score(tag.gloss))


class Product:
    """What `visavis say` does: the model feels the text, then decides sentence by sentence among what is recalled."""

    def __init__(self, planner: Planner, library: Library) -> None:
        self.planner, self.library = planner, library

    def felt(self, item: Item) -> Emotion:
        """How the text feels."""
        return self.planner.feel(ActPrompt(item.text, None, self.library.candidates(item.text)), cancel=Cancel())

    def __call__(self, item: Item) -> list[Made]:
        """See `System`."""
        felt, made = self.felt(item), list[Made]()
        for number, sentence in enumerate(sentences(self.library, item, felt, shipped_reader)):
            found = sentence.offer.candidates
            plan = self.planner.act(
                ActPrompt(sentence.text, felt, found),
                params={c.text: tuple(param_values(self.library.params(c.text))) for c in found},
                seed=number, cancel=Cancel(), chances=sentence.offer.chances,
                called=sentence.offer.called,
            )  # fmt: skip
            made += [_made(self.library, item, sentence, tag) for tag in plan.tags]
        return made


def recalled(library: Library, item: Item) -> list[Made]:
    """The best gesture that recall has for each sentence, on its word by recall, with parameters by the text.

    With a threshold on the scores this is recall alone.
    """
    made = []
    for sentence in sentences(library, item):
        if not sentence.offer.candidates:
            continue
        gloss = sentence.offer.candidates[0].text
        words = [word for called, word in told(sentence.text, item.scene) if called == gloss]
        assert library.index is not None, "the shipped library has an index"
        word = words[0] if words else int(np.argmax(library.index.anchors(sentence.text, gloss)))
        made.append(_made(library, item, sentence, Tag(gloss, word)))
    return made


class Frequent:
    """Always the gesture that fits most of the given sentences, on the word where most of theirs is, by its place."""

    def __init__(self, library: Library, known: list[Item]) -> None:
        called = [item for item in known if item.kind != "neutral"]
        self.library = library
        self.gloss = Counter(gloss for item in called for gloss in item.accept).most_common(1)[0][0]
        ends = Counter(end for item in called for end in range(-4, 4) if not item.away(_at(item, end)))
        self.end = ends.most_common(1)[0][0]

    def __call__(self, item: Item) -> list[Made]:
        """See `System`."""
        word = _at(item, self.end).word
        return [Made(self.gloss, word, aimed(self.library, item.text, Tag(self.gloss, word), item.scene), 1.0)]


def _at(item: Item, end: int) -> Made:
    """A place counted from the beginning (0, 1, ...) or the end (-1, -2, ...), within the sentence."""
    count = len(item.text.split())
    return Made("", min(end, count - 1) if end >= 0 else max(count + end, 0), {}, 0.0)


class Chance:
    """A gesture for as many of the sentences as call for one among the given, any gloss, any word."""

    def __init__(self, library: Library, known: list[Item], seed: int = 0) -> None:
        self.library, self.rng = library, np.random.default_rng(seed)
        self.share = float(np.mean([item.kind != "neutral" for item in known]))

    def __call__(self, item: Item) -> list[Made]:
        """See `System`."""
        if self.rng.random() >= self.share:
            return []
        gloss = str(self.rng.choice(self.library.lexicon.glosses))
        word = int(self.rng.integers(len(item.text.split())))
        return [Made(gloss, word, aimed(self.library, item.text, Tag(gloss, word), item.scene), 1.0)]
