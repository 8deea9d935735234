"""The motion that was sent, frame by frame on the session's clock: what is displayed at a moment, and what comes next.

What comes later replaces what came before from its first frame on. Only the last `KEPT_FRAMES` are kept.
"""

from __future__ import annotations

from typing import Final

from visavis.motion.motion import FPS, Motion

__all__ = ["KEPT_FRAMES", "Timeline"]

KEPT_FRAMES: Final = 40 * FPS


class Timeline:
    """Pieces of motion, each beginning where the one before it ends."""

    def __init__(self) -> None:
        self._pieces: list[tuple[int, Motion]] = []
        self.end = 0  # the frame after the last

    def put(self, first: int, motion: Motion) -> None:
        """Set the frames from `first` on.

        Args:
            first: at most `end`: there are no gaps.
            motion: body and face.
        """
        assert first <= self.end or not self._pieces, f"frames {self.end} to {first} would be missing"
        self.cut(first)
        self._pieces.append((first, motion))
        self.end = first + len(motion)
        while self._pieces[0][0] + len(self._pieces[0][1]) < self.end - KEPT_FRAMES:
            del self._pieces[0]

    def cut(self, frame: int) -> None:
        """Drop the frames from `frame` on."""
        while self._pieces and self._pieces[-1][0] >= frame:
            del self._pieces[-1]
        if self._pieces:
            first, motion = self._pieces[-1]
            self._pieces[-1] = (first, motion.slice(0, frame - first))
            self.end = min(self.end, frame)
        else:
            self.end = frame

    def before(self, frame: int, count: int) -> Motion | None:
        """The last frames before `frame`, at most `count`; None where there are none."""
        found: Motion | None = None
        for first, motion in reversed(self._pieces):
            piece = motion.slice(max(frame - count - first, 0), max(min(frame - first, len(motion)), 0))
            if len(piece):
                found = piece if found is None else piece.concatenate(found)
            if first <= frame - count:
                break
        return found
