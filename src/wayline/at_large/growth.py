"""Which interests grow and which die: people who wanted something of them lately, against just before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from wayline.at_large.chance import discoveries, p_of_share, ratio_interval
from wayline.at_large.groups import PEOPLE_NAMED, InterestGroups
from wayline.clock import DAY_MS
from wayline.interests.importance import Float64Vector
from wayline.schema import ActionColumns, BoolVector, IntVector
from wayline.sequences.history import Worths

WINDOW_DAYS = 28
"""Whole weeks: each window has as many Sundays."""
WEEKS = 26
"""Of the line beside each; at least two windows."""
LEAST_PEOPLE = 10
"""In both windows together; fewer are not looked at."""


@dataclass(frozen=True, slots=True)
class Growth:
    """How many people wanted something of each group of interests, shape [G] each but for the last three.

    Attributes
    ----------
    lately, before : int64 arrays
        People in the newest ``WINDOW_DAYS`` days, and in as many before.
    against_all : float64 array
        The change (lately over before) over that of all other groups together; 1 is as all, NaN where nobody came.
    low, high : float64 arrays
        Between what that lies, with 95 %.
    more_than_chance : bool array
        Whether it differs from 1 by more than chance, looking at all with enough people.
    weekly : int64 array, shape [G, WEEKS]
        People by week, the newest last.
    example_people : list of list of int, length G
        Keys of those who came last, at most five.
    all_lately, all_before : int
        Distinct people over all groups.
    covered : bool
        Whether the log reaches back far enough to compare.
    """

    lately: IntVector
    before: IntVector
    against_all: Float64Vector
    low: Float64Vector
    high: Float64Vector
    more_than_chance: BoolVector
    weekly: npt.NDArray[np.int64]
    example_people: list[list[int]]
    all_lately: int
    all_before: int
    covered: bool


def growth_of(
    log: Iterable[ActionColumns], groups: InterestGroups, worths: Worths, now_ts_ms: int
) -> Growth:
    """Count people, and say what changed by more than chance.

    People are counted, not actions: thirty in one basket are one thing that happened. Who came in both windows makes
    the two counts more alike than chance would, so the test rather misses a change than invents one. What is compared
    is a group's share of all: where everybody comes more often before Christmas, not everything is said to grow.

    Parameters
    ----------
    log : iterable of ActionColumns
        What came after ``now_ts_ms`` is not looked at.
    """
    size, line_ms = len(groups), max(WEEKS * 7, 2 * WINDOW_DAYS) * DAY_MS
    oldest, parts = now_ts_ms + 1, []
    for part in log:
        if part.ts_ms.min() < oldest:
            oldest = int(part.ts_ms.min())
        rows = np.flatnonzero(
            (part.ts_ms <= now_ts_ms)
            & (part.ts_ms > now_ts_ms - line_ms)
            & (worths.of(part.action_key.astype(np.int64)) > 0)
        )
        group = groups.of_items(part.item_key[rows])
        rows, group = rows[group >= 0], group[group >= 0]
        parts.append(np.stack([group, part.user_key[rows], part.ts_ms[rows]]))
    group, user, ts_ms = np.concatenate([np.zeros((3, 0), np.int64), *parts], axis=1)
    back_days = (now_ts_ms - ts_ms) // DAY_MS
    window = np.where(back_days < 2 * WINDOW_DAYS, back_days // WINDOW_DAYS, 2)
    counted = _people(group * 3 + window, user, size * 3).reshape(size, 3)
    week = WEEKS - 1 - back_days // 7
    inside = week >= 0
    weekly = _people(group[inside] * WEEKS + week[inside], user[inside], size * WEEKS)
    lately, before = counted[:, 0], counted[:, 1]
    share, change = _expected(lately, before)
    low, high = ratio_interval(lately, before)
    looked_at = lately + before >= LEAST_PEOPLE
    marked = np.zeros(size, bool)
    marked[looked_at] = discoveries(p_of_share(lately, before, share)[looked_at])
    with np.errstate(divide="ignore", invalid="ignore"):
        against_all = lately / before / change
    covered = oldest <= now_ts_ms - 2 * WINDOW_DAYS * DAY_MS
    return Growth(
        lately, before, against_all, low / change, high / change, marked & covered,
        weekly.reshape(size, WEEKS), _newest(group, user, ts_ms, size),
        len(np.unique(user[window == 0])), len(np.unique(user[window == 1])), covered,
    )  # fmt: skip


def _people(cell: IntVector, user: IntVector, cells: int) -> IntVector:
    """Count distinct people by cell, shape [cells]."""
    if not len(cell):
        return np.zeros(cells, np.int64)
    width = int(user.max()) + 1
    distinct = pl.Series(cell * width + user).unique().to_numpy()  # four times as fast as numpy's
    return np.bincount(distinct // width, minlength=cells)


def _expected(lately: IntVector, before: IntVector) -> tuple[Float64Vector, Float64Vector]:
    """What all other groups did: the share of both windows that is lately, and lately over before, shape [G] each.

    Half a person more in each keeps both finite where there is no other group.
    """
    now = lately.sum() - lately + 0.5
    then = before.sum() - before + 0.5
    return now / (now + then), now / then


def _newest(group: IntVector, user: IntVector, ts_ms: IntVector, size: int) -> list[list[int]]:
    """Give the people who came last to each group."""
    named: list[dict[int, None]] = [{} for _ in range(size)]
    order = np.lexsort((user, -ts_ms, group))
    bounds = np.searchsorted(group[order], np.arange(size + 1))
    for g in range(size):
        for start in range(int(bounds[g]), int(bounds[g + 1]), PEOPLE_NAMED):
            rows = order[start : min(start + PEOPLE_NAMED, int(bounds[g + 1]))]
            named[g].update(dict.fromkeys(user[rows].tolist()))
            if len(named[g]) >= PEOPLE_NAMED:
                break
    return [list(one)[:PEOPLE_NAMED] for one in named]
