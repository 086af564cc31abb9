"""Durable actions per second through ``Engine.add_actions`` from Parquet, bytes an action, and memory.

The yardstick is what one would write first: read the same file with polars and insert it into a plain SQLite table of
texts with a unique constraint, the same pragmas (WAL, every commit fsynced) and batches. Both take the whole path from
the file to the disk, in turns.

    python benchmarks/ingest.py [--rows 5000000] [--rounds 3] [--json]

The big import runs in a process of its own, which reports its peak memory.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

import wayline
from ingest_store import PlainTable, synthetic_batches
from wayline.datasets import online_retail

RESULTS = Path(__file__).parent / "results" / "ingest.json"
BATCH = 100_000  # what intake hands on at once

CHILD = """
import json, sys, time
from pathlib import Path
import wayline
engine = wayline.open(sys.argv[2], create=True, config={"actions": {"view": 1.0}})
began = time.perf_counter(); cpu = time.process_time()
receipt = engine.add_actions(Path(sys.argv[1]))
seconds = time.perf_counter() - began
peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
answer = {"accepted": receipt.accepted, "seconds": seconds, "peak_mib": int(peak) / 1024}
print(json.dumps(answer | {"cpu_s": time.process_time() - cpu}))
engine.close()
"""


def bytes_on_disk(folder: Path) -> int:
    """Size of the database, its log included."""
    return sum(f.stat().st_size for f in (folder / "data").glob("wayline.db*"))


def real(rounds: int) -> dict[str, float]:
    """Import the packaged shop and a plain table in turns, then the shop once more."""
    path = online_retail().actions
    rates, plain, again, size, rows = [], [], [], 0, 0
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            with wayline.open(folder / "w", create=True) as engine:
                began = time.perf_counter()
                receipt = engine.add_actions(path)
                rates.append(receipt.accepted / (time.perf_counter() - began))
                began = time.perf_counter()
                second = engine.add_actions(path)
                rows = receipt.accepted + receipt.duplicates
                assert second.accepted == 0
                assert second.duplicates == rows
                again.append(rows / (time.perf_counter() - began))
            size = bytes_on_disk(folder / "w") // receipt.accepted
            table = PlainTable(folder / "plain.db")
            began = time.perf_counter()
            frame = pl.read_parquet(path).rename({"ts": "ts_ms"})
            for batch in frame.iter_slices(BATCH):
                table.append(batch)
            plain.append(rows / (time.perf_counter() - began))
            table.close()
    rate = statistics.median(rates)
    return {
        "rows": rows,
        "actions_per_s": round(rate),
        "lowest": round(min(rates)),
        "plain_table_per_s": round(statistics.median(plain)),
        "ratio": round(statistics.median(a / b for a, b in zip(rates, plain, strict=True)), 2),
        "again_per_s": round(statistics.median(again)),
        "bytes_an_action": size,
    }


def big(rows: int) -> dict[str, float]:
    """Import ``rows`` made actions from one Parquet file in a process of its own."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = folder / "actions.parquet"
        pl.concat(list(synthetic_batches(rows))).write_parquet(path, row_group_size=1 << 18)
        child = [sys.executable, "-c", CHILD, str(path), str(folder / "w")]
        answer = json.loads(subprocess.run(child, check=True, capture_output=True).stdout)
        return {
            "rows": rows,
            "actions_per_s": round(answer["accepted"] / answer["seconds"]),
            "per_cpu_s": round(answer["accepted"] / answer["cpu_s"]),
            "peak_mib": round(answer["peak_mib"]),
            "bytes_an_action": bytes_on_disk(folder / "w") // max(answer["accepted"], 1),
        }


def main(argv: list[str] | None = None) -> None:
    """Run both, print tables, write ``results/ingest.json``."""
    parser = argparse.ArgumentParser(description="Measure durable ingest through the engine.")
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    found = {"real": real(args.rounds), "made": big(args.rows)}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    if args.json:
        print(json.dumps(found))
        return
    for name, row in found.items():
        table = Table(*row, title=f"Ingest from Parquet, {name} log")
        table.add_row(*(f"{v:,}" for v in row.values()))
        Console().print(table)


if __name__ == "__main__":
    main()
