"""Writing to a store without waiting for it: one thread, the newest version of everything, and no loss by a failure.

What cannot be written stays here and is tried again, at most every `AGAIN_S`; whoever wants to know is told once when
writing fails and once when it works again. Of something that changes often only the newest version is written.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

from visavis.agent.store.types import Store
from visavis.errors import StoreError

__all__ = ["Journal"]

log = logging.getLogger(__name__)

AGAIN_S: Final = 1.0
CLOSE_S: Final = 3.0
MOST: Final = 20_000  # things that wait to be written; far more than a session says


class Journal:
    """The writer of a store.

    Attributes:
        store: for reading; reads see what was flushed.
        trouble: why writing fails at the moment, or "".
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.trouble = ""
        self._waiting: OrderedDict[Hashable, Callable[[Store], None]] = OrderedDict()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._writing = False
        self._closed = False
        self._listeners: list[Callable[[str], None]] = []

    def put(self, key: Hashable, write: Callable[[Store], None]) -> None:
        """Write something soon, instead of what waits under the same key; never waits."""
        with self._changed:
            if self._closed:
                return
            if key not in self._waiting and len(self._waiting) >= MOST:
                log.error("the store has failed for too long: what is said now is not kept")
                return
            self._waiting[key] = write
            self._waiting.move_to_end(key)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="visavis-journal", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def listen(self, listener: Callable[[str], None]) -> None:
        """Tell somebody when writing begins to fail (why), and when it works again ("")."""
        with self._changed:
            self._listeners.append(listener)

    def unlisten(self, listener: Callable[[str], None]) -> None:
        """Tell them no more."""
        with self._changed:
            if listener in self._listeners:
                self._listeners.remove(listener)

    def flush(self, timeout_s: float = CLOSE_S) -> bool:
        """Wait until all is written; False when the time is up."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._writing, timeout_s)

    def close(self) -> None:
        """Write what waits, as far as it can be written, and close the store."""
        if not self.flush():
            log.error("the store failed to the end (%s): %d notes are lost", self.trouble, len(self._waiting))
        with self._changed:
            self._closed = True
            thread = self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join()
        self.store.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                key, write = self._waiting.popitem(last=False)
                self._writing = True
            try:
                write(self.store)
                trouble = ""
            except StoreError as error:
                trouble = str(error)
            except Exception as error:  # a store of somebody else's: whatever it raises, the session lives on
                log.exception("the store failed")
                trouble = str(error) or type(error).__name__
            with self._changed:
                self._writing = False
                if trouble:
                    self._waiting.setdefault(key, write)  # unless there is a newer version by now
                    self._waiting.move_to_end(key, last=False)
                listeners = list(self._listeners) if bool(trouble) != bool(self.trouble) else []
                self.trouble = trouble
                self._changed.notify_all()
            for listener in listeners:
                listener(trouble)
            if trouble:
                until = time.monotonic() + AGAIN_S
                with self._changed:
                    while not self._closed and (left := until - time.monotonic()) > 0:
                        self._changed.wait(left)
