"""Connections to one SQLite file: one that writes, a pool that reads, and their pragmas."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wayline.errors import NoWorkspaceError, WorkspaceError
from wayline.storage.locks import Turnstile
from wayline.storage.sqlite.failures import translated
from wayline.storage.sqlite.schema import FORMAT_VERSION, migrate, version_of

WRITER_CACHE_KIB = 128 * 1024
"""An import touches every leaf of ``actions`` in each batch; pages that do not fit are written
twice.
"""
READER_CACHE_KIB = 8 * 1024
CHECKPOINT_PAGES = 16_384
"""64 MiB of write-ahead log between checkpoints: fewer rewrites of the same page, still seconds to
recover after a crash.
"""


class Connections:
    """Opens, hands out and closes the connections of one store.

    Readers never wait for the writer (WAL). Inside this process writers queue on a lock, between
    processes on SQLite's own with a busy timeout, in turns.
    """

    def __init__(self, path: Path, *, create: bool, read_only: bool, busy_timeout_s: float) -> None:
        self.path = path
        self.read_only = read_only
        self.busy_timeout_s = busy_timeout_s
        self.commits = 0
        self._turnstile = Turnstile(path.with_name(path.name + "-turn"), busy_timeout_s)
        self._write_lock = threading.Lock()
        self._pool_lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        if not path.exists() and not (create and not read_only):
            raise NoWorkspaceError(
                f"There is no workspace at {path}: make one with `wayline init`, or name its "
                "directory."
            )
        try:
            with translated(path):
                if create:
                    path.parent.mkdir(parents=True, exist_ok=True)
                self._writer = self._connect(WRITER_CACHE_KIB)
                self._prepare(create)
        except BaseException:
            self.close()
            raise

    def _prepare(self, create: bool) -> None:
        """Check whose file it is before changing anything in it, then bring it up to date."""
        version = version_of(self._writer, self.path)
        if version == 0 and not create:
            raise NoWorkspaceError(
                f"{self.path} is empty, expected a wayline database: make one with `wayline init`."
            )
        if version == FORMAT_VERSION:
            return
        if self.read_only:
            raise WorkspaceError(
                f"{self.path} has format {version}, this wayline reads {FORMAT_VERSION}: open it "
                "once to write, with `wayline doctor`."
            )
        with self._turnstile.passing():  # two that switch to WAL at once refuse each other
            self._writer.execute("PRAGMA journal_mode = WAL").fetchall()
        with self.writing() as connection:  # the other may have been first: look again inside
            migrate(connection, version_of(connection, self.path), self.path)

    def _connect(self, cache_kib: int) -> sqlite3.Connection:
        mode = "ro" if self.read_only else "rwc"
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=self.busy_timeout_s,
            isolation_level=None,  # transactions are begun and ended here, by name
            check_same_thread=False,
            cached_statements=64,
        )
        try:
            # FULL: in WAL every commit is fsynced. secure_delete: what is deleted is overwritten,
            # see `forget.py`.
            for pragma in (
                "synchronous = FULL",
                "secure_delete = ON",
                "temp_store = MEMORY",
                f"cache_size = -{cache_kib}",
                f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
                f"journal_size_limit = {CHECKPOINT_PAGES * 4096}",
            ):
                connection.execute(f"PRAGMA {pragma}").fetchall()
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection to read with; each statement sees the newest commit of any process."""
        with translated(self.path):
            with self._pool_lock:
                self._refuse_closed()
                connection = self._idle.pop() if self._idle else self._connect(READER_CACHE_KIB)
            try:
                yield connection
            finally:
                with self._pool_lock:
                    if self._closed:
                        connection.close()
                    else:
                        self._idle.append(connection)

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A connection whose statements all see one and the same commit."""
        with self.reading() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: fsynced at the end of the block, undone if the block raises."""
        with self._write_lock, translated(self.path):
            self._refuse_closed()
            connection = self._writer
            with self._turnstile.passing():
                connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
                self.commits += 1
            except BaseException:
                if connection.in_transaction:  # a full disk makes SQLite undo it by itself
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def alone(self) -> Iterator[sqlite3.Connection]:
        """The writing connection outside a transaction, for checkpoints and VACUUM."""
        with self._write_lock, translated(self.path):
            self._refuse_closed()
            yield self._writer

    def _refuse_closed(self) -> None:
        if self._closed:
            raise WorkspaceError(f"{self.path} was closed: open the workspace again.")

    def close(self) -> None:
        """Close every connection; the last one out folds the write-ahead log into the file."""
        with self._write_lock, self._pool_lock:
            if self._closed:
                return
            self._closed = True
            idle, self._idle = self._idle, []
            for connection in idle:
                connection.close()
            if hasattr(self, "_writer"):
                self._writer.close()
            self._turnstile.close()
