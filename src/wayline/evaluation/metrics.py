"""How good a ranking is, case by case, and how much of the catalogue a set of rankings reaches.

A rank is 0 for the first place and ``inf`` for an item that was not ranked at all. All accuracy
metrics take ranks [B, T]: one row a case, one column a target, short rows filled up with ``inf``
and their true length in ``targets`` [B].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from wayline.schema import FloatMatrix, IntVector

Ranks = npt.NDArray[np.float64]
PerCase = npt.NDArray[np.float64]


def ranks_in_lists(
    lists: Sequence[Sequence[str]], targets: Sequence[Sequence[str]]
) -> tuple[Ranks, IntVector]:
    """Find where each target stands in the list recommended for its case.

    Returns
    -------
    ranks : float64 array, shape [B, T]
        0 is the first place; ``inf`` where the item is not in the list. An item listed twice
        counts at its first place.
    counts : int64 array, shape [B]
        Targets of each case.

    Raises
    ------
    ValueError
        If there is not one list a case.
    """
    if len(lists) != len(targets):
        raise ValueError(f"Got {len(lists)} lists for {len(targets)} cases, expected one a case.")
    counts = np.array([len(t) for t in targets], dtype=np.int64)
    ranks = np.full((len(targets), int(counts.max(initial=1))), np.inf)
    for row, (ranked, wanted) in enumerate(zip(lists, targets, strict=True)):
        place = {item: at for at, item in reversed(list(enumerate(ranked)))}
        ranks[row, : len(wanted)] = [place.get(item, np.inf) for item in wanted]
    return ranks, counts


def ranks_in_scores(scores: npt.NDArray[np.floating], target_idx: npt.NDArray[np.int64]) -> Ranks:
    """Find the rank of each target among all items by dense scores; ties count half.

    Parameters
    ----------
    scores : float array, shape [B, N]
        Higher is better; ``-inf`` takes an item out (it is then not ranked).
    target_idx : int64 array, shape [B, T]
        Positions in the catalogue; -1 fills short rows and stands for items outside the
        catalogue.

    Returns
    -------
    float64 array, shape [B, T]
        Items above plus half of the others at the same score: the expected rank under a random
        order of ties.
    """
    rows = np.arange(len(scores))
    ranks = np.full(target_idx.shape, np.inf)
    for column in range(target_idx.shape[1]):
        idx = target_idx[:, column]
        score = scores[rows, np.maximum(idx, 0)][:, None]
        above = (scores > score).sum(1)
        level = (scores == score).sum(1)
        found = (idx >= 0) & np.isfinite(score[:, 0])
        ranks[found, column] = (above + (level - 1) / 2)[found]
    return ranks


def hit_rate(ranks: Ranks, k: int) -> PerCase:
    """Give 1 for each case with a target in the first ``k`` (HR@K), else 0."""
    return np.asarray((ranks < k).any(axis=1), dtype=np.float64)


def recall(ranks: Ranks, targets: IntVector, k: int) -> PerCase:
    """Give each case's share of targets in the first ``k``; with one target a case it is the hit
    rate.
    """
    return np.asarray((ranks < k).sum(axis=1) / np.maximum(targets, 1), dtype=np.float64)


def mrr(ranks: Ranks, k: int) -> PerCase:
    """Give 1 / (place of the best target) for each case, 0 beyond ``k`` (MRR@K)."""
    best = ranks.min(axis=1)
    return np.asarray(np.where(best < k, 1 / (best + 1), 0.0), dtype=np.float64)


def ndcg(ranks: Ranks, targets: IntVector, k: int) -> PerCase:
    """Give each case's discounted gain within ``k`` over that of a perfect list (Järvelin &
    Kekäläinen 2002), gain 1 a target.
    """
    gain = np.where(ranks < k, 1 / np.log2(ranks + 2), 0.0).sum(axis=1)
    ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(k) + 2))])
    best = ideal[np.clip(targets, 0, k)]
    return np.asarray(np.divide(gain, best, out=np.zeros_like(gain), where=best > 0))


def coverage(lists: npt.NDArray[np.int64], catalogue: int) -> float:
    """Give the share of the catalogue that stands in at least one list.

    Parameters
    ----------
    lists : int64 array, shape [B, K]
        Item positions; -1 where a list is short or names an item outside the catalogue.
    catalogue : int
        N.
    """
    return len(np.unique(lists[lists >= 0])) / catalogue if catalogue else float("nan")


def gini(lists: npt.NDArray[np.int64], catalogue: int) -> float:
    """Say how unevenly the lists use the catalogue: 0 all items equally often, near 1 a few items
    always.
    """
    shown = np.sort(np.bincount(lists[lists >= 0], minlength=catalogue)).astype(np.float64)
    if catalogue == 0 or not shown.any():
        return float("nan")
    place = np.arange(1, catalogue + 1)
    return float(((2 * place - catalogue - 1) * shown).sum() / (catalogue * shown.sum()))


def diversity(lists: npt.NDArray[np.int64], vectors: FloatMatrix) -> PerCase:
    """Give each list's mean of 1 - cosine over its pairs of items.

    Parameters
    ----------
    lists : int64 array, shape [B, K]
        Item positions, -1 for none.
    vectors : float32 array, shape [N, D]
        Unit norm; zero rows (no vector) are left out.

    Returns
    -------
    float64 array, shape [B]
        NaN where fewer than two items have a vector.
    """
    has_vector = np.asarray(vectors.any(axis=1))
    usable = (lists >= 0) & has_vector[np.maximum(lists, 0)]
    v = np.where(usable[:, :, None], vectors[np.maximum(lists, 0)], 0.0)
    n = usable.sum(axis=1).astype(np.float64)
    # |sum of unit vectors|^2 = n + twice the cosines of all pairs, so no pair is ever formed.
    pairs_cosine = (np.square(v.sum(axis=1, dtype=np.float64)).sum(axis=1) - n) / 2
    pairs = n * (n - 1) / 2
    mean = np.divide(pairs_cosine, pairs, out=np.full(len(n), np.nan), where=pairs > 0)
    return np.asarray(1 - mean)


def novelty(
    lists: npt.NDArray[np.int64], popularity: npt.NDArray[np.float64], users: int
) -> PerCase:
    """Give each list's mean surprise, -log2 of the share of users who have the item (Vargas &
    Castells 2011).

    Parameters
    ----------
    popularity : float64 array, shape [N]
        Users who have each item; items nobody has count as one user's.
    users : int
        All users.
    """
    surprise = -np.log2(np.maximum(popularity, 1) / max(users, 1))
    there = lists >= 0
    total = np.where(there, surprise[np.maximum(lists, 0)], 0.0).sum(axis=1)
    n = there.sum(axis=1)
    return np.asarray(np.divide(total, n, out=np.full(len(n), np.nan), where=n > 0))


def nan_mean(values: PerCase) -> float:
    """Mean of what is there; NaN for nothing, without a warning."""
    kept = values[np.isfinite(values)]
    return float(kept.mean()) if len(kept) else float("nan")
