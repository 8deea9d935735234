"""What is learnt about one partner while listening: how often they go on where they seemed to have finished, how long
they pause then. Nothing is kept beyond the conversation.

Some people end every clause as others end a turn. After an end of turn that was none, hearing asks for more certainty
from this partner and waits as long as they have paused before; with every end that was one it trusts its ears again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np

from visavis.agent.hearing_settings import Patience

__all__ = ["Habits"]

_USUAL, _WEIGHT = 0.05, 4.0  # the share of false ends that is expected, and how many ends' worth that is
_KEEPS = 0.9  # of what was learnt, with each further end
_PAUSES, _LONGER, _LONGEST_S = 8, 1.1, 2.0


class Habits:
    """One partner in one conversation."""

    def __init__(self) -> None:
        self._ends = self._false = 0.0
        self._pauses: deque[float] = deque(maxlen=_PAUSES)

    def ended(self) -> None:
        """An end of turn was told."""
        self._ends = _KEEPS * self._ends + 1
        self._false *= _KEEPS

    def went_on(self, pause_s: float) -> None:
        """The last end was none: they went on after so many seconds of silence."""
        self._false += 1
        self._pauses.append(pause_s)

    @property
    def doubt(self) -> float:
        """What is taken off the log odds that a turn is over; 0 for a partner as expected, or better."""
        share = (self._false + _WEIGHT * _USUAL) / (max(self._ends, self._false) + _WEIGHT)
        return max(0.0, float(np.log(share / (1 - share)) - np.log(_USUAL / (1 - _USUAL))))

    def patience(self, usual: Patience) -> Patience:
        """The same, but unsure ends wait as long as this partner was last seen to pause."""
        longest = min(_LONGER * max(self._pauses, default=0.0), _LONGEST_S)
        return replace(usual, slow_s=longest) if longest > usual.slow_s else usual
