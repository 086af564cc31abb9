"""``engine_ingest_child.py FOLDER SEED`` adds actions until it is killed and prints what was acknowledged."""

from __future__ import annotations

import sys

import wayline

ROWS = 20


def batch(seed: int, number: int) -> list[dict[str, object]]:
    """Batch ``number``; half of its rows are those of the one before."""
    first = number * ROWS // 2
    return [
        {"user_id": f"k{seed}-{r // 7}", "item_id": f"i{r % 50}", "ts": 1_700_000_000_000 + r,
         "action": "buy"}
        for r in range(first, first + ROWS)
    ]  # fmt: skip


def main() -> None:
    """Add and acknowledge, for ever; ask for a feed now and then, so that traces are on their way."""
    seed = int(sys.argv[2])
    engine = wayline.open(sys.argv[1])
    number = 0
    while True:
        engine.add_actions(batch(seed, number))
        print(number, flush=True)
        if number % 5 == 0:
            engine.feed(f"k{seed}-{number}", limit=3)
        number += 1


if __name__ == "__main__":
    main()
