"""Full disks, foreign, damaged, locked and newer files: one line each, and nothing acknowledged is
lost.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from wayline.errors import (
    DiskFullError,
    NewerWorkspaceError,
    NoWorkspaceError,
    WaylineError,
    WorkspaceError,
    WorkspaceLockedError,
)
from wayline.storage import Generations, open_store
from wayline.storage.sqlite.schema import FORMAT_VERSION
from wayline.storage.sqlite.store import SqliteStore


def _one_line(error: WaylineError) -> bool:
    return "\n" not in error.message and len(error.message) < 400


def _thousand(frame: Any, number: int) -> pl.DataFrame:
    rows = [(f"user-{number}-{i}", f"item-{i}", i, "view") for i in range(1000)]
    actions: pl.DataFrame = frame(rows)
    return actions


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of six megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=6m", "wayline-test", str(folder)],
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("mount: there is no such program")
    if mounted.returncode:
        pytest.skip(f"mount: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_keeps_what_was_acknowledged_and_can_be_used_again(
    small_disk: Path, frame: Any
) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (1 << 20))
    path = small_disk / "wayline.db"
    store = open_store(path, create=True)
    acknowledged: list[int] = []

    def fill() -> None:
        for number in range(1000):
            store.append_actions(_thousand(frame, number))
            acknowledged.append(number)

    with pytest.raises(DiskFullError, match="full") as caught:
        fill()
    assert _one_line(caught.value)
    assert acknowledged
    assert store.count_actions() == 1000 * len(acknowledged)
    with pytest.raises(DiskFullError):
        store.append_actions(_thousand(frame, len(acknowledged)))
    store.close()

    ballast.unlink()
    with open_store(path) as again:
        assert again.check() == []
        for number in acknowledged:
            assert again.append_actions(_thousand(frame, number)).duplicates == 1000
        assert again.append_actions(_thousand(frame, len(acknowledged))).accepted == 1000
        assert again.check() == []


def test_a_build_on_a_full_disk_leaves_the_old_generation(small_disk: Path) -> None:
    generations = Generations(small_disk / "generations")
    with generations.begin() as writer:
        (writer.path / "small").write_bytes(b"x")
        first = writer.publish({})
    (small_disk / "ballast").write_bytes(b"x" * (5 << 20))
    with generations.begin() as writer:
        room = os.statvfs(small_disk)
        (writer.path / "rest").write_bytes(b"x" * (room.f_bavail * room.f_frsize))
        with pytest.raises(DiskFullError):
            writer.publish({})
    assert generations.current() == first
    assert generations.verify(first) == []


@pytest.mark.parametrize("where", [0, 20_000])
def test_a_damaged_file_is_one_line_with_the_cure(path: Path, frame: Any, where: int) -> None:
    with open_store(path, create=True) as store:
        store.append_actions(frame([(f"u{i}", f"i{i}", i, "view") for i in range(3000)]))
    with path.open("r+b") as file:
        file.seek(where)
        file.write(os.urandom(40_000))

    def read_everything() -> None:
        with open_store(path) as store:
            assert store.check()
            for user in range(3000):
                store.action_records(f"u{user}")
            list(store.scan_actions())

    with pytest.raises(WorkspaceError, match="wayline restore") as caught:
        read_everything()
    assert _one_line(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a database at all, but long enough to be one" * 9])
def test_what_is_not_a_database_is_not_opened(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(WorkspaceError) as caught:
        open_store(path)
    assert _one_line(caught.value)
    assert path.read_bytes() == content


def test_another_programs_database_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(WorkspaceError, match="another program"):
        open_store(path, create=True)
    assert path.read_bytes() == before


def test_no_workspace_is_said_and_none_is_made(path: Path) -> None:
    with pytest.raises(NoWorkspaceError, match="wayline init"):
        open_store(path)
    with pytest.raises(NoWorkspaceError):
        open_store(path, create=True, read_only=True)
    assert not path.parent.exists()


def test_a_workspace_is_as_good_as_its_file(tmp_path: Path, frame: Any) -> None:
    with open_store(tmp_path / "shop", create=True) as store:
        store.append_actions(frame([("u", "i", 1, "view")]))
    with open_store(tmp_path / "shop" / "data" / "wayline.db") as store:
        assert store.count_actions() == 1


def test_a_newer_workspace_is_not_touched(path: Path) -> None:
    open_store(path, create=True).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {FORMAT_VERSION + 1}")
    connection.close()
    with pytest.raises(NewerWorkspaceError, match="pip install --upgrade wayline") as caught:
        open_store(path)
    assert _one_line(caught.value)


def test_a_locked_database_says_so_and_works_afterwards(path: Path, frame: Any) -> None:
    with open_store(path, create=True, busy_timeout_s=0.05) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(WorkspaceLockedError, match="Another process") as caught:
            store.append_actions(frame([("u", "i", 1, "view")]))
        assert _one_line(caught.value)
        assert store.position() == 0  # readers do not wait
        other.execute("ROLLBACK")
        other.close()
        assert store.append_actions(frame([("u", "i", 1, "view")])).accepted == 1


def test_forgetting_while_another_reads_says_what_is_left_to_do(path: Path, frame: Any) -> None:
    with open_store(path, create=True, busy_timeout_s=0.05) as store:
        store.append_actions(frame([("who-am-i-to-you", "i", 1, "view")]))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM users").fetchall()
        with pytest.raises(WorkspaceLockedError, match="forget them once more"):
            store.forget_user("who-am-i-to-you")
        assert store.user_key("who-am-i-to-you") is None
        other.execute("ROLLBACK")
        other.close()
        assert store.forget_user("who-am-i-to-you")["users"] == 0
        left = b"".join(p.read_bytes() for p in path.parent.iterdir())
        assert b"who-am-i-to-you" not in left


def test_a_closed_store_says_that_it_is_closed(path: Path, frame: Any) -> None:
    store = open_store(path, create=True)
    store.position()
    store.close()
    store.close()
    for call in (store.position, lambda: store.append_actions(frame([("u", "i", 1, "view")]))):
        with pytest.raises(WorkspaceError, match="closed"):
            call()


def test_a_failed_append_leaves_nothing(path: Path, frame: Any, monkeypatch: Any) -> None:
    from wayline.storage.sqlite import log

    with open_store(path, create=True) as store:
        with monkeypatch.context() as patch:
            patch.setattr(log, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "no space")))
            with pytest.raises(DiskFullError):
                store.append_actions(frame([("u", "i", 1, "view")]))
        assert (store.count_users(), store.position(), store.check()) == (0, 0, [])
        # The keys given in what was undone are not remembered.
        store.append_actions(frame([("other", "j", 1, "view"), ("u", "i", 1, "view")]))
        assert store.user_keys(["other", "u"]).tolist() == [1, 2]
        assert store.check() == []


def test_check_finds_what_is_wrong(path: Path, frame: Any) -> None:
    store = open_store(path, create=True)
    store.append_actions(frame([(f"u{i % 3}", f"i{i}", i, "view") for i in range(9)]))
    assert isinstance(store, SqliteStore)
    harm = {
        "differ": "UPDATE actions SET position = position + 1 WHERE user_key = 1",
        "unknown items": "UPDATE actions SET item_key = 99 WHERE ts_ms = 3",
        "users has 4 rows": "INSERT INTO users VALUES (7, 'skipped')",
        "forgotten": "UPDATE users SET user_id = NULL WHERE user_key = 2",
        "stored twice": "UPDATE actions SET twin = 5555 WHERE ts_ms = 1",
        "without their action": "INSERT INTO action_details (position) VALUES (1000)",
        "do not add up": "INSERT INTO requests VALUES "
        "(1,'r','r',0,0,0,NULL,'','',2,x'00',NULL,1,NULL,NULL)",
        "overlap": "INSERT INTO log SELECT last_position + 1, 5, 9, 0, columns FROM log",
    }
    for expected, statement in harm.items():
        with store._connections.alone() as connection:
            connection.execute("SAVEPOINT harm")
            connection.execute(statement)
            connection.execute("RELEASE harm")
        assert any(expected in line for line in store.check()), (expected, store.check())
    store.close()


def test_a_backup_is_a_store_of_its_own(path: Path, tmp_path: Path, frame: Any) -> None:
    target = tmp_path / "kept" / "monday.db"
    with open_store(path, create=True) as store:
        store.append_actions(frame([("u", "i", 1, "view")]))
        store.backup(target)
        store.append_actions(frame([("u", "i", 2, "view")]))
        store.backup(target)
        store.append_actions(frame([("u", "i", 3, "view")]))
    assert [p.name for p in target.parent.iterdir()] == ["monday.db"]
    with open_store(target) as copy:
        assert copy.count_actions() == 2
        assert copy.check() == []
        assert copy.append_actions(frame([("u", "i", 3, "view")])).accepted == 1
