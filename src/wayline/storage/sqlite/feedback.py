"""What came of what one person was shown, or everybody, read as columns."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from wayline.schema import Feedback, FeedbackTotals, ImpressionColumns, IntVector, ItemFeedback
from wayline.storage.sqlite.connections import Connections
from wayline.storage.sqlite.history import FOREVER_MS

NEWEST = """
SELECT ts_ms, request_number, surface_key, item_keys, queries, via FROM shown
WHERE user_key = ? AND ts_ms <= ? ORDER BY ts_ms DESC, request_id DESC LIMIT ?
"""
ENGAGED = """
SELECT request_number, item_key, action_key, acted_ts_ms FROM engagements
WHERE user_key = ? AND request_number BETWEEN ? AND ? AND acted_ts_ms <= ?
"""
ENGAGED_OF_MANY = ENGAGED.replace("user_key = ?", "user_key BETWEEN ? AND ?")
EVERYBODYS = """
SELECT user_key, ts_ms, request_number, surface_key, item_keys, queries, via FROM shown
WHERE user_key BETWEEN ? AND ? AND ts_ms BETWEEN ? AND ? ORDER BY user_key, ts_ms, request_id LIMIT ?
"""
REQUESTS_AT_A_TIME = 32
# No index leads from an item to what showed it: a range of the newest rows, and a look-up by person for each. An index
# would cost each answer as many entries as it shows items.
NEWEST_OF_ALL = """
SELECT r.request_number, r.user_key, r.ts_ms, s.item_keys FROM requests r
CROSS JOIN shown s ON s.user_key = r.user_key AND s.ts_ms = r.ts_ms AND s.request_id = r.request_id
WHERE r.request_number > (SELECT coalesce(max(request_number), 0) FROM requests) - ?
"""
ANSWERED = """
SELECT action_key FROM engagements WHERE user_key = ? AND request_number = ? AND item_key = ?
"""


def user_feedback(
    connection: sqlite3.Connection, user_key: int, until_ts_ms: int | None, requests: int
) -> Feedback:
    """See ``Store.user_feedback``."""
    until = FOREVER_MS if until_ts_ms is None else int(until_ts_ms)
    rows = connection.execute(NEWEST, (int(user_key), until, int(requests))).fetchall()[::-1]
    if not rows:
        return Feedback.empty()
    return _feedback(connection, ENGAGED, (int(user_key),), rows, until)


def scan_feedback(
    connections: Connections, since_ts_ms: int, until_ts_ms: int | None, requests: int
) -> Iterator[tuple[IntVector, Feedback]]:
    """See ``Store.scan_feedback``."""
    since, until = int(since_ts_ms), FOREVER_MS if until_ts_ms is None else int(until_ts_ms)
    after = 0
    while True:
        with connections.snapshot() as connection:
            first = (after + 1, FOREVER_MS, since, until)
            rows = connection.execute(EVERYBODYS, (*first, max(int(requests), 1))).fetchall()
            if not rows:
                return
            if len(rows) >= requests:  # the last person may have more
                last = rows[-1][0]
                rows = [row for row in rows if row[0] != last] or connection.execute(
                    EVERYBODYS, (last, last, since, until, -1)
                ).fetchall()
            after = rows[-1][0]
            people = (rows[0][0], after)
            shown = [row[1:] for row in rows]
            found = _feedback(connection, ENGAGED_OF_MANY, people, shown, until)
        yield np.array([row[0] for row in rows], np.int64), found


def _feedback(
    connection: sqlite3.Connection,
    engaged_by: str,
    people: tuple[int, ...],
    rows: list[tuple[Any, ...]],
    until: int,
) -> Feedback:
    """Read what requests showed, by person and time, and what answered them."""
    ts_ms, numbers, _, items, queries, vias = zip(*rows, strict=True)
    number = np.array(numbers, np.int64)
    sizes = np.array([len(i) // 4 for i in items], np.int64)
    item_key = np.frombuffer(b"".join(items), "<u4").astype(np.int64)
    request_idx = np.repeat(np.arange(len(rows)), sizes)
    starts = np.cumsum(sizes) - sizes
    offsets, via_item_key = _via(request_idx, sizes, queries, vias)
    engaged = connection.execute(
        engaged_by, (*people, int(number.min()), int(number.max()), until)
    ).fetchall()
    impression_idx, action_key, acted_ts_ms = _engaged(engaged, number, request_idx, item_key)
    return Feedback(
        ts_ms=np.repeat(np.array(ts_ms, np.int64), sizes),
        request_idx=request_idx,
        item_key=item_key,
        place=np.arange(len(item_key)) - np.repeat(starts, sizes),
        via_offsets=offsets,
        via_item_key=via_item_key,
        impression_idx=impression_idx,
        action_key=action_key,
        acted_ts_ms=acted_ts_ms,
    )


def _via(
    request_idx: IntVector, sizes: IntVector, queries: tuple[bytes, ...], vias: tuple[bytes, ...]
) -> tuple[IntVector, IntVector]:
    """Spell the bit masks out: offsets [I + 1] and the item keys of the queries [P]."""
    masks = np.frombuffer(
        b"".join(via or bytes(4 * n) for via, n in zip(vias, sizes.tolist(), strict=True)), "<u4"
    )
    counts = np.array([len(q) // 4 for q in queries], np.int64)
    firsts = np.cumsum(counts) - counts
    bits = np.arange(int(counts.max()), dtype=np.uint32)
    row, bit = np.nonzero(masks[:, None] >> bits & 1)
    keys = np.frombuffer(b"".join(queries), "<u4").astype(np.int64)
    offsets = np.zeros(len(masks) + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=len(masks)), out=offsets[1:])
    return offsets, keys[firsts[request_idx[row]] + bit]


def _engaged(
    rows: list[tuple[int, int, int, int]],
    number: IntVector,
    request_idx: IntVector,
    item_key: IntVector,
) -> tuple[IntVector, IntVector, IntVector]:
    """Find the impression of each engagement, in the order of impressions, then of actions."""
    table = np.array(rows, np.int64).reshape(-1, 4)
    by_number = np.argsort(number)
    at = np.searchsorted(number, table[:, 0], sorter=by_number)
    table = table[number[by_number[at]] == table[:, 0]]  # others lie between when clocks went back
    at = by_number[np.searchsorted(number, table[:, 0], sorter=by_number)]
    shown = request_idx << 32 | item_key
    order = np.argsort(shown, kind="stable")
    idx = order[np.searchsorted(shown, at << 32 | table[:, 1], sorter=order)]
    order = np.lexsort((table[:, 2], idx))
    return idx[order], table[order, 2], table[order, 3]


def user_impressions(
    connection: sqlite3.Connection, user_key: int, until_ts_ms: int | None, limit: int
) -> ImpressionColumns:
    """See ``Store.user_impressions``."""
    until = FOREVER_MS if until_ts_ms is None else int(until_ts_ms)
    engaged = {
        item_key
        for (item_key,) in connection.execute(
            "SELECT item_key FROM engagements WHERE user_key = ? AND acted_ts_ms <= ?",
            (int(user_key), until),
        )
    }
    found: dict[int, tuple[int, int, int]] = {}  # in the order met: newest first
    cursor = connection.execute(NEWEST, (int(user_key), until, -1))
    while len(found) < limit and (rows := cursor.fetchmany(REQUESTS_AT_A_TIME)):
        for ts_ms, request_number, surface_key, items, _, _ in rows:
            for item_key in np.frombuffer(items, "<u4").tolist():
                if item_key not in engaged:
                    found.setdefault(item_key, (ts_ms, surface_key, request_number))
    cursor.close()
    rows = [(item_key, *rest) for item_key, rest in found.items()][: max(limit, 0)]
    item_key, ts_ms, surface_key, request_number = np.array(rows, np.int64).reshape(-1, 4).T
    return ImpressionColumns(item_key, ts_ms, surface_key, request_number)


def item_feedback(connection: sqlite3.Connection, item_key: int, requests: int) -> ItemFeedback:
    """See ``Store.item_feedback``."""
    rows = connection.execute(NEWEST_OF_ALL, (int(requests),)).fetchall()
    if not rows:
        return ItemFeedback(0, None, 0)
    packed = int(item_key).to_bytes(4, "little")
    showed = [  # most answers do not even hold the bytes
        (user_key, number)
        for number, user_key, _, blob in rows
        if packed in blob and item_key in np.frombuffer(blob, "<u4")
    ]
    answered = Counter(
        action_key
        for who in showed
        for (action_key,) in connection.execute(ANSWERED, (*who, int(item_key)))
    )
    since = min(ts_ms for _, _, ts_ms, _ in rows)
    return ItemFeedback(len(rows), since, len(showed), dict(sorted(answered.items())))


def totals(connection: sqlite3.Connection) -> FeedbackTotals:
    """See ``Store.totals``."""
    return FeedbackTotals(
        _counted(connection, "place", "shown_totals"),
        _counted(connection, "action_key", "engagement_totals"),
    )


def _counted(connection: sqlite3.Connection, key: str, table: str) -> IntVector:
    rows = connection.execute(f"SELECT {key}, number FROM {table} WHERE number > 0").fetchall()
    out = np.zeros(max((k for k, _ in rows), default=-1) + 1, np.int64)
    for k, number in rows:
        out[k] = number
    return out
