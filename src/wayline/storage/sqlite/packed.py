"""Long histories, packed: five to nine bytes an action in place of twenty-seven.

A row of ``actions`` is what a new action costs least to write and what tells a known one. But 16,000 of them take 16 ms
to read, a Python object for each value. So what is older than a person's newest few hundred actions is *moved*, in the
background and a few thousand rows at a time, into chunks of columns (table ``histories``). A person's history is then
both together, merged by time. Every action is in exactly one of the two:

- a new action goes to ``actions``, also one that is late: it is merged when read;
- an action that a packed chunk may already hold (its time lies within) is looked up there before (``known``);
- packing again takes late rows into the chunks they fall into.

Chunks of a person are numbered and ordered by time, do not overlap (equal times may meet at an edge) and are never
changed, only replaced.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from wayline.schema import ActionColumns, BoolVector, IntVector
from wayline.storage.sqlite.chunks import decode_columns, encode_columns

KEEP_ROWS = 512
"""A person's newest actions are never packed: late ones nearly always fall among these."""
WORTH_ROWS = 1_024
"""Packing begins when this many could be."""
CHUNK_ROWS = 4_096
MOVE_ROWS = 4_096
"""In one transaction: about 15 ms in which others wait to write."""
FOREVER_MS = (1 << 63) - 1
FEW_PEOPLE = 256
"""Of at most so many the chunks are looked up one by one."""

TYPES = {
    "position": "<i8",
    "item_key": "<u4",
    "action_key": "<i2",
    "ts_ms": "<i8",
    "named": "u1",
    "value": "<f8",
}

TAIL = """
SELECT position, item_key, action_key, ts_ms, twin <> 0, value FROM actions
WHERE user_key = ? AND ts_ms <= ? ORDER BY ts_ms DESC, position DESC LIMIT ?
"""
TO_MOVE = """
SELECT ts_ms FROM actions WHERE user_key = ? AND ts_ms <= (
    SELECT ts_ms FROM actions WHERE user_key = ? ORDER BY ts_ms DESC LIMIT 1 OFFSET ?
) ORDER BY ts_ms LIMIT ?
"""
CHUNKS = "SELECT rows, columns FROM histories WHERE user_key = ? AND "
INSERT_CHUNK = "INSERT INTO histories VALUES (?, ?, ?, ?, ?, ?)"
UNPACK = "INSERT INTO actions VALUES (?, ?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Rows:
    """Actions of one person as both tables hold them, oldest first, equal times by position; shape [M] each.

    ``named``: has an ``action_id``, so that its twin is its position.
    """

    position: IntVector
    item_key: IntVector
    action_key: npt.NDArray[np.int16]
    ts_ms: IntVector
    named: npt.NDArray[np.uint8]
    value: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.position)

    @classmethod
    def of(cls, records: list[tuple[Any, ...]]) -> Self:
        """Turn records of the table, newest first."""
        columns = list(zip(*reversed(records), strict=True)) or [()] * 6
        position, item_key, action_key, ts_ms, named, value = columns
        return cls(
            np.array(position, np.int64),
            np.array(item_key, np.int64),
            np.array(action_key, np.int16),
            np.array(ts_ms, np.int64),
            np.array(named, np.uint8),
            np.array(value, np.float64),  # None becomes NaN
        )

    @classmethod
    def merged(cls, parts: list[Rows]) -> Self:
        """Several as one; no row may be in two of them."""
        columns = {f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)}
        together = cls(**columns)
        ts_ms, position = together.ts_ms, together.position
        step = np.diff(ts_ms)
        if (step < 0).any() or (np.diff(position)[step == 0] < 0).any():
            together = together.take(np.lexsort((position, ts_ms)))
        return together

    def take(self, which: Any) -> Self:
        """The rows a slice, mask or index array picks."""
        return type(self)(**{f.name: getattr(self, f.name)[which] for f in fields(self)})


def rows_of(
    connection: sqlite3.Connection,
    user_key: int,
    until_ts_ms: int | None = None,
    limit: int | None = None,
) -> Rows:
    """Read a person's newest ``limit`` rows up to a moment; the connection must be a snapshot."""
    user_key = int(user_key)
    until = FOREVER_MS if until_ts_ms is None else int(until_ts_ms)
    tail = (user_key, until, -1 if limit is None else int(limit))
    parts = [Rows.of(connection.execute(TAIL, tail).fetchall())]
    chunks = connection.execute(CHUNKS + "first_ts_ms <= ? ORDER BY number DESC", (user_key, until))
    packed = 0
    for count, columns in chunks:  # newest first, and no more than are needed
        rows = _decode(columns, count)
        if rows.ts_ms[-1] > until:
            rows = rows.take(rows.ts_ms <= until)
        parts.insert(0, rows)
        packed += len(rows)
        if limit is not None and packed >= limit:
            break
    rows = Rows.merged(parts) if packed else parts[0]
    return rows if limit is None else rows.take(slice(max(0, len(rows) - limit), None))


def known(connection: sqlite3.Connection, rows: ActionColumns, order: IntVector) -> BoolVector:
    """Tell which of the rows in ``order`` a packed chunk holds already, shape [len(rows)].

    Parameters
    ----------
    rows : ActionColumns
        To be appended; those with an ``action_id`` are told apart elsewhere and must not be in ``order``.
    order : int64 array
        Sorted by person, then time.
    """
    out = np.zeros(len(rows), np.bool_)
    if connection.execute("SELECT 1 FROM histories LIMIT 1").fetchone() is None:
        return out
    people, begins = np.unique(rows.user_key[order], return_index=True)
    begin_of = dict(zip(people.tolist(), pairwise([*begins.tolist(), len(order)]), strict=True))
    for user_key, number, first_ts_ms, last_ts_ms in _spans(connection, people):
        if user_key not in begin_of:
            continue
        begin, end = begin_of[user_key]
        mine = order[begin:end]
        low = np.searchsorted(rows.ts_ms[mine], first_ts_ms, side="left")
        high = np.searchsorted(rows.ts_ms[mine], last_ts_ms, side="right")
        if low < high:
            count, columns = connection.execute(
                CHUNKS + "number = ?", (user_key, number)
            ).fetchone()
            late = mine[low:high]
            out[late] |= _among(_decode(columns, count), rows, late)
    return out


def _spans(
    connection: sqlite3.Connection, people: IntVector
) -> Iterator[tuple[int, int, int, int]]:
    """The chunks of these people (and of others, if they are many); the index alone has all of it."""
    query = "SELECT user_key, number, first_ts_ms, last_ts_ms FROM histories"
    if len(people) > FEW_PEOPLE:
        yield from connection.execute(query)
        return
    for user_key in people.tolist():
        yield from connection.execute(query + " WHERE user_key = ?", (user_key,)).fetchall()


def _among(there: Rows, rows: ActionColumns, which: IntVector) -> BoolVector:
    """Tell which rows stand in a chunk by user, item, action and time."""
    same_time = np.isin(there.ts_ms, rows.ts_ms[which]) & (there.named == 0)
    there = there.take(same_time)
    identities = set(
        zip(there.ts_ms.tolist(), there.item_key.tolist(), there.action_key.tolist(), strict=True)
    )
    asked = zip(
        rows.ts_ms[which].tolist(),
        rows.item_key[which].tolist(),
        rows.action_key[which].tolist(),
        strict=True,
    )
    return np.array([identity in identities for identity in asked], np.bool_)


def worth_it(connection: sqlite3.Connection, user_key: int) -> bool:
    """Whether ``pack`` would move anything; asked before a transaction is begun for it."""
    me = int(user_key)
    return (
        len(connection.execute(TO_MOVE, (me, me, KEEP_ROWS, WORTH_ROWS)).fetchall()) == WORTH_ROWS
    )


def pack(connection: sqlite3.Connection, user_key: int) -> int:
    """Move a person's oldest rows into chunks, at most about ``MOVE_ROWS``; gives how many were moved."""
    me = int(user_key)
    found = connection.execute(TO_MOVE, (me, me, KEEP_ROWS, MOVE_ROWS)).fetchall()
    if len(found) < WORTH_ROWS:
        return 0
    first_ts_ms, last_ts_ms = found[0][0], found[-1][0]  # of equal times all are moved
    moved = Rows.of(connection.execute(TAIL, (me, last_ts_ms, -1)).fetchall())
    connection.execute("DELETE FROM actions WHERE user_key = ? AND ts_ms <= ?", (me, last_ts_ms))
    # What they fall into or fill up is made anew; the others stay.
    number = connection.execute(
        "SELECT coalesce(min(number), 0) FROM (SELECT number FROM histories WHERE user_key = ?1 "
        "AND (last_ts_ms >= ?2 OR rows < ?3) "
        "UNION ALL SELECT max(number) + 1 FROM histories WHERE user_key = ?1)",
        (me, first_ts_ms, CHUNK_ROWS),
    ).fetchone()[0]
    chunks = connection.execute(CHUNKS + "number >= ? ORDER BY number", (me, number)).fetchall()
    rows = Rows.merged([*[_decode(columns, count) for count, columns in chunks], moved])
    connection.execute("DELETE FROM histories WHERE user_key = ? AND number >= ?", (me, number))
    for start in range(0, len(rows), CHUNK_ROWS):
        part = rows.take(slice(start, start + CHUNK_ROWS))
        span = (int(part.ts_ms[0]), int(part.ts_ms[-1]), len(part))
        connection.execute(INSERT_CHUNK, (me, number, *span, _encode(part)))
        number += 1
    return len(moved)


def unpack(connection: sqlite3.Connection, user_key: int) -> int:
    """Move all of a person's packed rows back into ``actions``; gives how many they were."""
    me = int(user_key)
    total = 0
    for count, columns in connection.execute(CHUNKS + "TRUE", (me,)).fetchall():
        rows = _decode(columns, count)
        twin = np.where(rows.named != 0, rows.position, 0)
        identities = (rows.ts_ms, rows.item_key, rows.action_key, twin, rows.position, rows.value)
        columns_ = [column.tolist() for column in identities]
        connection.executemany(UNPACK, zip([me] * len(rows), *columns_, strict=True))
        total += len(rows)
    connection.execute("DELETE FROM histories WHERE user_key = ?", (me,))
    return total


def long_tails(connection: sqlite3.Connection) -> IntVector:
    """The keys of people with enough in ``actions`` to be packed; reads the whole table."""
    found = connection.execute(
        "SELECT user_key FROM actions GROUP BY user_key HAVING count(*) >= ?",
        (KEEP_ROWS + WORTH_ROWS,),
    )
    return np.array([user_key for (user_key,) in found], np.int64)


def scan(connection: sqlite3.Connection) -> Iterator[tuple[int, int, Rows]]:
    """All chunks in order of person and number: (person, number, rows)."""
    query = "SELECT user_key, number, rows, columns FROM histories ORDER BY user_key, number"
    for user_key, number, count, columns in connection.execute(query):
        yield user_key, number, _decode(columns, count)


def check(connection: sqlite3.Connection, user_key: int, number: int, rows: Rows) -> list[str]:
    """What is wrong with one chunk: its order, its span, and that it comes after the one before."""
    first, last, before = connection.execute(
        "SELECT first_ts_ms, last_ts_ms, (SELECT max(last_ts_ms) FROM histories AS b "
        "WHERE b.user_key = a.user_key AND b.number < a.number) FROM histories AS a "
        "WHERE user_key = ? AND number = ?",
        (user_key, number),
    ).fetchone()
    step = np.diff(rows.ts_ms)
    sorted_ = not (step < 0).any() and not (np.diff(rows.position)[step == 0] <= 0).any()
    spans = (first, last) == (rows.ts_ms[0], rows.ts_ms[-1]) and (before is None or before <= first)
    if sorted_ and spans:
        return []
    return [f"packed history {number} of person {user_key} is out of order"]


def _encode(rows: Rows) -> bytes:
    return encode_columns({f.name: getattr(rows, f.name) for f in fields(rows)}, TYPES)


def _decode(packed: bytes, count: int) -> Rows:
    try:
        columns = decode_columns(packed, count, TYPES)
    except ValueError as problem:
        error = sqlite3.DatabaseError(f"a packed history: {problem}")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT  # so that it reads as a damaged file
        raise error from None
    columns["item_key"] = columns["item_key"].astype(np.int64)
    return Rows(**columns)
