"""What the studio's page of items costs: finding by words, and one item from all sides.

    python benchmarks/items.py [--items 100000] [--actions 1000000] [--answers 30000] [--json]

A made catalogue (five words a title, a category, three tags, a description of 240 characters), actions on items of a
few favourites and many others, and answered feeds of 20 items with traces of 3 kB. Everything goes through
``engine.catalogue``. First: nothing in memory; then the median of nine. Nothing is built: interests are not asked for.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

import wayline
from wayline.clock import DAY_MS
from wayline.storage import RequestTrace

RESULTS = Path(__file__).parent / "results" / "items.json"
NOW_MS = 1_700_000_000_000
STEMS = (
    "red",
    "blue",
    "garden",
    "wool",
    "oak",
    "tea",
    "lamp",
    "scarf",
    "night",
    "paper",
    "party",
    "glass",
    "steel",
)
ENDS = ("", "en", "ish", "holder", "set", "box", "kit", "bag")
QUERIES = (
    "",
    "sku-77777",
    "sku-77",
    "red",
    "garden lampholder",
    "paper party glass",
    "e",
    "unicorn",
)
TIMES = 9


def made_workspace(folder: Path, items: int, actions: int, answers: int) -> wayline.Engine:
    """Make the catalogue, the log, and what was shown."""
    rng = np.random.default_rng(0)
    words = np.array([stem + end for stem in STEMS for end in ENDS])
    engine = wayline.open(folder / "shop", create=True)
    engine.add_items(
        pl.DataFrame(
            {
                "item_id": [f"sku-{n}" for n in range(items)],
                "title": [" ".join(row) for row in rng.choice(words, (items, 5))],
                "category": rng.choice(words, items),
                "tags": ["|".join(row) for row in rng.choice(words, (items, 3))],
                "description": ["lorem ipsum " * 20] * items,
            }
        )
    )
    engine.store.append_actions(
        pl.DataFrame(
            {
                "user_id": [f"u{n}" for n in rng.integers(0, 50_000, actions)],
                "item_id": [f"sku-{n}" for n in rng.zipf(1.2, actions) % items],
                "action": rng.choice(["view", "save", "buy"], actions),
                "ts_ms": NOW_MS - rng.integers(0, 365 * DAY_MS, actions),
            }
        )
    )
    nothing = np.zeros(20, np.float32)
    for start in range(0, answers, 1000):
        engine.store.append_traces(
            [
                RequestTrace(
                    f"r{n}", int(rng.integers(1, 40_000)), NOW_MS + n, rng.zipf(1.2, 20) % items + 1,
                    nothing, nothing, trace={"made": "x" * 3000},
                )
                for n in range(start, min(start + 1000, answers))
            ]
        )  # fmt: skip
    return engine


def timed(ask: Callable[[], Any]) -> tuple[float, float]:
    """Milliseconds of the first answer, and the median of the next ones."""
    took = []
    for _ in range(TIMES + 1):
        began = time.perf_counter()
        ask()
        took.append(1000 * (time.perf_counter() - began))
    return took[0], float(np.median(took[1:]))


def main() -> None:
    """Make, ask, print, keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--actions", type=int, default=1_000_000)
    parser.add_argument("--answers", type=int, default=30_000)
    parser.add_argument("--json", action="store_true", dest="as_json")
    chosen = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        made_workspace(Path(folder), chosen.items, chosen.actions, chosen.answers) as engine,
    ):
        ask = engine.catalogue
        found = {"what was done with an item": timed(lambda: ask.actions("sku-1"))}
        for query in QUERIES:
            found[f"search “{query}”"] = timed(lambda query=query: ask.search(query))
        found["what came of showing an item"] = timed(lambda: ask.feedback("sku-1"))
        engine.catalogue.change("sku-5", title="changed")
        found["search after a change"] = timed(lambda: ask.search("changed"))
    RESULTS.parent.mkdir(exist_ok=True)
    written = json.dumps({"made": vars(chosen), "ms": found}, indent=2, ensure_ascii=False)
    RESULTS.write_text(written + "\n", "utf-8")
    if chosen.as_json:
        print(written)
        return
    table = Table("", "first ms", "then ms")
    for name, (first, then) in found.items():
        table.add_row(name, f"{first:,.1f}", f"{then:,.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
