"""The outbox: what people are to be told, kept before it is handed to anybody, and what came of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wayline.schema import (
    NOTIFICATION_CLICK,
    NOTIFICATION_DISMISS,
    NOTIFICATION_OPEN,
    NotificationFeedback,
)
from wayline.storage.sqlite.dictionaries import ACTION_NAMES, names
from wayline.storage.sqlite.engagements import claims_at
from wayline.storage.sqlite.history import FOREVER_MS
from wayline.storage.store import NOTIFICATION_STATES, StoredNotification

COLUMNS = (
    "notification_id, user_key, journey_id, journey, created_ts_ms, channel, payload, features, "
    "status, attempts, next_ts_ms, sent_ts_ms, error"
)
INSERT = f"""
INSERT INTO notifications ({COLUMNS})
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13
-- another process may have forgotten the person while this was being planned
WHERE EXISTS (SELECT 1 FROM users WHERE user_key = ?2 AND user_id IS NOT NULL)
ON CONFLICT (notification_id) DO NOTHING
"""
MARK = (
    "UPDATE notifications SET status = ?2, attempts = ?3, next_ts_ms = ?4, sent_ts_ms = ?5, "
    "error = ?6 WHERE notification_id = ?1 AND status <> 'sent'"
)
WAITS = "status IN ('queued', 'sending')"  # as the index says it
ANSWERED = """
SELECT d.position, n.number FROM action_details d
CROSS JOIN notifications n ON n.notification_id = d.request_id
WHERE d.request_id IS NOT NULL ORDER BY d.position
"""


def queue(connection: sqlite3.Connection, rows: Sequence[StoredNotification]) -> int:
    """See ``Store.queue_notifications``; runs inside a write transaction."""
    return sum(connection.execute(INSERT, _values(row)).rowcount for row in rows)


def _values(row: StoredNotification) -> tuple[Any, ...]:
    return (
        row.notification_id,
        int(row.user_key),
        row.journey_id,
        row.journey,
        int(row.created_ts_ms),
        row.channel,
        json.dumps(dict(row.payload), ensure_ascii=False),
        json.dumps(dict(row.features), ensure_ascii=False),
        row.status,
        int(row.attempts),
        int(row.next_ts_ms),
        row.sent_ts_ms,
        row.error,
    )


def mark(
    connection: sqlite3.Connection,
    notification_id: str,
    state: tuple[str, int, int, int | None, str | None],
) -> bool:
    """See ``Store.mark_notification``; runs inside a write transaction."""
    assert state[0] in NOTIFICATION_STATES, f"no such state: {state[0]}"
    return connection.execute(MARK, (notification_id, *state)).rowcount == 1


def of_user(
    connection: sqlite3.Connection, user_key: int, until_ts_ms: int | None
) -> list[StoredNotification]:
    """See ``Store.user_notifications``."""
    until = FOREVER_MS if until_ts_ms is None else int(until_ts_ms)
    return _read(
        connection,
        "WHERE user_key = ? AND created_ts_ms <= ? ORDER BY created_ts_ms DESC, number DESC",
        (int(user_key), until),
    )


def waiting(connection: sqlite3.Connection, due_ts_ms: int, limit: int) -> list[StoredNotification]:
    """See ``Store.waiting_notifications``."""
    which = f"WHERE {WAITS} AND next_ts_ms <= ? ORDER BY next_ts_ms, number LIMIT ?"
    return _read(connection, which, (int(due_ts_ms), int(limit)))


def next_ts_ms(connection: sqlite3.Connection) -> int | None:
    """See ``Store.next_notification_ts_ms``."""
    found: int | None = connection.execute(
        f"SELECT min(next_ts_ms) FROM notifications WHERE {WAITS}"
    ).fetchone()[0]
    return found


def count(connection: sqlite3.Connection) -> dict[str, int]:
    """See ``Store.count_notifications``."""
    rows = connection.execute("SELECT status, count(*) FROM notifications GROUP BY status")
    return dict.fromkeys(NOTIFICATION_STATES, 0) | dict(rows)


def _read(
    connection: sqlite3.Connection, which: str, values: tuple[int, ...]
) -> list[StoredNotification]:
    cursor = connection.execute(f"SELECT {COLUMNS} FROM notifications {which}", values)
    columns = COLUMNS.split(", ")
    found = []
    for row in cursor:
        fields = dict(zip(columns, row, strict=True))
        for name in ("payload", "features"):
            fields[name] = json.loads(fields[name])
        found.append(StoredNotification(**fields))
    return found


def feedback(
    connection: sqlite3.Connection, until_ts_ms: int | None, path: Path
) -> list[NotificationFeedback]:
    """See ``Store.notification_feedback``; the connection must be a snapshot."""
    until = FOREVER_MS if until_ts_ms is None else int(until_ts_ms)
    sent = connection.execute(
        "SELECT number, notification_id, user_key, journey_id, sent_ts_ms, features, journey "
        "FROM notifications WHERE status = 'sent' AND sent_ts_ms <= ? "
        "ORDER BY sent_ts_ms, number",
        (until,),
    ).fetchall()
    came = _answers(connection, {row[0]: row[2] for row in sent}, until, path)
    return [
        NotificationFeedback(
            notification_id,
            user_key,
            journey_id,
            sent_ts_ms,
            json.loads(features),
            opened=(number, NOTIFICATION_OPEN) in came,
            clicked=(number, NOTIFICATION_CLICK) in came,
            dismissed=(number, NOTIFICATION_DISMISS) in came,
            journey=journey,
        )
        for number, notification_id, user_key, journey_id, sent_ts_ms, features, journey in sent
    ]


def _answers(
    connection: sqlite3.Connection, people: dict[int, int], until_ts_ms: int, path: Path
) -> set[tuple[int, str]]:
    """(number, action) of what people did about their own notifications; ``people`` by number."""
    pairs = [pair for pair in connection.execute(ANSWERED) if pair[1] in people]
    if not pairs:
        return set()
    known = names(connection, ACTION_NAMES)
    positions, numbers = np.array(pairs, np.int64).T
    came = set()
    for claims in claims_at(connection, positions, numbers, path):
        columns = (claims.request_number, claims.user_key, claims.action_key, claims.ts_ms)
        for number, user_key, action_key, ts_ms in zip(*(c.tolist() for c in columns), strict=True):
            if people[number] == user_key and ts_ms <= until_ts_ms:
                came.add((number, known[action_key - 1]))
    return came
