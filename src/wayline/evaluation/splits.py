"""What is hidden and what may be learned from: leave-one-out and one global cut in time.

Both ask for a person's next *first-time* item: the first positive action of a person on an item
is the event, later ones on the same item are repeats. Rows are put in time order by a **stable**
sort, so actions of one instant keep the order in which the log holds them, and the same log
always gives the same split.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from wayline.clock import DAY_MS
from wayline.errors import InputError, UnknownColumnsError, shorten

HOW = ("time", "leave-one-out")


@dataclass(frozen=True, slots=True)
class Case:
    """One question: what does ``user_id`` take next, asked at ``at_ms``; ``item_ids`` is the
    answer, earliest first.
    """

    user_id: str
    item_ids: tuple[str, ...]
    at_ms: int


@dataclass(frozen=True, slots=True)
class Split:
    """A training log and the questions that were cut from it.

    Attributes
    ----------
    train : polars.DataFrame
        ``user_id, item_id, ts, action`` and whatever else came, in time order; all actions, not
        only positive ones.
    cases : list of Case
        One a user. A system may use training actions with ``ts <= at_ms``.
    how : str
        ``"leave-one-out"`` or ``"time"``.
    available : int
        Cases before the draw of ``max_users``.
    """

    train: pl.DataFrame
    cases: list[Case]
    how: str
    available: int
    min_items: int
    warm_only: bool
    seed: int
    quantile: float | None = None
    horizon_days: float | None = None

    def protocol(self) -> str:
        """The split in words, to stand beside every figure."""
        if self.how == "leave-one-out":
            what = (
                "each user's last first-time positive item, users with >= "
                f"{self.min_items} items counting it"
            )
        else:
            share = f"{self.quantile:.0%}" if self.quantile is not None else "a share"
            which = (
                "the first new item"
                if self.horizon_days is None
                else f"all new items within {self.horizon_days:g} days"
            )
            what = (
                f"cut at {share} of the positive actions, {which} after it, users with >= "
                f"{self.min_items} items before"
            )
        drawn = f"{len(self.cases):,} of {self.available:,} users (seed {self.seed})"
        targets = "warm items only" if self.warm_only else "all items, new ones too"
        return f"{self.how}: {what}; {targets}; stable sort by time; {drawn}"


def in_time_order(actions: pl.DataFrame) -> pl.DataFrame:
    """Sort by time, stably, with ids as texts.

    Raises
    ------
    UnknownColumnsError
        If ``user_id``, ``item_id`` or ``ts`` is missing.
    """
    missing = [name for name in ("user_id", "item_id", "ts") if name not in actions.columns]
    if missing:
        raise UnknownColumnsError(
            f"Got columns {', '.join(actions.columns)}, expected user_id, item_id and ts to "
            f"evaluate: rename a column to {missing[0]}.",
            field=missing[0],
        )
    ids = actions.with_columns(pl.col("user_id", "item_id").cast(pl.String))
    return ids.sort("ts", maintain_order=True)


def positive_rows(actions: pl.DataFrame, positive_actions: Collection[str] | None) -> pl.DataFrame:
    """Keep the actions that mean wanting the item; ``None`` keeps all."""
    if positive_actions is None or "action" not in actions.columns:
        return actions
    return actions.filter(pl.col("action").is_in(sorted(positive_actions)))


def first_times(actions: pl.DataFrame, positive_actions: Collection[str] | None) -> pl.DataFrame:
    """Keep each person's first positive action on each item, in the order given."""
    kept = positive_rows(actions, positive_actions)
    return kept.unique(["user_id", "item_id"], keep="first", maintain_order=True)


def leave_one_out(
    actions: pl.DataFrame,
    *,
    positive_actions: Collection[str] | None = None,
    min_items: int = 5,
    warm_only: bool = True,
    max_users: int | None = None,
    seed: int = 0,
) -> Split:
    """Hide each person's last first-time positive item.

    A person's training rows are those before the hidden action, and those of the same instant on
    other items (a basket has one time stamp). Everybody else's rows stay, later ones too: the
    split knows other people's future. Prefer `time_split` for figures that are to hold in
    production.

    Parameters
    ----------
    actions : polars.DataFrame
        ``user_id, item_id, ts`` (UTC ms) and usually ``action``; any order.
    positive_actions : collection of str, optional
        Actions that mean wanting the item; all, if not given.
    min_items : int
        Users with fewer different positive items, the hidden one counted, are not asked about.
    warm_only : bool
        Ask only about items that somebody has in training.
    max_users, seed : int
        Draw at most so many users.

    Raises
    ------
    UnknownColumnsError
        If a column is missing.
    """
    ordered = in_time_order(actions)
    numbered = first_times(ordered, positive_actions).with_columns(
        items=pl.len().over("user_id"), place=pl.int_range(pl.len()).over("user_id")
    )
    hidden = numbered.filter(
        (pl.col("items") >= min_items) & (pl.col("place") == pl.col("items") - 1)
    ).select("user_id", target="item_id", cut="ts")
    train = (
        ordered.join(hidden, on="user_id", how="left", maintain_order="left")
        .filter(
            pl.col("cut").is_null()
            | (pl.col("ts") < pl.col("cut"))
            | ((pl.col("ts") == pl.col("cut")) & (pl.col("item_id") != pl.col("target")))
        )
        .drop("cut", "target")
    )
    cases = [Case(user, (item,), at) for user, item, at in hidden.rows()]
    kept = _warm(cases, train, positive_actions) if warm_only else cases
    return Split(
        train, _draw(kept, max_users, seed), "leave-one-out", len(kept), min_items, warm_only, seed
    )


def time_split(
    actions: pl.DataFrame,
    *,
    positive_actions: Collection[str] | None = None,
    quantile: float = 0.8,
    horizon_days: float | None = None,
    min_items: int = 5,
    warm_only: bool = True,
    max_users: int | None = None,
    seed: int = 0,
) -> Split:
    """Cut the log for everybody at one moment and ask for each person's first new item after it.

    Parameters
    ----------
    quantile : float
        The cut is the time of the positive action at this share of all positive actions (nearest
        rank); actions of that very millisecond are training.
    horizon_days : float, optional
        Ask for all new items within so many days of the cut instead of the first one.
    min_items : int
        Users with fewer different positive items before the cut are not asked about.

    Other parameters, and what raises, as in `leave_one_out`.
    """
    if not 0 < quantile < 1:
        raise InputError(
            f"Got quantile = {shorten(quantile)}, expected a share between 0 and 1: 0.8 trains on "
            "the first 80 %.",
            field="quantile",
        )
    ordered = in_time_order(actions)
    positives = positive_rows(ordered, positive_actions)
    if positives.is_empty():
        return Split(ordered, [], "time", 0, min_items, warm_only, seed, quantile, horizon_days)
    cut = positives["ts"].quantile(quantile, interpolation="nearest")
    at_ms = int(cut) if cut is not None else 0
    train = ordered.filter(pl.col("ts") <= at_ms)
    first = first_times(ordered, positive_actions)
    counts = first.filter(pl.col("ts") <= at_ms).group_by("user_id").len()
    known = counts.filter(pl.col("len") >= min_items)["user_id"]
    later = first.filter((pl.col("ts") > at_ms) & pl.col("user_id").is_in(known.implode()))
    if horizon_days is None:
        later = later.unique("user_id", keep="first", maintain_order=True)
    else:
        later = later.filter(pl.col("ts") <= at_ms + int(horizon_days * DAY_MS))
    grouped = later.group_by("user_id", maintain_order=True).agg("item_id")
    cases = [Case(user, tuple(items), at_ms) for user, items in grouped.rows()]
    kept = _warm(cases, train, positive_actions) if warm_only else cases
    drawn = _draw(kept, max_users, seed)
    return Split(
        train, drawn, "time", len(kept), min_items, warm_only, seed, quantile, horizon_days
    )


def make_split(actions: pl.DataFrame, how: str, **options: object) -> Split:
    """Call the split named ``how`` (``"time"`` or ``"leave-one-out"``) with its options."""
    makers = {"time": time_split, "leave-one-out": leave_one_out}
    if how not in makers:
        raise InputError(
            f"Got how = {shorten(how)}, expected one of {', '.join(HOW)}.", field="how"
        )
    return makers[how](actions, **options)  # type: ignore[arg-type]  # options are those of the two functions


def _warm(
    cases: Sequence[Case], train: pl.DataFrame, positive_actions: Collection[str] | None
) -> list[Case]:
    """Keep the targets that occur in training, and the cases that still have one."""
    warm = set(positive_rows(train, positive_actions)["item_id"].unique().to_list())
    kept = (
        Case(case.user_id, tuple(i for i in case.item_ids if i in warm), case.at_ms)
        for case in cases
    )
    return [case for case in kept if case.item_ids]


def _draw(cases: list[Case], max_users: int | None, seed: int) -> list[Case]:
    """Draw users without putting back, by the generator whose stream numpy has promised to keep."""
    if max_users is None or len(cases) <= max_users:
        return cases
    drawn = np.random.RandomState(seed).choice(  # a fixed stream across versions
        len(cases), max_users, replace=False
    )
    return [cases[j] for j in drawn]
