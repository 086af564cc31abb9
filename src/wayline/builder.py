"""Build a generation: everything that is derived from the log, made at once and published whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from wayline.config import Config
from wayline.embeddings.build import Embeddings, Interactions, build_embeddings
from wayline.embeddings.linear import quantise
from wayline.embeddings.near_duplicates import near_duplicates
from wayline.embeddings.text import item_text
from wayline.interests.everybody import find_everybodys_interests
from wayline.interests.labels import Labeller
from wayline.interests.live import Counted, LiveInterests
from wayline.interests.table import InterestTable
from wayline.journey_builder import find_all_journeys
from wayline.log_columns import LogColumns, Progress, Stopwatch, read_log, read_texts
from wayline.ranking.learned import carry
from wayline.retrieval.births import NOT_BORN, Births
from wayline.retrieval.fit import Wants, count_tables, fit_recipe
from wayline.retrieval.next_item.inference import FOLDER as NEXT_ITEM
from wayline.retrieval.recipe import Recipe, plain_recipe
from wayline.rewards.reward import mean_rate
from wayline.schema import BoolVector, FloatMatrix, IntVector
from wayline.sequences.history import UserSequence, Worths
from wayline.storage.generations import Generations
from wayline.storage.store import Store
from wayline.storage.usearch_index import UsearchIndex

KEPT_GENERATIONS = 5
INTERESTS = "interests.parquet"
NEWEST = "newest_ts_ms.npy"
WANTED_PAIRS = "wanted_pairs.npy"
HEARD = "heard.npy"  # only of a build with `until`


def build_generation(
    store: Store,
    generations: Generations,
    config: Config,
    *,
    until_ts_ms: int | None,
    now_ts_ms: int,
    cache: Path,
    progress: Progress,
) -> str:
    """Make and publish one generation; gives its id. Hold ``generations.lock()``.

    Parameters
    ----------
    until_ts_ms : int, optional
        Use no action later than this.
    cache : Path
        Where text vectors are kept between builds.
    """
    watch = Stopwatch(progress)
    cache.mkdir(parents=True, exist_ok=True)
    with watch.step("read the log"):
        worths = Worths(config.actions, store.action_names())
        log = read_log(store, worths, until_ts_ms)
        texts = read_texts(store, log.n_items)
        heard = None if until_ts_ms is None else ~_unheard_of(log, texts)
        wants = replace(log.wants(), heard=heard)
    support = np.bincount(wants.item_idx, minlength=log.n_items)
    with watch.step("embed the items") as share:
        found = _embed(texts, wants, config, cache, share)
    with watch.step("index them"):
        hidden = texts["hidden"].to_numpy()
        left_out = _left_out(found, texts, support, hidden)
        if heard is not None:
            left_out |= ~heard
        indexed = np.flatnonzero(found.usable & ~left_out & ~hidden)
        index = UsearchIndex.build(indexed, found.vectors[indexed])
    with watch.step("count what goes with what"):
        tables = count_tables(wants)
    with watch.step("fit the recipe") as share:
        born_ts_ms = _born(texts, wants)
        recipe = _fit(wants, texts, born_ts_ms, config, cache, share)
    with watch.step("find interests") as share:
        interests = _interests(store, log, found, config, generations, share)
    journeys = None
    if config.journeys.mode == "on":
        with watch.step("find journeys") as share:
            journeys = find_all_journeys(
                store, log, texts, found.vectors, found.usable, config, generations, cache,
                lambda _what, done: share(done),
            )  # fmt: skip
    with watch.step("publish"), generations.begin() as writer:
        folder = writer.path
        if journeys is not None:
            journeys.save(folder)
        index.save(folder / "index.usearch")
        _save_items(folder, found, left_out, born_ts_ms)
        _save_wants(folder, wants)
        for name, table in tables.items():
            table.save(folder, name)
        recipe.save(folder / "recipe.json")
        interests.write_parquet(folder / INTERESTS)
        np.save(folder / NEWEST, log.newest_ts_ms())
        texts.select("title", "category", "tags").write_parquet(folder / "titles.parquet")
        manifest = _manifest(log, wants, found, recipe, config, now_ts_ms, watch)
        # What came of feeds after ``until`` is not to be known, and the totals have no time.
        known = until_ts_ms is None
        manifest["mean_reward"] = mean_rate(store.totals(), worths) if known else 0.0
        manifest["metrics"] |= _carry_learned(generations, folder, found)
        if journeys is not None:
            manifest["metrics"]["journeys"] = journeys.report
        id_ = writer.publish(manifest)
    generations.prune(KEPT_GENERATIONS)
    return id_


def _save_items(
    folder: Path, found: Embeddings, left_out: BoolVector, born_ts_ms: IntVector
) -> None:
    np.save(folder / "vectors.npy", found.vectors)
    np.save(folder / "vectors.int8.npy", quantise(found.vectors))
    np.save(folder / "usable.npy", found.usable)
    np.save(folder / "left_out.npy", left_out)
    np.save(folder / "born_ts_ms.npy", born_ts_ms)


def _save_wants(folder: Path, wants: Wants) -> None:
    if wants.heard is not None:
        np.save(folder / HEARD, wants.heard)
    np.save(folder / "want_ts_ms.npy", wants.ts_ms)
    np.save(folder / WANTED_PAIRS, np.sort(pairs_of(wants.user_idx + 1, wants.item_idx + 1)))
    np.save(folder / "want_item_idx.npy", wants.item_idx.astype(np.int32))


def _carry_learned(generations: Generations, folder: Path, found: Embeddings) -> dict[str, Any]:
    """Take along what training made for the generation in use; gives what the manifest says of the ranker.

    The ranker reads the new vectors, turned into its space; the next-item model knows items by their keys.
    """
    current = generations.current()
    if current is None:
        return {}
    path, before = generations.open(current)
    if (path / NEXT_ITEM).is_dir():
        shutil.copytree(path / NEXT_ITEM, folder / NEXT_ITEM)
    if not carry(path, folder, found.vectors):
        return {}
    return {"ranker": before["metrics"].get("ranker", {})}


def _manifest(
    log: LogColumns,
    wants: Wants,
    found: Embeddings,
    recipe: Recipe,
    config: Config,
    now_ts_ms: int,
    watch: Stopwatch,
) -> dict[str, Any]:
    return {
        "created_at": now_ts_ms,
        "position": log.position,
        "until": log.until,
        "items": log.n_items,
        "users": log.n_users,
        "actions": len(log.item_idx),
        "wants": len(wants),
        "embeddings": {"kind": found.kind, "dim": found.vectors.shape[1], "notes": found.notes},
        "metrics": {"recipe": dict(recipe.report)},
        "recipe": {"weights": recipe.to_dict()["weights"], "diversity": recipe.diversity},
        "actions_worth": dict(config.actions),
        "seconds": watch.seconds,
    }


def _embed(
    texts: pl.DataFrame,
    wants: Wants,
    config: Config,
    cache: Path,
    share: Callable[[float], None],
) -> Embeddings:
    columns = texts.select("title", "category", "tags", "description").iter_rows()
    return build_embeddings(
        [item_text(title, category, tags or (), text) for title, category, tags, text in columns],
        Interactions(wants.user_idx, wants.item_idx, wants.ts_ms, wants.worth),
        config.embeddings,
        item_ids=texts["item_id"].to_list() if "item_id" in texts.columns else (),
        cache_path=cache / "text_vectors.npz",
        progress=lambda _what, done, total: share(done / max(total, 1)),
    )


def _left_out(
    found: Embeddings, texts: pl.DataFrame, support: IntVector, hidden: BoolVector
) -> BoolVector:
    """Items that are the same as a more wanted one that may be shown: they are never shown."""
    keys = np.flatnonzero(found.usable & ~hidden)
    titles = texts["title"].to_list()
    left = near_duplicates(
        found.vectors[keys], keys, [titles[k] for k in keys.tolist()], support[keys]
    )
    out = np.zeros(len(found.usable), bool)
    out[left] = True
    return out


def _unheard_of(log: LogColumns, texts: pl.DataFrame) -> BoolVector:
    """Items that have a key only because of actions after ``until``: nobody had acted on them, no
    catalogue described them.
    """
    described = texts.select(
        pl.col("title").is_not_null()
        | pl.col("description").is_not_null()
        | pl.col("category").is_not_null()
        | pl.col("created_ts_ms").is_not_null()
        | (pl.col("tags").list.len() > 0).fill_null(False)
    ).to_series()
    nobody_acted = np.bincount(log.item_idx, minlength=log.n_items) == 0
    return np.asarray(~described.to_numpy() & nobody_acted)


def _fit(
    wants: Wants,
    texts: pl.DataFrame,
    born_ts_ms: IntVector,
    config: Config,
    cache: Path,
    share: Callable[[float], None],
) -> Recipe:
    if config.recipe.mode == "plain":
        return plain_recipe().pinned(config.recipe.pins)

    def vectors_of(past: Wants) -> Any:
        return _embed(texts, past, config, cache, lambda _: None).vectors

    births = Births(born_ts_ms)
    return fit_recipe(wants, vectors_of, births, progress=share).pinned(config.recipe.pins)


def past_vectors(store: Store, config: Config, past: Wants, cache: Path) -> FloatMatrix:
    """Make item vectors [N, D] as a build would have made them from the actions given and no later ones."""
    texts = read_texts(store, past.n_items)
    return _embed(texts, past, config, cache, lambda _: None).vectors


def make_labeller(texts: pl.DataFrame) -> Labeller:
    tags = [
        [*([category] if category else []), *(own or [])]
        for category, own in texts.select("category", "tags").iter_rows()
    ]
    return Labeller(texts["title"].to_list(), tags=tags)


def _interests(
    store: Store,
    log: LogColumns,
    found: Embeddings,
    config: Config,
    generations: Generations,
    share: Callable[[float], None],
) -> pl.DataFrame:
    """Cluster everybody; ids continue those that a feed of the generation in use would show now."""
    item_ids = np.array(store.item_ids(np.arange(log.n_items) + 1), dtype=object)
    current = generations.current()
    before = None
    if current is not None:
        path, manifest = generations.open(current)
        vectors = np.asarray(np.load(path / "vectors.npy", mmap_mode="r"))
        before = LiveInterests(
            read_counted(path, manifest), vectors, np.load(path / "usable.npy"), config.interests,
            lambda item_idx: item_ids[item_idx].tolist(),
        )  # fmt: skip
    return find_everybodys_interests(
        log.user_idx,
        UserSequence(log.item_idx, log.ts_ms, log.worth, log.positions),
        found.vectors,
        found.usable,
        until_ts_ms=log.until,
        config=config.interests,
        user_ids=store.user_ids,
        item_ids=lambda item_idx: item_ids[item_idx].tolist(),
        before=before,
        progress=share,
    )


def pairs_of(user_key: IntVector, item_key: IntVector) -> IntVector:
    """One number for a person and an item, shape [M]."""
    return (user_key.astype(np.int64) << 32) | item_key.astype(np.int64)


def read_counted(path: Path, manifest: Mapping[str, Any]) -> Counted:
    """Read which actions a generation has counted and what interests it found in them."""
    newest = path / NEWEST
    return Counted(
        InterestTable.read(path / INTERESTS),
        int(manifest["position"]),
        int(manifest["until"]),
        np.load(newest) if newest.exists() else np.zeros(0, np.int64),
    )


def _born(texts: pl.DataFrame, wants: Wants) -> IntVector:
    """When each item came: as the catalogue says, else its first wanting action, shape [N]."""
    first = np.full(len(texts), NOT_BORN, np.int64)
    np.minimum.at(first, wants.item_idx, wants.ts_ms)
    created = texts["created_ts_ms"].fill_null(-1).to_numpy()
    return np.where(created >= 0, created, first)
