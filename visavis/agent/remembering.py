"""What a session remembers: what was said and heard, what the partner told, and the forgetting of it.

Of a turn only what was heard is remembered. A line of the partner's that asks to forget is answered by doing so. Where
the session is kept (`visavis.agent.keeping`) the store follows. Not thread-safe: the session calls it under its gate.
"""

from __future__ import annotations

from typing import Final, Literal

from visavis.agent.keeping import Keeping
from visavis.agent.memory import PartnerMemory
from visavis.agent.persona import Persona
from visavis.agent.running import Run
from visavis.agent.told import forgetting
from visavis.agent.transcript import Transcript

__all__ = ["Remembering"]

FORGOT: Final = "(a request to forget)"  # kept instead of the line, which may name what is forgotten


class Remembering:
    """See the head of the module.

    Args:
        session_id: whose.
        memory: of the partner.
        keeping: keeps the turns, if they are to outlive the process; what it has kept before is taken up again.

    Attributes:
        turns: the number of the last turn that is kept.
    """

    def __init__(self, session_id: str, memory: PartnerMemory, keeping: Keeping | None) -> None:
        self._id, self.memory, self.keeping = session_id, memory, keeping
        lines, self.turns = keeping.resume() if keeping is not None else ([], 0)
        self._transcript = Transcript(lines)
        memory.shelf.sessions.add(self)

    def pairs(self, before_turn: int | None = None) -> list[tuple[str, str]]:
        """(speaker, text) of all lines, or of those before a turn."""
        return self._transcript.pairs(before_turn)

    # --- what was said and heard -------------------------------------------------------------------------------

    def line(self, run: Run) -> None:
        """Remember the partner's line: it was heard, whatever becomes of the answer."""
        if run.user is None or run.noted:
            return
        run.noted = True
        self._transcript.put("user", run.user, run.number)
        self.keep(run, "", "open")
        if not run.forgets:
            self.memory.hear(run.user, run.number)

    def made(self, run: Run, persona: Persona) -> None:
        """A turn is made: this will be heard of it, unless it is cut."""
        self._transcript.put("agent", run.said, run.number)
        said = [text for speaker, text in self._transcript.pairs() if speaker == "agent"]
        self.memory.summarise(said, persona, run.number)

    def cut(self, run: Run, said: str) -> None:
        """What was heard of a turn that ended early is what was said in it."""
        self._transcript.put("agent", said, run.number)
        self.keep(run, said, "cut")

    def keep(self, run: Run, said: str, state: Literal["open", "done", "cut"]) -> None:
        """Keep a turn as far as it was heard."""
        if self.keeping is not None:
            self.keeping.turn(run.number, FORGOT if run.forgets else run.user, said, state)

    # --- forgetting --------------------------------------------------------------------------------------------

    def forget(self, what: str | None = None) -> int:
        """Forget everything about the partner, or what is about something; how many memories and lines are gone."""
        everywhere: list[Remembering] = list(self.memory.shelf.sessions)  # the partner's other conversations, too
        if what is None:
            gone = len(self.memory.forget())
            for other in everywhere:
                gone += other._transcript.clear()
            if self.keeping is not None:
                self.keeping.drop_all()
            return gone
        memories = self.memory.forget(what)
        for memory in memories:
            if self.keeping is not None:
                self.keeping.drop([memory.turn], memory.session)
        gone = len(memories)
        for other in everywhere:
            gone += other._transcript.drop({memory.turn for memory in memories if memory.session == other._id})
        return gone

    def forget_if_asked(self, run: Run) -> None:
        """A line that asks to forget is answered by doing so."""
        wish = forgetting(run.user) if run.user else None
        if wish is None:
            return
        kind, what = wish
        run.forgets = True
        if kind == "all":
            self.forget()
            run.given = "I have forgotten everything that you told me."
        elif kind == "last":
            turn = self._transcript.last_turn(before=run.number)
            self.memory.forget_turns([turn])
            self._transcript.drop({turn})
            if self.keeping is not None:
                self.keeping.drop([turn])
            run.given = "I have forgotten it."
        else:
            gone = self.forget(what)
            run.given = "I have forgotten it." if gone else "There is nothing about that that I remember."
