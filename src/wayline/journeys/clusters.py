"""Clusters of what one person did: average linkage on the cosine of where things stand (User Journeys 2025, stage 3).

Average linkage with a cut near the distance of things that have nothing to do with each other finds the planted
journeys better than Ward, complete linkage or clusters of keywords alone (docs/experiments.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from wayline.schema import FloatMatrix, IntVector

NONE = -1
# How the distance of two things changes that were on one journey before, and on two; chosen, not published.
TOGETHER, APART = 0.7, 1.1
LEAST_TO_SPLIT = 20  # smaller ones are single topics more often than not
SPLIT_ABOVE = 0.6  # chosen on the development sets: what is nearer is one thing, however large
MOST = 800  # things clustered pair by pair; what weighs less joins the nearest cluster


def cluster(
    places: FloatMatrix,
    weight: npt.NDArray[np.floating[Any]],
    cut: float,
    *,
    largest: float = 1.0,
    before: IntVector | None = None,
    most: int = MOST,
) -> IntVector:
    """Group things that stand together.

    Parameters
    ----------
    places : float32 array, shape [M, P]
        Unit vectors; a zero row belongs nowhere.
    weight : float array, shape [M]
        The heaviest ``most`` are clustered, the rest join.
    cut : float
        Mean cosine distance up to which groups are one.
    largest : float
        Share of all things above which a group says little of a person: it is taken apart where it joins, if it has
        ``LEAST_TO_SPLIT`` things and its halves are further apart than ``SPLIT_ABOVE``.
    before : int64 array, shape [M], optional
        The group each thing was in when last asked, ``NONE`` for a new one. Those of one group are drawn together and
        those of two apart, so that a few new things do not make a new picture. Asked again with nothing new, the groups
        are the same: what merged does so earlier, and what was too far apart is further.

    Returns
    -------
    int64 array, shape [M]
        Group of each, numbered by its first thing; ``NONE`` for what belongs nowhere.
    """
    labels = np.full(len(places), NONE, np.int64)
    placed = np.flatnonzero(np.einsum("mp,mp->m", places, places) > 0.5)
    if not len(placed):
        return labels
    order = placed[np.lexsort((placed, -np.asarray(weight, np.float64)[placed]))]
    chosen = np.sort(order[:most])
    old = None if before is None else before[chosen]
    labels[chosen] = _linked(places[chosen], cut, largest, old)
    rest = order[most:]
    if len(rest):
        labels[rest] = _joined(places, labels, chosen, rest, cut)
    return labels


def _linked(x: FloatMatrix, cut: float, largest: float, before: IntVector | None) -> IntVector:
    if len(x) == 1:
        return np.zeros(1, np.int64)
    from scipy.cluster.hierarchy import linkage

    row, col = np.triu_indices(len(x), 1)
    distance = np.maximum(1.0 - (x @ x.T).astype(np.float64)[row, col], 0.0)
    if before is not None:
        known = (before[row] != NONE) & (before[col] != NONE)
        distance[known & (before[row] == before[col])] *= TOGETHER
        distance[known & (before[row] != before[col])] *= APART
    found = _cut(linkage(distance, "average"), cut, largest)
    _, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[inverse], np.int64)


def _cut(merges: npt.NDArray[np.float64], cut: float, largest: float) -> IntVector:
    """Take a tree of merges apart from the top, shape [M]: where groups are too far apart, or one is too large."""
    n = len(merges) + 1
    labels = np.zeros(n, np.int64)
    waiting, groups = [2 * n - 2], 0
    while waiting:
        node = waiting.pop()
        if node >= n:
            left, right, height, size = merges[node - n]
            too_large = size >= LEAST_TO_SPLIT and size > largest * n and height > SPLIT_ABOVE
            if height > cut or too_large:
                waiting += [int(left), int(right)]
                continue
        labels[_leaves(merges, node)] = groups
        groups += 1
    return labels


def _leaves(merges: npt.NDArray[np.float64], node: int) -> list[int]:
    n = len(merges) + 1
    out: list[int] = []
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if one < n:
            out.append(one)
        else:
            waiting += [int(merges[one - n, 0]), int(merges[one - n, 1])]
    return out


def _joined(
    places: FloatMatrix, labels: IntVector, chosen: IntVector, rest: IntVector, cut: float
) -> IntVector:
    """Give what was not clustered the group whose members it is nearest to on average, if near enough."""
    groups = int(labels[chosen].max()) + 1
    means = np.zeros((groups, places.shape[1]))
    np.add.at(means, labels[chosen], places[chosen])
    means /= np.bincount(labels[chosen], minlength=groups)[:, None]
    near = places[rest] @ means.T
    best = near.argmax(axis=1)
    return np.where(near[np.arange(len(rest)), best] >= 1.0 - cut, best, NONE)
