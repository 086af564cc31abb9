"""Appending actions: give keys, refuse what is known, insert in the order of the index, all in one
transaction.
"""

from __future__ import annotations

import sqlite3
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from wayline.errors import InputError
from wayline.schema import ActionColumns, BoolVector, IntVector
from wayline.storage.sqlite import engagements, log, packed
from wayline.storage.sqlite.chunks import take
from wayline.storage.sqlite.dictionaries import ACTION_NAMES, ITEMS, SURFACES, USERS
from wayline.storage.sqlite.keys import Keys
from wayline.storage.store import Appended

REQUIRED: dict[str, Any] = {
    "user_id": pl.String,
    "item_id": pl.String,
    "ts_ms": pl.Int64,
    "action": pl.String,
}
DETAILS = ("surface", "request_id", "query", "board", "action_id")
OPTIONAL: dict[str, Any] = {"value": pl.Float64, **dict.fromkeys(DETAILS, pl.String)}
INSERT_ROWS = 32_768
"""Rows turned into Python objects at a time; bounds the memory of a large append."""
MAX_ACTION_NAMES = 32_767  # action_key is int16

INSERT = "INSERT OR IGNORE INTO actions VALUES (?, ?, ?, ?, ?, ?, ?)"
FIND = (
    "SELECT position FROM actions "
    "WHERE user_key = ? AND ts_ms = ? AND item_key = ? AND action_key = ? AND twin = ?"
)


def prepare(frame: pl.DataFrame) -> pl.DataFrame:
    """Give the columns the types they are stored as and leave out those without a value, before
    anything is locked.

    Raises
    ------
    InputError
        If a required column is missing or holds nulls: intake should have refused such rows.
    """
    missing = [name for name in REQUIRED if name not in frame.columns]
    if missing:
        raise InputError(
            f"Got actions without {', '.join(missing)}, expected {', '.join(REQUIRED)}: pass them "
            "through intake."
        )
    known = {**REQUIRED, **OPTIONAL}
    typed = frame.select(
        pl.col(name).cast(kind) for name, kind in known.items() if name in frame.columns
    )
    for name in REQUIRED:
        if typed[name].null_count():
            raise InputError(
                f"Got {typed[name].null_count():,} rows without {name}, expected none: pass them "
                "through intake."
            )
    return typed.drop([n for n in typed.columns if n in OPTIONAL and typed[n].is_null().all()])


def append(
    connection: sqlite3.Connection, frames: list[pl.DataFrame], path: Path, keys: Keys
) -> list[Appended]:
    """Append prepared frames in one transaction; one count each, as if one came after the other."""
    frame = frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal")
    keys.begin(connection)
    rows = _keyed(connection, frame, keys)
    digests = _digests(frame)
    order = np.lexsort((rows.action_key, rows.item_key, rows.ts_ms, rows.user_key))
    fresh = _first_of_equals(rows, order, digests) & _unknown_digests(connection, digests)
    fresh &= ~packed.known(connection, rows, _unnamed(order[fresh[order]], digests))
    rows.position[fresh] = log.position(connection) + 1 + np.arange(np.count_nonzero(fresh))
    accepted = _insert(connection, rows, order[fresh[order]], digests)
    if accepted.any():
        log.write(connection, take(rows, accepted), path)
        some = _detailed(frame, accepted)
        if len(some):
            named = [digests[i] if digests else None for i in some]
            _write_details(connection, keys, frame[some], rows.position[some], named)
        if "request_id" in frame.columns:
            answer = accepted & frame["request_id"].is_not_null().to_numpy()
            engagements.attribute_actions(
                connection, take(rows, answer), frame["request_id"].filter(answer)
            )
    return _receipts(rows.position, accepted, [len(f) for f in frames])


def _keyed(connection: sqlite3.Connection, frame: pl.DataFrame, keys: Keys) -> ActionColumns:
    """The frame as columns of keys, positions still 0."""
    action_key = keys.ensure(connection, ACTION_NAMES, frame["action"])
    if len(action_key) and action_key.max() > MAX_ACTION_NAMES:
        raise InputError(
            f"Got more than {MAX_ACTION_NAMES:,} different actions, expected names like view or "
            "buy: "
            "is an id column mapped to `action`?",
            field="action",
        )
    value = (
        frame["value"].fill_null(float("nan")).to_numpy()
        if "value" in frame.columns
        else np.full(len(frame), np.nan)
    )
    return ActionColumns(
        position=np.zeros(len(frame), np.int64),
        user_key=keys.ensure(connection, USERS, frame["user_id"]),
        item_key=keys.ensure(connection, ITEMS, frame["item_id"]),
        action_key=action_key.astype(np.int16),
        ts_ms=frame["ts_ms"].to_numpy(),
        value=value,  # float64 here: only the log's copy is narrowed
    )


def _digests(frame: pl.DataFrame) -> list[bytes | None] | None:
    """A digest of each action_id, or None if no row has one."""
    if "action_id" not in frame.columns:
        return None
    return [
        None if i is None else blake2b(i.encode(), digest_size=16).digest()
        for i in frame["action_id"]
    ]


def _first_of_equals(
    rows: ActionColumns, order: IntVector, digests: list[bytes | None] | None
) -> BoolVector:
    """Which rows are the first of their identity among these rows, shape [M]."""
    named = np.zeros(len(rows), np.bool_)
    fresh = np.ones(len(rows), np.bool_)
    if digests is not None:
        seen: set[bytes] = set()
        for i, digest in enumerate(digests):
            if digest is not None:
                named[i], fresh[i] = True, digest not in seen
                seen.add(digest)
        order = order[~named[order]]
    if len(order) > 1:
        same = np.ones(len(order) - 1, np.bool_)
        for column in (rows.user_key, rows.ts_ms, rows.item_key, rows.action_key):
            along = column[order]
            same &= along[1:] == along[:-1]
        fresh[order[1:][same]] = False  # the sort is stable, so the first of a run came first
    return fresh


def _unnamed(which: IntVector, digests: list[bytes | None] | None) -> IntVector:
    """Those without an action_id."""
    if digests is None:
        return which
    return which[np.array([digests[i] is None for i in which.tolist()], np.bool_)]


def _unknown_digests(
    connection: sqlite3.Connection, digests: list[bytes | None] | None
) -> BoolVector | np.bool_:
    if digests is None:
        return np.True_
    find = "SELECT 1 FROM action_details WHERE action_digest = ?"
    return np.array(
        [d is None or connection.execute(find, (d,)).fetchone() is None for d in digests], np.bool_
    )


def _insert(
    connection: sqlite3.Connection,
    rows: ActionColumns,
    order: IntVector,
    digests: list[bytes | None] | None,
) -> BoolVector:
    """Insert the rows of ``order`` and tell which were not known, shape [M]."""
    accepted = np.zeros(len(rows), np.bool_)
    twin: npt.NDArray[np.int64] = np.zeros(len(rows), np.int64)
    if digests is not None:
        named = np.array([d is not None for d in digests], np.bool_)
        twin[named] = rows.position[named]
    for start in range(0, len(order), INSERT_ROWS):
        part = order[start : start + INSERT_ROWS]
        identities = [
            column[part].tolist()
            for column in (rows.user_key, rows.ts_ms, rows.item_key, rows.action_key, twin)
        ]
        positions = rows.position[part]
        inserted = connection.executemany(
            INSERT, zip(*identities, positions.tolist(), rows.value[part].tolist(), strict=True)
        ).rowcount
        if inserted == len(part):
            accepted[part] = True
        elif inserted:  # a mixed slice: a row was taken if the one now there has its position
            there = [
                connection.execute(FIND, k).fetchone()[0] for k in zip(*identities, strict=True)
            ]
            accepted[part] = np.array(there, np.int64) == positions
    return accepted


def _detailed(frame: pl.DataFrame, accepted: BoolVector) -> IntVector:
    """Which accepted rows have more than every action has, shape [at most M]."""
    present = [name for name in DETAILS if name in frame.columns]
    if not present:
        return np.empty(0, np.int64)
    some = frame.select(pl.any_horizontal(pl.col(present).is_not_null())).to_series()
    return np.flatnonzero(accepted & some.to_numpy())


def _write_details(
    connection: sqlite3.Connection,
    keys: Keys,
    frame: pl.DataFrame,
    positions: IntVector,
    digests: list[bytes | None],
) -> None:
    """Keep what only these rows have."""
    nothing = [None] * len(frame)
    surfaces: list[int | None] = list(nothing)
    if "surface" in frame.columns:
        surfaces = [
            key or None for key in keys.ensure(connection, SURFACES, frame["surface"]).tolist()
        ]
    texts = [
        frame[name].to_list() if name in frame.columns else nothing
        for name in ("request_id", "query", "board")
    ]
    connection.executemany(
        "INSERT INTO action_details VALUES (?, ?, ?, ?, ?, ?)",
        zip(positions.tolist(), surfaces, *texts, digests, strict=True),
    )


def _receipts(positions: IntVector, accepted: BoolVector, sizes: list[int]) -> list[Appended]:
    out = []
    start = 0
    for size in sizes:
        taken = positions[start : start + size][accepted[start : start + size]]
        first, last = (int(taken[0]), int(taken[-1])) if len(taken) else (0, 0)
        out.append(Appended(len(taken), size - len(taken), first, last))
        start += size
    return out
