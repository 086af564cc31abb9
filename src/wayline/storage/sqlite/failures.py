"""What SQLite says, in one line that names the cure."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wayline.errors import WaylineError, WorkspaceError, WorkspaceLockedError
from wayline.storage.disk import disk_full, full_disk_said, room_bytes

ROOM_BYTES = 1 << 20
"""An input/output error with less room than this left is a full disk: SQLite reports ENOSPC of a
shared-memory file as plain IOERR.
"""


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn a database error or a full disk inside the block into the WaylineError that says what to
    do.
    """
    with full_disk_said(path):
        try:
            yield
        except sqlite3.Error as error:
            raise translate(error, path) from error


def translate(error: sqlite3.Error, path: Path) -> WaylineError:
    """The WaylineError for an error of SQLite on the file at ``path``."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code; the rest is detail
    said = str(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return WorkspaceLockedError(
            f"Another process is writing to {path} and did not finish in time: wait for it to end "
            "(an import or a build?) and try again."
        )
    if code == sqlite3.SQLITE_FULL or (
        code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and room_bytes(path) < ROOM_BYTES
    ):
        return disk_full(path)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return damaged(path, said)
    if code == sqlite3.SQLITE_READONLY:
        return WorkspaceError(
            f"{path} may only be read, expected to write to it: open it without read_only, or "
            "mend the file's permissions."
        )
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return WorkspaceError(
            f"{path} cannot be opened ({said}): check that it is a file and that this user may "
            "read and write it and its folder."
        )
    return WorkspaceError(f"The database {path} refused ({said}): run `wayline doctor`.")


def damaged(path: Path, detail: str) -> WorkspaceError:
    """The error for a file that is not what we wrote."""
    return WorkspaceError(
        f"{path} is damaged or not a wayline database ({detail}): put a backup in its place with "
        "`wayline restore`."
    )
