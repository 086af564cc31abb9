"""A made shop whose titles say what items are for, and people who walk through its topics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from engine_shop import HOUR, START, opened

from wayline.engine import Engine
from wayline.schema import Journey

TOPICS = (
    "garden lamp", "baking tin", "wool scarf", "wall clock", "tea cup", "toy train", "picture frame",
    "paper flower", "candle stick", "lunch bag",
)  # fmt: skip
EACH = 14
DAYS = 160
COLUMNS = {
    "user_id": pl.String, "item_id": pl.String, "ts": pl.Int64, "action": pl.String,
    "query": pl.String,
}  # fmt: skip
PLAIN: dict[str, dict[str, Any]] = {"recipe": {"mode": "plain"}, "feed": {"limit": 5}}
PEOPLE = 70


def topic_items() -> list[dict[str, Any]]:
    """Items called after their topic, in four colours."""
    colours = ("red", "blue", "green", "white")
    return [
        {"item_id": f"i{n}", "title": f"{colours[n % 4]} {TOPICS[n // EACH]}"}
        for n in range(EACH * len(TOPICS))
    ]


def topic_log(people: int = PEOPLE, seed: int = 11) -> pl.DataFrame:
    """Each person is on two or three topics, one after the other or at once; some search."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[str, str, int, str, str | None]] = []
    for person in range(people):
        for topic in rng.choice(len(TOPICS), int(rng.integers(2, 4)), replace=False).tolist():
            day = float(rng.uniform(0, DAYS - 30))
            for item in rng.choice(EACH, int(rng.integers(3, 9)), replace=False).tolist():
                day = min(day + float(rng.uniform(0.1, 5)), DAYS)
                ts = START + round(day * 24) * HOUR + person
                action = str(rng.choice(["buy", "view", "return"], p=[0.7, 0.25, 0.05]))
                search = f"{TOPICS[topic]} gift" if rng.random() < 0.15 else None
                rows.append((f"u{person}", f"i{topic * EACH + item}", ts, action, search))
    return pl.DataFrame(rows, schema=COLUMNS, orient="row").sort("ts", maintain_order=True)


def built_shop(
    folder: Path, log: pl.DataFrame | None = None, **overrides: dict[str, Any]
) -> Engine:
    """A workspace of that shop, built; close it."""
    engine = opened(folder, **{**PLAIN, **overrides})
    engine.add_items(topic_items())
    engine.add_actions(topic_log() if log is None else log)
    engine.build()
    return engine


def table_of(engine: Engine, id_: str | None = None) -> pl.DataFrame:
    """The journeys of a generation, as they lie there, with the ids of people and items."""
    path = engine.path / "data" / "generations" / (id_ or engine.current_generation() or "")
    rows = pl.read_parquet(path / "journeys.parquet")
    users = pl.Series(
        "user_id", engine.store.user_ids(rows["user_key"].to_numpy()), dtype=pl.String
    )
    items = [engine.store.item_ids(np.array(keys)) for keys in rows["item_keys"].to_list()]
    return rows.with_columns(users, items=pl.Series(items, dtype=pl.List(pl.String)))


Row = tuple[str, str, list[str], str, bool, float]


def stored(table: pl.DataFrame) -> dict[str, list[Row]]:
    """Everybody's journeys as the build wrote them."""
    out: dict[str, list[Row]] = {}
    columns = ("user_id", "journey_id", "name", "items", "stage", "evergreen", "score")
    for user, *row in table.select(columns).iter_rows():
        out.setdefault(user, []).append((*row[:-1], round(row[-1], 6)))  # type: ignore[arg-type]
    return out


def told(journeys: list[Journey]) -> list[Row]:
    """One person's as the engine tells them."""
    return [
        (j.id, j.name, [e.item_id for e in j.evidence], j.stage, j.evergreen, round(j.score, 6))
        for j in journeys
    ]


def newest(engine: Engine) -> int:
    """When the newest action was."""
    return engine.store.newest_ts_ms() or 0
