"""Evaluating a workspace: its log is split, and a scratch workspace with its settings answers."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wayline.errors import NothingToBuildError

if TYPE_CHECKING:
    import polars as pl

    from wayline.config import Config
    from wayline.engine import Engine
    from wayline.evaluation import Report

LOG_COLUMNS = ("user_id", "item_id", "action", "ts", "value")


def evaluate_workspace(
    engine: Engine,
    *,
    how: Sequence[str],
    k: Sequence[int],
    users: int,
    seed: int,
    on_progress: Callable[[str, int, int], None] | None,
) -> Report:
    """Split the log, build from the training part alone, and ask for feeds as of then.

    The system that is asked is the product's own: a workspace with the same settings and items, in
    a folder that is gone afterwards.
    """
    from wayline.evaluation import evaluate

    items = items_of(engine)
    with ExitStack() as stack:

        def make_system(train: pl.DataFrame) -> Engine:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="wayline-evaluate-"))
            # The sentence encoder's vectors of the same titles are the same: not computed again.
            cache = engine.path / "data" / "cache"
            if cache.is_dir():
                shutil.copytree(cache, Path(folder) / "data" / "cache")
            return _scratch(stack, Path(folder), engine.config, items, train)

        return evaluate(
            log_of(engine),
            items,
            make_system=make_system,
            worths=engine.config.actions,
            how=how,
            k=k,
            users=users,
            seed=seed,
            on_progress=on_progress,
        )


def log_of(engine: Engine) -> pl.DataFrame:
    """Give the whole log as a frame: user_id, item_id, action, ts (UTC ms), value."""
    import polars as pl

    store = engine.store
    names = np.array(["", *store.action_names()], dtype=object)
    parts = [
        pl.DataFrame(
            {
                "user_id": store.user_ids(batch.user_key),
                "item_id": store.item_ids(batch.item_key),
                "action": names[batch.action_key].tolist(),
                "ts": batch.ts_ms,
                "value": batch.value,
            }
        )
        for batch in store.scan_actions()
    ]
    if not parts:
        raise NothingToBuildError("There are no actions to evaluate on: run `wayline import`.")
    # A forgotten person's id is empty: what they did counts for nobody.
    known = pl.concat(parts).filter(pl.col("user_id") != "")
    return known.with_columns(pl.col("value").fill_nan(None))


def items_of(engine: Engine) -> pl.DataFrame:
    """Give the catalogue as ``add_items`` takes it; ids only seen in actions are left out."""
    import polars as pl

    texts = engine.store.item_texts()
    ids = pl.Series("item_id", engine.store.item_ids(texts["item_key"].to_numpy()), dtype=pl.String)
    said = pl.any_horizontal(
        pl.col("title", "description", "category", "created_ts_ms").is_not_null()
    )
    catalogue: pl.DataFrame = texts.with_columns(ids).filter(said)
    return catalogue.drop("item_key").rename({"created_ts_ms": "created_at"})


def _scratch(
    stack: ExitStack, folder: Path, config: Config, items: pl.DataFrame, train: pl.DataFrame
) -> Engine:
    """Build a workspace of the training part; closed with the stack."""
    import wayline

    settings: dict[str, Any] = dataclasses.asdict(config)
    # Now is the newest action: the log may be years old.
    settings["time"]["clock"] = "log"
    scratch = wayline.open(folder, create=True, config=settings)
    stack.callback(scratch.close)
    if len(items):
        scratch.add_items(items)
    scratch.add_actions(train.select(LOG_COLUMNS))
    scratch.build()
    return scratch
