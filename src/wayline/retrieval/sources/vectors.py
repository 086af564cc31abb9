"""Candidates from the vector index: around the interests drawn for this request, and around the newest actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

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


MOST_QUERIES = 32  # bits of the mask that says which query items fetched a candidate


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a source that looks around several query items brings.

    Attributes
    ----------
    item_idx : int64 array, shape [C]
    via : uint32 array, shape [C]
        Bit ``q`` is set where query item ``q`` led to the candidate.
    """

    item_idx: IntVector
    via: npt.NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.item_idx)


def around(index: VectorIndex, vectors: FloatMatrix, item_idx: IntVector, quota: int) -> Fetched:
    """Give the nearest items of each of some items, in turns; the index's keys are item positions."""
    if len(item_idx) == 0 or len(index) == 0:
        return Fetched(np.zeros(0, np.int64), np.zeros(0, np.uint32))
    found = index.search(vectors[item_idx], quota)
    lists = [row[row != NO_KEY].astype(np.int64) for row in found.keys]
    items = round_robin(lists, quota * len(item_idx))
    via = np.zeros(len(items), np.uint32)
    for bit, own in enumerate(lists[:MOST_QUERIES]):
        via |= np.isin(items, own).astype(np.uint32) << np.uint32(bit)
    return Fetched(items, via)


class Interests:
    """Items near the medoids of the interests drawn; an equal quota each."""

    name = "interests"

    def __init__(self, index: VectorIndex, per_source: int) -> None:
        self._index, self._per_source = index, per_source

    def fetch(self, query: _Query) -> Fetched:
        """Give the neighbours of each medoid, in turns, and which medoids led to each."""
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
        return around(self._index, query.vectors, newest, quota).item_idx
