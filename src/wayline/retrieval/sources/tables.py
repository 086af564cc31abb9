"""Candidates from the item-to-item tables and from popularity: the best of each signal the recipe uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from wayline.retrieval.signals import NEW_SIGNALS, TRENDING_SIGNALS, Reading
from wayline.schema import FloatVector, IntVector


class _Query(Protocol):
    @property
    def reading(self) -> Reading: ...
    @property
    def weights(self) -> FloatVector: ...


def round_robin(lists: Sequence[IntVector], most: int) -> IntVector:
    """Take the first of each list, then the second of each, each item once.

    >>> round_robin([np.array([1, 2, 3]), np.array([2, 4])], most=3).tolist()
    [1, 2, 4]
    """
    lists = [found for found in lists if len(found)]
    if not lists:
        return np.zeros(0, np.int64)
    place = np.concatenate([np.arange(len(found)) for found in lists])
    which = np.concatenate([np.full(len(found), k) for k, found in enumerate(lists)])
    items = np.concatenate(lists)[np.lexsort((which, place))]
    _, first = np.unique(items, return_index=True)
    return np.asarray(items[np.sort(first)][:most], dtype=np.int64)


class Related:
    """What people who touched these items touch, and touch next (tables ``related``, ``next``, ``soon``)."""

    name = "related"

    def __init__(self, per_signal: int) -> None:
        self._per_signal = per_signal

    def fetch(self, query: _Query) -> IntVector:
        """Give the best of each table signal that has a weight, in turns."""
        reading = query.reading
        used = [
            name
            for name, weight in zip(reading.names, query.weights, strict=True)
            if weight > 0 and name not in TRENDING_SIGNALS and name not in NEW_SIGNALS
        ]
        tops = [reading.top(name, self._per_signal) for name in used]
        return round_robin(tops, self._per_signal * max(len(used), 1))


class Trending:
    """What everybody wants at this moment, at each half-life that has a weight."""

    name = "trending"

    def __init__(self, per_signal: int) -> None:
        self._per_signal = per_signal

    def fetch(self, query: _Query) -> IntVector:
        """Give the largest decayed counts of each half-life in use, in turns."""
        reading = query.reading
        names = [n for n in reading.names if n in TRENDING_SIGNALS]
        used = [n for n in names if query.weights[reading.names.index(n)] > 0] or names[:1]
        return round_robin([reading.top(n, self._per_signal) for n in used], self._per_signal * 2)
