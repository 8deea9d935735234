"""The turn language: what a turn is, as data and as token ids.

REPLY  emotion and words        prompt: persona, recalled cards, history, the user's line
ACT    words and gesture tags   prompt: emotion or none, candidate gestures, the clause
MOVE   motion tokens by step    prompt: speaker or listener, emotion, a few earlier steps

Every control is one id; text is SentencePiece with a leading space at every word, so that a tag can stand between
two words without changing their pieces. `Example.mask` marks the tokens a model learns to write. The way back is
`turn_reading`. This module knows nothing of models, personas or gestures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from visavis.emotion import Emotion

if TYPE_CHECKING:
    from visavis.tokenizers.vocabulary import JointVocabulary

__all__ = [
    "CUES",
    "MAX_CANDIDATES",
    "MAX_CARDS",
    "MAX_CONTEXT_STEPS",
    "MAX_HISTORY",
    "ActPlan",
    "ActPrompt",
    "Candidate",
    "Example",
    "MovePlan",
    "MovePrompt",
    "MoveStep",
    "ReplyPlan",
    "ReplyPrompt",
    "Segment",
    "Tag",
    "act_example",
    "format_params",
    "move_example",
    "parse_params",
    "reply_example",
    "score_level",
]

MAX_CARDS: Final = 5
MAX_HISTORY: Final = 4
MAX_CANDIDATES: Final = 5
MAX_CONTEXT_STEPS: Final = 4

CUES: Final = (
    "silence",
    "speech",
    "stress",
    "boundary",
    "stroke ahead",
    "clip",
    "tail",
    "partner speaks",
    "partner pauses",
    "partner laughs",
    "listener turn-start",
    "beat ahead",
    "beat",
)

Value = str | int | float


@dataclass(frozen=True)
class Candidate:
    """Something recalled for the model to choose from: a card's fact sentence or a gesture's gloss; score in [0, 1]."""

    text: str
    score: float


@dataclass(frozen=True)
class Segment:
    """A piece of a reply; a quoted one is, word for word, a piece of a card in the prompt."""

    text: str
    quoted: bool = False


@dataclass(frozen=True)
class ReplyPrompt:
    """What REPLY reads.

    cards: best first, at most `MAX_CARDS` are used; history: (speaker, text) with speaker "user" or "agent", oldest
    first, the last `MAX_HISTORY` are used; user: the line to answer.
    """

    name: str
    role: str
    cards: Sequence[Candidate]
    history: Sequence[tuple[str, str]]
    user: str

    def ids(self, vocabulary: JointVocabulary, budget: int = 480) -> list[int]:
        """The prompt's ids, at most `budget`: beyond it the oldest history goes first, then the worst cards, then
        the beginning of the user's line.
        """
        control, encode = vocabulary.control, vocabulary.encode_text
        head = [control("bos"), control("reply"), control("persona"), *encode(f"{self.name}, {self.role}.")[:64]]
        cards = [
            [control("card"), score_id(vocabulary, card.score), *encode(card.text)] for card in self.cards[:MAX_CARDS]
        ]
        history = [[control(speaker), *encode(text)] for speaker, text in list(self.history)[-MAX_HISTORY:]]
        line = encode(self.user)
        room = budget - len(head) - 2
        while history and _size(cards) + _size(history) + len(line) > room:
            history.pop(0)
        while len(cards) > 1 and _size(cards) + len(line) > room:
            cards.pop()
        if cards and len(cards[0]) > room // 2:
            cards = []
        line = line[max(0, len(line) - room + _size(cards)) :]
        return [*head, *_flat(cards), *_flat(history), control("user"), *line, control("agent")]


@dataclass(frozen=True)
class ReplyPlan:
    """What REPLY writes: how it feels and what it says."""

    emotion: Emotion
    segments: Sequence[Segment]

    @property
    def text(self) -> str:
        """The words, without quote marks."""
        return " ".join(segment.text for segment in self.segments)

    def ids(self, vocabulary: JointVocabulary) -> list[int]:
        """The output's ids, `<|end|>` included."""
        ids = emotion_ids(vocabulary, self.emotion)
        for segment in self.segments:
            pieces = vocabulary.encode_text(segment.text)
            ids += [vocabulary.control("quote"), *pieces, vocabulary.control("/quote")] if segment.quoted else pieces
        return [*ids, vocabulary.control("end")]


@dataclass(frozen=True)
class ActPrompt:
    """What ACT reads: the clause, its emotion (None: the model chooses) and candidate glosses, best first.

    `before`, the partner's line that the clause answers, is for planners that feel with it; it is no part of the ids.
    """

    text: str
    emotion: Emotion | None
    candidates: Sequence[Candidate]
    before: str = ""

    def ids(self, vocabulary: JointVocabulary) -> list[int]:
        """The prompt's ids."""
        control, encode = vocabulary.control, vocabulary.encode_text
        felt = [control("unfelt")] if self.emotion is None else emotion_ids(vocabulary, self.emotion)
        shown = [
            [control("candidate"), score_id(vocabulary, candidate.score), *encode(candidate.text)]
            for candidate in self.candidates[:MAX_CANDIDATES]
        ]
        head = [control("bos"), control("act"), *felt, *_flat(shown)]
        return [*head, control("say"), *encode(self.text), control("agent")]


@dataclass(frozen=True)
class Tag:
    """A gesture set before a word.

    gloss: its name; word: index of the word in `text.split()` that it stands before; params: e.g. {"size_m": 0.9}.
    """

    gloss: str
    word: int
    params: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class ActPlan:
    """What ACT writes. `emotion` is None when the prompt gave it."""

    emotion: Emotion | None
    text: str
    tags: Sequence[Tag]

    def ids(self, vocabulary: JointVocabulary) -> list[int]:
        """The output's ids, `<|end|>` included; begins with the emotion if there is one."""
        return self._render(vocabulary).ids

    def _render(self, vocabulary: JointVocabulary) -> Example:
        """Ids, and a mask over the choices: emotion, whether a word or a tag comes next, the tag, the end."""
        control = vocabulary.control
        ids = [] if self.emotion is None else emotion_ids(vocabulary, self.emotion)
        mask = [True] * len(ids)
        tags: dict[int, list[Tag]] = {}
        for tag in self.tags:
            tags.setdefault(tag.word, []).append(tag)
        words = vocabulary.encode_words(self.text)
        for index, (_, _, pieces) in enumerate(words):
            for tag in tags.get(index, ()):
                written = tag_ids(vocabulary, tag)
                ids += written
                mask += [True] * len(written)
            ids += pieces
            mask += [place == 0 for place in range(len(pieces))]
        return Example([*ids, control("end")], [*mask, True])


@dataclass(frozen=True)
class MoveStep:
    """One step of 4 frames.

    words: text whose onset lies `3` steps ahead, often ""; cue: index into `CUES`; codes: one of each part;
    forced: which of the codes come from a clip, and so are given and not learnt; none of them where it is empty.
    """

    words: str
    cue: int
    codes: tuple[int, ...]
    forced: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        if not self.forced:
            object.__setattr__(self, "forced", (False,) * len(self.codes))


@dataclass(frozen=True)
class MovePrompt:
    """What MOVE reads: who moves, its emotion, and the last steps before (at most `MAX_CONTEXT_STEPS`)."""

    mode: Literal["speak", "listen"]
    emotion: Emotion
    context: Sequence[MoveStep] = ()

    def ids(self, vocabulary: JointVocabulary) -> list[int]:
        """The prompt's ids."""
        head = [vocabulary.control("bos"), vocabulary.control(self.mode), *emotion_ids(vocabulary, self.emotion)]
        context = _flat([step_ids(vocabulary, step) for step in list(self.context)[-MAX_CONTEXT_STEPS:]])
        return [*head, *context, vocabulary.control("now")]


@dataclass(frozen=True)
class MovePlan:
    """What MOVE writes: every step of the turn, in order."""

    steps: Sequence[MoveStep]

    def ids(self, vocabulary: JointVocabulary) -> list[int]:
        """The output's ids, `<|end|>` included."""
        return [*_flat([step_ids(vocabulary, step) for step in self.steps]), vocabulary.control("end")]


@dataclass(frozen=True)
class Example:
    """A training sequence: mask[i] is true where ids[i] is to be learnt (never in the prompt)."""

    ids: list[int]
    mask: list[bool]


def reply_example(prompt: ReplyPrompt, plan: ReplyPlan, vocabulary: JointVocabulary) -> Example:
    """A REPLY to learn from: everything the model writes counts."""
    return _join(prompt.ids(vocabulary), plan.ids(vocabulary))


def act_example(prompt: ActPrompt, plan: ActPlan, vocabulary: JointVocabulary) -> Example:
    """An ACT to learn from: the choices count; pieces inside a word are forced and do not."""
    before, written = prompt.ids(vocabulary), plan._render(vocabulary)
    return Example(before + written.ids, [False] * len(before) + written.mask)


def move_example(prompt: MovePrompt, plan: MovePlan, vocabulary: JointVocabulary) -> Example:
    """A MOVE to learn from: only motion tokens that no clip forces count."""
    ids = prompt.ids(vocabulary)
    mask = [False] * len(ids)
    for step in plan.steps:
        written = step_ids(vocabulary, step)
        ids += written
        mask += [False] * (len(written) - len(step.codes)) + [not forced for forced in step.forced]
    return Example([*ids, vocabulary.control("end")], [*mask, False])


def score_level(score: float) -> int:
    """A score in [0, 1] as one of ten levels."""
    return min(9, max(0, int(10 * score + 1e-9)))


def score_id(vocabulary: JointVocabulary, score: float) -> int:
    """The id of a score's level, `<|s0|>` to `<|s9|>`."""
    return vocabulary.control(f"s{score_level(score)}")


def emotion_ids(vocabulary: JointVocabulary, emotion: Emotion) -> list[int]:
    """An emotion as two ids: its name and its level."""
    return [vocabulary.control(emotion.name), vocabulary.control(f"i{emotion.level}")]


def tag_ids(vocabulary: JointVocabulary, tag: Tag) -> list[int]:
    """A tag from `<|gesture|>` to `<|/gesture|>`."""
    control, encode = vocabulary.control, vocabulary.encode_text
    args = [[control("arg"), *encode(text)] for text in format_params(tag.params)]
    return [control("gesture"), *encode(tag.gloss), *_flat(args), control("/gesture")]


def step_ids(vocabulary: JointVocabulary, step: MoveStep) -> list[int]:
    """A step: words, cue, one motion id per part."""
    motion = [vocabulary.motion(part, code) for part, code in zip(vocabulary.parts, step.codes, strict=True)]
    return [*vocabulary.encode_text(step.words), vocabulary.cue(step.cue), *motion]


def format_params(params: Mapping[str, Value]) -> list[str]:
    """Parameters as `key=value`; numbers with at most two decimals."""
    return [
        f"{key}={round(value, 2):g}" if isinstance(value, (int, float)) else f"{key}={value}"
        for key, value in params.items()
    ]


def parse_params(text: str) -> tuple[str, Value] | None:
    """One `key=value`, the value as int, float or str; None if it is not one."""
    match = re.fullmatch(r"([a-z][a-z0-9_]*)=(\S.*)", text.strip())
    if match is None:
        return None
    key, value = match.groups()
    if re.fullmatch(r"-?\d+", value):
        return key, int(value)
    if re.fullmatch(r"-?\d*\.\d+", value):
        return key, float(value)
    return key, value


def _join(prompt: list[int], output: list[int]) -> Example:
    return Example(prompt + output, [False] * len(prompt) + [True] * len(output))


def _flat(parts: Sequence[Sequence[int]]) -> list[int]:
    return [id_ for part in parts for id_ in part]


def _size(parts: Sequence[Sequence[int]]) -> int:
    return sum(len(part) for part in parts)
