"""Group commit: whoever gets the lock writes for all who wait behind, with one fsync."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import polars as pl

from wayline.errors import WorkspaceError
from wayline.storage.store import Appended

GROUP_ROWS = 262_144
"""No more rows join one transaction, so that no small caller waits for a pile of large ones."""


class _Call:
    """One caller's frame and what became of it."""

    __slots__ = ("error", "frame", "outcome")

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame
        self.outcome: Appended | None = None
        self.error: BaseException | None = None

    @property
    def done(self) -> bool:
        return self.outcome is not None or self.error is not None


class GroupCommit:
    """Merges concurrent calls into one transaction without a thread of its own.

    Parameters
    ----------
    write : callable
        Writes frames durably and gives one outcome each; all of them fail if it raises.
    """

    def __init__(self, write: Callable[[list[pl.DataFrame]], list[Appended]]) -> None:
        self._write = write
        self._waiting: deque[_Call] = deque()
        self._turn = threading.Lock()

    def __call__(self, frame: pl.DataFrame) -> Appended:
        """Write one frame; returns when it is durable."""
        call = _Call(frame)
        self._waiting.append(call)
        with self._turn:
            while not call.done:  # else the holder before us wrote it
                self._write_next_group()
        if call.error is not None:
            raise call.error
        assert call.outcome is not None
        return call.outcome

    def _write_next_group(self) -> None:
        group = [self._waiting.popleft()]
        rows = len(group[0].frame)
        while self._waiting and rows + len(self._waiting[0].frame) <= GROUP_ROWS:
            group.append(self._waiting.popleft())
            rows += len(group[-1].frame)
        try:
            outcomes = self._write([call.frame for call in group])
        except Exception as error:
            for call in group:
                call.error = error
        except BaseException:
            for call in group:  # an interrupt is for this thread only
                call.error = WorkspaceError("The writer was interrupted: send the actions again.")
            raise
        else:
            for call, outcome in zip(group, outcomes, strict=True):
                call.outcome = outcome
