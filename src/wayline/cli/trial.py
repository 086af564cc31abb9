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
    trainings: int = 0,
) -> Report:
    """Split the log, build from the training part alone, and ask for feeds as of then.

    The system that is asked is the product's own: a workspace with the same settings and items, in
    a folder that is gone afterwards. With ``trainings`` it is asked once more for each ranker
    trained on the training part, seeds from 0 up; one that the guard keeps out answers as the recipe.
    """
    from wayline.evaluation import evaluate

    items = items_of(engine)
    with ExitStack() as stack:

        def build(train: pl.DataFrame) -> Engine:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="wayline-evaluate-"))
            _copy_cache(engine.path, Path(folder))
            return _scratch(stack, Path(folder), engine.config, items, train)

        systems = {"feed": build} if trainings == 0 else _trained(stack, build, trainings)
        return evaluate(
            log_of(engine),
            items,
            make_system=systems,
            worths=engine.config.actions,
            how=how,
            k=k,
            users=users,
            seed=seed,
            on_progress=on_progress,
        )


def _trained(
    stack: ExitStack, build: Callable[[pl.DataFrame], Engine], trainings: int
) -> dict[str, Callable[[pl.DataFrame], Engine]]:
    """Name the systems: the recipe's order, then a ranker for each seed, all over one build of a training part."""
    built: list[Engine] = []

    def recipe(train: pl.DataFrame) -> Engine:
        built.append(build(train))
        return built[-1]

    def ranked(seed: int) -> Callable[[pl.DataFrame], Engine]:
        def make(_train: pl.DataFrame) -> Engine:
            import wayline

            settings: dict[str, Any] = dataclasses.asdict(built[-1].config)
            settings["ranking"]["seed"] = seed
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wayline-train-")))
            path = built[-1].backup(folder / "workspace")
            _copy_cache(built[-1].path, path)
            twin = wayline.open(path, config=settings)
            stack.callback(twin.close)
            twin.train()
            return twin

        return make

    return {"recipe's order": recipe} | {f"feed, seed {n}": ranked(n) for n in range(trainings)}


def _copy_cache(source: Path, target: Path) -> None:
    """The sentence encoder's vectors of the same titles are the same: not computed again."""
    cache = source / "data" / "cache"
    if cache.is_dir():
        shutil.copytree(cache, target / "data" / "cache")


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
