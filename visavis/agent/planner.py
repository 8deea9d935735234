"""`Planner` and `Mover`: who decides what is said and which gestures are made, and who writes the motion tokens.

To bring your own, write a class with `name`, `reply`, `feel` and `act`; it may assume that prompts hold only recalled
cards and gestures, best first. A plan is data: what a model gets wrong is mended or left out, never raised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from visavis.agent.engine import CancelToken
from visavis.emotion import Emotion
from visavis.tokenizers.turn_language import ActPlan, ActPrompt, MovePrompt, ReplyPlan, ReplyPrompt

__all__ = ["Cancel", "Cancelled", "Mover", "Planner"]


class Cancelled(Exception):
    """The turn was cancelled; raised and caught inside the agent only."""


class Cancel(CancelToken):
    """The cancel token of a turn: an aborted graph would lose what is not yet checkpointed, so nodes ask it."""

    def check(self) -> None:
        """Raise `Cancelled` once the token is set."""
        if self.cancelled:
            raise Cancelled


class Planner(Protocol):
    """Plans REPLY and ACT."""

    name: str

    def reply(self, prompt: ReplyPrompt, *, seed: int, cancel: Cancel) -> ReplyPlan:
        """What to feel and say."""
        ...

    def feel(self, prompt: ActPrompt, *, cancel: Cancel) -> Emotion:
        """The emotion of a whole text that is given; `prompt.emotion` is None."""
        ...

    def act(
        self,
        prompt: ActPrompt,
        *,
        params: Mapping[str, Sequence[str]],
        seed: int,
        cancel: Cancel,
        chances: Sequence[float] = (),
        called: Mapping[int, str] | None = None,
        bias: float = 0.0,
    ) -> ActPlan:
        """The prompt's words with gesture tags.

        Args:
            prompt: clause, emotion or none, candidates.
            params: names of the parameters that each candidate gloss takes.
            seed: of sampling.
            cancel: checked between tokens.
            chances: for each word, what RECALL thinks that some gesture belongs to it; empty if it has no opinion.
            called: the words whose numbers, directions or places call for a candidate, and which; None: those of the
                text alone.
            bias: added to the log-odds of making a gesture; 0 is the calibrated density.
        """
        ...


class Mover(Protocol):
    """Writes MOVE."""

    def move(
        self,
        prompt: MovePrompt,
        words: Sequence[str],
        cues: Sequence[int],
        clip: NDArray[np.int64],
        forced: NDArray[np.bool_],
        *,
        seed: int,
        cancel: Cancel,
    ) -> NDArray[np.int64]:
        """Motion tokens (S, 3) for S steps.

        Args:
            prompt: mode, emotion and the last steps before.
            words: per step, see the turn language.
            cues: per step.
            clip: (S, 3) ids of clips where `forced` (S, 3) is true.
            forced: which tokens are given.
            seed: of sampling.
            cancel: checked between tokens.
        """
        ...
