"""Giving keys to new ids, and remembering those met before: half of an import's time without it."""

from __future__ import annotations

import sqlite3

import numpy as np
import polars as pl

from wayline.schema import IntVector
from wayline.storage.sqlite.dictionaries import (
    ALL,
    FEW,
    USERS,
    Dictionary,
    largest_key,
    lookup,
    spread,
)

REMEMBERED_IDS = 500_000
"""Of each kind; about 60 MB. Beyond it everything is forgotten and asked for again."""


class Keys:
    """Keys of one writer.

    A key never changes, so what was read once stays true, with two exceptions: a transaction that
    was undone (call ``clear``) and a person forgotten by any process (``begin`` finds that out).
    """

    def __init__(self) -> None:
        self._known: dict[str, dict[str, int]] = {words.table: {} for words in ALL}
        self._forgettings = 0

    def begin(self, connection: sqlite3.Connection) -> None:
        """Call first in every write transaction."""
        now = forgettings(connection)
        if now != self._forgettings:
            self._known[USERS.table].clear()
            self._forgettings = now

    def clear(self) -> None:
        """Remember nothing: the transaction that gave some of them was undone."""
        for known in self._known.values():
            known.clear()

    def ensure(
        self, connection: sqlite3.Connection, words: Dictionary, ids: pl.Series
    ) -> IntVector:
        """The keys of ids, shape [len(ids)]; null gives 0.

        Unknown ids get the next keys in the order of their first appearance. Inside a write
        transaction no other process can give the same ones.
        """
        few = len(ids) <= FEW
        everything: list[str | None] = (ids if few else ids.unique(maintain_order=True)).to_list()
        distinct = [i for i in dict.fromkeys(everything) if i is not None]
        known = self._known[words.table]
        if len(known) + len(distinct) > REMEMBERED_IDS:
            known.clear()
        missing = [i for i in distinct if i not in known]
        if missing:
            known.update(lookup(connection, words, sorted(missing)))
            fresh = [i for i in missing if i not in known]
            if fresh:
                pairs = list(enumerate(fresh, start=largest_key(connection, words) + 1))
                connection.executemany(
                    f"INSERT INTO {words.table} ({words.key}, {words.id}) VALUES (?, ?)", pairs
                )
                known.update((id_, key) for key, id_ in pairs)
        if few:
            return np.array([0 if i is None else known[i] for i in everything], np.int64)
        return spread(ids, distinct, [known[i] for i in distinct])


def forgettings(connection: sqlite3.Connection) -> int:
    """How many people were forgotten so far."""
    query = "SELECT coalesce(max(value), 0) FROM counters WHERE name = 'forgettings'"
    return int(connection.execute(query).fetchone()[0])


def count_forgetting(connection: sqlite3.Connection) -> None:
    """Tell every writer to read the users' keys anew."""
    connection.execute(
        "INSERT INTO counters VALUES ('forgettings', 1) "
        "ON CONFLICT (name) DO UPDATE SET value = value + 1"
    )
