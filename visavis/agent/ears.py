"""Feeding a session's hearing: the partner's sound, and what of our own voice is in the air meanwhile."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visavis.agent.hearing import Hearing
from visavis.errors import UsageError

__all__ = ["Ears"]


class Ears:
    """A hearing with a lock around it. What we play is noted at once and told to the hearing when it hears next."""

    def __init__(self, hearing: Hearing) -> None:
        self._hearing = hearing
        self._lock = threading.Lock()
        self._played: deque[tuple[NDArray[np.int16], int, float] | None] = deque(maxlen=1000)

    def plays(self, pcm: NDArray[np.int16], sample_rate_hz: int, due: float) -> None:
        """A piece of our voice is played from `due` on, seconds of `time.monotonic`."""
        self._played.append((pcm, sample_rate_hz, due))

    def stopped(self) -> None:
        """What was to be played is dropped."""
        self._played.append(None)

    def hear(self, pcm: NDArray[np.int16], sample_rate_hz: int) -> list[Any]:
        """Feed the partner's sound; what was noticed.

        Raises:
            UsageError: it is no sound.
        """
        sound = np.asarray(pcm)
        if sound.ndim != 1 or sound.dtype != np.int16:
            raise UsageError(f"expected audio as (N,) int16 mono; got {sound.dtype} {sound.shape}")
        with self._lock:
            while self._played:
                piece = self._played.popleft()
                if piece is None:
                    self._hearing.stopped()
                else:
                    mine, rate_hz, due = piece
                    self._hearing.playing(mine, max(self._hearing.now_s + due - time.monotonic(), 0.0), rate_hz)
            return list(self._hearing.feed(sound, sample_rate_hz))

    def close(self) -> None:
        """Close the hearing, if it can be closed."""
        with self._lock:
            close = getattr(self._hearing, "close", None)
            if close is not None:
                close()
