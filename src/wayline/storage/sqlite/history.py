"""One person's actions, newest first: the newest from a range of the clustered table, the rest from packed chunks."""

from __future__ import annotations

import json
import math
import sqlite3

import numpy as np
import polars as pl

from wayline.schema import ActionColumns, ActionRecord, IntVector
from wayline.storage.sqlite import packed
from wayline.storage.sqlite.dictionaries import (
    ACTION_NAMES,
    ITEMS,
    SURFACES,
    USERS,
    ids_of,
    key_of,
    names,
)

FOREVER_MS = packed.FOREVER_MS
NO_DETAILS = (None, None, None, None)
SURFACES_AT = (
    "SELECT key, surface_key FROM json_each(?) CROSS JOIN action_details ON position = value "
    "WHERE surface_key > 0"
)
WORDS = (  # by the index of those alone
    "SELECT position, query, board FROM action_details WHERE (query IS NOT NULL OR board IS NOT NULL)"
)
WORDS_AT = (
    "SELECT position, query, board FROM json_each(?) CROSS JOIN action_details ON position = value "
    "WHERE query IS NOT NULL OR board IS NOT NULL ORDER BY position"
)
DETAILS = "SELECT surface_key, request_id, query, board FROM action_details WHERE position = ?"


def user_actions(
    connection: sqlite3.Connection, user_key: int, until_ts_ms: int | None, limit: int | None
) -> ActionColumns:
    """See ``Store.user_actions``; the connection must be a snapshot."""
    rows = packed.rows_of(connection, user_key, until_ts_ms, limit)
    newest_first = slice(None, None, -1)
    return ActionColumns(
        position=rows.position[newest_first],
        user_key=np.full(len(rows), user_key, np.int64),
        item_key=rows.item_key[newest_first],
        action_key=rows.action_key[newest_first],
        ts_ms=rows.ts_ms[newest_first],
        value=rows.value[newest_first].astype(np.float32),
    )


def action_records(
    connection: sqlite3.Connection, user_id: str, until_ts_ms: int | None, limit: int | None
) -> list[ActionRecord]:
    """See ``Store.action_records``; the connection must be a snapshot."""
    user_key = key_of(connection, USERS, user_id)
    if user_key is None:
        return []
    rows = packed.rows_of(connection, user_key, until_ts_ms, limit)
    actions, surfaces = names(connection, ACTION_NAMES), names(connection, SURFACES)
    items = ids_of(connection, ITEMS, rows.item_key)
    out = []
    for n in range(len(rows) - 1, -1, -1):
        details = connection.execute(DETAILS, (int(rows.position[n]),)).fetchone() or NO_DETAILS
        surface_key, request_id, query, board = details
        value = float(rows.value[n])
        out.append(
            ActionRecord(
                item_id=items[n],
                action=actions[rows.action_key[n] - 1],
                ts=int(rows.ts_ms[n]),
                value=None if math.isnan(value) else value,
                surface=surfaces[surface_key - 1] if surface_key else None,
                request_id=request_id,
                query=query,
                board=board,
            )
        )
    return out


def action_details(
    connection: sqlite3.Connection, positions: IntVector
) -> list[tuple[str | None, str | None]]:
    """See ``Store.action_details``."""
    find = "SELECT query, board FROM action_details WHERE position = ?"
    return [
        connection.execute(find, (position,)).fetchone() or (None, None)
        for position in np.asarray(positions, np.int64).tolist()
    ]


def action_words(connection: sqlite3.Connection, positions: IntVector | None) -> pl.DataFrame:
    """See ``Store.action_words``."""
    schema = {"position": pl.Int64, "query": pl.String, "board": pl.String}
    if connection.execute(f"{WORDS} LIMIT 1").fetchone() is None:
        return pl.DataFrame(schema=schema)
    if positions is None:
        rows = connection.execute(f"{WORDS} ORDER BY position").fetchall()
    else:
        asked = json.dumps(np.unique(np.asarray(positions, np.int64)).tolist())
        rows = connection.execute(WORDS_AT, (asked,)).fetchall()
    return pl.DataFrame(rows, schema=schema, orient="row")


def action_surfaces(connection: sqlite3.Connection, positions: IntVector) -> IntVector:
    """See ``Store.action_surfaces``."""
    out = np.zeros(len(positions), np.int64)
    if connection.execute("SELECT 1 FROM action_details LIMIT 1").fetchone() is None:
        return out
    found = connection.execute(SURFACES_AT, (json.dumps(np.asarray(positions).tolist()),))
    pairs = np.array(found.fetchall(), np.int64).reshape(-1, 2)
    out[pairs[:, 0]] = pairs[:, 1]
    return out
