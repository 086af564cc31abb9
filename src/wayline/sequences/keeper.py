"""Keeping long histories short to read: packs, in the background, those that somebody had to wait for.

The same pass is the trimming of a sequence store: a person's range of the table of new actions is cut back to the
newest few hundred. Nothing is lost by it, for the log and the identity of every action stay (an action sent again must
be known), and what is beyond ``sequences.lifelong`` is no longer read at all.
"""

from __future__ import annotations

import logging
import threading

from wayline.errors import WaylineError
from wayline.storage.store import Store

LONG_ROWS = 1_536
"""Below it the store finds nothing worth packing."""

log = logging.getLogger(__name__)


class HistoryKeeper:
    """Packs the histories of people offered to it, one short transaction at a time; the thread starts with the first.

    Parameters
    ----------
    store : Store
        One that may be written to.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[int, None] = {}  # a queue in which everybody stands once
        self._condition = threading.Condition()
        self._closing = False
        self._busy = False
        self._thread: threading.Thread | None = None
        self._counts = dict.fromkeys(("people", "actions", "failures"), 0)

    def offer(self, user_key: int, rows: int) -> None:
        """Take note of a history just read from the store, ``rows`` long; returns at once."""
        if rows < LONG_ROWS:
            return
        with self._condition:
            if self._closing:
                return
            self._waiting[user_key] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="histories", daemon=True)
                self._thread.start()
            self._condition.notify_all()

    def offer_all(self) -> None:
        """Take note of everybody whose history is long; for the end of a build or an import."""
        for user_key in self._store.long_histories().tolist():
            self.offer(user_key, LONG_ROWS)

    def wait(self) -> None:
        """Return when nobody waits any more."""
        with self._condition:
            self._condition.wait_for(
                lambda: self._closing or not (self._waiting or self._busy),
            )

    def stats(self) -> dict[str, int]:
        """Tell what was done since the start (people, actions, failures) and how many people wait."""
        with self._condition:
            return {**self._counts, "waiting": len(self._waiting)}

    def close(self) -> None:
        """Stop after the transaction at hand; who still waits is offered again by their next cold read."""
        with self._condition:
            self._closing = True
            self._waiting.clear()
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._busy = False
                self._condition.notify_all()
                self._condition.wait_for(lambda: self._waiting or self._closing)
                if self._closing:
                    return
                user_key = next(iter(self._waiting))
                del self._waiting[user_key]
                self._busy = True
            self._pack(user_key)

    def _pack(self, user_key: int) -> None:
        moved = 0
        try:
            while not self._closing and (part := self._store.pack_history(user_key)):
                moved += part
        except WaylineError as error:  # nobody waits for this: reads are right without it
            log.warning("A long history could not be packed, its next read tries again: %s", error)
            with self._condition:
                self._counts["failures"] += 1
        with self._condition:
            self._counts["people"] += moved > 0
            self._counts["actions"] += moved
