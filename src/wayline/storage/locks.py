"""Locks on files, let go by the kernel when the process ends however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from wayline.errors import WorkspaceLockedError


class BuildLock:
    """Held while building, or while doing something else that only one may do, as a context manager.

    Parameters
    ----------
    path : Path
        The lock file; made if it is not there and left behind, since removing it would let two
        builders lock two files.
    doing : str
        What it is held for, as the error names it.

    Raises
    ------
    WorkspaceLockedError
        On entering, if another process (or another BuildLock of this one) holds it.
    """

    def __init__(self, path: Path, doing: str = "build") -> None:
        self.path = path
        self.doing = doing
        self._file: int | None = None

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(file, 64, 0).decode(errors="replace").strip() or "unknown"
            os.close(file)
            raise WorkspaceLockedError(
                f"Another {self.doing} is running in this workspace (process {holder}): wait for it "
                "to end, or stop it."
            ) from None
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file = file
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class Turnstile:
    """Lets writers of several processes in one after the other.

    SQLite's own lock is polled, so a process that writes without pause (an import) can keep another
    waiting for as long as it likes. Who waits for that lock holds this one; who has just written
    must pass here first, and so comes after.

    Parameters
    ----------
    path : Path
        The lock file; made by the first writer and left behind.
    timeout_s : float
        How long to wait.
    """

    POLL_S = 0.002

    def __init__(self, path: Path, timeout_s: float) -> None:
        self.path = path
        self.timeout_s = timeout_s
        self._file: int | None = None

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Hold it for the block; one thread of the process at a time.

        Raises
        ------
        WorkspaceLockedError
            If others stand in it for longer than the timeout.
        """
        if self._file is None:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        deadline = time.monotonic() + self.timeout_s
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise WorkspaceLockedError(
                        f"Other processes have waited to write past {self.path} for "
                        f"{self.timeout_s:g} seconds: stop what holds the database, and try again."
                    ) from None
                time.sleep(self.POLL_S)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
