"""One person's newest actions as columns that grow: room behind them, a cap on them, late ones in their place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from wayline.schema import ActionColumns, IntVector

T = TypeVar("T", bound=np.generic)

ROW_BYTES = 8 + 2 + 8 + 8
OVERHEAD_BYTES = 1_000
"""What a person costs besides the rows: five objects, four arrays, an entry in a dict; measured with tracemalloc."""
SMALLEST_ROOM = 16


@dataclass(frozen=True, slots=True)
class ActionVectors:
    """Some actions of one person, oldest first, equal times in order of position; shape [M] each.

    Attributes
    ----------
    item_key, ts_ms, position : int64 arrays
    action_key : int16 array
    """

    item_key: IntVector
    action_key: npt.NDArray[np.int16]
    ts_ms: IntVector
    position: IntVector

    def __len__(self) -> int:
        return len(self.position)


def pick(rows: ActionColumns, which: IntVector) -> ActionVectors:
    """Copy the rows that ``which`` names, in its order."""
    return ActionVectors(
        rows.item_key[which], rows.action_key[which], rows.ts_ms[which], rows.position[which]
    )


class Person:
    """The newest ``cap`` actions or more; what was given out stays as it was.

    Nothing that a reader may hold is ever changed: new rows are written behind the last one, and everything else makes
    new arrays. At most an eighth of ``cap`` is kept beyond it, so that trimming costs an insert O(1).
    """

    __slots__ = ("_cap", "_columns", "_complete", "_rows", "_top")

    def __init__(self, columns: ActionVectors, cap: int, *, complete: bool) -> None:
        self._cap = cap
        self._complete = complete  # nothing older exists that is not here
        self._columns = columns
        self._rows = len(columns)
        # The store commits in order of position: what it showed of a person is all up to their newest position.
        self._top = int(columns.position.max(initial=0))

    @classmethod
    def of(cls, newest_first: ActionColumns, cap: int) -> Self:
        """Take what ``Store.user_actions`` gave for ``limit=cap``."""
        backwards = slice(None, None, -1)
        person = cls(
            ActionVectors(
                newest_first.item_key[backwards],
                newest_first.action_key[backwards],
                newest_first.ts_ms[backwards],
                newest_first.position[backwards],
            ),
            cap,
            complete=len(newest_first) < cap,
        )
        person._move(0)
        return person

    def __len__(self) -> int:
        return self._rows

    @property
    def nbytes(self) -> int:
        """What this person takes in memory, room included."""
        return OVERHEAD_BYTES + ROW_BYTES * len(self._columns)

    def newest(self) -> ActionVectors:
        """Give the newest ``cap`` actions."""
        return self._view(max(0, self._rows - self._cap), self._rows)

    def until(self, until_ts_ms: int | None) -> ActionVectors | None:
        """Give the newest ``cap`` actions up to a moment; None if older ones than are kept belong to them."""
        if until_ts_ms is None:
            return self.newest()
        end = int(np.searchsorted(self._columns.ts_ms[: self._rows], until_ts_ms, side="right"))
        if end < self._cap and not self._complete:
            return None
        return self._view(max(0, end - self._cap), end)

    def insert(self, rows: ActionVectors) -> int:
        """Put rows, ascending by position, in their place in time, known ones left out; tells how many came late."""
        start = int(np.searchsorted(rows.position, self._top, side="right"))
        if start == len(rows):
            return 0
        self._top = int(rows.position[-1])
        order = start + np.argsort(rows.ts_ms[start:], kind="stable")
        item_key, action_key = rows.item_key[order], rows.action_key[order]
        ts_ms, position = rows.ts_ms[order], rows.position[order]
        late = 0
        if self._rows:
            late = int(np.searchsorted(ts_ms, self._columns.ts_ms[self._rows - 1], side="left"))
        if late:
            self._insert_late(item_key[:late], action_key[:late], ts_ms[:late], position[:late])
        new = len(order) - late
        if self._rows + new > len(self._columns) or self._rows > self._cap + self._cap // 8:
            self._move(new)
        end = self._rows + new
        columns = self._columns
        columns.item_key[self._rows : end] = item_key[late:]
        columns.action_key[self._rows : end] = action_key[late:]
        columns.ts_ms[self._rows : end] = ts_ms[late:]
        columns.position[self._rows : end] = position[late:]
        self._rows = end
        return late

    def _insert_late(
        self,
        item_key: IntVector,
        action_key: npt.NDArray[np.int16],
        ts_ms: IntVector,
        position: IntVector,
    ) -> None:
        kept = self._view(0, self._rows)
        at = np.searchsorted(kept.ts_ms, ts_ms, side="right")
        # Older than all that is kept, while there is more in the store: one of those that are not here.
        first = 0 if self._complete else int(np.searchsorted(at, 0, side="right"))
        at = at[first:]
        self._columns = ActionVectors(
            np.insert(kept.item_key, at, item_key[first:]),
            np.insert(kept.action_key, at, action_key[first:]),
            np.insert(kept.ts_ms, at, ts_ms[first:]),
            np.insert(kept.position, at, position[first:]),
        )
        self._rows = len(self._columns)

    def _move(self, more: int) -> None:
        """Make new arrays with room for ``more`` rows and then some, leaving behind what is beyond the cap."""
        keep = min(self._rows, self._cap)
        self._complete &= keep == self._rows
        size = keep + more
        room = size + max(SMALLEST_ROOM, min(size // 2, self._cap // 8))
        old = self._view(self._rows - keep, self._rows)
        self._columns = ActionVectors(
            _grown(old.item_key, room),
            _grown(old.action_key, room),
            _grown(old.ts_ms, room),
            _grown(old.position, room),
        )
        self._rows = keep

    def _view(self, start: int, end: int) -> ActionVectors:
        columns = self._columns
        return ActionVectors(
            columns.item_key[start:end],
            columns.action_key[start:end],
            columns.ts_ms[start:end],
            columns.position[start:end],
        )


def _grown(column: npt.NDArray[T], room: int) -> npt.NDArray[T]:
    out = np.empty(room, column.dtype)
    out[: len(column)] = column
    return out
