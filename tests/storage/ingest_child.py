"""``ingest_child.py DB SEED`` appends until it is killed and prints what was acknowledged."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl

from wayline.storage import open_store

ROWS = 400


def batch(seed: int, number: int) -> pl.DataFrame:
    """Batch ``number``: new people and items each time, half of them those of the last."""
    first = (number * ROWS) // 2
    rows = range(first, first + ROWS)
    return pl.DataFrame(
        {
            "user_id": [f"u{seed}-{r // 9}" for r in rows],
            "item_id": [f"i{r % 997}" for r in rows],
            "ts_ms": [r * 1000 for r in rows],
            "action": ["view" if r % 3 else "buy" for r in rows],
            "action_id": [f"a{seed}-{r}" if r % 2 else None for r in rows],
            "query": ["lamp" if r % 5 == 0 else None for r in rows],
        }
    )


def main() -> None:
    """Append and acknowledge, for ever."""
    seed = int(sys.argv[2])
    with open_store(Path(sys.argv[1]), create=True) as store:
        number = 0
        while True:
            store.append_actions(batch(seed, number))
            print(number, flush=True)
            number += 1


if __name__ == "__main__":
    main()
