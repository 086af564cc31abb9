"""Histories in memory are what the store would give, whatever happened in between."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayline.config import SequencesConfig
from wayline.schema import ActionColumns
from wayline.sequences.cache import Histories
from wayline.sequences.person import ROW_BYTES, ActionVectors, Person, pick
from wayline.storage import Store, open_store

Row = tuple[int, int, int, int]  # ts_ms, position, item_key, action_key


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "wayline.db", create=True) as opened:
        yield opened


def act(store: Store, rows: list[tuple[str, str, int]]) -> None:
    users, items, times = zip(*rows, strict=True)
    store.append_actions(
        pl.DataFrame({"user_id": users, "item_id": items, "ts_ms": times}).with_columns(
            pl.lit("view").alias("action")
        )
    )


def columns(rows: list[Row], user_key: int = 1) -> ActionColumns:
    ts_ms, position, item_key, action_key = (
        np.array([r[i] for r in rows], np.int64) for i in range(4)
    )
    return ActionColumns(
        position=position,
        user_key=np.full(len(rows), user_key, np.int64),
        item_key=item_key,
        action_key=action_key.astype(np.int16),
        ts_ms=ts_ms,
        value=np.full(len(rows), np.nan, np.float32),
    )


def rows_of(found: ActionVectors) -> list[Row]:
    return list(
        zip(
            found.ts_ms.tolist(),
            found.position.tolist(),
            found.item_key.tolist(),
            found.action_key.tolist(),
            strict=True,
        )
    )


def in_store(store: Store, user_key: int, until: int | None, cap: int) -> list[Row]:
    newest_first = store.user_actions(user_key, until_ts_ms=until, limit=cap)
    return rows_of(pick(newest_first, np.arange(len(newest_first))[::-1]))


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5)), min_size=1, max_size=9)),
    st.integers(0, 12),
    st.integers(1, 40),
    st.data(),
)
def test_a_person_is_a_plain_sorted_list(
    batches: list[list[tuple[int, int]]], loaded: int, cap: int, data: Any
) -> None:
    """Out of order, handed in twice, read at moments: always the newest rows of a sorted list."""
    log: list[Row] = []
    for batch in batches:
        log += [(ts, len(log) + 1 + n, item, 1) for n, (ts, item) in enumerate(batch)]
    loaded = min(loaded, len(log))
    newest_first = sorted(log[:loaded], reverse=True)[:cap]
    person = Person.of(columns(newest_first), cap)
    at = loaded
    held: list[tuple[ActionVectors, list[Row]]] = []
    while at < len(log):
        begin = data.draw(st.integers(max(0, at - 3), at))  # some of them once more
        at = data.draw(st.integers(at + 1, len(log)))
        person.insert(pick(columns(log[begin:at]), np.arange(at - begin)))
        everything = sorted(log[:at])
        assert rows_of(person.newest()) == everything[-cap:]
        until = data.draw(st.integers(-1, 10))
        found = person.until(until)
        if found is not None:
            assert rows_of(found) == [r for r in everything if r[0] <= until][-cap:]
        held.append((person.newest(), everything[-cap:]))
    for found, expected in held:  # what was given out has not changed under its reader
        assert rows_of(found) == expected


def test_a_late_action_older_than_all_that_is_kept_does_not_hide_the_gap_before_them() -> None:
    log: list[Row] = [(ts, ts, 1, 1) for ts in range(10, 40)]
    person = Person.of(columns(log[::-1][:16]), 16)
    person.insert(pick(columns([(5, 100, 2, 1)]), np.arange(1)))
    assert person.until(38) is None  # 15 of these 16 are kept: the store must be asked
    person.insert(pick(columns([(39, 101, 2, 1)]), np.arange(1)))
    assert rows_of(person.newest()) == [*log[-15:], (39, 101, 2, 1)]


STEP = st.one_of(
    st.tuples(st.just("act"), st.integers(0, 3), st.integers(0, 4), st.integers(0, 20)),
    st.tuples(st.just("read"), st.integers(0, 3), st.just(0), st.none() | st.integers(-1, 21)),
    st.tuples(st.just("drop"), st.integers(0, 3), st.just(0), st.just(0)),
    st.tuples(st.just("clear"), st.just(0), st.just(0), st.just(0)),
    st.tuples(st.just("forget"), st.integers(0, 3), st.just(0), st.just(0)),
)


@given(st.lists(STEP, max_size=40), st.integers(1, 12), st.sampled_from([0.0, 0.003, 1.0]))
def test_every_read_is_what_the_store_gives(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[str, int, int, Any]],
    cap: int,
    cache_mb: float,
) -> None:
    """Any interleaving of actions, reads at moments, evictions (room for about two people) and forgetting."""
    with open_store(tmp_path_factory.mktemp("w") / "wayline.db", create=True) as store:
        act(store, [(f"u{u}", "i0", 5) for u in range(4)])
        histories = Histories(store, SequencesConfig(lifelong=cap, cache_mb=cache_mb))
        for what, user, item, ts in steps:
            user_key = store.user_key(f"u{user}") or 0
            if what == "act":
                act(store, [(f"u{user}", f"i{item}", ts)])
            elif what == "read":
                histories.follow_log()
                expected = in_store(store, user_key, ts, cap)
                assert rows_of(histories.get(user_key, ts)) == expected
            elif what == "drop":
                histories.drop(user_key)
            elif what == "clear":
                histories.clear()
            else:
                store.forget_user(f"u{user}")
            assert histories.stats()["bytes"] <= cache_mb * 1e6


def test_a_hit_reads_nothing_and_copies_nothing(store: Store) -> None:
    act(store, [("u", f"i{n}", n) for n in range(50)])
    histories = Histories(store, SequencesConfig())
    first, second = histories.get(1), histories.get(1)
    assert np.shares_memory(first.ts_ms, second.ts_ms)
    assert histories.stats()["misses"] == 1
    assert histories.stats()["hits"] == 1
    act(store, [("u", "late", 7), ("u", "new", 99)])
    histories.follow_log()
    assert rows_of(histories.get(1)) == in_store(store, 1, None, 16_000)
    assert histories.stats()["misses"] == 1
    assert histories.stats()["late"] == 1


def test_the_budget_holds_however_many_people_come(store: Store) -> None:
    people, each = 300, 40
    act(store, [(f"u{u}", f"i{n}", n) for u in range(people) for n in range(each)])
    histories = Histories(store, SequencesConfig(cache_mb=0.1))
    for user_key in range(1, people + 1):
        assert len(histories.get(user_key)) == each
        assert histories.stats()["bytes"] <= 100_000
    stats = histories.stats()
    assert stats["people"] + stats["evictions"] == people
    assert stats["people"] > 10
    histories.get(people)  # the last one is still here
    assert histories.stats()["hits"] == 1


def test_a_person_never_holds_more_than_the_cap_and_an_eighth(store: Store) -> None:
    act(store, [("u", "i", n) for n in range(100)])
    histories = Histories(store, SequencesConfig(lifelong=80))
    assert len(histories.get(1)) == 80
    for start in range(100, 1100, 7):
        act(store, [("u", "i", n) for n in range(start, start + 7)])
        histories.follow_log()
        assert rows_of(histories.get(1)) == in_store(store, 1, None, 80)
        assert histories.stats()["bytes"] <= 1_000 + ROW_BYTES * (80 + 80 // 8 + 16 + 7)
    assert histories.stats()["misses"] == 1
    assert rows_of(histories.get(1, 500)) == in_store(store, 1, 500, 80)  # before what is kept


class SlowStore:
    """A store whose ``user_actions`` lets something happen after it has read and before it answers."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.meanwhile: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def user_actions(self, *given: Any, **named: Any) -> ActionColumns:
        rows = self._store.user_actions(*given, **named)
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return rows


def test_what_is_appended_while_a_history_is_read_is_neither_lost_nor_doubled(
    store: Store,
) -> None:
    act(store, [("u", "i1", 10), ("u", "i2", 20)])
    slow: Any = SlowStore(store)
    histories = Histories(slow, SequencesConfig())

    def meanwhile() -> None:
        act(store, [("u", "i3", 15), ("u", "i4", 30)])
        histories.follow_log()

    slow.meanwhile = meanwhile
    assert rows_of(histories.get(1)) == in_store(store, 1, None, 100)
    assert len(histories.get(1)) == 4
    assert histories.stats()["misses"] == 1


def test_what_a_read_saw_before_it_was_followed_is_not_doubled(store: Store) -> None:
    act(store, [("u", "i1", 10)])
    histories = Histories(store, SequencesConfig())
    act(store, [("u", "i2", 20)])  # not followed yet, but the read sees it
    assert len(histories.get(1)) == 2
    histories.follow_log()
    assert len(histories.get(1)) == 2


def test_rows_after_a_gap_are_preceded_by_what_lies_between(store: Store) -> None:
    act(store, [("u", "i1", 10)])
    histories = Histories(store, SequencesConfig())
    histories.get(1)
    act(store, [("u", "i2", 20)])
    act(store, [("u", "i3", 30)])
    (newest,) = store.scan_actions(after=2)
    histories.follow(newest, after=2)  # somebody else followed the log up to 2
    assert rows_of(histories.get(1)) == in_store(store, 1, None, 100)
    assert histories.position == 3
    histories.follow(newest, after=2)
    assert len(histories.get(1)) == 3


def test_a_person_forgotten_while_they_are_read_is_not_kept(store: Store) -> None:
    act(store, [("u", "i1", 10), ("v", "i1", 10)])
    slow: Any = SlowStore(store)
    histories = Histories(slow, SequencesConfig())

    def meanwhile() -> None:
        store.forget_user("u")
        histories.drop(1)

    slow.meanwhile = meanwhile
    histories.get(1)
    assert histories.stats()["people"] == 0
    assert len(histories.get(1)) == 0


def test_another_process_that_forgets_somebody_empties_the_memory(
    store: Store, tmp_path: Path
) -> None:
    act(store, [("u", "i1", 10), ("v", "i1", 10)])
    histories = Histories(store, SequencesConfig())
    histories.get(1)
    with open_store(tmp_path / "wayline.db") as other:
        other.forget_user("u")
    histories.follow_log()
    assert histories.stats()["people"] == 0
    assert len(histories.get(1)) == 0
    assert len(histories.get(2)) == 1


def test_a_failed_read_leaves_nothing_behind(store: Store) -> None:
    act(store, [("u", "i1", 10)])
    slow: Any = SlowStore(store)
    histories = Histories(slow, SequencesConfig())

    def fail() -> None:
        raise OSError("gone")

    slow.meanwhile = fail
    with pytest.raises(OSError, match="gone"):
        histories.get(1)
    assert len(histories.get(1)) == 1


def test_threads_that_read_and_write_at_once_end_in_the_same_histories(store: Store) -> None:
    act(store, [(f"u{u}", "i", 0) for u in range(20)])
    histories = Histories(store, SequencesConfig(lifelong=30, cache_mb=0.02))
    problems: list[str] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for n in range(60):
            user = int(rng.integers(20))
            act(store, [(f"u{user}", f"i{seed}.{n}", int(rng.integers(1000)))])
            store_position = store.position()
            histories.follow_log()
            found = histories.get(user + 1)
            rows = rows_of(found)
            if rows != sorted(rows) or len({p for _, p, _, _ in rows}) != len(rows):
                problems.append(f"{user}: {rows}")
            if histories.position < store_position:
                problems.append("behind")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    histories.follow_log()
    for user_key in range(1, 21):
        assert rows_of(histories.get(user_key)) == in_store(store, user_key, None, 30)
