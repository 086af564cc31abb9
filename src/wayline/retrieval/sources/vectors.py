"""Candidates from the vector index: around the interests drawn for this request, and around the newest actions."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from wayline.interests.interests import InterestSet
from wayline.retrieval.sources.tables import round_robin
from wayline.schema import BoolVector, FloatMatrix, IntVector
from wayline.sequences.history import History
from wayline.storage.vector_index import NO_KEY, VectorIndex


class _Query(Protocol):
    @property
    def interests(self) -> InterestSet: ...
    @property
    def drawn(self) -> IntVector: ...
    @property
    def history(self) -> History: ...
    @property
    def vectors(self) -> FloatMatrix: ...
    @property
    def usable(self) -> BoolVector: ...


def around(index: VectorIndex, vectors: FloatMatrix, item_idx: IntVector, quota: int) -> IntVector:
    """Give the nearest items of each of some items, in turns; the index's keys are item positions."""
    if len(item_idx) == 0 or len(index) == 0:
        return np.zeros(0, np.int64)
    found = index.search(vectors[item_idx], quota)
    return round_robin([row[row != NO_KEY] for row in found.keys], quota * len(item_idx))


def draw_interests(interests: InterestSet, sample: int, rng: np.random.Generator) -> IntVector:
    """Draw interests without putting back, by importance (PinnerSage 2020, section 4.3: three of them).

    Returns
    -------
    int64 array, shape [at most ``sample``]
        Positions in ``interests``.
    """
    n = len(interests)
    if n <= sample:
        return np.arange(n)
    p = np.asarray(interests.importance, dtype=np.float64)
    return rng.choice(n, size=sample, replace=False, p=p / p.sum())


class Interests:
    """Items near the medoids of the interests drawn; an equal quota each."""

    name = "interests"

    def __init__(self, index: VectorIndex, per_source: int) -> None:
        self._index, self._per_source = index, per_source

    def fetch(self, query: _Query) -> IntVector:
        """Give the neighbours of each medoid, in turns."""
        medoids = query.interests.medoid_item_idx[query.drawn]
        quota = max(self._per_source // max(len(medoids), 1), 1)
        return around(self._index, query.vectors, medoids, quota)


class Recent:
    """Items near the newest wanted ones."""

    name = "recent"

    def __init__(self, index: VectorIndex, newest: int, per_source: int) -> None:
        self._index, self._newest, self._per_source = index, newest, per_source

    def fetch(self, query: _Query) -> IntVector:
        """Give the neighbours of each of the newest items, newest first."""
        newest = query.history.item_idx[::-1][: self._newest]
        newest = newest[newest < len(query.vectors)]
        newest = newest[query.usable[newest]]
        quota = max(self._per_source // max(len(newest), 1), 1)
        return around(self._index, query.vectors, newest, quota)
