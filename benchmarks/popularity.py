"""What popularity costs one feed request, by catalogue size, beside counting for each request.

    python benchmarks/popularity.py [--items 10000 100000 1000000] [--requests 200]

A request asks two half-lives for the 100 most wanted items and the standardised count of 1,500 candidates. It comes at
a new moment each time: with no action since the last request, with one, with one that came a minute late, or about a
moment in the past. The yardstick beside it does the least that gives the same answers without keeping anything but
counts: decays all of them, takes their logarithms' mean and deviation, and partitions.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from rich.console import Console
from rich.table import Table

from wayline.clock import DAY_MS
from wayline.retrieval.counts import ranked
from wayline.retrieval.popularity import Popularity
from wayline.retrieval.spread import FLOOR
from wayline.schema import IntVector

RESULTS = Path(__file__).parent / "results" / "popularity.json"
HALF_LIVES_DAYS = (7.0, 30.0)
ACTIONS, DAYS, CANDIDATES = 300_000, 60, 1500


class Anew:
    """Counts as of the newest action asked about; everything else is taken anew for each request."""

    def __init__(self, ts_ms: IntVector, item_idx: IntVector, n_items: int) -> None:
        self.at_ts_ms = int(ts_ms[-1])
        age_days = (self.at_ts_ms - ts_ms) / DAY_MS
        self.count = {
            h: np.bincount(item_idx, np.exp2(-age_days / h), minlength=n_items).astype(np.float64)
            for h in HALF_LIVES_DAYS
        }

    def ask(self, at_ts_ms: int, candidates: IntVector) -> None:
        """Answer one request, and stand at its moment."""
        for h in HALF_LIVES_DAYS:
            self.count[h] = self.count[h] * np.exp2(-(at_ts_ms - self.at_ts_ms) / (h * DAY_MS))
            logs = np.log(self.count[h] + FLOOR)
            ranked(self.count[h], 100)
            np.divide(logs[candidates] - logs.mean(), logs.std())
        self.at_ts_ms = at_ts_ms


def measure(n_items: int, requests: int) -> dict[str, float]:
    """Time each kind of request in turns with the yardstick."""
    rng = np.random.default_rng(0)
    ts_ms = np.sort(rng.integers(0, DAYS * DAY_MS, ACTIONS))
    item_idx = (n_items * rng.random(ACTIONS) ** 2).astype(np.int64)
    popularity = Popularity(ts_ms, item_idx, n_items, HALF_LIVES_DAYS)
    anew = Anew(ts_ms, item_idx, n_items)
    candidates = rng.integers(0, n_items, CANDIDATES)
    now = DAYS * DAY_MS

    def ask(at_ts_ms: int) -> None:
        for h in HALF_LIVES_DAYS:
            view = popularity.view(at_ts_ms, h)
            view.top(100)
            view.standardised(candidates)

    def act_and_ask(at_ts_ms: int, late_ms: int = 0) -> None:
        popularity.add(np.array([at_ts_ms - late_ms]), rng.integers(0, n_items, 1))
        ask(at_ts_ms)

    kinds: dict[str, Callable[[int], None]] = {
        "no_action": ask,
        "one_action": act_and_ask,
        "late_action": lambda at_ts_ms: act_and_ask(at_ts_ms, late_ms=60_000),
        "anew": lambda at_ts_ms: anew.ask(at_ts_ms, candidates),
    }
    ask(now)
    spent: dict[str, list[float]] = {kind: [] for kind in [*kinds, "past"]}
    for turn in range(requests):
        for kind, call in kinds.items():
            now += 1000
            spent[kind].append(timed(call, now))
        if turn % 10 == 0:
            spent["past"].append(timed(ask, int(rng.integers(now // 2, now))))
    ms = {kind: median(times) * 1e3 for kind, times in spent.items()}
    return {
        "items": n_items,
        **{f"{kind}_ms": round(value, 3) for kind, value in ms.items()},
        "anew_over_one_action": round(ms["anew"] / ms["one_action"], 1),
    }


def timed(call: Callable[[int], None], at_ts_ms: int) -> float:
    """Seconds that a call about a moment took."""
    began = time.perf_counter()
    call(at_ts_ms)
    return time.perf_counter() - began


def main(argv: list[str] | None = None) -> None:
    """Run the sizes asked for, print a table, write ``results/popularity.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", nargs="+", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    rows = [measure(n_items, args.requests) for n_items in args.items]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=2) + "\n", "utf-8")
    if args.json:
        print(json.dumps(rows))
        return
    table = Table(*rows[0], title="Popularity for one request, medians")
    for row in rows:
        table.add_row(*(f"{value:,}" for value in row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
