"""Making the turns of a session: one after the other, each in a thread of its own if nobody waits for it.

A turn that is in the making hands its events to the stage; how it ends (whole, cut or failed) is told there, too, and
the body stands where the client's does. What turns are made with may change between them (`tools`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from visavis.agent.behaviours import Retriever
from visavis.agent.body import Body
from visavis.agent.events import ResponseCreated, ResponseDone, SessionState
from visavis.agent.persona import Card
from visavis.agent.planner import Cancelled
from visavis.agent.remembering import Remembering
from visavis.agent.running import Run, finish, motion_until
from visavis.agent.stage import Stage
from visavis.agent.turn import Turn
from visavis.agent.waiting import Asked, join_all
from visavis.agent.work import Tools, Work
from visavis.errors import VisavisError
from visavis.motion.motion import FPS

__all__ = ["Maker"]

LEFT_S: Final = 2.0  # what is waited at the end for those who were asked and may never answer

log = logging.getLogger(__name__)


class Maker:
    """See the head of the module.

    Args:
        tools: what the next turn is made with.
        body: of this session alone.
        graph: of the turn, with its behaviours.
        stage: where turns go out.
        remembering: what was said before.
        retrievers: know more than the persona and the memory.
        seed: of the first turn; the next ones count on.

    Attributes:
        lock: held while a turn is made, and by whoever else moves the body.
        threads: those that make turns.
    """

    def __init__(
        self,
        tools: Tools,
        body: Body,
        graph: Any,
        stage: Stage,
        remembering: Remembering,
        retrievers: Sequence[Retriever],
        seed: int,
    ) -> None:
        self.tools, self.body = tools, body
        self._graph, self._stage, self._remembering = graph, stage, remembering
        self._retrievers, self._seed = tuple(retrievers), seed
        self.lock = threading.Lock()
        self.threads: set[threading.Thread] = set()
        self._asked = Asked()

    def start(self, run: Run, ended: Callable[[BaseException | None], None] = lambda error: None) -> None:
        """Make a turn in a thread of its own."""

        def work() -> None:
            failed: BaseException | None = None
            try:
                self.make(run)
            except BaseException as error:
                failed = error
                if not isinstance(error, Cancelled | VisavisError):
                    log.exception("the turn failed")
            finally:
                with self._stage.gate:
                    self.threads.discard(threading.current_thread())
                ended(failed)

        thread = threading.Thread(target=work, name=f"visavis-{self._stage.id}", daemon=True)
        with self._stage.gate:
            self.threads.add(thread)
        thread.start()

    def make(self, run: Run) -> Turn:
        """Make a turn from beginning to end; waits for those before it."""
        try:
            with self.lock:
                return self._turn(run)
        finally:
            with self._stage.gate:
                if run in self._stage.open:
                    self._stage.open.remove(run)

    def _turn(self, run: Run) -> Turn:
        run.work = Work(
            self.tools, self.body, lambda event: self._stage.emit(run, event), self._stage.id, run.turn_id,
            self._seed + run.number - 1, run.cancel, run.recording, run.gestures, run.degraded,
            recalled=lambda line: self._recalled(run, line), streamed=not run.offline, asked=self._asked,
        )  # fmt: skip
        with self._stage.gate:
            run.cancel.check()
            self._remembering.forget_if_asked(run)
            live = None if run.offline else self._stage.live
            history = self._remembering.pairs(before_turn=run.number)
            self._remembering.line(run)
            shown = at_s = None
            if live is not None:
                shown, at_s = live.shown(time.monotonic()), live.timeline.end / FPS
                live.begin(run.playout)
                run.live = True
        try:
            self.body.begin(shown, at_s)
            run.work.send(SessionState(state="thinking"))
            run.work.send(ResponseCreated())
            turn = finish(self._graph, run, history)
            done = ResponseDone(turn=turn.record.model_dump())
            run.work.stamp(done)
            self._stage.ended(run, done, self.tools.persona)
        except Cancelled:
            self._stand(run.work, 0.0 if run.live else run.playout.played_s(time.monotonic()))
            raise
        except BaseException as error:
            self.body.end(run.work.moved_steps * 4)
            self._stage.fail(run, error)
            raise
        self.body.end(len(turn.motion))
        return replace(turn, events=tuple(run.events))

    def _recalled(self, run: Run, line: str) -> list[Card]:
        """The cards beside the persona's: memories, and what the retrievers know."""
        found = self._remembering.memory.cards(line)
        for retriever in self._retrievers:
            try:
                found += retriever(line)
            except Exception as error:  # somebody else's code: whatever it raises, the turn goes on without it
                assert run.work is not None, "a turn that recalls is being made"
                run.work.degrade(f"retriever: {type(error).__name__}: {error}"[:300], "the persona's cards alone")
        return found

    def _stand(self, work: Work, played_s: float) -> None:
        """The body stands where the client's stands: so much of a turn was displayed."""
        shown = motion_until(work, round(played_s * FPS))
        if shown is not None:
            self.body.resume(shown)
            self.body.end(len(shown))

    def wait(self, seconds: float) -> None:
        """Wait until all threads have ended, those of who was asked too, but no longer."""
        with self._stage.gate:
            threads = list(self.threads)
        deadline = time.monotonic() + seconds
        join_all(threads, seconds)
        self._asked.wait(min(max(deadline - time.monotonic(), 0.0), LEFT_S))
