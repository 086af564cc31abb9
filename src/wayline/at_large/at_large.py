"""One question each, over everybody: answered from the generation in use and the log, and kept for a while."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import polars as pl

from wayline.at_large.earning import Earning, earning_of, tally
from wayline.at_large.groups import InterestGroups, find_groups
from wayline.at_large.growth import Growth, growth_of
from wayline.at_large.journeys import JourneyCount, count_journeys
from wayline.at_large.told import Told, told_by_journey, told_by_week
from wayline.builder import INTERESTS, make_labeller
from wayline.clock import DAY_MS
from wayline.config import Config
from wayline.errors import NoGenerationError
from wayline.journeys.building import JOURNEYS
from wayline.journeys.building import SETTINGS as JOURNEY_SETTINGS
from wayline.sequences.history import Worths
from wayline.storage.generations import Generations
from wayline.storage.store import Store

EARNING_DAYS = 90
"""Impressions that are looked at: what was shown before tells little of what earns now."""
KEPT_S = 600.0
"""The longest that an answer is kept."""
GROWN_BY = 0.005  # of the log, after which an answer is made anew: a small log's at every action
JOURNEY_COLUMNS = [
    "user_key", "name", "stage", "evergreen", "confidence", "importance", "first_ts_ms", "last_ts_ms",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class InterestsAtLarge:
    """What interests everybody, as of ``now_ts_ms``: ``earning`` and ``growth`` are parallel to ``groups``.

    ``titles`` are those of the groups' examples, by item position; ``user_ids`` the ids of all people named as
    examples, by key. ``seconds`` is how long it took to find.
    """

    groups: InterestGroups
    earning: Earning
    growth: Growth
    titles: Mapping[int, str]
    user_ids: Mapping[int, str]
    generation: str
    now_ts_ms: int
    seconds: float


@dataclass(frozen=True, slots=True)
class JourneysAtLarge:
    """What journeys everybody is on, as of the build that found them (``until_ts_ms``); None for a build without."""

    journeys: list[JourneyCount] | None
    user_ids: Mapping[int, str]
    generation: str
    until_ts_ms: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ToldAtLarge:
    """What people were told: how many notifications are in each state, and what came of those sent."""

    states: Mapping[str, int]
    by_week: list[Told]
    by_journey: list[Told]
    user_ids: Mapping[int, str]
    now_ts_ms: int


class AtLarge:
    """What holds of everybody in a workspace. Safe to use from many threads; one computes, others wait.

    An answer is kept while it is asked of the same generation, nobody was forgotten, the log grew by less than half a
    percent, and ten minutes have not passed.

    Parameters
    ----------
    store : Store
    generations : Generations
    config : Config
    now : callable
        The workspace's clock, UTC milliseconds: nothing later is looked at.
    flush : callable
        Called before what was shown is read: writes what waits to be written.
    """

    def __init__(
        self,
        store: Store,
        generations: Generations,
        config: Config,
        *,
        now: Callable[[], int],
        flush: Callable[[], object] = lambda: None,
    ) -> None:
        self._store, self._generations, self._config = store, generations, config
        self._now, self._flush = now, flush
        self._locks = {name: threading.Lock() for name in ("interests", "journeys")}
        self._kept: dict[str, tuple[tuple[Any, ...], float, object]] = {}

    def interests(self, *, anew: bool = False) -> InterestsAtLarge:
        """Say what interests people, which of it earns its place in feeds, and which grows or dies.

        Parameters
        ----------
        anew : bool
            Do not answer from what was kept.

        Raises
        ------
        NoGenerationError
            If nothing was built yet.
        """
        return cast("InterestsAtLarge", self._keep("interests", self._find_interests, anew))

    def journeys(self, *, anew: bool = False) -> JourneysAtLarge:
        """Say which journeys people are on, and where they go when one has ended.

        Raises
        ------
        NoGenerationError
            If nothing was built yet.
        """
        return cast("JourneysAtLarge", self._keep("journeys", self._find_journeys, anew))

    def told(self) -> ToldAtLarge:
        """Say what became of notifications, and what people did about them; needs no build."""
        rows = self._store.notification_feedback()
        # A clock that stands where the log ends is behind what was sent a moment ago.
        now = max([self._now(), *(row.ts_ms for row in rows[-1:])])
        weeks, journeys = told_by_week(rows, now), told_by_journey(rows)
        named = [key for one in (*weeks, *journeys) for key in one.example_people]
        states = self._store.count_notifications()
        return ToldAtLarge(states, weeks, journeys, self._user_ids(named), now)

    def _keep(self, what: str, find: Callable[[str], object], anew: bool) -> object:
        with self._locks[what]:
            current = self._generations.current()
            if current is None:
                raise NoGenerationError("Nothing has been built yet: run `wayline build`.")
            position = self._store.position()
            step = max(int(position * GROWN_BY), 1)
            # A power of two: the bucket of a growing log is not another one at every question.
            bucket = position >> (step.bit_length() - 1)
            key = (current, self._store.forgettings(), step.bit_length(), bucket)
            kept = self._kept.get(what)
            fresh = kept is not None and kept[0] == key and time.monotonic() - kept[1] < KEPT_S
            if kept is None or not fresh or anew:
                kept = self._kept[what] = (key, time.monotonic(), find(current))
            return kept[2]

    def _find_interests(self, current: str) -> InterestsAtLarge:
        began, now = time.perf_counter(), self._now()
        path, _ = self._generations.open(current)
        interests = self._known(
            pl.read_parquet(path / INTERESTS, columns=["user_key", "medoid_item_key", "importance"])
        )
        texts = pl.read_parquet(path / "titles.parquet")
        groups = find_groups(
            interests,
            np.asarray(np.load(path / "vectors.npy", mmap_mode="r")),
            np.load(path / "usable.npy"),
            make_labeller(texts),
        )
        worths = Worths(self._config.actions, self._store.action_names())
        self._flush()
        shown = self._store.scan_feedback(since_ts_ms=now - EARNING_DAYS * DAY_MS, until_ts_ms=now)
        rewards = self._config.rewards
        parts = (tally(user_key, part, groups, worths, rewards) for user_key, part in shown)
        earning = earning_of(parts, len(groups), rewards)
        growth = growth_of(self._store.scan_actions(until_ts_ms=now), groups, worths, now)
        named = [key for keys in (*groups.example_people, *growth.example_people) for key in keys]
        user_ids = self._user_ids(named)
        return InterestsAtLarge(
            groups, earning, growth, self._titles(groups), user_ids, current, now,
            round(time.perf_counter() - began, 3),
        )  # fmt: skip

    def _find_journeys(self, current: str) -> JourneysAtLarge:
        began = time.perf_counter()
        path, manifest = self._generations.open(current)
        if self._config.journeys.mode == "off" or not (path / JOURNEYS).exists():
            return JourneysAtLarge(None, {}, current, int(manifest["until"]), 0.0)
        said = json.loads((path / JOURNEY_SETTINGS).read_text("utf-8"))
        frame = self._known(pl.read_parquet(path / JOURNEYS, columns=JOURNEY_COLUMNS))
        found = count_journeys(frame, said["related"])
        user_ids = self._user_ids([key for one in found for key in one.example_people])
        seconds = round(time.perf_counter() - began, 3)
        return JourneysAtLarge(found, user_ids, current, int(said["until"]), seconds)

    def _known(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Leave out who was forgotten since the build, should their rows still be there."""
        keys = rows["user_key"].unique()
        ids = self._store.user_ids(keys.to_numpy())
        gone = keys.filter(pl.Series(ids, dtype=pl.String) == "")
        return rows.filter(~pl.col("user_key").is_in(gone.to_list())) if len(gone) else rows

    def _user_ids(self, keys: Sequence[int]) -> dict[int, str]:
        distinct = sorted(set(keys))
        ids = self._store.user_ids(np.array(distinct, np.int64)) if distinct else []
        return {key: id_ for key, id_ in zip(distinct, ids, strict=True) if id_}

    def _titles(self, groups: InterestGroups) -> dict[int, str]:
        items = sorted({item for own in groups.examples for item in own})
        records = self._store.item_records(np.array(items, np.int64) + 1) if items else []
        return {i: r.title or r.item_id for i, r in zip(items, records, strict=True)}
