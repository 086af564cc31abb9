"""What a person's history costs: to read, to add to, to keep; beside the plain ways to do each.

    python benchmarks/sequences.py [--people 1000] [--actions 1000000] [--json]

Every ratio compares two things measured in turns in this process. ``plain`` reads are a range of the clustered table,
row by row, as the store read before it packed long histories. The out-of-order run is an assertion as well: it ends in
exactly the sorted, de-duplicated histories of a plain list, from the store and from memory.
"""

from __future__ import annotations

import argparse
import gc
import json
import sqlite3
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from wayline.config import SequencesConfig
from wayline.sequences.cache import Histories
from wayline.sequences.history import Worths, user_sequence
from wayline.sequences.person import ActionVectors, Person
from wayline.sequences.tokens import TOKEN, ActionBits, collapse
from wayline.storage import Store, open_store

DAY_MS = 86_400_000
TWO_YEARS_MS = 730 * DAY_MS
REAL = Path(__file__).parents[2] / "shared" / "data" / "slackbuilds" / "actions.parquet"
RESULTS = Path(__file__).parent / "results"
PLAIN_READ = (
    "SELECT position, item_key, action_key, ts_ms, value FROM actions WHERE user_key = ? "
    "ORDER BY ts_ms DESC, position DESC"
)


def in_turns(
    calls: dict[str, Callable[[], Any]],
    rounds: int,
    summary: Callable[[list[float]], float] = statistics.median,
) -> dict[str, float]:
    """Milliseconds of each call, taken in turns so that a noisy neighbour slows all alike; the median by default."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            taken[name].append(1e3 * (time.perf_counter() - start))
    return {name: summary(values) for name, values in taken.items()}


def plain_read(connection: sqlite3.Connection, user_key: int) -> list[Any]:
    """Read a history row by row, into the same columns."""
    rows = connection.execute(PLAIN_READ, (user_key,)).fetchall()
    return [np.array(column) for column in zip(*rows, strict=True)]


def pack_all(store: Store) -> float:
    """Pack everybody whose history is long; the median milliseconds of a transaction."""
    taken = []
    for user_key in store.long_histories().tolist():
        moved = 1
        while moved:
            start = time.perf_counter()
            moved = store.pack_history(user_key)
            if moved:
                taken.append(1e3 * (time.perf_counter() - start))
    return statistics.median(taken)


def bytes_of(path: Path) -> dict[str, int]:
    """Bytes of the pages of each table that holds actions."""
    connection = sqlite3.connect(path)
    found = dict(
        connection.execute(
            "SELECT name, sum(pgsize) FROM dbstat WHERE name IN "
            "('actions', 'log', 'histories', 'histories_spans') GROUP BY name"
        ).fetchall()
    )
    connection.close()
    return {name: int(size) for name, size in found.items()}


def reads(folder: Path, actions: pl.DataFrame) -> dict[str, float]:
    """The longest history: cold before and after packing, warm, and what is made of it."""
    longest = actions["user_id"].mode().sort()[0]
    for name in ("rows.db", "packed.db"):
        with open_store(folder / name, create=True) as store:
            store.append_actions(actions)
    with (
        open_store(folder / "rows.db") as rows,
        open_store(folder / "packed.db") as packed,
    ):
        packing_ms = pack_all(packed)
        user_key = packed.user_key(longest) or 0
        connection = sqlite3.connect(folder / "rows.db")
        histories = Histories(packed, SequencesConfig())
        worths = Worths({}, packed.action_names())
        bits = ActionBits(packed.action_names())
        kept = histories.get(user_key)
        whole = user_sequence(kept, worths)

        def follow_and_get() -> ActionVectors:
            histories.follow_log()
            return histories.get(user_key)

        def request() -> None:
            user_sequence(follow_and_get(), worths).wanted()

        found = in_turns(
            {
                "plain_read_ms": lambda: plain_read(connection, user_key),
                "cold_unpacked_ms": lambda: rows.user_actions(user_key, limit=16_000),
                "cold_packed_ms": lambda: packed.user_actions(user_key, limit=16_000),
                "warm_get_ms": lambda: histories.get(user_key),
                "warm_follow_get_ms": follow_and_get,
                "warm_sequence_and_wanted_ms": request,
                "wanted_ms": whole.wanted,
                "wanted_with_unique_ms": lambda: np.unique(
                    whole.item_idx, return_index=True, return_inverse=True
                ),
                "collapse_ms": lambda: collapse(kept, bits, collapse_s=60.0),
            },
            rounds=40,
            summary=min,
        )
        connection.close()
    return {
        "actions_of_the_longest": len(kept),
        **found,
        "plain_over_cold_packed": found["plain_read_ms"] / found["cold_packed_ms"],
        "packing_transaction_ms": packing_ms,
    }


def synthetic(people: int, each: int, seed: int) -> pl.DataFrame:
    """Two years of random items at random times: nothing for a compressor to find but the order of time."""
    rng = np.random.default_rng(seed)
    many = people * each
    return pl.DataFrame(
        {
            "user_id": [f"user-{u}" for u in rng.permutation(np.repeat(np.arange(people), each))],
            "item_id": [f"item-{i}" for i in rng.integers(0, 100_000, many)],
            "ts_ms": 1_600_000_000_000 + np.sort(rng.integers(0, TWO_YEARS_MS, many)),
            "action": rng.choice(["view", "click", "buy"], many),
        }
    )


def sizes(folder: Path, actions: pl.DataFrame, name: str) -> dict[str, float]:
    """Bytes an action of the tables that hold actions, before packing and after; long histories only."""
    long = actions.filter(pl.len().over("user_id") >= 4_000)
    path = folder / f"{name}-sizes.db"
    with open_store(path, create=True) as store:
        for batch in long.iter_slices(65_536):
            store.append_actions(batch)
        kept = store.count_actions()
        before = bytes_of(path)
        pack_all(store)
        bits = ActionBits(store.action_names())
        histories = Histories(store, SequencesConfig(cache_mb=0))
        tokens = sum(
            len(collapse(histories.get(key), bits, collapse_s=60.0))
            for key in range(1, store.count_users() + 1)
        )
    after = bytes_of(path)
    connection = sqlite3.connect(path)
    packed_rows, packed_bytes = connection.execute(
        "SELECT sum(rows), sum(length(columns)) FROM histories"
    ).fetchone()
    connection.close()
    return {
        "actions": kept,
        "tokens": tokens,
        "before_bytes_per_action": sum(before.values()) / kept,
        "after_bytes_per_action": sum(after.values()) / kept,
        "after_without_log_bytes_per_action": (sum(after.values()) - after["log"]) / kept,
        "after_bytes_per_token": sum(after.values()) / tokens,
        "packed_bytes_per_packed_action": packed_bytes / packed_rows,
        "token_in_memory_bytes": TOKEN.itemsize,
    }


def inserts(folder: Path) -> dict[str, float]:
    """Appends to a history of 100 and to ones of 16,000, packed and not, in turns; and inserts into memory."""
    path = folder / "inserts.db"
    users = {"100": 100, "16000": 16_000, "16000_packed": 16_000}
    out: dict[str, float] = {}
    with open_store(path, create=True) as store:
        for user, rows in users.items():
            store.append_actions(_rows_of(user, np.arange(rows)))
        key = store.user_key("16000_packed") or 0
        while store.pack_history(key):
            pass
        at = dict.fromkeys(users, 20_000)
        for size in (1, 10, 100):
            calls: dict[str, Callable[[], Any]] = {}
            for user in users:

                def append(user: str = user, size: int = size) -> None:
                    at[user] += size
                    store.append_actions(_rows_of(user, np.arange(at[user] - size, at[user])))

                calls[f"append_{size}_to_{user}_ms"] = append
            found = in_turns(calls, rounds=150 if size < 100 else 40)
            out.update(found)
            base = found[f"append_{size}_to_100_ms"]
            out[f"append_{size}_ratio"] = found[f"append_{size}_to_16000_ms"] / base
            out[f"append_{size}_packed_ratio"] = found[f"append_{size}_to_16000_packed_ms"] / base
        late = np.random.default_rng(2).permutation(16_000).tolist()
        calls = {}
        for user in ("16000", "16000_packed"):

            def append_late(user: str = user) -> None:
                row = _rows_of(user, np.array([late.pop()]))
                assert store.append_actions(row.with_columns(action=pl.lit("buy"))).accepted == 1

            calls[f"append_1_late_to_{user}_ms"] = append_late
        out.update(in_turns(calls, rounds=100))
        out.update(_memory_inserts(store))
    return out


def imports(folder: Path) -> dict[str, float]:
    """Large appends beside forty packed histories of 16,000, and the same beside unpacked ones, in turns."""
    long = synthetic(40, 16_000, seed=5)
    shuffled = long.sample(fraction=1.0, shuffle=True, seed=1)
    more = shuffled.with_columns(pl.col("ts_ms") + TWO_YEARS_MS + DAY_MS)
    late = shuffled.with_columns(action=pl.lit("return"))
    with (
        open_store(folder / "beside-rows.db", create=True) as rows,
        open_store(folder / "beside-packed.db", create=True) as packed,
    ):
        for store in (rows, packed):
            for batch in long.iter_slices(65_536):
                store.append_actions(batch)
        pack_all(packed)
        out = {}
        for name, sent in (("newer", more), ("late", late), ("known", long)):
            batches = iter(list(sent.iter_slices(20_000))[:16])
            taken: dict[Store, list[float]] = {rows: [], packed: []}
            for batch in batches:
                for store, values in taken.items():
                    start = time.process_time()
                    store.append_actions(batch)
                    values.append(time.process_time() - start)
            out[f"{name}_rows_per_cpu_s"] = 20_000 / statistics.median(taken[rows])
            out[f"{name}_packed_rows_per_cpu_s"] = 20_000 / statistics.median(taken[packed])
    return out


def _rows_of(user: str, ts: Any) -> pl.DataFrame:
    return pl.DataFrame({"item_id": [f"item-{t % 997}" for t in ts], "ts_ms": ts}).with_columns(
        pl.lit(user).alias("user_id"), pl.lit("view").alias("action")
    )


def _memory_inserts(store: Store) -> dict[str, float]:
    """The mean of 2,000 inserts one by one into a person in memory, with all growing and trimming; processor time."""
    many = 2_000
    taken: dict[int, list[float]] = {100: [], 16_000: []}
    newest = store.user_actions(store.user_key("16000") or 0)
    rows = [Person.of(newest, 16_000).newest()]
    for _ in range(15):
        for length, values in taken.items():
            person = Person.of(_head(newest, length), 16_000)
            first = int(newest.position.max()) + 1
            batches = [_one(rows[0], first + n, 10**9 + n) for n in range(many)]
            start = time.thread_time()
            for batch in batches:
                person.insert(batch)
            values.append(1e6 * (time.thread_time() - start) / many)
    short, long = (statistics.median(values) for values in taken.values())
    return {
        "memory_insert_at_100_us": short,
        "memory_insert_at_16000_us": long,
        "memory_insert_ratio": long / short,
    }


def _head(newest: Any, length: int) -> Any:
    names = ("position", "user_key", "item_key", "action_key", "ts_ms", "value")
    return type(newest)(**{name: getattr(newest, name)[:length] for name in names})


def _one(like: Any, position: int, ts_ms: int) -> Any:
    return type(like)(
        item_key=np.array([1]),
        action_key=np.array([1], np.int16),
        ts_ms=np.array([ts_ms]),
        position=np.array([position]),
    )


def out_of_order(folder: Path, people: int, actions: int) -> dict[str, float]:
    """Actions in random order of time, a tenth sent twice, people packed in between: against plain lists."""
    rng = np.random.default_rng(3)
    sent = pl.DataFrame(
        {
            "user_id": (people * rng.random(actions) ** 3).astype(np.int64),
            "item_id": rng.integers(0, 20_000, actions),
            "ts_ms": rng.integers(0, TWO_YEARS_MS // 1000, actions) * 1000,
            "action": rng.choice(["view", "buy"], actions),
        }
    ).with_columns(
        pl.format("u{}", "user_id").alias("user_id"), pl.format("i{}", "item_id").alias("item_id")
    )
    start = time.perf_counter()
    with open_store(folder / "disorder.db", create=True) as store:
        histories = Histories(store, SequencesConfig(cache_mb=10))
        batches = list(sent.iter_slices(20_000))
        for number, batch in enumerate(batches):
            store.append_actions(batch)
            if number % 10 == 9:  # at-least-once
                assert store.append_actions(batches[number - 5]).accepted == 0
                for key in store.long_histories().tolist():
                    while store.pack_history(key):
                        pass
            histories.follow_log()
            for key in rng.integers(1, people + 1, 200).tolist():
                histories.get(key)
        took = time.perf_counter() - start
        expected = sent.unique(maintain_order=True)
        assert store.count_actions() == len(expected)
        _assert_same(store, histories, expected)
        stats = histories.stats()
        assert store.check() == []
    return {
        "sent": actions + 20_000 * (len(batches) // 10),
        "kept": len(expected),
        "people": people,
        "longest": int(expected["user_id"].value_counts()["count"].to_numpy().max()),
        "seconds_with_reads": took,
        **{f"memory_{name}": number for name, number in stats.items()},
    }


def _assert_same(store: Store, histories: Histories, expected: pl.DataFrame) -> None:
    """Every history, from the store and from memory, is the sorted list of what was sent."""
    plain: dict[str, list[tuple[int, int, str, str]]] = {}
    for n, (user, item, ts, action) in enumerate(expected.iter_rows()):
        plain.setdefault(user, []).append((ts, n, item, action))
    names = store.action_names()
    for user, rows in plain.items():
        rows.sort()
        key = store.user_key(user) or 0
        stored, kept = store.user_actions(key), histories.get(key)
        items = store.item_ids(stored.item_key[::-1])
        got = zip(stored.ts_ms[::-1].tolist(), items, stored.action_key[::-1], strict=True)
        assert [(ts, item, names[a - 1]) for ts, item, a in got] == [
            (ts, item, action) for ts, _, item, action in rows
        ], user
        cap = slice(0, 16_000)
        np.testing.assert_array_equal(stored.position[cap][::-1], kept.position)
        np.testing.assert_array_equal(stored.ts_ms[cap][::-1], kept.ts_ms)


def memory(folder: Path) -> dict[str, float]:
    """Three times as many people as fit: what is counted, and what Python says it takes."""
    people, each, budget_mb = 3_000, 200, 6.0
    with open_store(folder / "memory.db", create=True) as store:
        store.append_actions(synthetic(people, each, seed=9))
        histories = Histories(store, SequencesConfig(cache_mb=budget_mb))
        most = 0
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for key in range(1, people + 1):
            histories.get(key)
            most = max(most, histories.stats()["bytes"])
        gc.collect()
        traced = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        stats = histories.stats()
    assert most <= budget_mb * 1e6
    return {
        "people_asked": people,
        "budget_bytes": budget_mb * 1e6,
        "most_bytes": most,
        "traced_bytes": traced,
        **stats,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=1_000)
    parser.add_argument("--actions", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if REAL.exists():
            actions = pl.read_parquet(REAL).rename({"ts": "ts_ms"})
            result["slackbuilds_reads"] = reads(folder, actions)
            result["slackbuilds_sizes"] = sizes(folder, actions, "slackbuilds")
        else:
            print(f"{REAL.parent.name} is not there: its reads and sizes are left out")
        result["synthetic_sizes"] = sizes(folder, synthetic(40, 16_000, seed=5), "synthetic")
        result["inserts"] = inserts(folder)
        result["imports"] = imports(folder)
        result["memory"] = memory(folder)
        result["out_of_order"] = out_of_order(folder, options.people, options.actions)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "sequences.json").write_text(json.dumps(result, indent=2))
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        for section, figures in result.items():
            print(section)
            for figure, value in figures.items():
                print(f"  {figure:<38}{value:>16,.3f}")


if __name__ == "__main__":
    main()
