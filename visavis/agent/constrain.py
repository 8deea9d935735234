"""State machines that keep a model inside the turn language: at every step, the ids that may come next.

EmotionConstraint  an emotion and its intensity
ReplyConstraint    an emotion, then words; inside a quote only pieces of the prompt's cards
MoveConstraint     words, cues and clip codes are forced, every other code is one of its part

ACT's stands in `visavis.agent.tagging`. So whatever the model, the result parses, repeats the words exactly and has the
right number of steps. They only restrict: what is likely is the model's. A bias shifts one decision, for calibration,
and a guide reminds REPLY of words (`visavis.agent.manners`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from visavis.agent.engine import Ahead, Floats, Ids, Stretch
from visavis.agent.manners import Guide
from visavis.agent.trie import Trie
from visavis.emotion import EMOTIONS
from visavis.tokenizers.turn_language import Candidate, MoveStep
from visavis.tokenizers.vocabulary import CONTROLS, JointVocabulary

__all__ = ["NOTHING", "EmotionConstraint", "Machine", "MoveConstraint", "ReplyConstraint", "as_ids"]

NOTHING: Ids = np.zeros(0, np.int64)


class Machine:
    """What all of them share: choices are not biased unless a subclass says so."""

    def weigh(self, ids: Ids, logits: Floats) -> Floats:
        """The logits as they are."""
        return logits

    def ahead(self) -> Ahead:
        """Nothing beyond the next step."""
        return Ahead()


class EmotionConstraint(Machine):
    """An emotion, then an intensity; then the end.

    Args:
        vocabulary: of the model.
        weights: added to the logits of the emotions, in the order of `EMOTIONS`; none of them by default.
        strengths: for each emotion, what is added to the logits of its intensities 0, 0.1, ..., 1; nothing by default.
    """

    def __init__(
        self, vocabulary: JointVocabulary, weights: Sequence[float] = (), strengths: Sequence[Sequence[float]] = ()
    ) -> None:
        ids = range(vocabulary.text_size, vocabulary.text_size + len(CONTROLS))
        self._emotions = as_ids([id_ for id_ in ids if vocabulary.emotion_of(id_) is not None])
        self._levels = as_ids([id_ for id_ in ids if vocabulary.level_of(id_) is not None])
        self._weights = {vocabulary.control(name): weight for name, weight in zip(EMOTIONS, weights, strict=False)}
        self._strengths = {vocabulary.control(name): some for name, some in zip(EMOTIONS, strengths, strict=False)}
        self._vocabulary = vocabulary
        self._felt = -1  # the emotion that was chosen
        self._taken = 0

    @property
    def done(self) -> bool:
        """Whether both were chosen."""
        return self._taken >= 2

    def allowed(self) -> Ids:
        """See `Constraint`."""
        return (self._emotions, self._levels, NOTHING)[min(2, self._taken)]

    def weigh(self, ids: Ids, logits: Floats) -> Floats:
        """Weigh the emotions, then the intensities."""
        if self._taken == 0 and self._weights:
            return logits + np.array([self._weights.get(int(id_), 0.0) for id_ in ids], np.float32)
        if self._taken == 1 and (some := self._strengths.get(self._felt)):
            levels = [self._vocabulary.level_of(int(id_)) for id_ in ids]
            return logits + np.array([0.0 if level is None else some[level] for level in levels], np.float32)
        return logits

    def ahead(self) -> Ahead:
        """See `Foresight`: an emotion, then a level, whatever the emotion."""
        if (self._weights, self._strengths)[min(1, self._taken)] or (self._strengths and not self._taken):
            return Ahead()
        return Ahead((self._emotions, self._levels)[self._taken :])

    def accept(self, id_: int) -> None:
        """See `Constraint`."""
        if self._taken == 0:
            self._felt = id_
        self._taken += 1


class ReplyConstraint(Machine):
    """An emotion, then text, with quotes of the cards, then `<|end|>`.

    Outside a quote every text piece but bytes may come, `<|quote|>` where a word ended, `<|end|>` once there are words.
    Inside, only what goes on some card's words from where the quote began, which is the start of a word;
    `<|/quote|>` where a word of the card ends, if the quote has `min_quote` words or reached the card's end.
    `quote_bias` is added to the log-odds of the first quote; a second one is the model's own wish. `card_trust` is how
    much recall's log-chances of cards count there, `feelings` and `strengths` weigh as in `EmotionConstraint`. Whoever
    says "I'm" and the beginning of the `name` says the name. `guide` weighs words outside quotes, and takes nothing
    from a quote. `whole`: quotes are whole cards. After `limit` pieces of text only endings are allowed.
    """

    def __init__(
        self,
        vocabulary: JointVocabulary,
        cards: Sequence[Candidate | str],
        limit: int = 96,
        whole: bool = False,
        min_quote: int = 3,
        quotes: bool = True,
        quote_bias: float = 0.0,
        most_quotes: int = 2,
        card_trust: float = 1.0,
        feelings: Sequence[float] = (),
        strengths: Sequence[Sequence[float]] = (),
        name: str = "",
        guide: Guide | None = None,
    ) -> None:
        self._guide = guide
        self._quotes_left = most_quotes
        self._vocabulary, self._limit, self._bias = vocabulary, limit, quote_bias
        self._emotion = EmotionConstraint(vocabulary, feelings, strengths)
        self._quote, self._unquote, self._end = (vocabulary.control(name) for name in ("quote", "/quote", "end"))
        texts = [card.text if isinstance(card, Candidate) else card for card in cards]
        self._cards = [[ids for *_, ids in vocabulary.encode_words(text) if ids] for text in texts] if quotes else []
        # What RECALL thinks of a card counts where the words of two cards part: P(card) of retrieval times P(words) of
        # the model. A card without a score is as likely as any.
        scores = [card.score if isinstance(card, Candidate) else 1.0 for card in cards] if quotes else []
        chances = [card_trust * float(np.log(max(score, 0.01))) for score in scores]
        starts = [range(1 if whole else len(words)) for words in self._cards]
        self._trie = Trie(
            [_flat(words[start:]) for words, some in zip(self._cards, starts, strict=True) for start in some],
            [chance for chance, some in zip(chances, starts, strict=True) for _ in some],
        )
        self._min_quote = 10**6 if whole else min_quote
        self._starts, self._inside = vocabulary.word_starts, vocabulary.word_insides
        self._pieces = np.concatenate([self._starts, self._inside])
        self._node: int | None = None  # inside a quote: where
        self._taken = self._words_quoted = 0
        self._fresh = True  # nothing said since the last control: the next piece must begin a word
        self._space = vocabulary.space  # a space alone, as before digits: a word must follow
        self._blank = False
        self._done = False
        self._name = vocabulary.encode_text(name)
        self._naming = {vocabulary.encode_text(words)[-1] for words in ("I'm", "I am", "it is", "called")}
        self._last = -1  # the id before
        self._named = 0  # pieces of the name that were just said

    def allowed(self) -> Ids:
        """See `Constraint`."""
        if not self._emotion.done:
            return self._emotion.allowed()
        if self._done:
            return NOTHING
        if self._node is not None:
            return self._in_quote(self._node)
        if self._named:
            return as_ids([self._name[self._named]])
        if self._blank:
            return self._inside
        endings = [self._end] if self._taken else []
        if self._taken >= self._limit:
            return as_ids(endings)
        if self._cards and self._quotes_left:
            endings.append(self._quote)
        return np.concatenate([self._starts if self._fresh else self._pieces, as_ids(endings)])

    def _in_quote(self, node: int) -> Ids:
        following = self._trie.next(node)
        border = node != 0 and (self._trie.ends[node] or any(self._vocabulary.starts_word(id_) for id_ in following))
        if self._trie.ends[node] or (border and self._words_quoted >= self._min_quote):
            following = [*following, self._unquote]
        return as_ids(following)

    def weigh(self, ids: Ids, logits: Floats) -> Floats:
        """Bias the beginning of a quote and words as the guide says; in a quote, add what RECALL thinks of cards."""
        if not self._emotion.done:
            return self._emotion.weigh(ids, logits)
        if self._node is not None:
            return self._trie.weigh(self._node, ids, logits)
        gains = self._gains()
        if not gains:
            return logits
        every = np.zeros(self._vocabulary.size, np.float32)
        every[list(gains)] = list(gains.values())
        return logits + every[ids]

    def _gains(self) -> Mapping[int, float]:
        """What is added to the logits of ids outside quotes."""
        bias = {self._quote: self._bias} if self._bias else {}
        if self._guide is None or not self._guide.gains:
            return bias
        if self._guide.following or self._guide.begun:  # an answer that was found is said to its end, a wording, too
            return self._guide.gains
        return {**self._guide.gains, self._quote: max(self._guide.gains.values()) + self._bias}

    def ahead(self) -> Ahead:
        """See `Foresight`: outside quotes, words until a quote, the end, or a space alone."""
        if not self._emotion.done:
            return self._emotion.ahead()
        if self._done or self._node is not None or self._named or (self._taken >= self._limit and not self._blank):
            return Ahead()
        most = 1 if self._fresh or self._blank else self._limit - self._taken
        if self._guide is not None and self._guide.gains:
            most = 1  # what is weighed changes with every word
        until = [
            id_ for id_ in (self._quote, self._end, self._space, *self._name[:1]) if id_ >= 0
        ]  # not every text model has the space
        return Ahead(stretch=Stretch(until, most, self._gains()))

    def accept(self, id_: int) -> None:
        """See `Constraint`."""
        if not self._emotion.done:
            self._emotion.accept(id_)
            if self._guide is not None and self._emotion.done:
                name, level = self._vocabulary.emotion_of(self._last), self._vocabulary.level_of(id_)
                assert name is not None and level is not None, "the constraint allows an emotion and a level"
                self._guide.begin(name, level)
        elif id_ == self._end:
            self._done = True
        elif id_ == self._quote:
            self._node, self._words_quoted = 0, 0
            self._quotes_left -= 1
            self._bias, self._guide = 0.0, None
        elif id_ == self._unquote:
            self._node, self._fresh = None, True
        else:
            self._taken += 1
            self._fresh = False
            self._blank = self._node is None and id_ == self._space
            if self._node is not None:
                self._words_quoted += self._vocabulary.starts_word(id_)
                self._node = self._trie.step(self._node, id_)
            else:
                if self._named or (self._last in self._naming and [id_] == self._name[:1]):
                    self._named = (self._named + 1) % len(self._name)
                if self._guide is not None:
                    self._guide.accept(id_)
        self._last = id_


class MoveConstraint(Machine):
    """Every step: words and cue forced, each code forced (a clip's) or one of its part; then `<|end|>`.

    Codes of steps that are not `forced` are ignored.
    """

    def __init__(self, vocabulary: JointVocabulary, steps: Sequence[MoveStep]) -> None:
        free = [np.asarray(vocabulary.motion_range(part), dtype=np.int64) for part in vocabulary.parts]
        self._plan: list[Ids] = []
        for step in steps:
            self._plan += [as_ids([id_]) for id_ in (*vocabulary.encode_text(step.words), vocabulary.cue(step.cue))]
            for place, part in enumerate(vocabulary.parts):
                forced = step.forced[place]
                self._plan.append(as_ids([vocabulary.motion(part, step.codes[place])]) if forced else free[place])
        self._plan.append(as_ids([vocabulary.control("end")]))
        self._vocabulary, self._steps = vocabulary, steps
        self._place = 0
        self._codes: list[int] = []

    @property
    def length(self) -> int:
        """Ids from the first to `<|end|>`."""
        return len(self._plan)

    @property
    def written(self) -> list[MoveStep]:
        """The whole steps so far, with the codes that were chosen."""
        parts = len(self._vocabulary.parts)
        out = []
        for number in range(len(self._codes) // parts):
            codes = tuple(self._codes[number * parts : (number + 1) * parts])
            out.append(replace(self._steps[number], codes=codes))
        return out

    def allowed(self) -> Ids:
        """See `Constraint`."""
        return self._plan[self._place] if self._place < len(self._plan) else NOTHING

    def ahead(self) -> Ahead:
        """See `Foresight`: everything is known."""
        return Ahead(self._plan[self._place :])

    def accept(self, id_: int) -> None:
        """See `Constraint`."""
        self._place += 1
        found = self._vocabulary.motion_of(id_)
        if found is not None:
            self._codes.append(found[1])


def as_ids(ids: Sequence[int]) -> Ids:
    """(n,) of a list."""
    return np.asarray(ids, dtype=np.int64)


def _flat(parts: Sequence[Sequence[int]]) -> list[int]:
    return [id_ for part in parts for id_ in part]
