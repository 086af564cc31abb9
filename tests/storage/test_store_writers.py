"""Many writers: threads that share a commit, processes that share a file, and those that die."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from ingest_child import batch

from wayline.errors import InputError, WorkspaceError, WorkspaceLockedError
from wayline.storage import Appended, BuildLock, Store, open_store
from wayline.storage.locks import Turnstile
from wayline.storage.sqlite.group import GroupCommit
from wayline.storage.sqlite.schema import FORMAT_VERSION, migrate, version_of
from wayline.storage.sqlite.store import SqliteStore

HERE = Path(__file__).parent
KILLS = 20


def test_every_acknowledged_action_survives_twenty_kills(path: Path) -> None:
    acknowledged: set[tuple[int, int]] = set()
    for seed in range(KILLS):
        child = subprocess.Popen(
            [sys.executable, str(HERE / "ingest_child.py"), str(path), str(seed)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        with child, child.stdout:
            for _ in range(seed % 7 + 1):
                acknowledged.add((seed, int(child.stdout.readline())))
            child.kill()  # somewhere in the batch after
            acknowledged |= {(seed, int(line)) for line in child.stdout if line.endswith("\n")}
        assert child.returncode == -9
    expected = pl.concat([batch(*at) for at in sorted(acknowledged)])
    with open_store(path) as store:
        assert store.check() == []
        before = store.count_actions()
        again = store.append_actions(expected)
        assert (again.accepted, again.duplicates) == (0, len(expected))
        _assert_each_once(store, before)


def _assert_each_once(store: Store, count: int) -> None:
    parts = list(store.scan_actions())
    identities = np.concatenate(
        [np.stack([p.user_key, p.ts_ms, p.item_key, p.action_key]) for p in parts], axis=1
    )
    assert identities.shape[1] == count == store.count_actions()
    assert np.unique(identities, axis=1).shape[1] == count


def test_threads_share_commits_and_each_gets_its_own_counts(store: Store, frame: Any) -> None:
    assert isinstance(store, SqliteStore)
    before = store.commits
    calls, threads = 160, 16
    together = threading.Barrier(threads)

    def call(number: int) -> Appended:
        if number < threads:
            together.wait()
        rows = [(f"u{number % 5}", f"i{number}-{i}", i, "view") for i in range(3)]
        return store.append_actions(frame([*rows, ("u", "common", 1, "view")]))

    with ThreadPoolExecutor(threads) as pool:
        outcomes = list(pool.map(call, range(calls)))
    assert sum(o.accepted for o in outcomes) == 3 * calls + 1 == store.count_actions()
    assert sum(o.duplicates for o in outcomes) == calls - 1
    assert all(o.accepted in (3, 4) for o in outcomes)
    assert store.commits - before < calls / 2
    spans = sorted((o.first_position, o.last_position) for o in outcomes)
    assert all(a[1] < b[0] for a, b in pairwise(spans))


def test_a_group_that_fails_fails_for_all_who_were_in_it_and_no_one_after() -> None:
    entered, proceed = threading.Event(), threading.Event()
    groups: list[int] = []

    def write(frames: list[pl.DataFrame]) -> list[Appended]:
        groups.append(len(frames))
        if len(groups) == 1:
            entered.set()
            proceed.wait()
        if len(groups) == 2:
            raise InputError("no")
        return [Appended(len(f), 0, 1, 1) for f in frames]

    group = GroupCommit(write)
    one = pl.DataFrame({"x": [1]})
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(group, one)
        entered.wait()
        others = [pool.submit(group, one) for _ in range(3)]
        while len(group._waiting) < 3:
            pass  # until all three stand in line
        proceed.set()
        assert first.result().accepted == 1
        assert [type(o.exception()) for o in others] == [InputError] * 3
    assert group(one).accepted == 1
    assert groups == [1, 3, 1]


def test_two_processes_never_give_two_keys_to_an_id(path: Path, frame: Any) -> None:
    open_store(path, create=True).close()
    script = (
        "import sys; from pathlib import Path; import polars as pl; from wayline.storage import "
        "open_store\n"
        "with open_store(Path(sys.argv[1])) as s:\n"
        "    print('ready', flush=True); sys.stdin.readline(); n = 0\n"
        "    for k in range(40):\n"
        "        ids = [f'id{k * 20 + j}' for j in range(50)]\n"
        "        n += "
        "s.append_actions(pl.DataFrame({'user_id': ids, 'item_id': ids, 'ts_ms': range(50),\n"
        "            'action': ['view'] * 50})).accepted\n"
        "    print(n)\n"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    accepted = 0
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        accepted += int(child.communicate()[0])
        assert child.returncode == 0
    with open_store(path) as store:
        assert store.check() == []
        assert store.count_actions() == accepted
        assert store.count_users() == store.count_items() == 39 * 20 + 50
        keys = store.user_keys([f"id{i}" for i in range(830)])
        assert sorted(keys.tolist()) == list(range(1, 831))


@pytest.mark.parametrize("when", ["user_version", "application_id", "sqlite_master"])
def test_a_file_that_another_makes_meanwhile_is_read_as_of_one_moment(
    path: Path, when: str
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ours, theirs = (sqlite3.connect(path, isolation_level=None) for _ in range(2))
    theirs.execute("PRAGMA journal_mode = WAL")
    made: list[str] = []

    def meanwhile(statement: str) -> None:
        if when in statement and not made:
            made.append(statement)
            theirs.execute("BEGIN IMMEDIATE")
            migrate(theirs, 0, path)
            theirs.execute("COMMIT")

    ours.set_trace_callback(meanwhile)
    assert version_of(ours, path) in (0, FORMAT_VERSION)
    assert made
    assert version_of(ours, path) == FORMAT_VERSION
    assert not ours.in_transaction
    ours.close()
    theirs.close()


def test_a_workspace_made_by_many_at_once_is_made_once(path: Path, frame: Any) -> None:
    together = threading.Barrier(8)

    def make(number: int) -> int:
        together.wait()
        with open_store(path, create=True) as store:
            return store.append_actions(frame([("u", f"i{number}", 1, "view")])).accepted

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(make, range(8))) == [1] * 8
    with open_store(path) as store:
        assert store.count_actions() == 8
        assert store.check() == []


def test_who_waits_to_write_keeps_the_others_from_overtaking(path: Path, frame: Any) -> None:
    with (
        open_store(path, create=True) as patient,
        open_store(path, busy_timeout_s=0.0) as hasty,
        ThreadPoolExecutor(1) as pool,
    ):
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        waiting = pool.submit(patient.append_actions, frame([("u", "first", 1, "view")]))
        while _turnstile_is_free(path):
            pass  # until it stands in line
        with pytest.raises(WorkspaceLockedError, match="have waited to write"):
            hasty.append_actions(frame([("u", "second", 1, "view")]))
        other.execute("ROLLBACK")
        other.close()
        assert waiting.result().first_position == 1
        assert hasty.append_actions(frame([("u", "second", 1, "view")])).first_position == 2


def _turnstile_is_free(path: Path) -> bool:
    look = Turnstile(path.with_name(path.name + "-turn"), 0.0)
    try:
        with look.passing():
            return True
    except WorkspaceLockedError:
        return False
    finally:
        look.close()


def test_a_reader_sees_what_another_opener_commits(store: Store, path: Path, frame: Any) -> None:
    with open_store(path, read_only=True) as reader:
        assert reader.position() == 0
        store.append_actions(frame([("u", "i", 1, "view")]))
        assert reader.position() == 1
        assert reader.user_key("u") == 1
        assert [r.item_id for r in reader.action_records("u")] == ["i"]
        with pytest.raises(WorkspaceError, match="read_only"):
            reader.append_actions(frame([("u", "i", 2, "view")]))


def test_a_second_build_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    lock = tmp_path / "generations" / "build.lock"
    said = pytest.raises(WorkspaceLockedError, match="Another build is running")
    with BuildLock(lock), said, BuildLock(lock):
        pass
    with BuildLock(lock):
        pass


def test_a_killed_build_lets_go_of_its_lock(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from wayline.storage.locks import BuildLock\n"
        "with BuildLock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()\n"
    )
    lock = tmp_path / "build.lock"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(WorkspaceLockedError, match=str(child.pid)), BuildLock(lock):
            pass
        child.kill()
    with BuildLock(lock):
        pass
