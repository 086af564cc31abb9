"""Making files durable, and saying plainly when there is no room."""

from __future__ import annotations

import errno
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from wayline.errors import DiskFullError

UNKNOWN_ROOM = 1 << 62
FULL = (errno.ENOSPC, errno.EDQUOT)
FULL_TEXT = re.compile(
    rf"\(os error ({errno.ENOSPC}|{errno.EDQUOT})\)|\d requested and \d+ written$"
)


def room_bytes(path: Path) -> int:
    """Bytes free where ``path`` lies; huge if its folder is not there, which is no question of
    room.
    """
    try:
        status = os.statvfs(path.parent)
    except OSError:
        return UNKNOWN_ROOM
    return status.f_bavail * status.f_frsize


def disk_full(path: Path) -> DiskFullError:
    """The error to raise when a write at ``path`` met a full disk."""
    return DiskFullError(
        f"The disk of {path} is full ({room_bytes(path):,} bytes free), nothing of this write was "
        "kept: "
        "free some space and try again."
    )


@contextmanager
def full_disk_said(path: Path) -> Iterator[None]:
    """Turn ENOSPC and EDQUOT inside the block into DiskFullError; other errors pass.

    polars says so only in the text of an error of its own, numpy of an array that it "992 written".
    """
    try:
        yield
    except (OSError, PolarsError) as error:
        if getattr(error, "errno", None) in FULL or FULL_TEXT.search(str(error)):
            raise disk_full(path) from error
        raise


def write_frame(frame: pl.DataFrame, path: Path) -> None:
    """Write a Parquet file by way of memory: on a full disk polars says anything but that."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    path.write_bytes(buffer.getbuffer())


def sync(path: Path) -> None:
    """Fsync a file, or a folder so that the names in it last."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_text(path: Path, text: str) -> None:
    """Write a small file so that a crash leaves the old text or the new one, never a part."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, "utf-8")
    sync(part)
    part.replace(path)
    sync(path.parent)
