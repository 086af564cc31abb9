"""The next-item model of the workspace's own log: trained beside the ranker, and a source of candidates then on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from engine_shop import COLUMNS, DAY, HOUR, START, made_items, opened

from wayline.engine import Engine
from wayline.retrieval.next_item.inference import FOLDER, WEIGHTS

ITEMS = 40
RANKING = {
    "epochs": 1, "margin": 9.0, "max_requests": 800, "negatives": 4, "tokens": 6, "item_dim": 4,
    "windows": 1,
}  # fmt: skip


def walking_log(users: int = 120, actions: int = 24) -> pl.DataFrame:
    """Everybody walks through the catalogue, one item after its neighbour, from a place of their own."""
    rng = np.random.default_rng(5)
    rows = []
    for user in range(users):
        ts, place = START + int(rng.integers(60)) * DAY, int(rng.integers(ITEMS))
        for step in range(actions):
            ts += int(rng.integers(1, 30)) * HOUR
            rows.append((f"u{user}", f"i{(place + step) % ITEMS}", ts, "buy"))
    return pl.DataFrame(rows, schema=COLUMNS, orient="row").sort("ts", maintain_order=True)


def from_sequence(engine: Engine) -> int:
    """How many items of one more feed the source brought."""
    before = engine.stats()["counters"].get("source:sequence", 0)
    assert engine.feed("u3").items
    return int(engine.stats()["counters"].get("source:sequence", 0)) - before


def test_the_next_item_model_becomes_a_source_and_is_carried_to_the_next_build(
    tmp_path: Path,
) -> None:
    with opened(tmp_path / "shop", ranking=RANKING, retrieval={"sequence_s": 4}) as engine:
        engine.add_items(made_items(ITEMS))
        engine.add_actions(walking_log())
        engine.build()
        trained = engine.train()
        report = trained.metrics["ranker"]
        assert report["decided"] == "kept"  # no ranker is better by so much
        assert report["sequence"]["hit_rate_at_10"] > 0.5
        folder = engine.path / "data" / "generations" / trained.id
        assert (folder / FOLDER / WEIGHTS).exists()
        assert "ranker" not in {path.name for path in folder.iterdir()}
        assert from_sequence(engine) > 0
        engine.build()
        assert from_sequence(engine) > 0
        (engine.path / "data" / "generations" / engine.build().id / FOLDER / WEIGHTS).write_bytes(
            b"no weights"
        )
    with opened(tmp_path / "shop", ranking=RANKING, retrieval={"sequence_s": 4}) as engine:
        assert from_sequence(engine) == 0  # said in the log, and left out
