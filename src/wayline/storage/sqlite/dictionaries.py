"""Ids outside, keys inside: four small tables, asked for many at once.

Readers keep no copy in memory: another process may add ids at any time, and looking up 100,000 ids
takes 0.1 s. Who gives keys is in ``keys.py``.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from wayline.schema import IntVector

LOOKUP_IDS = 50_000
FEW = 32
"""Up to here a loop beats building the column machinery."""


@dataclass(frozen=True, slots=True)
class Dictionary:
    """Where one kind of id lives."""

    table: str
    key: str
    id: str


USERS = Dictionary("users", "user_key", "user_id")
ITEMS = Dictionary("items", "item_key", "item_id")
ACTION_NAMES = Dictionary("action_names", "action_key", "name")
SURFACES = Dictionary("surfaces", "surface_key", "name")
ALL = (USERS, ITEMS, ACTION_NAMES, SURFACES)


def key_of(connection: sqlite3.Connection, words: Dictionary, id_: str) -> int | None:
    """The key of one id, None if unknown."""
    row = connection.execute(
        f"SELECT {words.key} FROM {words.table} WHERE {words.id} = ?", (id_,)
    ).fetchone()
    return None if row is None else int(row[0])


def keys_of(connection: sqlite3.Connection, words: Dictionary, ids: pl.Series) -> IntVector:
    """The keys of ids, shape [len(ids)]; 0 where unknown (or null)."""
    if len(ids) <= FEW:
        return np.array(
            [0 if i is None else key_of(connection, words, i) or 0 for i in ids], dtype=np.int64
        )
    pairs = list(lookup(connection, words, ids.drop_nulls().unique().sort().to_list()))
    return spread(ids, [id_ for id_, _ in pairs], [key for _, key in pairs])


def largest_key(connection: sqlite3.Connection, words: Dictionary) -> int:
    """The newest key given, 0 for none; keys are dense, so also how many were given."""
    return int(
        connection.execute(f"SELECT coalesce(max({words.key}), 0) FROM {words.table}").fetchone()[0]
    )


def ids_of(connection: sqlite3.Connection, words: Dictionary, keys: IntVector) -> list[str]:
    """The ids of keys, in their order; "" where unknown or forgotten."""
    distinct = np.unique(keys)
    found: dict[int, str] = {}
    for start in range(0, len(distinct), LOOKUP_IDS):
        part = distinct[start : start + LOOKUP_IDS].tolist()
        found.update(
            connection.execute(
                f"SELECT {words.key}, {words.id} FROM json_each(?) CROSS JOIN {words.table} "
                f"ON {words.key} = value WHERE {words.id} IS NOT NULL",
                (json.dumps(part),),
            )
        )
    return [found.get(key, "") for key in keys.tolist()]


def ids_with(connection: sqlite3.Connection, words: Dictionary, text: str, limit: int) -> list[str]:
    """The ids that have a text in them, those with it nearest their beginning first; small and large letters alike."""
    rows = connection.execute(
        f"SELECT {words.id}, instr(lower({words.id}), lower(?1)) AS place FROM {words.table} "
        f"WHERE place > 0 ORDER BY place, {words.id} LIMIT ?2",
        (text, limit),
    )
    return [id_ for id_, _ in rows]


def names(connection: sqlite3.Connection, words: Dictionary) -> list[str]:
    """All ids of a small dictionary; index = key - 1."""
    rows = connection.execute(f"SELECT {words.id} FROM {words.table} ORDER BY {words.key}")
    return [name for (name,) in rows]


def lookup(
    connection: sqlite3.Connection, words: Dictionary, distinct: list[str]
) -> Iterator[tuple[str, int]]:
    """(id, key) of those ids that are known; sorted, they take half the time."""
    for start in range(0, len(distinct), LOOKUP_IDS):
        part = distinct[start : start + LOOKUP_IDS]
        # SQLite's JSON ends a text at its first NUL; such an id is looked up by itself.
        odd = [i for i in part if "\0" in i]
        if odd:
            part = [i for i in part if "\0" not in i]
            for id_ in odd:
                key = key_of(connection, words, id_)
                if key is not None:
                    yield id_, key
        yield from connection.execute(
            f"SELECT value, {words.key} FROM json_each(?) "
            f"CROSS JOIN {words.table} ON {words.id} = value",
            (json.dumps(part, ensure_ascii=False),),
        )


def spread(ids: pl.Series, distinct: list[str], keys: list[int]) -> IntVector:
    """The key of each id, shape [len(ids)], from those of the distinct ones; 0 for the others."""
    right = pl.DataFrame({"id": distinct, "key": keys}, schema={"id": pl.String, "key": pl.Int64})
    joined = ids.alias("id").to_frame().join(right, on="id", how="left", maintain_order="left")
    found: IntVector = joined["key"].fill_null(0).to_numpy()
    return found
