"""Build a generation: everything that is derived from the log, made at once and published whole."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from wayline.config import Config
from wayline.embeddings.build import Embeddings, Interactions, build_embeddings
from wayline.embeddings.linear import quantise
from wayline.embeddings.near_duplicates import near_duplicates
from wayline.embeddings.text import item_text
from wayline.errors import NothingToBuildError
from wayline.interests.everybody import find_everybodys_interests
from wayline.interests.labels import Labeller
from wayline.interests.live import Counted, LiveInterests
from wayline.interests.table import InterestTable
from wayline.journeys.building import JOURNEYS, MadeJourneys, make_journeys, make_keywords
from wayline.journeys.people import LogRows
from wayline.journeys.table import JourneyTable
from wayline.ranking.learned import carry
from wayline.retrieval.fit import Touches, Wants, count_tables, fit_recipe
from wayline.retrieval.next_item.inference import FOLDER as NEXT_ITEM
from wayline.retrieval.recipe import Recipe, plain_recipe
from wayline.retrieval.sources.fresh import NOT_BORN
from wayline.rewards.reward import mean_rate
from wayline.schema import CONTROL_PREFIXES, BoolVector, FloatMatrix, FloatVector, IntVector
from wayline.sequences.history import UserSequence, Worths, ranks
from wayline.storage.generations import Generations
from wayline.storage.store import Store
from wayline.storage.usearch_index import UsearchIndex

Progress = Callable[[str, float], None]
KEPT_GENERATIONS = 5
INTERESTS = "interests.parquet"
NEWEST = "newest_ts_ms.npy"
WANTED_PAIRS = "wanted_pairs.npy"
HEARD = "heard.npy"  # only of a build with `until`


@dataclass(frozen=True, slots=True)
class LogColumns:
    """The log as far as a build reads it, oldest first, shape [M]; ``worth`` scaled to 1."""

    user_idx: IntVector
    item_idx: IntVector
    action_key: npt.NDArray[np.int16]
    ts_ms: IntVector
    worth: FloatVector
    positions: IntVector
    position: int
    until: int
    n_users: int
    n_items: int

    def newest_ts_ms(self) -> IntVector:
        """Give each person's newest action, -1 for none, shape [U]."""
        newest = np.full(self.n_users, -1, np.int64)
        newest[self.user_idx] = self.ts_ms  # oldest first, so the last one stays
        return newest

    def wants(self) -> Wants:
        """Give the first-time wanting actions."""
        positive = np.flatnonzero(self.worth > 0)
        pair = self.user_idx[positive] * np.int64(self.n_items + 1) + self.item_idx[positive]
        _, first, inverse = np.unique(pair, return_index=True, return_inverse=True)
        largest = np.zeros(len(first), np.float32)
        np.maximum.at(largest, inverse, self.worth[positive])
        order = np.argsort(first)
        rows = positive[first[order]]
        return Wants(
            self.user_idx[rows], self.item_idx[rows], self.ts_ms[rows], largest[order],
            self.n_users, self.n_items, touches=Touches(ranks(first)[inverse], self.ts_ms[positive]),
        )  # fmt: skip


@dataclass(slots=True)
class Stopwatch:
    """Seconds by step, and the progress shown meanwhile."""

    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[float], None]]:
        """Time one step; what it yields takes the share done."""
        self.progress(name, 0.0)
        began = time.perf_counter()
        yield lambda share: self.progress(name, share)
        self.seconds[name] = round(time.perf_counter() - began, 2)
        self.progress(name, 1.0)


def read_log(store: Store, worths: Worths, until_ts_ms: int | None) -> LogColumns:
    """Read the whole log up to a time, oldest first.

    Raises
    ------
    NothingToBuildError
        If no action up to then is worth anything above 0.
    """
    parts = list(store.scan_actions(until_ts_ms=until_ts_ms))
    if not parts:
        when = "in the workspace" if until_ts_ms is None else "up to that time"
        raise NothingToBuildError(
            f"There are no actions {when}: import some with `wayline import FILE`."
        )
    ts_ms = np.concatenate([p.ts_ms for p in parts])
    worth = worths.of(np.concatenate([p.action_key for p in parts]).astype(np.int64))
    if not (worth > 0).any():
        raise NothingToBuildError(
            f"None of {len(ts_ms):,} actions is worth anything above 0 (they are called "
            f"{', '.join(sorted(store.action_names())[:8])}): name them under [actions] in wayline.toml."
        )
    order = np.argsort(ts_ms, kind="stable")
    user_key = np.concatenate([p.user_key for p in parts])[order]
    item_key = np.concatenate([p.item_key for p in parts])[order]
    return LogColumns(
        user_key - 1, item_key - 1,
        np.concatenate([p.action_key for p in parts])[order], ts_ms[order], worth[order],
        np.concatenate([p.position for p in parts])[order],
        position=int(parts[-1].position[-1]),
        until=int(ts_ms.max()) if until_ts_ms is None else until_ts_ms,
        n_users=int(user_key.max()),
        n_items=max(int(item_key.max()), store.count_items() if until_ts_ms is None else 0),
    )  # fmt: skip


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
        texts = _texts(store, log.n_items)
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
        recipe = _fit(wants, texts, config, cache, share)
    with watch.step("find interests") as share:
        interests = _interests(store, log, found, config, generations, share)
    journeys = None
    if config.journeys.mode == "on":
        with watch.step("find journeys") as share:
            journeys = find_all_journeys(
                store, log, texts, found.vectors, found.usable, config, generations, cache, share
            )
    with watch.step("publish"), generations.begin() as writer:
        folder = writer.path
        if journeys is not None:
            journeys.save(folder)
        index.save(folder / "index.usearch")
        np.save(folder / "vectors.npy", found.vectors)
        np.save(folder / "vectors.int8.npy", quantise(found.vectors))
        np.save(folder / "usable.npy", found.usable)
        np.save(folder / "left_out.npy", left_out)
        if heard is not None:
            np.save(folder / HEARD, heard)
        np.save(folder / "born_ts_ms.npy", _born(texts, wants))
        np.save(folder / "want_ts_ms.npy", wants.ts_ms)
        np.save(folder / WANTED_PAIRS, np.sort(pairs_of(wants.user_idx + 1, wants.item_idx + 1)))
        np.save(folder / "want_item_idx.npy", wants.item_idx.astype(np.int32))
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


def log_rows(store: Store, log: LogColumns) -> LogRows:
    """Give the log as journeys read it, with what people searched for."""
    ours = [
        key for key, name in enumerate(store.action_names(), 1) if name.startswith(CONTROL_PREFIXES)
    ]
    words = store.action_words()
    if ours and words.height:  # controls carry texts of their own
        theirs = log.positions[np.isin(log.action_key, ours)]
        words = words.filter(~pl.col("position").is_in(theirs.tolist()))
    return LogRows(log.user_idx, log.item_idx, log.ts_ms, log.worth, log.positions, words)


def find_all_journeys(
    store: Store,
    log: LogColumns,
    texts: pl.DataFrame,
    vectors: FloatMatrix,
    usable: BoolVector,
    config: Config,
    generations: Generations,
    cache: Path,
    share: Callable[[float], None],
) -> MadeJourneys:
    """Find everybody's journeys; ids and names continue those of the generation in use."""
    current = generations.current()
    before = JourneyTable.read(
        generations.open(current)[0] / JOURNEYS if current else cache / JOURNEYS
    )
    rows = log_rows(store, log)
    keywords = make_keywords(texts, vectors, usable, rows, config.embeddings, cache)
    stamp = f"{current} {log.position} {log.until} {config.journeys} {config.actions} {config.embeddings}"
    return make_journeys(
        keywords, texts, rows, config.journeys, now_ts_ms=log.until, user_ids=store.user_ids, before=before,
        answers=None, unfinished=cache / "journeys", stamp=stamp, progress=lambda _what, done: share(done),
        most=config.sequences.lifelong,
    )  # fmt: skip


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


def _texts(store: Store, n_items: int) -> pl.DataFrame:
    texts = store.item_texts().head(n_items)
    ids = store.item_ids(texts["item_key"].to_numpy())
    return texts.with_columns(item_id=pl.Series(ids, dtype=pl.String))


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
    config: Config,
    cache: Path,
    share: Callable[[float], None],
) -> Recipe:
    if config.recipe.mode == "plain":
        return plain_recipe().pinned(config.recipe.pins)

    def vectors_of(past: Wants) -> Any:
        return _embed(texts, past, config, cache, lambda _: None).vectors

    return fit_recipe(wants, vectors_of, progress=share).pinned(config.recipe.pins)


def past_vectors(store: Store, config: Config, past: Wants, cache: Path) -> FloatMatrix:
    """Make item vectors [N, D] as a build would have made them from the actions given and no later ones."""
    texts = _texts(store, past.n_items)
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
