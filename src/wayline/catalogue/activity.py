"""What was done with each item, counted from the log.

No index leads from an item to its actions: one would cost every action written as much again as the log. So the newest
part of the log is counted once, by item, action and week, and after that only what came since.
"""

from __future__ import annotations

import threading

import numpy as np
import polars as pl

from wayline.catalogue.records import ItemActions
from wayline.clock import DAY_MS
from wayline.schema import CONTROL_PREFIXES, NO_ITEM, ActionColumns, IntVector
from wayline.storage.store import Store

MOST_ACTIONS = 2_000_000
"""Of a log, the newest: read in about a second, and at most 60 MB of counts."""
WEEK_MS = 7 * DAY_MS
MONDAY_MS = 4 * DAY_MS
"""The first Monday of 1970."""
LATELY_WEEKS = 4
FEW = 0.1
"""Counts that came since are joined with the others when they are this part of them."""
SCHEMA = {"item_key": pl.Int64, "action_key": pl.Int16, "week": pl.Int32, "number": pl.UInt32}
KEY = ["item_key", "action_key", "week"]


class Activity:
    """Counts of actions by item, up to date with the log whenever asked. Safe to use from many threads.

    Actions that say something about wayline and not about an item (``interest.mute``) are left out.

    Parameters
    ----------
    store : Store
    most : int
        At most about so many of the newest actions are counted (twice as many, when the log grew meanwhile).
    """

    def __init__(self, store: Store, *, most: int = MOST_ACTIONS) -> None:
        self._store, self._most = store, most
        self._lock = threading.Lock()
        self._forgettings = -1
        self._begin()

    def _begin(self) -> None:
        self._old = self._new = pl.DataFrame(schema=SCHEMA)
        self._since = self._position = 0
        self._rows = 0
        self._last_ts_ms = np.zeros(0, np.int64)  # [N], -1 for none
        self._newest_week = 0

    def of(self, item_key: int) -> ItemActions:
        """Tell what was done with one item."""
        with self._lock:
            names = self._follow()
            rows = pl.concat(
                frame.filter(pl.col("item_key") == item_key) for frame in (self._old, self._new)
            )
            known = item_key <= len(self._last_ts_ms)
            last_ts_ms = int(self._last_ts_ms[item_key - 1]) if known else -1
            counted, whole, newest = self._rows, not self._since, self._newest_week
        if not rows.height:
            return ItemActions(counted=counted, whole=whole)
        by_name = rows.group_by("action_key").agg(pl.col("number").sum())
        by_name = by_name.sort(["number", "action_key"], descending=[True, False])
        return ItemActions(
            names={names[key - 1]: int(number) for key, number in by_name.iter_rows()},
            weeks=_weeks(rows, newest),
            last_at=last_ts_ms,
            counted=counted,
            whole=whole,
        )

    def lately(self) -> IntVector:
        """How often each item was acted on in the four weeks up to the newest action, shape [at most N]."""
        with self._lock:
            self._follow()
            first = self._newest_week - LATELY_WEEKS + 1
            rows = pl.concat(
                frame.filter(pl.col("week") >= first) for frame in (self._old, self._new)
            )
            size = len(self._last_ts_ms)
        numbers = np.bincount(
            rows["item_key"].to_numpy() - 1, rows["number"].to_numpy(), minlength=size
        )
        return numbers.astype(np.int64)

    def _follow(self) -> list[str]:
        """Count what came since; gives the names of actions. The lock must be held."""
        forgettings, position = self._store.forgettings(), self._store.position()
        outgrown = self._rows > 2 * self._most
        if forgettings != self._forgettings or position < self._position or outgrown:
            self._begin()
            self._forgettings = forgettings
            self._since = self._position = max(position - self._most, 0)
        parts = []
        if position > self._position:
            # Names come after their actions' positions: every action read has its name among them.
            for rows in self._store.scan_actions(after=self._position):
                names = self._store.action_names()
                parts.append(self._count(rows, names))
                self._position = int(rows.position[-1])
        if parts:
            self._new = _joined([self._new, *parts])
            if self._new.height > FEW * self._old.height:
                self._old, self._new = _joined([self._old, self._new]), pl.DataFrame(schema=SCHEMA)
        return self._store.action_names()

    def _count(self, rows: ActionColumns, names: list[str]) -> pl.DataFrame:
        self._rows += len(rows)
        is_control = np.array([False, *(name.startswith(CONTROL_PREFIXES) for name in names)])
        keep = ~is_control[rows.action_key]
        no_item = self._store.item_key(NO_ITEM)
        if no_item is not None:
            keep &= rows.item_key != no_item
        item_key, ts_ms = rows.item_key[keep], rows.ts_ms[keep]
        if not len(item_key):
            return pl.DataFrame(schema=SCHEMA)
        week = (ts_ms - MONDAY_MS) // WEEK_MS
        self._newest_week = max(self._newest_week, int(week.max()))
        more = int(item_key.max()) - len(self._last_ts_ms)
        if more > 0:
            self._last_ts_ms = np.append(self._last_ts_ms, np.full(more, -1, np.int64))
        np.maximum.at(self._last_ts_ms, item_key - 1, ts_ms)
        frame = pl.DataFrame(
            {"item_key": item_key, "action_key": rows.action_key[keep], "week": week},
            schema_overrides=SCHEMA,
        )
        return frame.group_by(KEY).agg(pl.len().cast(pl.UInt32).alias("number"))


def _joined(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Counts of the same added up."""
    return pl.concat(frames).group_by(KEY).agg(pl.col("number").sum())


def _weeks(rows: pl.DataFrame, newest: int) -> list[tuple[int, int]]:
    """The number of each week from the first to the newest."""
    first = int(rows["week"].min())  # type: ignore[arg-type]  # whole numbers, and at least one
    numbers = np.bincount(rows["week"].to_numpy() - first, rows["number"].to_numpy())
    padded = np.zeros(newest - first + 1, np.int64)
    padded[: len(numbers)] = numbers
    return [(MONDAY_MS + (first + n) * WEEK_MS, number) for n, number in enumerate(padded.tolist())]
