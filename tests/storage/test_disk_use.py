"""What a workspace takes on its disk, part by part."""

from __future__ import annotations

from pathlib import Path

import pytest

import wayline
from wayline.errors import WorkspaceError
from wayline.storage.usage import DiskUse, disk_use, folder_bytes


def test_each_part_is_counted_once(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    for name, size in (
        ("wayline.toml", 10), ("notes.txt", 5), ("templates/a/b.txt", 7), ("data/wayline.db", 100),
        ("data/wayline.db-wal", 50), ("data/cache/x/y", 3), ("data/generations/g000001/v.npy", 40),
        ("data/generations/g000002/v.npy", 60), ("data/generations/current", 8),
    ):  # fmt: skip
        (shop / name).parent.mkdir(parents=True, exist_ok=True)
        (shop / name).write_bytes(b"x" * size)
    use = disk_use(shop)
    assert (use.database, use.cache, use.templates, use.other) == (150, 3, 7, 23)
    assert use.generations == {"g000001": 40, "g000002": 60}
    assert use.total == folder_bytes(shop) == 283
    assert 0 < use.free <= use.size


def test_a_folder_that_is_not_there_takes_nothing(tmp_path: Path) -> None:
    assert disk_use(tmp_path / "gone") == DiskUse()


@pytest.mark.parametrize("inside", ["copy", "data/generations/copy", "data/../data/copy"])
def test_a_backup_into_the_workspace_itself_is_refused(tmp_path: Path, inside: str) -> None:
    with wayline.open(tmp_path / "shop", create=True) as engine:
        with pytest.raises(WorkspaceError, match="outside of it"):
            engine.backup(tmp_path / "shop" / inside)
        assert not (tmp_path / "shop" / inside).exists()
