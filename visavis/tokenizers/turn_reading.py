"""The turn language read back: from token ids to the turn that they write.

Parsers are strict: a sequence that is not in the language gives a `Violation`, which is data, because a model wrote it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from visavis.emotion import Emotion
from visavis.tokenizers.turn_language import ActPlan, MovePlan, MoveStep, ReplyPlan, Segment, Tag, Value, parse_params

if TYPE_CHECKING:
    from visavis.tokenizers.vocabulary import JointVocabulary

__all__ = ["Violation", "parse_act", "parse_move", "parse_reply"]

P = TypeVar("P")


@dataclass(frozen=True)
class Violation:
    """Where a written sequence leaves the turn language."""

    position: int
    expected: str
    found: str

    def __str__(self) -> str:
        return f"expected {self.expected} at token {self.position}, found {self.found}"


def parse_reply(ids: Sequence[int], vocabulary: JointVocabulary) -> ReplyPlan | Violation:
    """The reply that `ids` write (from the emotion to `<|end|>`), or where they stop being one."""
    cursor = _Cursor(ids, vocabulary)
    emotion = cursor.emotion()
    if isinstance(emotion, Violation):
        return emotion
    segments: list[Segment] = []
    while True:
        quoted = cursor.take("quote")
        text = cursor.text()
        if text:
            segments.append(Segment(text, quoted))
        if quoted:
            if not text:
                return cursor.violation("text inside the quote")
            if not cursor.take("/quote"):
                return cursor.violation("<|/quote|>")
        elif cursor.take("end"):
            break
        elif not cursor.sees("quote"):
            return cursor.violation("text, <|quote|> or <|end|>")
    if not segments:
        return cursor.violation("words")
    return cursor.finish(ReplyPlan(emotion, tuple(segments)))


def parse_act(ids: Sequence[int], vocabulary: JointVocabulary, unfelt: bool) -> ActPlan | Violation:
    """The act that `ids` write, or where they stop being one; `unfelt`: the prompt left the emotion open."""
    cursor = _Cursor(ids, vocabulary)
    emotion: Emotion | None = None
    if unfelt:
        felt = cursor.emotion()
        if isinstance(felt, Violation):
            return felt
        emotion = felt
    texts: list[str] = []
    tags: list[Tag] = []
    while not cursor.take("end"):
        if cursor.take("gesture"):
            tag = cursor.tag(sum(len(text.split()) for text in texts))
            if isinstance(tag, Violation):
                return tag
            tags.append(tag)
        elif text := cursor.text():
            texts.append(text)
        else:
            return cursor.violation("text, <|gesture|> or <|end|>")
    text = " ".join(texts)
    if any(tag.word >= len(text.split()) for tag in tags):
        return cursor.violation("a word after the last gesture")
    return cursor.finish(ActPlan(emotion, text, tuple(tags)))


def parse_move(ids: Sequence[int], vocabulary: JointVocabulary) -> MovePlan | Violation:
    """The steps that `ids` write (after `<|now|>`), or where they stop being steps."""
    cursor = _Cursor(ids, vocabulary)
    steps: list[MoveStep] = []
    while not cursor.take("end"):
        words = cursor.text()
        cue = vocabulary.cue_of(cursor.here)
        if cue is None:
            return cursor.violation("a cue")
        cursor.position += 1
        codes = []
        for part in vocabulary.parts:
            found = vocabulary.motion_of(cursor.here)
            if found is None or found[0] != part:
                return cursor.violation(f"a {part} token")
            codes.append(found[1])
            cursor.position += 1
        steps.append(MoveStep(words, cue, tuple(codes)))
    return cursor.finish(MovePlan(tuple(steps)))


class _Cursor:
    """Reads ids one after the other."""

    def __init__(self, ids: Sequence[int], vocabulary: JointVocabulary) -> None:
        self.ids, self.vocabulary, self.position = list(ids), vocabulary, 0

    @property
    def here(self) -> int:
        """The id to be read next, -1 at the end."""
        return self.ids[self.position] if self.position < len(self.ids) else -1

    def sees(self, name: str) -> bool:
        """Whether the control `name` comes next."""
        return self.here == self.vocabulary.control(name)

    def take(self, name: str) -> bool:
        """Read the control `name` if it comes next."""
        seen = self.sees(name)
        self.position += seen
        return seen

    def text(self) -> str:
        """Read text as far as it goes, possibly none."""
        start = self.position
        while self.vocabulary.is_text(self.here):
            self.position += 1
        return self.vocabulary.decode_text(self.ids[start : self.position])

    def emotion(self) -> Emotion | Violation:
        """Read an emotion and its level."""
        name = self.vocabulary.emotion_of(self.here)
        if name is None:
            return self.violation("an emotion")
        self.position += 1
        level = self.vocabulary.level_of(self.here)
        if level is None:
            return self.violation("an intensity")
        self.position += 1
        return Emotion(name, level / 10)

    def tag(self, word: int) -> Tag | Violation:
        """Read a tag after its `<|gesture|>`."""
        gloss = self.text()
        if not gloss:
            return self.violation("a gloss")
        params: dict[str, Value] = {}
        while self.take("arg"):
            param = parse_params(self.text())
            if param is None:
                return self.violation("key=value before it")
            params[param[0]] = param[1]
        if not self.take("/gesture"):
            return self.violation("<|arg|> or <|/gesture|>")
        return Tag(gloss, word, params)

    def violation(self, expected: str) -> Violation:
        """What should stand here."""
        found = "the end" if self.here < 0 else self.vocabulary.name(self.here)
        return Violation(self.position, expected, found)

    def finish(self, plan: P) -> P | Violation:
        """The plan, if nothing follows it."""
        return plan if self.position == len(self.ids) else self.violation("nothing more")
