"""What answers: the generation in use, people's histories, the recipe in use, and what is kept of each answer."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from wayline.answering import (
    fill_up,
    make_query,
    probabilities_of,
    read_cursor,
    request_trace,
    write_cursor,
)
from wayline.clock import At, Clock, to_ts_ms, wall_clock
from wayline.config import Config
from wayline.errors import InputError, WorkspaceError, shorten
from wayline.feed.candidates import Candidates
from wayline.feed.pipeline import Trace
from wayline.feed.reasons import explain
from wayline.feed.traces import TraceWriter
from wayline.interests.control_log import ControlLog
from wayline.recipes import Recipes, check_edits, tuned
from wayline.retrieval.recipe import Recipe
from wayline.schema import Feed, FeedItem, Variant
from wayline.sequences.cache import Histories
from wayline.sequences.history import UserSequence
from wayline.sequences.keeper import HistoryKeeper
from wayline.served import ServedGeneration
from wayline.storage.generations import Generations
from wayline.storage.store import RequestTrace, Store
from wayline.supposing import Supposed, suppose

MAX_LIMIT = 500
AS_IT_IS = Variant()
LATEST = 1000  # feeds whose time is kept at hand


class Serving:
    """Answers requests over one workspace. Safe to use from many threads.

    Parameters
    ----------
    store : Store
    generations : Generations
    config : Config
    clock : callable, optional
        Gives now in UTC milliseconds; by default what ``time.clock`` says.
    build : callable
        Makes the first generation where there is none, and gives its id.
    """

    def __init__(
        self,
        store: Store,
        generations: Generations,
        config: Config,
        *,
        clock: Clock | None,
        build: Callable[[], str],
    ) -> None:
        self._store, self._generations, self._config = store, generations, config
        self._clock, self._build = clock, build
        self.recipes = Recipes(store)
        self.traces = TraceWriter(store)
        self.counters: Counter[str] = Counter()
        self._latest_ms: deque[float] = deque(maxlen=LATEST)
        self.keeper = HistoryKeeper(store)
        self.histories = Histories(store, config.sequences, self.keeper.offer)
        self.opened: ServedGeneration | None = None
        self._aside: ServedGeneration | None = None
        self._controls = ControlLog(store)
        self._load_lock, self._aside_lock = threading.Lock(), threading.Lock()
        self._first_build = threading.Lock()
        self._mixed: tuple[str, int, Config, Recipe] | None = None

    def share_cores(self) -> None:
        """Let each request take one thread, in BLAS and in a ranker whose settings leave it open.

        Threads of one request wait for each other at every step, and longer where anything else runs; a server answers
        many requests at once. Of the whole process: for a server, not for one that builds or trains.
        """
        import scipy.linalg.cython_blas  # noqa: F401 - SciPy has a BLAS of its own; only what is loaded is limited

        threadpool_limits(1, user_api="blas")
        ranking = self._config.ranking
        if not ranking.threads:
            self._config = replace(self._config, ranking=replace(ranking, threads=1))

    # -- what serves ---------------------------------------------------------------------------------------------------

    def generation(self) -> ServedGeneration:
        """The current generation, opened and up to date with the log; built if there never was one."""
        current = self._generations.current()
        if current is None:
            with self._first_build:  # many first requests, one build
                current = self._generations.current() or self._build()
        served = self.opened
        if served is None or served.id != current:
            with self._load_lock:
                if self.opened is None or self.opened.id != current:
                    self.opened = self._open(current)
                served = self.opened
        self.histories.heed_forgettings(self._store.forgettings())
        served.follow()
        return served

    def _open(self, id_: str) -> ServedGeneration:
        try:
            return ServedGeneration(
                id_, self._generations, self._store, self._config, self._controls, self.histories
            )
        except (OSError, ValueError, KeyError, RuntimeError, pl.exceptions.PolarsError) as error:
            raise WorkspaceError(
                f"Generation {id_} is damaged ({type(error).__name__}: {shorten(str(error))}): run `wayline rollback` "
                "or `wayline build`."
            ) from error

    def _other(self, id_: str) -> ServedGeneration:
        """Another generation than the current one, for a look: the last one asked for stays open.

        Raises
        ------
        NotFoundError
            If it is not kept.
        """
        served = self.generation()
        if id_ == served.id:
            return served
        with self._aside_lock:
            if self._aside is None or self._aside.id != id_:
                self._aside = self._open(id_)
            other = self._aside
        other.follow()
        return other

    def forget_everybody(self) -> None:
        """Let go of what is kept of people in memory: somebody was forgotten."""
        self.opened = self._aside = None
        self._controls = ControlLog(self._store)

    def close(self) -> None:
        """Write what waits."""
        self.traces.close()
        self.keeper.close()

    # -- one request ---------------------------------------------------------------------------------------------------

    def now(self, at: At | None = None) -> int:
        """The moment a request is about: ``at``, or now by the workspace's clock."""
        if at is not None:
            return to_ts_ms(at)
        if self._clock is not None:
            return self._clock()
        if self._config.time.clock == "log":
            return self._store.newest_ts_ms() or 0
        return wall_clock()

    def sequence(
        self, served: ServedGeneration, user_key: int, at: At | None, moment: int | None = None
    ) -> tuple[UserSequence, int]:
        """What a person did up to the moment of a request, and that moment.

        A caller's clock may be ahead of ours: what was acknowledged counts at once all the same, so
        a request about now is never earlier than the person's own newest action.
        """
        moment = self.now(at) if moment is None else moment
        if at is not None or self._clock is not None:
            return served.sequence(user_key, moment), moment
        sequence = served.sequence(user_key, None)
        return sequence, max(moment, int(sequence.ts_ms[-1]) if len(sequence) else 0)

    def view(
        self,
        user_key: int,
        at: At | None,
        supposing: Supposed | None,
        *,
        generation: str | None = None,
        moment: int | None = None,
    ) -> ServedGeneration:
        """What serves, or what would had the person also done something, or from another generation."""
        served = self.generation() if generation is None else self._other(generation)
        if not supposing:
            return served
        if at is not None:
            raise InputError(
                "Got both at and supposing, expected one: what is supposed is done now."
            )
        return suppose(
            served, self._store, self._config, self.histories, self._controls, user_key, supposing,
            self.now() if moment is None else moment,
        )  # fmt: skip

    def mix(
        self, served: ServedGeneration, edits: Mapping[str, Any] | None = None
    ) -> tuple[Config, Recipe]:
        """The settings and the recipe in use: what the build found, under the settings' pins, under what the team set.

        Parameters
        ----------
        served : ServedGeneration
        edits : mapping, optional
            Instead of those in use.
        """
        if edits is not None:
            return self._mix(served, check_edits(edits))
        version = self.recipes.current()
        kept = self._mixed
        if kept is None or kept[:2] != (served.id, version.version):
            kept = (served.id, version.version, *self._mix(served, version.edits))
            self._mixed = kept
        return kept[2], kept[3]

    def _mix(self, served: ServedGeneration, edits: Mapping[str, float]) -> tuple[Config, Recipe]:
        config = tuned(self._config, edits)
        return config, served.built_recipe.pinned(config.recipe.pins)

    def answer(
        self,
        user_key: int,
        user_id: str,
        *,
        limit: int | None = None,
        at: At | None = None,
        surface: str | None = None,
        cursor: str | None = None,
        journey: str | None = None,
        supposing: Supposed | None = None,
        variant: Variant = AS_IT_IS,
        moment: int | None = None,
    ) -> tuple[Feed, RequestTrace]:
        """Make a feed, and what is to be kept of it; see ``Engine.feed``.

        Parameters
        ----------
        variant : Variant
            By which generation and edits, where not by those in use.
        moment : int, optional
            When now is, for two answers about the same one.
        """
        began = time.perf_counter()
        size = check_limit(self._config.feed.limit if limit is None else limit, MAX_LIMIT)
        chain, at = read_cursor(cursor) if cursor is not None else ("", at)
        at = None if at is None else to_ts_ms(at)
        served = self.view(user_key, at, supposing, generation=variant.generation, moment=moment)
        config, recipe = self.mix(served, variant.edits)
        sequence, moment = self.sequence(served, user_key, at, moment)
        query, profile, trying = make_query(
            served,
            config,
            recipe,
            user_key=user_key,
            user_id=user_id,
            sequence=sequence,
            moment=moment,
            limit=size,
            shown=self.traces.shown(chain) - 1 if chain else np.zeros(0, np.int64),
            past=at is not None,
            journey=journey,
        )
        pipeline = served.pipeline if journey is None else served.journey_pipeline
        candidates, trace = pipeline.run(query)
        if len(candidates) < size and journey is None:
            candidates, trace = fill_up(served, query, candidates, trace)
        request_id = secrets.token_hex(8)
        chain = chain or request_id
        reasons = explain(
            query, candidates, served.tables, self._names, (profile.ids, profile.labels)
        )
        foretold = probabilities_of(candidates, served.head_names())
        feed = Feed(
            request_id,
            self._feed_items(candidates, reasons, foretold),
            cursor=write_cursor(chain, at) if len(candidates) == size else None,
            generation=served.id,
            cold_start=len(query.history) == 0,
            degraded=trace.degraded,
        )
        traced = request_trace(
            feed,
            query,
            candidates,
            trace,
            foretold,
            surface,
            chain,
            profile,
            trying,
            seen=at is None,
        )
        if supposing is None:
            self._count_feed(candidates, trace, (time.perf_counter() - began) * 1e3)
        return feed, traced

    def latency(self) -> dict[str, float]:
        """Milliseconds that the newest feeds took, and how many those are; empty before the first."""
        latest = list(self._latest_ms)
        if not latest:
            return {}
        found = np.percentile(latest, (50, 95, 99)).round(2).tolist()
        return {"feeds": len(latest), **dict(zip(("p50", "p95", "p99"), found, strict=True))}

    def _names(self, item_idx: list[int]) -> dict[int, str]:
        """What a person calls these items: their titles, else their ids."""
        if not item_idx:
            return {}
        records = self._store.item_records(np.array(item_idx, np.int64) + 1)
        return {i: r.title or r.item_id for i, r in zip(item_idx, records, strict=True)}

    def _feed_items(
        self, candidates: Candidates, reasons: list[Any], foretold: list[dict[str, float]]
    ) -> list[FeedItem]:
        records = self._store.item_records(candidates.item_idx + 1)
        rows = zip(records, candidates.score, foretold, reasons, strict=True)
        return [
            FeedItem(record.item_id, round(float(score), 5), chances, why, record.title)
            for record, score, chances, why in rows
        ]

    def _count_feed(self, candidates: Candidates, trace: Trace, ms: float) -> None:
        self.counters["feeds"] += 1
        self.counters["feed_ms"] += int(ms)
        self._latest_ms.append(ms)
        for stage in trace.degraded:
            self.counters[f"degraded:{stage}"] += 1
        if trace.scored:
            self.counters["ranked_feeds"] += 1
            self.counters["ranked_candidates"] += trace.scored
            self.counters["ranked_shortened"] += trace.shortened
        for row in range(len(candidates)):
            for source in candidates.sources_of(row):
                self.counters[f"source:{source}"] += 1


def check_limit(limit: object, most: int) -> int:
    """Give a limit as a whole number.

    Raises
    ------
    InputError
        If it is none from 1 to ``most``.
    """
    whole = isinstance(limit, (int, np.integer)) and not isinstance(limit, bool)
    if not whole or not 1 <= limit <= most:  # type: ignore[operator]  # known to be a number here
        raise InputError(
            f"Got limit={shorten(limit)}, expected a whole number from 1 to {most:,}.",
            field="limit",
        )
    return int(limit)  # type: ignore[call-overload,no-any-return]  # same
