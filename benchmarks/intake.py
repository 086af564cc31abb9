"""How fast and in how much memory the intake reads, beside the plainest way to do the same in the
same process.

    python benchmarks/intake.py [--rows 1000000] [--out benchmarks/results/intake.json]

Every row of the table is a ratio: the intake against (a) the row-by-row rule that defines it, over
rows parsed by the standard library, and (b) polars reading the same file without checking anything,
which is the floor. Runs alternate, the best of each counts. The last part reads a small and a large
file in fresh processes and compares their peak memory."""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from wayline.intake import read_actions, read_items, validate_actions
from wayline.intake.rules import check_action

NOW_TS_MS = 1_700_000_000_000
BATCH = 500
RULE_ROWS = 100_000  # the rule is slow: fewer rows show its rate as well

MEMORY = """
import sys
from pathlib import Path
from wayline.intake import read_actions
rows = sum(chunk.frame.height for chunk in read_actions(sys.argv[1], now_ts_ms=1_700_000_000_000))
# Not getrusage: its maximum survives the exec and would be this benchmark's own.
print(rows, Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


def actions(rows: int) -> pl.DataFrame:
    """Plausible actions: 20,000 users, 50,000 items, a minute apart."""
    at = pl.int_range(rows, eager=True)
    return pl.DataFrame(
        {
            "userId": pl.select(pl.format("user-{}", (at * 7919) % 20_000)).to_series(),
            "itemId": pl.select(pl.format("item-{}", (at * 104_729) % 50_000)).to_series(),
            "timestamp": 1_600_000_000 + at * 60 % 90_000_000,
            "event": pl.Series(["view", "click", "save", "buy"]).gather(at % 4),
            "value": (at % 5).cast(pl.Float64),
        }
    )


def write(frame: pl.DataFrame, folder: Path) -> dict[str, Path]:
    """The same actions as files of each kind."""
    paths = {kind: folder / f"actions.{kind}" for kind in ("parquet", "csv", "jsonl")}
    frame.write_parquet(paths["parquet"])
    frame.write_csv(paths["csv"])
    frame.write_ndjson(paths["jsonl"])
    iso = frame.with_columns(pl.from_epoch("timestamp").dt.to_string("%Y-%m-%d %H:%M:%S"))
    paths["csv, ISO times"] = folder / "iso.csv"
    iso.write_csv(paths["csv, ISO times"])
    return paths


def by_rule(rows: Iterable[Mapping[str, Any]]) -> int:
    """The reference: rows from the standard library through the readable rule."""
    kept = 0
    for row in rows:
        check_action(
            {
                "user_id": row["userId"],
                "item_id": row["itemId"],
                "ts": row["timestamp"],
                "action": row["event"],
                "value": row["value"],
            },
            now_ts_ms=NOW_TS_MS,
        )
        kept += 1
    return kept


def read(path: Path) -> int:
    return sum(chunk.frame.height for chunk in read_actions(path, now_ts_ms=NOW_TS_MS))


def in_batches(rows: list[dict[str, Any]]) -> int:
    batches = (rows[at : at + BATCH] for at in range(0, len(rows), BATCH))
    return sum(validate_actions(batch, now_ts_ms=NOW_TS_MS).frame.height for batch in batches)


def with_csv(path: Path, most: int) -> int:
    with path.open(newline="", encoding="utf-8") as file:
        return by_rule(row for row, _ in zip(csv.DictReader(file), range(most), strict=False))


def with_json(path: Path, most: int) -> int:
    with path.open(encoding="utf-8") as file:
        return by_rule(json.loads(line) for line, _ in zip(file, range(most), strict=False))


def rates(runs: Mapping[str, Callable[[], int]], repeats: int = 3) -> dict[str, float]:
    """Rows a second of each, the best of alternating runs."""
    best = dict.fromkeys(runs, 0.0)
    for _ in range(repeats):
        for name, run in runs.items():
            begin = time.perf_counter()
            rows = run()
            best[name] = max(best[name], rows / (time.perf_counter() - begin))
    return best


def measure(frame: pl.DataFrame, folder: Path) -> dict[str, dict[str, float]]:
    paths = write(frame, folder)
    rows = frame.to_dicts()
    some = rows[:RULE_ROWS]
    items = pl.DataFrame(
        {
            "id": [f"item-{at}" for at in range(RULE_ROWS)],
            "title": [f"A thing with the number {at}" for at in range(RULE_ROWS)],
            "category": ["things"] * RULE_ROWS,
            "tags": ["red|small|new"] * RULE_ROWS,
        }
    )
    few = min(RULE_ROWS, len(rows))
    tables: dict[str, dict[str, Callable[[], int]]] = {
        "parquet": {
            "intake": lambda: read(paths["parquet"]),
            "rule": lambda: by_rule(some),
            "floor": lambda: pl.read_parquet(paths["parquet"]).height,
        },
        "csv": {
            "intake": lambda: read(paths["csv"]),
            "rule": lambda: with_csv(paths["csv"], few),
            "floor": lambda: pl.read_csv(paths["csv"]).height,
        },
        "csv, ISO times": {
            "intake": lambda: read(paths["csv, ISO times"]),
            "rule": lambda: with_csv(paths["csv, ISO times"], few),
            "floor": lambda: pl.read_csv(paths["csv, ISO times"], try_parse_dates=True).height,
        },
        "jsonl": {
            "intake": lambda: read(paths["jsonl"]),
            "rule": lambda: with_json(paths["jsonl"], few),
            "floor": lambda: pl.read_ndjson(paths["jsonl"]).height,
        },
        f"rows, batches of {BATCH}": {
            "intake": lambda: in_batches(some),
            "rule": lambda: by_rule(some),
            "floor": lambda: pl.DataFrame(some).height,
        },
        "items (frame)": {
            "intake": lambda: sum(chunk.frame.height for chunk in read_items(items)),
            "floor": lambda: len(items.to_dicts()),
        },
    }
    return {name: rates(runs) for name, runs in tables.items()}


def memory(folder: Path, frame: pl.DataFrame) -> dict[str, dict[str, float]]:
    """Peak MiB of a fresh process for a tenth of the rows and for four times the rows."""
    out = {}
    for kind in ("csv", "parquet"):
        peaks = []
        for part in (frame.head(frame.height // 10), pl.concat([frame] * 4)):
            path = folder / f"memory.{kind}"
            part.write_csv(path) if kind == "csv" else part.write_parquet(
                path, row_group_size=250_000
            )
            done = subprocess.run(
                [sys.executable, "-c", MEMORY, str(path)],
                capture_output=True,
                text=True,
                check=True,
            )
            rows, peak_kib = map(int, done.stdout.split())
            assert rows == part.height
            peaks.append(peak_kib / 1024)
        out[kind] = {
            "rows": 4.0 * frame.height,
            "small_mib": peaks[0],
            "large_mib": peaks[1],
            "ratio": peaks[1] / peaks[0],
        }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    frame = actions(args.rows)
    with tempfile.TemporaryDirectory() as name:
        speed = measure(frame, Path(name))
        peak = memory(Path(name), frame)
    print(f"{'source':24s} {'intake rows/s':>14s} {'x the rule':>11s} {'of the floor':>13s}")
    for source, rate in speed.items():
        rule = f"{rate['intake'] / rate['rule']:10.1f}x" if "rule" in rate else " " * 11
        floor = f"{rate['intake'] / rate['floor']:12.0%}"
        print(f"{source:24s} {rate['intake']:14,.0f} {rule} {floor}")
    for kind, row in peak.items():
        print(
            f"peak memory, {kind}: {row['small_mib']:.0f} MiB for {args.rows // 10:,} rows, "
            f"{row['large_mib']:.0f} MiB for {4 * args.rows:,} ({row['ratio']:.2f}x)"
        )
    result = {"rows": args.rows, "rows_per_s": speed, "memory": peak}
    if args.out is not None:
        args.out.write_text(json.dumps(result, indent=1))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
