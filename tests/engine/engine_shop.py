"""A made log with planted structure, and short ways to ask an engine about it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from wayline.engine import Engine
from wayline.engine import open as open_workspace

START = 1_600_000_000_000
HOUR = 3_600_000
DAY = 24 * HOUR
CONFIG: dict[str, dict[str, Any]] = {
    "actions": {"buy": 1.0, "view": 0.2, "return": -1.0},
    "time": {"clock": "log"},
    "embeddings": {"kind": "graph", "dim": 16},
}
COLUMNS = {"user_id": pl.String, "item_id": pl.String, "ts": pl.Int64, "action": pl.String}


def made_log(users: int = 60, items: int = 40, days: int = 30, seed: int = 7) -> pl.DataFrame:
    """Two tastes of half the items each, walked in order: item n is mostly followed by n + 1."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        half = items // 2
        at, ts = int(rng.integers(half)), START + int(rng.integers(days * 12)) * HOUR
        for _ in range(int(rng.integers(8, 18))):
            at = (at + 1) % half if rng.random() < 0.8 else int(rng.integers(half))
            ts += int(rng.integers(1, 30)) * HOUR
            action = rng.choice(["buy", "view", "return"], p=[0.7, 0.25, 0.05])
            rows.append((f"u{user}", f"i{at + half * (user % 2)}", ts, str(action)))
    return pl.DataFrame(rows, schema=COLUMNS, orient="row").sort("ts", maintain_order=True)


def busy_log(users: int = 110, actions: int = 26, seed: int = 3, items: int = 60) -> pl.DataFrame:
    """Tastes of half the catalogue each; some things come back."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        ts, half, left = START + int(rng.integers(90)) * DAY, user % 2, set(range(items))
        for _ in range(actions):
            ts += int(rng.integers(1, 40)) * HOUR
            pool = [i for i in left if i // (items // 2) == half]
            item = int(rng.choice(pool or list(left)))
            left.discard(item)
            rows.append((f"u{user}", f"i{item}", ts, "buy"))
            if rng.random() < 0.1:
                rows.append((f"u{user}", f"i{item}", ts + HOUR // 2, "return"))
    return pl.DataFrame(rows, schema=COLUMNS, orient="row").sort("ts", maintain_order=True)


def made_items(items: int = 40) -> list[dict[str, Any]]:
    """Titles for all of them."""
    kinds = ("mug", "lamp", "scarf", "clock", "tray")
    return [
        {"item_id": f"i{n}", "title": f"{kinds[n % 5]} number {n}", "category": kinds[n % 5]}
        for n in range(items)
    ]


def opened(folder: Path, **overrides: dict[str, Any]) -> Engine:
    """A workspace with ``CONFIG`` and what is said over it."""
    config = {**CONFIG, **{k: {**CONFIG.get(k, {}), **v} for k, v in overrides.items()}}
    return open_workspace(folder, create=True, config=config)


def ids(answer: Any) -> list[str]:
    """The items of a feed."""
    return [item.item_id for item in answer.items]


def answers(engine: Engine, users: Iterable[str], at: int) -> dict[str, Any]:
    """All that is said about some people at a moment: feeds with scores and reasons, interests, histories."""
    out: dict[str, Any] = {}
    for user in users:
        feed = engine.feed(user, limit=15, at=at)
        assert feed.degraded == []
        out[user] = (
            [(i.item_id, i.score, i.reasons) for i in feed.items],
            feed.cold_start,
            engine.interests(user, at=at),
            engine.actions(user, at=at),
        )
    return out
