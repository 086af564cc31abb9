"""Candidates of a person's journeys: around the middle of each for the home feed, all that is on it for its own."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from wayline.journeys.learning import BELONGS
from wayline.retrieval.sources.tables import round_robin
from wayline.schema import BoolVector, FloatMatrix, IntVector
from wayline.storage.vector_index import NO_KEY, VectorIndex

LOOKED_AROUND = 3  # journeys of a home feed


class _View(Protocol):
    @property
    def muted(self) -> BoolVector: ...
    @property
    def around(self) -> FloatMatrix: ...
    @property
    def only(self) -> int: ...
    def nearness(self, item_idx: IntVector) -> FloatMatrix: ...


class _Query(Protocol):
    @property
    def journeys(self) -> _View | None: ...
    @property
    def usable(self) -> BoolVector: ...
    @property
    def limit(self) -> int: ...


class Journeys:
    """Items near the middles of the person's best journeys, in turns."""

    name = "journeys"

    def __init__(self, index: VectorIndex, per_source: int) -> None:
        self._index, self._per_source = index, per_source

    def fetch(self, query: _Query) -> IntVector:
        """Give the neighbours of each of the best journeys that is not muted; none without journeys."""
        view = query.journeys
        if view is None or not len(self._index):
            return np.zeros(0, np.int64)
        rows = np.flatnonzero(~view.muted)[:LOOKED_AROUND]
        rows = rows[np.einsum("jd,jd->j", view.around[rows], view.around[rows]) > 0]
        if not len(rows):
            return np.zeros(0, np.int64)
        quota = max(self._per_source // len(rows), 1)
        found = self._index.search(view.around[rows], quota)
        lists = [row[row != NO_KEY].astype(np.int64) for row in found.keys]
        return round_robin(lists, quota * len(lists))


class OneJourney:
    """Everything that may be part of the journey whose own feed is asked for, the nearest first.

    Parameters
    ----------
    most : int
        Candidates; ten pages where more are asked for.
    """

    name = "journeys"

    def __init__(self, most: int) -> None:
        self._most = most

    def fetch(self, query: _Query) -> IntVector:
        """Give the items that are near enough."""
        view = query.journeys
        if view is None or view.only < 0:
            return np.zeros(0, np.int64)
        items = np.flatnonzero(query.usable)
        near = view.nearness(items)[:, view.only]
        on = np.flatnonzero(near >= BELONGS)
        most = max(self._most, 10 * query.limit)
        best = on[np.argsort(-near[on], kind="stable")[:most]]
        return items[best].astype(np.int64)
