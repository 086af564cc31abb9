"""Packed histories: nobody can tell from any answer, and no action is lost or counted twice."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayline.storage import Store, open_store
from wayline.storage.sqlite import packed
from wayline.storage.sqlite.schema import MIGRATIONS
from wayline.storage.sqlite.store import SqliteStore

Identity = tuple[str, int, str, str]  # user, time, item, action


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes at which a few dozen actions are a long history."""
    for name, size in (("KEEP_ROWS", 3), ("WORTH_ROWS", 2), ("CHUNK_ROWS", 4), ("MOVE_ROWS", 6)):
        monkeypatch.setattr(packed, name, size)


def plain_frame(rows: list[Identity]) -> pl.DataFrame:
    columns = {"user_id": pl.String, "ts_ms": pl.Int64, "item_id": pl.String, "action": pl.String}
    return pl.DataFrame(rows, schema=columns, orient="row")


def pack_all(store: Store, user_key: int) -> int:
    total = 0
    while moved := store.pack_history(user_key):
        total += moved
    return total


def read(store: Store, user_key: int, **asked: Any) -> list[tuple[int, int, str, str]]:
    """(time, position, item, action), newest first."""
    rows = store.user_actions(user_key, **asked)
    names = store.action_names()
    return list(
        zip(
            rows.ts_ms.tolist(),
            rows.position.tolist(),
            store.item_ids(rows.item_key),
            [names[key - 1] for key in rows.action_key],
            strict=True,
        )
    )


def count(path: Path, table: str) -> int:
    with sqlite3.connect(path) as connection:
        found = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    connection.close()
    return int(found)


ACTION = st.tuples(
    st.sampled_from("uv"), st.integers(0, 12), st.sampled_from("abc"), st.sampled_from(["x", "y"])
)
STEP = st.one_of(
    st.lists(ACTION, min_size=1, max_size=12),  # appended together
    st.sampled_from([1, 2]),  # this person is packed
)


@pytest.mark.usefixtures("small")
@settings(max_examples=60)
@given(st.lists(STEP, min_size=1, max_size=14), st.integers(0, 13), st.integers(0, 12))
def test_packing_changes_no_answer(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Any], until: int, limit: int
) -> None:
    """Out of order, repeated, packed in between: a plain list without duplicates, sorted by time."""
    plain: dict[Identity, int] = {}
    with open_store(tmp_path_factory.mktemp("w") / "wayline.db", create=True) as store:
        for step in steps:
            if isinstance(step, int):
                store.pack_history(step)
                continue
            fresh = [row for row in dict.fromkeys(step) if row not in plain]
            outcome = store.append_actions(plain_frame(step))
            assert (outcome.accepted, outcome.duplicates) == (len(fresh), len(step) - len(fresh))
            positions = [p for part in store.scan_actions() for p in part.position.tolist()]
            fresh_positions = positions[len(plain) :]
            plain.update(zip(fresh, fresh_positions, strict=True))
            assert positions == sorted(set(positions))
        for user in "uv":
            key = store.user_key(user) or 99
            mine = sorted(
                [(ts, position, item, action) for (u, ts, item, action), position in plain.items() if u == user],
                reverse=True,
            )  # fmt: skip
            assert read(store, key) == mine
            past = [row for row in mine if row[0] <= until]
            assert read(store, key, until_ts_ms=until, limit=limit) == past[:limit]
            records = store.action_records(user, limit=None)
            assert [(r.ts, r.item_id, r.action) for r in records] == [
                (ts, item, action) for ts, _, item, action in mine
            ]
        assert store.check() == []


@pytest.mark.usefixtures("small")
def test_everything_that_came_with_an_action_outlives_packing(
    store: Store, frame: Any, path: Path
) -> None:
    rows = [
        {
            "user_id": "u",
            "item_id": f"i{n % 7}",
            "ts_ms": 100 - n,
            "action": "buy",
            "value": None if n % 3 else n / 7,
            "surface": "home" if n % 4 else None,
            "request_id": f"r{n}" if n % 5 else None,
            "query": f"q{n}" if n % 2 else None,
            "action_id": f"a{n}" if n % 3 == 1 else None,
        }
        for n in range(30)
    ]
    store.append_actions(frame(rows))
    before = store.action_records("u", limit=None)
    assert pack_all(store, 1) >= 25
    assert count(path, "actions") <= 5
    assert store.action_records("u", limit=None) == before
    assert store.append_actions(frame(rows)).duplicates == 30
    # The same action under an id of its own is another one, as it would be in the table.
    again = [{**row, "action_id": f"other {n}"} for n, row in enumerate(rows)]
    assert store.append_actions(frame(again)).accepted == 30
    assert store.append_actions(frame(again)).duplicates == 30


@pytest.mark.usefixtures("small")
def test_a_forgotten_person_leaves_no_packed_history(store: Store, path: Path) -> None:
    rows = [("u", n, f"i{n % 5}", "view") for n in range(40)]
    others = [("v", n, "i1", "view") for n in range(40)]
    store.append_actions(plain_frame(rows + others))
    pack_all(store, 1)
    pack_all(store, 2)
    removed = store.forget_user("u")
    assert removed["actions"] == 40
    assert store.user_actions(1).position.size == 0
    assert store.count_actions() == 40
    assert len(store.user_actions(2)) == 40
    with sqlite3.connect(path) as connection:
        found = connection.execute("SELECT DISTINCT user_key FROM histories").fetchall()
    connection.close()
    assert found == [(2,)]


@pytest.mark.usefixtures("small")
def test_no_byte_of_a_packed_persons_queries_stays(store: Store, frame: Any, path: Path) -> None:
    rows = [
        {
            "user_id": "person-with-a-long-history",
            "item_id": "i",
            "ts_ms": n,
            "action": "search",
            "query": f"what nobody may know {n}",
        }
        for n in range(300)
    ]
    store.append_actions(frame(rows))
    pack_all(store, 1)
    removed = store.forget_user("person-with-a-long-history")
    assert (removed["actions"], removed["action_details"]) == (300, 300)
    left = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert b"nobody may know" not in left
    assert b"with-a-long-history" not in left


@pytest.mark.usefixtures("small")
def test_a_late_action_takes_its_place_and_its_chunk_at_the_next_packing(
    store: Store, path: Path
) -> None:
    store.append_actions(plain_frame([("u", 10 * n, f"i{n}", "view") for n in range(40)]))
    pack_all(store, 1)
    chunks = count(path, "histories")
    assert store.append_actions(plain_frame([("u", 55, "late", "view")])).accepted == 1
    assert store.append_actions(plain_frame([("u", 55, "late", "view")])).duplicates == 1
    assert [item for *_, item, _ in read(store, 1)][-8:-4] == ["i6", "late", "i5", "i4"]
    store.append_actions(plain_frame([("u", 500 + n, f"i{n}", "view") for n in range(9)]))
    pack_all(store, 1)
    assert count(path, "histories") > chunks
    assert [item for *_, item, _ in read(store, 1)][-8:-4] == ["i6", "late", "i5", "i4"]


@pytest.mark.usefixtures("small")
def test_a_backup_and_another_process_see_packed_histories(
    store: Store, path: Path, tmp_path: Path
) -> None:
    store.append_actions(plain_frame([("u", n, f"i{n % 5}", "view") for n in range(40)]))
    with open_store(path) as other:
        before = read(other, 1)
        pack_all(store, 1)
        assert read(other, 1) == before
        assert other.append_actions(plain_frame([("u", 7, "i2", "view")])).duplicates == 1
    store.backup(tmp_path / "copy.db")
    with open_store(tmp_path / "copy.db") as copy:
        assert read(copy, 1) == before
        assert copy.check() == []


@pytest.mark.usefixtures("small")
def test_a_read_while_others_append_and_pack_is_one_moment_of_the_history(
    store: Store, path: Path
) -> None:
    """Never a row twice, never one gone that was there before, always in order."""
    done = threading.Event()
    problems: list[BaseException] = []

    def append() -> None:
        try:
            with open_store(path) as other:
                for n in range(0, 600, 4):
                    rows = [("u", (7 * m) % 601, f"i{m}", "view") for m in range(n, n + 4)]
                    other.append_actions(plain_frame(rows))
        except BaseException as error:
            problems.append(error)
        finally:
            done.set()

    def pack() -> None:
        try:
            while not done.is_set():
                store.pack_history(1)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=append), threading.Thread(target=pack)]
    for thread in threads:
        thread.start()
    before: set[int] = set()
    while not done.is_set():
        rows = read(store, 1)
        positions = {position for _, position, _, _ in rows}
        assert rows == sorted(rows, reverse=True)
        assert len(positions) == len(rows)
        assert before <= positions
        before = positions
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(read(store, 1)) == 600


@pytest.mark.usefixtures("small")
def test_a_damaged_packed_history_is_found_and_named(path: Path) -> None:
    with open_store(path, create=True) as store:
        store.append_actions(plain_frame([("u", n, f"i{n % 5}", "view") for n in range(40)]))
        pack_all(store, 1)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE histories SET columns = x'00' WHERE number = 1")
    connection.close()
    with open_store(path) as store:
        (line,) = store.check()
        assert "is damaged" in line
        assert "a packed history" in line
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM histories WHERE number = 1")
        connection.execute("UPDATE histories SET last_ts_ms = 1000 WHERE number = 2")
    connection.close()
    with open_store(path) as store:
        lines = store.check()
    assert "packed history 2 of person 1 is out of order" in lines
    assert any("differ" in line for line in lines)


def test_packing_waits_until_it_is_worth_it(store: Store) -> None:
    rows = packed.KEEP_ROWS + packed.WORTH_ROWS - 1
    store.append_actions(plain_frame([("u", n, "i", "view") for n in range(rows)]))
    assert store.pack_history(1) == 0
    assert store.long_histories().tolist() == []
    store.append_actions(plain_frame([("u", rows, "i", "view")]))
    assert store.long_histories().tolist() == [1]
    assert store.pack_history(1) == packed.WORTH_ROWS
    assert store.pack_history(1) == 0
    assert store.pack_history(99) == 0


def test_a_hundred_thousand_actions_of_one_person_at_one_time_can_be_packed(store: Store) -> None:
    items = [f"i{n}" for n in range(20_000)]
    everything = pl.DataFrame({"item_id": items}).with_columns(
        pl.lit("u").alias("user_id"), pl.lit(5).cast(pl.Int64).alias("ts_ms"), pl.lit("v").alias("action")
    )  # fmt: skip
    store.append_actions(everything)
    assert pack_all(store, 1) == 20_000
    assert store.append_actions(everything).duplicates == 20_000
    assert store.user_actions(1).position.tolist() == list(range(20_000, 0, -1))


def test_a_version_of_before_gains_the_table(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wayline.storage.sqlite import schema

    path.parent.mkdir()
    old = MIGRATIONS[:2]
    monkeypatch.setattr(schema, "MIGRATIONS", old)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN")
    for step in old:
        step(connection)
    connection.execute("PRAGMA user_version = 2")
    connection.execute("COMMIT")
    connection.close()
    monkeypatch.undo()
    with open_store(path) as store:
        store.append_actions(plain_frame([("u", n, "i", "view") for n in range(1_600)]))
        assert store.pack_history(1) > 0
        assert store.check() == []


def test_fifty_thousand_actions_out_of_order_end_in_sorted_histories(store: Store) -> None:
    """In batches through the store, some sent twice, people packed in between; against plain lists."""
    assert isinstance(store, SqliteStore)
    rng = np.random.default_rng(11)
    rows, people = 50_000, 20
    user = np.minimum(rng.geometric(0.2, rows) - 1, people - 1)
    sent = pl.DataFrame(
        {
            "user_id": [f"u{u}" for u in user],
            "item_id": [f"i{i}" for i in rng.integers(0, 300, rows)],
            "ts_ms": rng.integers(0, 40_000, rows),
            "action": rng.choice(["view", "buy"], rows),
        }
    )
    for number, batch in enumerate(sent.iter_slices(2_500)):
        store.append_actions(batch)
        if number % 3 == 0:
            store.append_actions(sent.slice(max(0, (number - 1) * 2_500), 2_500))
        for user_key in store.long_histories().tolist()[:3]:
            pack_all(store, user_key)
    expected = sent.unique(maintain_order=True)
    assert store.count_actions() == len(expected)
    for u in range(people):
        mine = expected.filter(pl.col("user_id") == f"u{u}").sort("ts_ms", maintain_order=True)
        got = read(store, store.user_key(f"u{u}") or 0)[::-1]
        assert [(ts, item, action) for ts, _, item, action in got] == list(
            mine.select("ts_ms", "item_id", "action").iter_rows()
        )
