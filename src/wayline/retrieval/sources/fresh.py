"""Candidates nobody has had time to want: the newest items of the catalogue."""

from __future__ import annotations

from typing import Protocol

from wayline.retrieval.births import Births
from wayline.schema import IntVector


class _Query(Protocol):
    @property
    def at_ts_ms(self) -> int: ...


class Fresh:
    """The items that came last before the moment of the request.

    Parameters
    ----------
    births : Births
    count : int
    """

    name = "fresh"

    def __init__(self, births: Births, count: int) -> None:
        self._births, self._count = births, count

    def fetch(self, query: _Query) -> IntVector:
        """Give the newest items, newest first."""
        return self._births.newest(query.at_ts_ms, self._count)
