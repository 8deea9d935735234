"""A batch whose streams are read by a process of its own, on a core of its own.

Two threads of one Python process cannot step two batches side by side: a pass is a few hundred small products, and
before and after each the interpreter's lock is wanted. Here the lock is free while the other process reads. What
chooses ids (constraints, sampling) stays where it is, so nothing but ids and logits goes through the pipes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final, cast

import numpy as np

from visavis.agent.apart_worker import Change, FrameError, pack, read_frame, sent_ids
from visavis.agent.engine import Floats, Ids
from visavis.agent.rows import Gone
from visavis.processes import start_module

__all__ = ["RowsApart"]

log = logging.getLogger(__name__)

PATIENCE_S: Final = 60.0  # a pass takes milliseconds; a process that says nothing for so long is ended
_LOOK_S: Final = 5.0


class RowsApart:
    """Slots that another process keeps and reads; see `visavis.agent.rows.Rows`. One thread at a time may use it.

    Args:
        folder: of the planner.
        exact: products in float32 instead of bf16.

    Raises:
        Gone: the process could not be started.
    """

    def __init__(self, folder: str | Path, exact: bool = False) -> None:
        self._slots = 1
        self._changes: list[int] = []
        self._pid = os.getpid()
        self._asked = _Asked()
        try:
            process = start_module(
                "visavis.agent.apart_worker", str(folder), *(["--exact"] if exact else []), stderr=None
            )
        except OSError as error:
            raise Gone(f"a process for a second batch could not be started: {error}") from error
        self._process = process
        self._finish = weakref.finalize(self, _end, process, self._pid, self._asked)  # at the latest when Python ends
        _STARTED.add(self)
        try:
            threading.Thread(target=_watch, args=(process, self._asked), name="visavis-apart", daemon=True).start()
        except RuntimeError as error:
            self.close()
            raise Gone(f"a process for a second batch could not be watched: {error}") from error

    def wait(self) -> None:
        """Wait until the process has loaded the planner.

        Raises:
            Gone: it could not, or was closed in the meantime.
        """
        with self._asking():
            self._answer(0)

    @property
    def slots(self) -> int:
        """How many streams fit."""
        return self._slots

    def read(self, runs: Sequence[Sequence[int]], wanted: Sequence[Ids | None]) -> list[Floats]:
        """See `Rows`."""
        if self._pid != os.getpid():
            raise Gone("this process was forked from the one whose batch it is")
        read = [ids for run, ids in zip(runs, wanted, strict=True) if run]
        request = pack([self._changes, [len(runs)], *runs, *map(sent_ids, read)], np.int32)
        with self._asking():
            pipe = cast(IO[bytes], self._process.stdin)
            pipe.write(request)
            pipe.flush()
            answer = self._answer(len(read))
        self._changes = []
        return answer

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Watched while it is asked; whatever goes wrong ends the process, because a later answer would be taken for
        that of the next pass.
        """
        self._asked.since = time.monotonic()
        try:
            yield
        except (OSError, ValueError, FrameError) as error:
            self.close()
            raise Gone(f"the process of a second batch ended: {error}") from error
        except BaseException:
            self.close()
            raise
        finally:
            self._asked.since = None

    def _answer(self, count: int) -> list[Floats]:
        """The next answer, which has so many arrays."""
        answer = read_frame(cast(IO[bytes], self._process.stdout), np.float32)
        if answer is None or len(answer) != count:
            raise Gone("the process of a second batch ended")
        return answer

    def clear(self, slot: int) -> None:
        """See `Rows`."""
        self._changes += [Change.CLEAR, slot, 0]

    def move(self, source: int, target: int) -> None:
        """See `Rows`."""
        self._changes += [Change.MOVE, source, target]

    def resize(self, slots: int) -> None:
        """See `Rows`."""
        self._slots = slots
        self._changes += [Change.RESIZE, slots, 0]

    def close(self) -> None:
        """End the process."""
        self._finish()


class _Asked:
    """since: when an answer was asked for that is waited for, by `time.monotonic`; over: no more will be."""

    def __init__(self) -> None:
        self.since: float | None = None
        self.over = threading.Event()


def _watch(process: subprocess.Popen[bytes], asked: _Asked) -> None:
    """End a process that does not answer."""
    while not asked.over.wait(_LOOK_S):
        since = asked.since
        if since is not None and time.monotonic() - since > PATIENCE_S:
            log.warning("the process of a second batch did not answer for %.0f s and is ended", PATIENCE_S)
            process.kill()


def _end(process: subprocess.Popen[bytes], pid: int, asked: _Asked) -> None:
    if pid != os.getpid():
        return  # a fork's copy: the process belongs to the parent
    asked.over.set()
    with contextlib.suppress(OSError):
        process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError, ValueError):
            if pipe is not None:
                pipe.close()


_STARTED: Final = weakref.WeakSet["RowsApart"]()


def _disinherit() -> None:
    """After a fork: let go of the pipes, which are the parent's, so that what it started ends with it."""
    for rows in _STARTED:
        for pipe in (rows._process.stdin, rows._process.stdout):
            with contextlib.suppress(OSError, ValueError):
                if pipe is not None:
                    nothing = os.open(os.devnull, os.O_RDWR)
                    os.dup2(nothing, pipe.fileno())
                    os.close(nothing)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disinherit)
