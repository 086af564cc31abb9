"""Candidates as columns: what the sources fetched, and what each later stage adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from wayline.ranking.examples.readings import Block
from wayline.retrieval.sources.vectors import Fetched
from wayline.schema import FloatMatrix, FloatVector, IndexVector, IntVector


@dataclass(frozen=True, slots=True)
class Candidates:
    """Items that may be shown, one row each.

    Attributes
    ----------
    item_idx : int64 array, shape [C]
    fetched_by : uint32 array, shape [C]
        Bit ``s`` is set where source ``s`` of ``sources`` fetched the item.
    sources : tuple of str
    features : float32 array, shape [C, F]
        Signals, in the order of the query's recipe; filled by a hydrator.
    interest : int32 array, shape [C]
        The person's interest nearest to the item, -1 for none; filled by a hydrator.
    journey : int32 array, shape [C]
        The person's journey that the item is on, -1 for none; filled by a hydrator.
    score : float32 array, shape [C]
        Filled by the scorers.
    via : uint32 array, shape [C]
        Bit ``q`` is set where the ``q``-th interest drawn for the request fetched the item.
    inputs : float32 array, shape [C, F2]
        What a learned ranker read; empty where none scored.
    ranked : float32 array, shape [C]
        The ranker's own score, NaN for candidates it was not asked about.
    probabilities : float32 array, shape [C, H]
        Of each head, NaN likewise.
    read : Tokens or Selections, optional
        What the ranker read of the person's actions.
    read_row : int64 array, shape [C]
        The row of each candidate in ``read``, -1 for those the ranker was not asked about.
    share : float
        What the ranker has of the order of those that it was asked about; the scorers before it have the rest.
    shortened : bool
        The ranker was asked about fewer candidates than usual, because other requests waited.
    """

    item_idx: IntVector
    fetched_by: npt.NDArray[np.uint32]
    sources: tuple[str, ...]
    features: FloatMatrix = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    interest: IndexVector = field(default_factory=lambda: np.zeros(0, np.int32))
    score: FloatVector = field(default_factory=lambda: np.zeros(0, np.float32))
    via: npt.NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))
    inputs: FloatMatrix = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    ranked: FloatVector = field(default_factory=lambda: np.zeros(0, np.float32))
    probabilities: FloatMatrix = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    read: Block | None = None
    read_row: IntVector = field(default_factory=lambda: np.zeros(0, np.int64))
    shortened: bool = False
    share: float = 0.0
    journey: IndexVector = field(default_factory=lambda: np.zeros(0, np.int32))

    def __len__(self) -> int:
        return len(self.item_idx)

    def take(self, rows: IntVector | npt.NDArray[np.bool_]) -> Candidates:
        """Give some rows, in the order asked for; columns not yet filled stay so."""
        n = len(self)
        return replace(
            self,
            item_idx=self.item_idx[rows],
            fetched_by=self.fetched_by[rows],
            features=self.features[rows] if len(self.features) == n else self.features,
            interest=self.interest[rows] if len(self.interest) == n else self.interest,
            journey=self.journey[rows] if len(self.journey) == n else self.journey,
            score=self.score[rows] if len(self.score) == n else self.score,
            via=self.via[rows] if len(self.via) == n else self.via,
            inputs=self.inputs[rows] if len(self.inputs) == n else self.inputs,
            read_row=self.read_row[rows] if len(self.read_row) == n else self.read_row,
            ranked=self.ranked[rows] if len(self.ranked) == n else self.ranked,
            probabilities=self.probabilities[rows]
            if len(self.probabilities) == n
            else self.probabilities,
        )

    def sources_of(self, row: int) -> list[str]:
        """Name the sources that fetched one candidate."""
        return [s for k, s in enumerate(self.sources) if self.fetched_by[row] >> k & 1]


def merge(fetched: Mapping[str, IntVector | Fetched]) -> Candidates:
    """Put what the sources fetched together, each item once, keeping every provenance.

    Order: by the best place an item had in any source, then by position, so that the retrieval order is a sensible
    fallback where scoring fails.
    """
    names = tuple(fetched)
    if not any(len(f) for f in fetched.values()):
        nothing = np.zeros(0, np.uint32)
        return Candidates(np.zeros(0, np.int64), nothing, names, via=nothing)
    brought = [f if isinstance(f, Fetched) else _plain(f) for f in fetched.values()]
    items = np.concatenate([f.item_idx for f in brought])
    place = np.concatenate([np.arange(len(f)) for f in brought])
    bit = np.concatenate([np.full(len(f), 1 << k, np.uint32) for k, f in enumerate(brought)])
    unique, inverse = np.unique(items, return_inverse=True)
    mask, via = np.zeros(len(unique), np.uint32), np.zeros(len(unique), np.uint32)
    np.bitwise_or.at(mask, inverse, bit)
    np.bitwise_or.at(via, inverse, np.concatenate([f.via for f in brought]))
    best = np.full(len(unique), np.iinfo(np.int64).max)
    np.minimum.at(best, inverse, place)
    order = np.lexsort((unique, best))
    return Candidates(unique[order].astype(np.int64), mask[order], names, via=via[order])


def _plain(item_idx: IntVector) -> Fetched:
    return Fetched(item_idx, np.zeros(len(item_idx), np.uint32))
