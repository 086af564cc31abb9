"""Answers kept in the workspace, so that asking again costs nothing."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

BUSY_S = 30.0
AT_A_TIME = 500  # keys of one look-up


class AnswerCache:
    """A SQLite file of answers by the hash of their question.

    A crash loses at most the newest answers, several processes may share it, and it may be deleted at any time. It
    holds no question and nobody's name: what is sent names nobody, and of that only the hash is kept. A file that is
    damaged, or a disk that is full, costs requests and is noted, and stops nothing.

    Parameters
    ----------
    path : Path
        The file; made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self._lock = threading.Lock()
        try:
            self._connection = self._open()
        except sqlite3.OperationalError:  # no folder, no right to write, no room
            self._connection = _memory()
            self._note("cannot be used")
        except sqlite3.DatabaseError:
            for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
                path.with_name(name).unlink(missing_ok=True)
            self._note("was damaged and has been begun anew")
            self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=BUSY_S, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            _make(connection)
        except sqlite3.DatabaseError:
            connection.close()
            raise
        return connection

    def get_many(self, keys: Iterable[str]) -> dict[str, str]:
        """Give the answers that are known, by key."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, str] = {}
        with self._lock:
            for at in range(0, len(wanted), AT_A_TIME):
                part = wanted[at : at + AT_A_TIME]
                marks = ",".join("?" * len(part))
                try:
                    rows = self._connection.execute(
                        f"SELECT key, answer FROM answers WHERE key IN ({marks})", part
                    ).fetchall()
                except sqlite3.Error:
                    self._note("cannot be read")
                    return found
                found.update((key, text) for key, text in rows if isinstance(text, str))
        return found

    def put(self, key: str, answer: str) -> None:
        """Keep an answer; on disk when this returns, whole or not at all."""
        with self._lock:
            try:
                with self._connection:
                    self._connection.execute(
                        "INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, answer)
                    )
            except sqlite3.Error:
                self._note("cannot be written to")

    def _note(self, trouble: str) -> None:
        line = f"{self.path.name} {trouble}: answers that it held are asked for again."
        if line not in self.notes:
            self.notes.append(line)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _make(connection: sqlite3.Connection) -> None:
    with connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL) "
            "WITHOUT ROWID"
        )


def _memory() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    _make(connection)
    return connection
