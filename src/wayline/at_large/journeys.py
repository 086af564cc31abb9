"""Journeys of everybody: which are common, and where people go when one has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from wayline.at_large.chance import discoveries, p_of_more
from wayline.at_large.groups import PEOPLE_NAMED, typical_part
from wayline.clock import DAY_MS
from wayline.interests.interests import Float64Matrix
from wayline.journeys.names import name_key
from wayline.journeys.stages import ENDED, ONGOING

FOLLOW_DAYS = 90
"""After the last action of a journey that ended; chosen, not published."""
STRATUM_DAYS = 28
"""Journeys that ended within so many days of each other are compared."""
LEAST_PEOPLE = 5
"""On a journey that is told of, and who went from one to another: nobody is to be recognised."""
MOST_JOURNEYS = 400
"""Of which the most common are compared with one another."""
NEXT_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Next:
    """A journey that people begin after another: how many did, how many would have by chance, and the keys of some.

    ``more_than_chance`` heeds how many pairs of journeys were looked at.
    """

    name: str
    people: int
    expected: float
    more_than_chance: bool
    example_people: list[int]

    @property
    def lift(self) -> float:
        """How many times as many as by chance."""
        return self.people / self.expected


@dataclass(frozen=True, slots=True)
class JourneyCount:
    """A journey, over everybody who is or was on it.

    Attributes
    ----------
    key, name : str
        What tells journeys apart (:func:`name_key`), and the commonest spelling.
    people, ongoing, ended : int
        One whose person has it twice counts for its newest.
    evergreen : float
        Share of people for whom it is.
    median_days : float
        From its first action to its last.
    confidence : float
        Mean.
    left : int
        Of those who ended it, how many began another within ``FOLLOW_DAYS`` days.
    next : list of Next
        What at least ``LEAST_PEOPLE`` began, what stands furthest above chance first; at most ``NEXT_SHOWN``.
    related : list of str
        What others on it are also on: see :mod:`wayline.journeys.related`.
    example_people : list of int
        Keys of those of whose journeys it is the largest part, at most five.
    """

    key: str
    name: str
    people: int
    ongoing: int
    ended: int
    evergreen: float
    median_days: float
    confidence: float
    left: int
    next: list[Next]
    related: list[str]
    example_people: list[int]


def count_journeys(
    journeys: pl.DataFrame, related: Mapping[str, Sequence[str]]
) -> list[JourneyCount]:
    """Count journeys by name, the most common first; those of fewer than ``LEAST_PEOPLE`` people are left out.

    Parameters
    ----------
    journeys : DataFrame
        ``user_key, name, stage, evergreen, confidence, importance, first_ts_ms, last_ts_ms`` of everybody.
    related : mapping of str to sequence of str
        By :func:`name_key`.
    """
    rows = keyed(journeys.with_columns(part=typical_part()))
    newest = rows.sort("last_ts_ms").unique(["user_key", "key"], keep="last", maintain_order=True)
    days = (pl.col("last_ts_ms") - pl.col("first_ts_ms")) / DAY_MS
    typical = pl.col("user_key").sort_by("part", "user_key", descending=[True, False])
    found = (
        newest.group_by("key")
        .agg(
            people=pl.len(),
            name=pl.col("name").mode().sort().first(),
            ongoing=(pl.col("stage") == ONGOING).sum(),
            ended=(pl.col("stage") == ENDED).sum(),
            evergreen=pl.col("evergreen").mean(),
            median_days=days.median(),
            confidence=pl.col("confidence").mean(),
            example_people=typical.head(PEOPLE_NAMED),
        )
        .filter(pl.col("people") >= LEAST_PEOPLE)
        .sort("people", "key", descending=[True, False])
    )  # fmt: skip
    names = dict(found.select("key", "name").iter_rows())
    following = follow(rows, found["key"].head(MOST_JOURNEYS).to_list())
    return [
        JourneyCount(
            **row,
            left=following.left.get(row["key"], 0),
            next=[
                Next(names[key], n, expected, sure, some)
                for key, n, expected, sure, some in following.next.get(row["key"], [])
            ],
            related=list(related.get(row["key"], ()))[:NEXT_SHOWN],
        )
        for row in found.iter_rows(named=True)
    ]


Step = tuple[str, int, float, bool, list[int]]


@dataclass(frozen=True, slots=True)
class Following:
    """By key of a journey that ended: how many began another, and of what: see :class:`Next`."""

    left: dict[str, int]
    next: dict[str, list[Step]]


def keyed(journeys: pl.DataFrame) -> pl.DataFrame:
    """Add ``key``, by which a name is the same for everybody."""
    names = journeys["name"].unique()
    keys = pl.DataFrame({"name": names, "key": [name_key(name) for name in names.to_list()]},
                        schema={"name": pl.String, "key": pl.String})  # fmt: skip
    return journeys.join(keys, on="name", maintain_order="left")


def follow(rows: pl.DataFrame, keys: Sequence[str]) -> Following:
    """Find which journeys people begin after others have ended, more often than chance says.

    Each person's ended journey is looked at from its last action on: which others of theirs began within
    ``FOLLOW_DAYS`` days? Those where none did say nothing of where people go. What chance would do is asked of the same
    moments: as many begin the other as do after any journey that ended within the same ``STRATUM_DAYS`` days. So
    neither the season nor that those who do much begin much makes a pair. A Poisson test for each pair, and
    :func:`discoveries` heeds how many pairs there are.

    Parameters
    ----------
    rows : DataFrame
        With the columns of :func:`keyed`.
    keys : sequence of str, length X
        What is compared with one another; what else people began counts for chance alone.
    """
    if not len(keys):
        return Following({}, {})
    number = pl.DataFrame({"key": list(keys), "x": np.arange(len(keys))})
    ended = (
        rows.filter(pl.col("stage") == ENDED)
        .group_by("user_key", "key")
        .agg(pl.col("last_ts_ms").max())
        .with_columns(stratum=pl.col("last_ts_ms") // (STRATUM_DAYS * DAY_MS))
    )
    begun = rows.select("user_key", "first_ts_ms", then="key")
    after = pl.col("first_ts_ms") - pl.col("last_ts_ms")
    pairs = (
        ended.join(begun, on="user_key")
        .filter((after > 0) & (after <= FOLLOW_DAYS * DAY_MS) & (pl.col("then") != pl.col("key")))
        .unique(["user_key", "key", "then"])
        .join(number, on="key", how="left")
        .join(number.rename({"key": "then", "x": "y"}), on="then", how="left")
    )
    if not pairs.height:
        return Following({}, {})
    moments = pairs.unique(["user_key", "key"])
    strata = moments["stratum"].unique().sort()
    place = pl.DataFrame({"stratum": strata, "s": np.arange(len(strata))})
    moments, pairs = moments.join(place, on="stratum"), pairs.join(place, on="stratum")
    size, n_strata = len(keys), len(strata)
    total = np.bincount(moments["s"].to_numpy(), minlength=n_strata)
    ours = moments.filter(pl.col("x").is_not_null())
    left = _counts(ours["x"], ours["s"], size, n_strata)
    reached = pairs.filter(pl.col("y").is_not_null())
    begins = _counts(reached["y"], reached["s"], size, n_strata)
    expected = left @ (begins / total).T
    both = reached.filter(pl.col("x").is_not_null())
    counted = _counts(both["x"], both["y"], size, size)
    x, y = np.nonzero(counted >= LEAST_PEOPLE)
    n = counted[x, y].astype(np.int64)
    marked = discoveries(p_of_more(n, expected[x, y]), _looks(left, begins))
    found: dict[str, list[Step]] = {}
    for at in range(len(n)):
        some = both.filter((pl.col("x") == x[at]) & (pl.col("y") == y[at]))
        some = some.sort("last_ts_ms", "user_key", descending=[True, False]).head(PEOPLE_NAMED)
        chance = float(expected[x[at], y[at]])
        step = (keys[y[at]], int(n[at]), chance, bool(marked[at]), some["user_key"].to_list())
        found.setdefault(keys[x[at]], []).append(step)
    best = {
        key: sorted(pairs, key=lambda one: (-_sureness(one[1], one[2]), one[0]))[:NEXT_SHOWN]
        for key, pairs in found.items()
    }
    return Following(dict(zip(keys, left.sum(axis=1).astype(int).tolist(), strict=True)), best)


def _counts(rows: pl.Series, columns: pl.Series, n_rows: int, n_columns: int) -> Float64Matrix:
    cell = rows.to_numpy() * n_columns + columns.to_numpy()
    flat = np.bincount(cell, minlength=n_rows * n_columns).astype(np.float64)
    return flat.reshape(n_rows, n_columns)


def _looks(left: Float64Matrix, begins: Float64Matrix) -> int:
    """How many pairs might have been found: both ends have enough people, found or not."""
    enough = [int((side.sum(axis=1) >= LEAST_PEOPLE).sum()) for side in (left, begins)]
    return max(enough[0] * enough[1], 1)


def _sureness(people: int, expected: float) -> float:
    """How far above chance, in its own standard errors: a lift of few people stands below one of many."""
    return (people - expected) / float(np.sqrt(max(expected, 1.0)))
