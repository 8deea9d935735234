"""What was said and heard in a session, in order. Of a turn only what was heard is remembered."""

from __future__ import annotations

import threading
from dataclasses import dataclass

__all__ = ["MOST", "Line", "Transcript"]

MOST = 400  # lines; the planner reads far fewer, and a store keeps the rest


@dataclass(eq=False)
class Line:
    """Something said: by "user" or "agent", in which turn (its number)."""

    speaker: str
    text: str
    turn: int


class Transcript:
    """The lines of a conversation; usable from any thread, as it may be forgotten in from another conversation."""

    def __init__(self, lines: list[Line] | None = None) -> None:
        self._lines = list(lines or [])
        self._lock = threading.Lock()

    def pairs(self, before_turn: int | None = None) -> list[tuple[str, str]]:
        """(speaker, text) of all lines, or of those before a turn."""
        with self._lock:
            return [
                (line.speaker, line.text)
                for line in self._lines
                if line.text and (before_turn is None or line.turn < before_turn)
            ]

    def put(self, speaker: str, text: str, turn: int) -> None:
        """What somebody said in a turn; what was there is replaced, and an empty text is nothing said."""
        with self._lock:
            for line in self._lines:
                if line.turn == turn and line.speaker == speaker:
                    line.text = text
                    return
            self._lines.append(Line(speaker, text, turn))
            self._lines.sort(key=lambda line: (line.turn, line.speaker != "user"))
            del self._lines[:-MOST]

    def last_turn(self, before: int) -> int:
        """The number of the last turn before another one; 0 where there is none."""
        with self._lock:
            return max((line.turn for line in self._lines if line.turn < before), default=0)

    def drop(self, turns: set[int]) -> int:
        """Forget some turns; returns how many lines are gone."""
        with self._lock:
            count = len(self._lines)
            self._lines = [line for line in self._lines if line.turn not in turns]
            return count - len(self._lines)

    def clear(self) -> int:
        """Forget all of it; returns how many lines are gone."""
        with self._lock:
            count = sum(bool(line.text) for line in self._lines)
            self._lines = []
            return count
