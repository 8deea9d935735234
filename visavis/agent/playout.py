"""What of a turn was played: what the client reports, held to bounds, else what a real-time player would have played.

A real-time player starts when the first sound reaches it, plays without a pause, and waits when it has played all that
was sent. A client's reports are believed as far as they are possible: never backwards, never more than was sent, never
more than the time since the first sound allows (and `SLACK_S`). Between reports it is taken to play on, for at most
`BETWEEN_S`: after that it has stalled. Knows nothing of sound and motion, only of times and words.
"""

from __future__ import annotations

import math
from typing import Final

from visavis.errors import UsageError

__all__ = ["BETWEEN_S", "FINAL_S", "SLACK_S", "STALLED_S", "Playout"]

BETWEEN_S: Final = 0.25
SLACK_S: Final = 0.3
STALLED_S: Final = 10.0  # a client that makes no progress for so long is taken to be gone
FINAL_S: Final = 2.0  # after an interruption the client may still say so long how far it really came
_END_S: Final = 0.05  # nobody reports the very last sample


class Playout:
    """The playing of one turn. All `now` are seconds of one monotonic clock.

    Attributes:
        sent_s: how much of the turn was sent.
        complete: whether that is all of it.
        over_at: when its playing ended, by its end or by an interruption; None while it plays.
    """

    def __init__(self, turn_id: str) -> None:
        self.turn_id = turn_id
        self.sent_s = 0.0
        self.complete = False
        self.over_at: float | None = None
        self.began_at: float | None = None
        self._words: list[tuple[str, float]] = []  # with the ends
        self._reported: tuple[float, float] | None = None  # how much, when
        self._moving = True
        self._cut_s: float | None = None
        self._progress_at: float | None = None

    def start(self, at: float) -> None:
        """What is sent next is due at the time `at`: the beginning, or a piece that came too late to follow at once."""
        self.began_at = at - self.sent_s
        self._progress_at = at

    def send(self, until_s: float, now: float, words: list[tuple[str, float]] | None = None) -> None:
        """More was sent: the turn up to `until_s`, and words (text, end_s)."""
        if self.began_at is None:
            self.start(now)
        elif self._reported is None and until_s > self.sent_s:
            assert self.began_at is not None, "it has begun"
            self.began_at += max(now - self.began_at - self.sent_s, 0.0)  # it waited for what comes now
        self.sent_s = max(self.sent_s, until_s)
        self._words.extend(words or [])

    def report(self, played_s: float, now: float) -> None:
        """The client says how much it has played.

        Raises:
            UsageError: no time at all.
        """
        if isinstance(played_s, bool) or not isinstance(played_s, int | float) or not math.isfinite(played_s):
            raise UsageError(f"expected played_s as seconds of the turn; got {played_s!r}")
        if self.began_at is None:
            return  # it cannot have played what was not sent
        if self.over_at is not None:
            if self._cut_s is not None and now - self.over_at <= FINAL_S:
                low = self._reported[0] if self._reported else 0.0
                self._cut_s = min(max(played_s, low), self._most(now))
            return
        before = self._reported[0] if self._reported else 0.0
        played_s = min(max(played_s, before), self._most(now))
        self._moving = played_s > before or self._reported is None
        if self._moving:
            self._progress_at = now
        self._reported = (played_s, now)

    def played_s(self, now: float) -> float:
        """How much was played."""
        return max(self.place_s(now), 0.0)

    def place_s(self, now: float) -> float:
        """Where the player stands on the turn's clock; below 0 while its beginning is on the way."""
        if self._cut_s is not None:
            return self._cut_s
        if self.began_at is None:
            return 0.0
        if self._reported is None:
            played_s = now - self.began_at
        else:
            played_s, at = self._reported
            played_s += min(max(now - at, 0.0), BETWEEN_S) if self._moving else 0.0
        return min(played_s, self.sent_s)

    @property
    def ends_at(self) -> float:
        """When a real-time player has played all that was sent."""
        return 0.0 if self.began_at is None or self.over_at is not None else self.began_at + self.sent_s

    def heard(self, now: float) -> str:
        """The words that had ended."""
        played_s = self.played_s(now) + 1e-6
        return " ".join(text for text, end_s in self._words if end_s <= played_s)

    def all_played(self, now: float) -> bool:
        """Whether it was played to its end."""
        return self.complete and self.played_s(now) >= self.sent_s - _END_S

    def waits(self, now: float) -> bool:
        """Whether a player has played all that was sent, and there is more to come."""
        return not self.complete and self.began_at is not None and self.played_s(now) >= self.sent_s - _END_S

    def waited_s(self, now: float) -> float:
        """For how long a player that played on has had nothing more to play."""
        if self.began_at is None or self._cut_s is not None:
            return 0.0
        if self._reported is None:
            return max(now - self.began_at - self.sent_s, 0.0)
        played_s, at = self._reported
        rest_s = self.sent_s - played_s
        return max(now - at - rest_s, 0.0) if self._moving and rest_s <= BETWEEN_S else 0.0

    def stalled(self, now: float) -> bool:
        """Whether the client has reported before, and made no progress for `STALLED_S` although it could."""
        if self._reported is None or self._progress_at is None or self.played_s(now) >= self.sent_s - _END_S:
            return False
        return now - self._progress_at > STALLED_S

    def cut(self, now: float, played_s: float | None = None) -> None:
        """It is interrupted now; `played_s` if the client said how far it came."""
        if played_s is not None:
            self.report(played_s, now)
            self._moving = False
        self._cut_s, self.over_at = self.played_s(now), now

    def end(self, now: float) -> None:
        """It was played to its end."""
        self.over_at = now

    def _most(self, now: float) -> float:
        """The most that can have been played."""
        assert self.began_at is not None, "nothing was sent"
        return max(min(self.sent_s, (now if self.over_at is None else self.over_at) - self.began_at + SLACK_S), 0.0)
