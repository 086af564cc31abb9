"""From a person's actions to their interests (PinnerSage 2020, algorithm 1): arrays to columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from wayline.clock import DAY_MS
from wayline.config import InterestsConfig
from wayline.errors import FutureActionError, InputError
from wayline.interests.importance import Float64Vector, decayed_worth
from wayline.interests.ward import cluster_many
from wayline.schema import IntVector

Float64Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class InterestSet:
    """A person's interests as columns, the most important first.

    Attributes
    ----------
    medoid_item_idx : int64 array, shape [Q]
        The item that speaks for each interest.
    importance : float64 array, shape [Q]
        Above 0, falling.
    share : float64 array, shape [Q]
        Importance over the sum of all; sums to 1.
    last_ts_ms : int64 array, shape [Q]
        The newest positive action in each.
    member_item_idx : int64 array, shape [P]
        Distinct items, interest by interest, the most important first.
    member_importance : float64 array, shape [P]
        What each item adds to its interest; below 0 where dislikes outweigh.
    member_offsets : int64 array, shape [Q + 1]
        Interest q has members ``member_offsets[q]`` to ``member_offsets[q + 1]``.
    """

    medoid_item_idx: IntVector
    importance: Float64Vector
    share: Float64Vector
    last_ts_ms: IntVector
    member_item_idx: IntVector
    member_importance: Float64Vector
    member_offsets: IntVector

    def __len__(self) -> int:
        return len(self.medoid_item_idx)

    def members(self, q: int) -> IntVector:
        """Items of interest q, the most important first."""
        return self.member_item_idx[self.member_offsets[q] : self.member_offsets[q + 1]]

    def weights(self, q: int) -> Float64Vector:
        """What each of :meth:`members` adds to interest q."""
        return self.member_importance[self.member_offsets[q] : self.member_offsets[q + 1]]


@dataclass(frozen=True, slots=True)
class _Rows:
    """One person's clustering input: distinct items, and what is known of each."""

    item_idx: IntVector
    position: IntVector  # of one action on it, to find its vector
    count: IntVector  # positive actions
    value: Float64Vector  # decayed worth, dislikes included
    last_ts_ms: IntVector
    strays: _Strays  # dislikes of items that were never wanted


@dataclass(frozen=True, slots=True)
class _Strays:
    item_idx: IntVector
    position: IntVector
    value: Float64Vector


def find_interests(
    item_idx: npt.ArrayLike,
    vectors: npt.ArrayLike,
    ts_ms: npt.ArrayLike,
    worth: npt.ArrayLike,
    *,
    now_ts_ms: int,
    config: InterestsConfig,
    count_repeats: bool = False,
) -> InterestSet:
    """Find one person's interests.

    The items of the positive actions of the last ``window_days`` (of the newest ``max_actions``)
    are clustered by Ward and cut at ``alpha``; importance is eq. 3 with each action's worth. Where
    we differ:

    * An item acted on several times is one row. The paper clusters actions, so that an item bought
      17 times has the mass of 17 and Ward keeps it apart from its like: in a shop, whoever reorders
      gets an interest an item. ``count_repeats=True`` is the paper's way, exactly (repeats are
      sizes: equal vectors merge first, at height 0).
    * Actions of negative worth on an item take their decayed worth from the interest that holds it,
      or that it would join (:func:`nearest_within`), and an interest at or below 0 is dropped (the
      paper has no negative actions). Actions of worth 0 do not count.

    Parameters
    ----------
    item_idx : int array, shape [M]
        The item of each action.
    vectors : float array, shape [M, D]
        The vector of each action's item (the same for the same item). Leave out actions on items
        without one.
    ts_ms : int64 array, shape [M]
        In any order; among equal times the later position counts as newer.
    worth : float array, shape [M]
    now_ts_ms : int
        Not before the newest action.
    config : InterestsConfig
        ``window_days``, ``max_actions``, ``alpha``, ``decay_per_day``.
    count_repeats : bool
        Whether an item acted on n times weighs n in the clustering.

    Raises
    ------
    FutureActionError
        If an action is later than ``now_ts_ms``.
    InputError
        If the columns differ in length.
    BadVectorError
        If a vector that is needed is not finite.
    """
    items = np.asarray(item_idx, np.int64)
    matrix = np.asarray(vectors)
    if len(matrix) != len(items):
        raise InputError(
            f"Got {len(matrix):,} vectors for {len(items):,} actions, expected one an action: "
            "gather them by item first."
        )
    columns = _columns(items, ts_ms, worth)
    rows = _select(*columns, now_ts_ms, config)
    if not len(rows.item_idx):
        return no_interests()
    x = matrix[rows.position]
    size = rows.count.astype(np.float64) if count_repeats else None
    clusters = cluster_many(x, [0, len(x)], config.alpha, sample_weight=size, threads=1)
    medoids = rows.item_idx[clusters.medoids]
    strays = matrix[rows.strays.position]
    return _assemble(rows, clusters.labels, medoids, x, strays, config.alpha)


def find_interests_many(
    item_idx: npt.ArrayLike,
    item_vectors: npt.ArrayLike,
    ts_ms: npt.ArrayLike,
    worth: npt.ArrayLike,
    offsets: npt.ArrayLike,
    *,
    now_ts_ms: int,
    config: InterestsConfig,
    count_repeats: bool = False,
    threads: int | None = None,
    batch_rows: int = 200_000,
) -> Iterator[InterestSet]:
    """:func:`find_interests` of many people, clustered in batches on all cores; yields one set a
    person, in order.

    Parameters
    ----------
    item_idx : int array, shape [M]
        Position of each action's item in ``item_vectors``; negative for an item without a vector
        (skipped).
    item_vectors : float array, shape [N, D]
        Every item's vector, once.
    ts_ms, worth : arrays, shape [M]
        As in :func:`find_interests`.
    offsets : int array, shape [U + 1]
        Person u has actions ``offsets[u]`` to ``offsets[u + 1]``.
    batch_rows : int
        Rows gathered at once; bounds the memory.
    """
    items, times, worths = _columns(np.asarray(item_idx, np.int64), ts_ms, worth)
    bounds = np.asarray(offsets, np.int64)
    matrix = np.asarray(item_vectors)
    waiting: list[_Rows] = []
    size = 0
    for lo, hi in pairwise(bounds.tolist()):
        known = items[lo:hi] >= 0
        rows = _select(
            items[lo:hi][known], times[lo:hi][known], worths[lo:hi][known], now_ts_ms, config
        )
        waiting.append(rows)
        size += len(rows.item_idx)
        if size >= batch_rows:
            yield from _cluster_batch(waiting, matrix, config.alpha, count_repeats, threads)
            waiting, size = [], 0
    yield from _cluster_batch(waiting, matrix, config.alpha, count_repeats, threads)


def _cluster_batch(
    people: list[_Rows],
    matrix: npt.NDArray[np.generic],
    alpha: float,
    count_repeats: bool,
    threads: int | None,
) -> Iterator[InterestSet]:
    if not people:
        return
    item_idx = np.concatenate([rows.item_idx for rows in people])
    count = np.concatenate([rows.count for rows in people]).astype(np.float64)
    size = count if count_repeats else None
    starts = np.cumsum([0] + [len(rows.item_idx) for rows in people])
    found = cluster_many(matrix[item_idx], starts, alpha, sample_weight=size, threads=threads)
    for u, rows in enumerate(people):
        if len(rows.item_idx):
            own = slice(starts[u], starts[u + 1])
            medoids = item_idx[found.medoids[found.offsets[u] : found.offsets[u + 1]]]
            x, strays = matrix[item_idx[own]], matrix[rows.strays.item_idx]
            yield _assemble(rows, found.labels[own], medoids, x, strays, alpha)
        else:
            yield no_interests()


def _columns(
    items: IntVector, ts_ms: npt.ArrayLike, worth: npt.ArrayLike
) -> tuple[IntVector, IntVector, Float64Vector]:
    times, worths = np.asarray(ts_ms, np.int64), np.asarray(worth, np.float64)
    if not items.shape == times.shape == worths.shape:
        raise InputError(
            f"Got {len(items):,} items, {len(times):,} times and {len(worths):,} worths, expected "
            "one of each for an action: pass columns of one length."
        )
    return items, times, worths


def _select(
    items: IntVector,
    times: IntVector,
    worths: Float64Vector,
    now_ts_ms: int,
    config: InterestsConfig,
) -> _Rows:
    """Actions inside the window as distinct items."""
    if times.size and int(times.max()) > now_ts_ms:
        raise FutureActionError(got=int(times.max()), now=now_ts_ms)
    recent = times >= now_ts_ms - config.window_days * DAY_MS
    positive = np.flatnonzero(recent & (worths > 0))
    if len(positive) > config.max_actions:
        newest_last = positive[np.argsort(times[positive], kind="stable")]
        positive = np.sort(newest_last[-config.max_actions :])
    item_idx, first, inverse, count = np.unique(
        items[positive], return_index=True, return_inverse=True, return_counts=True
    )
    value = np.bincount(
        inverse,
        decayed_worth(times[positive], worths[positive], now_ts_ms, config.decay_per_day),
        len(item_idx),
    ).astype(np.float64)
    last_ts_ms = np.zeros(len(item_idx), np.int64)
    np.maximum.at(last_ts_ms, inverse, times[positive])
    negative = np.flatnonzero(recent & (worths < 0))
    taken = decayed_worth(times[negative], worths[negative], now_ts_ms, config.decay_per_day)
    at = np.searchsorted(item_idx, items[negative]).clip(max=max(len(item_idx) - 1, 0))
    held = item_idx[at] == items[negative] if len(item_idx) else np.zeros(len(negative), bool)
    np.add.at(value, at[held], taken[held])
    strays = _Strays(items[negative[~held]], negative[~held], taken[~held])
    return _Rows(item_idx, positive[first], count, value, last_ts_ms, strays)


def nearest_within(
    x: npt.NDArray[np.generic], sums: Float64Matrix, sizes: Float64Vector, alpha: float
) -> IntVector:
    """Find the cluster that each vector alone would join, by its Ward height.

    The Lance-Williams height of a single row and a cluster of ``n`` rows is
    ``2n / (n + 1) * |x - centroid|**2``; the lowest wins, the earlier cluster among equals.

    Parameters
    ----------
    x : float array, shape [M, D]
    sums : float64 array, shape [Q, D]
        Sum of each cluster's rows.
    sizes : float64 array, shape [Q]
    alpha : float
        The largest height at which it joins.

    Returns
    -------
    int64 array, shape [M]
        Cluster, or -1 for none.
    """
    rows = np.asarray(x, np.float64)
    if not len(rows) or not len(sums):
        return np.full(len(rows), -1, np.int64)
    centre = sums / sizes[:, None]
    square = (rows**2).sum(1)[:, None] - 2 * rows @ centre.T + (centre**2).sum(1)
    height = np.maximum(square, 0) * (2 * sizes / (sizes + 1))
    best = height.argmin(axis=1)
    return np.where(height[np.arange(len(rows)), best] <= alpha, best, -1)


def _assemble(
    rows: _Rows,
    labels: IntVector,
    medoid_item_idx: IntVector,
    x: npt.NDArray[np.generic],
    strays: npt.NDArray[np.generic],
    alpha: float,
) -> InterestSet:
    """Take dislikes from the interests they belong to, then arrange what is left."""
    taken = np.zeros(len(medoid_item_idx))
    if len(strays):
        sizes = np.bincount(labels, minlength=len(taken)).astype(np.float64)
        sums = np.zeros((len(taken), x.shape[1]))
        np.add.at(sums, labels, x)
        near = nearest_within(strays, sums, sizes, alpha)
        np.add.at(taken, near[near >= 0], rows.strays.value[near >= 0])
    return arrange(labels, rows.item_idx, rows.value, rows.last_ts_ms, medoid_item_idx, taken)[0]


def arrange(
    labels: IntVector,
    item_idx: IntVector,
    value: Float64Vector,
    last_ts_ms: IntVector,
    medoid_item_idx: IntVector,
    taken: Float64Vector,
) -> tuple[InterestSet, IntVector]:
    """Drop what dislikes have used up; order interests and members by importance.

    Parameters
    ----------
    labels, item_idx, value, last_ts_ms : arrays, shape [P]
        Cluster of each distinct item, what it is worth by now, and its newest action.
    medoid_item_idx : int64 array, shape [Q]
    taken : float64 array, shape [Q]
        What else belongs to each importance: dislikes of items that are not members.

    Returns
    -------
    InterestSet
    order : int64 array, shape [at most Q]
        The cluster that each interest was.
    """
    clusters = len(medoid_item_idx)
    total = np.bincount(labels, value, clusters).astype(np.float64) + taken
    newest = np.zeros(clusters, np.int64)
    np.maximum.at(newest, labels, last_ts_ms)
    order = np.lexsort((medoid_item_idx, -newest, -total))
    order = order[total[order] > 0]
    rank = np.full(clusters, -1, np.int64)
    rank[order] = np.arange(len(order))
    kept = np.flatnonzero(rank[labels] >= 0)
    by_rank = kept[np.lexsort((item_idx[kept], -value[kept], rank[labels[kept]]))]
    sizes = np.bincount(rank[labels[kept]], minlength=len(order))
    found = InterestSet(
        medoid_item_idx=medoid_item_idx[order],
        importance=total[order],
        share=total[order] / max(total[order].sum(), np.finfo(float).tiny),
        last_ts_ms=newest[order],
        member_item_idx=item_idx[by_rank],
        member_importance=value[by_rank],
        member_offsets=np.concatenate(([0], np.cumsum(sizes))),
    )
    return found, order


def no_interests() -> InterestSet:
    """Give the interests of somebody without any."""
    ints, floats = np.empty(0, np.int64), np.empty(0)
    return InterestSet(ints, floats, floats, ints, ints, floats, np.zeros(1, np.int64))
