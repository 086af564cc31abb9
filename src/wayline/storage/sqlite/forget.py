"""Forgetting a person, down to the bytes.

Deleting is not enough. SQLite overwrites what it deletes (``secure_delete``), but a page that was
split keeps stray copies of cells that moved to the new page: about one id in two thousand survived
in our trial. So after the checkpoint the file is searched for the id, and only if it is found where
no live cell is, the file is written anew (``VACUUM``: seconds a gigabyte, writers wait).
"""

from __future__ import annotations

import mmap
import sqlite3
from pathlib import Path

import numpy as np

from wayline.errors import WorkspaceLockedError
from wayline.storage.sqlite import log
from wayline.storage.sqlite.chunks import take
from wayline.storage.sqlite.connections import Connections
from wayline.storage.sqlite.dictionaries import USERS, key_of
from wayline.storage.sqlite.keys import count_forgetting

LEAF_KINDS = (0x0A, 0x0D)
INTERIOR_KINDS = (0x02, 0x05)


def forget_user(connections: Connections, user_id: str) -> dict[str, int]:
    """See ``Store.forget_user``."""
    texts = [user_id]
    with connections.writing() as connection:
        user_key = key_of(connection, USERS, user_id)
        removed = dict.fromkeys(
            ("users", "actions", "action_details", "requests", "impressions"), 0
        )
        if user_key is not None:
            texts += _queries(connection, user_key)
            removed = _remove(connection, user_key, connections.path)
    _erase(connections, [text.encode() for text in texts])
    return removed


def _queries(connection: sqlite3.Connection, user_key: int) -> list[str]:
    """The longer texts of a person, whose stray copies are searched for as well."""
    rows = connection.execute(
        "SELECT DISTINCT query FROM action_details WHERE length(query) >= 12 AND position IN "
        "(SELECT position FROM actions WHERE user_key = ?)",
        (user_key,),
    )
    return [query for (query,) in rows]


def _remove(connection: sqlite3.Connection, user_key: int, path: Path) -> dict[str, int]:
    """Take the person's rows out of every table; the key stays behind with no id, so it is never
    given again.
    """
    me = (user_key,)
    positions = np.array(
        [p for (p,) in connection.execute("SELECT position FROM actions WHERE user_key = ?", me)],
        np.int64,
    )
    shown = connection.execute(
        "SELECT coalesce(sum(shown), 0) FROM requests WHERE user_key = ?", me
    ).fetchone()[0]
    details = connection.execute(
        "DELETE FROM action_details WHERE position IN (SELECT position FROM actions WHERE "
        "user_key = ?)",
        me,
    ).rowcount
    _rewrite_log(connection, np.sort(positions), user_key, path)
    actions = connection.execute("DELETE FROM actions WHERE user_key = ?", me).rowcount
    requests = connection.execute("DELETE FROM requests WHERE user_key = ?", me).rowcount
    count_forgetting(connection)
    users = connection.execute("UPDATE users SET user_id = NULL WHERE user_key = ?", me).rowcount
    return {
        "users": users,
        "actions": actions,
        "action_details": details,
        "requests": requests,
        "impressions": int(shown),
    }


def _rewrite_log(
    connection: sqlite3.Connection,
    positions: np.ndarray[tuple[int], np.dtype[np.int64]],
    user_key: int,
    path: Path,
) -> None:
    """Write the chunks that hold the person's rows anew without them."""
    done = 0
    for position in positions.tolist():
        if position <= done:
            continue
        last, first = connection.execute(
            "SELECT last_position, first_position FROM log WHERE last_position >= ? ORDER BY "
            "last_position LIMIT 1",
            (position,),
        ).fetchone()
        rows, done = log.next_rows(connection, first - 1, path)
        log.put(connection, take(rows, rows.user_key != user_key), span=(first, last))


def _erase(connections: Connections, texts: list[bytes]) -> None:
    """Fold the write-ahead log away; rewrite the file if a stray copy of a text is left."""
    with connections.alone() as connection:
        _checkpoint(connection, connections.path)
        page_bytes = int(connection.execute("PRAGMA page_size").fetchone()[0])
        if has_stray_copy(connections.path, texts, page_bytes):
            connection.execute("VACUUM")
            _checkpoint(connection, connections.path)


def _checkpoint(connection: sqlite3.Connection, path: Path) -> None:
    busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    if busy:
        raise WorkspaceLockedError(
            f"The person's rows are gone, but another process reads {path} and keeps old pages in "
            "the write-ahead log: "
            "forget them once more when it has ended."
        )


def has_stray_copy(path: Path, texts: list[bytes], page_bytes: int) -> bool:
    """Whether a text stands in the unused part of some page of the file (SQLite file format, §1.6
    B-tree Pages).
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for text in texts:
            at = data.find(text) if text else -1
            while at >= 0:
                if _unused(data, at, page_bytes):
                    return True
                at = data.find(text, at + 1)
    return False


def _unused(data: mmap.mmap, at: int, page_bytes: int) -> bool:
    """Whether the byte at this offset belongs to no cell: in the gap behind the cell pointers, or
    in a free block.
    """
    start = at - at % page_bytes
    header = start + (100 if start == 0 else 0)
    kind = data[header]
    if kind not in LEAF_KINDS + INTERIOR_KINDS:
        return False  # overflow pages are written whole, free ones are zero
    cells = int.from_bytes(data[header + 3 : header + 5])
    content = int.from_bytes(data[header + 5 : header + 7]) or 65_536
    pointers_end = header + (8 if kind in LEAF_KINDS else 12) + 2 * cells
    if pointers_end <= at < start + content:
        return True
    block = int.from_bytes(data[header + 1 : header + 3])
    while block:
        size = int.from_bytes(data[start + block + 2 : start + block + 4])
        if start + block <= at < start + block + size:
            return True
        block = int.from_bytes(data[start + block : start + block + 2])
    return False
