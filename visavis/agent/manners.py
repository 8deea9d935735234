"""What is said to a line of some kind, or to lines like it, word by word: a reminder for REPLY's model.

The model is small: to it "I didn't sleep well" and "Yes, please" both ask for something cheerful.
`visavis.agent.answering` tells the kinds of lines apart, `visavis.agent.exchanges` finds what was answered to lines
like it. So every next word gains from how many of the wordings that go on with it belong to kinds that the line may be
of, or were found, and is judged by the model as before (a product of experts; guiding a model by what each class would
say: Krause et al. 2020, GeDi; retrieve and refine: Weston et al. 2018). Words that no wording begins with stay
possible; once one is chosen the model is alone. With a wording a reply ends, unless a fact follows. What was said in
this conversation already gains less, so that one formula does not wear out.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from visavis import safe_yaml
from visavis.agent.answering import KINDS
from visavis.agent.exchanges import Exchange
from visavis.emotion import EMOTIONS
from visavis.tokenizers.vocabulary import JointVocabulary

__all__ = ["HELLOS", "PLAIN_OF", "Guide", "hellos_to", "replies_by_kind"]

TRUST: Final = 2.0  # how much the wordings count beside the model's words
SURER: Final = 3.0  # the power of the chances of kinds
FAINT: Final = 1e-6  # a share of wordings that counts as none
RARE: Final = 1e-3  # a chance of a kind that counts as none
FOUND_HOLDS: Final = 100.0  # added where an answer was found: the model chooses between answers, not words
SAID: Final = 0.1  # what is left of a wording that was said already
PLAIN_OF: Final = {"remark": "statement"}  # kinds whose wordings are another's
# What stands before the wordings of a greeting.
HELLOS: Final = (
    "Hello!", "Hello there!", "Hi!", "Hi there!", "Welcome!", "Good morning!", "Good afternoon!", "Good evening!",
)  # fmt: skip
_PART_OF_DAY: Final = re.compile(r"(?:^\W*|\bgood\s+)(morning|afternoon|evening)\b", re.IGNORECASE)


def hellos_to(line: str) -> tuple[str, ...]:
    """Those of `HELLOS` that answer a line: with the part of the day that it greets with, or with none."""
    found = _PART_OF_DAY.search(line)
    wanted = found[1].lower() if found else ""
    parts = {hello: _PART_OF_DAY.search(hello) for hello in HELLOS}
    return tuple(hello for hello, part in parts.items() if (part[1] if part else "") == wanted)


def replies_by_kind() -> dict[str, list[dict[str, Any]]]:
    """By kind the wordings of replies: `feel` ("joy 0.3 0.4"), `say` and, if a fact follows, `quote`."""
    return dict(_replies())


@functools.cache
def _replies() -> Mapping[str, list[dict[str, Any]]]:
    found: Mapping[str, list[dict[str, Any]]] = safe_yaml.load(
        (resources.files("visavis.agent.data") / "replies.yaml").read_text("utf-8")
    )
    return found


class Guide:
    """The wordings that may still follow, as one reply is written.

    Args:
        vocabulary: of the model.
        kinds: (K,) chances that the line is of a kind.
        felt: (K, E, STRENGTHS) chances of emotion and intensity in the replies to a kind.
        slots: what stands for `{name}` and `{role}`.
        said: what the agent said before.
        found: answers to lines like this one that suit it, best first; where there are any, the wordings of kinds are
            left out.
        trust: how much the wordings count.
        hellos: what may stand before the wordings of a greeting.

    Attributes:
        following: whether an answer that was found is being said.
        begun: whether the first of the words was said.
    """

    def __init__(
        self,
        vocabulary: JointVocabulary,
        kinds: NDArray[np.float32],
        felt: NDArray[np.float32],
        slots: Mapping[str, str],
        said: Sequence[str] = (),
        found: Sequence[Exchange] = (),
        trust: float = TRUST,
        hellos: Sequence[str] = HELLOS,
    ) -> None:
        self._vocabulary, self._kinds, self._felt, self._trust = vocabulary, kinds, felt, trust
        self._slots, self._said = slots, said
        self._found, self._hellos = found, hellos
        self._end = vocabulary.control("end")
        self._open: list[tuple[Sequence[int], float]] = []  # ids that are left, and the weight
        self._steps: dict[int, float] | None = None
        self.following = self.begun = False

    def begin(self, emotion: str, level: int) -> None:
        """The emotion was chosen, `level` of ten."""
        self._open, self._steps, self.begun = [], None, False
        for place, one in enumerate(one for one in self._found if one.emotion == emotion):
            weight = (SAID if any(one.reply in text for text in self._said) else 1.0) / (1 + place)
            self._open.append(((*_ids(self._vocabulary, one.reply), self._end), weight))
        self.following = bool(self._open)
        if self.following:
            return
        likely = self._kinds**SURER * self._felt[:, EMOTIONS.index(emotion), level]
        total = float(likely.sum())
        if total <= 0:
            return
        for kind, chance in zip(KINDS, likely / total, strict=True):
            if chance < RARE:
                continue
            groups = [g for g in replies_by_kind()[PLAIN_OF.get(kind, kind)] if g["feel"].split()[0] == emotion]
            # A fact follows some wordings; with the others all is said.
            wordings = [
                (wording.format(**self._slots), () if group.get("quote") else (self._end,))
                for group in groups
                for wording in group["say"]
            ]
            for wording, end in wordings:
                weight = float(chance) / len(wordings) * (SAID if any(wording in one for one in self._said) else 1.0)
                ways = [f"{hello} {wording}" for hello in self._hellos] if kind == "greeting" else [wording]
                self._open += [((*_ids(self._vocabulary, way), *end), weight / len(ways)) for way in ways]

    @property
    def gains(self) -> Mapping[int, float]:
        """What is added to the logits of the next ids; empty where the wordings have nothing to say any more."""
        if self._steps is None:
            self._steps = self._gains()
        return self._steps

    def _gains(self) -> dict[int, float]:
        share: dict[int, float] = {}
        for ids, weight in self._open:
            if not ids:  # one has ended that a fact follows
                return {}
            share[ids[0]] = share.get(ids[0], 0.0) + weight
        whole = sum(share.values())
        held = FOUND_HOLDS if self.following else 0.0
        return {
            id_: held + self._trust * float(np.log(some / whole / FAINT))
            for id_, some in share.items()
            if some > FAINT * whole
        }

    def accept(self, id_: int) -> None:
        """The id that was written."""
        self._open = [(ids[1:], weight) for ids, weight in self._open if ids and ids[0] == id_]
        self._steps, self.begun = None, True


@functools.lru_cache(maxsize=4096)
def _ids(vocabulary: JointVocabulary, text: str) -> tuple[int, ...]:
    return tuple(vocabulary.encode_text(text))
