"""What is remembered of a partner beyond one conversation: what they told, and what was talked about.

Memories are sentences to the partner, so they are recalled as cards beside the persona's and can be quoted. They are
looked up by meaning (MiniLM). They belong to an *owner*: a user who was named, else the one session.
"""

from __future__ import annotations

import hashlib
import re
import threading
import weakref
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from visavis.agent.journal import Journal
from visavis.agent.persona import Card, Persona
from visavis.agent.store.types import Memory
from visavis.agent.told import statements
from visavis.retrieval.embedder import shared_meanings

__all__ = ["PartnerMemory", "Shelf", "now_iso"]

MOST: Final = 500  # memories of one owner; the oldest go
CARDS: Final = 8  # memories that are recalled beside the persona's cards
SAME: Final = 0.55  # cosine from which a memory is about what is to be forgotten
TOPICS: Final = 4  # named in a summary
_OF_AGENT: Final = re.compile(r"\b(you|your|yours|yourself|u|ur|you're|youre)\b", re.I)
_OF_PARTNER: Final = re.compile(
    r"\b(i|me|my|mine|myself|i'm|im|i've|ive|i'd|we|us|our|ours|we're|know|remember|recall|forget|forgot|tell|told|said)\b",
    re.I,
)


def now_iso() -> str:
    """The moment, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Shelf:
    """The memories of one owner, which all their open conversations share.

    Args:
        owner: whose.
        journal: keeps them, if they are to outlive the process.

    Attributes:
        sessions: whoever wants to know of what is forgotten in another conversation (`visavis.agent.remembering`).
    """

    def __init__(self, owner: str, journal: Journal | None = None) -> None:
        self.owner, self.journal = owner, journal
        self.lock = threading.RLock()
        self.all: list[Memory] = []
        self.sessions: weakref.WeakSet[Any] = weakref.WeakSet()
        if journal is not None:
            journal.flush()  # what another conversation has just told
            self.all = journal.store.memories(owner)


class PartnerMemory:
    """The memories of one owner in one conversation; usable from any thread.

    Args:
        owner: whose.
        session: the conversation that goes on now.
        shelf: where they are; a new one that ends with the process if None.
    """

    def __init__(self, owner: str, session: str, shelf: Shelf | None = None) -> None:
        self.owner, self.session = owner, session
        self.shelf = Shelf(owner) if shelf is None else shelf
        self._journal, self._lock = self.shelf.journal, self.shelf.lock

    @property
    def _all(self) -> list[Memory]:
        return self.shelf.all

    @_all.setter
    def _all(self, memories: list[Memory]) -> None:
        self.shelf.all = memories

    def __len__(self) -> int:
        return len(self._all)

    def all(self) -> list[Memory]:
        """Everything, oldest first."""
        with self._lock:
            return list(self._all)

    def hear(self, line: str, turn: int) -> list[Memory]:
        """Remember what a line of the partner tells; returns what is new."""
        new = []
        for told in statements(line):
            new.append(self._keep("fact", told.text, told.slot, turn))
        return new

    def summarise(self, said: Sequence[str], persona: Persona, turn: int) -> None:
        """Remember what this conversation was about: the topics of the persona's facts that were heard."""
        heard = " ".join(said)
        topics = [card.topic for card in persona.cards if any(fact in heard for fact in card.facts)][-TOPICS:]
        if topics:
            listed = topics[0] if len(topics) == 1 else f"{', '.join(topics[:-1])} and {topics[-1]}"
            day = datetime.now(UTC).strftime("%d %B").lstrip("0")
            self._keep("summary", f"On {day} we talked about {listed}.", f"summary {self.session}", turn)

    def search(self, text: str, k: int = 5) -> list[tuple[Memory, float]]:
        """The memories nearest in meaning with their cosines, best first."""
        with self._lock:
            known = list(self._all)
        if not known:
            return []
        vectors = shared_meanings().encode([text, *(memory.text for memory in known)])
        cosines = vectors[1:] @ vectors[0]
        order = np.argsort(-cosines, kind="stable")[:k]
        return [(known[i], float(cosines[i])) for i in order]

    def cards(self, line: str) -> list[Card]:
        """The memories that may help to answer a line, as cards.

        None of what this conversation was about so far, and nothing that the line itself tells: who says "I've got a
        lump" wants more than to hear it again. None at all for a line about the agent alone ("How old are you?"), to
        whom what the partner told of themselves is no answer.
        """
        if _OF_AGENT.search(line) and not _OF_PARTNER.search(line):
            return []
        said = {told.text for told in statements(line)}
        found = [
            memory
            for memory, _ in self.search(line, CARDS + 1 + len(said))
            if not (memory.kind == "summary" and memory.session == self.session) and memory.text not in said
        ]
        return [Card(topic=_topic(memory), facts=(memory.text,)) for memory in found[:CARDS]]

    def forget(self, what: str | None = None) -> list[Memory]:
        """Forget everything, or what is about something; returns what is gone."""
        with self._lock:
            if what is None:
                gone, self._all = self._all, []
                if self._journal is not None:
                    owner = self.owner
                    self._journal.put(("memories", owner), lambda store: store.drop_memories(owner))
                return gone
            words = _words(what)
            close = {memory.id for memory, cosine in self.search(what, len(self._all)) if cosine >= SAME}
            gone = [m for m in self._all if m.id in close or (words and words <= _words(m.text))]
            self._drop(gone)
            return gone

    def forget_turns(self, turns: Sequence[int]) -> list[Memory]:
        """Forget what was told in some turns of this session."""
        with self._lock:
            gone = [m for m in self._all if m.session == self.session and m.turn in turns]
            self._drop(gone)
            return gone

    def _keep(self, kind: str, text: str, slot: str, turn: int) -> Memory:
        id_ = hashlib.sha256(f"{kind} {slot or text}".lower().encode()).hexdigest()[:20]
        memory = Memory(id_, kind, text, slot, self.session, turn, now_iso())  # type: ignore[arg-type]
        with self._lock:
            self._all = [m for m in self._all if m.id != id_]
            self._all.append(memory)
            self._drop(self._all[:-MOST])
            if self._journal is not None:
                owner = self.owner
                self._journal.put(("memory", owner, id_), lambda store: store.put_memory(owner, memory))
        return memory

    def _drop(self, gone: Sequence[Memory]) -> None:
        ids = [memory.id for memory in gone]
        self._all = [memory for memory in self._all if memory.id not in ids]
        if self._journal is not None and ids:
            owner = self.owner
            for id_ in ids:
                self._journal.put(("memory", owner, id_), lambda store, id_=id_: store.drop_memories(owner, [id_]))  # type: ignore[misc]


def _words(text: str) -> set[str]:
    """What a text is about, roughly: its longer words but the commonest."""
    plain = {"the", "that", "your", "you", "are", "was", "were", "called", "named", "have", "has", "like", "and"}
    return {word for word in re.findall(r"[a-z0-9]{3,}", text.lower()) if word not in plain}


def _topic(memory: Memory) -> str:
    if memory.kind == "summary":
        return "what we talked about last time"
    return (
        f"your {memory.slot}"[:80] if memory.slot and memory.slot not in ("live", "work", "study", "teach") else "you"
    )
