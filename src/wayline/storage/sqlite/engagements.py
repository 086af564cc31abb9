"""Which actions answered which impressions: written with the actions and with what was shown.

An action counts for the request that it names if the request is of the same person and showed the
item. Whichever of the two comes second finds the other, in its own transaction, so the table is a
pure function of what was shown and of the log, in whatever order they came. When an action counts
(how long after) is for the reader to say.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from wayline.schema import ActionColumns, BoolVector, IntVector
from wayline.storage.sqlite import log
from wayline.storage.sqlite.dictionaries import Dictionary, keys_of

REQUESTS = Dictionary("requests", "request_number", "request_id")
READ_REQUESTS = 8192
"""Requests whose impressions are held at a time: a megabyte."""

SHOWN = """
SELECT r.request_number, s.user_key, s.item_keys, s.via
FROM json_each(?) CROSS JOIN requests r ON r.request_number = value
CROSS JOIN shown s ON s.user_key = r.user_key AND s.ts_ms = r.ts_ms AND s.request_id = r.request_id
"""
INSERT = "INSERT OR IGNORE INTO engagements VALUES (?, ?, ?, ?, ?)"
SOONER = (
    "UPDATE engagements SET acted_ts_ms = ?5 WHERE user_key = ?1 AND request_number = ?2 "
    "AND item_key = ?3 AND action_key = ?4 AND acted_ts_ms > ?5"
)
NAMING_A_REQUEST = """
SELECT d.position, r.request_number FROM action_details d
CROSS JOIN requests r ON r.request_id = d.request_id
WHERE d.request_id IS NOT NULL ORDER BY d.position
"""
KEY = ("user_key", "request_number", "item_key", "action_key")


@dataclass(frozen=True, slots=True)
class Claims:
    """Actions that name a request, shape [A] each."""

    user_key: IntVector
    request_number: IntVector
    item_key: IntVector
    action_key: IntVector
    ts_ms: IntVector

    def take(self, which: Any) -> Claims:
        """The claims a mask or index array picks."""
        return Claims(*(getattr(self, name)[which] for name in (*KEY, "ts_ms")))


def attribute_actions(
    connection: sqlite3.Connection, rows: ActionColumns, request_ids: pl.Series
) -> None:
    """Count actions just appended for the requests they name, as far as these are known.

    Parameters
    ----------
    rows : ActionColumns, [M]
    request_ids : String series, [M]
        Without nulls.
    """
    numbers = keys_of(connection, REQUESTS, request_ids)
    known = numbers > 0
    if known.any():
        claims = Claims(
            rows.user_key, numbers, rows.item_key, rows.action_key.astype(np.int64), rows.ts_ms
        )
        _record(connection, claims.take(known))


def attribute_requests(
    connection: sqlite3.Connection, requests: Sequence[tuple[int, str]], path: Path
) -> None:
    """Count actions that came before the requests they name: (number, id) of new ones."""
    find = "SELECT position FROM action_details WHERE request_id = ?"
    pairs = [
        (position, number)
        for number, request_id in requests
        for (position,) in connection.execute(find, (request_id,))
    ]
    if pairs:
        positions, numbers = np.array(sorted(pairs), np.int64).T
        for claims in claims_at(connection, positions, numbers, path):
            _record(connection, claims)


def count_shown(connection: sqlite3.Connection, vias: Iterable[bytes], sign: int = 1) -> None:
    """Add impressions that a query fetched to the totals, or take them off again."""
    numbers = np.bincount(_fetched_places(vias))
    connection.executemany(
        "INSERT INTO shown_totals VALUES (?, ?) "
        "ON CONFLICT (place) DO UPDATE SET number = number + excluded.number",
        [(p, sign * n) for p, n in enumerate(numbers.tolist()) if n],
    )


def remove(connection: sqlite3.Connection, user_key: int) -> int:
    """Take a person's engagements, and what they were shown, out again; gives the engagements."""
    me = (int(user_key),)
    mine = _table(connection, "WHERE user_key = ?", me)
    for start in range(0, len(mine.user_key), READ_REQUESTS):
        part = mine.take(slice(start, start + READ_REQUESTS))
        answers, fetched = _answers(connection, part)
        _count_engaged(connection, answers.action_key[fetched], -1)
    vias = connection.execute("SELECT via FROM shown WHERE user_key = ?", me).fetchall()
    count_shown(connection, (via for (via,) in vias), -1)
    connection.execute("DELETE FROM shown WHERE user_key = ?", me)
    connection.execute("DELETE FROM engagements WHERE user_key = ?", me)
    return len(mine.user_key)


def rebuild(connection: sqlite3.Connection, path: Path) -> int:
    """See ``Store.rebuild_engagements``; runs inside a write transaction."""
    for table in ("engagements", "engagement_totals", "shown_totals"):
        connection.execute(f"DELETE FROM {table}")
    for vias in _all_vias(connection):
        count_shown(connection, vias)
    for claims in _claims_of_log(connection, path):
        _record(connection, claims)
    return int(connection.execute("SELECT count(*) FROM engagements").fetchone()[0])


def check(connection: sqlite3.Connection, path: Path) -> list[str]:
    """Whether the table and the totals say what the log and what was shown say, one line each."""
    parts = [_answers(connection, claims) for claims in _claims_of_log(connection, path)]
    none = Claims(*[np.empty(0, np.int64)] * 5)
    every = [answers for answers, _ in parts] or [none]
    columns = (np.concatenate([getattr(a, name) for a in every]) for name in (*KEY, "ts_ms"))
    fetched = np.concatenate([f for _, f in parts] or [np.empty(0, np.bool_)])
    joined = Claims(*columns)
    first = _first_of_each(joined)
    expected, fetched = joined.take(first), fetched[first]
    got = _table(connection, "ORDER BY " + ", ".join(KEY))
    out = []
    same = len(got.user_key) == len(expected.user_key) and all(
        np.array_equal(getattr(got, name), getattr(expected, name)) for name in (*KEY, "ts_ms")
    )
    if not same:
        out.append(
            f"{len(got.user_key):,} engagements are kept, but the log and what was shown make "
            f"{len(expected.user_key):,} or other ones"
        )
    places = np.zeros(0, np.int64)
    for vias in _all_vias(connection):
        places = np.concatenate([places, _fetched_places(vias)])
    for table, values in (
        ("shown_totals", places),
        ("engagement_totals", expected.action_key[fetched]),
    ):
        kept = dict(connection.execute(f"SELECT * FROM {table} WHERE number <> 0"))
        if kept != dict(zip(*(a.tolist() for a in np.unique_counts(values)), strict=True)):
            out.append(f"{table} differ from what they count")
    return out


def _record(connection: sqlite3.Connection, claims: Claims) -> None:
    """Keep those of the claims that answer an impression; of equal ones the earliest."""
    order = np.argsort(claims.request_number, kind="stable")
    number = claims.request_number[order]
    starts = np.flatnonzero(np.diff(number, prepend=-1))  # of each request's claims
    for first in range(0, len(starts), READ_REQUESTS):
        last = starts[first + READ_REQUESTS] if first + READ_REQUESTS < len(starts) else None
        answers, fetched = _answers(connection, claims.take(order[starts[first] : last]))
        best = _first_of_each(answers)
        _upsert(connection, answers.take(best), fetched[best])


def _answers(connection: sqlite3.Connection, claims: Claims) -> tuple[Claims, BoolVector]:
    """The claims that hold, and whether a query had fetched what each answers, shape [at most A].

    Of an item that one request showed twice, the first place counts.
    """
    numbers = np.unique(claims.request_number)
    rows = connection.execute(SHOWN, (json.dumps(numbers.tolist()),)).fetchall()
    if not rows:
        return claims.take(slice(0, 0)), np.empty(0, np.bool_)
    number, user_key, item_keys, vias = zip(*rows, strict=True)
    numbers = np.array(number, np.int64)  # ascending as asked for
    sizes = np.array([len(i) // 4 for i in item_keys], np.int64)
    shown = np.repeat(np.arange(len(rows)), sizes) << 32 | np.frombuffer(
        b"".join(item_keys), "<u4"
    ).astype(np.int64)
    via = np.frombuffer(_padded(vias, sizes), "<u4")
    order = np.argsort(shown, kind="stable")

    row = np.minimum(np.searchsorted(numbers, claims.request_number), len(rows) - 1)
    asked = row << 32 | claims.item_key
    at = np.searchsorted(shown, asked, sorter=order)
    place = order[np.minimum(at, len(order) - 1)] if len(order) else np.zeros_like(at)
    holds = (
        (numbers[row] == claims.request_number)
        & (np.array(user_key, np.int64)[row] == claims.user_key)
        & (at < len(order))
    )
    if len(order):
        holds &= shown[place] == asked
    return claims.take(holds), via[place[holds]] != 0


def _padded(vias: Sequence[bytes], sizes: IntVector) -> bytes:
    """The masks of all impressions in a row; where a request has none, zeros."""
    return b"".join(via or bytes(4 * size) for via, size in zip(vias, sizes.tolist(), strict=True))


def _first_of_each(claims: Claims) -> IntVector:
    """The earliest claim for each key, in the order of keys."""
    columns = [getattr(claims, name) for name in KEY]
    order = np.lexsort((claims.ts_ms, *columns[::-1]))
    fresh = np.ones(len(order), np.bool_)
    if len(order):
        sorted_ = [column[order] for column in columns]
        fresh[1:] = np.logical_or.reduce([c[1:] != c[:-1] for c in sorted_])
    return order[fresh]


def _upsert(connection: sqlite3.Connection, answers: Claims, fetched: BoolVector) -> None:
    """Keep answers, one for each key; a known one only becomes sooner."""
    new = []
    for action_key in np.unique(answers.action_key).tolist():
        for counted in (True, False):
            part = answers.take((answers.action_key == action_key) & (fetched == counted))
            rows = list(zip(*(getattr(part, n).tolist() for n in (*KEY, "ts_ms")), strict=True))
            if not rows:
                continue
            inserted = connection.executemany(INSERT, rows).rowcount
            if inserted < len(rows):
                connection.executemany(SOONER, rows)
            if counted:
                new += [action_key] * inserted
    _count_engaged(connection, np.array(new, np.int64))


def _count_engaged(connection: sqlite3.Connection, action_key: IntVector, sign: int = 1) -> None:
    connection.executemany(
        "INSERT INTO engagement_totals VALUES (?, ?) "
        "ON CONFLICT (action_key) DO UPDATE SET number = number + excluded.number",
        [(a, sign * n) for a, n in enumerate(np.bincount(action_key).tolist()) if n],
    )


def _fetched_places(vias: Iterable[bytes]) -> IntVector:
    """The place of every impression that a query fetched."""
    some = [np.frombuffer(via, "<u4") for via in vias if via]
    return np.concatenate([np.flatnonzero(masks) for masks in some] or [np.empty(0, np.int64)])


def _all_vias(connection: sqlite3.Connection) -> Iterator[list[bytes]]:
    cursor = connection.execute("SELECT via FROM shown WHERE via <> x''")
    while rows := cursor.fetchmany(READ_REQUESTS):
        yield [via for (via,) in rows]


def _claims_of_log(connection: sqlite3.Connection, path: Path) -> Iterator[Claims]:
    """All actions that name a known request, chunk by chunk of the log."""
    pairs = [np.empty((0, 2), np.int64)]
    cursor = connection.execute(NAMING_A_REQUEST)
    while rows := cursor.fetchmany(READ_REQUESTS):
        pairs.append(np.array(rows, np.int64))
    positions, numbers = np.concatenate(pairs).T
    yield from claims_at(connection, positions, numbers, path)


def claims_at(
    connection: sqlite3.Connection, positions: IntVector, numbers: IntVector, path: Path
) -> Iterator[Claims]:
    """The actions at ascending positions, each with the number of the request it names."""
    done = 0
    while done < len(positions):
        actions, last = log.next_rows(connection, int(positions[done]) - 1, path)
        end = int(np.searchsorted(positions, last, side="right"))
        at = np.searchsorted(positions[done:end], actions.position)
        named = np.append(positions[done:end], -1)[at] == actions.position
        yield Claims(
            actions.user_key[named],
            numbers[done:end][at[named]],
            actions.item_key[named],
            actions.action_key[named].astype(np.int64),
            actions.ts_ms[named],
        )
        done = end


def _table(connection: sqlite3.Connection, which: str, values: tuple[int, ...] = ()) -> Claims:
    rows = connection.execute(f"SELECT * FROM engagements {which}", values).fetchall()
    return Claims(*np.array(rows, np.int64).reshape(-1, 5).T)
