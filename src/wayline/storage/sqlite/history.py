"""One person's actions, newest first: a range of the clustered table, read backwards."""

from __future__ import annotations

import sqlite3

import numpy as np

from wayline.schema import ActionColumns, ActionRecord, IntVector
from wayline.storage.sqlite.chunks import empty
from wayline.storage.sqlite.dictionaries import ACTION_NAMES, SURFACES, USERS, key_of, names

FOREVER_MS = (1 << 63) - 1

# Equal times are put in order of position by a sort of just those rows; the range itself comes out
# of the index.
USER_ACTIONS = """
SELECT position, item_key, action_key, ts_ms, value FROM actions
WHERE user_key = ? AND ts_ms <= ? ORDER BY ts_ms DESC, position DESC LIMIT ?
"""

RECORDS = """
SELECT i.item_id, a.action_key, a.ts_ms, a.value, d.surface_key, d.request_id, d.query, d.board
FROM (
    SELECT * FROM actions WHERE user_key = ? AND ts_ms <= ?
    ORDER BY ts_ms DESC, position DESC LIMIT ?
) AS a
JOIN items AS i USING (item_key) LEFT JOIN action_details AS d ON d.position = a.position
ORDER BY a.ts_ms DESC, a.position DESC
"""


def user_actions(
    connection: sqlite3.Connection, user_key: int, until_ts_ms: int | None, limit: int | None
) -> ActionColumns:
    """See ``Store.user_actions``."""
    rows = connection.execute(USER_ACTIONS, _window(user_key, until_ts_ms, limit)).fetchall()
    if not rows:
        return empty()
    position, item_key, action_key, ts_ms, value = zip(*rows, strict=True)
    return ActionColumns(
        position=np.array(position, np.int64),
        user_key=np.full(len(rows), user_key, np.int64),
        item_key=np.array(item_key, np.int64),
        action_key=np.array(action_key, np.int16),
        ts_ms=np.array(ts_ms, np.int64),
        value=np.array(value, np.float32),  # None becomes NaN
    )


def action_records(
    connection: sqlite3.Connection, user_id: str, until_ts_ms: int | None, limit: int | None
) -> list[ActionRecord]:
    """See ``Store.action_records``."""
    user_key = key_of(connection, USERS, user_id)
    if user_key is None:
        return []
    actions, surfaces = names(connection, ACTION_NAMES), names(connection, SURFACES)
    rows = connection.execute(RECORDS, _window(user_key, until_ts_ms, limit))
    return [
        ActionRecord(
            item_id=item_id,
            action=actions[action_key - 1],
            ts=ts_ms,
            value=value,
            surface=surfaces[surface_key - 1] if surface_key else None,
            request_id=request_id,
            query=query,
            board=board,
        )
        for item_id, action_key, ts_ms, value, surface_key, request_id, query, board in rows
    ]


def action_details(
    connection: sqlite3.Connection, positions: IntVector
) -> list[tuple[str | None, str | None]]:
    """See ``Store.action_details``."""
    find = "SELECT query, board FROM action_details WHERE position = ?"
    return [
        connection.execute(find, (position,)).fetchone() or (None, None)
        for position in np.asarray(positions, np.int64).tolist()
    ]


def _window(user_key: int, until_ts_ms: int | None, limit: int | None) -> tuple[int, int, int]:
    until = FOREVER_MS if until_ts_ms is None else until_ts_ms
    return int(user_key), int(until), -1 if limit is None else int(limit)
