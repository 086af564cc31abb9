"""Items: what the catalogue says about each, apart from the dictionary so that looking up an id
never reads a description.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import numpy as np
import polars as pl

from wayline.errors import InputError, NotFoundError, shorten
from wayline.schema import IntVector, ItemRecord
from wayline.storage.sqlite.dictionaries import ITEMS, key_of, largest_key
from wayline.storage.sqlite.keys import Keys

COLUMNS: dict[str, Any] = {
    "title": pl.String,
    "description": pl.String,
    "category": pl.String,
    "tags": pl.List(pl.String),
    "image_url": pl.String,
    "created_ts_ms": pl.Int64,
    "hidden": pl.Boolean,
    "attributes": pl.String,
}
TEXTS: dict[str, Any] = {
    "item_key": pl.Int64,
    "title": pl.String,
    "description": pl.String,
    "category": pl.String,
    "tags": pl.List(pl.String),
    "hidden": pl.Boolean,
    "created_ts_ms": pl.Int64,
}
SETTINGS = ", ".join(f"{name} = coalesce(excluded.{name}, {name})" for name in COLUMNS)
UPSERT = f"""
INSERT INTO item_details (item_key, {", ".join(COLUMNS)}) VALUES (?{", ?" * len(COLUMNS)})
ON CONFLICT (item_key) DO UPDATE SET {SETTINGS}
"""
UPSERT_ROWS = 32_768


def upsert_items(connection: sqlite3.Connection, frame: pl.DataFrame) -> int:
    """See ``Store.upsert_items``; runs inside a write transaction."""
    if "item_id" not in frame.columns or frame["item_id"].null_count():
        raise InputError(
            "Got items without item_id, expected one for each: pass them through intake.",
            field="item_id",
        )
    if not len(frame):
        return 0
    keys = Keys().ensure(connection, ITEMS, frame["item_id"].cast(pl.String))
    typed = frame.select(
        pl.col(name).cast(kind) for name, kind in COLUMNS.items() if name in frame.columns
    )
    for start in range(0, len(frame), UPSERT_ROWS):
        part = typed.slice(start, UPSERT_ROWS)
        part_keys = keys[start : start + UPSERT_ROWS].tolist()
        columns = [
            _column(part, name) if name in part.columns else [None] * len(part_keys)
            for name in COLUMNS
        ]
        connection.executemany(UPSERT, zip(part_keys, *columns, strict=True))
    _bump(connection)
    return len(np.unique(keys))


def set_hidden(connection: sqlite3.Connection, item_id: str, hidden: bool) -> None:
    """See ``Store.set_hidden``; runs inside a write transaction."""
    key = key_of(connection, ITEMS, item_id)
    if key is None:
        raise NotFoundError(
            f"There is no item {shorten(item_id)}: check the id, or add the item first.",
            field="item_id",
        )
    connection.execute(
        "INSERT INTO item_details (item_key, hidden) VALUES (?, ?) "
        "ON CONFLICT (item_key) DO UPDATE SET hidden = excluded.hidden",
        (key, int(hidden)),
    )
    _bump(connection)


def item_records(connection: sqlite3.Connection, keys: IntVector) -> list[ItemRecord]:
    """See ``Store.item_records``."""
    wanted = "item_id, " + ", ".join(COLUMNS)
    return [
        ItemRecord(
            item_id=item_id,
            title=title,
            description=description,
            category=category,
            tags=json.loads(tags) if tags else [],
            image_url=image_url,
            created_at=created_ts_ms,
            hidden=bool(hidden),
            attributes=json.loads(attributes) if attributes else {},
        )
        for (
            item_id,
            title,
            description,
            category,
            tags,
            image_url,
            created_ts_ms,
            hidden,
            attributes,
        ) in _rows(connection, wanted, keys)
    ]


def item_texts(connection: sqlite3.Connection, keys: IntVector | None) -> pl.DataFrame:
    """See ``Store.item_texts``."""
    if keys is None:
        keys = np.arange(1, largest_key(connection, ITEMS) + 1)
    frame = pl.DataFrame(
        _rows(connection, ", ".join(TEXTS), keys),
        schema={**TEXTS, "tags": pl.String, "hidden": pl.Int64},
        orient="row",
    )
    return frame.with_columns(
        pl.col("tags").fill_null("[]").str.json_decode(TEXTS["tags"]),
        (pl.col("hidden").fill_null(0) == 1).alias("hidden"),
    )


def hidden_keys(connection: sqlite3.Connection) -> IntVector:
    """See ``Store.hidden_keys``."""
    rows = connection.execute(
        "SELECT item_key FROM item_details WHERE hidden = 1 ORDER BY item_key"
    )
    return np.array([key for (key,) in rows], np.int64)


def items_version(connection: sqlite3.Connection) -> int:
    """See ``Store.items_version``."""
    return int(
        connection.execute("SELECT value FROM counters WHERE name = 'items_version'").fetchone()[0]
    )


def _rows(connection: sqlite3.Connection, wanted: str, keys: IntVector) -> list[tuple[Any, ...]]:
    """``wanted`` columns of items, in the order of ``keys``."""
    rows = connection.execute(
        f"SELECT {wanted} FROM json_each(?) AS asked CROSS JOIN items ON items.item_key = "
        "asked.value "
        "LEFT JOIN item_details USING (item_key) ORDER BY asked.key",
        (json.dumps(keys.tolist()),),
    ).fetchall()
    if len(rows) != len(keys):
        unknown = next(k for k in keys.tolist() if not 0 < k <= largest_key(connection, ITEMS))
        raise NotFoundError(f"There is no item with key {unknown}: keys come from item_keys().")
    return rows


def _column(part: pl.DataFrame, name: str) -> list[Any]:
    values: list[Any] = part[name].to_list()
    if name == "tags":
        return [None if v is None else json.dumps(v, ensure_ascii=False) for v in values]
    return values


def _bump(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE counters SET value = value + 1 WHERE name = 'items_version'")
