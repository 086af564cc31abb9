"""Popularity decayed to the moment of a request: what is wanted *now*, seen only from actions up to then.

On news this alone beats every model of taste; elsewhere it says little (docs/experiments.md), so how fast it decays
and how much it counts is the recipe's choice.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wayline.clock import DAY_MS
from wayline.schema import BoolVector, FloatVector, IntVector

CHECKPOINT_BYTES = 64 << 20  # memory for saved states, shared by all half-lives
LEAST_STD = 0.01  # where all counts are alike, one action more must not outweigh every other signal
FLOOR = 1e-2  # one action 6.6 half-lives ago


@dataclass(frozen=True, slots=True)
class PopularityView:
    """Decayed counts at one moment, for one half-life.

    Attributes
    ----------
    count : float32 array, shape [N]
        ``sum(2 ** -(age / half_life))`` over an item's positive actions.
    log_mean, log_std : float
        Of ``log(count + FLOOR)`` over the items counted from the start, to standardise it: items
        that came later, perhaps after the moment, must not move the others.
    """

    count: FloatVector
    log_mean: float
    log_std: float

    def standardised(self, item_idx: IntVector) -> FloatVector:
        """Give ``(log(count + FLOOR) - mean) / std`` of some items, shape [C]."""
        known = item_idx < len(self.count)  # another thread may have counted a newer item meanwhile
        count = np.where(known, self.count[np.where(known, item_idx, 0)], 0.0)
        values = np.log(count.astype(np.float64) + FLOOR)
        return ((values - self.log_mean) / self.log_std).astype(np.float32)

    def top(self, k: int) -> IntVector:
        """Give the positions of the ``k`` largest counts above 0, largest first, ties by position."""
        k = min(k, len(self.count))
        least = np.partition(self.count, -k)[-k] if k else np.inf
        equal = np.flatnonzero(self.count == least)  # of those at the border the first by position
        above = np.flatnonzero(self.count > least)
        chosen = np.concatenate([above, equal[: k - len(above)]])
        chosen = chosen[self.count[chosen] > 0]
        return np.asarray(chosen[np.lexsort((chosen, -self.count[chosen]))], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class _State:
    """Counts of the actions [0, end) as of a moment; float64, so that the way to a moment leaves no
    trace in its counts.
    """

    ts_ms: int
    end: int
    count: npt.NDArray[np.float64]


class Popularity:
    """Decayed counts of every item at any moment, for several half-lives.

    The counts at a moment follow from those at an earlier one by one multiplication and the actions in between, so a
    request at the newest moment costs its new actions; for a moment in the past the nearest of a few saved states is
    taken further.

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
        self._heard = heard
        self.half_lives_days = half_lives_days
        self._ts_ms, self._item_idx = np.array(ts_ms, np.int64), np.array(item_idx, np.int32)
        self._length = len(ts_ms)  # the arrays have room behind it, so that appending is O(1)
        self._n_items = self._catalogue = n_items
        self._lock = threading.Lock()
        self._views: OrderedDict[tuple[int, float], PopularityView] = OrderedDict()
        self._saved: dict[float, list[_State]] = {h: [] for h in half_lives_days}
        self._newest: dict[float, _State] = {}

    @property
    def n_items(self) -> int:
        """How many items are counted."""
        return self._n_items

    def add(self, ts_ms: IntVector, item_idx: IntVector) -> None:
        """Count new actions from now on; they may be older than the newest."""
        if len(ts_ms) == 0:
            return
        order = np.argsort(ts_ms, kind="stable")
        with self._lock:
            self._merge(ts_ms[order], item_idx[order])
            self._n_items = max(self._n_items, int(item_idx.max()) + 1)
            oldest = int(ts_ms.min())
            for half_life, saved in self._saved.items():
                saved[:] = [state for state in saved if state.ts_ms < oldest]
                newest = self._newest.get(half_life)
                if newest is not None and newest.ts_ms >= oldest:
                    del self._newest[half_life]
            self._views.clear()

    def _reserve(self, length: int) -> None:
        if length > len(self._ts_ms):
            room = max(length, 2 * len(self._ts_ms), 1024) - len(self._ts_ms)
            self._ts_ms = np.concatenate([self._ts_ms, np.zeros(room, np.int64)])
            self._item_idx = np.concatenate([self._item_idx, np.zeros(room, np.int32)])

    def _merge(self, ts_ms: IntVector, item_idx: IntVector) -> None:
        """Put sorted actions in their places: one pass over what is not older than the first of them."""
        begin = int(np.searchsorted(self._ts_ms[: self._length], ts_ms[0], side="right"))
        ts = np.concatenate([self._ts_ms[begin : self._length], ts_ms])
        items = np.concatenate([self._item_idx[begin : self._length], item_idx])
        order = np.argsort(ts, kind="stable")
        self._reserve(self._length + len(ts_ms))
        self._length += len(ts_ms)
        self._ts_ms[begin : self._length] = ts[order]
        self._item_idx[begin : self._length] = items[order]

    def view(self, at_ts_ms: int, half_life_days: float) -> PopularityView:
        """Give the counts as of a moment; actions later than it are never seen."""
        key = (at_ts_ms, half_life_days)
        with self._lock:
            found = self._views.get(key)
            if found is None:
                found = self._views[key] = self._make(at_ts_ms, half_life_days)
                while len(self._views) > 4 * len(self.half_lives_days):
                    self._views.popitem(last=False)
            return found

    def _make(self, at_ts_ms: int, half_life_days: float) -> PopularityView:
        end = int(np.searchsorted(self._ts_ms[: self._length], at_ts_ms, side="right"))
        state = self._nearest(end, at_ts_ms, half_life_days)
        stride = self._stride()
        while end - state.end > stride:  # leave a saved state every `stride` actions on the way
            middle = state.end + stride
            state = self._advance(state, middle, int(self._ts_ms[middle - 1]), half_life_days)
            self._saved[half_life_days].append(state)
        state = self._newest[half_life_days] = self._advance(state, end, at_ts_ms, half_life_days)
        count = state.count.astype(np.float32)
        standing = count[: self._catalogue]
        logs = np.log((standing if self._heard is None else standing[self._heard]) + FLOOR)
        mean, std = float(logs.mean(dtype=np.float64)), float(logs.std(dtype=np.float64))
        return PopularityView(count, mean, max(std, LEAST_STD))

    def _nearest(self, end: int, at_ts_ms: int, half_life_days: float) -> _State:
        states = list(self._saved[half_life_days])
        if half_life_days in self._newest:
            states.append(self._newest[half_life_days])
        earlier = [s for s in states if s.end <= end and s.ts_ms <= at_ts_ms]
        return max(earlier, key=lambda s: s.end, default=_State(0, 0, np.zeros(0)))

    def _advance(self, state: _State, end: int, to_ts_ms: int, half_life_days: float) -> _State:
        """Take a state to hold the actions [0, end) as of ``to_ts_ms``."""
        rate = 1.0 / (half_life_days * DAY_MS)
        age = (to_ts_ms - self._ts_ms[state.end : end]).astype(np.float64)
        count = np.bincount(
            self._item_idx[state.end : end], weights=np.exp2(-age * rate), minlength=self._n_items
        ).astype(np.float64)  # of no actions bincount gives integers
        count[: len(state.count)] += state.count * np.exp2(-(to_ts_ms - state.ts_ms) * rate)
        return _State(to_ts_ms, end, count)

    def _stride(self) -> int:
        states = CHECKPOINT_BYTES // (8 * max(self._n_items, 1) * len(self.half_lives_days))
        return max(self._length // max(min(states, 64), 1), 4096)
