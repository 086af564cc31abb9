"""Forgetting a person, down to the bytes.

Deleting is not enough. SQLite overwrites what it deletes (``secure_delete``), but a page that was
split keeps stray copies of cells that moved to the new page: about one id in two thousand survived
in our trial. So after the checkpoint the file is searched for the id, and only if it is found where
no live cell is, the file is written anew (``VACUUM``: seconds a gigabyte, writers wait).
"""

from __future__ import annotations

import mmap
import sqlite3
import struct
from pathlib import Path

import numpy as np

from wayline.errors import WorkspaceLockedError
from wayline.storage.sqlite import engagements, log, packed
from wayline.storage.sqlite.chunks import take
from wayline.storage.sqlite.connections import Connections
from wayline.storage.sqlite.dictionaries import USERS, key_of
from wayline.storage.sqlite.keys import count_forgetting

POINTERS_AT = {0x0A: 8, 0x0D: 8, 0x02: 12, 0x05: 12}
"""Where the cell pointers of a B-tree page begin, by the page's kind: leaves and interior pages."""
PIECE_BYTES = 8
"""A stray copy may be partly overwritten; this many bytes in a row of a text count as a copy of it.
"""


def forget_user(connections: Connections, user_id: str) -> dict[str, int]:
    """See ``Store.forget_user``."""
    texts = [user_id]
    with connections.writing() as connection:
        user_key = key_of(connection, USERS, user_id)
        removed = dict.fromkeys(
            (
                "users",
                "actions",
                "action_details",
                "requests",
                "impressions",
                "engagements",
                "notifications",
            ),
            0,
        )
        if user_key is not None:
            packed.unpack(connection, user_key)  # all of them in one place
            texts += _queries(connection, user_key)
            texts += _notification_ids(connection, user_key)
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


def _notification_ids(connection: sqlite3.Connection, user_key: int) -> list[str]:
    """The beginnings of the ids of what a person was told: a stray copy of such a row has one (one piece of each, as
    there may be hundreds).
    """
    rows = connection.execute(
        "SELECT notification_id FROM notifications WHERE user_key = ?", (user_key,)
    )
    return [notification_id[:PIECE_BYTES] for (notification_id,) in rows]


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
    engaged = engagements.remove(connection, user_key)
    details = connection.execute(
        "DELETE FROM action_details WHERE position IN (SELECT position FROM actions WHERE "
        "user_key = ?)",
        me,
    ).rowcount
    _rewrite_log(connection, np.sort(positions), user_key, path)
    actions = connection.execute("DELETE FROM actions WHERE user_key = ?", me).rowcount
    requests = connection.execute("DELETE FROM requests WHERE user_key = ?", me).rowcount
    told = connection.execute("DELETE FROM notifications WHERE user_key = ?", me).rowcount
    count_forgetting(connection)
    users = connection.execute("UPDATE users SET user_id = NULL WHERE user_key = ?", me).rowcount
    return {
        "users": users,
        "actions": actions,
        "action_details": details,
        "requests": requests,
        "impressions": int(shown),
        "engagements": engaged,
        "notifications": told,
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
        if has_piece(unused_bytes(connections.path, page_bytes), texts):
            # The new file is made beside the old one, not in memory.
            connection.execute("PRAGMA temp_store = FILE")
            connection.execute("VACUUM")
            connection.execute("PRAGMA temp_store = MEMORY")
            _checkpoint(connection, connections.path)


def _checkpoint(connection: sqlite3.Connection, path: Path) -> None:
    busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    if busy:
        raise WorkspaceLockedError(
            f"The person's rows are gone, but another process reads {path} and keeps old pages in "
            "the write-ahead log: "
            "forget them once more when it has ended."
        )


def unused_bytes(path: Path, page_bytes: int) -> bytes:
    """What stands in the file where no cell is: the gap behind each page's cell pointers, free
    blocks.

    See the SQLite file format, section 1.6 (B-tree pages). Overflow pages are written whole and
    free ones are zero, so neither is looked at. Cost: a second or two a gigabyte.
    """
    parts: list[bytes] = []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for start in range(0, len(data), page_bytes):
            header = start + (100 if start == 0 else 0)
            kind = data[header]
            if kind not in POINTERS_AT:
                continue
            cells, content = (int.from_bytes(data[header + at : header + at + 2]) for at in (3, 5))
            gap = header + POINTERS_AT[kind] + 2 * cells
            parts.append(data[gap : start + (content or 65_536)])
            block = int.from_bytes(data[header + 1 : header + 3])
            while block:
                following, size = struct.unpack_from(">HH", data, start + block)
                parts.append(data[start + block + 4 : start + block + size])
                block = following
    return b"\0".join(part for part in parts if part.strip(b"\0"))


def has_piece(unused: bytes, texts: list[bytes]) -> bool:
    """Whether a text, or any eight bytes in a row of a longer one, stands in the unused bytes."""
    pieces = {
        text[at : at + PIECE_BYTES]
        for text in texts
        for at in range(max(len(text) - PIECE_BYTES, 0) + 1)
        if text
    }
    return any(piece in unused for piece in pieces)
