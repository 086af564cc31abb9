"""The log in order of position: chunks of packed columns, joined while they are small."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import numpy as np

from wayline.errors import InputError, WorkspaceError
from wayline.schema import ActionColumns
from wayline.storage.sqlite.chunks import CHUNK_ROWS, concat, decode, empty, encode, take
from wayline.storage.sqlite.failures import damaged


class Reads(Protocol):
    """What a scan needs of the connections."""

    path: Path

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """A connection to read with."""
        ...


def position(connection: sqlite3.Connection) -> int:
    """The newest position ever given: a chunk keeps its last position even when its rows are
    forgotten.
    """
    return int(connection.execute("SELECT coalesce(max(last_position), 0) FROM log").fetchone()[0])


def count(connection: sqlite3.Connection) -> int:
    """Actions in the log."""
    return int(connection.execute("SELECT coalesce(sum(rows), 0) FROM log").fetchone()[0])


def newest_ts_ms(connection: sqlite3.Connection) -> int | None:
    """The latest time of any action."""
    newest: int | None = connection.execute("SELECT max(newest_ts_ms) FROM log").fetchone()[0]
    return newest


def write(connection: sqlite3.Connection, rows: ActionColumns, path: Path) -> None:
    """Append rows, ascending by position and all newer than the log, joining small chunks before
    them.

    A chunk is joined with the one before as long as that is not larger, as a binary counter
    carries: after single appends there are at most 14 small chunks, and each action is written 14
    times at most.
    """
    while True:
        last = connection.execute(
            "SELECT last_position, rows, columns FROM log ORDER BY last_position DESC LIMIT 1"
            if len(rows) < CHUNK_ROWS
            else "SELECT 0, 0, NULL LIMIT 0"
        ).fetchone()
        if last is None or last[1] > len(rows) or last[1] + len(rows) > CHUNK_ROWS:
            break
        rows = concat([_decode(last[2], last[1], path), rows])
        connection.execute("DELETE FROM log WHERE last_position = ?", (last[0],))
    for start in range(0, len(rows), CHUNK_ROWS):
        put(connection, take(rows, slice(start, start + CHUNK_ROWS)))


def put(
    connection: sqlite3.Connection, rows: ActionColumns, *, span: tuple[int, int] | None = None
) -> None:
    """Write one chunk, or write it anew under its old ``span`` (first, last) when rows were taken
    out.
    """
    first, last = span or (int(rows.position[0]), int(rows.position[-1]))
    newest = int(rows.ts_ms.max()) if len(rows) else None
    connection.execute(
        "INSERT OR REPLACE INTO log VALUES (?, ?, ?, ?, ?)",
        (last, first, len(rows), newest, encode(rows)),
    )


def scan(
    connections: Reads, *, after: int, until_ts_ms: int | None, batch: int
) -> Iterator[ActionColumns]:
    """Rows in order of position, in batches of at most ``batch``.

    One short read per chunk and none held open in between: a long scan must not keep the
    write-ahead log from being folded in. Chunks may be joined meanwhile; the rows after a position
    stay the same rows.
    """
    if batch < 1:
        raise InputError(f"Got batch = {batch}, expected at least 1: leave it out for the default.")
    with connections.reading() as connection:
        end = position(connection)
    waiting: list[ActionColumns] = []
    held = 0
    while after < end:
        with connections.reading() as connection:
            rows, after = next_rows(connection, after, connections.path)
        keep = rows.position <= end
        if until_ts_ms is not None:
            keep &= rows.ts_ms <= until_ts_ms
        waiting.append(rows if keep.all() else take(rows, keep))
        held += len(waiting[-1])
        if held >= batch:
            together = concat(waiting)
            full = held - held % batch
            for start in range(0, full, batch):
                yield take(together, slice(start, start + batch))
            waiting, held = [take(together, slice(full, None))], held - full
    if held:
        yield concat(waiting)


def next_rows(connection: sqlite3.Connection, after: int, path: Path) -> tuple[ActionColumns, int]:
    """The rows after a position in the chunk that holds it or comes next, and that chunk's last
    position.
    """
    chunk = connection.execute(
        "SELECT last_position, rows, columns FROM log WHERE last_position > ? ORDER BY "
        "last_position LIMIT 1",
        (after,),
    ).fetchone()
    if chunk is None:  # only if the file was swapped under us: the end was read from the same table
        raise WorkspaceError(
            f"The log of {path} ends before {after + 1}: open the workspace again."
        )
    if not chunk[1]:
        return empty(), int(chunk[0])
    rows = _decode(chunk[2], chunk[1], path)
    start = int(np.searchsorted(rows.position, after, side="right"))
    return take(rows, slice(start, None)), int(chunk[0])


def _decode(packed: bytes, rows: int, path: Path) -> ActionColumns:
    try:
        return decode(packed, rows)
    except ValueError as error:
        raise damaged(path, f"a chunk of the log: {error}") from None
