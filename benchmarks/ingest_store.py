"""Durable actions per second, bytes an action and memory of the store, beside a plain SQLite table.

The plain table is what one would write first: text columns, a unique constraint, the same pragmas
(WAL, every commit fsynced) and the same batches in one ``executemany`` each. Both take every batch
in turn, so that a noisy neighbour slows both alike; rates are rows over the sum of their own times.
``per_cpu_s`` counts processor time instead, which is what remains comparable when others keep the
machine busy.

    python benchmarks/ingest_store.py [--rows 5000000] [--rounds 3] [--json]

Memory is the peak of a process of its own that only imports.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from wayline.storage import Store, open_store

BATCH = 65_536
USERS, ITEMS = 200_000, 100_000
DAY_MS = 86_400_000
REAL = Path(__file__).parents[2] / "shared" / "data" / "online-retail" / "actions.parquet"
RESULTS = Path(__file__).parent / "results"


class PlainTable:
    """The baseline: one table of texts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "cache_size = -131072"):
            self.connection.execute(f"PRAGMA {pragma}").fetchall()
        self.connection.execute(
            "CREATE TABLE actions (position INTEGER PRIMARY KEY, user_id TEXT, item_id TEXT, "
            "ts_ms INTEGER, action TEXT, value REAL, UNIQUE (user_id, item_id, action, ts_ms))"
        )

    def append(self, frame: pl.DataFrame) -> None:
        columns = [frame[c].to_list() for c in ("user_id", "item_id", "ts_ms", "action", "value")]
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(
            "INSERT OR IGNORE INTO actions (user_id, item_id, ts_ms, action, value) "
            "VALUES (?, ?, ?, ?, ?)",
            zip(*columns, strict=True),
        )
        self.connection.execute("COMMIT")

    def close(self) -> None:
        self.connection.close()


def real_batches() -> list[pl.DataFrame]:
    """Online Retail in its own order."""
    actions = (
        pl.read_parquet(REAL).rename({"ts": "ts_ms"}).with_columns(pl.col("value").cast(float))
    )
    return list(actions.iter_slices(BATCH))


def synthetic_batches(rows: int, seed: int = 7) -> Iterator[pl.DataFrame]:
    """Skewed people and items over 90 days in order of time; made batch by batch."""
    rng = np.random.default_rng(seed)
    for start in range(0, rows, BATCH):
        size = min(BATCH, rows - start)
        ts = 1_700_000_000_000 + (start + np.sort(rng.random(size)) * size) / rows * 90 * DAY_MS
        yield pl.DataFrame(
            {
                "user": (USERS * rng.random(size) ** 1.5).astype(np.int64),
                "item": (ITEMS * rng.random(size) ** 2).astype(np.int64),
                "ts_ms": ts.astype(np.int64),
                "kind": rng.integers(0, 3, size),
            }
        ).select(
            pl.format("user-{}", "user").alias("user_id"),
            pl.format("item-{}", "item").alias("item_id"),
            "ts_ms",
            pl.col("kind").replace_strict([0, 1, 2], ["view", "click", "buy"]).alias("action"),
            pl.lit(None, pl.Float64).alias("value"),
        )


def side_by_side(batches: Any, folder: Path) -> dict[str, float]:
    """Append every batch to both, in turn; then once more the first batches, all duplicates."""
    plain = PlainTable(folder / "plain.db")
    taken = {"store": 0.0, "plain": 0.0}
    worked = {"store": 0.0, "plain": 0.0}
    rows = 0
    last_rate = 0.0
    with open_store(folder / "store.db", create=True) as store:
        for number, frame in enumerate(batches):
            rows += len(frame)
            calls = {"store": store.append_actions, "plain": plain.append}
            for name in ("store", "plain") if number % 2 else ("plain", "store"):
                start, start_cpu = time.perf_counter(), time.process_time()
                calls[name](frame)
                took = time.perf_counter() - start
                taken[name] += took
                worked[name] += time.process_time() - start_cpu
                if name == "store":
                    last_rate = len(frame) / took
        kept = store.count_actions()
        start = time.perf_counter()
        scanned = sum(len(part) for part in store.scan_actions())
        scan_s = time.perf_counter() - start
        assert scanned == kept
    plain.close()
    return {
        "rows": rows,
        "kept": kept,
        "store_rows_per_s": rows / taken["store"],
        "plain_rows_per_s": rows / taken["plain"],
        "ratio": taken["plain"] / taken["store"],
        "store_rows_per_cpu_s": rows / worked["store"],
        "plain_rows_per_cpu_s": rows / worked["plain"],
        "store_last_batch_rows_per_s": last_rate,
        "store_bytes_per_action": (folder / "store.db").stat().st_size / kept,
        "plain_bytes_per_action": (folder / "plain.db").stat().st_size / kept,
        "scan_rows_per_s": kept / scan_s,
    }


def again(batches: list[pl.DataFrame], folder: Path) -> float:
    """Rows/s of importing a second time what is all known."""
    with open_store(folder / "store.db") as store:
        start = time.perf_counter()
        outcomes = [store.append_actions(frame) for frame in batches]
        took = time.perf_counter() - start
        assert sum(o.accepted for o in outcomes) == 0
    return sum(len(f) for f in batches) / took


def group_commit(folder: Path, calls: int = 400) -> dict[str, float]:
    """Calls of one action: one caller after the other beside sixteen at once."""
    frames = [
        pl.DataFrame({"user_id": [f"u{i}"], "item_id": ["i"], "ts_ms": [i], "action": ["view"]})
        for i in range(2 * calls)
    ]

    def each(store: Store, part: list[pl.DataFrame], threads: int) -> float:
        start = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(store.append_actions, part))
        return calls / (time.perf_counter() - start)

    with open_store(folder / "calls.db", create=True) as store:
        alone, together = each(store, frames[:calls], 1), each(store, frames[calls:], 16)
    return {"calls_per_s_1": alone, "calls_per_s_16": together, "ratio": together / alone}


def import_alone(rows: int, path: Path) -> dict[str, float]:
    """Import in this process, with nothing beside it; its rate and its peak memory."""
    before = peak_mib()
    taken = worked = 0.0
    with open_store(path, create=True) as store:
        for frame in synthetic_batches(rows):
            start, start_cpu = time.perf_counter(), time.process_time()
            store.append_actions(frame)
            taken += time.perf_counter() - start
            worked += time.process_time() - start_cpu
    return {
        "rows": rows,
        "rows_per_s": rows / taken,
        "rows_per_cpu_s": rows / worked,
        "peak_mib": peak_mib(),
        "before_mib": before,
        "bytes_per_action": path.stat().st_size / rows,
    }


def peak_mib() -> float:
    """The largest resident size of this process; not ru_maxrss, which starts at the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if REAL.exists():
            result["online_retail"] = _rounds(folder, options.rounds)
        (folder / "calls").mkdir()
        result["single_actions"] = group_commit(folder / "calls")
        (folder / "large").mkdir()
        result["synthetic"] = side_by_side(synthetic_batches(options.rows), folder / "large")
        for file in (folder / "large").iterdir():
            file.unlink()
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            result["memory"] = pool.apply(import_alone, (options.rows, folder / "alone.db"))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "ingest_store.json").write_text(json.dumps(result, indent=2))
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        _print(result)


def _rounds(folder: Path, rounds: int) -> dict[str, float]:
    """The median of each figure over rounds on fresh files."""
    batches = real_batches()
    found = []
    for number in range(rounds):
        place = folder / f"real-{number}"
        place.mkdir()
        figures = side_by_side(batches, place)
        figures["known_rows_per_s"] = again(batches, place)
        found.append(figures)
    return {key: statistics.median(f[key] for f in found) for key in found[0]}


def _print(result: dict[str, Any]) -> None:
    for section, figures in result.items():
        print(section)
        for name, value in figures.items():
            print(f"  {name:<30}{value:>16,.1f}")


if __name__ == "__main__":
    main()
