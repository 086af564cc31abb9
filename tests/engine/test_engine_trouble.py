"""What an engine is told that it cannot use: one line with a code and the cure, and nothing written."""

from __future__ import annotations

import math
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from engine_ingest_child import batch
from engine_shop import CONFIG, ids, made_items, made_log, opened

import wayline
from wayline.engine import Engine, restore
from wayline.engine import open as open_workspace
from wayline.errors import (
    ConfigError,
    DiskFullError,
    NewerWorkspaceError,
    NoWorkspaceError,
    WaylineError,
    WorkspaceError,
    WorkspaceLockedError,
)


@contextmanager
def refused(code: str, *words: str) -> Iterator[None]:
    """The block must raise one line with this code and these words."""
    with pytest.raises(WaylineError) as caught:
        yield
    assert caught.value.code == code
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 500
    for word in words:
        assert word in caught.value.message


LIMITS = [0, 501, -1, math.nan, math.inf, 2.5, "20", True]


@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_that_is_none_is_refused(engine: Engine, limit: Any) -> None:
    with refused("bad_input", "limit"):
        engine.feed("u1", limit=limit)
    with refused("bad_input", "limit"):
        engine.similar("i1", limit=limit)
    if limit != 501:
        with refused("bad_input", "limit"):
            engine.actions("u1", limit=limit)


def test_a_limit_may_be_numpys(engine: Engine) -> None:
    assert len(ids(engine.feed("u1", limit=np.int64(3)))) == 3  # type: ignore[arg-type]  # on purpose


def _forged(text: str) -> str:
    import base64

    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


CURSORS = [
    "",
    "x",
    "not a cursor",
    "é",
    "W" * 10_000_000,
    _forged("[]"),
    _forged("5"),
    _forged('["a", 1, 2]'),
    _forged('["0123456789abcdef", "soon"]'),
    _forged('["0123456789abcdef", -5]'),
    _forged('["0123456789abcdef", Infinity]'),
    _forged('["0123456789abcdef", 1e300]'),
    _forged(f'["0123456789abcdef", {10**40}]'),
    _forged('[["0123456789abcdef"], null]'),
    _forged('["../../etc/passwd", null]'),
    _forged("[" * 100),
    5,
    b"V",
]


@pytest.mark.parametrize("cursor", CURSORS, ids=[repr(c)[:24] for c in CURSORS])
def test_a_cursor_that_is_none_is_refused(engine: Engine, cursor: Any) -> None:
    with refused("bad_input", "cursor"):
        engine.feed("u1", cursor=cursor)


TIMES = [
    -1, math.nan, math.inf, 10**400, "soon", "", "2011-13-45", "2150-01-01", 10**22, True, [], {},
    datetime(2150, 1, 1), datetime(1900, 1, 1),
]  # fmt: skip


@pytest.mark.parametrize("at", TIMES, ids=[repr(t)[:24] for t in TIMES])
def test_a_time_that_is_none_is_refused_by_every_reading(engine: Engine, at: Any) -> None:
    calls: list[Callable[[], object]] = [
        partial(engine.feed, "u1", at=at),
        partial(engine.interests, "u1", at=at),
        partial(engine.actions, "u1", at=at),
        partial(engine.build, until=at),
    ]
    for call in calls:
        with refused("bad_time", "expected"):
            call()
    assert engine.current_generation() == "g000001"


@pytest.mark.parametrize("user", [None, 5, 2.5, ["u1"], b"u1", "\ud800"], ids=repr)
def test_a_person_must_be_named_by_a_text(engine: Engine, user: Any) -> None:
    for call in (engine.feed, engine.interests, engine.actions, engine.forget):
        with refused("bad_input", "user_id"):
            call(user)
    with refused("bad_input", "item_id"):
        engine.item(user)


def test_ids_nobody_has_are_no_trouble(engine: Engine) -> None:
    for user in ("", "x" * 10_000_000, "💐", "'; DROP TABLE users; --", "\x00"):
        assert engine.feed(user, limit=3).cold_start
        assert engine.interests(user) == []
        assert engine.forget(user)["users"] == 0


def test_rows_that_cannot_be_read_are_refused_and_the_rest_is_kept(engine: Engine) -> None:
    good = {"user_id": "new", "item_id": "i1", "ts": 1_700_000_000_000, "action": "buy"}
    rows: list[Any] = [
        good,
        5,
        None,
        "row",
        {},
        {**good, "user_id": "u" * 10_000_000},
        {**good, "item_id": None},
        {**good, "ts": -5},
        {**good, "ts": "soon"},
        {**good, "ts": 4_000_000_000_000},
        {**good, "ts": math.nan},
        {**good, "action": "x" * 10_000_000},
        {**good, "value": math.inf},
        {**good, "item_id": "i2", "ts": 1_700_000_000_001},
    ]
    receipt = engine.add_actions(rows)
    assert receipt.accepted + receipt.duplicates + len(receipt.rejected) == len(rows)
    assert receipt.accepted == 2
    assert sorted({r.index for r in receipt.rejected}) == list(range(1, 13))
    assert all("\n" not in r.reason and len(r.reason) < 300 for r in receipt.rejected)
    assert [a.item_id for a in engine.actions("new")] == ["i2", "i1"]


def test_nothing_is_nothing(engine: Engine) -> None:
    before = engine.stats()["actions"]
    assert engine.add_actions([]).accepted == 0
    assert engine.add_items([]).accepted == 0
    assert engine.stats()["actions"] == before


def test_a_table_without_the_columns_is_refused(engine: Engine) -> None:
    with refused("unknown_columns"):
        engine.add_actions(pl.DataFrame({"a": [1], "b": [2]}))
    with refused("bad_file"):
        engine.add_actions(Path("no such file.csv"))
    for thing in (5, object()):
        with pytest.raises(WaylineError):
            engine.add_actions(thing)


@pytest.mark.parametrize(
    ("vectors", "code"),
    [
        ([[1.0] * 16, [math.nan] * 16], "bad_vector"),
        ([[1.0] * 16, [math.inf] * 16], "bad_vector"),
        ([[1.0] * 7, [1.0] * 7], "dimension_mismatch"),
    ],
)
def test_given_vectors_that_cannot_be_used_leave_the_old_generation(
    folder: Path, tmp_path: Path, vectors: list[list[float]], code: str
) -> None:
    path = tmp_path / "vectors.parquet"
    pl.DataFrame({"item_id": ["i1", "i2"], "vector": vectors}).write_parquet(path)
    with opened(folder, embeddings={"kind": "given", "given": str(path)}) as engine:
        before = engine.feed("u1")
        with refused(code):
            engine.build()
        assert engine.current_generation() == "g000001"
        assert engine.feed("u1").items == before.items
        assert not list((folder / "data" / "generations").glob(".building*"))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"feed": {"limt": 5}}, ("feed.limt", "'limit'")),
        ({"fed": {"limit": 5}}, ("[fed]", "'feed'")),
        ({"feed": {"limit": "many"}}, ("feed.limit", "number")),
        ({"feed": {"limit": 0}}, ("feed.limit", "above 0")),
        ({"feed": {"limit": 2.5}}, ("feed.limit", "whole")),
        ({"feed": {"limit": math.nan}}, ("feed.limit", "number")),
        ({"feed": {"repeat": "alow"}}, ("feed.repeat", "'allow'")),
        ({"feed": 5}, ("feed", "section")),
        ({"actions": {"buy": "much"}}, ("actions.buy", "number")),
        ({"recipe": {"trending.8d": 1.0}}, ("trending.8d", "trending.7d")),
        ({"recipe": {"trending": {"8d": 1.0}}}, ("trending.8d", "trending.7d")),
        ({"recipe": {"mode": "fitt"}}, ("recipe.mode", "'fit'")),
    ],
)
def test_a_setting_that_is_none_is_refused_on_opening(
    folder: Path, config: dict[str, Any], words: tuple[str, ...]
) -> None:
    with refused("bad_config", *words):
        open_workspace(folder, config=config)


def test_a_pin_is_written_as_toml_has_it(folder: Path) -> None:
    (folder / "wayline.toml").write_text(
        '[recipe]\ntrending.30d = 7\n"visit.next.last" = 3\nreturn.related.all = 2\n'
    )
    with open_workspace(folder, config=CONFIG) as engine:
        engine.feed("u1")
        weights = engine._serving.mix(engine._serving.generation())[1].weights
        assert {weights[r]["trending.30d"] for r in weights} == {7}
        assert weights["visit"]["next.last"] == 3
        assert weights["return"]["related.all"] == 2


def test_a_workspace_that_another_program_locks_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wayline.storage.store import open_store

    monkeypatch.setattr("wayline.engine.open_store", partial(open_store, busy_timeout_s=0.2))
    with opened(folder) as engine:
        other = sqlite3.connect(folder / "data" / "wayline.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        try:
            with refused("workspace_locked"):
                engine.add_actions(made_log(users=2, seed=9))
            assert len(ids(engine.feed("u1"))) == 20  # reading goes on
        finally:
            other.execute("ROLLBACK")
            other.close()
        assert engine.add_actions(made_log(users=2, seed=9)).accepted > 0


def test_two_builds_at_once_are_one_too_many(engine: Engine) -> None:
    with engine._generations.lock(), pytest.raises(WorkspaceLockedError):
        engine.build()
    assert engine.build().id == "g000002"


def test_a_newer_workspace_is_refused(folder: Path) -> None:
    with sqlite3.connect(folder / "data" / "wayline.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(NewerWorkspaceError, match="update wayline"):
        open_workspace(folder)
    with sqlite3.connect(folder / "data" / "wayline.db") as connection:
        connection.execute("PRAGMA user_version = 1")
    connection.close()


def test_a_path_that_is_no_workspace_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(NoWorkspaceError, match="wayline init"):
        open_workspace(tmp_path / "nowhere")
    with pytest.raises(NoWorkspaceError):
        open_workspace(file)
    with pytest.raises(WorkspaceError, match="another place"):
        open_workspace(file, create=True)
    with pytest.raises(NoWorkspaceError):
        restore(tmp_path, tmp_path / "target")
    with pytest.raises(NoWorkspaceError):
        restore(file, tmp_path / "target")


def test_a_backup_goes_to_a_new_place_only(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    for taken in (file, tmp_path):
        with pytest.raises(WorkspaceError, match="new place"):
            engine.backup(taken)
    engine.backup(tmp_path / "backup")
    for taken in (file, tmp_path):
        with pytest.raises(WorkspaceError, match="new place"):
            restore(tmp_path / "backup", taken)


@pytest.mark.skipif(os.geteuid() == 0, reason="root: may write everywhere")
def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(WorkspaceError):
        open_workspace(tmp_path / "closed" / "shop", create=True)


def test_a_log_without_wanting_actions_cannot_be_built(tmp_path: Path) -> None:
    with opened(tmp_path / "shop") as engine:
        with refused("nothing_to_build", "wayline import"):
            engine.build()
        engine.add_actions([{"user_id": "u", "item_id": "i", "ts": 5, "action": "lick"}])
        with refused("nothing_to_build", "lick", "[actions]"):
            engine.build()
        assert engine.unknown_actions() == ["lick"]
        assert engine.current_generation() is None
        assert engine.doctor() == []


def test_a_closed_engine_says_so(folder: Path) -> None:
    engine = opened(folder)
    engine.close()
    engine.close()
    with pytest.raises(WorkspaceError, match="closed"):
        engine.feed("u1")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of six megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "wayline-test", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("mount: there is no such program")
    if mounted.returncode:
        pytest.skip(f"mount: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.85, 0.93, 0.99])
def test_a_full_disk_during_a_build_leaves_the_old_generation(
    small_disk: Path, share: float
) -> None:
    with opened(small_disk / "shop") as engine:
        engine.add_items(made_items())
        engine.add_actions(made_log())
        engine.build()
        before = engine.feed("u1", at=1_650_000_000_000).items
        engine.traces.flush()
        generation = small_disk / "shop" / "data" / "generations" / "g000001"
        room = int(share * sum(-(-p.stat().st_size // 4096) * 4096 for p in generation.iterdir()))
        free = os.statvfs(small_disk)
        ballast = small_disk / "ballast"
        ballast.write_bytes(b"x" * (free.f_bavail * free.f_frsize - room))
        with pytest.raises(DiskFullError) as caught:
            engine.build()
        assert "\n" not in caught.value.message
        assert engine.current_generation() == "g000001"
        assert engine.feed("u1", at=1_650_000_000_000).items == before
        ballast.unlink()
        assert engine.build().id == "g000002"
        assert engine.doctor() == []


def test_a_full_disk_during_ingest_keeps_what_was_acknowledged(small_disk: Path) -> None:
    with opened(small_disk / "shop") as engine:
        (small_disk / "ballast").write_bytes(b"x" * (4 << 20))
        accepted = 0

        def fill() -> None:
            nonlocal accepted
            for seed in range(10_000):
                rows = made_log(users=50, seed=seed).with_columns(
                    user_id=pl.lit(f"{seed}-") + pl.col("user_id")
                )
                accepted += engine.add_actions(rows).accepted

        with pytest.raises(DiskFullError, match="full") as caught:
            fill()
        assert "\n" not in caught.value.message
        assert engine.stats()["actions"] == accepted > 0
        with pytest.raises(DiskFullError):
            engine.backup(small_disk / "backup")
        (small_disk / "ballast").unlink()
        assert engine.add_actions(made_log()).accepted > 0
        assert engine.doctor() == []


def test_killed_while_it_ingests_an_engine_loses_nothing_it_acknowledged(folder: Path) -> None:
    child = Path(__file__).with_name("engine_ingest_child.py")
    acknowledged: dict[int, int] = {}
    for seed in range(5):
        process = subprocess.Popen(
            [sys.executable, str(child), str(folder), str(seed)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for line in process.stdout:
            acknowledged[seed] = int(line)
            if acknowledged[seed] >= 8 + 7 * seed:
                process.kill()
                break
        acknowledged[seed] = max([acknowledged[seed], *map(int, process.stdout.read().split())])
        process.wait()
        process.stdout.close()
    with opened(folder) as engine:
        assert engine.doctor() == []
        for seed, last in acknowledged.items():
            rows = {(r["user_id"], r["ts"]) for n in range(last + 1) for r in batch(seed, n)}
            for user in {user for user, _ in rows}:
                found = [(user, a.ts) for a in engine.actions(user, limit=1000)]
                assert len(found) == len(set(found))
                assert {row for row in rows if row[0] == user} <= set(found)


def test_the_package_is_light_until_it_is_used() -> None:
    code = (
        "import sys, wayline; print([m for m in ('numpy', 'torch', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert wayline.open is open_workspace


def test_config_errors_are_input_errors() -> None:
    assert ConfigError.code == "bad_config"
