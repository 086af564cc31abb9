"""Notifications as lines of a file, for whoever delivers them further."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from wayline.errors import WorkspaceError
from wayline.notifications.delivery.channel import SENT, Message, Outcome
from wayline.storage.disk import full_disk_said, sync


class FileChannel:
    """Appends one JSON line a notification, fsynced; an id that is in the file is not written again.

    A line that a crash cut off is removed before the next is written: its notification was never marked as sent, so it
    comes again. The file may be moved away between two lines (rotation): a new one is begun, and what a crash left
    unmarked may then stand in both.

    Parameters
    ----------
    path : Path
    """

    name = "file"
    needs_address = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: set[str] = set()
        self._seen: tuple[int, int] | None = None  # inode and size when `_known` was right

    def deliver(self, message: Message, address: str | None) -> Outcome:
        """See ``Channel.deliver``."""
        line = json.dumps(message.content(), ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        try:
            with full_disk_said(self.path):
                self._append(message.id, line)
        except OSError as error:
            raise WorkspaceError(
                f"{str(self.path)!r} cannot be written ({error.strerror}): mend that, or set notifications.file_path."
            ) from None
        return SENT

    def _append(self, id_: str, line: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._catch_up(file)
            if id_ not in self._known:
                written = 0
                while written < len(line):
                    written += os.write(file, line[written:])
                os.fsync(file)
                if self._seen is None or not self._known:
                    sync(self.path.parent)  # the name of a new file lasts, too
                self._known.add(id_)
            self._seen = _inode_and_size(file)
        finally:
            os.close(file)

    def _catch_up(self, file: int) -> None:
        """Read the ids of a file that is not as it was left, and take a torn last line away."""
        if _inode_and_size(file) == self._seen:
            return
        whole = 0
        self._known = set()
        with open(self.path, "rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                self._known.add(_id_of(line))
        if whole < os.fstat(file).st_size:
            os.ftruncate(file, whole)
        os.fsync(file)  # who wrote these lines may have died before it did

    def close(self) -> None:
        """See ``Channel.close``; nothing is held open."""


def _inode_and_size(file: int) -> tuple[int, int]:
    status = os.fstat(file)
    return status.st_ino, status.st_size


def _id_of(line: bytes) -> str:
    """The id of a line, empty for what is none of ours."""
    try:
        found = json.loads(line)
    except ValueError:
        return ""
    return str(found.get("id", "")) if isinstance(found, dict) else ""
