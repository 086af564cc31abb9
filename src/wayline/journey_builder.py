"""Journeys of a workspace: found by each build, or anew on the generation in use, for all or the lately active."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from wayline.config import Config
from wayline.embeddings.text import text_vectors
from wayline.errors import InputError, NoGenerationError
from wayline.journeys.building import (
    ENCODER_DIM,
    FOLDER,
    JOURNEYS,
    SETTINGS,
    MadeJourneys,
    ServedJourneys,
    make_journeys,
    make_keywords,
)
from wayline.journeys.calling import call_journeys
from wayline.journeys.learning import Answers
from wayline.journeys.name_checks import NameChecks, load_blocked_terms
from wayline.journeys.people import LogRows
from wayline.journeys.ranking import FEATURES
from wayline.journeys.table import JourneyTable
from wayline.log_columns import LogColumns, Progress, Stopwatch, read_log, read_texts
from wayline.schema import CONTROL_PREFIXES, BoolVector, FloatMatrix
from wayline.sequences.history import Worths
from wayline.storage.generations import Generations, link_files
from wayline.storage.store import Store

KEPT_ANSWERS = 100_000
UNFINISHED = "journeys"  # in the cache: what a run that was cut off had done


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
    progress: Progress,
) -> MadeJourneys:
    """Find everybody's journeys for a build; ids and names continue those of the generation in use."""
    current = generations.current()
    path = generations.open(current)[0] if current else None
    served = ServedJourneys.open(path) if path else None
    before = served.table if served else JourneyTable.read(cache / JOURNEYS)
    blocked = NameChecks(load_blocked_terms(cache.parent.parent)).blocked
    rows = log_rows(store, log)
    keywords = make_keywords(
        texts, vectors, usable, rows, config.embeddings, cache, blocked, served.keywords if served else None
    )  # fmt: skip
    made = make_journeys(
        keywords, texts, rows, config.journeys, now_ts_ms=log.until, user_ids=store.user_ids, before=before,
        answers=answers_of(store, log.until), unfinished=cache / UNFINISHED, progress=progress,
        stamp=_stamp(current, log, config), most=config.sequences.lifelong, blocked=blocked,
    )  # fmt: skip
    return _called(made, before, texts, config, cache, progress)


def rebuild_journeys(
    store: Store,
    generations: Generations,
    config: Config,
    *,
    since_ts_ms: int | None,
    learn: bool = False,
    now_ts_ms: int,
    cache: Path,
    progress: Progress,
) -> str:
    """Find journeys anew on the generation in use and publish it with them; hold ``generations.lock()``.

    Embeddings, index and keywords stay: people are read up to now, and whoever is asked for gets what a run for
    all would give them.

    Parameters
    ----------
    since_ts_ms : int, optional
        Only people with an action at or after this; the others keep what they have.
    learn : bool
        Learn the ranker anew, from everybody's actions and answers up to now; else it stays as it is.

    Raises
    ------
    InputError
        If a ranker is to be learned from some people alone.
    NoGenerationError
        If nothing was built yet, or without journeys.
    """
    if learn and since_ts_ms is not None:
        raise InputError(
            "Got a time since with learning, expected one of them: a ranker is learned from everybody."
        )
    current = generations.current()
    path, manifest = generations.open(current) if current else (None, {})
    served = ServedJourneys.open(path) if path else None
    if path is None or served is None:
        raise NoGenerationError(
            'There are no journeys to go on from: run `wayline build` first, with journeys.mode = "on".'
        )
    watch = Stopwatch(progress)
    cache.mkdir(parents=True, exist_ok=True)
    with watch.step("read the log"):
        log = read_log(store, Worths(config.actions, store.action_names()), None)
        texts = read_texts(store, log.n_items)
        rows = log_rows(store, log)
    only = None
    if since_ts_ms is not None:
        only = np.unique(log.user_idx[log.ts_ms >= since_ts_ms]) + 1
    with watch.step("find journeys"):
        made = make_journeys(
            served.keywords, texts, rows, config.journeys, now_ts_ms=log.until, user_ids=store.user_ids,
            before=served.table, answers=answers_of(store, log.until) if learn else None,
            ranker=None if learn else served.ranker,
            teller=None if learn else served.teller, unfinished=cache / UNFINISHED, progress=progress, only=only,
            stamp=f"{_stamp(current, log, config)} since {since_ts_ms}", most=config.sequences.lifelong,
            blocked=NameChecks(load_blocked_terms(cache.parent.parent)).blocked,
        )  # fmt: skip
        made = _called(made, served.table, texts, config, cache, progress)
    with watch.step("publish"), generations.begin() as writer:
        link_files(path, writer.path, without={FOLDER, JOURNEYS, SETTINGS})
        made.save(writer.path)
        kept = {k: v for k, v in manifest.items() if k not in ("id", "files")}
        spent = {f"journeys: {name}": value for name, value in watch.seconds.items()}
        metrics = {**manifest["metrics"], "journeys": made.report}
        seconds = {**manifest["seconds"], **spent}
        return writer.publish(
            kept | {"created_at": now_ts_ms, "metrics": metrics, "seconds": seconds}
        )


def _called(
    made: MadeJourneys,
    before: JourneyTable,
    texts: pl.DataFrame,
    config: Config,
    cache: Path,
    progress: Progress,
) -> MadeJourneys:
    """Let a language model name journeys, where one is configured."""

    def embed(words: Sequence[str]) -> FloatMatrix:
        return text_vectors(
            list(words), dim=ENCODER_DIM, model_folder=config.embeddings.text_model
        ).vectors

    frame, related, report = call_journeys(
        made.frame, before, config.llm, titles=texts["title"].to_list(), embed=embed, cache=cache,
        blocked_terms=load_blocked_terms(cache.parent.parent), progress=progress,
    )  # fmt: skip
    both = {key: list(dict.fromkeys([*made.related.get(key, ()), *related.get(key, ())])) for key in
            {*made.related, *related}}  # fmt: skip
    said = {**made.report, **({"llm": report} if report else {})}
    return replace(made, frame=frame, related=dict(sorted(both.items())), report=said)


def answers_of(store: Store, until_ts_ms: int) -> Answers | None:
    """Read what came of notifications up to a time: each journey as it was then, and whether the person came."""
    rows = store.notification_feedback(until_ts_ms=until_ts_ms)[-KEPT_ANSWERS:]
    known = [row for row in rows if all(name in row.features for name in FEATURES)]
    if not known:
        return None
    features = np.array([[float(row.features[name]) for name in FEATURES] for row in known])
    return Answers(features, np.array([float(row.opened or row.clicked) for row in known]))


def _stamp(current: str | None, log: LogColumns, config: Config) -> str:
    parts: tuple[Any, ...] = (
        current,
        log.position,
        log.until,
        config.journeys,
        config.actions,
        config.embeddings,
    )
    return " ".join(map(str, parts))
