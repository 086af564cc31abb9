"""Popularity decayed to the moment of a request: what is wanted *now*, seen only from actions up to then.

On news this alone beats every model of taste; elsewhere it says little (docs/experiments.md), so how fast it decays
and how much it counts is the recipe's choice.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np

from wayline.clock import DAY_MS
from wayline.retrieval.counts import Counts
from wayline.retrieval.spread import FLOOR, Doubles
from wayline.schema import BoolVector, FloatVector, IntVector

CHECKPOINT_BYTES = 64 << 20  # memory for saved states, shared by all half-lives
ANCHORS = 2  # states a little behind, from which late actions are counted
ANCHOR_EVERY = 4096  # actions


@dataclass(frozen=True, slots=True)
class PopularityView:
    """Decayed counts at one moment, for one half-life.

    Attributes
    ----------
    at_ts_ms : int
    log_mean, log_std : float
        Of ``log(count + FLOOR)`` over the items counted from the start, to standardise it: items
        that came later, perhaps after the moment, must not move the others.
    """

    _counts: Counts
    _n_items: int
    at_ts_ms: int
    log_mean: float
    log_std: float

    @property
    def count(self) -> Doubles:
        """``sum(2 ** -(age / half_life))`` over each item's positive actions, shape [N]; made anew for the caller."""
        return self._counts.at(self.at_ts_ms, np.arange(self._n_items))

    def standardised(self, item_idx: IntVector) -> FloatVector:
        """Give ``(log(count + FLOOR) - mean) / std`` of some items, shape [C]."""
        values = np.log(self._counts.at(self.at_ts_ms, item_idx) + FLOOR)
        return ((values - self.log_mean) / self.log_std).astype(np.float32)

    def log_counts(self, item_idx: IntVector) -> FloatVector:
        """Give ``log(count + FLOOR)`` of some items, shape [C]."""
        return np.log(self._counts.at(self.at_ts_ms, item_idx) + FLOOR).astype(np.float32)

    def top(self, k: int) -> IntVector:
        """Give the positions of the ``k`` largest counts above 0, largest first, ties by position."""
        return self._counts.top(k)


@dataclass(slots=True)
class _Known:
    """The states of one half-life that others are reached from.

    ``newest`` ends last of all asked for, ``past`` is the newest of the others; ``anchors`` are a little older than
    these, and ``saved`` stand at equal distances on the way.
    """

    empty: Counts
    newest: Counts
    past: Counts
    anchors: list[Counts] = field(default_factory=list)
    saved: list[Counts] = field(default_factory=list)

    def nearest(self, end: int) -> Counts:
        """Give the state that ends last without going beyond ``end``."""
        every = [self.empty, self.newest, self.past, *self.anchors, *self.saved]
        return max((c for c in every if c.end <= end), key=lambda c: c.end)

    def keep(self, counts: Counts) -> None:
        """Remember a state that somebody asked for."""
        if counts.end >= self.newest.end:
            self.newest = counts
        else:
            self.past = counts
        last = self.anchors[-1] if self.anchors else self.empty
        if counts.base is not last.base or abs(counts.end - last.end) > ANCHOR_EVERY:
            self.anchors = [*self.anchors, counts][-ANCHORS:]


class Popularity:
    """Decayed counts of every item at any moment, for several half-lives.

    The counts at a moment follow from those at an earlier one and the actions in between, so a request at the newest
    moment costs its new actions, whatever the size of the catalogue; for a moment in the past the nearest of a few
    saved states is taken further. What comes out depends on the log and the moment alone, to the last bit.

    Parameters
    ----------
    ts_ms : int64 array, shape [M], ascending
    item_idx : int array, shape [M]
    n_items : int
        N; grows by itself when ``add`` brings later positions.
    half_lives_days : tuple of float
    heard : bool array, shape [N], optional
        Items that were there when counting began, which counts are standardised over; all N if not given.
    """

    def __init__(
        self,
        ts_ms: IntVector,
        item_idx: IntVector,
        n_items: int,
        half_lives_days: tuple[float, ...],
        heard: BoolVector | None = None,
    ) -> None:
        self.half_lives_days = half_lives_days
        self._ts_ms, self._item_idx = np.array(ts_ms, np.int64), np.array(item_idx, np.int32)
        self._length = len(ts_ms)  # the arrays have room behind it, so that appending is O(1)
        self._n_items = n_items
        self._lock = threading.Lock()
        standing = np.ones(n_items, bool) if heard is None else heard
        self._known: dict[float, _Known] = {}
        for days in half_lives_days:
            empty = Counts.empty(round(days * DAY_MS), standing)
            self._known[days] = _Known(empty, empty, empty)

    @property
    def n_items(self) -> int:
        """How many items are counted."""
        return self._n_items

    def add(self, ts_ms: IntVector, item_idx: IntVector) -> None:
        """Count new actions from now on; they may be older than the newest."""
        if len(ts_ms) == 0:
            return
        order = np.argsort(ts_ms, kind="stable")
        ts_ms, item_idx = np.asarray(ts_ms)[order], np.asarray(item_idx)[order]
        with self._lock:
            begin = int(np.searchsorted(self._ts_ms[: self._length], ts_ms[0], side="right"))
            ends = {c.end for known in self._known.values() for c in (known.newest, known.past)}
            last = {end: int(self._ts_ms[end - 1]) for end in ends if end > begin}
            self._merge(begin, ts_ms, item_idx)
            self._n_items = max(self._n_items, int(item_idx.max()) + 1)
            for known in self._known.values():
                self._put_right(known, begin, last, ts_ms, item_idx)

    def _merge(self, begin: int, ts_ms: IntVector, item_idx: IntVector) -> None:
        """Put sorted actions in their places: one pass over what is not older than the first of them."""
        ts = np.concatenate([self._ts_ms[begin : self._length], ts_ms])
        items = np.concatenate([self._item_idx[begin : self._length], item_idx])
        order = np.argsort(ts, kind="stable")
        self._reserve(self._length + len(ts_ms))
        self._length += len(ts_ms)
        self._ts_ms[begin : self._length] = ts[order]
        self._item_idx[begin : self._length] = items[order]

    def _reserve(self, length: int) -> None:
        if length > len(self._ts_ms):
            room = max(length, 2 * len(self._ts_ms), 1024) - len(self._ts_ms)
            self._ts_ms = np.concatenate([self._ts_ms, np.zeros(room, np.int64)])
            self._item_idx = np.concatenate([self._item_idx, np.zeros(room, np.int32)])

    def _put_right(
        self, known: _Known, begin: int, last: dict[int, int], ts_ms: IntVector, item_idx: IntVector
    ) -> None:
        """Count actions that came late, from place ``begin`` on, into the states that end behind them.

        Only their items are counted anew, from a state before them. ``last`` is when each end's last action was.
        """
        known.saved = [c for c in known.saved if c.end <= begin]
        known.anchors = [c for c in known.anchors if c.end <= begin]
        newest, past = known.newest, known.past
        known.newest = newest if newest.end <= begin else known.empty
        known.past = past if past.end <= begin else known.empty
        start = known.nearest(begin)
        known.newest, known.past = (
            counts if counts.end <= begin else self._recount(counts, start, last, ts_ms, item_idx)
            for counts in (newest, past)
        )

    def _recount(
        self,
        counts: Counts,
        start: Counts,
        last: dict[int, int],
        ts_ms: IntVector,
        item_idx: IntVector,
    ) -> Counts:
        late = item_idx[ts_ms < last[counts.end]]
        end = counts.end + len(late)
        rows = np.flatnonzero(np.isin(self._item_idx[start.end : end], late)) + start.end
        return counts.resummed(
            start, self._ts_ms[rows], self._item_idx[rows].astype(np.int64), end, self._n_items
        )

    def view(self, at_ts_ms: int, half_life_days: float) -> PopularityView:
        """Give the counts as of a moment; actions later than it are never seen."""
        with self._lock:
            end = int(np.searchsorted(self._ts_ms[: self._length], at_ts_ms, side="right"))
            counts = self._counts(end, self._known[half_life_days])
            n_items = self._n_items
        return PopularityView(counts, n_items, at_ts_ms, *counts.standard(at_ts_ms))

    def _counts(self, end: int, known: _Known) -> Counts:
        counts = known.newest if known.newest.end <= end else known.nearest(end)
        if counts.end == end:
            return counts
        stride = self._stride()
        while end - counts.end > stride:  # leave a saved state every `stride` actions on the way
            counts = self._advance(counts, counts.end + stride)
            known.saved.append(counts)
        counts = self._advance(counts, end)
        known.keep(counts)
        return counts

    def _advance(self, counts: Counts, end: int) -> Counts:
        rows = slice(counts.end, end)
        items = self._item_idx[rows].astype(np.int64)
        return counts.advance(self._ts_ms[rows], items, self._n_items)

    def _stride(self) -> int:
        states = CHECKPOINT_BYTES // (8 * max(self._n_items, 1) * len(self.half_lives_days))
        return max(self._length // max(min(states, 64), 1), 4096)
