"""The histories of the people who are here now, in memory: never stale, never over budget.

A history is read from the store once and then follows the log. What Pinterest asks of its sequence store (insert
without rewriting, late events in order of time, no duplicates, trimming on the side) holds here as well: a new action
is written behind the others into room kept for it, a late one is put in its place in a copy, one that was handed in
before is known by its position, and what is beyond the cap goes when the arrays are made anew.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from wayline.config import SequencesConfig
from wayline.schema import ActionColumns, IntVector
from wayline.sequences.person import ActionVectors, Person, pick
from wayline.storage.store import Store


class _Load:
    """A history on its way from the store, and what the log brought meanwhile."""

    __slots__ = ("cancelled", "missed")

    def __init__(self) -> None:
        self.missed: list[ActionVectors] = []
        self.cancelled = False


class Histories:
    """The newest actions of hot people, shared by threads; the least recently read make room.

    Every read must be preceded by ``follow`` with what the log brought (or by ``follow_log``): then what was
    acknowledged before the read is in it, whichever process wrote it.

    Parameters
    ----------
    store : Store
    config : SequencesConfig
        ``lifelong`` caps each person, ``cache_mb`` (10^6 bytes) all of them; 0 keeps nobody.
    long_read : callable, optional
        Told the key of a person whose cold read found many actions: see ``HistoryKeeper.offer``.
    """

    def __init__(
        self,
        store: Store,
        config: SequencesConfig,
        long_read: Callable[[int, int], None] | None = None,
    ) -> None:
        self._store = store
        self._cap = int(config.lifelong)
        self._budget_bytes = int(config.cache_mb * 1e6)
        self._long_read = long_read
        self._lock = threading.Lock()
        self._follow_lock = threading.Lock()  # rows must come in order of position
        self._people: OrderedDict[int, Person] = OrderedDict()
        self._loads: dict[int, list[_Load]] = {}
        self._bytes = 0
        self._counts = dict.fromkeys(("hits", "misses", "evictions", "inserted", "late"), 0)
        self._forgettings = store.forgettings()
        self._position = store.position()

    @property
    def position(self) -> int:
        """The log up to here is in everything kept."""
        return self._position

    def get(self, user_key: int, until_ts_ms: int | None = None) -> ActionVectors:
        """Give a person's newest actions up to a moment, oldest first, at most ``lifelong``; a hit takes no copy.

        Equal times stand in order of position. The arrays are not to be written to: they are shared.
        """
        with self._lock:
            person = self._people.get(user_key)
            if person is not None:
                self._people.move_to_end(user_key)
                found = person.until(until_ts_ms)
                if found is not None:
                    self._counts["hits"] += 1
                    return found
            self._counts["misses"] += 1
        return (
            self._read(user_key, until_ts_ms)
            if person is None
            else self._past(user_key, until_ts_ms)
        )

    def _read(self, user_key: int, until_ts_ms: int | None) -> ActionVectors:
        """Read a person from the store and keep them."""
        load = _Load()
        with self._lock:
            self._loads.setdefault(user_key, []).append(load)
        try:
            person = Person.of(self._store.user_actions(user_key, limit=self._cap), self._cap)
        except BaseException:
            with self._lock:
                self._finish(user_key, load)
            raise
        if self._long_read is not None:
            self._long_read(user_key, len(person))
        with self._lock:
            self._finish(user_key, load)
            for rows in load.missed:
                person.insert(rows)
            if not load.cancelled:
                self._keep(user_key, person)
            found = person.until(until_ts_ms)
        return self._past(user_key, until_ts_ms) if found is None else found

    def _past(self, user_key: int, until_ts_ms: int | None) -> ActionVectors:
        """Read up to a moment so long ago that the newest actions say nothing about it."""
        rows = self._store.user_actions(user_key, until_ts_ms=until_ts_ms, limit=self._cap)
        return Person.of(rows, self._cap).newest()

    def follow(self, rows: ActionColumns, *, after: int) -> None:
        """Put the log's rows into the histories kept.

        Parameters
        ----------
        rows : ActionColumns
            All rows of the log after ``after`` up to their last one, in order of position. Handing in again what was
            handed in before changes nothing.
        after : int
            If the histories are not that far yet, what lies between is read from the log.
        """
        with self._follow_lock:
            if after > self._position:
                for part in self._store.scan_actions(after=self._position):
                    self._take(part)
            self._take(rows)

    def follow_log(self) -> None:
        """Do all that a read asks for: heed forgettings and follow the log to its end; microseconds if it is quiet."""
        self.heed_forgettings(self._store.forgettings())
        if self._store.position() > self._position:
            with self._follow_lock:
                for part in self._store.scan_actions(after=self._position):
                    self._take(part)

    def heed_forgettings(self, number: int) -> None:
        """Drop everybody when ``Store.forgettings`` changed: another process forgot somebody."""
        if number != self._forgettings:
            self._forgettings = number
            self.clear()

    def drop(self, user_key: int) -> None:
        """Let go of one person, also of what is just being read."""
        with self._lock:
            for load in self._loads.get(user_key, ()):
                load.cancelled = True
            person = self._people.pop(user_key, None)
            self._bytes -= 0 if person is None else person.nbytes

    def clear(self) -> None:
        """Let go of everybody."""
        with self._lock:
            for loads in self._loads.values():
                for load in loads:
                    load.cancelled = True
            self._people.clear()
            self._bytes = 0

    def stats(self) -> dict[str, int]:
        """Counts since the start (hits, misses, evictions, inserted, late) and what is held now (people, bytes)."""
        with self._lock:
            return {**self._counts, "people": len(self._people), "bytes": self._bytes}

    def _finish(self, user_key: int, load: _Load) -> None:
        loads = self._loads[user_key]
        loads.remove(load)
        if not loads:
            del self._loads[user_key]

    def _keep(self, user_key: int, person: Person) -> None:
        if person.nbytes > self._budget_bytes:
            return  # and let the others stay
        before = self._people.pop(user_key, None)  # two threads may have read the same person
        self._bytes += person.nbytes - (0 if before is None else before.nbytes)
        self._people[user_key] = person
        self._make_room()

    def _make_room(self) -> None:
        while self._bytes > self._budget_bytes and self._people:
            _, person = self._people.popitem(last=False)
            self._bytes -= person.nbytes
            self._counts["evictions"] += 1

    def _take(self, rows: ActionColumns) -> None:
        """Insert rows that are newer than what was followed; the caller holds the lock for following."""
        if not len(rows) or int(rows.position[-1]) <= self._position:
            return
        with self._lock:
            start = int(np.searchsorted(rows.position, self._position, side="right"))
            for user_key, which in _by_person(rows.user_key, start, self._awaited()):
                self._insert(user_key, rows, which)
            self._make_room()
            self._position = int(rows.position[-1])

    def _awaited(self) -> IntVector:
        """Keys of the people whose rows matter."""
        return np.array([*self._people, *self._loads], np.int64)

    def _insert(self, user_key: int, rows: ActionColumns, which: IntVector) -> None:
        picked = pick(rows, which)
        for load in self._loads.get(user_key, ()):
            load.missed.append(picked)
        person = self._people.get(user_key)
        if person is not None:
            self._bytes -= person.nbytes
            late = person.insert(picked)
            self._bytes += person.nbytes
            self._counts["inserted"] += len(which)
            self._counts["late"] += late


def _by_person(
    user_key: IntVector, start: int, wanted: IntVector
) -> Iterator[tuple[int, IntVector]]:
    """Each wanted person among the rows from ``start`` on, with the indices of their rows, ascending."""
    which = start + np.flatnonzero(np.isin(user_key[start:], wanted))
    if not len(which):
        return
    which = which[np.argsort(user_key[which], kind="stable")]
    begins = np.flatnonzero(np.diff(user_key[which], prepend=-1))
    for begin, end in pairwise([*begins.tolist(), len(which)]):
        yield int(user_key[which[begin]]), which[begin:end]
