"""ACT's machine: the words of a clause are forced, and between words the model may set a tag from the candidates.

As those of `visavis.agent.constrain`, it only restricts: what is likely is the model's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from visavis.agent.constrain import NOTHING, EmotionConstraint, Machine, as_ids
from visavis.agent.engine import Ahead, Floats, Ids
from visavis.agent.trie import Trie
from visavis.emotion import Emotion
from visavis.tokenizers.turn_language import ActPlan, Candidate, Tag, format_params, parse_params
from visavis.tokenizers.vocabulary import JointVocabulary

__all__ = ["ActConstraint", "Choice"]

MOST_DIGITS: Final = 5  # of a number that the model gives


@dataclass(frozen=True)
class Choice:
    """A place where a tag could stand: the word after it, the model's probability for a tag, before the bias."""

    word: int
    probability: float
    tagged: bool


class ActConstraint(Machine):
    """The words of the clause, with at most `most` tags set before words, one before each, then `<|end|>`.

    Args:
        vocabulary: of the model.
        text: the clause.
        candidates: glosses that a tag may name (or candidates).
        params: for each gloss, what its parameters may be: None allows any short number, a sequence
            one of its values.
        unfelt: the prompt left the emotion open, so it comes first.
        most: tags at most.
        bias: added to the logit of `<|gesture|>`: positive sets more tags, minus infinity sets none and only notes in
            `choices` what the model would do.
        apart: words between two tags at least.
        places: the words that get a tag, where that is decided already; None leaves it to the model.
        weights: for each candidate, what is added to the model's log-probability of naming it; by default the log of
            its score, so that recall counts as much as the model.
        trust: what the model's own log-probability of a name is multiplied by.
        feelings: of an emotion that is left open: see `EmotionConstraint`.
    """

    def __init__(
        self,
        vocabulary: JointVocabulary,
        text: str,
        candidates: Sequence[Candidate | str],
        params: Mapping[str, Mapping[str, Sequence[str | int | float] | None]] | None = None,
        unfelt: bool = True,
        most: int = 2,
        bias: float = 0.0,
        apart: int = 2,
        places: Collection[int] | None = None,
        weights: Sequence[float] = (),
        trust: float = 1.0,
        feelings: Sequence[float] = (),
    ) -> None:
        self._vocabulary, self._most, self._bias, self._apart = vocabulary, most, bias, apart
        self._places, self._trust = places, trust
        self._emotion = EmotionConstraint(vocabulary, feelings) if unfelt else None
        names = ("gesture", "/gesture", "arg", "end")
        self._gesture, self._ungesture, self._arg, self._end = (vocabulary.control(name) for name in names)
        self._words = [ids for *_, ids in vocabulary.encode_words(text)]
        glosses = list(dict.fromkeys(c.text if isinstance(c, Candidate) else c for c in candidates))
        self._encoded = {tuple(vocabulary.encode_text(gloss)): gloss for gloss in glosses}
        # As with quotes: the choice among glosses is the model's, weighed by what RECALL thinks of each.
        scores = {c.text: float(np.log(max(c.score, 0.01))) for c in candidates if isinstance(c, Candidate)}
        if len(weights):
            named = (c.text if isinstance(c, Candidate) else c for c in candidates)
            scores = {gloss: float(weight) for gloss, weight in zip(named, weights, strict=True)}
        self._weights = [scores.get(gloss, 0.0) for gloss in self._encoded.values()]
        self._params = params or {}
        self._word, self._place = 0, 0  # the next piece to force
        self._set = 0  # tags begun
        self._last = -(10**6)  # the word of the last tag
        self._state: Literal["words", "gloss", "arg", "free"] = "words"
        self._trie, self._node, self._path = Trie([]), 0, list[int]()
        self._gloss, self._args = "", list[str]()
        self._values = vocabulary.number_pieces
        self._probability = 0.0
        self._text = text
        self.choices: list[Choice] = []
        self.tags: list[Tag] = []
        self._felt: list[int] = []
        self._skip()

    @property
    def plan(self) -> ActPlan:
        """What was written so far, with the clause's own words and their places in `text.split()`."""
        emotion = None
        if len(self._felt) == 2:
            name, level = self._vocabulary.emotion_of(self._felt[0]), self._vocabulary.level_of(self._felt[1])
            assert name is not None and level is not None
            emotion = Emotion(name, level / 10)
        return ActPlan(emotion, self._text, tuple(self.tags))

    def _skip(self) -> None:
        """Past words without ids."""
        while self._word < len(self._words) and self._place >= len(self._words[self._word]):
            self._word, self._place = self._word + 1, 0

    @property
    def _may_tag(self) -> bool:
        return (
            self._place == 0
            and (self._places is None or self._word in self._places)
            and self._set < self._most
            and bool(self._encoded)
            and self._word < len(self._words)
            and self._word - self._last > (self._apart if self._set else 0)
        )

    def allowed(self) -> Ids:
        """See `Constraint`."""
        if self._emotion is not None and not self._emotion.done:
            return self._emotion.allowed()
        if self._state == "free":
            digits = self._values if len(self._path) < MOST_DIGITS else NOTHING
            return np.concatenate([digits, as_ids(self._closing() if self._path else [])])
        if self._state != "words":
            following = self._trie.next(self._node)
            return as_ids(following + (self._closing() if self._trie.ends[self._node] else []))
        if self._word == len(self._words):
            return NOTHING if self._place else as_ids([self._end])
        forced = self._words[self._word][self._place]
        if not self._may_tag:
            return as_ids([forced])
        return as_ids([self._gesture, forced] if self._places is None else [self._gesture])

    def _closing(self) -> list[int]:
        return [self._ungesture, *([self._arg] if self._open_names() else [])]

    def _open_names(self) -> list[str]:
        """Parameters that the tag could still be given."""
        gloss = self._gloss or self._encoded[tuple(self._path)]
        given = {text.split("=")[0] for text in self._args}
        if self._state == "arg":
            given.add(self._vocabulary.decode_text(self._path).split("=")[0])
        return [name for name in self._params.get(gloss, {}) if name not in given]

    def weigh(self, ids: Ids, logits: Floats) -> Floats:
        """Note how likely a tag is here; bias it."""
        if self._emotion is not None and not self._emotion.done:
            return self._emotion.weigh(ids, logits)
        if self._state == "gloss" and not self._gloss:
            return self._trie.weigh(self._node, ids, np.float32(self._trust) * logits)
        if self._state != "words" or ids[0] != self._gesture or len(ids) != 2:
            return logits
        self._probability = float(1 / (1 + np.exp(np.clip(float(logits[1]) - float(logits[0]), -50, 50))))
        return logits + np.array([self._bias, 0.0], np.float32)

    def ahead(self) -> Ahead:
        """See `Foresight`: the words that are left come without a tag; where one could stand is a choice."""
        if self._emotion is not None and not self._emotion.done:
            return self._emotion.ahead()
        if self._state != "words" or self._word == len(self._words) or self._places is not None:
            return Ahead()
        likely, choices = list[int](), dict[int, Ids]()
        first = self._last + (self._apart if self._set else 0) + 1
        for word in range(self._word, len(self._words)):
            pieces = self._words[word][self._place if word == self._word else 0 :]
            whole = len(pieces) == len(self._words[word])
            if pieces and whole and word >= first and self._set < self._most and self._encoded:
                choices[len(likely)] = as_ids([self._gesture, pieces[0]])
            likely += pieces
        return Ahead(likely=[*likely, self._end], choices=choices)

    def accept(self, id_: int) -> None:
        """See `Constraint`."""
        if self._emotion is not None and not self._emotion.done:
            self._emotion.accept(id_)
            self._felt.append(id_)
        elif self._state == "words":
            self._accept_word(id_)
        elif id_ in (self._ungesture, self._arg):
            self._finish_part()
            if id_ == self._arg:
                self._begin_arg()
            else:
                pairs = [pair for text in self._args if (pair := parse_params(text)) is not None]
                self.tags.append(Tag(self._gloss, self._last, dict(pairs)))
                self._state = "words"
        else:
            self._path.append(id_)
            if self._state != "free":
                self._node = self._trie.step(self._node, id_)
            if self._state == "arg" and self._trie.ends[self._node]:
                text = self._vocabulary.decode_text(self._path)
                if text.endswith("="):
                    self._state, self._path = "free", []
                    self._args.append(text)

    def _accept_word(self, id_: int) -> None:
        if self._may_tag:
            if self._places is None:
                self.choices.append(Choice(self._word, self._probability, id_ == self._gesture))
            self._probability = 0.0
        if id_ == self._gesture:
            self._state, self._set, self._last = "gloss", self._set + 1, self._word
            self._trie, self._node, self._path = Trie(list(self._encoded), self._weights), 0, []
            self._gloss, self._args = "", []
        elif self._word == len(self._words):
            self._place = 1  # the end was written
        else:
            self._place += 1
            self._skip()

    def _finish_part(self) -> None:
        """Keep the gloss or the parameter that ends here."""
        if self._state == "gloss":
            self._gloss = self._encoded[tuple(self._path)]
        elif self._state == "arg":
            self._args.append(self._vocabulary.decode_text(self._path))
        elif self._state == "free":
            self._args[-1] += "".join(self._vocabulary.piece(id_) for id_ in self._path)

    def _begin_arg(self) -> None:
        self._state = "gloss"
        encode, values = self._vocabulary.encode_text, self._params[self._gloss]
        texts = []
        for name in self._open_names():
            choices = values[name]
            texts += [f"{name}="] if choices is None else format_params_each(name, choices)
        self._state, self._trie, self._node, self._path = "arg", Trie([encode(text) for text in texts]), 0, []


def format_params_each(name: str, values: Sequence[str | int | float]) -> list[str]:
    """`name=value` for every value."""
    return [text for value in values for text in format_params({name: value})]
