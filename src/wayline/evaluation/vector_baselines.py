"""Baselines in the space of item vectors: one vector a person, or five."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import numpy as np
import numpy.typing as npt

from wayline.evaluation.baselines import Scores
from wayline.evaluation.history import History, unit
from wayline.schema import FloatMatrix, IntVector


def k_means(
    X: npt.NDArray[np.floating], k: int, rng: np.random.Generator, *, max_rounds: int = 25
) -> IntVector:
    """Group rows into at most ``k`` clusters: Lloyd's rounds from a k-means++ start.

    Histories are short, so this stays below a millisecond where a library's call costs several.

    Parameters
    ----------
    X : float array, shape [M, D]
    k : int
        With ``M <= k`` every row is its own cluster.

    Returns
    -------
    int64 array, shape [M]
        Labels 0..k-1; a cluster that runs empty is dropped.
    """
    m = len(X)
    if m <= k:
        return np.arange(m, dtype=np.int64)
    chosen = [int(rng.integers(m))]
    nearest = np.square(X - X[chosen[0]]).sum(1)
    while len(chosen) < k and nearest.max() > 1e-12:
        chosen.append(int(rng.choice(m, p=nearest / nearest.sum())))
        nearest = np.minimum(nearest, np.square(X - X[chosen[-1]]).sum(1))
    centres = X[chosen]
    labels = np.full(m, -1, dtype=np.int64)
    for _ in range(max_rounds):
        distance = np.square(centres).sum(1) - 2 * (X @ centres.T)
        fresh = distance.argmin(1)
        if (fresh == labels).all():
            break
        labels = fresh
        sizes = np.bincount(labels, minlength=len(centres))
        sums = _sums(X, labels, len(centres))
        filled = sizes > 0
        centres[filled] = sums[filled] / sizes[filled, None]
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def medoids(X: npt.NDArray[np.floating], labels: IntVector) -> IntVector:
    """Give the row of each cluster with the least sum of squared distances to the others
    (PinnerSage 2020, eq. 2).

    That is the row nearest to the cluster's mean, so no pair of rows is compared. The first wins
    a tie.

    Returns
    -------
    int64 array, shape [Q]
        Row positions, by label.
    """
    q = int(labels.max()) + 1
    means = _sums(X, labels, q) / np.bincount(labels, minlength=q)[:, None]
    distance = np.square(X - means[labels]).sum(1)
    order = np.lexsort((np.arange(len(X)), distance, labels))
    first = np.searchsorted(labels[order], np.arange(q))
    return order[first].astype(np.int64)


def _sums(X: npt.NDArray[np.floating], labels: IntVector, q: int) -> npt.NDArray[np.floating]:
    """Sum of the rows of each label [q, D]: one product with the one-hot labels, far quicker than
    adding row by row.
    """
    return np.asarray((labels == np.arange(q)[:, None]).astype(X.dtype) @ X)


class _VectorBaseline(ABC):
    """Scores by the largest cosine between an item and any of the person's vectors."""

    name = ""

    def __init__(self, vectors: FloatMatrix, *, seed: int = 0) -> None:
        self.vectors = vectors
        self.seed = seed

    def fit(self, history: History) -> Self:
        """Keep the history; item vectors [N, D] must be in its item order, zero rows for items
        without one.
        """
        self._history = history
        self._usable = np.asarray(self.vectors.any(axis=1))
        return self

    def scores(self, user_idx: IntVector, at_ms: IntVector) -> Scores:
        """Cosines [B, N]; 0 for a person without vectors, ``-inf`` for items without one."""
        queries = [self._represent(int(u)) if u >= 0 else self.vectors[:0] for u in user_idx]
        sizes = np.array([len(q) for q in queries])
        cosine = np.concatenate(queries) @ self.vectors.T
        out = np.zeros((len(user_idx), len(self.vectors)), dtype=np.float32)
        filled = sizes > 0
        if filled.any():
            starts = (np.cumsum(sizes) - sizes)[filled]
            out[filled] = np.maximum.reduceat(cosine, starts, axis=0)
        out[:, ~self._usable] = -np.inf
        return out

    def _history_vectors(self, user_idx: int) -> FloatMatrix:
        items = self._history.items_of(user_idx)
        return self.vectors[items[self._usable[items]]]

    @abstractmethod
    def _represent(self, user_idx: int) -> FloatMatrix:
        """Give the person's vectors, shape [any, D]."""


class LastItem(_VectorBaseline):
    """The neighbours of the person's newest item."""

    name = "last item"

    def _represent(self, user_idx: int) -> FloatMatrix:
        return self._history_vectors(user_idx)[-1:]


class MeanVector(_VectorBaseline):
    """The neighbours of the mean of the person's items."""

    name = "mean vector"

    def _represent(self, user_idx: int) -> FloatMatrix:
        v = self._history_vectors(user_idx)
        return unit(v.mean(axis=0, keepdims=True)) if len(v) else v


class KMeansMedoids(_VectorBaseline):
    """The neighbours of the medoids of five k-means clusters of the person's items."""

    name = "k-means(5) medoids"

    def __init__(self, vectors: FloatMatrix, k: int = 5, *, seed: int = 0) -> None:
        super().__init__(vectors, seed=seed)
        self.k = k
        self.name = f"k-means({k}) medoids"

    def _represent(self, user_idx: int) -> FloatMatrix:
        v = self._history_vectors(user_idx)
        if len(v) == 0:
            return v
        labels = k_means(v, self.k, np.random.default_rng([self.seed, user_idx]))
        return np.asarray(v[medoids(v, labels)])


def vector_baselines(vectors: FloatMatrix, *, seed: int = 0) -> list[_VectorBaseline]:
    """The baselines over item vectors [N, D], in the order of the report."""
    return [LastItem(vectors), MeanVector(vectors), KMeansMedoids(vectors, seed=seed)]
