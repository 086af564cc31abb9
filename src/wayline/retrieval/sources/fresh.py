"""Candidates nobody has had time to want: the newest items of the catalogue."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from wayline.schema import IntVector

NOT_BORN = np.iinfo(np.int64).max  # the time of an item that has none


class _Query(Protocol):
    @property
    def at_ts_ms(self) -> int: ...


class Fresh:
    """The items that came last before the moment of the request.

    Parameters
    ----------
    born_ts_ms : int64 array, shape [N]
        When each item came: its ``created_at``, else its first action; ``NOT_BORN`` for neither.
    count : int
    """

    name = "fresh"

    def __init__(self, born_ts_ms: IntVector, count: int) -> None:
        self._order = np.argsort(born_ts_ms, kind="stable")
        self._sorted = born_ts_ms[self._order]
        self._count = count

    def fetch(self, query: _Query) -> IntVector:
        """Give the newest items, newest first."""
        end = int(np.searchsorted(self._sorted, query.at_ts_ms, side="right"))
        return np.asarray(self._order[max(end - self._count, 0) : end][::-1], dtype=np.int64)
