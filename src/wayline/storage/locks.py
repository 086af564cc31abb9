"""One build at a time: a lock on a file, let go by the kernel when the process ends however it
ends.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from wayline.errors import WorkspaceLockedError


class BuildLock:
    """Held while building, as a context manager.

    Parameters
    ----------
    path : Path
        The lock file; made if it is not there and left behind, since removing it would let two
        builders lock two files.

    Raises
    ------
    WorkspaceLockedError
        On entering, if another process (or another BuildLock of this one) holds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
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
                f"Another build is running in this workspace (process {holder}): wait for it to "
                "end, or stop it."
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
