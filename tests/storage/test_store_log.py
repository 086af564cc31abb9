"""The log against a plain list: what is accepted, in what order it reads back, and how it is
packed.
"""

from __future__ import annotations

import tempfile
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wayline.errors import InputError
from wayline.schema import ActionColumns
from wayline.storage import Store, open_store
from wayline.storage.sqlite import log as sqlite_log
from wayline.storage.sqlite.chunks import CHUNK_ROWS, concat, decode, empty, encode, take
from wayline.storage.sqlite.packed import TAIL
from wayline.storage.sqlite.store import SqliteStore


class PlainStore:
    """The readable twin: one list, searched from end to end."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.seen: set[Any] = set()

    def append(self, rows: list[dict[str, Any]]) -> tuple[int, int]:
        accepted = 0
        for row in rows:
            plain = (row["user_id"], row["item_id"], row["action"], row["ts_ms"])
            identity = row["action_id"] or plain
            if identity not in self.seen:
                self.seen.add(identity)
                self.rows.append(row)
                accepted += 1
        return accepted, len(rows) - accepted

    def user_actions(
        self, user_id: str, until: int | None, limit: int | None
    ) -> list[tuple[Any, ...]]:
        mine = [
            (row["ts_ms"], number, row["item_id"], row["action"], row["value"])
            for number, row in enumerate(self.rows)
            if row["user_id"] == user_id and (until is None or row["ts_ms"] <= until)
        ]
        mine.sort(key=lambda row: (-row[0], -row[1]))
        return [(ts, item, action, value) for ts, _, item, action, value in mine[:limit]]


small = st.integers(0, 4).map(str)
rows_strategy = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from(["a", "b", "Zoë", "nul\0nul", " "]),
        "item_id": small,
        "ts_ms": st.integers(0, 3),
        "action": st.sampled_from(["view", "buy"]),
        "value": st.none() | st.sampled_from([0.0, -2.5, 7.0]),
        "surface": st.none() | st.sampled_from(["home", "mail"]),
        "request_id": st.none() | small,
        "action_id": st.none() | st.none() | small,
        "query": st.none() | st.just("blue lamp"),
        "board": st.none() | st.just("kitchen"),
    }
)


@settings(max_examples=40, deadline=None)
@given(batches=st.lists(st.lists(rows_strategy, max_size=30), max_size=4))
def test_the_store_agrees_with_a_plain_list(batches: list[list[dict[str, Any]]]) -> None:
    from conftest import frame

    plain = PlainStore()
    with (
        tempfile.TemporaryDirectory() as folder,
        open_store(Path(folder) / "w.db", create=True) as store,
    ):
        for batch in batches:
            appended = store.append_actions(frame(batch))
            assert (appended.accepted, appended.duplicates) == plain.append(batch)
        _assert_same(store, plain)
        assert store.check() == []


def _assert_same(store: Store, plain: PlainStore) -> None:
    names = store.action_names()
    everything = list(store.scan_actions(batch=7))
    assert all(0 < len(rows) <= 7 for rows in everything)
    read = [
        (user, item, names[action - 1], ts)
        for rows in everything
        for user, item, action, ts in zip(
            store.user_ids(rows.user_key),
            store.item_ids(rows.item_key),
            rows.action_key.tolist(),
            rows.ts_ms.tolist(),
            strict=True,
        )
    ]
    assert read == [(r["user_id"], r["item_id"], r["action"], r["ts_ms"]) for r in plain.rows]
    assert store.count_actions() == len(plain.rows)
    assert store.newest_ts_ms() == max((r["ts_ms"] for r in plain.rows), default=None)
    for user_id in {r["user_id"] for r in plain.rows}:
        key = store.user_key(user_id)
        assert key is not None
        for until, limit in ((None, None), (2, None), (None, 3), (1, 1)):
            rows = store.user_actions(key, until_ts_ms=until, limit=limit)
            values = [None if isnan(v) else v for v in rows.value.tolist()]
            got = list(
                zip(
                    rows.ts_ms.tolist(),
                    store.item_ids(rows.item_key),
                    [names[k - 1] for k in rows.action_key.tolist()],
                    values,
                    strict=True,
                )
            )
            assert got == plain.user_actions(user_id, until, limit)
            records = store.action_records(user_id, until_ts_ms=until, limit=limit)
            assert [(r.ts, r.item_id, r.action, r.value) for r in records] == got


def test_importing_twice_adds_nothing_and_says_so(store: Store, frame: Any) -> None:
    actions = frame([(f"u{i % 7}", f"i{i % 11}", i, "view") for i in range(500)])
    first = store.append_actions(actions)
    assert (first.accepted, first.first_position, first.last_position) == (500, 1, 500)
    again = store.append_actions(actions)
    assert (again.accepted, again.duplicates, again.first_position) == (0, 500, 0)
    assert store.position() == 500


def test_a_half_known_batch_is_told_apart_row_by_row(store: Store, frame: Any) -> None:
    rows = [("u", f"i{i}", i, "view") for i in range(100)]
    store.append_actions(frame(rows[::2]))
    appended = store.append_actions(frame(rows + rows))
    assert (appended.accepted, appended.duplicates) == (50, 150)
    assert store.count_actions() == 100


def test_an_action_id_is_the_identity_where_there_is_one(store: Store, frame: Any) -> None:
    def row(action_id: str | None, ts: int) -> dict[str, Any]:
        return {
            "user_id": "u",
            "item_id": "i",
            "ts_ms": ts,
            "action": "buy",
            "action_id": action_id,
        }

    appended = store.append_actions(frame([row("x", 1), row("y", 1), row(None, 1), row("x", 2)]))
    assert (appended.accepted, appended.duplicates) == (3, 1)
    again = store.append_actions(frame([row("y", 9), row(None, 1), row("z", 1)]))
    assert (again.accepted, again.duplicates) == (1, 2)


def test_late_actions_land_in_time_order_in_a_history(store: Store, frame: Any) -> None:
    store.append_actions(frame([("u", "new", 100, "view")]))
    store.append_actions(frame([("u", "old", 5, "view"), ("u", "tie", 100, "view")]))
    assert [r.item_id for r in store.action_records("u")] == ["tie", "new", "old"]
    assert [r.item_id for r in store.action_records("u", until_ts_ms=99)] == ["old"]


def test_details_read_back_with_their_action(store: Store, frame: Any) -> None:
    store.append_actions(
        frame(
            [
                {
                    "user_id": "u",
                    "item_id": "i",
                    "ts_ms": 3,
                    "action": "search",
                    "value": 1.5,
                    "surface": "home",
                    "request_id": "r1",
                    "query": "lamp",
                    "board": "den",
                }
            ]
        )
    )
    (record,) = store.action_records("u")
    assert (record.value, record.surface, record.request_id) == (1.5, "home", "r1")
    assert (record.query, record.board) == ("lamp", "den")
    assert store.surface_names() == ["home"]


def test_columns_may_be_absent(store: Store) -> None:
    lean = pl.DataFrame({"user_id": ["u"], "item_id": ["i"], "ts_ms": [1], "action": ["view"]})
    assert store.append_actions(lean).accepted == 1
    assert np.isnan(store.user_actions(1).value).all()


def test_an_empty_frame_and_an_empty_store_are_fine(store: Store, frame: Any) -> None:
    assert store.append_actions(frame([])).accepted == 0
    assert store.position() == 0
    assert store.newest_ts_ms() is None
    assert list(store.scan_actions()) == []
    assert len(store.user_actions(1)) == 0
    assert store.action_records("nobody") == []


@pytest.mark.parametrize("column", ["user_id", "item_id", "ts_ms", "action"])
def test_missing_and_null_columns_are_refused_before_anything_is_written(
    store: Store, frame: Any, column: str
) -> None:
    good = frame([("u", "i", 1, "view")])
    with pytest.raises(InputError, match=column):
        store.append_actions(good.drop(column))
    with pytest.raises(InputError, match=column):
        store.append_actions(good.with_columns(pl.lit(None).alias(column)))
    assert store.position() == 0


def test_a_scan_starts_after_a_position_and_ends_where_it_began(store: Store, frame: Any) -> None:
    store.append_actions(frame([("u", f"i{i}", 100 - i, "view") for i in range(10)]))
    scan = store.scan_actions(after=4, batch=2)
    first = next(scan)
    store.append_actions(frame([("u", "later", 1, "view")]))
    rest = [int(p) for rows in scan for p in rows.position]
    assert [*first.position.tolist(), *rest] == [5, 6, 7, 8, 9, 10]
    until = [int(p) for rows in store.scan_actions(until_ts_ms=93) for p in rows.position]
    assert until == [8, 9, 10, 11]


def test_single_appends_are_joined_into_few_chunks(store: Store, frame: Any, path: Path) -> None:
    for i in range(200):
        store.append_actions(frame([("u", f"i{i}", i, "view")]))
    assert isinstance(store, SqliteStore)
    with store._connections.reading() as connection:
        chunks = connection.execute("SELECT count(*) FROM log").fetchone()[0]
        assert sqlite_log.count(connection) == 200
    assert chunks <= 8
    (rows,) = store.scan_actions()
    assert rows.position.tolist() == list(range(1, 201))


def test_a_history_is_a_range_of_the_index(store: Store) -> None:
    assert isinstance(store, SqliteStore)
    with store._connections.reading() as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {TAIL}", (1, 2, 3)).fetchall()
    assert "USING PRIMARY KEY (user_key=? AND ts_ms<?)" in plan[0][3]
    assert not any("SCAN" in step[3] for step in plan)


def test_keys_are_dense_in_order_of_first_appearance(store: Store, frame: Any) -> None:
    store.append_actions(
        frame([("b", "y", 1, "view"), ("a", "x", 2, "buy"), ("b", "x", 3, "view")])
    )
    assert store.user_keys(["a", "b", "nobody"]).tolist() == [2, 1, 0]
    assert store.item_ids(np.array([2, 1, 2, 9])) == ["x", "y", "x", ""]
    assert store.action_names() == ["view", "buy"]
    assert (store.user_key("b"), store.user_key("nobody"), store.item_key("x")) == (1, None, 2)
    many = [f"k{i}" for i in range(100)]
    assert store.item_keys([*many, "y"]).tolist() == [0] * 100 + [1]


@pytest.mark.parametrize("remembered", [0, 3, 1000])
def test_keys_do_not_depend_on_what_a_writer_remembers(
    store: Store, frame: Any, monkeypatch: pytest.MonkeyPatch, remembered: int
) -> None:
    monkeypatch.setattr("wayline.storage.sqlite.keys.REMEMBERED_IDS", remembered)
    for start in (0, 30, 10, 60):
        ids = [f"u{i}" for i in range(start, start + 50)]
        store.append_actions(frame([(i, "item", start, "view") for i in ids]))
    keys = store.user_keys([f"u{i}" for i in range(110)])
    assert keys.tolist() == list(range(1, 111))


@pytest.mark.parametrize("size", [0, 1, 7, CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1])
def test_packed_columns_come_back_as_they_were(size: int) -> None:
    rng = np.random.default_rng(size)
    rows = ActionColumns(
        position=np.cumsum(rng.integers(1, 1 << 40, size)),
        user_key=rng.integers(1, 1 << 32, size),
        item_key=rng.integers(1, 1 << 32, size),
        action_key=rng.integers(1, 32767, size).astype(np.int16),
        ts_ms=rng.integers(0, 4_102_444_800_000, size),
        value=rng.normal(size=size).astype(np.float32),
    )
    back = decode(encode(rows), size)
    for name in ("position", "user_key", "item_key", "action_key", "ts_ms", "value"):
        np.testing.assert_array_equal(getattr(back, name), getattr(rows, name))
        assert getattr(back, name).dtype == getattr(rows, name).dtype
    assert len(concat([take(rows, slice(0, 3)), empty()])) == min(size, 3)


def test_packed_columns_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        decode(encode(empty()), 1)
    with pytest.raises(ValueError, match="incorrect header"):
        decode(b"nonsense", 1)
