"""What a workspace takes on its disk."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DiskUse:
    """Bytes by what they are for; ``generations`` by id, oldest first.

    ``database`` is the log with its write-ahead log; ``other`` whatever else lies in the folder. ``free`` is what its
    disk has left for us, and ``size`` the disk's.
    """

    database: int = 0
    generations: dict[str, int] = field(default_factory=dict)
    cache: int = 0
    templates: int = 0
    other: int = 0
    free: int = 0
    size: int = 0

    @property
    def total(self) -> int:
        """Of the workspace."""
        return (
            self.database
            + sum(self.generations.values())
            + self.cache
            + self.templates
            + self.other
        )

    @property
    def backed_up(self) -> int:
        """What a backup copies, about: the cache and the write-ahead log are made anew."""
        return self.database + sum(self.generations.values()) + self.templates


def disk_use(workspace: Path) -> DiskUse:
    """Add up the files of a workspace; what is removed meanwhile counts as nothing. Cost: a look at each file."""
    data = workspace / "data"
    parts = {
        "database": sum(_size(path) for path in data.glob("wayline.db*")),
        "cache": _tree(data / "cache"),
        "templates": _tree(workspace / "templates"),
    }
    generations = {path.name: _tree(path) for path in sorted((data / "generations").glob("g*"))}
    known = sum(parts.values()) + sum(generations.values())
    try:
        disk = shutil.disk_usage(workspace)
        free, size = disk.free, disk.total
    except OSError:
        free = size = 0
    return DiskUse(
        **parts,
        generations=generations,
        other=max(_tree(workspace) - known, 0),
        free=free,
        size=size,
    )


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in a folder, 0 for one that is not there."""
    return _tree(folder)


def _tree(folder: Path) -> int:
    return sum(_size(Path(where) / name) for where, _, names in os.walk(folder) for name in names)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
