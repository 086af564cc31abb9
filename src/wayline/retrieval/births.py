"""When items came, and how new they are at a moment."""

from __future__ import annotations

import numpy as np

from wayline.clock import DAY_MS
from wayline.schema import FloatVector, IntVector

NOT_BORN = np.iinfo(np.int64).max  # the time of an item that has none


class Births:
    """When each item came: its ``created_at``, else its first wanting action.

    Parameters
    ----------
    born_ts_ms : int64 array, shape [N]
        ``NOT_BORN`` for neither.
    """

    def __init__(self, born_ts_ms: IntVector) -> None:
        self._born_ts_ms = np.array(born_ts_ms, np.int64)
        self._order = np.argsort(self._born_ts_ms, kind="stable")
        self._sorted = self._born_ts_ms[self._order]

    def add(self, ts_ms: IntVector, item_idx: IntVector) -> None:
        """Let items that have not come yet come with their first action; rows oldest first."""
        if len(item_idx) == 0:
            return
        missing = int(item_idx.max()) + 1 - len(self._born_ts_ms)
        if missing > 0:
            room = np.full(max(missing, len(self._born_ts_ms) // 4), NOT_BORN)
            self._born_ts_ms = np.concatenate([self._born_ts_ms, room])
        items, first = np.unique(item_idx, return_index=True)
        unborn = self._born_ts_ms[items] == NOT_BORN
        self._born_ts_ms[items[unborn]] = ts_ms[first[unborn]]

    def newness(self, item_idx: IntVector, at_ts_ms: int, half_life_days: float) -> FloatVector:
        """Give ``2 ** -(age / half-life)`` of some items, shape [C]; 0 for what has not come yet."""
        born = np.full(len(item_idx), NOT_BORN)
        known = item_idx < len(self._born_ts_ms)
        born[known] = self._born_ts_ms[item_idx[known]]
        there = born <= at_ts_ms
        age_days = (at_ts_ms - np.where(there, born, at_ts_ms)) / DAY_MS
        return np.where(there, np.exp2(-age_days / half_life_days), 0.0).astype(np.float32)

    def newest(self, at_ts_ms: int, k: int) -> IntVector:
        """Give the ``k`` that came last before a moment, newest first; not those that came by ``add``."""
        end = int(np.searchsorted(self._sorted, at_ts_ms, side="right"))
        return np.asarray(self._order[max(end - k, 0) : end][::-1], dtype=np.int64)
