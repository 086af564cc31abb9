"""Candidates from the learned next-item model."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from wayline.retrieval.next_item.inference import NextItemModel
from wayline.schema import BoolVector, IntVector
from wayline.sequences.history import History


class _Query(Protocol):
    @property
    def at_ts_ms(self) -> int: ...
    @property
    def exclude_seen(self) -> bool: ...
    @property
    def history(self) -> History: ...
    @property
    def hidden(self) -> BoolVector: ...


class Sequence:
    """The items likeliest to be wanted next, after everything that was wanted so far.

    Parameters
    ----------
    model : NextItemModel
    count : int
    """

    name = "sequence"

    def __init__(self, model: NextItemModel, count: int) -> None:
        self._model, self._count = model, count

    def fetch(self, query: _Query) -> IntVector:
        """Give the likeliest items, best first; none for a history without an item the model knows."""
        history = query.history
        leave_out = np.flatnonzero(query.hidden)
        if query.exclude_seen:
            leave_out = np.concatenate([leave_out, history.item_idx])
        return self._model.top(
            history.item_idx, self._count, leave_out, history.ts_ms, query.at_ts_ms
        )
