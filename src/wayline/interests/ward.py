"""Ward clustering: how many interests a person has, and which item speaks for each.

``WardClusterer`` clusters one set of vectors, ``cluster_many`` many people at once,
``ward_reference`` says the same in a page of NumPy. The compiled part is in
:mod:`wayline.interests._ward_kernels`.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from wayline.errors import BadVectorError, InputError, TooLargeError
from wayline.interests.blas import one_blas_thread
from wayline.schema import IntVector

MAX_ROWS = 32_768  # the Gram matrix of so many rows takes 4 GiB
_BLOCK = 64
_GRAM_ROWS = 128
_KEPT_FLOATS = 2 << 20  # 8 MiB, enough for 1,300 rows
_kept = threading.local()

Float64Vector = npt.NDArray[np.float64]
Float64Matrix = npt.NDArray[np.float64]


class WardClusterer:
    """Ward clusters of any number, cut where merging would join what does not belong together.

    Merges follow eq. 1 of PinnerSage (2020) by a nearest-neighbour chain; singletons start at the
    *squared* Euclidean distance, so that two unit vectors at cosine 0.8 are 0.4 apart and ``height
    == scipy_height ** 2``. The partition is that of ``scipy.cluster.hierarchy.fcluster(linkage(X,
    "ward"), alpha ** 0.5, "distance")``. Where two merges are exactly as good (ties within double
    rounding) the order is chosen by the lowest row, and another implementation may rightly choose
    another.

    Parameters
    ----------
    alpha : float
        Merges with height at or below it are kept. The paper does not publish its value.

    Attributes
    ----------
    labels_ : int64 array, shape [M]
        0 to Q - 1, numbered by first appearance.
    medoids_ : int64 array, shape [Q]
        Row of each cluster with the least ``Σ w |x_m - x_j|²`` to its members (eq. 2); ties go to
        the lowest row.
    heights_ : float64 array, shape [M - 1]
        Merge heights, ascending.
    merges_ : int64 array, shape [M - 1, 2]
        For each height, the lowest row of either side; the survivor comes first.

    Examples
    --------
    >>> model = WardClusterer(alpha=1.0).fit([[0.0], [0.1], [5.0]])
    >>> model.labels_.tolist(), model.medoids_.tolist()
    ([0, 0, 1], [0, 2])
    """

    labels_: IntVector
    medoids_: IntVector
    heights_: Float64Vector
    merges_: IntVector

    def __init__(self, alpha: float = 0.6) -> None:
        self.alpha = alpha

    def fit(self, X: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> WardClusterer:
        """Cluster rows of X.

        Parameters
        ----------
        X : float array, shape [M, D]
            Need not be normalised.
        sample_weight : float array, shape [M], optional
            How many times each row stands there. A row of weight 3 gives exactly what three equal
            rows give (they merge first, at height 0), less those two zero heights.

        Raises
        ------
        BadVectorError
            If X is not two-dimensional, not numeric, or holds NaN, infinity or values too large to
            square.
        InputError
            If ``alpha`` is negative or NaN, or weights are not positive or not one per row.
        TooLargeError
            If there are more than 32,768 rows.

        Notes
        -----
        ``O(M² D)`` time in single precision, ``4 M²`` bytes. Single precision proposes neighbours,
        double precision decides between those within its error bound.
        """
        from wayline.interests._ward_kernels import cluster_one

        rows = _checked_rows(X)
        weight = _checked_weight(sample_weight, len(rows))
        alpha = _checked_alpha(self.alpha)
        m = len(rows)
        if m > MAX_ROWS:
            raise TooLargeError(
                f"Got {m:,} rows to cluster, expected at most {MAX_ROWS:,}: keep the newest."
            )
        self.labels_ = np.empty(m, np.int64)
        medoids = np.empty(m, np.int64)
        merged_into, merged = np.empty(m, np.int32), np.empty(m, np.int32)
        heights = np.empty(m)
        gram, block = _buffers(m)
        with one_blas_thread():
            status, clusters, merges = cluster_one(
                rows, weight, alpha, True, gram, block,
                self.labels_, medoids, merged_into, merged, heights,
            )  # fmt: skip
        if status:
            raise _not_finite(rows)
        order = np.argsort(heights[:merges], kind="stable")
        self.medoids_ = medoids[:clusters].copy()
        self.heights_ = heights[order]
        self.merges_ = np.empty((merges, 2), np.int64)
        self.merges_[:, 0], self.merges_[:, 1] = merged_into[order], merged[order]
        return self

    def fit_predict(
        self, X: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> IntVector:
        """``fit(X).labels_``."""
        return self.fit(X, sample_weight).labels_


@dataclass(frozen=True, slots=True)
class BatchClusters:
    """Clusters of many people, one after another.

    Attributes
    ----------
    labels : int64 array, shape [M]
        Cluster of each row within its person, from 0, by first appearance.
    medoids : int64 array, shape [Q of all]
        Row (of the whole batch) that speaks for each cluster.
    offsets : int64 array, shape [U + 1]
        ``medoids[offsets[u]:offsets[u + 1]]`` are those of person u.
    """

    labels: IntVector
    medoids: IntVector
    offsets: IntVector


def cluster_many(
    X: npt.ArrayLike,
    offsets: npt.ArrayLike,
    alpha: float = 0.6,
    *,
    sample_weight: npt.ArrayLike | None = None,
    threads: int | None = None,
) -> BatchClusters:
    """Cluster many people in one call; each gets exactly what ``WardClusterer(alpha).fit`` gives,
    without the heights.

    Parameters
    ----------
    X : float array, shape [M, D]
        Everybody's rows, person by person.
    offsets : int array, shape [U + 1]
        Person u has rows ``offsets[u]`` to ``offsets[u + 1]``.
    alpha : float
        As in :class:`WardClusterer`. Clusters that cannot merge at or below it any more are left
        out of the search.
    sample_weight : float array, shape [M], optional
        As in :meth:`WardClusterer.fit`.
    threads : int, optional
        Default: one a core. The result does not depend on it.

    Raises
    ------
    BadVectorError, InputError, TooLargeError
        As :meth:`WardClusterer.fit`; also if ``offsets`` do not rise from 0 to M.
    """
    import os

    rows = _checked_rows(X)
    weight = _checked_weight(sample_weight, len(rows))
    limit = _checked_alpha(alpha)
    bounds = _checked_offsets(offsets, len(rows))
    people = len(bounds) - 1
    labels, medoids = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
    counts = np.zeros(people, np.int64)
    workers = max(1, threads if threads is not None else os.cpu_count() or 1)
    tasks = _even_tasks(np.diff(bounds), workers * 4 if workers > 1 else 1)

    def work(task: tuple[int, int]) -> int:
        from wayline.interests._ward_kernels import cluster_range

        return int(cluster_range(rows, weight, bounds, *task, limit, labels, medoids, counts))

    with one_blas_thread():
        if workers == 1 or len(tasks) < 2:
            failed = [work(task) for task in tasks]
        else:
            with ThreadPoolExecutor(workers) as pool:
                failed = list(pool.map(work, tasks))
    if any(u >= 0 for u in failed):
        raise _not_finite(rows)
    ends = np.concatenate(([0], np.cumsum(counts)))
    kept = np.repeat(bounds[:-1] - ends[:-1], counts) + np.arange(ends[-1])
    return BatchClusters(labels, medoids[kept], ends)


def ward_reference(
    X: npt.ArrayLike, alpha: float, sample_weight: npt.ArrayLike | None = None
) -> tuple[IntVector, IntVector, Float64Vector]:
    """The readable twin of :meth:`WardClusterer.fit`: ``(labels, medoids, heights)``.

    Always merges the closest pair (greedy, cubic); the nearest-neighbour chain finds the same tree.
    For tests.
    """
    rows = _checked_rows(X)
    size = _checked_weight(sample_weight, len(rows)).copy()
    weight = size.copy()
    m = len(rows)
    sq = ((rows[:, None] - rows[None]) ** 2).sum(axis=2)
    d = 2 * np.outer(size, size) / np.add.outer(size, size) * sq if m else sq
    np.fill_diagonal(d, np.inf)
    label = np.arange(m)
    heights = []
    for _ in range(m - 1):
        i, j = sorted(np.unravel_index(np.argmin(d), d.shape))
        heights.append(d[i, j])
        total = size[i] + size[j] + size  # eq. 1
        row = ((size[i] + size) * d[i] + (size[j] + size) * d[j] - size * d[i, j]) / total
        d[i], d[:, i] = row, row
        d[i, i] = np.inf
        d[j], d[:, j] = np.inf, np.inf
        size[i] += size[j]
        if heights[-1] <= alpha * (1 + 1e-12):
            label[label == label[j]] = label[i]
    first = np.unique(label)
    labels = np.searchsorted(first, label)
    medoids = []
    for q in range(len(first)):
        members = np.flatnonzero(labels == q)
        cost = (sq[np.ix_(members, members)] * weight[members]).sum(axis=1)
        medoids.append(members[np.argmax(cost <= cost.min() * (1 + 1e-9) + 1e-12)])
    return labels, np.array(medoids, np.int64), np.array(heights)


def _checked_rows(X: npt.ArrayLike) -> Float64Matrix:
    """X as a writable, contiguous float64 matrix (copied only if it is not one)."""
    try:
        rows: Any = np.require(X, np.float64, ["C", "W", "A"])
    except (TypeError, ValueError):
        raise BadVectorError(
            f"Got {type(X).__name__} as vectors, expected numbers in rows of one length: "
            "pass an array [rows, dimensions]."
        ) from None
    if rows.ndim == 1 and rows.size == 0:
        return np.empty((0, 1))
    if rows.ndim != 2 or (rows.shape[1] == 0 and len(rows)):
        raise BadVectorError(
            f"Got vectors of shape {rows.shape}, expected [rows, dimensions] with at least one "
            "dimension: reshape them, one row an item."
        )
    checked: Float64Matrix = rows
    return checked


def _checked_weight(sample_weight: npt.ArrayLike | None, m: int) -> Float64Vector:
    if sample_weight is None:
        return np.ones(m)
    weight: Float64Vector = np.require(sample_weight, np.float64, ["C", "W", "A"])
    if weight.shape != (m,):
        raise InputError(
            f"Got sample_weight of shape {weight.shape}, expected ({m},): give one weight a row."
        )
    if m and not (weight.min() >= 1e-6 and weight.max() <= 1e9):
        raise InputError(
            "Got a sample_weight outside 0.000001 to 1,000,000,000, expected how often each row "
            "stands there: drop rows that do not count."
        )
    return weight


def _checked_alpha(alpha: float) -> float:
    if not alpha >= 0:
        raise InputError(
            f"Got alpha = {alpha}, expected 0 or more: it is a squared distance.", field="alpha"
        )
    return float(alpha)


def _checked_offsets(offsets: npt.ArrayLike, m: int) -> IntVector:
    bounds = np.ascontiguousarray(offsets, dtype=np.int64)
    if (
        bounds.ndim != 1
        or not len(bounds)
        or bounds[0] != 0
        or bounds[-1] != m
        or (np.diff(bounds) < 0).any()
    ):
        raise InputError(
            f"Got offsets that do not rise from 0 to {m:,}, expected where each person's rows "
            "begin, and the end: for example [0, 3, 5] for three and two rows."
        )
    largest = int(np.diff(bounds).max(initial=0))
    if largest > MAX_ROWS:
        raise TooLargeError(
            f"Got {largest:,} rows of one person, expected at most {MAX_ROWS:,}: keep the newest."
        )
    return bounds


def _not_finite(rows: Float64Matrix) -> BadVectorError:
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        return BadVectorError(
            f"Got NaN or infinity in row {bad[0]:,} of {len(rows):,} vectors, expected finite "
            f"numbers: drop or mend {'that row' if len(bad) == 1 else f'those {len(bad):,} rows'}."
        )
    return BadVectorError(
        f"Got vectors as large as {np.abs(rows).max():.3g}, whose squares overflow, expected "
        "moderate numbers: scale them to unit length."
    )


def _even_tasks(sizes: IntVector, parts: int) -> list[tuple[int, int]]:
    """Cut people into runs of about equal work, which grows with the square of their rows."""
    work = np.cumsum(sizes.astype(np.float64) ** 2 + 1.0)
    if not len(work):
        return []
    cuts = np.searchsorted(work, np.linspace(0, work[-1], parts + 1)[1:-1])
    edges = np.unique(np.concatenate(([0], cuts + 1, [len(sizes)])).clip(0, len(sizes)))
    return [(lo, hi) for lo, hi in pairwise(edges.tolist())]


def _buffers(m: int) -> tuple[Any, Any]:
    """Room for the Gram matrix and one block of it; small ones are kept for the thread's next fit.

    Fresh memory costs a page fault every 4 KiB, as much as all else for a few hundred rows.
    """
    stride = -(-m // _BLOCK) * _BLOCK
    needed = m * stride + _GRAM_ROWS * m
    if needed > _KEPT_FLOATS:
        room: Any = np.empty(needed, np.float32)
    else:
        room = getattr(_kept, "room", None)
        if room is None or len(room) < needed:
            room = _kept.room = np.empty(needed, np.float32)
    return room[: m * stride], room[m * stride :]
