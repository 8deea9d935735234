"""Keeping conversations: what was heard, turn by turn, and what the partner told, beyond the life of a process."""

from visavis.agent.store.opening import open_store
from visavis.agent.store.types import Memory, SessionNote, Store, TurnNote, checked_id

__all__ = ["Memory", "SessionNote", "Store", "TurnNote", "checked_id", "open_store"]
